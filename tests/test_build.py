"""Distributions: what an sdist and a build hold, and that a wheel made from an sdist installs and runs."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytest.importorskip("setuptools", "77")
pytest.importorskip("pybind11", "2.12")


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tracked():
    """Files under version control, by their path from the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a working copy: what belongs to the project is not known")
    return run("git", "ls-files", cwd=ROOT).splitlines()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    target = tmp_path_factory.mktemp("sdist")
    # egg_info of its own: nothing is written into the source tree, and no list of files from an earlier run is read.
    run(sys.executable, "setup.py", "-q", "egg_info", "-e", target, "sdist", "-d", target, cwd=ROOT)
    (archive,) = target.glob("*.tar.gz")
    return archive


def test_sdist_holds_all_that_is_tracked(sdist, tracked):
    held = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    missing = [name for name in tracked if name not in held and not name.startswith(".") and (ROOT / name).exists()]
    assert missing == []


def test_build_holds_every_python_file_with_types(tmp_path, tracked):
    run(sys.executable, "setup.py", "-q", "egg_info", "-e", tmp_path, "build_py", "-d", tmp_path / "built", cwd=ROOT)
    built = {str(file.relative_to(tmp_path / "built")) for file in (tmp_path / "built").rglob("*") if file.is_file()}
    homes = {"vanfast/": "vanfast/", "kernels/": "vanfast/kernels/"}
    expected = {
        name.replace(home, target, 1)
        for name in tracked
        for home, target in homes.items()
        if name.startswith(home) and (ROOT / name).exists()
    }
    typed = {"vanfast/py.typed", "vanfast/_cpu.pyi", "vanfast/_cuda.pyi"}
    assert {*typed, "vanfast/exact/__init__.py", "vanfast/kernels/__init__.py"} <= expected
    assert expected <= built
    assert {Path(name).parts[0] for name in built} == {"vanfast"}


def set_up(*arguments, **variables):
    """`setup.py`, with no nvcc but what the variables name."""
    environment = {name: value for name, value in os.environ.items() if name not in ("CUDA_HOME", "CUDA_PATH")}
    environment |= {"PATH": "/usr/bin:/bin"} | variables
    command = [sys.executable, "setup.py", "-q", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_cuda_can_be_demanded_and_forbidden(tmp_path):
    done = set_up("cuda_objects", VANFAST_CUDA="0")
    assert (done.returncode, done.stdout) == (0, "")
    done = set_up("cuda_objects", VANFAST_CUDA="yes")
    assert done.returncode != 0
    assert "VANFAST_CUDA is 'yes'; 1 demands nvcc" in done.stderr
    for wrong in ("nonsense", "80,90", "sm_90", "8.0", "80;", "70;90"):
        done = set_up("cuda_objects", VANFAST_CUDA="0", VANFAST_CUDA_ARCHS=wrong)
        assert done.returncode != 0
        assert f"VANFAST_CUDA_ARCHS is '{wrong}'; expected capabilities from 80 on" in done.stderr
    # What is called nvcc is asked where its toolkit is, and believed.
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text(f"#!/bin/sh\necho '#$ TOP={tmp_path}/toolkit' >&2\n")
    nvcc.chmod(0o755)
    done = set_up("cuda_objects", CUDA_HOME=str(tmp_path))
    assert done.returncode != 0
    assert f"belongs to {tmp_path}/toolkit, which lacks cuda_runtime.h" in done.stderr
    if not Path("/usr/local/cuda/bin/nvcc").exists():
        done = set_up("cuda_objects", VANFAST_CUDA="1")
        assert "VANFAST_CUDA=1, but no nvcc was found" in done.stderr
        assert set_up("cuda_objects").stdout == ""


@pytest.mark.slow
def test_wheel_from_sdist_installs_and_runs(sdist, tmp_path):
    """Without network: with the build tools and libraries of this environment, but none of its vanfast. Not CUDA's."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "-w", tmp_path]
    run(*pip, "wheel", "-q", *options, sdist, env=os.environ | {"VANFAST_CUDA": "0"})
    (wheel,) = tmp_path.glob("*.whl")
    run(*pip, "install", "-q", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path / "site")}}
    script = "import vanfast, vanfast._cpu as c; print(vanfast.__file__, c.__file__, vanfast.__version__)"
    *files, version = run(sys.executable, "-c", script, **options).split()
    assert all(Path(file).is_relative_to(tmp_path) for file in files)
    command = tmp_path / "site" / "bin" / "vanfast"
    assert run(command, "--version", **options).strip() == version
    facts = json.loads(run(command, "info", "--json", **options))
    assert facts["version"] == version
    assert {backend["name"]: backend["available"] for backend in facts["backends"]}["cpu"]
