"""Stopping a run politely: a signal is noted, the step under way is finished, the state is saved, then we leave."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by a signal; `run` (a Run or FitRun) holds what was reached, `signum` the signal."""

    def __init__(self, message: str, run: Any, signum: int) -> None:
        super().__init__(message)
        self.run = run
        self.signum = signum


class StopRequest:
    """Context manager that turns SIGINT and SIGTERM into `signum` while a run goes on.

    A second signal is not held back: it raises KeyboardInterrupt at once. Python allows handlers in the main
    thread only; elsewhere this does nothing, and the main thread's own handlers stay in charge.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._previous: dict[int, Any] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            raise KeyboardInterrupt
        self.signum = signum

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                # A handler that the embedding program set for SIGTERM is its own business.
                if signum == signal.SIGINT or signal.getsignal(signum) == signal.SIG_DFL:
                    self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *details: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous.clear()
