"""The star prior: against enumeration, where it is exact, how near it comes elsewhere; arguments, files, ladders."""

import copy
import math

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.backends import reference
from vanfast.hamiltonians import EdwardsAnderson, IsingSquare, Pairwise, SherringtonKirkpatrick
from vanfast.networks import MADE, Dense, PixelCNN, from_config

ORDER = [5, 2, 7, 0, 1, 6, 3, 4]


def dense_system(N, seed=0, fields=True):
    rng = np.random.default_rng(seed)
    J = np.triu(rng.normal(0, N**-0.5, (N, N)), 1)
    return Pairwise(J + J.T, rng.normal(0, 0.5, N) if fields else None)


def sparse_system(N, seed=0, fields=True):
    """A random graph with about one and a half bonds a site, one of which has no bond at all."""
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(N) for j in range(i) if rng.random() < 3 / N and i != N // 2 and j != N // 2]
    return Pairwise.from_edges(N, pairs, rng.normal(0, 1, len(pairs)), rng.normal(0, 0.5, N) if fields else None)


def tree(N, seed=0):
    """Every site but the first hangs on one before it."""
    rng = np.random.default_rng(seed)
    return Pairwise.from_edges(N, [(int(rng.integers(i)), i) for i in range(1, N)], rng.normal(0, 1.5, N - 1))


def silent(net):
    """The network with all parameters zero, in float64: its logits are the prior's."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    return net.double()


def chain(N):
    return Pairwise.from_edges(N, [(i, i + 1) for i in range(N - 1)], np.linspace(-2, 2, N - 1))


# name: network with a prior, its Hamiltonian is net.prior.ham
NETWORKS = {
    "dense": lambda: Dense(8, depth=2, width=3, prior="star", ham=dense_system(8), beta=0.9),
    "dense_z2": lambda: Dense(7, prior="star", ham=SherringtonKirkpatrick(7), beta=1.5, z2=True),
    "dense_sparse": lambda: Dense(9, depth=3, width=2, residual=True, prior="star", ham=sparse_system(9), beta=0.8),
    "dense_two_sites": lambda: Dense(2, prior="star", ham=dense_system(2), beta=0.9),
    "dense_one_site": lambda: Dense(1, prior="star", ham=dense_system(1), beta=0.9),
    "made_ordered": lambda: MADE(8, (9,), order=ORDER, prior="star", ham=dense_system(8, 1), beta=0.7),
    "made_lattice": lambda: MADE(9, (9,), prior="star", ham=IsingSquare(3), beta=0.5, z2=True),
    "made_ordered_sparse": lambda: MADE(8, (), order=ORDER, prior="star", ham=sparse_system(8), beta=1.1),
    "conv": lambda: PixelCNN(3, 2, 3, 1, z2=False, prior="star", ham=IsingSquare(3, field=0.3), beta=0.6),
    "conv_z2": lambda: PixelCNN((2, 4), 3, 3, 1, prior="star", ham=EdwardsAnderson((2, 4), seed=1), beta=0.8),
    "conv_depth_1": lambda: PixelCNN((2, 4), 1, 1, 2, z2=False, prior="star", ham=dense_system(8), beta=0.8),
}


def build(name):
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return net


@pytest.fixture(params=NETWORKS)
def net(request):
    return build(request.param)


def naive_logits(ham, beta, order, spins):
    """The formula, pair by pair, for rows of raster spins; logits in raster order."""
    J, h, N = ham.to_dense(), ham.fields, ham.num_sites
    order = list(range(N)) if order is None else list(order)
    out = np.zeros(spins.shape)
    for row, s in enumerate(spins):
        for p, i in enumerate(order):
            total = 2 * beta * (h[i] + sum(J[k, i] * s[k] for k in order[:p]))
            for l in order[p + 1 :]:
                u = sum(J[k, l] * s[k] for k in order[:p])
                total += 2 * math.atanh(math.tanh(beta * J[i, l]) * math.tanh(beta * (h[l] + u)))
            out[row, i] = total
    return out


def boltzmann(ham, beta, states):
    log_weight = -beta * ham.energy(states)
    return log_weight - torch.logsumexp(log_weight, 0)


@pytest.mark.parametrize("order", [None, ORDER])
@pytest.mark.parametrize(
    "ham", [dense_system(8), sparse_system(8), SherringtonKirkpatrick(8), IsingSquare(shape=(2, 4))], ids=str
)
def test_logits_are_those_of_the_formula(ham, order, random_spins):
    spins = random_spins(20, 8)
    net = silent(MADE(8, (3,), order=order, prior="star", ham=ham, beta=0.8))
    expected = torch.from_numpy(naive_logits(ham, 0.8, order, spins.numpy()))
    torch.testing.assert_close(net.logits(spins), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(net.float().logits(spins).double(), expected, rtol=0, atol=3e-6)


def test_q_is_normalised(net, all_states):
    with torch.no_grad():
        total = net.double().log_prob(all_states(net.num_sites)).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("ham", [dense_system(2), dense_system(2, fields=False), dense_system(1)], ids=str)
def test_the_last_two_sites_are_exact(ham, all_states):
    states = all_states(ham.num_sites)
    with torch.no_grad():
        log_q = silent(Dense(ham.num_sites, prior="star", ham=ham, beta=1.7)).log_prob(states)
    torch.testing.assert_close(log_q, boltzmann(ham, 1.7, states), rtol=0, atol=1e-13)


def test_the_last_two_conditionals_are_exact(all_states):
    """Also those of a larger system, in any order: P(s_i | s_<i) by summing the joint distribution."""
    ham, beta, N = dense_system(8), 1.3, 8
    states = all_states(N)
    net = silent(MADE(N, (3,), order=ORDER, prior="star", ham=ham, beta=beta))
    p = boltzmann(ham, beta, states).exp().view([2] * N)  # index 0 is spin +1
    with torch.no_grad():
        logits = net.logits(states).view([2] * N + [N])
    last, before = ORDER[-1], ORDER[-2]
    exact = (p.select(last, 0) / p.select(last, 1)).log()
    torch.testing.assert_close(logits.select(last, 0)[..., last], exact, rtol=0, atol=1e-12)
    marginal = p.sum(last, keepdim=True)
    exact = (marginal.select(before, 0) / marginal.select(before, 1)).log().squeeze()
    given = logits.select(last, 0)[..., before].select(before if before < last else before - 1, 0)
    torch.testing.assert_close(given, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ham", [chain(10), tree(10), IsingSquare(shape=(1, 10), boundary="open")], ids=str)
@pytest.mark.parametrize("beta", [0.4, 1.3, 5.0])
def test_chains_and_trees_are_exact(ham, beta, all_states):
    states = all_states(10)
    with torch.no_grad():
        log_q = silent(Dense(10, prior="star", ham=ham, beta=beta)).log_prob(states)
    torch.testing.assert_close(log_q, boltzmann(ham, beta, states), rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize(("beta", "expected"), [(0.3, 0.00002), (0.6, 0.00086), (1.0, 0.0052)])
def test_divergence_of_sk(beta, expected, all_states):
    """Mean over instances of the prior's KL divergence a site; without it the uniform distribution has 0.02 to 0.2."""
    N, found = 14, []
    states = all_states(N)
    for instance in range(6):
        ham = SherringtonKirkpatrick(N, seed=instance)
        net = silent(Dense(N, prior="star", ham=ham, beta=beta))
        with torch.no_grad():
            log_q = torch.cat([net.log_prob(part) for part in states.split(2048)])
        found.append(float((log_q.exp() * (log_q - boltzmann(ham, beta, states))).sum()) / N)
    assert min(found) > 0
    assert expected / 2 < np.mean(found) < 2 * expected


def test_blocks_and_chunks_change_nothing(monkeypatch, random_spins):
    ham, spins = sparse_system(30), random_spins(50, 30)
    whole = silent(Dense(30, prior="star", ham=ham, beta=0.8)).logits(spins)
    monkeypatch.setattr(vf.networks.prior, "ENTRIES", 7)
    monkeypatch.setattr(vf.networks.prior, "VALUES", 20)
    torch.testing.assert_close(silent(Dense(30, prior="star", ham=ham, beta=0.8)).logits(spins), whole, rtol=0, atol=0)


@pytest.mark.parametrize("beta", [30.0, 1e6])
def test_low_temperatures_stay_finite(beta, random_spins):
    ham, spins = EdwardsAnderson((3, 4), seed=3), random_spins(50, 12)
    net = silent(Dense(12, prior="star", ham=ham, beta=beta))
    double = net.logits(spins)
    assert double.isfinite().all()
    expected = reference.star_logits(net.prior.plan(), spins.double())
    torch.testing.assert_close(double, expected, rtol=1e-13, atol=1e-11)
    single = net.float().logits(spins).double()  # sums of terms of both signs as large as beta
    torch.testing.assert_close(single, double, rtol=1e-6, atol=6e-7 * beta)


def test_the_prior_is_odd_without_fields(random_spins):
    spins = random_spins(40, 12)
    net = silent(Dense(12, prior="star", ham=SherringtonKirkpatrick(12), beta=1.5)).float()
    assert torch.equal(net.logits(-spins), -net.logits(spins))


def test_the_reference_backend_adds_it(net):
    sampler = vf.Sampler(net, backend="reference")
    batch = sampler.sample(70, seed=3)
    with torch.no_grad():
        expected = copy.deepcopy(net).double().log_prob(batch.spins)
    torch.testing.assert_close(batch.log_q, expected, rtol=1e-12, atol=1e-12)
    without = copy.deepcopy(net)
    without.prior = None
    assert not torch.allclose(vf.Sampler(without, backend="reference").log_prob(batch.spins), batch.log_q, atol=1e-3)


def test_parameters_and_their_gradient_are_the_networks_own(net, random_spins):
    """The prior has no parameters, and autograd passes it by: the gradient is that of given logits."""
    spins = random_spins(30, net.num_sites)
    plain = copy.deepcopy(net)
    plain.prior = None
    assert net.num_parameters() == plain.num_parameters()
    assert net.state_dict().keys() == plain.state_dict().keys()
    difference = net.double().logits(spins) - plain.double().logits(spins)
    assert torch.autograd.grad(net.logits(spins).sum(), list(net.parameters()), retain_graph=True)
    assert float(difference.detach().abs().max()) > 1e-3
    if not net.z2:
        share = spins * torch.sigmoid(-spins * net.logits(spins)).detach()
        expected = torch.autograd.grad((share * plain.logits(spins)).sum(), list(plain.parameters()))
        found = torch.autograd.grad(net.log_prob(spins).sum(), list(net.parameters()))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_saving(net, tmp_path, random_spins):
    spins = random_spins(20, net.num_sites)
    net.save(tmp_path)
    loaded = vf.load(tmp_path)
    assert type(loaded) is type(net)
    assert loaded.config() == net.config()
    assert loaded.prior.beta == net.prior.beta
    assert np.array_equal(loaded.prior.ham.to_dense(), net.prior.ham.to_dense())
    assert loaded.log_prob(spins).detach().numpy().tobytes() == net.log_prob(spins).detach().numpy().tobytes()


def test_config_without_a_prior_is_as_before():
    assert not {"prior", "ham", "hamiltonian", "beta"} & Dense(4).config().keys()


def test_damaged_descriptions():
    config = Dense(4, prior="star", ham=SherringtonKirkpatrick(4), beta=1.0).config()
    for changes, message in (
        ({"beta": -1.0}, "beta"),
        ({"beta": "hot"}, "beta"),
        ({"prior": None}, "prior"),
        ({"hamiltonian": 3}, "hamiltonian"),
        ({"N": 5}, "4 sites"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            from_config({**config, **changes})


def test_another_temperature(net, random_spins):
    spins = random_spins(20, net.num_sites)
    before, beta = net.logits(spins), net.prior.beta
    twin = net.at(0.37)
    assert (twin.prior.beta, net.prior.beta) == (0.37, beta)
    fresh = from_config({**net.config(), "beta": 0.37})
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(twin.logits(spins), fresh.logits(spins))
    assert torch.equal(net.logits(spins), before)
    assert twin.config() == {**net.config(), "beta": 0.37}


def test_a_sampler_notices_that_the_prior_moved():
    net = Dense(6, prior="star", ham=SherringtonKirkpatrick(6), beta=0.5)
    sampler = vf.Sampler(net)
    warm = sampler.sample(500, seed=1).log_q.mean()
    net.follow(3.0)
    cold = sampler.sample(500, seed=1)
    assert cold.log_q.mean() > warm + 0.5
    torch.testing.assert_close(cold.log_q, net.log_prob(cold.spins).detach(), rtol=0, atol=1e-5)


def test_without_a_prior_there_is_no_temperature():
    with pytest.raises(ValueError, match="Dense has no prior"):
        Dense(4).at(1.0)


SK4 = SherringtonKirkpatrick(4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prior": "star"}, ValueError, "needs ham"),
        ({"prior": "star", "ham": SK4}, ValueError, "needs ham.* and beta"),
        ({"prior": "star", "beta": 1.0}, ValueError, "needs ham"),
        ({"prior": "cavity", "ham": SK4, "beta": 1.0}, ValueError, "prior = 'cavity' must be 'star' or None"),
        ({"ham": SK4}, ValueError, "ham belongs to a prior"),
        ({"beta": 1.0}, ValueError, "beta = 1.0 belongs to a prior"),
        ({"prior": "star", "ham": SK4, "beta": math.nan}, ValueError, "beta = nan must be"),
        ({"prior": "star", "ham": SK4, "beta": math.inf}, ValueError, "beta = inf must be"),
        ({"prior": "star", "ham": SK4, "beta": -1}, ValueError, "beta = -1 must be"),
        ({"prior": "star", "ham": SK4, "beta": 1e50}, ValueError, "largest local field"),
        ({"prior": "star", "ham": SK4, "beta": "cold"}, TypeError, "beta = 'cold'"),
        (
            {"prior": "star", "ham": SherringtonKirkpatrick(5), "beta": 1.0},
            ValueError,
            "ham has 5 sites, the network 4",
        ),
        ({"prior": "star", "ham": np.eye(4), "beta": 1.0}, TypeError, "ham must be a vanfast.hamiltonians.Hamiltonian"),
        ({"prior": "star", "ham": dense_system(4), "beta": 1.0, "z2": True}, ValueError, "Hamiltonian with fields"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    for network in (lambda **a: Dense(4, **a), lambda **a: MADE(4, **a), lambda **a: PixelCNN(2, **{"z2": False, **a})):
        with pytest.raises(error, match=message):
            network(**arguments)


def test_a_lattice_of_another_shape():
    with pytest.raises(ValueError, match=r"lattice \(2, 6\), the network on \(3, 4\)"):
        PixelCNN((3, 4), prior="star", ham=IsingSquare(shape=(2, 6)), beta=0.4)
