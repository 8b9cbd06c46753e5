"""The emulation under AddressSanitizer, in processes of its own: mistakes end them, right kernels do not."""

import subprocess
import sys

import pytest

from tests.cuda import emulated
from tests.emulation import kernel_sources

SCRIPT = """
import sys
import numpy as np
from tests.cuda import emulated
module = emulated.load(sys.argv[1])
name, n, words, size, threads, shared = sys.argv[2], *map(int, sys.argv[3:])
for seed in range(3):
    module.emulation_seed(seed)
    x, out = np.arange(words, dtype=np.uint32), np.zeros(size, dtype=np.uint32)
    try:
        module.run(name, x.ctypes.data, out.ctypes.data, n, (2, 1, 1), (threads, 1, 1), shared)
    except RuntimeError as error:
        print("raised:", error)
    else:
        print("returned")
"""


@pytest.fixture(scope="module")
def run():
    try:
        environment = emulated.sanitized_environment()
        path = emulated.build("asan", kernel_sources())
    except FileNotFoundError as error:
        pytest.skip(f"no AddressSanitizer: {error}")

    def run(kernel, *numbers):
        command = [sys.executable, "-c", SCRIPT, str(path), kernel, *map(str, numbers)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=emulated.ROOT)

    return run


MISTAKES = {
    "shared, one byte behind": ("write_shared_byte", 100, 1, 1, 32, 100, "heap-buffer-overflow"),
    "shared, far behind": ("write_shared_byte", 110, 1, 1, 32, 100, "heap-buffer-overflow"),
    "shared, one byte before": ("write_shared_byte", -1, 1, 1, 32, 100, "heap-buffer-overflow"),
    "output": ("write_word", 3000, 1, 3000, 32, 0, "heap-buffer-overflow"),
    "input": ("reverse", 64, 63, 64, 64, 256, "heap-buffer-overflow"),
    "source of a copy": ("copies", 64, 511, 1024, 64, 2048, "heap-buffer-overflow"),
    "misaligned vector": ("read_vector", 1, 64, 32, 32, 0, "misaligned address"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found(run, mistake):
    *arguments, message = MISTAKES[mistake]
    done = run(*arguments)
    assert done.returncode == 99, done.stdout + done.stderr
    assert message in done.stderr


RIGHT = {
    "reverse": (1024, 1024, 1024, 1024, 4096),
    "half_warps": (0, 64, 64, 64, 256),
    "copies": (50, 512, 768, 64, 2048),
    "product_through_shared": (2, 192, 128, 32, 768),
    "shuffles": (8, 32, 256, 32, 0),
    "read_vector": (4, 64, 32, 32, 0),
}


@pytest.mark.parametrize("kernel", RIGHT)
def test_right_kernels_pass(run, kernel):
    done = run(kernel, *RIGHT[kernel])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["returned"] * 3
    assert done.stderr == ""


@pytest.mark.parametrize("kernel", ["deadlock", "trap", "diverging", "lane_exits"])
def test_errors_are_still_exceptions(run, kernel):
    done = run(kernel, 5, 64, 64, 32, 256)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"raised: {kernel}, block") == 3
    assert done.stderr == ""
