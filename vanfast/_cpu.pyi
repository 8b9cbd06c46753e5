"""Types of the C++ module; each binding file of csrc/cpu has its part here."""

from typing import Any

import numpy as np

class EnergyModel:
    """csrc/cpu/bind_energy.cpp"""

    def __init__(self, num_sites: int, edges: np.ndarray, couplings: np.ndarray, fields: np.ndarray) -> None: ...
    @staticmethod
    def from_patterns(patterns: np.ndarray, coupling: float, fields: np.ndarray) -> EnergyModel: ...
    @property
    def num_sites(self) -> int: ...
    def evaluate(self, spins: np.ndarray, energy: np.ndarray, threads: int = 0) -> None: ...

class PottsEnergy:
    """csrc/cpu/bind_energy.cpp"""

    def __init__(self, num_sites: int, edges: np.ndarray, couplings: np.ndarray, fields: np.ndarray) -> None: ...
    def evaluate(self, spins: np.ndarray, energy: np.ndarray, threads: int = 0) -> None: ...

class Sampler:
    """csrc/cpu/bind_sampler.cpp"""

    @property
    def num_sites(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def native_bf16(self) -> bool: ...
    @property
    def bytes_per_thread(self) -> int: ...
    def sample(
        self,
        count: int,
        seed: int,
        first: int = 0,
        threads: int = 0,
        model: EnergyModel | None = None,
        keep: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray, list[np.ndarray]]: ...
    @property
    def has_gradient(self) -> bool: ...
    def gradient(
        self, drawn: np.ndarray, weight: np.ndarray, first: int, kept: list[np.ndarray], threads: int = 0
    ) -> list[np.ndarray]: ...
    def log_prob(self, spins: np.ndarray, threads: int = 0) -> np.ndarray: ...
    def evaluate(
        self, spins: np.ndarray, threads: int = 0, keep: bool = False
    ) -> tuple[np.ndarray, list[np.ndarray]]: ...

def conv_sampler(
    height: int,
    width: int,
    half_kernel: int,
    layers: list[dict[str, Any]],
    z2: bool,
    bf16: bool,
    isa: str,
    prior: dict[str, np.ndarray] | None = None,
) -> Sampler: ...
def masked_sampler(
    num_sites: int,
    layers: list[dict[str, Any]],
    order: np.ndarray | None,
    z2: bool,
    bf16: bool,
    isa: str,
    prior: dict[str, np.ndarray] | None = None,
) -> Sampler: ...
def categorical_sampler(
    num_sites: int,
    states: int,
    layers: list[dict[str, Any]],
    order: np.ndarray | None,
    maps: np.ndarray,
    bf16: bool,
    isa: str,
) -> Sampler: ...
def mixture_sampler(log_weights: np.ndarray, logits: np.ndarray, z2: bool, isa: str) -> Sampler: ...
def magnetization_sampler(logits: np.ndarray, z2: bool, isa: str) -> Sampler: ...
def prefix_sampler(logits: np.ndarray, z2: bool, isa: str) -> Sampler: ...
def nest_sampler(
    couplings: np.ndarray,
    bias: np.ndarray,
    direct: np.ndarray,
    weight: np.ndarray,
    shift: np.ndarray,
    learn_couplings: bool,
    z2: bool,
    isa: str,
) -> Sampler: ...
def isas() -> list[str]: ...
def product_rate(isa: str = "", bf16: bool = False, threads: int = 0, seconds: float = 0.2) -> float: ...
def hardware_threads() -> int: ...
def draw_state(logits: np.ndarray, word: int) -> int: ...
def philox(seed: int, sample: int, block: int, stream: int) -> list[int]: ...

# csrc/cpu/bind_enumerate.cpp
def enumerate(
    num_sites: int,
    edges: np.ndarray,
    couplings: np.ndarray,
    fields: np.ndarray,
    beta: float,
    threads: int,
    log_prob: bool,
) -> dict[str, Any]: ...
def transfer(
    slot: np.ndarray,
    fresh: np.ndarray,
    replaced: np.ndarray,
    field: np.ndarray,
    live_start: np.ndarray,
    live_slot: np.ndarray,
    live_coupling: np.ndarray,
    given_start: np.ndarray,
    given_index: np.ndarray,
    given_coupling: np.ndarray,
    settings: int,
    beta: float,
    cut: float,
    threads: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...

# csrc/cpu/bind_mcmc.cpp; a schedule has the keys seed, first, chains, burn_in, draws, thin, sweep, threads, start (int8
# [chains, N] or None), progress (function of the sweeps done, or None) and isa
def mcmc_pairwise(
    start: np.ndarray | None,
    neighbour: np.ndarray | None,
    twice: np.ndarray,
    field: np.ndarray,
    is_free: np.ndarray,
    quantum: float,
    betas: list[float],
    target: int,
    heat_bath: bool,
    schedule: dict[str, Any],
) -> tuple[np.ndarray, list[int], list[int]]: ...
def mcmc_potts(
    start: np.ndarray,
    neighbour: np.ndarray,
    coupling: np.ndarray,
    field: np.ndarray,
    quantum: float,
    betas: list[float],
    target: int,
    heat_bath: bool,
    schedule: dict[str, Any],
) -> tuple[np.ndarray, list[int], list[int]]: ...
def mcmc_planes(
    start: np.ndarray,
    neighbour: np.ndarray,
    negative: np.ndarray,
    thresholds: np.ndarray,
    heat_bath: bool,
    schedule: dict[str, Any],
) -> tuple[np.ndarray, int]: ...
def mcmc_clusters(
    start: np.ndarray,
    neighbour: np.ndarray,
    threshold: np.ndarray,
    states: int,
    wolff: bool,
    per_sweep: int,
    schedule: dict[str, Any],
) -> tuple[np.ndarray, int, int, list[int]]: ...
def mcmc_words(seed: int, walker: int, use: int, block: int, blocks: int, isa: str = "") -> np.ndarray: ...
def mcmc_digit_rate(isa: str = "", seconds: float = 0.2) -> float: ...

# csrc/cpu/bind_mcmc_masked.cpp; group: whether spins have Z2, or the permutations of states [order, q]
def mcmc_masked(
    num_sites: int,
    layers: list[dict[str, Any]],
    order: np.ndarray | None,
    group: bool | np.ndarray,
    T0: float,
    betas: list[float],
    target: int,
    heat_bath: bool,
    schedule: dict[str, Any],
) -> tuple[np.ndarray, list[int], list[int]]: ...
def flip_changes(
    num_sites: int,
    layers: list[dict[str, Any]],
    order: np.ndarray | None,
    group: bool | np.ndarray,
    spins: np.ndarray,
    threads: int = 0,
    isa: str = "",
) -> np.ndarray: ...
