"""Times of one case and of its rivals, taken in one run so that their ratios mean something on a shared machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from vanfast import _cpu
from vanfast.benchmarks.cases import GROWTH, Case, useful_operations
from vanfast.benchmarks.rivals import engine_product_rate, sample_cached, sample_naive, torch_product_rate
from vanfast.networks.plan import ConvPlan, MaskedPlan
from vanfast.sampler import Sampler

if TYPE_CHECKING:
    from vanfast.networks import Network

NAIVE_SECONDS = 8.0  # a rival that takes longer is timed on some sites and scaled


@dataclass(frozen=True)
class Measurement:
    """Seconds are medians; `spread` is (slowest - fastest) / median of the engine's repeats."""

    case: str
    batch: int
    precision: str
    isa: str
    threads: int
    seconds: float
    spread: float
    samples_per_second: float
    naive_seconds: float
    naive_sites: int
    naive_ratio: float
    cached_seconds: float
    cached_sites: int
    cached_ratio: float
    operations_per_sample: int
    torch_product_rate: float
    engine_product_rate: float
    limit_share: float | None
    bytes_per_thread: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _repeat(run: Any, seconds: float = 1.5, least: int = 5, most: int = 200) -> list[float]:
    """Times of `run`, for about `seconds`."""
    run()
    times: list[float] = []
    while len(times) < least or (sum(times) < seconds and len(times) < most):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return times


def _sites_within(one: float, sites: int) -> int:
    """How many sites of a rival to time, given the seconds of one."""
    return max(2, min(sites, int(NAIVE_SECONDS / one)))


def measure_case(case: Case, threads: int | None = None) -> Measurement:
    """The engine on `threads` threads (None: all) against the rivals on as many of torch's."""
    torch.manual_seed(0)
    before = torch.get_num_threads()
    threads = threads or _cpu.hardware_threads()
    torch.set_num_threads(threads)
    try:
        return _measure(case, case.build(), threads)
    finally:
        torch.set_num_threads(before)


def _measure(case: Case, net: Network, threads: int) -> Measurement:
    plan, sites = net.plan(), net.num_sites
    assert isinstance(plan, ConvPlan | MaskedPlan)  # the cases have layers
    sampler = Sampler(net, backend="cpu", precision=case.precision, threads=threads)
    program: Any = sampler.program
    torch_rate, engine_rate = torch_product_rate(case.precision), engine_product_rate(case.precision, threads)
    times = _repeat(lambda: program.sample(case.batch, 0, 0))
    with torch.no_grad():
        naive_sites = _sites_within(sample_naive(plan, case.batch, 1) / sites, sites)
        naive = sample_naive(plan, case.batch, naive_sites)
        cached_sites = _sites_within(sample_cached(plan, case.batch, 2) / sites, sites)
        cached = sample_cached(plan, case.batch, cached_sites)
    torch_rate = max(torch_rate, torch_product_rate(case.precision))
    engine_rate = max(engine_rate, engine_product_rate(case.precision, threads))
    operations = useful_operations(plan, net.z2)
    seconds = statistics.median(times)
    return Measurement(
        case=case.name,
        batch=case.batch,
        precision=case.precision,
        isa=program.isa,
        threads=threads,
        seconds=seconds,
        spread=(max(times) - min(times)) / seconds,
        samples_per_second=case.batch / seconds,
        naive_seconds=naive,
        naive_sites=naive_sites,
        naive_ratio=naive / seconds,
        cached_seconds=cached,
        cached_sites=cached_sites,
        cached_ratio=cached / seconds,
        operations_per_sample=operations,
        torch_product_rate=torch_rate,
        engine_product_rate=engine_rate,
        limit_share=operations * case.batch / seconds / max(torch_rate, engine_rate)
        if case.limited_by_products
        else None,
        bytes_per_thread=program.bytes_per_thread,
    )


def measure_growth(threads: int | None = None, samples: int = 64) -> list[dict[str, Any]]:
    """Cost per site and sample of fixed networks from L = 16 to 128, and per operation: more of a kernel's taps lie
    inside a larger lattice, so that the arithmetic of a site grows by itself."""
    rows: list[dict[str, Any]] = []
    for name, build in GROWTH.items():
        first: dict[str, Any] | None = None
        for L in (16, 32, 64, 128):
            net = build(L)
            program: Any = Sampler(net, backend="cpu", threads=threads).program
            times = _repeat(lambda program=program: program.sample(samples, 0, 0), seconds=3.0, least=3)
            cost = statistics.median(times) / (samples * L * L)
            operations = useful_operations(net.plan(), net.z2) / (L * L)
            row = {
                "network": name,
                "L": L,
                "samples": samples,
                "seconds_per_site": cost,
                "operations_per_site": operations,
                "bytes_per_thread": program.bytes_per_thread,
            }
            first = first or row
            row["cost_per_site_ratio"] = cost / first["seconds_per_site"]
            row["operations_per_site_ratio"] = operations / first["operations_per_site"]
            rows.append(row)
    return rows


def measure_training(case: Case, threads: int | None = None, steps: int = 4) -> dict[str, Any]:
    """Median seconds of a training step of the case's network on the ferromagnet (SK for one layer)."""
    from vanfast.hamiltonians import IsingSquare, SherringtonKirkpatrick
    from vanfast.training import train

    torch.manual_seed(0)
    net = case.build()
    ham = IsingSquare(shape=net.shape) if len(net.shape) == 2 else SherringtonKirkpatrick(net.num_sites)
    seconds: list[float] = []
    train(
        net,
        ham,
        beta=0.44,
        steps=steps + 1,
        batch=case.batch,
        precision=case.precision,
        threads=threads,
        progress=False,
        callback=lambda record: seconds.append(record.step_seconds),
    )
    return {"case": case.name, "batch": case.batch, "seconds_per_step": statistics.median(seconds[1:])}
