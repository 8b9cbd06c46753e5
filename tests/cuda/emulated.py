"""Builds csrc/cuda for the host (csrc/emulation) as a Python module like vanfast._cuda, and loads it.

Objects are kept under build/emulated and made anew only when a file that went into them has other contents. From the
command line: `python -m tests.cuda.emulated` builds. VANFAST_EMULATED_ONLY="conv" leaves out the engines that it does
not name (a comma between several), for work on one of them while others are in pieces.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pybind11

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "emulated"
ALWAYS = ("csrc/emulation/*.cpp", "csrc/cuda/module.cpp", "csrc/cuda/device.cpp", "csrc/cuda/philox_words.cu")
FLAGS = ["-std=c++17", "-g1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-DVANFAST_EMULATE", "-Icsrc"]
FLAGS += ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
# Fibers leave frames behind, which AddressSanitizer is told of; misaligned vectors are the sanitizer of undefined
# behaviour's to find.
VARIANTS = {
    "plain": ["-O2"],
    "asan": ["-O1", "-fsanitize=address,alignment,bounds,shift,signed-integer-overflow", "-fno-omit-frame-pointer"],
}


def compiler() -> str:
    return os.environ.get("CXX", "g++")


@functools.cache
def compiler_version() -> str:
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout


def chosen(file: Path) -> bool:
    """Whether VANFAST_EMULATED_ONLY names the file, or nothing."""
    return any(name in file.stem for name in os.environ.get("VANFAST_EMULATED_ONLY", "").split(","))


def sources() -> list[Path]:
    """What the module is made of, relative to the root."""
    found = {
        file for pattern in ("csrc/emulation/*.cpp", "csrc/cuda/*.cpp", "csrc/cuda/*.cu") for file in ROOT.glob(pattern)
    }
    always = {file for pattern in ALWAYS for file in ROOT.glob(pattern)}
    found = always | {file for file in found if chosen(file)}
    return sorted(file.relative_to(ROOT) for file in found)


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def contents(file: Path) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()[:20]


def is_current(record: Path) -> bool:
    """Whether all that went into an object, which the record beside it lists, still has the same contents."""
    try:
        return all(contents(Path(name)) == known for name, known in json.loads(record.read_text()).items())
    except (OSError, ValueError):
        return False


def compile_object(source: Path, flags: list[str]) -> Path:
    """The object of a source; its name tells the flags and the source's contents with all headers'."""
    folder = BUILD / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / f"{source.stem}-{digest(str(source), *flags, compiler_version(), pybind11.__version__)}"
    product, record, rule = (base.with_suffix(suffix) for suffix in (".o", ".json", ".d"))
    if product.exists() and is_current(record):
        return product
    record.unlink(missing_ok=True)
    before = contents(source)
    system = ["-isystem", pybind11.get_include(), "-isystem", sysconfig.get_path("include")]
    command = [
        compiler(),
        "-x",
        "c++",
        *flags,
        *system,
        "-MMD",
        "-MF",
        str(rule),
        "-c",
        str(source),
        "-o",
        str(product),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stderr}")
    inputs = shlex.split(rule.read_text().replace("\\\n", " ").partition(": ")[2])
    known = {name: contents(Path(name)) for name in inputs} | {str(source): before}
    record.write_text(json.dumps(known))
    return product


def link(objects: list[Path], folder: Path, flags: list[str]) -> Path:
    """A module is never overwritten: a process may have the old one loaded."""
    name = digest(*(f"{file.name} {contents(file)}" for file in objects), *flags)
    product = folder / name / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not product.exists():
        product.parent.mkdir(parents=True, exist_ok=True)
        unfinished = product.with_suffix(".tmp")
        command = [compiler(), "-shared", *flags, *map(str, objects), "-o", str(unfinished)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}\n{done.stderr}")
        unfinished.rename(product)
    os.utime(product.parent)
    for old in sorted(folder.iterdir(), key=lambda f: f.stat().st_mtime)[:-8]:
        for file in old.iterdir():
            file.unlink(missing_ok=True)
        old.rmdir()
    return product


def build(variant: str = "plain", files: list[Path] | None = None) -> Path:
    """The path of the module; `files`, relative to the root, replace what csrc/cuda holds."""
    flags = [*FLAGS, *VARIANTS[variant]]
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)) as pool:
            objects = list(pool.map(lambda source: compile_object(source, flags), files or sources()))
        return link(objects, BUILD / variant, VARIANTS[variant])


@functools.cache
def load(path: Path | str) -> ModuleType:
    path = Path(path)
    # A name of its own: pybind11 would give the module that it made before by the same name.
    spec = importlib.util.spec_from_file_location(f"emulated_{path.parent.name}._cuda", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sanitized_environment() -> dict[str, str]:
    """What a process needs to load the variant "asan"; FileNotFoundError where the compiler has no sanitizer."""
    libraries = []
    for name in ("libasan.so", "libstdc++.so.6"):  # the second: or the first would not find what it intercepts
        command = [compiler(), f"-print-file-name={name}"]
        path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        if not path.is_absolute():
            raise FileNotFoundError(f"{compiler()} has no {name}")
        libraries.append(str(path))
    options = "detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=0:exitcode=99:allocator_may_return_null=1"
    undefined = "print_stacktrace=1:halt_on_error=1:exitcode=99"
    return os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": options,
        "UBSAN_OPTIONS": undefined,
        "OMP_NUM_THREADS": "1",
    }


if __name__ == "__main__":
    print(build(sys.argv[1] if len(sys.argv) > 1 else "plain"))
