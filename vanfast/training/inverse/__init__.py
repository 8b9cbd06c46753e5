"""The inverse Ising problem: couplings and fields from samples, or from magnetisations and correlations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vanfast.training.data import Moments, Samples, as_data, load_data
from vanfast.training.data.moments import check_constant, check_singular
from vanfast.training.inverse import mean_field
from vanfast.training.inverse.first_layer import (
    CouplingComparison,
    LearnedCouplings,
    compare_couplings,
    learned_couplings,
)
from vanfast.training.inverse.maximum_likelihood import maximum_likelihood
from vanfast.training.inverse.pseudo_likelihood import pseudo_likelihood
from vanfast.training.inverse.result import InverseResult, OuterStep, reconstruction_error
from vanfast.training.inverse.variational import VanSettings, VariationalInverse

if TYPE_CHECKING:
    from vanfast.networks import Network

__all__ = [
    "METHODS",
    "CouplingComparison",
    "InverseResult",
    "LearnedCouplings",
    "Moments",
    "OuterStep",
    "Samples",
    "compare_couplings",
    "inverse_ising",
    "learned_couplings",
    "load_data",
    "reconstruction_error",
]

_FORMULAS = {
    "nmf": mean_field.naive_mean_field,
    "tap": mean_field.thouless_anderson_palmer,
    "ip": mean_field.independent_pairs,
    "sm": mean_field.sessak_monasson,
    "bethe": mean_field.bethe,
}
METHODS = ("van", "mle", "plm", *_FORMULAS)
_ONLY_VAN = ("net", "callback", *VanSettings.__dataclass_fields__)


def inverse_ising(
    data: Any,
    method: str = "van",
    beta: float = 1.0,
    *,
    counts: Any = None,
    regularizer: float = 0.0,
    l1: float = 0.0,
    net: Network | None = None,
    threads: int | None = None,
    callback: Callable[[OuterStep], None] | None = None,
    **settings: Any,
) -> InverseResult:
    """Couplings J and fields h whose Boltzmann distribution at inverse temperature `beta` the data come from.

    data          samples [M, N] of +-1 or 0/1, array or tensor; Moments; or the name of a file, see `load_data`.
    method        "van"    variational autoregressive network in the loop, any N that a network can follow
                  "mle"    exact maximum likelihood by enumeration, N <= 20
                  "plm"    pseudo-likelihood, from samples only, any N
                  "nmf", "tap", "ip", "sm", "bethe"   closed formulas, see `mean_field`
    counts        how often each sample was seen, [M]; any weights >= 0.
    regularizer   in [0, 1): this share of independent fair spins is mixed into the data's moments (a pseudocount). It
                  makes constant or redundant spins possible and biases couplings towards 0. Not for plm.
    l1            of plm: penalty l1 sum_{i<j} beta |J_ij| on the mean log pseudo-likelihood of a sample.
    net           of van: the network, trained in place; None makes Dense(N, depth=2, width=5), with z2 where the data
                  have no magnetisation. callback: of van, called with the OuterStep of every step.
    settings      of van: tolerance, max_steps, learning_rate, inner_steps, inner_learning_rate, batch, moment_batch,
                  seed, backend, see `VanSettings`. The result depends on them, the data and the seed alone.

    Raises TypeError or ValueError for arguments and data that do not fit (which spins are constant, or make the
    correlation matrix singular), FileNotFoundError or FileFormatError for files.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    beta = _number("beta", beta, lambda x: x > 0, "> 0")
    regularizer = _number("regularizer", regularizer, lambda x: 0 <= x < 1, "in [0, 1)")
    l1 = _number("l1", l1, lambda x: x >= 0, ">= 0")
    if l1 and method != "plm":
        raise ValueError(f"l1 belongs to method 'plm', got l1 = {l1} with method {method!r}")
    if regularizer and method == "plm":
        raise ValueError("regularizer does not fit method 'plm', which has l1")
    options = {"net": net, "callback": callback, **settings}
    for name, value in options.items():
        if name not in _ONLY_VAN:
            raise TypeError(f"inverse_ising takes no argument {name!r}; van takes {', '.join(_ONLY_VAN)}")
        if method != "van" and value is not None:
            raise ValueError(f"{name} belongs to method 'van', got it with method {method!r}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of an OuterStep, got {callback!r}")
    chosen = VanSettings(**settings, threads=threads) if method == "van" else None
    found = as_data(data, counts)
    samples, moments = (None, found) if isinstance(found, Moments) else (found, found.moments())
    history: list[OuterStep] = []
    converged = True
    if method == "plm":
        if samples is None:
            raise ValueError("method 'plm' needs samples, got moments; 'mle', 'van' and the formulas take moments")
        check_constant(moments)
        if not l1:
            check_singular(moments, len(samples))
        K, H, history, converged = pseudo_likelihood(samples, l1)
    else:
        if regularizer:
            moments = moments.mixed(regularizer)
        check_constant(moments)
        if method != "ip":
            check_singular(moments, None if regularizer or samples is None else len(samples))
        if method == "mle":
            K, H, history = maximum_likelihood(moments, threads=threads)
        elif chosen is not None:
            loops = VariationalInverse(moments, net, chosen)
            converged = loops.run(callback)
            (K, H), history = loops.couplings(), loops.history
        else:
            K, H = _FORMULAS[method](moments)
            K = (K + K.T) / 2  # rounding apart it is symmetric
    with np.errstate(over="ignore"):
        J, h = K / beta + 0.0, H / beta + 0.0
    if not (np.isfinite(J).all() and np.isfinite(h).all()):
        raise ValueError(f"beta = {beta} is so small that couplings are beyond float64")
    return InverseResult(J, h, method, beta, history, converged)


def _number(name: str, value: Any, fits: Callable[[float], bool], allowed: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number {allowed}, got {value!r}") from None
    if not (math.isfinite(number) and fits(number)):
        raise ValueError(f"{name} must be a finite number {allowed}, got {value!r}")
    return number
