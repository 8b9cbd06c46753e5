"""The command line in a process of its own, which is told to stop when it has come far enough."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

PATIENCE = 60  # seconds


def stopped(words: Sequence[object], far_enough: Callable[[], bool], signum: int, pause: float = 0.0) -> str:
    """Runs `vanfast words`, sends the signal `pause` seconds after `far_enough`, and gives what was said on standard
    error. The exit code must be that of the signal, and one line must have been said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vanfast.cli", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not far_enough() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(pause)
        process.send_signal(signum)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 128 + signum, said
    assert said.count("\n") == 1, said
    return str(said)
