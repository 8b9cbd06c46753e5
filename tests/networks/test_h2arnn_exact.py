"""ExactH2 and CW_N are the Boltzmann distribution; the trained Curie-Weiss networks are what they say."""

import math

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.networks.conftest import random_pairs
from vanfast.exact import curie_weiss
from vanfast.hamiltonians import CurieWeiss, IsingSquare, SherringtonKirkpatrick
from vanfast.networks import CurieWeissInf, CurieWeissN, ExactH2, OneParameter, from_config
from vanfast.networks.curie_weiss import spontaneous
from vanfast.networks.plan import LayerGradient

CURIE_WEISS = [(0.8, 1, 0), (1.5, 1, 0), (1.3, 1, 0.2), (2, 0.7, -0.35), (1, -1.5, 0.1)]  # beta, J, h


def conditionals(log_weight, spins):
    """P(s_i = +1 | s_<i) of every state [2^N, N] in the order of `all_states`, by sums of probabilities."""
    N = spins.shape[1]
    p = torch.exp(log_weight - log_weight.max())
    result = torch.empty(2**N, N, dtype=torch.float64)
    for i in range(N):
        sums = p.view(2**i, 2, -1).sum(2)  # by prefix and by spin i, +1 first
        result[:, i] = (sums[:, 0] / sums.sum(1)).repeat_interleave(2 ** (N - i))
    return result


@pytest.mark.parametrize("N", [1, 2, 8, 10])
@pytest.mark.parametrize("beta", [0.3, 1.0, 2.0, 5.0])
def test_exact_conditionals_are_those_of_enumeration(N, beta, all_states):
    ham, states = random_pairs(N, seed=N), all_states(N)
    net = ExactH2(ham, beta).double()
    log_weight = -beta * ham.energy(states)
    assert (net.logits(states).sigmoid() - conditionals(log_weight, states)).abs().max() < 1e-13
    log_z = vf.exact.enumerate(ham, beta).log_z
    assert abs(net.log_z - log_z) < 1e-12
    assert (net.log_prob(states) - (log_weight - log_z)).abs().max() < 1e-13 * max(1, beta * N)


def test_exact_network_of_twenty_spins(random_spins):
    ham = SherringtonKirkpatrick(20, seed=3)
    net = ExactH2(ham, 1.5)
    r = net.log_prob(random_spins(300, 20)) + 1.5 * ham.energy(random_spins(300, 20))
    assert r.var() < 1e-20
    assert abs(r.mean().item() + vf.exact.enumerate(ham, 1.5).log_z) < 1e-10


def test_exact_network_counts_and_errors():
    assert ExactH2(random_pairs(8), 1.0).num_parameters() == 2048 + 28 + 8
    with pytest.raises(ValueError, match=r"21 sites.*at most 20, 21 would need 0\.0156 GiB"):
        ExactH2(SherringtonKirkpatrick(21), 1.0)
    with pytest.raises(ValueError, match=r"4096 sites.*2\^4069 GiB"):
        ExactH2(IsingSquare(64), 1.0)
    with pytest.raises(TypeError, match="ham must be"):
        ExactH2(np.zeros((3, 3)), 1.0)
    with pytest.raises(TypeError, match="got IsingSquare"):
        CurieWeissN(IsingSquare(3), 1.0)


@pytest.mark.parametrize("beta", [0, -1.0, math.inf, math.nan, True, 1e200])
@pytest.mark.parametrize("make", [ExactH2, CurieWeissN])
def test_beta_out_of_range(make, beta):
    with pytest.raises(ValueError, match="beta = "):
        make(CurieWeiss(5), beta)
    with pytest.raises(TypeError, match="beta = 'cold'"):
        make(CurieWeiss(5), "cold")


@pytest.mark.parametrize(("beta", "J", "h"), CURIE_WEISS)
def test_curie_weiss_conditionals_are_those_of_enumeration(beta, J, h, all_states):
    ham, states = CurieWeiss(12, J, h), all_states(12)
    net = CurieWeissN(ham, beta).double()
    log_weight = -beta * ham.energy(states)
    assert (net.logits(states).sigmoid() - conditionals(log_weight, states)).abs().max() < 1e-13
    log_z = curie_weiss(12, beta, J, h).log_z
    assert (net.log_prob(states) - (log_weight - log_z)).abs().max() < 1e-12


@pytest.mark.parametrize(("beta", "J", "h"), CURIE_WEISS)
def test_the_recursion_is_the_sum_of_the_paper(beta, J, h):
    """a_i = 2 beta h + (2 beta J / N) M + LSE_k(b+ + w M) - LSE_k(b- + w M), k of N - 1 - i spins down."""
    N = 40
    table = CurieWeissN(CurieWeiss(N, J, h), beta).table()
    for i in (0, 1, 17, 38, 39):
        left = N - 1 - i
        k = torch.arange(left + 1, dtype=torch.float64)
        binomial = math.lgamma(left + 1) - torch.lgamma(k + 1) - torch.lgamma(left - k + 1)
        S = left - 2 * k
        for u in {0, i // 3, i}:
            M = 2 * u - i
            sums = [
                torch.logsumexp(
                    binomial + beta * J / (2 * N) * S**2 + S * beta * (h + sign * J / N) + beta * J / N * S * M, 0
                )
                for sign in (1, -1)
            ]
            expected = 2 * beta * h + 2 * beta * J / N * M + sums[0] - sums[1]
            assert abs(table[i, u] - expected) < 1e-11


@pytest.mark.parametrize(("N", "h"), [(1, 0.3), (2, 0.0), (1100, 0.0), (10_000, 0.0), (10_000, 0.01)])
def test_ln_q_plus_beta_energy_is_constant_at_any_size(N, h):
    ham, beta = CurieWeiss(N, h=h), 1.2
    rng = np.random.default_rng(1)
    spins = np.where(rng.random((40, N)) < rng.random((40, 1)), 1, -1).astype(np.int8)  # of all magnetisations
    r = CurieWeissN(ham, beta).log_prob(spins) + beta * torch.as_tensor(ham.energy(spins))
    assert r.var() < 1e-12
    assert abs(r.mean().item() + curie_weiss(N, beta, 1.0, h).log_z) < 1e-9


@pytest.mark.parametrize("N", [20, 50, 100, 200, 400, 800])
def test_curie_weiss_counts(N):
    counts = {20: 914, 50: 5294, 100: 20594, 200: 81194, 400: 322394, 800: 1284794}
    assert CurieWeissN(CurieWeiss(N), 1.0).num_parameters() == counts[N]
    assert CurieWeissInf(N).num_parameters() == N + 1
    assert OneParameter(N).num_parameters() == N


@pytest.mark.parametrize(
    "make", [lambda b: ExactH2(random_pairs(7), b), lambda b: CurieWeissN(CurieWeiss(7, h=0.1), b)]
)
def test_fixed_networks_move_in_temperature(make, all_states):
    states = all_states(7)
    moved = make(0.5).double().at(1.25)
    assert (moved.beta, moved.dtype) == (1.25, torch.float64)
    assert torch.equal(moved.log_prob(states), make(1.25).log_prob(states))


def test_fixed_networks_train_nothing():
    for net in (ExactH2(random_pairs(5), 1.0), CurieWeissN(CurieWeiss(5), 1.0)):
        assert not net.log_prob(torch.ones(5)).requires_grad
        assert (net.dtype, net.double().logits(torch.ones(5)).dtype) == (torch.float32, torch.float64)
        with pytest.raises(ValueError, match=f"no parameters to train: {type(net).__name__}"):
            vf.train(net, CurieWeiss(5), 1.0, steps=1)
        with pytest.raises(ValueError, match="has no parameters that could be passed"):
            vf.ops.log_prob(net, torch.ones(5))
        assert from_config(net.config()).config() == net.config()


def test_starts_of_the_curie_weiss_networks():
    """CW_inf at its limit: 0.9777 in h2arnn's check, where the exact value is 0.9602; 1P by its optimum at high T."""
    net = CurieWeissInf(100, beta=1.3)
    assert abs(net.sign_weight[49].item() - 0.9777) < 5e-5
    assert abs(net.weight.item() - 0.026) < 1e-7
    typical = round((1 + spontaneous(1.3)) / 2 * 999)  # sites up among the first 999 of 2000
    exact = CurieWeissN(CurieWeiss(2000), 1.3).table()[999, typical]
    assert abs(exact - CurieWeissInf(2000, beta=1.3).double().table()[999, typical]) < 0.002
    assert exact - 2 * 1.3 * (2 * typical - 999) / 2000 > 0.9  # of one sign with M
    assert not CurieWeissInf(30, beta=0.9).sign_weight.any()
    net = OneParameter(50, beta=0.5)
    assert abs(net.weight[9].item() - 0.02 / (1 - 0.5 * 0.8)) < 1e-7
    assert OneParameter(1000, seed=1).weight.std().item() == pytest.approx(1e-3, rel=0.1)
    with pytest.raises(ValueError, match=r"beta = 1\.2 must be below"):
        OneParameter(20, beta=1.2)
    with pytest.raises(ValueError, match="J = inf"):
        CurieWeissInf(20, beta=1.2, J=math.inf)
    with pytest.raises(ValueError, match="N = 0"):
        CurieWeissInf(0)


@pytest.mark.parametrize("make", [lambda: OneParameter(7, seed=2), lambda: CurieWeissInf(7, beta=1.5)])
def test_the_gradient_of_the_table_reaches_the_parameters(make, random_spins):
    net, spins = make().double(), random_spins(30, 7)
    weight = torch.linspace(-1, 1, 30, dtype=torch.float64)
    (weight * net.log_prob(spins)).sum().backward()
    expected = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    table = net.plan().logits.requires_grad_()
    up = (spins > 0).long()
    logits = table[torch.arange(7), up.cumsum(1) - up]
    (weight * torch.nn.functional.logsigmoid(spins * logits).sum(1)).sum().backward()
    net.add_gradient([LayerGradient(weight=table.grad)])
    for parameter, grad in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="tables of shapes"):
        net.add_gradient([LayerGradient(weight=table.grad[1:])])
