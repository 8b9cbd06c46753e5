"""The CUDA module as a whole: its stub, and that it loads where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import stubs

STUB = Path(__file__).parents[2] / "vanfast" / "_cuda.pyi"


def test_the_stub_tells_the_names_of_the_emulated_module(emulated_module):
    stubs.assert_true(STUB, emulated_module, besides="emulation_")


def test_the_stub_tells_the_names_of_the_compiled_module():
    stubs.assert_true(STUB, pytest.importorskip("vanfast._cuda", reason="vanfast was built without nvcc"))


def test_without_a_driver_there_are_no_devices():
    pytest.importorskip("vanfast._cuda", reason="vanfast was built without nvcc")
    code = "from vanfast import _cuda; print(_cuda.device_count(), _cuda.emulated, _cuda.device_error())"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    count, emulated, *reason = done.stdout.split()
    assert (count, emulated) == ("0", "False")
    assert reason
