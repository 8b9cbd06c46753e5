"""Markov chains by the CUDA kernels (csrc/cuda/mcmc_*.cu): chains in groups that fit into memory, runs in pieces.

Functions and results are those of `vanfast.mcmc.engine`. Sites are tried colour after colour, of a dense system in
raster order: a chain's bytes are those of the CPU's kernel for a system whose sites are numbered in that order.
Clusters have random words by bond and site instead of one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from vanfast import backends
from vanfast.backends.engines.base import selected, stream_of
from vanfast.errors import BackendUnavailable
from vanfast.exact import PairSystem
from vanfast.mcmc import _tables
from vanfast.mcmc._device_tables import colours, digit_masks, numbered_bonds, plane_runs, sparse_rows
from vanfast.mcmc._words import WALKER_BLOCKS
from vanfast.mcmc.incremental import Drawn

_PIECE_UPDATES = 2**32  # spins tried before the host looks at signals and tells progress
_GROUP_BYTES = 2**30  # of fields or draws of the chains that run together
_SWEEP_BLOCKS = 2**26  # of random words that a sweep of Wolff's before this run may have used
_NONE = np.zeros(0, dtype=np.int64)


class Gpu(NamedTuple):
    module: Any
    device: torch.device

    def put(self, values: np.ndarray) -> torch.Tensor:
        """An array on the device, as the signed integers or the float64 that torch knows."""
        same = values.view(values.dtype.str.replace("u", "i")) if values.dtype.kind == "u" else values
        return torch.from_numpy(np.array(same, order="C")).to(self.device)

    @property
    def where(self) -> dict[str, int]:
        return {"device": self.device.index or 0, "stream": stream_of(self.device)}

    @property
    def shared_limit(self) -> int:
        return int(self.module.device_properties(self.device.index or 0)["shared_bytes"])


def find_gpu() -> Gpu:
    """The GPU that chains run on: torch's current one. Raises BackendUnavailable where there is none."""
    backend: Any = backends.get("cuda")
    if reason := backend.unavailable():
        raise BackendUnavailable(f"backend 'cuda' cannot run here: {reason}; backend='cpu' runs all chains")
    return Gpu(backend.native(), backend.current_device())


class _Group:
    """Chains that run together: their spins on the device, and the pieces of their run."""

    def __init__(self, gpu: Gpu, schedule: dict[str, Any], begin: int, chains: int, order: Any, N: int) -> None:
        self.gpu, self.schedule, self.begin, self.chains, self.N = gpu, schedule, begin, chains, N
        self.first = schedule["first"] + begin
        self.site = None if order is None else gpu.put(order.site)
        self.position = None if order is None else gpu.put(order.position)

    def start(self, replicas: int = 1, aligned: bool = False) -> dict[str, int]:
        """Spins at the start; the dictionary that the module takes. aligned: words begin at multiples of 32 chains."""
        shift, count = self.first % 32 if aligned else 0, self.chains * replicas
        words = -(-(shift + count) // 32)
        self.state = torch.empty((words, self.N), dtype=torch.int32, device=self.gpu.device)
        walkers = {
            "state": self.state.data_ptr(),
            "words": words,
            "sites": self.N,
            "shift": shift,
            "count": count,
            "base": (self.first * replicas - shift) % 2**64,
            "seed": self.schedule["seed"],
        }
        start = self.schedule["start"]
        given = None if start is None else self.gpu.put(start[self.begin : self.begin + self.chains])
        self.gpu.module.mcmc_start(
            walkers=walkers, replicas=replicas, given=_pointer(given), site=_pointer(self.site), **self.gpu.where
        )
        return walkers

    def run(self, launch: Callable[..., None], spins: np.ndarray, updates: int) -> None:
        """All sweeps; draws go to spins int8 [all chains, draws, N]. updates: spins that a sweep tries."""
        s = self.schedule
        for done, sweeps, first, draws in _pieces(s, updates, self.chains * self.N):
            buffer = torch.empty((self.chains, draws, self.N), dtype=torch.int8, device=self.gpu.device)
            piece = {
                "sweep": s["sweep"],
                "done": done,
                "sweeps": sweeps,
                "burn_in": s["burn_in"],
                "thin": s["thin"],
                "spins": buffer.data_ptr(),
                "first_draw": first,
                "draws": draws,
                "position": _pointer(self.position),
            }
            launch(piece=piece, **self.gpu.where)
            spins[self.begin : self.begin + self.chains, first : first + draws] = buffer.cpu().numpy()
            if self.gpu.device.type == "cuda":
                torch.cuda.synchronize(self.gpu.device)
            if s["progress"] is not None:
                total = s["burn_in"] + s["draws"] * s["thin"]
                s["progress"](self.begin * total + self.chains * (done + sweeps))


def _pieces(schedule: dict[str, Any], updates: int, row_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """(sweeps done before, sweeps, number of the first draw, draws) of every piece."""
    burn_in, thin = schedule["burn_in"], schedule["thin"]
    total = burn_in + schedule["draws"] * thin
    done = 0
    while done < total:
        first = max(0, (done - burn_in) // thin)
        most_draws = max(1, _GROUP_BYTES // row_bytes)
        end = min(total, done + max(1, _PIECE_UPDATES // updates), burn_in + (first + most_draws) * thin)
        yield done, end - done, first, max(0, (end - burn_in) // thin) - first
        done = end


def _groups(
    gpu: Gpu, schedule: dict[str, Any], chain_bytes: int, order: Any, N: int
) -> tuple[np.ndarray, Iterator[_Group]]:
    """Room for all draws, and the groups that fill it."""
    chains = schedule["chains"]
    size = max(32, min(_GROUP_BYTES // chain_bytes, 2**30) // 32 * 32)
    spins = np.empty((chains, schedule["draws"], N), dtype=np.int8)
    each = (_Group(gpu, schedule, begin, min(size, chains - begin), order, N) for begin in range(0, chains, size))
    return spins, each


def run_planes(ham: PairSystem, beta: float, heat_bath: bool, sweeps: int, schedule: dict[str, Any]) -> Drawn:
    """Multi-spin coding, sites colour after colour."""
    planes = _tables.plane_arrays(ham)
    if isinstance(planes, str):
        raise ValueError(f"multi-spin coding cannot run this system: {planes}")
    gpu, N = find_gpu(), ham.num_sites
    order = colours(planes.start, planes.neighbour)
    table = plane_runs(planes, order)
    runs, neighbour = gpu.put(table.runs.view(np.int32)), gpu.put(table.neighbour)
    digits = gpu.put(digit_masks(planes.thresholds(beta, heat_bath)))
    system = {
        "runs": runs.data_ptr(),
        "num_runs": len(table.runs),
        "largest": table.largest,
        "neighbour": neighbour.data_ptr(),
        "digits": digits.data_ptr(),
    }
    flips = torch.zeros(1, dtype=torch.int64, device=gpu.device)
    with selected(gpu.device):
        spins, groups = _groups(gpu, schedule, N, order, N)
        for group in groups:
            walkers = group.start(aligned=True)

            def launch(walkers: dict[str, int] = walkers, **more: Any) -> None:
                gpu.module.mcmc_planes(
                    walkers=walkers,
                    system=system,
                    heat_bath=heat_bath,
                    flips=flips.data_ptr(),
                    shared_limit=gpu.shared_limit,
                    **more,
                )

            group.run(launch, spins, group.chains * N)
    return Drawn(spins, sweeps * N, flips.cpu().numpy(), _NONE)


def run_pairwise(
    ham: PairSystem,
    betas: list[float],
    target: int,
    heat_bath: bool,
    dense: bool,
    sweeps: int,
    schedule: dict[str, Any],
) -> Drawn:
    """Single spins in fields that are cached (dense) or summed anew (sparse), at one beta or with replicas at all."""
    arrays = _tables.pair_arrays(ham, dense)
    gpu, N, R = find_gpu(), ham.num_sites, len(betas)
    order, system, kept = _pair_system(gpu, arrays, dense)
    ladder = np.asarray(betas, dtype=np.float64)
    scale = gpu.put(np.minimum(2.0 * ladder * arrays.quantum, 1e28).astype(np.float32))
    on_device = gpu.put(ladder)
    flips, accepted = (torch.zeros(size, dtype=torch.int64, device=gpu.device) for size in (R, R))
    with selected(gpu.device):
        stride = (N + 3) // 8 * 8 + 4  # at least N, 4 more than a multiple of 8
        spins, groups = _groups(gpu, schedule, R * 4 * stride if dense else max(N, R * (N // 8 + 16)), order, N)
        for group in groups:
            count = group.chains * R
            slot = torch.arange(R, dtype=torch.int32, device=gpu.device).repeat(group.chains)
            walker_at = torch.arange(count, dtype=torch.int32, device=gpu.device)
            energy = torch.zeros(count if R > 1 else 0, dtype=torch.int64, device=gpu.device)
            walkers = group.start(R)
            local = torch.empty(walkers["words"] * 32 * stride if dense else 0, dtype=torch.int32, device=gpu.device)
            system |= {"local": local.data_ptr(), "stride": stride}
            temperatures = {
                "replicas": R,
                "scale": scale.data_ptr(),
                "slot": slot.data_ptr(),
                "energy": energy.data_ptr() if R > 1 else 0,
                "betas": on_device.data_ptr(),
                "quantum": arrays.quantum,
                "walker_at": walker_at.data_ptr(),
                "accepted": accepted.data_ptr(),
            }
            of_group = {"walkers": walkers, "system": system, "temperatures": temperatures}
            gpu.module.mcmc_prepare(**of_group, **gpu.where)

            def launch(of_group: dict[str, Any] = of_group, first: int = group.first, **more: Any) -> None:
                gpu.module.mcmc_pairwise(
                    **of_group,
                    target=target,
                    heat_bath=heat_bath,
                    first=first,
                    flips=flips.data_ptr(),
                    shared_limit=gpu.shared_limit,
                    **more,
                )

            group.run(launch, spins, count * N)
    del kept  # what `system` points at
    return Drawn(spins, sweeps * N, flips.cpu().numpy(), accepted[: R - 1].cpu().numpy())


def _pair_system(gpu: Gpu, arrays: _tables.PairArrays, dense: bool) -> tuple[Any, dict[str, Any], list[torch.Tensor]]:
    """Order of the sites (None: raster), what the module takes, and the tensors behind it."""
    if dense:
        kept = {name: gpu.put(getattr(arrays, name)) for name in ("field", "is_free")}
        kept["twice"] = gpu.put(np.pad(arrays.twice, ((0, 0), (0, -len(arrays.field) % 4))))
        order, numbers = None, {"dense": 1}
    else:
        assert arrays.start is not None
        assert arrays.neighbour is not None
        order = colours(arrays.start, arrays.neighbour)
        rows = sparse_rows(arrays, order)
        kept = {name: gpu.put(value) for name, value in vars(rows).items()} | {"colour": gpu.put(order.start)}
        numbers = {"dense": 0, "colours": len(order.start) - 1, "largest": order.largest}
    return order, numbers | {name: tensor.data_ptr() for name, tensor in kept.items()}, [*kept.values()]


def run_clusters(
    ham: PairSystem, beta: float, wolff: bool, per_sweep: int | None, schedule: dict[str, Any]
) -> tuple[Drawn, np.ndarray | None]:
    """Swendsen-Wang or Wolff; Wolff's clusters of a sweep, int64 [chains]."""
    rows = _tables.neighbours(ham)
    bonds = numbered_bonds(rows, _tables.bond_thresholds(rows, beta))
    gpu, N, M = find_gpu(), ham.num_sites, len(bonds.ends)
    blocks = -(-M // 4) + (1 if wolff else -(-N // 128))  # of random words, of a cluster or a sweep
    total = schedule["sweep"] + schedule["burn_in"] + schedule["draws"] * schedule["thin"]
    if not wolff and total * blocks > WALKER_BLOCKS:
        raise ValueError(f"{total} sweeps of {M} bonds are more than a seed has random words for")
    kept = {name: gpu.put(value) for name, value in vars(bonds).items()}
    system: dict[str, Any] = {name: tensor.data_ptr() for name, tensor in kept.items()} | {"num_bonds": M}
    ints = gpu.module.mcmc_cluster_ints(N)
    flips = torch.zeros(1, dtype=torch.int64, device=gpu.device)
    found = []
    with selected(gpu.device):
        outside = 4 * ints > gpu.shared_limit
        spins, groups = _groups(gpu, schedule, 4 * ints if outside else N, None, N)
        for group in groups:
            walkers = group.start()
            room = torch.empty(group.chains * ints if outside else 0, dtype=torch.int32, device=gpu.device)
            system["workspace"] = room.data_ptr() if outside else 0
            states = torch.zeros((group.chains, 5), dtype=torch.int64, device=gpu.device)

            def launch(walkers: dict[str, int] = walkers, states: torch.Tensor = states, **more: Any) -> None:
                common = {
                    "walkers": walkers,
                    "system": system,
                    "flips": flips.data_ptr(),
                    "shared_limit": gpu.shared_limit,
                }
                if not wolff:
                    return gpu.module.mcmc_swendsen_wang(**common, **more)
                words = schedule["sweep"] * _SWEEP_BLOCKS
                gpu.module.mcmc_wolff(**common, states=states.data_ptr(), per_sweep=per_sweep or 0, words=words, **more)
                if words + int(states[:, 0].max()) * blocks > WALKER_BLOCKS:
                    raise ValueError("a chain built more clusters than a seed has random words for")

            group.run(launch, spins, group.chains * N)
            found.append(states.cpu().numpy())
    built = np.concatenate(found)
    made = int(built[:, 4].sum()) if wolff else schedule["chains"] * schedule["draws"] * schedule["thin"]
    drawn = Drawn(spins, made, flips.cpu().numpy() / N, _NONE)
    return drawn, built[:, 3] if wolff else None


def _pointer(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
