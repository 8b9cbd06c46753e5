"""Build of the native modules: vanfast._cpu always, vanfast._cuda where nvcc is found.

VANFAST_CUDA=1 demands nvcc, =0 does without. VANFAST_CUDA_ARCHS, default "80;90", lists compute capabilities; code for
the newest also runs on those that come after it. Neither a GPU nor a driver is asked for.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11
from pybind11.setup_helpers import Pybind11Extension
from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent


def cuda_archs() -> list[str]:
    """Those of VANFAST_CUDA_ARCHS. Tensor-core products of bf16 and tf32 begin with 80."""
    wish = os.environ.get("VANFAST_CUDA_ARCHS") or "80;90"
    archs = wish.split(";")
    if not all(re.fullmatch(r"[1-9]\d+[af]?", arch) and int(arch.rstrip("af")) >= 80 for arch in archs):
        raise SystemExit(f"VANFAST_CUDA_ARCHS is {wish!r}; expected capabilities from 80 on, as in '80;90'")
    return archs


def files(folder: str, *patterns: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in (ROOT / folder).rglob(pattern))


def find_nvcc() -> str | None:
    """CUDA_HOME and CUDA_PATH come before PATH, and that before the usual place."""
    wish = os.environ.get("VANFAST_CUDA", "")
    if wish not in ("", "0", "1"):
        raise SystemExit(f"VANFAST_CUDA is {wish!r}; 1 demands nvcc, 0 does without, unset takes it where it is")
    if wish == "0":
        return None
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    places = [*(os.path.join(home, "bin") for home in homes), None, "/usr/local/cuda/bin"]
    nvcc = next((found for place in places if (found := shutil.which("nvcc", path=place))), None)
    if wish == "1" and nvcc is None:
        raise SystemExit("VANFAST_CUDA=1, but no nvcc was found by CUDA_HOME, CUDA_PATH, PATH or in /usr/local/cuda")
    return nvcc


def toolkit(nvcc: str) -> tuple[list[str], list[str]]:
    """Folders of headers and of libraries. nvcc itself is asked: the one on PATH may be a script that calls another."""
    command = [nvcc, "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull]
    answer = subprocess.run(command, capture_output=True, text=True).stderr
    tops = [line.removeprefix("#$ TOP=") for line in answer.splitlines() if line.startswith("#$ TOP=")]
    top = Path(tops[0]) if tops else Path(nvcc).parent.parent
    roots = [top.resolve(), *sorted((top.resolve() / "targets").glob("*-linux"))]
    headers = [str(root / "include") for root in roots if (root / "include/cuda_runtime.h").exists()]
    libraries = [
        str(d) for root in roots for d in (root / "lib64", root / "lib") if (d / "libcudart_static.a").exists()
    ]
    if not headers or not libraries:
        raise SystemExit(
            f"{nvcc} belongs to {top}, which lacks cuda_runtime.h or libcudart_static.a; VANFAST_CUDA=0 skips"
        )
    return headers[:1], libraries[:1]


def is_current(product: Path) -> bool:
    """Whether an object is younger than this file and all that went into it, which the compiler (-MMD) lists beside."""
    try:
        rule = product.with_suffix(".d").read_text().replace("\\\n", " ")
        inputs = shlex.split(rule.partition(": ")[2])
        # An isolated build has a pybind11 of its own, and no two of them may meet in one module.
        if not inputs or any("pybind11" in name and not name.startswith(pybind11.get_include()) for name in inputs):
            return False
        made = product.stat().st_mtime
        return all(Path(name).stat().st_mtime < made for name in (*inputs, "setup.py"))
    except OSError:  # never compiled, or an input is gone
        return False


def start_of_build() -> float:
    """The time that products get: what is edited while they are made is younger. A file system's clock may lag."""
    return time.time() - 1


def nvcc_command(nvcc: str, source: str, product: str) -> list[str]:
    newest = max(CUDA_ARCHS, key=lambda arch: int(arch.rstrip("af")))
    codes = [*((arch, f"sm_{arch}") for arch in CUDA_ARCHS), (newest, f"compute_{newest}")]
    targets = [f"-gencode=arch=compute_{arch},code={code}" for arch, code in codes]
    host = "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra,-Werror"
    rule = ["-MMD", "-MF", str(Path(product).with_suffix(".d"))]
    return [
        *(nvcc, "-c", source, "-o", product, "-std=c++17", "-O3", "-lineinfo", "-Icsrc"),
        *("-Werror", "all-warnings", host, *rule, *targets),
    ]


def objects_of(folder: str, ext: Pybind11Extension) -> str:
    """Where an extension's objects go: kernels for other GPUs are other objects."""
    return os.path.join(folder, "cuda-" + "-".join(CUDA_ARCHS)) if ext.name == "vanfast._cuda" else folder


class BuildExt(build_ext):
    """Compiles sources whose objects are out of date, in parallel (MAX_JOBS, default: all cores).

    Other compilers or flags in the environment are not noticed: use --force, or remove build/.
    """

    def finalize_options(self):
        super().finalize_options()
        if self.editable_mode:  # its objects would go to a folder that is thrown away
            self.build_temp = f"build/temp.{self.plat_name}-{sys.implementation.cache_tag}"

    def build_extensions(self):
        compile_all = self.compiler.compile
        self.compiler.src_extensions.append(".cu")
        jobs = int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)

        def compile_one(source, output_dir=None, **options):
            (product,) = self.compiler.object_filenames([source], output_dir=output_dir)
            if self.force or not is_current(Path(product)):
                start = start_of_build()
                if source.endswith(".cu"):
                    Path(product).parent.mkdir(parents=True, exist_ok=True)
                    self.spawn(nvcc_command(NVCC, source, product))
                else:
                    compile_all([source], output_dir=output_dir, **options)
                os.utime(product, (start, start))
            return product

        def compile_parallel(sources, **options):
            with ThreadPoolExecutor(jobs) as pool:
                return list(pool.map(lambda source: compile_one(source, **options), sources))

        self.compiler.compile = compile_parallel
        super().build_extensions()

    def build_extension(self, ext):
        start = start_of_build()
        temporary = self.build_temp
        self.build_temp = objects_of(temporary, ext)
        super().build_extension(ext)
        self.build_temp = temporary
        os.utime(self.get_ext_fullpath(ext.name), (start, start))


class CudaObjects(BuildExt):
    """Brings the objects of csrc/cuda/*.cu up to date and prints their paths, for who wants to look inside."""

    description = "compile the CUDA kernels and print where the objects are"

    def build_extension(self, ext):
        if ext.name != "vanfast._cuda":
            return
        kernels = [source for source in ext.sources if source.endswith(".cu")]
        print(*self.compiler.compile(kernels, output_dir=objects_of(self.build_temp, ext)), sep="\n")


HEADERS = ["setup.py", *files("csrc", "*.h", "*.inl", "*.cuh")]


def cpu_extension() -> Pybind11Extension:
    return Pybind11Extension(
        "vanfast._cpu",
        files("csrc/cpu", "*.cpp"),
        depends=HEADERS,
        include_dirs=["csrc"],
        cxx_std=17,
        # Contraction is off so that a sum is rounded the same way in every translation unit; FMA is written out.
        extra_compile_args=["-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread", "-MMD"],
        extra_link_args=["-pthread"],
    )


def cuda_extension(nvcc: str) -> Pybind11Extension:
    """The runtime is linked statically and finds the driver by itself: the module loads where there is none."""
    headers, libraries = toolkit(nvcc)
    return Pybind11Extension(
        "vanfast._cuda",
        files("csrc/cuda", "*.cpp", "*.cu"),
        depends=HEADERS,
        include_dirs=["csrc"],
        cxx_std=17,
        extra_compile_args=["-O2", "-Wall", "-Wextra", "-MMD", *(f"-isystem{folder}" for folder in headers)],
        library_dirs=libraries,
        libraries=["cudart_static", "dl", "rt", "pthread"],
        extra_link_args=["-Wl,--exclude-libs,ALL"],
    )


NVCC = find_nvcc()
CUDA_ARCHS = cuda_archs()
setup(
    packages=[*find_packages(include=["vanfast", "vanfast.*"]), "vanfast.kernels"],
    package_dir={"vanfast.kernels": "kernels"},
    ext_modules=[cpu_extension(), *([cuda_extension(NVCC)] if NVCC else [])],
    cmdclass={"build_ext": BuildExt, "cuda_objects": CudaObjects},
)
