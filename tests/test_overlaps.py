"""P(q) from pairs of samples, against sums over all pairs of states and over pairs of samples one by one."""

import numpy as np
import pytest

import vanfast as vf
from vanfast.hamiltonians import CurieWeiss, Pairwise, SherringtonKirkpatrick
from vanfast.observables import overlap_distribution


def of_all_states(ham, beta):
    """P(q) of two independent configurations by summing over all pairs."""
    N = ham.num_sites
    probability = np.exp(vf.exact.enumerate(ham, beta, log_prob=True).log_prob)
    states = vf.exact.states(N)
    agree = (states @ states.T + N) // 2
    return np.bincount(agree.flatten().astype(int), np.outer(probability, probability).flatten(), N + 1)


def test_every_pair_is_counted_once():
    spins = np.where(np.random.default_rng(1).random((47, 5)) < 0.4, 1, -1)
    found = overlap_distribution(spins, 5)
    expected = np.zeros(6)
    for a in range(47):
        for b in range(a):
            expected[(spins[a] @ spins[b] + 5) // 2] += 1
    np.testing.assert_allclose(found.probability, expected / (47 * 46 / 2), rtol=1e-13)
    np.testing.assert_allclose(found.q, [-1, -0.6, -0.2, 0.2, 0.6, 1], atol=1e-15)
    assert found.count == 47
    np.testing.assert_allclose(
        overlap_distribution(spins, 5, mirror=True).probability,
        (found.probability + found.probability[::-1]) / 2,
        rtol=1e-13,
    )


def test_errors_cover():
    """Over repeated samples, with and without weights, deviations follow the errors."""
    rng = np.random.default_rng(5)
    J = np.triu(rng.normal(size=(6, 6)) / 2, 1)
    ham = Pairwise(J + J.T, rng.normal(size=6) / 3)
    exact = of_all_states(ham, 0.8)
    states, probability = vf.exact.states(6), np.exp(vf.exact.enumerate(ham, 0.8, log_prob=True).log_prob)
    other = 0.5 * probability + 0.5 / 64
    for q, weighted in ((probability, False), (other, True)):
        pulls = []
        for _ in range(60):
            drawn = rng.choice(64, 400, p=q / q.sum())
            weights = np.log(probability[drawn]) - np.log(q[drawn]) if weighted else None
            found = overlap_distribution(states[drawn], 6, weights)
            pulls.append((found.probability - exact) / found.error)
        pulls = np.array(pulls)
        assert 0.85 < np.sqrt((pulls**2).mean()) < 1.2
        assert np.abs(pulls.mean(0)).max() < 0.55  # sqrt(60) = 7.7 of them average out


def test_samples_of_a_network():
    ham = CurieWeiss(10)
    batch = vf.Sampler(vf.networks.CurieWeissN(ham, 1.4), ham).sample(4000, seed=2)
    found = overlap_distribution(batch.spins, 10, mirror=True)
    exact = of_all_states(ham, 1.4)
    assert (np.abs(found.probability - exact) < 5 * found.error + 1e-12).all()
    assert abs(found.mean(found.q**2).value - exact @ found.q**2) < 4 * found.mean(found.q**2).error
    assert found.mean(found.q).value == pytest.approx(0, abs=1e-12)


def test_blocks_do_not_matter(monkeypatch):
    ham = SherringtonKirkpatrick(9, seed=1)
    batch = vf.Sampler(vf.networks.ExactH2(ham, 1.0), ham).sample(500, seed=2)
    log_weight = np.linspace(-1, 1, 500)
    whole = overlap_distribution(batch.spins, 9, log_weight)
    monkeypatch.setattr("vanfast._overlaps._BLOCK", 7)
    cut = overlap_distribution(batch.spins, 9, log_weight)
    np.testing.assert_allclose(cut.probability, whole.probability, rtol=1e-12)
    np.testing.assert_allclose(cut.error, whole.error, rtol=1e-9)


@pytest.mark.parametrize(("sites", "bins"), [(1, 3), (2, 50), (10, 4), (63, 50), (200, 50)])
def test_the_density_of_fair_spins_is_smooth(sites, bins):
    spins = np.where(np.random.default_rng(2).random((2000, sites)) < 0.5, 1, -1)
    found = overlap_distribution(spins, sites, mirror=True)
    edges, density = found.density(bins)
    assert edges.shape == (bins + 1,)
    assert (density.value * np.diff(edges)).sum() == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(density.value, density.value[::-1], rtol=1e-9, atol=1e-12)
    if sites > bins:  # values lie closer than bins: nothing jumps from bin to bin
        centres = (edges[1:] + edges[:-1]) / 2
        gauss = np.exp(-sites * centres**2 / 2) * np.sqrt(sites / 2 / np.pi)
        np.testing.assert_allclose(density.value, gauss, atol=0.06 * gauss.max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((39, 3)), 3), "spins holds 39 samples, expected at least 40"),
        ((np.zeros((50, 3)), 3), "spins"),
        ((np.ones((50, 3)), 3, np.zeros(49)), r"log_weight must hold 50 finite numbers.*\[49\]"),
        ((np.ones((50, 3)), 3, np.full(50, np.nan)), "log_weight must hold 50 finite numbers"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        overlap_distribution(*arguments)


def test_wrong_questions_are_refused():
    found = overlap_distribution(np.ones((50, 3)), 3)
    with pytest.raises(ValueError, match=r"values has shape \[3\], expected \[4\]"):
        found.mean([1, 2, 3])
    for bins in (0, 2.5, True):
        with pytest.raises(ValueError, match=f"bins must be an integer >= 1, got {bins}"):
            found.density(bins)
