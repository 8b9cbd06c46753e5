"""The network in the loop: it moves and stays at its optimum, the couplings come out, and nothing depends on chance."""

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.training.inverse.conftest import exact_moments, random_system
from vanfast.training import inverse_ising
from vanfast.training.data import Moments
from vanfast.training.inverse.model_moments import GROUPS
from vanfast.training.inverse.variational import BLOCK, VanSettings, VariationalInverse

QUICK = {"max_steps": 300, "batch": 400, "moment_batch": 2000, "tolerance": 5e-4, "threads": 1}

FAST = {**QUICK, "max_steps": 400, "learning_rate": 0.04, "inner_learning_rate": 0.01}


def divergence(net, ham, beta):
    """KL(q || p) by enumeration."""
    spins = torch.from_numpy(vf.exact.states(ham.num_sites))
    log_q = net.log_prob(spins).detach().double().numpy()
    log_p = vf.exact.enumerate(ham, beta, log_prob=True).log_prob
    return float(np.exp(log_q) @ (log_q - log_p))


@pytest.fixture(scope="module")
def solved():
    """Six spins without fields at beta = 2: truth, network, its parameters before, result."""
    J, h = random_system(6, seed=1)
    net = vf.networks.Dense(6, depth=2, width=4, z2=True, seed=3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    return J, net, before, inverse_ising(exact_moments(J, h, 2.0), "van", 2.0, net=net, **FAST)


def test_couplings_are_found(solved):
    J, _, _, found = solved
    moments = exact_moments(J, np.zeros(6), 2.0)
    assert found.error(J) < 0.01
    assert found.error(J) < 0.1 * min(inverse_ising(moments, m, 2.0).error(J) for m in ("nmf", "sm", "bethe"))
    assert not found.h.any()
    assert found.history[-1].difference < 0.1 * found.history[0].difference


def test_the_network_moves_and_is_the_boltzmann_distribution_of_the_couplings(solved):
    """What the paper's public script does not do: there the network stays as it began."""
    _, net, before, found = solved
    after = net.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    ham = found.to_hamiltonian()
    untrained = vf.networks.Dense(6, depth=2, width=4, z2=True, seed=3)
    assert divergence(net, ham, 2.0) < 0.01
    assert divergence(untrained, ham, 2.0) > 0.5
    assert np.mean([step.ess for step in found.history[-50:]]) > 0.95


def test_it_follows_all_the_way(solved):
    """Not at the end only: importance weights stay even while the couplings move."""
    assert min(step.ess for step in solved[3].history) > 0.2


def test_a_network_that_stands_still_is_noticed():
    """Few effective samples: it is trained on before the couplings move."""
    J, h = random_system(6, seed=1)
    loops = VariationalInverse(exact_moments(8 * J, h), None, VanSettings(**QUICK))
    loops.theta.copy_(torch.tensor(8 * J[np.triu_indices(6, 1)]))
    loops.sampler.ham = loops.hamiltonian()
    assert loops.model_moments()[2] < 0.05
    record = loops.advance(0.01, 1.0)
    assert loops.inner_count > loops.settings.inner_steps
    assert record.ess >= 0.05


def test_fields_come_out_too():
    J, h = random_system(5, seed=1, fields=0.5)
    found = inverse_ising(exact_moments(J, h), "van", **QUICK)
    np.testing.assert_allclose(found.J, J, atol=0.03)
    np.testing.assert_allclose(found.h, h, atol=0.03)


def test_the_seed_decides():
    moments = exact_moments(*random_system(5, seed=2))
    options = {"max_steps": 12, "batch": 100, "moment_batch": 200, "threads": 1}
    first, again, other = (inverse_ising(moments, "van", seed=seed, **options) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.J, again.J)
    assert first.history == again.history
    assert not np.array_equal(first.J, other.J)
    two = inverse_ising(moments, "van", seed=4, **{**options, "threads": 2})
    np.testing.assert_array_equal(first.J, two.J)


def test_it_stops_by_the_tolerance_and_says_when_it_did_not():
    J, h = random_system(5, seed=2)
    moments = exact_moments(0.3 * J, h)
    coarse = inverse_ising(moments, "van", **{**QUICK, "max_steps": 500, "tolerance": 1e-2})
    fine = inverse_ising(moments, "van", **{**QUICK, "tolerance": 1e-9})
    assert len(coarse.history) < 500
    assert len(fine.history) == QUICK["max_steps"]
    assert coarse.converged
    for steps in (1, 5):
        short = inverse_ising(moments, "van", **{**QUICK, "max_steps": steps})
        assert not short.converged
        assert [step.step for step in short.history] == list(range(steps))
        assert short.history[0].learning_rate == 0.01


def test_the_excess_is_what_noise_does_not_explain():
    moments = exact_moments(*random_system(5, seed=2))
    loops = VariationalInverse(moments, None, VanSettings(**QUICK))
    rng, sigma = np.random.default_rng(0), 0.1
    pure, shifted = [], []
    for _ in range(200):
        for shift, values in ((0.0, pure), (0.05, shifted)):
            blocks = rng.normal(shift * BLOCK, sigma * np.sqrt(BLOCK), size=(8, 10))
            loops.blocks = [np.append(block, BLOCK * sigma**2) for block in blocks]
            loops.history = [None] * (8 * BLOCK)
            values.append(loops.excess())
    assert np.mean([a**2 for a, _ in shifted]) == pytest.approx(0.05**2, rel=0.1)
    excess, resolution = np.array(pure).T
    assert resolution == pytest.approx(resolution[0])
    assert 0.5 < np.sqrt(np.mean(excess**4) * 2) / resolution[0] ** 2 < 1.5


def test_callback_sees_every_step():
    seen = []
    moments = exact_moments(*random_system(4, seed=2))
    found = inverse_ising(moments, "van", callback=seen.append, max_steps=7, batch=50, moment_batch=48)
    assert seen == found.history


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_steps": 0}, "inner_steps must be an integer >= 1, got 0"),
        ({"max_steps": 1.5}, "max_steps must be an integer >= 1, got 1.5"),
        ({"moment_batch": GROUPS}, f"moment_batch must be an integer >= {2 * GROUPS}"),
        ({"moment_batch": 10 * GROUPS + 1}, f"moment_batch must be a multiple of {GROUPS}, got {10 * GROUPS + 1}"),
        ({"tolerance": 0}, "tolerance must be a finite number > 0, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number > 0"),
        ({"net": vf.networks.Dense(7)}, "net has 7 sites and the data have 5 spins"),
        ({"net": vf.networks.Dense(5, z2=True)}, "net has z2 = True, but the data are magnetised"),
        ({"net": vf.networks.CurieWeissN(vf.hamiltonians.CurieWeiss(5), 1.0)}, "no parameters to train: CurieWeissN"),
        ({"method": "nmf", "beta": 1e-320}, "is so small that couplings are beyond float64"),
        ({"method": "nmf", "seed": 3}, "seed belongs to method 'van'"),
        ({"method": "mle", "net": vf.networks.Dense(5)}, "net belongs to method 'van'"),
    ],
)
def test_arguments_are_checked(options, message):
    moments = exact_moments(*random_system(5, seed=1, fields=0.5))
    with pytest.raises(ValueError, match=message):
        inverse_ising(moments, **{"method": "van", **options})


def test_unknown_names_are_refused():
    with pytest.raises(TypeError, match="takes no argument 'step_size'"):
        inverse_ising(Moments(np.zeros(3), np.eye(3)), step_size=3)
    with pytest.raises(ValueError, match="method must be one of van, mle, plm"):
        inverse_ising(Moments(np.zeros(3), np.eye(3)), "magic")
    with pytest.raises(TypeError, match=r"net must be a vanfast.networks.Network, got str"):
        inverse_ising(Moments(np.zeros(3), np.eye(3)), net="dense")
    with pytest.raises(TypeError, match=r"callback must be a function of an OuterStep, got 3"):
        inverse_ising(Moments(np.zeros(3), np.eye(3)), callback=3)


@pytest.mark.slow
def test_sherrington_kirkpatrick_in_the_glass():
    """The paper's Fig. 7 at beta = 1.5: decisively below the formulas."""
    truth = vf.hamiltonians.SherringtonKirkpatrick(20, seed=1)
    moments = Moments(np.zeros(20), vf.exact.enumerate(truth, 1.5).correlation)
    found = inverse_ising(moments, "van", 1.5, max_steps=1000, threads=1)
    others = [inverse_ising(moments, method, 1.5).error(truth) for method in ("nmf", "sm", "bethe")]
    assert found.error(truth) < 0.005
    assert found.error(truth) < 0.1 * min(others)
