"""Monte Carlo of networks' Hamiltonians: the masked kernel against whole evaluations, and what it leaves invariant."""

import numpy as np
import pytest

from tests.mcmc.systems import g_test, strong
from vanfast import _cpu
from vanfast.exact import states
from vanfast.hamiltonians import IsingSquare, Neural
from vanfast.mcmc import choose, geometric_ladder, run
from vanfast.networks import MADE, SK, BernoulliMixture, CurieWeissInf, Dense, PixelCNN

ORDER = [3, 0, 8, 5, 1, 7, 2, 6, 4]


MASKED = {
    **{
        f"made {N} {hidden}{' z2' if z2 else ''}": lambda N=N, hidden=hidden, z2=z2: MADE(N, hidden, seed=1, z2=z2)
        for N in (1, 2, 17)
        for hidden in ((), (5,), (7, 3))
        for z2 in (False, True)
    },
    "made wide": lambda: MADE(9, (40, 33, 25), degrees="random", seed=2),
    "made 64": lambda: MADE(64, (48, 32), seed=2),
    "relu without bias": lambda: MADE(33, (40, 30), activation="relu", bias=False, seed=1),
    "dense": lambda: Dense(13, depth=3, width=3, seed=1),
    "dense blocks": lambda: Dense(13, depth=4, width=3, residual=True, z2=True, seed=1),
}


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath", "tempering"])
@pytest.mark.parametrize("name", MASKED)
def test_against_whole_evaluations(name, algorithm):
    """The same random words: a decision differs where a rounding crosses a threshold, and then the chain is another."""
    ham = Neural(strong(MASKED[name]()), 1.7)
    options = {"chains": 70, "sweeps": 4, "burn_in": 2, "seed": 3, "first": 5, "algorithm": algorithm}
    options |= {"betas": [0.3, 0.5, 0.8]} if algorithm == "tempering" else {}
    fast, slow = (run(ham, 0.8, kernel=kernel, **options) for kernel in ("auto", "incremental"))
    assert (fast.kernel, slow.kernel) == ("masked", "incremental")
    assert np.array_equal(fast.energy, ham.energy(fast.spins.reshape(-1, ham.num_sites)).reshape(fast.energy.shape))
    if name.startswith("made 1 ") and name.endswith("z2"):  # all costs are 0 but for roundings, whose sign is a choice
        return
    same = (fast.spins == slow.spins).all((1, 2))
    assert same.mean() > 0.97
    assert fast.acceptance == pytest.approx(slow.acceptance, abs=0.02)
    if algorithm == "tempering":
        assert fast.swap_acceptance == pytest.approx(slow.swap_acceptance, abs=0.03)


SMALL = {
    "made": lambda: MADE(9, (12, 7), seed=1),
    "made z2": lambda: MADE(9, (12, 7), z2=True, seed=1),
    "in another order": lambda: MADE(9, (12, 7), order=ORDER, seed=1),
    "dense blocks": lambda: Dense(7, depth=4, width=2, residual=True, seed=1),
    "one site": lambda: MADE(1, seed=1),
    "two sites": lambda: MADE(2, (3,), seed=1),
    "pixelcnn": lambda: PixelCNN((2, 4), depth=2, width=4, half_kernel=2, z2=True, seed=1),
    "sk": lambda: SK(IsingSquare(L=3), 0.3, k=1),
    "mixture": lambda: BernoulliMixture(8, 3, seed=1),
    "prior": lambda: Dense(9, prior="star", ham=IsingSquare(L=3), beta=0.3, seed=1),
    "float64": lambda: MADE(8, (5,), seed=1).double(),
}


@pytest.mark.parametrize("beta_T0", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath", "tempering"])
@pytest.mark.parametrize("name", SMALL)
def test_the_distribution_is_a_power_of_the_networks(name, algorithm, beta_T0):
    """p(s)^(beta T0), also where the temperature is not that of the network: a G-test over all states."""
    T0 = 2.5
    ham = Neural(strong(SMALL[name](), scale=0.4), T0)
    masked = choose(ham, algorithm) == "masked"
    if not masked and (algorithm == "tempering" or beta_T0 == 1.0):
        return  # one evaluation of the network for every site: the others show it
    beta = beta_T0 / T0
    chains, burn_in = (12_000, 59) if masked else (1500, 39)
    options = {}
    if algorithm == "tempering":
        options, chains = {"betas": [beta / 2, beta]}, 7000
    got = run(ham, beta, chains=chains, sweeps=1, burn_in=burn_in, algorithm=algorithm, seed=4, **options)
    log_p = ham.log_prob(states(ham.num_sites)).numpy()

    def boltzmann(power):
        p = np.exp(power * (log_p - log_p.max()))
        return p / p.sum()

    assert g_test(got.spins, boltzmann(beta_T0)) > 1e-4
    if masked and ham.num_sites > 2:
        assert g_test(got.spins, boltzmann(beta_T0 + 0.2)) < 1e-6


def test_a_sweep_keeps_the_distribution():
    ham = Neural(strong(SMALL["made z2"](), scale=0.5), 1.0)
    p = np.exp(1.3 * ham.log_prob(states(9)).numpy())
    start = states(9)[np.random.default_rng(1).choice(512, 30_000, p=p / p.sum())]
    for algorithm in ("metropolis", "heat_bath"):
        got = run(ham, 1.3, chains=30_000, sweeps=1, burn_in=0, start=start, algorithm=algorithm, seed=2)
        assert g_test(got.spins, p / p.sum()) > 1e-4
        assert got.acceptance == pytest.approx((got.spins[:, 0] != start).mean(), abs=1e-12)


@pytest.mark.parametrize("algorithm", ["metropolis", "tempering"])
@pytest.mark.parametrize("name", ["made 17 (7, 3) z2", "dense"])
def test_a_chain_depends_on_its_index_alone(name, algorithm):
    ham = Neural(strong(MASKED[name]()), 1.0)
    options = {"sweeps": 6, "thin": 2, "burn_in": 3, "seed": 8, "algorithm": algorithm}
    options |= {"betas": [0.2, 0.5, 0.7, 0.9, 1.1]} if algorithm == "tempering" else {}
    whole = run(ham, 0.9, chains=75, first=2**32 - 40, threads=1, **options)
    for chains, first, threads in ((1, 0, 1), (5, 31, 2), (37, 38, 3), (75, 0, 4)):
        part = run(ham, 0.9, chains=chains, first=2**32 - 40 + first, threads=threads, **options)
        assert np.array_equal(part.spins, whole.spins[first : first + chains])
    assert len(np.unique(whole.spins.reshape(75, -1), axis=0)) > 50
    fused = [isa for isa in _cpu.isas() if isa != "base"]
    for isa in fused:
        assert np.array_equal(run(ham, 0.9, chains=75, first=2**32 - 40, isa=isa, **options).spins, whole.spins)
    base = run(ham, 0.9, chains=75, first=2**32 - 40, isa="base", **options)
    if fused:
        assert (base.spins == whole.spins).all((1, 2)).mean() > 0.97


def test_the_order_of_sites_is_but_a_name():
    """A network in another order, and one in raster order with the same weights: the same chains, sites renamed."""
    here, there = Neural(strong(MADE(9, (12, 7), order=ORDER, seed=1))), Neural(strong(MADE(9, (12, 7), seed=1)))
    start = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (50, 9))
    options = {"chains": 50, "sweeps": 5, "burn_in": 0, "seed": 1}
    renamed = run(here, 0.7, start=start, **options)
    plain = run(there, 0.7, start=start[:, ORDER], **options)
    assert np.array_equal(renamed.spins[..., ORDER], plain.spins)


def test_roundings_do_not_pile_up():
    """Going on from spins, which knows nothing of what was kept, gives the same bytes: sweeps begin exactly."""
    ham = Neural(strong(MASKED["made 64"](), scale=0.3), 1.0)
    whole = run(ham, 0.2, chains=33, sweeps=60, burn_in=0, seed=5)
    assert whole.acceptance > 0.3
    spins = whole.spins[:, 19]
    rest = run(ham, 0.2, chains=33, sweeps=40, burn_in=0, seed=5, start=spins, first_sweep=20)
    assert np.array_equal(rest.spins, whole.spins[:, 20:])
    assert (
        np.abs(whole.energy + ham.net.double().log_prob(whole.spins.reshape(-1, 64)).numpy().reshape(33, 60)).max()
        < 1e-3
    )


def test_what_is_refused():
    masked, other = Neural(MADE(9, (4,), seed=1)), Neural(PixelCNN((3, 3), depth=2, width=2, half_kernel=2, seed=1))
    for algorithm in ("wolff", "swendsen_wang"):
        with pytest.raises(ValueError, match=f"{algorithm}.*Neural has no pair couplings"):
            run(masked, 1.0, algorithm=algorithm)
        with pytest.raises(ValueError, match="changes single sites"):
            run(masked, 1.0, algorithm=algorithm, kernel="masked")
    for kernel in ("planes", "sparse", "dense"):
        with pytest.raises(ValueError, match="no pair couplings"):
            run(masked, 1.0, kernel=kernel)
    with pytest.raises(ValueError, match="PixelCNN is not a stack of masked linear layers"):
        run(other, 1.0, kernel="masked")
    with pytest.raises(ValueError, match="IsingSquare is not a network's"):
        run(IsingSquare(L=3), 1.0, kernel="masked")
    with pytest.raises(ValueError, match="has a prior"):
        run(Neural(SMALL["prior"]()), 1.0, kernel="masked")
    with pytest.raises(ValueError, match="float64"):
        run(Neural(SMALL["float64"]()), 1.0, kernel="masked")
    with pytest.raises(ValueError, match="isa = 'mmx'"):
        run(masked, 1.0, isa="mmx")
    assert choose(Neural(CurieWeissInf(6, seed=1)), "heat_bath") == "incremental"


def test_the_ladder_knows_the_unit_of_energy():
    """Energies and temperatures twice as large: the same ladder, the same chains."""
    one, two = (Neural(strong(MADE(9, (5,), seed=1)), T0) for T0 in (1.0, 2.0))
    assert geometric_ladder(two, 0.5) == pytest.approx([beta / 2 for beta in geometric_ladder(one, 1.0)])
    options = {"chains": 20, "sweeps": 10, "burn_in": 5, "algorithm": "tempering"}
    a, b = run(one, 1.0, betas=[0.25, 0.5, 1.0], **options), run(two, 0.5, betas=[0.125, 0.25, 0.5], **options)
    assert np.array_equal(a.spins, b.spins)
    assert np.array_equal(2 * a.energy, b.energy)


def test_a_run_is_stopped_and_tells_its_progress():
    ham, shares = Neural(MADE(64, (64, 64), seed=1)), []

    def stop(share):
        shares.append(share)
        if len(shares) == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run(ham, 1.0, chains=2, sweeps=10**7, burn_in=0, thin=10**7, progress=stop)
    assert 0 <= shares[0] <= shares[1] < 1


@pytest.mark.parametrize("threads", [1, 3, None])
def test_threads_reach_whole_evaluations(threads, monkeypatch):
    used, energy = [], Neural.energy

    def spy(ham, spins, threads=None):
        used.append(threads)
        return energy(ham, spins, threads)

    monkeypatch.setattr(Neural, "energy", spy)
    ham = Neural(PixelCNN((2, 3), 2, 3, 1, seed=1))
    got = run(ham, 0.7, chains=40, sweeps=3, burn_in=1, seed=2, threads=threads)
    assert len(used) > 4 * 6
    assert set(used) == {threads}
    monkeypatch.undo()
    assert np.array_equal(run(ham, 0.7, chains=40, sweeps=3, burn_in=1, seed=2).spins, got.spins)
