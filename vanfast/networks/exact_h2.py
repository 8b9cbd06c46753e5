"""The Boltzmann distribution itself as an autoregressive network: I. Biazzo, Commun. Phys. 6, 296 (2023).

With V_i(s_<i) = ln sum over s_i .. s_{N-1} of exp(-beta E(s)), the logit of site i is the difference of V_{i+1} between
s_i = +1 and s_i = -1, and V_i is the LSE of the two: N folds over a table of the 2^N energies give all of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vanfast._spins import as_spins
from vanfast.hamiltonians import Hamiltonian
from vanfast.networks._system import as_beta, as_hamiltonian, described, taken_out
from vanfast.networks.fixed import FixedNetwork
from vanfast.networks.plan import PrefixPlan

MAX_SITES = 20


class ExactH2(FixedNetwork):
    """q(s) = exp(-beta E(s)) / Z of any Hamiltonian of up to 20 spins; nothing to train.

    Holds a table of 2^N - 1 logits, made at first use in O(N 2^N). Raises TypeError or ValueError for arguments out of
    range.
    """

    plan_type = PrefixPlan

    def __init__(self, ham: Hamiltonian, beta: float) -> None:
        N = as_hamiltonian(ham).num_sites
        if N > MAX_SITES:
            size = f"{2.0 ** (N - 27):.3g}" if N < 1000 else f"2^{N - 27}"
            raise ValueError(
                f"ham has {N} sites; ExactH2 keeps 2^N logits and takes at most {MAX_SITES}, {N} would need {size} GiB"
            )
        super().__init__(N)
        self.ham, self.beta = ham, as_beta(beta)

    @cached_property
    def _folded(self) -> tuple[Tensor, float]:
        """The logits in the order of a `PrefixPlan`, and ln Z."""
        value = -self.beta * energies(self.ham)
        table = np.empty(len(value) - 1)
        for i in reversed(range(self.num_sites)):
            down, up = value[: 2**i], value[2**i :]
            table[2**i - 1 : 2 ** (i + 1) - 1] = up - down
            value = np.logaddexp(up, down)
        return torch.from_numpy(table), float(value[0])

    @property
    def log_z(self) -> float:
        """ln Z."""
        return self._folded[1]

    def at(self, beta: float) -> ExactH2:
        """The network of the same Hamiltonian at another inverse temperature."""
        twin = ExactH2(self.ham, beta)
        twin.to(self.device, self.dtype)
        return twin

    def logits(self, spins: Any) -> Tensor:
        return self._looked_up(as_spins(spins, self.num_sites, device=self.device)).to(self.dtype)

    def _looked_up(self, spins: Tensor) -> Tensor:
        """Logits float64 [B, N]."""
        bits = (spins > 0).long() << torch.arange(self.num_sites, device=spins.device)
        prefix = bits.cumsum(1) - bits
        first = (1 << torch.arange(self.num_sites, device=spins.device)) - 1
        return self._folded[0].to(spins.device)[first + prefix]

    def _log_q_theta(self, spins: Tensor) -> Tensor:
        return functional.logsigmoid(spins * self._looked_up(spins)).sum(1)

    def plan(self) -> PrefixPlan:
        return PrefixPlan(self.num_sites, self._folded[0].to(self.device, copy=True))

    def num_parameters(self) -> int:
        """As the paper counts: N 2^N of the second layer, N (N-1) / 2 couplings and N fields."""
        N = self.num_sites
        return N * 2**N + N * (N - 1) // 2 + N

    def config(self) -> dict[str, Any]:
        return {"class": "ExactH2", "N": self.num_sites, "hamiltonian": described(self.ham), "beta": self.beta}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> ExactH2:
        ham, rest = taken_out(arguments)
        return cls(ham, **rest)


def energies(ham: Hamiltonian) -> np.ndarray:
    """E of all states, float64 [2^N]; s_j = +1 in state p where bit j of p is 1."""
    J, h = ham.to_dense(), ham.fields
    total = np.zeros(1)
    for i in range(ham.num_sites):
        field = np.full(1, h[i])
        for j in range(i):
            field = np.concatenate([field - J[j, i], field + J[j, i]])
        total = np.concatenate([total + field, total - field])
    return total
