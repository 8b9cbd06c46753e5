# `make demo` and `make test` need python3 (3.10 or later) and g++ (11 or later), nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CSRC := $(shell find csrc -type f)
TESTED := $(wildcard tests/emulation/*.cu tests/emulation/*.cpp tests/emulation/*.h)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: demo test lint slow install bench clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml setup.py constraints.txt $(CSRC)
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(PIP) 'setuptools>=77' 'pybind11>=2.12' torch
	$(PIP) --no-build-isolation -e '.[dev]'
	touch $@

demo: install
	$(BIN)/vanfast demo -o demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CSRC) $(TESTED)
	$(BIN)/mypy

# Triton decides at definition whether a kernel is interpreted, so its kernels run in a process of their own.
test: lint
	$(BIN)/python -m pytest
	TRITON_INTERPRET=1 $(BIN)/python -m pytest tests/triton

slow: install
	$(BIN)/python -m pytest -m slow

bench: install
	$(BIN)/vanfast bench

clean:
	rm -rf $(VENV) build dist demo *.egg-info vanfast/*.so
