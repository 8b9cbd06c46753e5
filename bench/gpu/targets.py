"""The cases with a target, and how each is run: a training step, sampling, energies, or Markov chains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from chains import chains_run

import vanfast as vf
from vanfast import backends
from vanfast.benchmarks import CASES, useful_operations
from vanfast.benchmarks.cases import GROWTH
from vanfast.benchmarks.rivals import sample_naive
from vanfast.mcmc.kernels import BACKENDS
from vanfast.networks.plan import ConvPlan, MaskedPlan

BETA = 0.44


@dataclass(frozen=True)
class Target:
    """A case and what it has to reach; None where nothing is asked.

    kind: "training", "sampling", "energy" or "chains", whose batch are chains that make `sweeps` sweeps of `algorithm`.
    seconds: at most, for one run. rate: samples per second, updates: spins tried per second, at least. share: of the
    limit, at least: useful operations at torch's rate in `limit` precision times `products`, or for energies the bytes
    of the spins at the rate of a copy. cost_ratio: cost per site against the case `against`, at most.
    """

    name: str
    kind: str
    network: Callable[[], vf.networks.Network] | None
    hamiltonian: Callable[[], vf.hamiltonians.Hamiltonian]
    batch: int
    precision: str = "fp32"
    seconds: float | None = None
    rate: float | None = None
    share: float | None = None
    limit: str | None = None
    products: int = 1
    against: str | None = None
    cost_ratio: float | None = None
    algorithm: str = ""
    sweeps: int = 1
    updates: float | None = None


def targets(tiny: bool = False) -> list[Target]:
    """The table of targets; `tiny` has the same cases of a size for tests."""
    return _tiny() if tiny else _full()


def _full() -> list[Target]:
    square = vf.hamiltonians.IsingSquare

    def sk(N: int) -> Callable[[], vf.hamiltonians.Hamiltonian]:
        return lambda: vf.hamiltonians.SherringtonKirkpatrick(N)

    def nest(N: int) -> Callable[[], vf.networks.Network]:
        return lambda: vf.networks.SK(vf.hamiltonians.SherringtonKirkpatrick(N, seed=1), 1.0, k=1)

    shallow, deep = CASES["conv-3-64-6"].build, CASES["conv-6-64-3"].build
    found = []
    for name, build, fast, exact in (("conv 3/64/6", shallow, 3e-3, 12e-3), ("conv 6/64/3", deep, 6e-3, 18e-3)):
        for precision, seconds in (("fp32", exact), ("tf32", fast), ("bf16", fast)):
            found.append(
                Target(f"train {name} {precision}", "training", build, lambda: square(16), 1000, precision, seconds)
            )
    found += [
        Target("train dense 3/4", "training", CASES["dense-3-4"].build, lambda: square(16), 1000, seconds=1e-3),
        Target("train dense 6/2", "training", CASES["dense-6-2"].build, lambda: square(16), 1000, seconds=1.5e-3),
        Target("train SK N=20", "training", CASES["one-layer-20"].build, sk(20), 10_000, seconds=60e-6),
        Target("train SK N=100", "training", CASES["one-layer-100"].build, sk(100), 100_000, seconds=0.5e-3),
    ]
    for precision, rate, share in (("fp32", None, 0.6), ("tf32", 2e6, 0.35), ("bf16", 2e6, 0.35)):
        name = f"sample conv 3/64/6 L=16 {precision}"
        found.append(Target(name, "sampling", shallow, lambda: square(16), 16_384, precision, rate=rate, share=share))
    found.append(
        Target(
            *("sample one layer N=1024", "sampling", CASES["one-layer-1024"].build, sk(1024), 131_072),
            share=0.4,
            limit="bf16",
            products=3,  # of bf16 parts of the weights; spins are exact
        )
    )
    for precision in ("tf32", "bf16"):
        found.append(
            Target(
                *(f"sample conv 3/64/6 L=128 {precision}", "sampling", lambda: GROWTH["conv 3/64/6"](128)),
                *(lambda: square(128), 1024, precision),
                share=0.3,
                against=f"sample conv 3/64/6 L=16 {precision}",
                cost_ratio=1.3,
            )
        )
    for N, seconds in ((20, 80e-6), (100, 1.2e-3), (200, 4.5e-3)):
        name = f"sample SK_1RSB N={N}"
        found.append(Target(name, "sampling", nest(N), sk(N), 100_000, seconds=seconds))
    found.append(Target("sample SK_1RSB N=100, few", "sampling", nest(100), sk(100), 2000, seconds=90e-6))
    mean_field = vf.hamiltonians.CurieWeiss(100)
    build = functools.partial(vf.networks.CurieWeissN, mean_field, 1.2)
    found.append(Target("sample CW_N N=100", "sampling", build, lambda: mean_field, 100_000, seconds=50e-6))
    star = {"prior": "star", "ham": square(16), "beta": BETA}
    found += [
        Target(
            *(
                "sample star conv 3/64/6 L=16 bf16",
                "sampling",
                lambda: vf.networks.PixelCNN(16, 3, 64, 6, z2=False, **star),
            ),
            *(lambda: square(16), 16_384, "bf16"),
            against="sample conv 3/64/6 L=16 bf16",
            cost_ratio=1.1,
        ),
        Target(
            *(
                "sample star SK N=100",
                "sampling",
                lambda: vf.networks.Dense(100, prior="star", ham=sk(100)(), beta=BETA),
            ),
            *(sk(100), 100_000),
            seconds=1e-3,
        ),
    ]
    found.append(Target("energy L=128", "energy", None, lambda: square(128), 131_072, share=0.7))
    return found + _chains()


def _chains() -> list[Target]:
    square, glass = vf.hamiltonians.IsingSquare, vf.hamiltonians.SherringtonKirkpatrick

    def gaussian() -> vf.hamiltonians.Hamiltonian:
        return vf.hamiltonians.EdwardsAnderson((16, 16, 16), "gaussian", seed=1)

    bath, sw = {"algorithm": "heat_bath"}, {"algorithm": "swendsen_wang"}
    return [
        Target("chains square L=128", "chains", None, lambda: square(128), 65_536, updates=1.3e12, sweeps=10, **bath),
        Target("chains EA 16^3", "chains", None, gaussian, 8192, updates=1e11, sweeps=10, **bath),
        Target("chains SK N=1024", "chains", None, lambda: glass(1024), 8192, updates=7e9, **bath),
        Target(
            *("chains SK N=100, tempering", "chains", None, lambda: glass(100), 1024),
            updates=5e10,
            sweeps=10,
            algorithm="tempering",
        ),
        Target("chains clusters L=64", "chains", None, lambda: square(64), 8192, updates=6e10, sweeps=4, **sw),
        Target("chains Wolff L=64", "chains", None, lambda: square(64), 8192, seconds=1.5e-3, algorithm="wolff"),
    ]


def _tiny() -> list[Target]:
    square = vf.hamiltonians.IsingSquare

    def conv(L: int) -> vf.networks.Network:
        return vf.networks.PixelCNN((L, L), depth=2, width=4, half_kernel=1)

    def sk() -> vf.hamiltonians.Hamiltonian:
        return vf.hamiltonians.SherringtonKirkpatrick(6)

    small, mean_field = "sample conv L=3", vf.hamiltonians.CurieWeiss(6)
    return [
        Target("train conv", "training", lambda: conv(3), lambda: square(3), 16, seconds=1e9),
        Target("train SK", "training", lambda: vf.networks.Dense(6), sk, 16, seconds=1e-12),
        Target(small, "sampling", lambda: conv(3), lambda: square(3), 16, rate=1e-9, share=1e-12),
        Target(
            "sample one layer", "sampling", lambda: vf.networks.Dense(6), sk, 16, share=1e9, limit="bf16", products=3
        ),
        Target("sample conv L=5", "sampling", lambda: conv(5), lambda: square(5), 8, against=small, cost_ratio=1e9),
        Target("sample SK_1RSB", "sampling", lambda: vf.networks.SK(sk(), 1.0), sk, 16, seconds=1e9),
        Target("sample CW_N", "sampling", lambda: vf.networks.CurieWeissN(mean_field, 1.0), sk, 16, seconds=1e9),
        Target(
            *("sample star SK", "sampling", lambda: vf.networks.Dense(6, prior="star", ham=sk(), beta=BETA), sk, 16),
            seconds=1e9,
        ),
        Target("energy", "energy", None, lambda: square(6), 16, share=1e9),
        Target("chains", "chains", None, lambda: square(4), 32, updates=1.0, sweeps=3, algorithm="heat_bath"),
        Target("chains SK, tempering", "chains", None, sk, 8, updates=1e18, algorithm="tempering"),
        Target("chains Wolff", "chains", None, lambda: square(4), 8, seconds=1e9, algorithm="wolff"),
    ]


def refuses(target: Target, backend: str) -> str | None:
    """Why a backend has no such case; None when it has."""
    if target.kind == "chains":
        return None if backend in BACKENDS else f"backend {backend!r} runs no Markov chains"
    return backends.get(backend).refuses(target.network(), target.precision) if target.network else None


def training_step(
    net: vf.networks.Network, ham: vf.hamiltonians.Hamiltonian, target: Target, backend: str
) -> Callable[[], object]:
    """One step of vf.train as it runs on this backend: a replayed graph on a GPU, else the steps of the trainer."""
    from vanfast.training.graphed import RING, GraphedStep, device_program, make_adam
    from vanfast.training.step import accumulate_gradient, draw

    sampler = vf.Sampler(net, ham, backend=backend, precision=target.precision)
    program, done = device_program(sampler), [0]
    optimizer = make_adam(net, 1e-3, (0.9, 0.99), program is not None)
    graphed = None if program is None else GraphedStep(sampler, program, optimizer, target.batch, 0, 1.0)

    def step() -> None:
        number = done[0]
        done[0] += 1
        if graphed is not None:
            graphed.run(number, number % RING, BETA, 1e-3)
            return
        batch = draw(sampler, target.batch, 0, number * target.batch, None)
        accumulate_gradient(sampler, batch, BETA, None)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return step


def run_of(target: Target, device: torch.device, backend: str) -> tuple[Callable[[], object], dict[str, Any]]:
    """What is timed for one target, and its useful operations and bytes, for the whole batch."""
    ham = target.hamiltonian()
    sites = ham.num_sites
    if target.kind == "chains":
        return chains_run(ham, target.algorithm, target.batch, target.sweeps, backend)
    if target.kind == "energy" or target.network is None:
        return _energy_run(ham, target.batch, device, backend), {"bytes": target.batch * (sites + 8), "sites": sites}
    net = target.network().to(device)
    # The backward pass has two products for each of the forward pass.
    factor = 3 if target.kind == "training" else 1
    work = factor * target.batch * useful_operations(net.plan(), net.z2)
    useful = {"operations": work} if work else {"bytes": target.batch * (sites + 8)}  # look-ups
    useful["sites"] = sites
    check(net, target.precision, backend)
    if target.kind == "training":
        return training_step(net, ham, target, backend), useful
    program = vf.Sampler(net, backend=backend, precision=target.precision).program
    return lambda: program.sample(target.batch, 0, 0), useful


def naive_seconds(target: Target, device: torch.device) -> float | None:
    """Seconds of the same samples with the whole network once per site in PyTorch on this device, in fp32; None for
    networks that are no stack of layers, or have a prior: that rival has no such network."""
    if target.kind != "sampling" or target.precision != "fp32" or target.network is None:
        return None
    plan = target.network().to(device).plan()
    if not isinstance(plan, ConvPlan | MaskedPlan) or plan.prior is not None:
        return None
    with torch.no_grad():
        return sample_naive(plan, target.batch, sites=5)


def check(net: vf.networks.Network, precision: str, backend: str) -> None:
    """Nothing wrong is timed: ln q of drawn samples against the float64 network's, AssertionError where they differ."""
    torch.manual_seed(0)
    sampler = vf.Sampler(net, backend=backend, precision=precision)
    batch = sampler.sample(32, seed=1)
    again = sampler.log_prob(batch.spins).to(batch.log_q.device)
    with torch.no_grad():
        exact = net.double().log_prob(batch.spins.to(net.device)).to(batch.log_q.device)
    net.float()
    allowed = {"fp32": 3e-6, "tf32": 3e-3, "bf16": 3e-2}[precision] * net.num_sites
    error, repeated = float((batch.log_q - exact).abs().max()), float((batch.log_q - again).abs().max())
    assert error <= allowed, f"ln q is off by {error:.3g}, {allowed:.3g} is allowed"
    assert repeated <= 1e-9 * net.num_sites, f"ln q of the same spins differs by {repeated:.3g} from the one drawn"


def _energy_run(
    ham: vf.hamiltonians.Hamiltonian, batch: int, device: torch.device, backend: str
) -> Callable[[], object]:
    generator = torch.Generator(device=device).manual_seed(0)
    spins = torch.randint(0, 2, (batch, ham.num_sites), generator=generator, dtype=torch.int8, device=device) * 2 - 1
    run = energy_of(ham, device, backend)
    few = spins[:64]
    assert torch.equal(run(few).cpu(), ham.energy(few.cpu())), "energies differ from the CPU engine's"
    return lambda: run(spins)


def energy_of(
    ham: vf.hamiltonians.Hamiltonian, device: torch.device, backend: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Energies on a backend's device."""
    if backend == "cuda":
        from vanfast import _cuda
        from vanfast.backends.engines.cuda_energy import DeviceEnergy

        return DeviceEnergy(ham, device, _cuda).evaluate
    if backend == "triton":
        from vanfast.backends.engines.triton_energy import DeviceEnergy as TritonEnergy

        return TritonEnergy(ham, device).evaluate
    return ham.energy
