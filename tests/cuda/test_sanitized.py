"""Kernels under AddressSanitizer, in processes of their own (see emulated.VARIANTS): the cases of their barriers."""

import json
import subprocess
import sys

import pytest

from tests.cuda import barriers, emulated

CASES = """
import json, sys
from tests.cuda import barriers, emulated
module = emulated.load(sys.argv[1])
result = {name: len(barriers.outcome(module, case, seed=1)[0]) for name, case in barriers.cases().items()}
print(json.dumps(result))
"""

OVERRUN = """
import sys, torch
from tests.cuda import emulated
words = torch.empty((10, 4), dtype=torch.int32)
for count in (10, 11):
    print(count, flush=True)
    emulated.load(sys.argv[1]).philox_words(words.data_ptr(), count, 1, 0, 0, 0, device=0, stream=0)
"""


@pytest.fixture(scope="module")
def run(emulated_module):
    try:
        environment = emulated.sanitized_environment()
    except FileNotFoundError as error:
        pytest.skip(f"no AddressSanitizer: {error}")
    path = str(emulated.build("asan"))

    def run(script):
        command = [sys.executable, "-c", script, path]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=emulated.ROOT)

    return run


def test_no_kernel_reads_or_writes_what_is_not_its_own(run):
    done = run(CASES)
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]
    outputs = json.loads(done.stdout)
    assert {*outputs} == {*barriers.cases()}
    assert min(outputs.values()) > 0


def test_a_write_behind_a_tensor_is_found(run):
    done = run(OVERRUN)
    assert (done.returncode, done.stdout.split()) == (99, ["10", "11"])
    assert "heap-buffer-overflow" in done.stderr
    assert "philox_words_kernel csrc/cuda/philox_words.cu" in done.stderr
