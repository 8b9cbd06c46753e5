"""What decides the numbers of the experiment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vanfast.reproduce.nnsm.curves import BLOCK, CURVES
from vanfast.training.settings import checked_integer, checked_real

TEMPERATURES = (1.5, 1.75, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.75, 3.0, 3.5)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the experiment; the defaults are the paper's, where it gives them.

    Attributes:
        L: side of the lattice, even (16).
        T0: temperature at which configurations are measured (2.5).
        temperatures: where chains run, in units of the coupling.
        samples: measured configurations, of independent chains (60,000).
        hidden: widths of the hidden layers (180, 120).
        curves: names in `CURVES`.
        epochs, batch, learning_rate, patience: of the fits, a tenth of the data held out; the learning rate follows a
            cosine.
        chains, sweeps, burn_in, thin: of the Markov chains at every temperature; after every `thin` sweeps the network
            proposes a configuration and one is kept. `thin` divides both other numbers.
        seed: of all random numbers.
    """

    L: int = 16
    T0: float = 2.5
    temperatures: tuple[float, ...] = TEMPERATURES
    samples: int = 60_000
    hidden: tuple[int, ...] = (180, 120)
    curves: tuple[str, ...] = tuple(CURVES)
    epochs: int = 60
    batch: int = 500
    learning_rate: float = 2e-3
    patience: int = 20
    chains: int = 256
    sweeps: int = 400
    burn_in: int = 200
    thin: int = 10
    seed: int = 1

    def checked(self) -> Settings:
        """Itself with plain types; TypeError or ValueError names what does not fit."""
        lowest = {"L": 2, "samples": 20, "epochs": 1, "batch": 1, "patience": 1, "chains": 2, "sweeps": 1, "burn_in": 0}
        numbers: dict[str, Any] = {
            name: checked_integer(name, getattr(self, name), low) for name, low in (lowest | {"thin": 1}).items()
        }
        numbers["seed"] = checked_integer("seed", self.seed, 0, 2**62 - 1)
        if self.L % BLOCK:
            raise ValueError(f"L must be even, for blocks of 2x2, got {self.L}")
        for name in ("sweeps", "burn_in"):
            if getattr(self, name) % self.thin:
                raise ValueError(f"thin = {self.thin} must divide {name} = {getattr(self, name)}")
        for name in ("T0", "learning_rate"):
            numbers[name] = checked_real(name, getattr(self, name), "a finite number > 0", lambda x: x > 0)
        numbers["temperatures"] = tuple(
            sorted({checked_real("temperatures", T, "finite numbers > 0", lambda x: x > 0) for T in self.temperatures})
        )
        numbers["hidden"] = tuple(checked_integer("hidden", width, 1) for width in self.hidden)
        if not numbers["temperatures"]:
            raise ValueError("temperatures must be at least one, got none")
        if not self.curves or not set(self.curves) <= set(CURVES):
            raise ValueError(f"curves must be some of {', '.join(CURVES)}, got {', '.join(self.curves) or 'none'}")
        numbers["curves"] = tuple(name for name in CURVES if name in self.curves)
        return Settings(**numbers)

    def to_json(self) -> dict[str, Any]:
        """JSON-able, without what a later call may add: curves and temperatures."""
        values = dataclasses.asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in ("curves", "temperatures")
        }
