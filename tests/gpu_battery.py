"""What every GPU backend must do, through the public interface: one battery, run over `cuda` and over `triton`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import vanfast as vf
from vanfast.hamiltonians import Hamiltonian, IsingSquare
from vanfast.networks import Network

NETWORKS: dict[str, Callable[[], Network]] = {
    "conv": lambda: vf.networks.PixelCNN((3, 3), depth=3, width=5, half_kernel=1, z2=False, seed=1),
    "conv z2": lambda: vf.networks.PixelCNN((3, 2), depth=2, width=3, half_kernel=2, z2=True, seed=2),
    "residual z2": lambda: vf.networks.PixelCNN((2, 3), 3, 2, 1, residual=True, z2=True, seed=3),
    "one layer": lambda: vf.networks.Dense(11, seed=4),
    "dense z2": lambda: vf.networks.Dense(9, depth=3, width=2, residual=True, z2=True, seed=5),
    "made": lambda: vf.networks.MADE(7, (9, 5), order=[3, 0, 6, 1, 5, 2, 4], z2=True, seed=6),
    "mixture": lambda: vf.networks.BernoulliMixture(8, components=3, z2=True, seed=7),
    "factorised": lambda: vf.networks.Factorised(5, seed=8),
}
PRIORS = {
    "conv star z2": lambda: _star(vf.networks.PixelCNN, (3, 2), 2, 3, 1, z2=True, ham=IsingSquare(shape=(3, 2))),
    "dense star": lambda: _star(vf.networks.Dense, 7, 2, 2, ham=vf.hamiltonians.CurieWeiss(7, h=0.2)),
    "made star": lambda: _star(
        vf.networks.MADE, 7, (9,), order=[3, 0, 6, 1, 5, 2, 4], ham=vf.hamiltonians.SherringtonKirkpatrick(7, seed=1)
    ),
}
NETWORKS |= PRIORS
H2ARNN = {
    "sk": lambda: vf.networks.SK(with_fields(9), 0.8),
    "sk z2": lambda: vf.networks.SK(vf.hamiltonians.SherringtonKirkpatrick(6, seed=2), 0.9, k=0, z2=True),
    "sk couplings": lambda: vf.networks.SK(with_fields(5), 0.8, k=2, start="small", learn_couplings=True, seed=3),
    "sk sparse": lambda: vf.networks.SK(
        vf.hamiltonians.EdwardsAnderson((3, 3), seed=2, boundary="open"), 0.7, sparse=True
    ),
    "magnetisation": lambda: vf.networks.CurieWeissInf(9, beta=1.4),
    "one parameter": lambda: vf.networks.OneParameter(9, beta=0.6),
    "fixed magnetisation": lambda: vf.networks.CurieWeissN(vf.hamiltonians.CurieWeiss(11, h=0.1), 1.2),
    "fixed prefix": lambda: vf.networks.ExactH2(with_fields(7), 1.1),
}
MIXTURES = ("mixture", "factorised")
SEED = 2**63 + 5


def _star(kind: Any, *sizes: Any, ham: Hamiltonian, **options: Any) -> Network:
    net: Network = kind(*sizes, prior="star", ham=ham, beta=0.6, seed=9, **options)
    return net


def with_fields(N: int) -> Hamiltonian:
    rng = np.random.default_rng(N)
    J = np.triu(rng.normal(0, N**-0.5, (N, N)), 1)
    return vf.hamiltonians.Pairwise(J + J.T, rng.normal(0, 0.5, N))


def build(name: str) -> Network:
    net: Network = (NETWORKS | H2ARNN)[name]()
    return net


def network(name: str, device: torch.device) -> Network:
    net = build(name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return net.to(device)


def system(net: Network) -> Hamiltonian:
    if len(net.shape) == 2:
        return IsingSquare(shape=net.shape, field=0.25)
    return vf.hamiltonians.SherringtonKirkpatrick(net.num_sites, seed=9)


def check_batches(backend: str, name: str, device: torch.device, count: int = 35) -> None:
    """Spins, ln q and energies against the reference; the same bytes from any split of the calls."""
    net = network(name, device)
    ham = system(net)
    sampler = vf.Sampler(net, ham, backend=backend)
    batch = sampler.sample(count, seed=SEED, first=2**33 + 5)
    assert {batch.spins.device, batch.log_q.device, batch.energy.device} == {sampler.program.device}
    expected = vf.Sampler(net, ham, backend="reference").sample(count, seed=SEED, first=2**33 + 5)
    ours = batch.cpu()
    same = (ours.spins == expected.spins).all(1)
    assert int((~same).sum()) <= 1
    assert (ours.log_q - expected.log_q)[same].abs().max() < 1e-5
    assert torch.allclose(ours.energy, ham.energy(ours.spins), rtol=1e-12, atol=1e-12)
    cuts = [0, count // 2 + 3, count]
    pieces = [sampler.sample(b - a, seed=SEED, first=2**33 + 5 + a) for a, b in itertools.pairwise(cuts)]
    for field in ("spins", "log_q", "energy"):
        assert torch.equal(torch.cat([getattr(piece, field) for piece in pieces]), getattr(batch, field)), field
    again = sampler.log_prob(batch.spins)
    assert torch.allclose(again.cpu(), ours.log_q, rtol=0, atol=1e-12)


def check_exact_sum(backend: str, name: str, device: torch.device) -> None:
    """sum_s q(s) = 1 over all configurations."""
    net = network(name, device)
    states = torch.cartesian_prod(*[torch.tensor([1, -1], dtype=torch.int8)] * net.num_sites)
    total = torch.logsumexp(vf.Sampler(net, backend=backend).log_prob(states), 0)
    assert abs(float(total)) < 1e-5


def check_gradient(backend: str, name: str, device: torch.device) -> None:
    """The backward pass of kept samples against torch's, in float64."""
    net = network(name, device)
    kept = vf.Sampler(net, system(net), backend=backend).sample_and_keep(19, seed=3, first=4)
    assert kept is not None
    weight = torch.randn(19, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).to(kept.log_q)
    net.zero_grad()
    net.add_gradient(kept.gradient(weight))
    ours = [parameter.grad.double().cpu() for parameter in net.parameters()]
    double = build(name).double()
    double.load_state_dict({key: value.double().cpu() for key, value in net.state_dict().items()})
    (weight.cpu() * double.log_prob(kept.spins.cpu())).sum().backward()
    for gradient, parameter in zip(ours, double.parameters(), strict=True):
        assert torch.allclose(gradient, parameter.grad, rtol=1e-4, atol=1e-5 * float(parameter.grad.abs().max()))


def check_training(backend: str, name: str, device: torch.device) -> None:
    """Steps on the device give what steps on the CPU give: three, two where kernels are interpreted or emulated."""
    ours, theirs = network(name, device), network(name, torch.device("cpu"))
    ham = system(ours)
    steps = 3 if device.type == "cuda" else 2
    options = {"beta": 0.4, "steps": steps, "batch": 20, "seed": 3, "learning_rate": 0.01, "progress": False}
    run = vf.train(ours, ham, backend=backend, **options)
    expected = vf.train(theirs, ham, backend="cpu", **options)
    for a, b in zip(run.history, expected.history, strict=True):
        assert abs(a.loss - b.loss) < 1e-4 * abs(b.loss)
        assert abs(a.gradient_norm - b.gradient_norm) < 1e-3 * b.gradient_norm
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a.cpu(), b, atol=2e-4)


def check_ladder(backend: str, name: str, device: torch.device) -> None:
    """Where beta jumps the prior goes with it: two rungs give what they give on the CPU."""
    ours, theirs = network(name, device), network(name, torch.device("cpu"))
    ham = system(ours)
    options = {"beta": [0.3, 0.9], "steps": 1, "batch": 20, "seed": 3, "learning_rate": 0.01, "progress": False}
    run = vf.train(ours, ham, backend=backend, **options)
    expected = vf.train(theirs, ham, backend="cpu", **options)
    assert ours.prior is not None
    assert ours.prior.beta == 0.9
    for a, b in zip(run.history, expected.history, strict=True):
        assert abs(a.loss - b.loss) < 1e-4 * abs(b.loss)
    sampler = vf.Sampler(ours, backend=backend)
    spins = sampler.sample(9, seed=1).spins
    ours.follow(0.5)
    assert torch.allclose(sampler.log_prob(spins), ours.log_prob(spins).detach().to(spins.device), atol=1e-5)
