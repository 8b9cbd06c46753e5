"""The Bethe approximation by belief propagation.

Messages in fields times beta: a_{i->j} = beta h_i + sum_{k != j} u_{k->i} is the field on i without j, and
u_{i->j} = atanh(tanh(beta J_ij) tanh(a_{i->j})) what i passes on to j. At a fixed point

    ln Z = sum_i ln Z_i - sum_{(ij)} ln Z_ij,
    Z_i  = sum_s exp(beta h_i s) prod_k cosh(beta J_ik s + a_{k->i}) / cosh a_{k->i},
    Z_ij = sum_{s, s'} exp(beta J_ij s s' + a_{i->j} s + a_{j->i} s') / (4 cosh a_{i->j} cosh a_{j->i}),

which is exact on trees (H. A. Bethe, Proc. R. Soc. A 150, 552 (1935); M. Mezard, A. Montanari, Information, Physics,
and Computation, ch. 14).
"""

from __future__ import annotations

import math

import numpy as np

from vanfast.exact._mean_field_result import MeanField, check_iteration
from vanfast.exact._result import PairSystem


def bethe(
    ham: PairSystem,
    beta: float,
    *,
    damping: float = 0.5,
    tolerance: float = 1e-10,
    max_iterations: int = 5_000,
    starts: int = 4,
    seed: int = 0,
) -> MeanField:
    """The Bethe free energy at a fixed point of belief propagation; exact on trees, not a bound elsewhere.

    Of several starts, converged ones come first, then the lowest free energy. On frustrated systems at low
    temperature belief propagation need not converge: look at `.converged`.

    Args:
        ham: any Hamiltonian.
        beta: inverse temperature, positive.
        damping: share of the old messages kept in a step, in [0, 1).
        tolerance: largest change of a message in a step that counts as converged.
        max_iterations: steps at most, for each start.
        starts: all messages 1/2, and starts - 1 random ones drawn with `seed`.

    Raises ValueError for arguments out of range.
    """
    beta = check_iteration(beta, tolerance, max_iterations, starts, damping)
    graph = _Graph(ham, beta)
    generator = np.random.default_rng(seed)
    results = []
    for start in range(starts):
        messages = np.full(2 * graph.bonds, 0.5) if start == 0 else generator.uniform(-1, 1, 2 * graph.bonds)
        residual = 0.0
        for iteration in range(1, max_iterations + 1):  # noqa: B007  counted for the result
            new = graph.update(messages)
            residual = float(np.abs(new - messages).max(initial=0.0))
            messages = damping * messages + (1 - damping) * new
            if residual < tolerance:
                break
        results.append(graph.result(messages, residual < tolerance, iteration, residual))
    return min(results, key=lambda result: (not result.converged, result.free_energy))


class _Graph:
    """Directed bonds: bond e of `ham.edges` from i to j is number e, from j to i number e + M."""

    def __init__(self, ham: PairSystem, beta: float) -> None:
        self.ham, self.beta = ham, beta
        self.bonds = len(ham.edges)
        i, j = ham.edges.astype(np.int64).T
        self.tail, self.head = np.concatenate([i, j]), np.concatenate([j, i])
        self.back = np.concatenate([np.arange(self.bonds) + self.bonds, np.arange(self.bonds)])
        self.coupling = beta * np.concatenate([ham.couplings, ham.couplings])
        self.field = beta * ham.fields

    def local_fields(self, messages: np.ndarray) -> np.ndarray:
        return self.field + np.bincount(self.head, messages, self.ham.num_sites)

    def cavity_fields(self, messages: np.ndarray) -> np.ndarray:
        return self.local_fields(messages)[self.tail] - messages[self.back]

    def update(self, messages: np.ndarray) -> np.ndarray:
        """atanh(tanh J tanh a) = (ln cosh(J + a) - ln cosh(J - a)) / 2, which saturates without overflow."""
        a = self.cavity_fields(messages)
        return 0.5 * (_log_cosh(self.coupling + a) - _log_cosh(self.coupling - a))

    def result(self, messages: np.ndarray, converged: bool, iterations: int, residual: float) -> MeanField:
        ham, beta = self.ham, self.beta
        local, a = self.local_fields(messages), self.cavity_fields(messages)
        into = 0.5 * (_log_cosh(self.coupling + a) + _log_cosh(self.coupling - a)) - _log_cosh(a)
        sites = float((_log_cosh(local) + math.log(2)).sum() + into.sum())
        there, back = a[: self.bonds], a[self.bonds :]
        J = self.coupling[: self.bonds]
        equal, opposite = J + _log_cosh(there + back), -J + _log_cosh(there - back)
        both = np.logaddexp(equal, opposite)
        pairs = float((both - math.log(2) - _log_cosh(there) - _log_cosh(back)).sum())
        correlation = np.exp(equal - both) - np.exp(opposite - both)
        magnetization = np.tanh(local)
        log_z = sites - pairs
        energy = -float(ham.couplings @ correlation + ham.fields @ magnetization)
        return MeanField(
            num_sites=ham.num_sites,
            beta=beta,
            log_z=log_z,
            free_energy=-log_z / beta,
            energy=energy,
            entropy=log_z + beta * energy,
            magnetization=magnetization,
            correlation=correlation,
            converged=converged,
            iterations=iterations,
            residual=residual,
        )


def _log_cosh(x: np.ndarray) -> np.ndarray:
    size = np.abs(x)
    return size + np.log1p(np.exp(-2 * size)) - math.log(2)
