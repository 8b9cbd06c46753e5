"""Exact values that can be had at once for a system, to stand beside what training finds."""

from __future__ import annotations

from vanfast import exact
from vanfast.exact import Thermodynamics
from vanfast.hamiltonians import CurieWeiss, Hamiltonian, IsingSquare

ENUMERATED = 20  # sites: 2^20 states take a moment


def is_kaufman(ham: Hamiltonian) -> bool:
    """Whether Kaufman's solution covers `ham`: uniform square lattice on a torus, no field, not frustrated."""
    return (
        isinstance(ham, IsingSquare)
        and ham.boundary == "periodic"
        and ham.is_z2_symmetric
        and isinstance(ham.coupling, float)
        and min(ham.shape) >= 2
        and (ham.coupling >= 0 or not any(side % 2 for side in ham.shape))
    )


def known_values(ham: Hamiltonian, beta: float) -> Thermodynamics | None:
    """Exact thermodynamics of `ham` at `beta` where a formula or a short enumeration gives them, else None."""
    if is_kaufman(ham):
        return exact.kaufman((ham.shape[0], ham.shape[1]), beta, ham.coupling)  # type: ignore[attr-defined]
    if isinstance(ham, CurieWeiss):
        return exact.curie_weiss(ham.num_sites, beta, ham.J, ham.h)
    if ham.num_sites <= ENUMERATED:
        return exact.enumerate(ham, beta)
    return None
