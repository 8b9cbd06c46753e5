"""The house: which part may import which, what `import vanfast` loads, size of files, markers, the native module."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import stubs
from vanfast import _cpu

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vanfast"

# What each part may import: cli -> demo, plots, benchmarks -> training -> sampler -> backends -> _cpu. Lowest first, so
# that nothing can import what comes after it. Exact results and observables stand beside all that and know none of it.
MAY_IMPORT = {
    "_cpu": set(),
    "_cuda": set(),
    "kernels": set(),
    "errors": set(),
    "_files": set(),
    "random": set(),
    "_spins": set(),
    "_estimates": set(),
    "_moments": {"_estimates"},
    "_overlaps": {"_estimates", "_spins"},
    "_blocks": {"_spins"},
    "observables": {"_blocks", "_estimates", "_moments", "_overlaps", "_spins", "errors"},
    "exact": {"_cpu", "errors"},
    "hamiltonians": {"_cpu", "_files", "_spins", "errors"},
    "networks": {"_spins", "errors", "hamiltonians"},
    "backends": {"_cpu", "_cuda", "kernels", "_spins", "errors", "hamiltonians", "networks", "random"},
    "saving": {"_files", "errors", "networks"},
    "store": {"_files", "_spins", "errors", "hamiltonians"},
    "sampler": {"backends", "errors", "hamiltonians", "networks"},
    "mcmc": {
        *("_cpu", "_estimates", "_spins", "backends", "errors", "exact", "hamiltonians", "networks", "random"),
        "sampler",
    },
    "ops": {"_spins", "backends", "hamiltonians", "networks", "sampler"},
    "training": {
        "_files",
        "backends",
        "errors",
        "exact",
        "hamiltonians",
        "networks",
        "observables",
        "random",
        "sampler",
        "saving",
        "store",
    },
    "benchmarks": {"_cpu", "backends", "errors", "hamiltonians", "networks", "sampler", "training"},
    "plots": {"_files", "errors", "hamiltonians", "observables", "training"},
    "demo": {
        *("benchmarks", "errors", "exact", "hamiltonians", "networks", "observables", "plots", "sampler", "saving"),
        *("store", "training"),
    },
    "reproduce": {
        *("_files", "errors", "exact", "hamiltonians", "mcmc", "networks", "observables", "plots", "sampler"),
        "training",
    },
    "vanfast": {
        *("_cpu", "exact", "hamiltonians", "mcmc", "networks", "observables", "ops", "sampler", "saving", "store"),
        "training",
    },
}
MAY_IMPORT["cli"] = {*MAY_IMPORT}
# net.save(path) calls what stands above networks, inside the method.
# A network's Hamiltonian holds a network and its sampler.
INSIDE_A_FUNCTION = {
    ("networks", "saving"),
    *(("hamiltonians", part) for part in ("networks", "backends", "sampler")),
}


def part_of(module: str) -> str:
    """The part of `vanfast` that a dotted name lies in; "vanfast" is the package itself, as in `__version__`."""
    name = [*module.split("."), "__init__"][1]
    exists = name in MAY_IMPORT or (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    return name if exists and name != "__init__" else "vanfast"


def imports_of(file: Path) -> set[tuple[str, bool]]:
    """Absolute names of what a file imports anywhere in it, also by a string, and whether inside a function."""
    tree = ast.parse(file.read_text())
    late = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    package = file.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from vanfast import exact` names a part, `from vanfast.exact import kaufman` lies in one.
            names = [f"{origin}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value.startswith("vanfast.") and part_of(node.value) != "vanfast" else []
        found |= {(name, id(node) in late) for name in names if name.split(".")[0] == "vanfast"}
    return found


PYTHON_FILES = sorted(PACKAGE.rglob("*.py"))


def test_the_table_of_imports_has_no_circle():
    below: set[str] = set()
    for part, allowed in MAY_IMPORT.items():
        assert allowed <= below, f"{part} may import {allowed - below}, which the table has after it"
        below.add(part)


@pytest.mark.parametrize("file", PYTHON_FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_one_way(file):
    importer = part_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
    assert importer in MAY_IMPORT, f"the new part {importer!r} needs its line in MAY_IMPORT"
    for name, late in imports_of(file):
        part = part_of(name)
        allowed = part in MAY_IMPORT[importer] | {importer} or (late and (importer, part) in INSIDE_A_FUNCTION)
        assert allowed, f"{importer} must not import {name}"


def test_import_is_light():
    heavy = ["triton", "matplotlib", "scipy", "safetensors", "h5py", "rich", "vanfast.cli"]
    code = "import sys, json, vanfast, torch; print(json.dumps([*sys.modules])); assert not torch.cuda.is_initialized()"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = set(json.loads(done.stdout))
    assert "vanfast.sampler" in loaded
    assert not loaded & set(heavy)


SUFFIXES = {".py", ".pyi", ".cpp", ".h", ".inl", ".cu", ".cuh"}
FOLDERS = [ROOT / name for name in ("csrc", "kernels", "vanfast", "tests", "bench")]
SOURCES = [ROOT / "setup.py", *(file for folder in FOLDERS for file in folder.rglob("*"))]


def test_files_are_short():
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in SOURCES if f.suffix in SUFFIXES}
    assert len(lengths) > 50
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_every_registered_marker_is_used(pytestconfig):
    project = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^markers = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    registered = re.findall(r'^\s*"(\w+)', listed[1], re.MULTILINE) if listed else []
    assert {f"{name}: " in " ".join(pytestconfig.getini("markers")) for name in registered} <= {True}
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("*.py"))
    assert [name for name in registered if not re.search(rf"pytest\.mark\.{name}\b", tests)] == []


def test_extras_named_in_messages_exist():
    extras = importlib.metadata.metadata("vanfast").get_all("Provides-Extra")
    named = {
        node.args[1].value
        for file in PYTHON_FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "MissingDependency"
    }
    assert {"plots", "h5", "sparse"} <= named <= set(extras)


def test_torch_is_no_part_of_the_build():
    build = re.search(r"^\[build-system\](.*?)^\[", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    requires = re.findall(r'"([\w-]+)[^"]*"', re.search(r"requires = (\[.*?\])", build[1], re.DOTALL)[1])
    assert set(requires) == {"setuptools", "pybind11"}


@pytest.mark.parametrize("name", ["_cpu", "_cuda"])
def test_the_native_modules_link_nothing_but_the_system(name):
    if not (readelf := shutil.which("readelf")):
        pytest.skip("readelf is not installed")
    module = pytest.importorskip(f"vanfast.{name}", reason="vanfast was built without nvcc")
    listing = subprocess.run([readelf, "-d", module.__file__], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\.so", listing))
    assert "libstdc++" in needed
    loaders = {"ld-linux-x86-64", "ld-linux-aarch64"}
    assert needed <= {"libstdc++", "libm", "libgcc_s", "libc", "libpthread", "libdl", "librt", *loaders}


def test_the_stub_tells_the_names_of_the_native_module():
    stubs.assert_true(PACKAGE / "_cpu.pyi", _cpu)
