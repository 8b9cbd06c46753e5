"""What the inverse problem gives: couplings, fields, and how far they are from the truth where it is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from vanfast.hamiltonians import Hamiltonian, Pairwise
from vanfast.hamiltonians._checks import as_array, finite


@dataclass(frozen=True)
class OuterStep:
    """One step of an iterative method, at the couplings it started from.

    difference: rms over all spins and pairs of data minus model: of the moments, for plm of its gradient.
    noise: rms standard error of the difference, 0 where nothing is sampled.
    objective: mean ln p of the data (for plm ln pseudo-likelihood); NaN where it is not known.
    ess: effective samples behind the model's moments as a share of those drawn; 1 where nothing is sampled.
    learning_rate: of the step that followed; 0 where the method has none.
    """

    step: int
    difference: float
    noise: float = 0.0
    objective: float = float("nan")
    ess: float = 1.0
    learning_rate: float = 0.0


@dataclass(frozen=True, eq=False)
class InverseResult:
    """Couplings J, float64 [N, N], symmetric with zero diagonal, and fields h, float64 [N], of
    E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i, inferred from data at inverse temperature `beta` (divided out).

    history holds the steps of iterative methods; converged is False where one stopped at its last step.
    """

    J: np.ndarray
    h: np.ndarray
    method: str
    beta: float
    history: list[OuterStep] = field(default_factory=list, repr=False)
    converged: bool = True

    @property
    def num_sites(self) -> int:
        return len(self.h)

    def to_hamiltonian(self) -> Pairwise:
        """The inferred system; `vanfast.hamiltonians.save` writes it."""
        return Pairwise(self.J, self.h if self.h.any() else None)

    def error(self, truth: Any) -> float:
        """Reconstruction error of the couplings, see `reconstruction_error`."""
        return reconstruction_error(self.J, truth)

    def to_json(self) -> dict[str, Any]:
        """JSON-able: method, beta, num_sites, J, h, converged, history."""
        return {
            "method": self.method,
            "beta": self.beta,
            "num_sites": self.num_sites,
            "converged": self.converged,
            "h": self.h.tolist(),
            "J": self.J.tolist(),
            "history": [asdict(step) for step in self.history],
        }


def reconstruction_error(inferred: Any, truth: Any) -> float:
    """Delta_J = sqrt(sum_ij (J_inferred - J_true)^2) / N, the sum over all ordered pairs (VAN supplement, eq. 28).

    Both are [N, N] matrices or Hamiltonians. Raises TypeError or ValueError where they do not fit each other.
    """
    first, second = coupling_matrix(inferred, "inferred"), coupling_matrix(truth, "truth")
    if first.shape != second.shape:
        raise ValueError(f"truth has {len(second)} spins and the inferred couplings have {len(first)}; must be equal")
    return float(np.linalg.norm(first - second)) / len(first)


def coupling_matrix(value: Any, name: str) -> np.ndarray:
    """[N, N], float64, of an array, a Hamiltonian or a result; TypeError or ValueError for anything else."""
    if isinstance(value, InverseResult):
        return value.J
    J = value.to_dense() if isinstance(value, Hamiltonian) else finite(as_array(value, name), name)
    if J.ndim != 2 or J.shape[0] != J.shape[1]:
        raise ValueError(f"{name} has shape {list(J.shape)}, expected couplings [N, N] or a Hamiltonian")
    return J


def symmetric(upper: np.ndarray, num_sites: int) -> np.ndarray:
    """The symmetric [N, N] with zero diagonal of values over pairs i < j in raster order."""
    matrix = np.zeros((num_sites, num_sites))
    i, j = np.triu_indices(num_sites, 1)
    matrix[i, j] = matrix[j, i] = upper
    return matrix
