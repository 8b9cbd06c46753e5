"""Learning-rate schedules: the factor that multiplies the learning rate at every step.

A schedule's whole state is JSON, so that a checkpoint restores it exactly.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar


class Schedule:
    """Base: constant factor 1. Subclasses list their arguments (with defaults) in `arguments`."""

    name: ClassVar[str] = "constant"
    arguments: ClassVar[dict[str, float]] = {}
    may_grow: ClassVar[bool] = True  # whether the total number of steps may change half-way
    observes: ClassVar[bool] = False  # whether a step's factor depends on the losses before it

    def __init__(self, **arguments: float) -> None:
        for key in arguments:
            if key not in self.arguments:
                allowed = ", ".join(self.arguments) or "none"
                raise ValueError(f"schedule {self.name!r} has no argument {key!r}; allowed: {allowed}")
        self.values = {**self.arguments, **arguments}
        for key, value in self.values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"schedule argument {key} must be a finite number >= 0, got {value!r}")

    def factor(self, step: int, total: int) -> float:
        """Factor for `step` (0-based) of `total`."""
        return 1.0

    def observe(self, loss: float, at_target: bool) -> None:
        """Told after every step: the loss per site, and whether beta has reached its target (annealing over)."""

    def restart(self) -> None:
        """Told at the start of a new rung of a ladder."""

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        if state:
            raise ValueError(f"schedule {self.name!r} has no state, got {sorted(state)}")

    def config(self) -> dict[str, Any]:
        return {"name": self.name, **self.values}


class Cosine(Schedule):
    """Half a cosine from 1 down to `final` over the whole run."""

    name = "cosine"
    arguments: ClassVar[dict[str, float]] = {"final": 0.0}
    may_grow = False

    def factor(self, step: int, total: int) -> float:
        final = self.values["final"]
        return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * step / total))


class Plateau(Schedule):
    """Multiplies by `factor` when the smoothed loss has not fallen by `threshold` for `patience` steps.

    The loss per site is smoothed with an exponential average over about `window` steps; nothing is counted while
    beta is still being annealed, where the loss changes for another reason.
    """

    name = "plateau"
    observes = True
    arguments: ClassVar[dict[str, float]] = {
        "factor": 0.5,
        "patience": 200,
        "threshold": 1e-5,
        "window": 50,
        "lowest": 0.01,
    }

    def __init__(self, **arguments: float) -> None:
        super().__init__(**arguments)
        if not 0 < self.values["factor"] < 1:
            raise ValueError(f"schedule argument factor must be in (0, 1), got {self.values['factor']}")
        self.current = 1.0
        self.restart()

    def restart(self) -> None:
        self.smooth = math.inf
        self.best = math.inf
        self.waited = 0

    def factor(self, step: int, total: int) -> float:
        return self.current

    def observe(self, loss: float, at_target: bool) -> None:
        if not at_target:
            return
        weight = 1.0 / max(1.0, self.values["window"])
        self.smooth = loss if math.isinf(self.smooth) else self.smooth + weight * (loss - self.smooth)
        if self.smooth < self.best - self.values["threshold"]:
            self.best, self.waited = self.smooth, 0
            return
        self.waited += 1
        if self.waited >= self.values["patience"]:
            self.current = max(self.current * self.values["factor"], self.values["lowest"])
            self.waited = 0

    def state(self) -> dict[str, float]:
        # JSON has no infinity: -1 steps waited says that nothing has been seen yet.
        if math.isinf(self.smooth):
            return {"current": self.current, "smooth": 0.0, "best": 0.0, "waited": -1}
        return {"current": self.current, "smooth": self.smooth, "best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, float]) -> None:
        self.restart()
        self.current = state["current"]
        if state["waited"] >= 0:
            self.smooth, self.best, self.waited = state["smooth"], state["best"], int(state["waited"])


SCHEDULES: dict[str, type[Schedule]] = {kind.name: kind for kind in (Schedule, Cosine, Plateau)}


def make_schedule(spec: str | dict[str, Any]) -> Schedule:
    """Schedule from its name, or a dict with `name` and its arguments, such as {"name": "cosine", "final": 0.1}."""
    arguments = {"name": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, dict) else {}
    name = arguments.pop("name", None)
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, or a dict with such a name, got {spec!r}")
    return SCHEDULES[name](**arguments)
