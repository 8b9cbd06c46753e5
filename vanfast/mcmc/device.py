"""Markov chains by the CUDA kernels, csrc/cuda/mcmc_*.cu.

Functions and results are those of `vanfast.mcmc.engine`. Sites are tried colour after colour, of a dense system in
raster order: a chain's bytes are those of the CPU's kernel for a system whose sites are numbered in that order, see
`renumbered`. Clusters have random words by bond and site instead of one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vanfast.exact import PairSystem
from vanfast.hamiltonians import Pairwise
from vanfast.mcmc import _tables
from vanfast.mcmc._device_run import Gpu, Group, Kernel, find_gpu, run_groups
from vanfast.mcmc._device_tables import colours, digit_masks, numbered_bonds, plane_runs, sparse_rows
from vanfast.mcmc._words import WALKER_BLOCKS
from vanfast.mcmc.incremental import Drawn

_SWEEP_BLOCKS = 2**26  # of random words that a sweep of Wolff's before this run may have used
_NONE = np.zeros(0, dtype=np.int64)


class Planes(Kernel):
    """Multi-spin coding."""

    def __init__(self, gpu: Gpu, ham: PairSystem, beta: float, heat_bath: bool) -> None:
        planes = _tables.required_planes(ham)
        self.gpu, self.num_sites, self.heat_bath = gpu, ham.num_sites, heat_bath
        self.order = colours(planes.start, planes.neighbour)
        self.chain_bytes = self.tried = ham.num_sites
        self.flips = gpu.zeros(1)
        table = plane_runs(planes, self.order)
        arrays = {
            "runs": table.runs.view(np.int32),
            "neighbour": table.neighbour,
            "digits": digit_masks(planes.thresholds(beta, heat_bath)),
        }
        self._kept = {name: gpu.put(array) for name, array in arrays.items()}
        self._system = _pointers(self._kept) | {"num_runs": len(table.runs), "largest": table.largest}

    def begin(self, group: Group) -> Callable[..., None]:
        walkers = group.start(aligned=True)

        def launch(**more: Any) -> None:
            self.gpu.module.mcmc_planes(
                walkers=walkers,
                system=self._system,
                heat_bath=self.heat_bath,
                flips=self.flips.data_ptr(),
                shared_limit=self.gpu.shared_limit,
                **more,
            )

        return launch


class Pairs(Kernel):
    """Single spins in fields that are cached (dense) or summed anew (sparse), at one beta or with replicas at all."""

    def __init__(
        self, gpu: Gpu, ham: PairSystem, betas: list[float], target: int, heat_bath: bool, dense: bool
    ) -> None:
        arrays = _tables.pair_arrays(ham, dense)
        N, R = ham.num_sites, len(betas)
        self.gpu, self.num_sites, self.replicas = gpu, N, R
        self.target, self.heat_bath, self.dense = target, heat_bath, dense
        self.order = None
        self.stride = (N + 3) // 8 * 8 + 4  # at least N, 4 more than a multiple of 8
        self.chain_bytes = 4 * R * self.stride if dense else max(N, R * (N // 8 + 16))
        self.tried = R * N
        self.quantum = arrays.quantum
        ladder = np.asarray(betas, dtype=np.float64)
        # at most so large that a product with 2^31 stays finite, as in csrc/cpu/mcmc_pairwise.cpp
        scale = np.minimum(2.0 * ladder * arrays.quantum, 1e28).astype(np.float32)
        self._ladder = {"scale": gpu.put(scale), "betas": gpu.put(ladder)}
        self.flips, self.accepted = gpu.zeros(R), gpu.zeros(R)
        numbers: dict[str, Any] = {"dense": dense}
        if dense:
            self._kept = {name: gpu.put(getattr(arrays, name)) for name in ("field", "is_free")}
            self._kept["twice"] = gpu.put(np.pad(arrays.twice, ((0, 0), (0, -N % 4))))
        else:
            assert arrays.start is not None
            assert arrays.neighbour is not None
            self.order = colours(arrays.start, arrays.neighbour)
            rows = sparse_rows(arrays, self.order)
            self._kept = {name: gpu.put(array) for name, array in vars(rows).items()}
            self._kept["colour"] = gpu.put(self.order.start)
            numbers |= {"colours": len(self.order.start) - 1, "largest": self.order.largest}
        self._system = _pointers(self._kept) | numbers

    def begin(self, group: Group) -> Callable[..., None]:
        R, count, device = self.replicas, group.chains * self.replicas, self.gpu.device
        walkers = group.start(R)
        local = walkers["words"] * 32 * self.stride if self.dense else 0
        of_group = {
            "slot": torch.arange(R, dtype=torch.int32, device=device).repeat(group.chains),
            "walker_at": torch.arange(count, dtype=torch.int32, device=device),
            "energy": self.gpu.zeros(count if R > 1 else 0),
            "local": torch.empty(local, dtype=torch.int32, device=device),
        }
        kept = of_group | self._ladder
        temperatures = _pointers(kept) | {
            "replicas": R,
            "quantum": self.quantum,
            "accepted": self.accepted.data_ptr(),
            "energy": of_group["energy"].data_ptr() if R > 1 else 0,
        }
        system = self._system | {"local": of_group["local"].data_ptr(), "stride": self.stride}
        common = {"walkers": walkers, "system": system, "temperatures": temperatures}
        self.gpu.module.mcmc_prepare(**common, **self.gpu.where)

        def launch(kept: Any = kept, **more: Any) -> None:  # holds what the pointers point at
            self.gpu.module.mcmc_pairwise(
                **common,
                target=self.target,
                heat_bath=self.heat_bath,
                first=group.first,
                flips=self.flips.data_ptr(),
                shared_limit=self.gpu.shared_limit,
                **more,
            )

        return launch


class Clusters(Kernel):
    """Swendsen-Wang (per_sweep None), or Wolff with so many clusters a sweep, 0: as many as turn N spins."""

    def __init__(self, gpu: Gpu, ham: PairSystem, beta: float, per_sweep: int | None) -> None:
        rows = _tables.neighbours(ham)
        bonds = numbered_bonds(rows, _tables.bond_thresholds(rows, beta))
        N, M = ham.num_sites, len(bonds.ends)
        self.gpu, self.num_sites, self.num_bonds, self.per_sweep = gpu, N, M, per_sweep
        self.order = None
        # of random words: those of a sweep, or of a cluster
        self.blocks = -(-M // 4) + (-(-N // 128) if per_sweep is None else 1)
        self.flips = gpu.zeros(1)
        self.states: list[torch.Tensor] = []  # WolffState of csrc/cuda/mcmc_launch.cuh, [chains, 5] of every group
        self._ints = gpu.module.mcmc_cluster_ints(N)
        self._outside = 4 * self._ints > gpu.shared_limit
        self.chain_bytes, self.tried = 4 * self._ints if self._outside else N, N
        self._kept = {name: gpu.put(array) for name, array in vars(bonds).items()}
        self._system = _pointers(self._kept) | {"num_bonds": M}

    def begin(self, group: Group) -> Callable[..., None]:
        walkers = group.start()
        room = torch.empty(group.chains * self._ints if self._outside else 0, dtype=torch.int32, device=self.gpu.device)
        states = self.gpu.zeros(group.chains, 5)
        self.states.append(states)
        system = self._system | {"workspace": room.data_ptr() if self._outside else 0}
        words = group.schedule["sweep"] * _SWEEP_BLOCKS

        def launch(room: torch.Tensor = room, **more: Any) -> None:  # holds what the pointer points at
            common = {"walkers": walkers, "system": system, "flips": self.flips.data_ptr()}
            common["shared_limit"] = self.gpu.shared_limit
            if self.per_sweep is None:
                self.gpu.module.mcmc_swendsen_wang(**common, **more)
            else:
                more |= {"states": states.data_ptr(), "per_sweep": self.per_sweep, "words": words}
                self.gpu.module.mcmc_wolff(**common, **more)

        return launch


def run_planes(ham: PairSystem, beta: float, heat_bath: bool, sweeps: int, schedule: dict[str, Any]) -> Drawn:
    """Multi-spin coding, sites colour after colour; sweeps: those of all chains after burn-in."""
    kernel = Planes(find_gpu(), ham, beta, heat_bath)
    spins = run_groups(kernel, schedule)
    return Drawn(spins, sweeps * ham.num_sites, kernel.flips.cpu().numpy(), _NONE)


def run_pairwise(
    ham: PairSystem,
    betas: list[float],
    target: int,
    heat_bath: bool,
    dense: bool,
    sweeps: int,
    schedule: dict[str, Any],
) -> Drawn:
    """Single spins, colour after colour, or of a dense system in raster order."""
    kernel = Pairs(find_gpu(), ham, betas, target, heat_bath, dense)
    spins = run_groups(kernel, schedule)
    flips, accepted = kernel.flips.cpu().numpy(), kernel.accepted.cpu().numpy()
    return Drawn(spins, sweeps * ham.num_sites, flips, accepted[:-1])


def run_clusters(
    ham: PairSystem, beta: float, wolff: bool, per_sweep: int | None, schedule: dict[str, Any]
) -> tuple[Drawn, np.ndarray | None]:
    """Swendsen-Wang or Wolff; Wolff's clusters of a sweep, int64 [chains]."""
    kernel = Clusters(find_gpu(), ham, beta, per_sweep or 0 if wolff else None)
    total = schedule["sweep"] + schedule["burn_in"] + schedule["draws"] * schedule["thin"]
    if not wolff and total * kernel.blocks > WALKER_BLOCKS:
        raise ValueError(f"{total} sweeps of {kernel.num_bonds} bonds are more than a seed has random words for")
    spins = run_groups(kernel, schedule)
    states = torch.cat(kernel.states).cpu().numpy()
    if schedule["sweep"] * _SWEEP_BLOCKS + int(states[:, 0].max()) * kernel.blocks > WALKER_BLOCKS:
        raise ValueError("a chain built more clusters than a seed has random words for")
    made = int(states[:, 4].sum()) if wolff else schedule["chains"] * schedule["draws"] * schedule["thin"]
    drawn = Drawn(spins, made, kernel.flips.cpu().numpy() / ham.num_sites, _NONE)
    return drawn, states[:, 3] if wolff else None


def renumbered(ham: PairSystem, kernel: str) -> tuple[Pairwise, np.ndarray]:
    """The system with its sites in the order in which a GPU tries them, and that order: site of every position [N].

    Single-site chains of backend "cuda" are those of backend "cpu" and this system, spin `position` of which is the
    site's: `run(ham, ..., backend="cuda").spins[:, :, site]`.
    """
    site = np.arange(ham.num_sites)
    if kernel != "dense":
        arrays = _tables.required_planes(ham) if kernel == "planes" else _tables.pair_arrays(ham, dense=False)
        assert arrays.start is not None
        assert arrays.neighbour is not None
        site = colours(arrays.start, arrays.neighbour).site
    position = np.argsort(site)
    return Pairwise.from_edges(ham.num_sites, position[ham.edges], ham.couplings, h=ham.fields[site]), site


def _pointers(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: tensor.data_ptr() for name, tensor in tensors.items()}
