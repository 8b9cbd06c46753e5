"""The CUDA engines, made by csrc/cuda: pointers, devices and streams are integers. Nothing here waits for a GPU."""

from collections.abc import Sequence

conv_star_slots: int
emulated: bool
masked_star_slots: int
masked_table_ints: tuple[int, ...]
plane_samples: int

class ConvSampler:
    def __init__(
        self,
        height: int,
        width: int,
        half_kernel: int,
        layers: Sequence[tuple[int, int, bool]],
        precision: int,
        device: int,
        shared_limit: int = 0,
        star: bool = False,
    ) -> None: ...
    @property
    def blocks(self) -> int: ...
    @property
    def shared_bytes(self) -> int: ...
    @property
    def in_workspace(self) -> bool: ...
    @property
    def cached_bytes(self) -> int: ...
    @property
    def rows_bytes(self) -> int: ...
    @property
    def scan_bytes(self) -> int: ...
    @property
    def first_bytes(self) -> int: ...
    @property
    def num_constants(self) -> int: ...
    def workspace_bytes(self, blocks: int) -> int: ...
    def sample(
        self,
        rows: int,
        scan: int,
        first_layer: int,
        constants: int,
        workspace: int,
        blocks: int,
        spins: int,
        log_q: int,
        kept: Sequence[int],
        given: bool,
        count: int,
        seed: int,
        first: int,
        step: int,
        star: tuple[int, int, int],
        stream: int,
    ) -> None: ...

def bond_energy(
    planes: int,
    count: int,
    num_sites: int,
    edges: int,
    couplings: int,
    num_bonds: int,
    energy: int,
    device: int,
    stream: int,
) -> None: ...
def dense_energy(
    planes: int, count: int, num_sites: int, couplings: int, fields: int, energy: int, device: int, stream: int
) -> None: ...
def device_count() -> int: ...
def device_error() -> str: ...
def device_properties(device: int) -> dict[str, object]: ...
def lattice_energy(
    spins: int,
    count: int,
    rows: int,
    width: int,
    directions: int,
    neighbour: int,
    step: int,
    values: int,
    bonds: int,
    signs: int,
    fields: int,
    energy: int,
    device: int,
    stream: int,
) -> None: ...
def masked_single(
    net: dict[str, object],
    *,
    spins: int,
    log_q: int,
    count: int,
    seed: int,
    first: int,
    step: int,
    order: int,
    given: bool,
    keep: int,
    groups: int,
    workspace: int,
    workspace_bytes: int,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def masked_single_workspace(
    net: dict[str, object], *, count: int, groups: int, shared_limit: int, device: int
) -> int: ...
def masked_stack(
    net: dict[str, object],
    *,
    spins: int,
    log_q: int,
    count: int,
    seed: int,
    first: int,
    step: int,
    order: int,
    given: bool,
    keep: int,
    groups: int,
    parts: int,
    memory: int,
    workspace: int,
    workspace_bytes: int,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def masked_stack_workspace(
    net: dict[str, object], *, count: int, groups: int, parts: int, memory: int, shared_limit: int, device: int
) -> int: ...
def mcmc_cluster_ints(sites: int) -> int: ...
def mcmc_pairwise(
    walkers: dict[str, int],
    system: dict[str, object],
    temperatures: dict[str, object],
    target: int,
    heat_bath: bool,
    first: int,
    piece: dict[str, int],
    flips: int,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def mcmc_planes(
    walkers: dict[str, int],
    system: dict[str, object],
    heat_bath: bool,
    piece: dict[str, int],
    flips: int,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def mcmc_prepare(
    walkers: dict[str, int], system: dict[str, object], temperatures: dict[str, object], device: int, stream: int
) -> None: ...
def mcmc_start(walkers: dict[str, int], replicas: int, given: int, site: int, device: int, stream: int) -> None: ...
def mcmc_swendsen_wang(
    walkers: dict[str, int],
    system: dict[str, object],
    piece: dict[str, int],
    flips: int,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def mcmc_wolff(
    walkers: dict[str, int],
    system: dict[str, object],
    states: int,
    per_sweep: int,
    words: int,
    piece: dict[str, int],
    flips: int,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def mixture_scan(
    *,
    sites: int,
    components: int,
    log_weights: int,
    tables: int,
    spins: int,
    log_q: int,
    count: int,
    seed: int,
    first: int,
    step: int,
    given: bool,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def nest_scan(
    *,
    sites: int,
    levels: int,
    chunks: int,
    chunk_steps: int,
    site_steps: int,
    headers: int,
    records: int,
    spins: int,
    log_q: int,
    count: int,
    seed: int,
    first: int,
    step: int,
    given: bool,
    keep: int,
    lanes: int,
    threads: int,
    shared_limit: int,
    device: int,
    stream: int,
) -> None: ...
def pack_planes(spins: int, count: int, num_sites: int, planes: int, device: int, stream: int) -> None: ...
def pack_spins(spins: int, count: int, num_sites: int, packed: int, device: int, stream: int) -> None: ...
def pattern_energy(
    spins: int, count: int, num_sites: int, patterns: int, bits: int, values: int, energy: int, device: int, stream: int
) -> None: ...
def philox_words(
    words: int, count: int, seed: int, first: int, block: int, stream_number: int, device: int, stream: int
) -> None: ...
def symmetry_flip(
    *,
    spins: int,
    log_q: int,
    log_q_flipped: int,
    out: int,
    count: int,
    sites: int,
    seed: int,
    first: int,
    step: int,
    device: int,
    stream: int,
) -> None: ...
def table_scan(
    *,
    sites: int,
    prefix: bool,
    rules: int,
    table: int,
    spins: int,
    log_q: int,
    count: int,
    seed: int,
    first: int,
    step: int,
    given: bool,
    keep: int,
    device: int,
    stream: int,
) -> None: ...
def unpack_spins(packed: int, count: int, num_sites: int, spins: int, device: int, stream: int) -> None: ...
