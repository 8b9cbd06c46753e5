"""What is measured of a configuration, its spins or sums of 2x2 blocks of them, and the network that learns it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vanfast.hamiltonians import Neural
from vanfast.networks import MADE, CategoricalMADE, Network
from vanfast.observables import block_shape, block_sums, sums_to_states

BLOCK = 2
STATES = BLOCK**2 + 1


@dataclass(frozen=True)
class Curve:
    """A kind of measurement and a network for it.

    Attributes:
        name: as results and the command line call it.
        label: as figures do.
        stride: distance of the blocks that are summed; None for the spins themselves.
        hidden: whether the network has the hidden layers of the settings; without, every logit is linear in all
            earlier sites.
    """

    name: str
    label: str
    stride: int | None
    hidden: bool = True

    def lattice(self, L: int) -> tuple[int, int]:
        """Of the sites that are measured on an L x L lattice."""
        return (L, L) if self.stride is None else block_shape((L, L), BLOCK, self.stride)

    def observe(self, spins: np.ndarray, L: int) -> np.ndarray:
        """What is measured of spins int8 [B, L L]: these, or states 0 .. 4 of sums S = -4 .. 4, int8 [B, M M]."""
        if self.stride is None:
            return spins
        return sums_to_states(block_sums(spins, (L, L), BLOCK, self.stride), BLOCK).numpy()

    def magnetization(self, observed: np.ndarray) -> np.ndarray:
        """Mean spin, float64 [...], of what is measured [..., N]: the mean of s, or of S / 4."""
        mean = observed.mean(-1, dtype=np.float64)
        return mean if self.stride is None else 2 * mean / (STATES - 1) - 1

    def true_key(self, key: str) -> str:
        """The name of the true value of an average among those of the true Hamiltonian: |m| of sums has its own."""
        return key if self.stride is None or key != "abs_magnetization" else f"{key}_stride_{self.stride}"

    def ordered(self, L: int) -> np.ndarray:
        """All spins up, int8 [N]."""
        return self.observe(np.ones((1, L * L), dtype=np.int8), L)[0]

    def network(self, L: int, hidden: tuple[int, ...], seed: int) -> Network:
        """Untrained."""
        rows, columns = self.lattice(L)
        widths = hidden if self.hidden else ()
        if self.stride is None:
            return MADE(rows * columns, widths, seed=seed)
        return CategoricalMADE(rows * columns, STATES, widths, seed=seed)

    def hamiltonian(self, net: Network, T0: float, L: int) -> Neural:
        return Neural(net, T0, self.lattice(L))


CURVES = {
    curve.name: curve
    for curve in (
        Curve("spins", "spins", None),
        Curve("stride-1", "2×2 sums, stride 1", 1),
        Curve("stride-2", "2×2 sums, stride 2", 2),
        Curve("spins-direct", "spins, no hidden layers", None, False),
        Curve("stride-1-direct", "stride 1, no hidden layers", 1, False),
        Curve("stride-2-direct", "stride 2, no hidden layers", 2, False),
    )
}
