"""Exact values that can be had at once for a system, to stand beside what training finds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vanfast import exact
from vanfast.exact._elimination import best_plan
from vanfast.exact.hopfield import MAX_TERMS, number_of_terms
from vanfast.hamiltonians import CurieWeiss, Hamiltonian, Hopfield, IsingSquare

if TYPE_CHECKING:
    from vanfast.exact import Thermodynamics

ENUMERATED = 20  # sites: 2^20 states take a moment
EVALUATED = 14  # the same of a system whose energies come one by one, such as a network's
TRANSFERRED = 2.0**29  # updated weights of a transfer matrix: a second or two


def quick_method(ham: Hamiltonian) -> str | None:
    """Name of the method that gives exact values of `ham` in no time, None where there is none."""
    if ham.q is not None or not ham.is_pairwise:
        bits = ham.num_sites * math.log2(ham.q or 2)
        return "enumeration" if bits <= (ENUMERATED if ham.is_pairwise else EVALUATED) else None
    if _on_kaufmans_torus(ham):
        return "kaufman"
    if isinstance(ham, CurieWeiss):
        return "curie-weiss"
    if isinstance(ham, Hopfield) and number_of_terms(ham.patterns) <= MAX_TERMS:
        return "hopfield"
    if ham.num_sites <= ENUMERATED:
        return "enumeration"
    return "transfer-matrix" if _is_narrow(ham) else None


def known_values(ham: Hamiltonian, beta: float, method: str | None = None) -> Thermodynamics | None:
    """Exact thermodynamics of `ham` at `beta` by `method` (None: `quick_method`); None where no quick one exists.

    Raises ValueError when the system is not one that the method solves.
    """
    method = quick_method(ham) if method is None else method
    if method is None:
        return None
    if method == "kaufman":
        if not (isinstance(ham, IsingSquare) and isinstance(ham.coupling, float) and _on_kaufmans_torus(ham)):
            raise ValueError("kaufman solves the periodic square lattice with one coupling, no field, not frustrated")
        return exact.kaufman((ham.shape[0], ham.shape[1]), beta, ham.coupling)
    if method == "curie-weiss":
        if not isinstance(ham, CurieWeiss):
            raise ValueError("curie-weiss solves the Curie-Weiss model only")
        return exact.curie_weiss(ham.num_sites, beta, ham.J, ham.h)
    if method == "hopfield":
        if not isinstance(ham, Hopfield):
            raise ValueError("hopfield solves the Hopfield model only")
        return exact.hopfield(ham.patterns, beta)
    if method == "enumeration":
        if ham.q is None:
            return exact.enumerate(ham, beta)
        return exact.enumerate_states(ham, beta)  # type: ignore[arg-type]  # q is a number here
    if method == "transfer-matrix":
        return exact.transfer_matrix(ham, beta)
    raise ValueError(f"method must be kaufman, curie-weiss, hopfield, enumeration or transfer-matrix, got {method!r}")


def known_json(known: Thermodynamics | None) -> dict[str, float]:
    """`exact_log_z` and `exact_<name>_per_site`; empty for None."""
    if known is None:
        return {}
    values = known.to_json()
    return {f"exact_{key}": value for key, value in values.items() if key == "log_z" or key.endswith("_per_site")}


def _is_narrow(ham: Hamiltonian) -> bool:
    """Whether `ham` is a lattice that the transfer matrix does in no time."""
    if len(ham.shape) < 2 or len(ham.edges) > 4 * ham.num_sites:
        return False
    plan = best_plan(ham)
    return plan.max_bits <= 20 and plan.cost <= TRANSFERRED


def _on_kaufmans_torus(ham: Hamiltonian) -> bool:
    return (
        isinstance(ham, IsingSquare)
        and ham.boundary == "periodic"
        and ham.is_z2_symmetric
        and isinstance(ham.coupling, float)
        and min(ham.shape) >= 2
        and (ham.coupling >= 0 or not any(side % 2 for side in ham.shape))
    )
