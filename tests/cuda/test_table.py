"""Tabulated logits drawn by the CUDA kernel, against the float64 reference: all is float64, so nothing is rounded."""

import functools

import numpy as np
import pytest
import torch
from scipy import stats

import vanfast as vf
from vanfast.backends.engines.base import Drawn
from vanfast.backends.engines.cuda_table import CudaTable
from vanfast.backends.reference import ReferenceProgram
from vanfast.networks import CurieWeissInf, CurieWeissN, ExactH2, OneParameter
from vanfast.networks.plan import MagnetizationPlan, PrefixPlan, moved

SEED = 2**40 + 7


def curie_weiss(N, beta=1.2):
    return CurieWeissN(vf.hamiltonians.CurieWeiss(N, h=0.1), beta)


def exact(N):
    return ExactH2(vf.hamiltonians.SherringtonKirkpatrick(N, seed=N), 1.2)


NETWORKS = {
    **{f"cw_n {N}": functools.partial(curie_weiss, N) for N in (1, 2, 3, 31, 32, 100)},
    "cw_inf 33": lambda: CurieWeissInf(33, beta=1.3),
    "one parameter 64": lambda: OneParameter(64, beta=0.6),
    **{f"exact {N}": functools.partial(exact, N) for N in (1, 2, 11, 17)},
}


@functools.cache
def plan(name):
    return NETWORKS[name]().plan()


def engine(cuda, of):
    return CudaTable(moved(of, cuda.device), cuda.device, cuda.module)


def bytes_of(drawn):
    return [tensor.cpu().numpy().tobytes() for tensor in (drawn.spins, drawn.log_q, *drawn.kept)]


@pytest.mark.parametrize("name", NETWORKS)
def test_samples_are_those_of_the_reference(cuda, name):
    reference = ReferenceProgram(plan(name), False, "fp32")
    drawn = engine(cuda, plan(name)).draw(200, SEED, 2**33 + 5, keep=True)
    spins, log_q, _ = reference.sample(200, SEED, 2**33 + 5)
    assert torch.equal(drawn.spins.cpu(), spins)
    torch.testing.assert_close(drawn.log_q.cpu(), log_q, rtol=1e-13, atol=1e-12)
    torch.testing.assert_close(drawn.kept[0].cpu().double(), reference.logits(spins), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_do_not_depend_on_batch_or_mode(cuda, name):
    one, first = engine(cuda, plan(name)), 0
    whole = one.draw(300, SEED, 2**32 - 3, keep=True)
    assert bytes_of(one.evaluate(whole.spins.clone(), keep=True)) == bytes_of(whole)
    assert one.evaluate(whole.spins).kept == one.draw(3, SEED, 0).kept == ()
    assert one.evaluate(whole.spins).log_q.equal(whole.log_q)
    for count in (1, 5, 33, 100, 161):
        part = one.draw(count, SEED, 2**32 - 3 + first, keep=True)
        cut = [tensor[first : first + count] for tensor in (whole.spins, whole.log_q, *whole.kept)]
        assert bytes_of(part) == bytes_of(Drawn(cut[0], cut[1], tuple(cut[2:])))
        first += count


def test_more_tiles_than_blocks(cuda):
    """Blocks of threads go from tile to tile; an emulated device holds few."""
    one, many = engine(cuda, plan("cw_n 3")), 1001 if cuda.emulated else 1_000_001
    drawn = one.draw(many, SEED, 3)
    for start in range(0, many - 31, many // 5):
        part = one.draw(32, SEED, 3 + start)
        assert torch.equal(part.spins, drawn.spins[start : start + 32])
        assert torch.equal(part.log_q, drawn.log_q[start : start + 32])


@pytest.mark.parametrize("name", ["cw_n 31", "exact 11"])
def test_step_and_load(cuda, name):
    one, step = engine(cuda, plan(name)), torch.tensor([2**33], device=cuda.device)
    assert bytes_of(one.draw(5, SEED, 7, step)) == bytes_of(one.draw(5, SEED, 2**33 + 7))
    other = type(plan(name))(one.num_sites, -plan(name).logits)
    one.load(moved(other, cuda.device))
    assert bytes_of(one.draw(5, SEED, 7)) == bytes_of(engine(cuda, other).draw(5, SEED, 7))
    assert one.draw(0, SEED, 7, keep=True).kept[0].shape == (0, one.num_sites)


@pytest.mark.parametrize("name", ["cw_n 3", "exact 2", "exact 11"])
def test_probabilities_sum_to_one(cuda, name):
    sites = plan(name).num_sites
    states = 1 - 2 * ((torch.arange(2**sites)[:, None] >> torch.arange(sites)) & 1)
    log_q = engine(cuda, plan(name)).evaluate(states.to(cuda.device, torch.int8)).log_q
    assert abs(log_q.exp().sum().item() - 1) < 1e-12


def test_frequencies_are_boltzmann_s(cuda):
    """G-test of all states of an exact network, and of the magnetisations of another."""
    ham = vf.hamiltonians.SherringtonKirkpatrick(6, seed=2)
    states = 1 - 2 * ((torch.arange(64)[:, None] >> torch.arange(6)) & 1)
    weight = np.exp(-0.7 * ham.energy(states.to(torch.int8)).numpy())
    spins = engine(cuda, ExactH2(ham, 0.7).plan()).draw(20_000, 5, 0).spins.cpu().numpy()
    seen = np.bincount((spins < 0) @ (1 << np.arange(6)), minlength=64)
    assert stats.power_divergence(seen, 20_000 * weight / weight.sum(), lambda_="log-likelihood").pvalue > 1e-3

    up = (engine(cuda, curie_weiss(12, 1.1).plan()).draw(20_000, 5, 0).spins > 0).sum(1).cpu().numpy()
    k = np.arange(13)
    m = 2.0 * k - 12
    weight = stats.binom.pmf(k, 12, 0.5) * np.exp(1.1 * (m**2 / 24 + 0.1 * m))
    seen = np.bincount(up, minlength=13)
    assert stats.power_divergence(seen, 20_000 * weight / weight.sum(), lambda_="log-likelihood").pvalue > 1e-3


@pytest.mark.parametrize("of", [MagnetizationPlan, PrefixPlan])
def test_tails(cuda, of):
    """Logits of thousands and of nothing, spins against them: neither 0 nor infinity where there is a number."""
    logits = torch.tensor([[-1e3, 0.0, 0.0], [700.0, 1e-300, 0.0], [-1e4, 5.0, 1e4]], dtype=torch.float64)
    plan = of(3, logits if of is MagnetizationPlan else logits.flatten()[:7])
    states = (1 - 2 * ((torch.arange(8)[:, None] >> torch.arange(3)) & 1)).to(torch.int8)
    expected = ReferenceProgram(plan, False, "fp32").log_prob(states)
    assert expected.min() < -1e3
    torch.testing.assert_close(engine(cuda, plan).evaluate(states.to(cuda.device)).log_q.cpu(), expected)


def test_wrong_arguments(cuda):
    one = engine(cuda, plan("cw_n 3"))
    with pytest.raises(ValueError, match=r"spins is torch.int8 \[2, 4\]"):
        one.evaluate(torch.ones((2, 4), dtype=torch.int8, device=cuda.device))
    spins, log_q = torch.ones((2, 31), dtype=torch.int8), torch.zeros(2, dtype=torch.float64)
    call = {"rules": 0, "table": 0, "seed": 0, "first": 0, "step": 0, "given": False, "keep": 0}
    call |= {"spins": spins.data_ptr(), "log_q": log_q.data_ptr(), "count": 2, "device": 0, "stream": 0}
    for wrong, message in (
        ({"sites": 31, "prefix": True}, "sites = 31: at most 30 have a table of prefixes"),
        ({"sites": 0, "prefix": False}, "sites and count must be positive"),
        ({"sites": 3, "prefix": False, "spins": 0}, "must not be null"),
    ):
        with pytest.raises(ValueError, match=message):
            cuda.module.table_scan(**(call | wrong))


ON_GPU = pytest.mark.parametrize("cuda", [pytest.param("gpu", marks=pytest.mark.gpu)], indirect=True)


@ON_GPU
@pytest.mark.parametrize("name", ["cw_n 31", "exact 11"])
def test_replays_of_a_graph(cuda, name):
    """Tables and indices move on between replays of one captured load and draw."""
    on_device, step = moved(plan(name), cuda.device), torch.zeros(1, dtype=torch.int64, device=cuda.device)
    on_device = type(on_device)(on_device.num_sites, on_device.logits.clone())
    one = CudaTable(on_device, cuda.device, cuda.module)
    one.draw(300, SEED, 7, step, keep=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one.load(on_device)
        drawn = one.draw(300, SEED, 7, step, keep=True)
    for _ in range(2):
        step += 300
        on_device.logits.mul_(0.5)
        graph.replay()
        fresh = CudaTable(on_device, cuda.device, cuda.module)
        assert bytes_of(fresh.draw(300, SEED, 7 + int(step), keep=True)) == bytes_of(drawn)


def _case(name, count, given=False):
    def run(module):
        one = CudaTable(plan(name), torch.device("cpu"), module)
        spins = torch.from_numpy(np.random.default_rng(1).choice(np.int8([-1, 1]), (count, one.num_sites)))
        drawn = one.evaluate(spins, keep=True) if given else one.draw(count, SEED, 0, keep=True)
        return drawn.spins, drawn.log_q, *drawn.kept

    return run


BARRIER_CASES = {
    "kept": _case("cw_n 100", 500),
    "kept given": _case("one parameter 64", 130, given=True),
    "prefix": _case("exact 11", 130),
}
