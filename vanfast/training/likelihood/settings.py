"""Settings of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vanfast.training.settings import OptimizerSettings, checked_integer, checked_real


@dataclass(frozen=True, kw_only=True)
class FitSettings(OptimizerSettings):
    """Checked settings of a fit of `num_samples` training configurations, in `steps_per_epoch` batches as equal as can
    be, of at most `batch`.

    validation: share of the data held out; None where the validation data were given, 0 where there are none.
    """

    may_change = "only patience and epochs may change in a resumed run, and epochs not with a cosine schedule"

    epochs: int
    num_samples: int
    validation: float | None
    patience: int | None

    @classmethod
    def checked(cls, *, epochs: int, num_samples: int, validation: Any, patience: Any, **optimizer: Any) -> FitSettings:
        """Settings from what a user passed; ValueError or TypeError names the argument that does not fit."""
        return cls(
            epochs=checked_integer("epochs", epochs, 1, 2**32 - 2),  # the epoch is 32 bits of a counter
            num_samples=num_samples,
            validation=validation,
            patience=None if patience is None else checked_integer("patience", patience, 1),
            **cls.checked_optimizer(**optimizer, least_batch=1),
        )

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.num_samples / self.batch)

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def allows(self, name: str, value: Any) -> bool:
        # other data are told by their digest
        return name in ("patience", "num_samples") or (name == "epochs" and self.make_schedule().may_grow)


def checked_share(value: Any) -> float:
    """The share of the data that is held out; TypeError or ValueError if it is none."""
    return checked_real("validation", value, "data or a share in [0, 1)", lambda x: 0 <= x < 1)
