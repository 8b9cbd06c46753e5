"""Build of the native modules: vanfast._cpu, one translation unit per source file of csrc/cpu."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent


def files(folder: str, *patterns: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in (ROOT / folder).rglob(pattern))


class BuildExt(build_ext):
    """Compiles the sources of an extension in parallel (MAX_JOBS, default: all cores)."""

    def build_extensions(self):
        compile_serially = self.compiler.compile
        jobs = int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)

        def compile_parallel(sources, **options):
            with ThreadPoolExecutor(jobs) as pool:
                return sum(pool.map(lambda source: compile_serially([source], **options), sources), [])

        self.compiler.compile = compile_parallel
        super().build_extensions()


setup(
    ext_modules=[
        Pybind11Extension(
            "vanfast._cpu",
            files("csrc/cpu", "*.cpp"),
            depends=files("csrc", "*.h", "*.inl"),
            include_dirs=["csrc"],
            cxx_std=17,
            # Contraction is off so that a sum is rounded the same way in every translation unit; FMA is written out.
            extra_compile_args=["-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread"],
            extra_link_args=["-pthread"],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
