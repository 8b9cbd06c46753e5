"""What decides the numbers of a training run, checked once and stored with every checkpoint."""

from __future__ import annotations

import dataclasses
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from vanfast.training.schedule import Schedule, make_schedule


def checked_integer(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    allowed = f"an integer >= {lowest}" if highest is None else f"an integer in [{lowest}, {highest}]"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    number = int(value)
    if number < lowest or (highest is not None and number > highest):
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return number


def checked_real(name: str, value: Any, allowed: str, accept: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    if not (math.isfinite(value) and accept(value)):
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return float(value)


Kind = TypeVar("Kind", bound="OptimizerSettings")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(ABC):
    """What every kind of training has: batches, Adam, its learning rate over time, precision."""

    may_change: ClassVar[str]  # what a resumed run may change, for messages

    batch: int
    seed: int
    learning_rate: float
    adam_betas: tuple[float, float]
    clip_norm: float | None
    micro_batch: int | None
    schedule: dict[str, Any]
    precision: str

    @staticmethod
    def checked_optimizer(
        *,
        batch: int,
        least_batch: int,
        seed: int,
        learning_rate: float,
        adam_betas: tuple[float, float],
        clip_norm: float | None,
        micro_batch: int | None,
        schedule: str | dict[str, Any],
        precision: str,
    ) -> dict[str, Any]:
        """The fields above from what a user passed; ValueError or TypeError names the argument that does not fit."""
        if len(tuple(adam_betas)) != 2:
            raise ValueError(f"betas must be two numbers in [0, 1), got {adam_betas!r}")
        allowed = "two numbers in [0, 1)"
        first, second = (checked_real("betas", value, allowed, lambda x: 0 <= x < 1) for value in adam_betas)
        if clip_norm is not None:
            clip_norm = checked_real("clip_norm", clip_norm, "None or a number > 0", lambda x: x > 0)
        return {
            "batch": checked_integer("batch", batch, least_batch),
            "seed": checked_integer("seed", seed, 0, 2**64 - 1),
            "learning_rate": checked_real("learning_rate", learning_rate, "a finite number > 0", lambda x: x > 0),
            "adam_betas": (first, second),
            "clip_norm": clip_norm,
            "micro_batch": None if micro_batch is None else checked_integer("micro_batch", micro_batch, 1),
            "schedule": make_schedule(schedule).config(),
            "precision": precision,
        }

    def make_schedule(self) -> Schedule:
        return make_schedule(self.schedule)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls: type[Kind], stored: dict[str, Any]) -> Kind:
        """Inverse of `to_json` after a passage through JSON (lists become tuples again)."""
        known = {field.name for field in dataclasses.fields(cls)}
        if set(stored) != known:
            raise ValueError(f"settings must hold exactly {sorted(known)}, got {sorted(stored)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        return cls(**values)

    def continued_by(self: Kind, asked: Kind) -> Kind:
        """Settings for going on from a run made with these. ValueError names the first setting that differs and may
        not, with both values."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(asked, field.name)
            if mine != theirs and not self.allows(field.name, theirs):
                raise ValueError(
                    f"{field.name} of the stored run is {_shown(mine)}, asked for {_shown(theirs)}: {self.may_change}"
                )
        return asked

    @abstractmethod
    def allows(self, name: str, value: Any) -> bool:
        """Whether a run that goes on may have this value of a setting, which differs from its own."""


@dataclass(frozen=True, kw_only=True)
class Settings(OptimizerSettings):
    """Checked settings of variational training; `beta` and `steps` hold one entry for every rung of the ladder."""

    may_change = "only the steps of the last beta may change in a resumed run, and not with a cosine schedule"

    beta: tuple[float, ...]
    steps: tuple[int, ...]
    anneal: float | None

    @classmethod
    def checked(
        cls,
        *,
        beta: float | Sequence[float],
        steps: int | Sequence[int],
        anneal: float | None,
        **optimizer: Any,
    ) -> Settings:
        """Settings from what a user passed; ValueError or TypeError names the argument that does not fit."""
        ladder = tuple(beta) if isinstance(beta, Iterable) else (beta,)
        if not ladder:
            raise ValueError("beta must hold at least one inverse temperature, got none")
        ladder = tuple(checked_real("beta", value, "a finite number > 0", lambda x: x > 0) for value in ladder)
        counts = tuple(steps) if isinstance(steps, Iterable) else (steps,) * len(ladder)
        if len(counts) != len(ladder):
            raise ValueError(f"steps must be one number or one for each beta ({len(ladder)}), got {len(counts)}")
        counts = tuple(checked_integer("steps", value, 1) for value in counts)
        if anneal is not None:
            anneal = checked_real("anneal", anneal, "None or a number in (0, 1)", lambda x: 0 < x < 1)
        common = cls.checked_optimizer(**optimizer, least_batch=2)
        return cls(beta=ladder, steps=counts, anneal=anneal, **common)

    @property
    def total_steps(self) -> int:
        return sum(self.steps)

    @property
    def num_sampled(self) -> int:
        """Samples that the whole run draws."""
        return self.total_steps * self.batch

    def rung(self, step: int) -> tuple[int, int]:
        """Rung of the ladder that `step` belongs to, and the step counted from that rung's start."""
        for index, count in enumerate(self.steps):
            if step < count:
                return index, step
            step -= count
        return len(self.steps) - 1, self.steps[-1] + step

    def beta_at(self, step: int) -> float:
        """Inverse temperature of a step: beta_r, or annealed as b + (beta_r - b)(1 - rate^t) from the rung before.

        The first rung starts from b = 0, infinite temperature (VAN, supplement: beta_t = beta (1 - rate^t)).
        """
        index, inside = self.rung(step)
        if self.anneal is None:
            return self.beta[index]
        start = self.beta[index - 1] if index else 0.0
        return start + (self.beta[index] - start) * (1.0 - self.anneal**inside)

    def allows(self, name: str, value: Any) -> bool:
        return name == "steps" and self.steps[:-1] == value[:-1] and self.make_schedule().may_grow


def _shown(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value
