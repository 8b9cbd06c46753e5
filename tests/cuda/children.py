"""Functions run in a forked process: what they break, or never finish, is told and does no harm here."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from collections.abc import Callable
from typing import Any


class Failed(Exception):
    """What ended the child: an exception's text, a signal, or its time."""


def in_child(function: Callable[[], Any], seconds: int = 60) -> Any:
    """The function's result, which must be possible to pickle; Failed if it raised, crashed or took too long."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            os.close(read)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            try:
                answer = (True, function())
            except Exception as error:
                answer = (False, f"{type(error).__name__}: {error}")
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise Failed(signal.Signals(os.WTERMSIG(status)).name)
    if not data:
        raise Failed("no answer")
    good, result = pickle.loads(data)
    if not good:
        raise Failed(result)
    return result
