"""Which kernel runs which Hamiltonian: the one place that decides.

    planes       multi-spin coding: no fields, couplings of one strength, at most 15 bonds a site
    sparse       cached local fields, lists of neighbours
    dense        cached local fields, a matrix
    clusters     Wolff and Swendsen-Wang: ferromagnetic couplings of spins or Potts models, no fields
    potts        Potts models: sites of q states, lists of neighbours
    masked       -T0 ln p of a float32 stack of masked linear layers (MADE, Dense, CategoricalMADE) without a prior
    incremental  any Hamiltonian with `incremental(spins)`, in Python; for pairwise ones and Potts the slow reference

Backend "cuda" has the first four, in CUDA C++ of their own (csrc/cuda/mcmc_*.cu).

The masked kernel tries the sites in drawing order, all others in raster order.
A chain's spins depend on the kernel as well, but for dense and sparse, which agree bit for bit.
"""

from __future__ import annotations

from typing import Any

from vanfast.hamiltonians import Neural
from vanfast.mcmc._tables import is_dense, plane_arrays
from vanfast.mcmc.incremental import is_pairwise, is_potts

BACKENDS = ("cpu", "cuda")
ON_GPU = ("planes", "sparse", "dense", "clusters")
ALGORITHMS = ("metropolis", "heat_bath", "wolff", "swendsen_wang", "tempering")
KERNELS = ("auto", "planes", "sparse", "dense", "clusters", "potts", "masked", "incremental")


def refuses(ham: Any, algorithm: str, kernel: str, backend: str = "cpu") -> str | None:
    """Why a kernel cannot run this; None when it can."""
    if backend == "cuda" and kernel not in ON_GPU:
        return f"backend 'cuda' has no kernel {kernel!r}, which backend='cpu' has"
    cluster = algorithm in ("wolff", "swendsen_wang")
    if kernel == "incremental":
        if cluster:
            return "it changes single sites"
        known = is_pairwise(ham) or is_potts(ham) or hasattr(ham, "incremental")
        return None if known else "ham has no method incremental(spins)"
    if kernel == "masked":
        if not isinstance(ham, Neural):
            return f"{type(ham).__name__} is not a network's"
        return "it changes single sites" if cluster else ham.whole_flips()
    if kernel == "potts":
        if not is_potts(ham):
            return f"{type(ham).__name__} is not a Potts model"
        return "it changes single sites" if cluster else None
    if is_potts(ham) and kernel != "clusters":
        return f"its sites have q = {ham.q} states"
    if not (is_pairwise(ham) or is_potts(ham)):
        return f"{type(ham).__name__} has no pair couplings"
    if cluster != (kernel == "clusters"):
        return f"it does not know {algorithm}"
    if kernel == "clusters":
        fields = ham.state_fields - ham.state_fields[0] if is_potts(ham) else ham.fields
        if fields.any():
            return "cluster updates need a system without fields"
        if (ham.couplings < 0).any():
            return f"cluster updates need ferromagnetic couplings, the smallest is {ham.couplings.min():g}"
        return None
    if kernel == "planes":
        if algorithm == "tempering":
            return "its chains share one temperature"
        arrays = plane_arrays(ham)
        return arrays if isinstance(arrays, str) else None
    return None


def choose(ham: Any, algorithm: str, kernel: str = "auto", backend: str = "cpu") -> str:
    """The fastest kernel for a Hamiltonian and an algorithm, or the one asked for.

    Raises ValueError for unknown names and for a kernel that cannot run this.
    """
    options = (("algorithm", algorithm, ALGORITHMS), ("kernel", kernel, KERNELS), ("backend", backend, BACKENDS))
    for name, value, allowed in options:
        if value not in allowed:
            raise ValueError(f"{name} = {value!r} must be one of {', '.join(map(repr, allowed))}")
    if kernel == "auto":
        if algorithm in ("wolff", "swendsen_wang"):
            kernel = "clusters"
        elif is_potts(ham):
            kernel = "potts"
        elif not is_pairwise(ham):
            kernel = "incremental" if refuses(ham, algorithm, "masked") else "masked"
        elif refuses(ham, algorithm, "planes") is None:
            kernel = "planes"
        else:
            kernel = "dense" if is_dense(ham) else "sparse"
    if reason := refuses(ham, algorithm, kernel, backend):
        raise ValueError(f"algorithm {algorithm!r} with kernel {kernel!r} cannot run this system: {reason}")
    return kernel
