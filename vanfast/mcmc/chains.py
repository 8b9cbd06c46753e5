"""Running Markov chains on any Hamiltonian."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vanfast._spins import as_spins
from vanfast.hamiltonians import Hamiltonian
from vanfast.mcmc import engine
from vanfast.mcmc._words import WALKER_BLOCKS
from vanfast.mcmc.engine import run_masked, run_potts
from vanfast.mcmc.incremental import geometric_ladder, run_incremental, states_of
from vanfast.mcmc.kernels import choose
from vanfast.mcmc.result import Chains

UPDATES = ("heat_bath", "metropolis")


def run(
    ham: Any,
    beta: float,
    *,
    chains: int = 64,
    sweeps: int = 1000,
    burn_in: int = 1000,
    thin: int = 1,
    algorithm: str = "metropolis",
    seed: int = 0,
    first: int = 0,
    threads: int | None = None,
    start: Any = None,
    kernel: str = "auto",
    betas: Sequence[float] | None = None,
    update: str | None = None,
    clusters: int | None = None,
    first_sweep: int = 0,
    isa: str | None = None,
    backend: str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> Chains:
    """Draws sweeps / thin configurations from each of `chains` independent Markov chains at inverse temperature beta.

    A chain's spins depend on (ham, beta, algorithm with its options, kernel, backend, seed, the chain's index) alone,
    not on the number of chains, threads or the instruction set (but "base", which has no fused multiply-add, rounds the
    sums of a network otherwise). Sites are visited in raster order, by the masked kernel in drawing order, on a GPU
    colour after colour (the sublattices of a lattice), or in raster order where a matrix holds the couplings.
    Metropolis tries to turn a spin with probability 15/16, so that sweeps are ergodic; at high temperature it still
    turns most spins in every sweep and decorrelates slowly, which heat bath does not. Of sites with q states "spins"
    are states 0 .. q - 1, whose rules are in `vanfast.mcmc.states`.

    Args:
        ham: a Hamiltonian of pairs, a Potts model, a network's (`vf.hamiltonians.Neural`), or one with
            `incremental(spins)`, see `vanfast.mcmc.incremental`.
        beta: positive.
        chains, sweeps, burn_in, thin: sweeps follow on burn_in ones, of which nothing is kept; after every `thin` of
            them one configuration is; thin must divide sweeps.
        algorithm: "metropolis", "heat_bath", "wolff", "swendsen_wang" (ferromagnets without fields), "tempering"
            (replicas at all `betas` exchange temperatures after every sweep; draws are those at beta).
        seed, first: of the random words; chain c of this call has the index first + c.
        threads: CPU threads, None for all; of backend "cuda", whose chains they do not run, those for energies.
        start: spins to start from, +-1 or states, [N] or [chains, N]; None for random ones.
        kernel: "auto", or one of `vanfast.mcmc.kernels`.
        betas: of tempering, at least two, beta among them; None for a geometric ladder.
        update: of tempering, "heat_bath" (None) or "metropolis".
        clusters: of Wolff, how many make a sweep; None for as many as turn N spins on the average of the first half of
            the burn-in, in which every sweep turns N spins (one cluster, where there is no burn-in).
        first_sweep: sweeps that came before, to go on from `start` with unused random words.
        isa: instruction set, None for the best.
        backend: "cpu", or "cuda" for torch's current GPU, which thousands of chains fill; draws come to the CPU. It
            runs pairs of spins; networks' Hamiltonians and q states stay with "cpu".
        progress: called now and then with the share that is done.

    Raises:
        TypeError, ValueError: arguments out of range, or a system that the algorithm or kernel cannot run.
        BackendUnavailable: backend "cuda" where there is no GPU, or vanfast was built without nvcc.
    """
    beta = positive("beta", beta)
    counts = {"chains": chains, "sweeps": sweeps, "burn_in": burn_in, "thin": thin, "first_sweep": first_sweep}
    for name, value in counts.items():
        counts[name] = as_integer(name, value, 0 if name in ("burn_in", "first_sweep") else 1, 2**48)
    if counts["sweeps"] % counts["thin"]:
        raise ValueError(f"thin = {thin} must divide sweeps = {sweeps}")
    seed, first = as_integer("seed", seed, 0, 2**64 - 1), as_integer("first", first, 0, 2**64 - 1)
    kernel = choose(ham, algorithm, kernel, backend)
    if backend == "cuda" and isa is not None:
        raise ValueError(f"isa = {isa!r}: backend 'cuda' has no instruction sets to choose from")
    ladder = _ladder(ham, beta, algorithm, betas)
    if (first + counts["chains"]) * len(ladder) > 2**64:
        raise ValueError(f"first = {first} with chains = {chains} goes past the last index, 2**64 / {len(ladder)}")
    if update not in (None, *UPDATES):
        raise ValueError(f"update = {update!r} must be one of {', '.join(map(repr, UPDATES))}")
    for name, option, owner in (("update", update, "tempering"), ("clusters", clusters, "wolff")):
        if option is not None and algorithm != owner:
            raise ValueError(f"{name} = {option!r} belongs to algorithm {owner!r}, not {algorithm!r}")
    total = counts["first_sweep"] + counts["burn_in"] + counts["sweeps"]
    _check_words(ham.num_sites, total, algorithm, kernel, counts["first_sweep"], len(ladder))
    work = counts["chains"] * (counts["burn_in"] + counts["sweeps"])
    schedule: dict[str, Any] = {
        "seed": seed,
        "first": first,
        "chains": counts["chains"],
        "burn_in": counts["burn_in"],
        "draws": counts["sweeps"] // counts["thin"],
        "thin": counts["thin"],
        "sweep": counts["first_sweep"],
        "start": start_rows(start, ham.num_sites, counts["chains"], states_of(ham)),
        "progress": None if progress is None else lambda done: progress(done / work),
    }
    heat_bath = algorithm == "heat_bath" or (algorithm == "tempering" and update != "metropolis")
    native = schedule | {"threads": _threads(threads), "isa": isa or ""}
    made = counts["chains"] * counts["sweeps"]
    native_engine = _engine(backend)
    per_sweep = None
    if kernel == "clusters":
        wanted = None if clusters is None else as_integer("clusters", clusters, 1, 2**31)
        drawn, per_sweep = native_engine.run_clusters(ham, beta, algorithm == "wolff", wanted, native)
    elif kernel == "planes":
        drawn = native_engine.run_planes(ham, beta, heat_bath, made, native)
    elif kernel == "potts":
        drawn = run_potts(ham, ladder, ladder.index(beta), heat_bath, made, native)
    elif kernel == "masked":
        drawn = run_masked(ham, ladder, ladder.index(beta), heat_bath, made, native)
    elif kernel == "incremental":
        drawn = run_incremental(ham, ladder, ladder.index(beta), heat_bath, threads=threads, **schedule)
    else:
        drawn = native_engine.run_pairwise(ham, ladder, ladder.index(beta), heat_bath, kernel == "dense", made, native)
    swaps = drawn.swaps / _swap_attempts(len(ladder), counts)
    acceptance = drawn.flips / drawn.updates
    # a few tries say nothing
    if made >= 200 and np.isfinite(swaps).any() and np.nanmin(swaps) < 0.02:
        k = int(np.nanargmin(swaps))
        warnings.warn(
            f"betas {ladder[k]:g} and {ladder[k + 1]:g} exchanged replicas in {100 * swaps[k]:.1f} % of the attempts: "
            "give more betas",
            stacklevel=2,
        )
    at = ladder.index(beta)
    return Chains(
        spins=drawn.spins,
        energy=_energy(ham, drawn.spins, threads),
        beta=beta,
        algorithm=algorithm,
        kernel=kernel,
        seed=seed,
        first=first,
        burn_in=counts["burn_in"],
        thin=counts["thin"],
        acceptance=float(acceptance[at]),
        updates=drawn.updates,
        betas=tuple(ladder),
        beta_acceptance=acceptance,
        swap_acceptance=swaps,
        clusters_per_sweep=per_sweep,
        q=states_of(ham),
        backend=backend,
    )


def _engine(backend: str) -> Any:
    if backend == "cpu":
        return engine
    from vanfast.mcmc import device  # opens the CUDA module

    return device


def _energy(ham: Any, spins: np.ndarray, threads: int | None) -> np.ndarray:
    rows = spins.reshape(-1, ham.num_sites)
    options = {"threads": threads} if isinstance(ham, Hamiltonian) else {}
    return np.asarray(ham.energy(rows, **options), dtype=np.float64).reshape(spins.shape[:2])


def _ladder(ham: Any, beta: float, algorithm: str, betas: Sequence[float] | None) -> list[float]:
    if algorithm != "tempering":
        if betas is not None:
            raise ValueError(f"betas belong to algorithm 'tempering', not {algorithm!r}")
        return [beta]
    if betas is None:
        return geometric_ladder(ham, beta)
    values = sorted(positive("betas", value) for value in np.asarray(betas, dtype=object).reshape(-1))
    if len(values) < 2 or len(set(values)) < len(values) or len(values) > 1024:
        raise ValueError(f"betas must hold 2 to 1024 different values, got {values}")
    if beta not in values:
        raise ValueError(f"betas must contain beta = {beta}, got {values}")
    return values


def _swap_attempts(count: int, counts: dict[str, int]) -> np.ndarray:
    """How often each pair was tried after burn-in: pairs k of one parity in every sweep, by the sweep's number."""
    begin = counts["first_sweep"] + counts["burn_in"]
    end = begin + counts["sweeps"]
    parity = np.arange(count - 1) % 2
    tries = np.where(parity == 0, (end + 1) // 2 - (begin + 1) // 2, end // 2 - begin // 2)
    return np.where(tries, tries * counts["chains"], np.nan)


def _check_words(num_sites: int, total: int, algorithm: str, kernel: str, first_sweep: int, replicas: int) -> None:
    """A walker has 2^48 blocks of words for each use."""
    if kernel == "clusters":
        if first_sweep >= 2**22:
            raise ValueError(f"first_sweep = {first_sweep} must be below 2**22 with {algorithm}")
        return
    blocks = 16 * num_sites if kernel == "planes" else max((num_sites + 3) // 4, (replicas + 3) // 4)
    if total * blocks > WALKER_BLOCKS:
        raise ValueError(f"{total} sweeps of {num_sites} sites are more than a seed has random words for")


def start_rows(start: Any, num_sites: int, chains: int, q: int | None) -> np.ndarray | None:
    """Configurations that chains start from, int8 [chains, N]; TypeError or ValueError that names `start`."""
    if start is None:
        return None
    rows = as_spins(start if hasattr(start, "detach") else np.asarray(start), num_sites, "start", q=q).numpy()
    if len(rows) not in (1, chains):
        raise ValueError(f"start holds {len(rows)} configurations, expected 1 or one for each of {chains} chains")
    return np.ascontiguousarray(np.broadcast_to(rows, (chains, num_sites)))


def _threads(threads: int | None) -> int:
    return 0 if threads is None else as_integer("threads", threads, 1, 4096)


def as_integer(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} = {value!r} must be an integer")
    number = value.__index__()
    if not low <= number <= high:
        raise ValueError(f"{name} = {number} must be in [{low}, {high}]")
    return int(number)


def positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} = {value!r} must be a number") from None
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} = {value} must be positive and finite")
    return number
