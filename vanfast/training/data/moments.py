"""Magnetisations and correlations, which the inverse problem starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vanfast.hamiltonians._checks import as_array, finite

SLACK = 1e-9  # rounding allowed in moments that a caller gives
SHOWN = 8  # spins named in a message


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of N spins.

    magnetization: <s_i>, float64 [N]. correlation: <s_i s_j>, not connected, float64 [N, N], symmetric, 1 on the
    diagonal. Raises TypeError or ValueError, naming the entry, for moments that no distribution of spins +-1 has:
    outside [-1, 1], asymmetric, or such that two spins would have a combination of negative probability.
    """

    magnetization: np.ndarray
    correlation: np.ndarray

    def __post_init__(self) -> None:
        m = finite(as_array(self.magnetization, "magnetization"), "magnetization")
        c = finite(as_array(self.correlation, "correlation"), "correlation")
        if m.ndim != 1 or len(m) < 2:
            raise ValueError(f"magnetization has shape {list(m.shape)}, expected [N] with N >= 2")
        if c.shape != (len(m), len(m)):
            raise ValueError(f"correlation has shape {list(c.shape)}, expected [{len(m)}, {len(m)}]")
        refuse("magnetization", np.abs(m) > 1 + SLACK, m, "be in [-1, 1]")
        refuse("correlation", np.abs(c) > 1 + SLACK, c, "be in [-1, 1]")
        refuse("correlation", np.abs(np.diag(np.diag(c)) - np.eye(len(m))) > SLACK, c, "be 1 on the diagonal")
        refuse("correlation", np.abs(c - c.T) > SLACK, c, "be symmetric")
        # Four times the probability that spins i and j are a and b.
        least = np.minimum(1 + c - np.abs(m[:, None] + m), 1 - c - np.abs(m[:, None] - m))
        what = "be <s_i s_j> (not connected) of two spins with these magnetizations"
        refuse("correlation", least < -4 * SLACK, c, what)
        c = (c + c.T) / 2
        np.fill_diagonal(c, 1.0)
        for name, value in (("magnetization", m.clip(-1, 1)), ("correlation", c.clip(-1, 1))):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def num_sites(self) -> int:
        return len(self.magnetization)

    @property
    def connected(self) -> np.ndarray:
        """<s_i s_j> - <s_i><s_j>, with 1 - m_i^2 on the diagonal."""
        return self.correlation - np.outer(self.magnetization, self.magnetization)

    def mixed(self, share: float) -> Moments:
        """Moments of a mixture: these with weight 1 - share, those of independent fair spins with weight share."""
        c = (1 - share) * self.correlation
        np.fill_diagonal(c, 1.0)
        return Moments((1 - share) * self.magnetization, c)


def check_constant(moments: Moments) -> None:
    """ValueError that names the spins which never change: no finite field does that."""
    fixed = np.flatnonzero(np.abs(moments.magnetization) >= 1 - 1e-12)
    if len(fixed):
        raise ValueError(f"constant in all data: {names_of(fixed)}; leave them out, or give regularizer > 0")


def check_singular(moments: Moments, num_samples: int | None) -> None:
    """ValueError that names the spins of a singular connected correlation matrix: no finite couplings give it.
    num_samples: configurations that the moments are averages of, None where they are not."""
    if num_samples is not None and num_samples <= moments.num_sites:
        raise ValueError(
            f"too few samples: {num_samples} configurations of {moments.num_sites} spins, at least "
            f"{moments.num_sites + 1} are needed; give more, or regularizer > 0"
        )
    scale = np.sqrt(np.diag(moments.connected))
    r = moments.connected / np.outer(scale, scale)
    i, j = np.nonzero(np.triu(np.abs(r) > 1 - 1e-12, 1))
    if len(i):
        kind = "equal" if r[i[0], j[0]] > 0 else "opposite"
        raise ValueError(
            f"the correlation matrix is singular: spins {i[0]} and {j[0]} are always {kind}; leave one out, or give "
            "regularizer > 0"
        )
    values, vectors = np.linalg.eigh(r)
    if values[0] < -1e-6:
        raise ValueError(f"correlation is that of no distribution: it has the negative eigenvalue {values[0]:.3g}")
    if values[0] < 1e-11:
        weight = np.abs(vectors[:, 0])
        spins = np.flatnonzero(weight > 1e-3 * weight.max())
        raise ValueError(
            f"the correlation matrix is singular: {names_of(spins)} determine each other; leave one out, or give "
            "regularizer > 0"
        )


def names_of(spins: np.ndarray) -> str:
    """ "spins 0, 3, 5", cut after a few."""
    shown = ", ".join(str(int(k)) for k in spins[:SHOWN])
    more = f" and {len(spins) - SHOWN} more" if len(spins) > SHOWN else ""
    return f"spin{'s' if len(spins) > 1 else ''} {shown}{more}"


def refuse(name: str, bad: np.ndarray, values: np.ndarray, rule: str) -> None:
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        place = list(where) if len(where) > 1 else where[0]
        raise ValueError(f"{name} must {rule}, found {values[where]:.6g} at {place}")
