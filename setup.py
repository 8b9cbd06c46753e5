"""Build of the native modules: vanfast._cpu, one translation unit per source file of csrc/cpu."""

import os
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11
from pybind11.setup_helpers import Pybind11Extension
from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent


def files(folder: str, *patterns: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in (ROOT / folder).rglob(pattern))


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
        jobs = int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)

        def compile_one(source, output_dir=None, **options):
            (product,) = self.compiler.object_filenames([source], output_dir=output_dir)
            if self.force or not is_current(Path(product)):
                start = start_of_build()
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
        super().build_extension(ext)
        os.utime(self.get_ext_fullpath(ext.name), (start, start))


setup(
    packages=[*find_packages(include=["vanfast", "vanfast.*"]), "vanfast.kernels"],
    package_dir={"vanfast.kernels": "kernels"},
    ext_modules=[
        Pybind11Extension(
            "vanfast._cpu",
            files("csrc/cpu", "*.cpp"),
            depends=["setup.py", *files("csrc", "*.h", "*.inl")],
            include_dirs=["csrc"],
            cxx_std=17,
            # Contraction is off so that a sum is rounded the same way in every translation unit; FMA is written out.
            extra_compile_args=["-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread", "-MMD"],
            extra_link_args=["-pthread"],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
