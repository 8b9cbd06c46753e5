"""The argument parser and its types: every complaint is one line that says what is allowed."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse that complains in one line and takes no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def integer(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """argparse type of an integer in a range; 1e6 and 1_000_000 are integers too."""
    allowed = f"an integer >= {lowest}" if highest is None else f"an integer in [{lowest}, {highest}]"

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            try:
                number = float(text)
            except ValueError:
                number = math.nan
            if not number.is_integer():
                raise argparse.ArgumentTypeError(f"must be {allowed}, got {text!r}") from None
            value = int(number)
        if value < lowest or (highest is not None and value > highest):
            raise argparse.ArgumentTypeError(f"must be {allowed}, got {text!r}")
        return value

    return convert


def real(allowed: str = "a finite number", accept: Callable[[float], bool] = lambda x: True) -> Callable[[str], float]:
    """argparse type of a finite number that `accept` takes; `allowed` says which those are."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and accept(value)):
            raise argparse.ArgumentTypeError(f"must be {allowed}, got {text!r}")
        return value

    return convert


positive = real("a number > 0", lambda x: x > 0)


def levels(text: str) -> list[float]:
    """argparse type of the numbers that states stand for."""
    return [real("finite numbers such as -4,-2,0,2,4")(word) for word in text.split(",")]


seed = integer(0, 2**64 - 1)


def sides(text: str) -> tuple[int, ...]:
    """argparse type of a shape or a list of widths: 8x8 or 8,8."""
    try:
        values = tuple(int(word) for word in text.replace("x", ",").split(","))
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"must be integers >= 1 such as 8x8 or 8,8, got {text!r}")
    return values


def plain_warning(name: str) -> Callable[..., None]:
    """A replacement of warnings.showwarning that prints one line on standard error."""

    def show(message: Warning | str, *details: Any, **more: Any) -> None:
        print(f"vanfast {name}: warning: {message}", file=sys.stderr)

    return show
