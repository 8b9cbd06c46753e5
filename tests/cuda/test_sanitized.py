"""The cases of the kernels' barriers under AddressSanitizer, in a process of their own (see emulated.VARIANTS)."""

import json
import subprocess
import sys

import pytest

from tests.cuda import barriers, emulated

SCRIPT = """
import json, sys
from tests.cuda import barriers, emulated
module = emulated.load(sys.argv[1])
result = {name: len(barriers.outcome(module, case, seed=1)[0]) for name, case in barriers.cases().items()}
print(json.dumps(result))
"""


def test_no_kernel_reads_or_writes_what_is_not_its_own(emulated_module):
    try:
        environment = emulated.sanitized_environment()
    except FileNotFoundError as error:
        pytest.skip(f"no AddressSanitizer: {error}")
    command = [sys.executable, "-c", SCRIPT, str(emulated.build("asan"))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=emulated.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]
    outputs = json.loads(done.stdout)
    assert {*outputs} == {*barriers.cases()}
    assert min(outputs.values()) > 0
