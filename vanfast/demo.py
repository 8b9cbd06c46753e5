"""The demo: a PixelCNN learns the 8 x 8 ferromagnet near its critical point, and is held against Kaufman's solution."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vanfast import exact
from vanfast.hamiltonians import IsingSquare
from vanfast.networks import Network, PixelCNN
from vanfast.observables import Observables, log_weights, measure
from vanfast.plots import summary_figure
from vanfast.saving import digest
from vanfast.store import SampleWriter
from vanfast.training import Run, train
from vanfast.training.known import known_json

SIDE, BETA = 8, 0.44
SAMPLES = 100_000
# Two layers whose kernels span the lattice: the last rows must know the first ones, to which the torus joins them.
NETWORK = {"depth": 2, "width": 32, "half_kernel": 7, "z2": True}
TRAINING: dict[str, Any] = {
    "steps": 1000,
    "batch": 1000,
    "learning_rate": 8e-3,
    "schedule": "cosine",
    "anneal": 0.98,
}
QUANTITIES = ("free_energy", "energy", "entropy", "heat_capacity")


@dataclass(frozen=True)
class DemoResult:
    """What the demo found; energies are extensive.

    naive_samples_per_second: of the whole network evaluated once for every site in PyTorch, from the time of one
    evaluation. files: everything written.
    """

    run: Run
    observables: Observables
    exact: exact.Thermodynamics
    training_seconds: float
    samples_per_second: float
    naive_samples_per_second: float
    files: list[Path]

    @property
    def relative_error(self) -> float:
        """Of the network's own (variational) free energy."""
        return abs(float(self.observables.free_energy.value / self.exact.free_energy) - 1.0)

    def deviation(self, name: str) -> float:
        """Of the unbiased estimate of a quantity from its exact value, in standard errors."""
        estimate = getattr(self.observables.unbiased, name)
        return float((estimate.value - getattr(self.exact, name)) / estimate.error)

    @property
    def passed(self) -> bool:
        """Free energy within 1e-3, unbiased free energy within 3 errors."""
        return self.relative_error < 1e-3 and abs(self.deviation("free_energy")) < 3.0

    def to_json(self) -> dict[str, Any]:
        values: dict[str, Any] = self.observables.to_json()
        values |= known_json(self.exact)
        return values | {
            "free_energy_relative_error": self.relative_error,
            **{f"unbiased_{name}_deviation": self.deviation(name) for name in QUANTITIES},
            "training_seconds": self.training_seconds,
            "samples_per_second": self.samples_per_second,
            "naive_samples_per_second": self.naive_samples_per_second,
            "passed": self.passed,
            "files": [str(path) for path in self.files],
        }


def run_demo(
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
    samples: int = SAMPLES,
    training: dict[str, Any] | None = None,
) -> DemoResult:
    """Trains, samples and compares; writes DIR/run, DIR/samples.npz and DIR/demo.png. `say` gets lines of news."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "run" / "checkpoint.safetensors").exists():
        shutil.rmtree(folder / "run")  # an earlier demo's
    ham = IsingSquare(L=SIDE)
    net = PixelCNN(shape=(SIDE, SIDE), seed=seed, **NETWORK)  # type: ignore[arg-type]
    options = TRAINING | (training or {})
    say(
        f"Training a PixelCNN of {net.num_parameters():,} parameters on the {SIDE}x{SIDE} ferromagnet "
        f"at beta = {BETA}, {options['steps']} steps of {options['batch']} samples"
    )
    begin = time.perf_counter()
    run = train(
        net, ham, BETA, seed=seed, backend=backend, threads=threads, out=folder / "run", progress=progress, **options
    )
    training_seconds = time.perf_counter() - begin
    say(f"Trained in {training_seconds:.0f} s; drawing {samples:,} samples")
    sampler = run.sampler(backend, threads)
    begin = time.perf_counter()
    batch = sampler.sample(samples, seed=seed + 1)
    rate = samples / (time.perf_counter() - begin)
    with SampleWriter(
        folder / "samples.npz",
        count=samples,
        num_sites=ham.num_sites,
        seed=seed + 1,
        network_digest=digest(net),
        hamiltonian=ham,
        extra={"beta": BETA},
    ) as writer:
        writer.write(batch.spins, batch.log_q, batch.energy)
    assert batch.energy is not None
    log_weight = log_weights(batch.log_q, batch.energy, BETA)
    thermodynamics = exact.kaufman(SIDE, BETA)
    summary_figure(
        folder / "demo.png",
        run.history,
        batch.spins[:8],
        batch.energy / ham.num_sites,
        (SIDE, SIDE),
        title=f"{SIDE}×{SIDE} ferromagnet, β = {BETA}: free energy",
        exact_free_energy=lambda beta: exact.kaufman(SIDE, beta).free_energy / ham.num_sites,
        exact_energy=thermodynamics.energy / ham.num_sites,
        weights=torch.exp(torch.from_numpy(log_weight - log_weight.max())).numpy(),
    )
    return DemoResult(
        run=run,
        observables=measure(batch, BETA),
        exact=thermodynamics,
        training_seconds=training_seconds,
        samples_per_second=rate,
        naive_samples_per_second=naive_rate(net),
        files=[folder / "run", folder / "samples.npz", folder / "demo.png"],
    )


def naive_rate(net: Network, batch: int = 1000) -> float:
    """Samples a second of naive sampling: the whole network once for every site, as the VAN paper's code does.

    One evaluation in PyTorch is timed (the best of five, after one to warm up) and multiplied by the number of sites.
    """
    generator = torch.Generator().manual_seed(0)
    spins = torch.randint(0, 2, (batch, net.num_sites), generator=generator, dtype=torch.int8) * 2 - 1
    best = math.inf
    with torch.no_grad():
        net.logits(spins)
        for _ in range(5):
            begin = time.perf_counter()
            net.logits(spins)
            best = min(best, time.perf_counter() - begin)
    return batch / (best * net.num_sites)
