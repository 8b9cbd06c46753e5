"""Chains of sites with q states: exact answers, the Python reference, and the contract of randomness."""

import numpy as np
import pytest

import vanfast as vf
from tests.mcmc.state_systems import LARGE, ORDER, POTTS, SMALL, exact_samples, g_test, probabilities, system
from tests.mcmc.systems import strong
from vanfast import _cpu
from vanfast.exact import enumerate_states, q_states
from vanfast.hamiltonians import IsingSquare, Neural, Potts
from vanfast.mcmc import choose, geometric_ladder, measure, neural, run, states
from vanfast.mcmc._words import SITE, start_spins, start_states, walker_words
from vanfast.mcmc.kernels import refuses
from vanfast.networks import MADE, CategoricalMADE

ALGORITHMS = ["metropolis", "heat_bath", "tempering"]
FERROMAGNETS = [name for name, (ham, _) in POTTS.items() if refuses(ham, "wolff", "clusters") is None]
CASES = [
    *((name, algorithm) for name in (*POTTS, *SMALL) for algorithm in ALGORITHMS),
    *((name, algorithm) for name in FERROMAGNETS for algorithm in ("wolff", "swendsen_wang")),
]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", [*POTTS, *(name for name in SMALL if name != "in another order")])
def test_against_the_reference(name, algorithm):
    """The same random words: a decision differs where a rounding crosses a threshold, and then the chain is another."""
    ham, beta = system(name)
    if algorithm != "metropolis" and name in ("permutation", "reflection"):
        return  # states that a symmetry makes equal but for roundings: which one counts as the largest is a choice
    options = {"chains": 70, "sweeps": 5, "burn_in": 2, "seed": 3, "first": 5, "algorithm": algorithm}
    options |= {"betas": [0.4 * beta, 0.7 * beta, beta]} if algorithm == "tempering" else {}
    fast, slow = (run(ham, beta, kernel=kernel, **options) for kernel in ("auto", "incremental"))
    assert (fast.kernel, slow.kernel, fast.q) == ("potts" if name in POTTS else "masked", "incremental", ham.q)
    rows = fast.spins.reshape(-1, ham.num_sites)
    assert np.array_equal(fast.energy, ham.energy(rows).reshape(fast.energy.shape))
    same = (fast.spins == slow.spins).all((1, 2))
    assert same.sum() >= 68
    assert fast.acceptance == pytest.approx(slow.acceptance, abs=0.02)
    if algorithm == "tempering":
        assert fast.swap_acceptance == pytest.approx(slow.swap_acceptance, abs=0.03)


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath"])
@pytest.mark.parametrize("name", LARGE)
def test_larger_networks_against_the_reference(name, algorithm):
    ham = Neural(strong(LARGE[name](), scale=0.3), 1.3)
    options = {"chains": 40, "sweeps": 2, "burn_in": 0, "seed": 3, "algorithm": algorithm}
    fast, slow = (run(ham, 0.6, kernel=kernel, **options) for kernel in ("masked", "incremental"))
    assert (fast.spins == slow.spins).all((1, 2)).sum() >= 38
    assert fast.acceptance > 0.05


def test_the_ferromagnets_are_many():
    assert set(FERROMAGNETS) == set(POTTS) - {"open with a field", "antiferromagnet", "glass", "one site"}


@pytest.mark.parametrize(("name", "algorithm"), CASES)
def test_a_sweep_keeps_the_distribution(name, algorithm):
    """One sweep from exact samples; of tempering, whose other replicas start elsewhere, after many."""
    ham, beta = system(name)
    count = 20_000
    start, tempering = exact_samples(ham, beta, count, seed=1), algorithm == "tempering"
    options = {"betas": [beta / 2, beta], "burn_in": 30} if tempering else {"burn_in": 0}
    got = run(ham, beta, chains=count, sweeps=1, algorithm=algorithm, start=start, seed=5, **options)
    assert g_test(got.spins, ham.q, probabilities(ham, beta)) > 1e-4
    if not tempering:
        changed = (got.spins[:, 0] != start).mean()
        assert 0.02 < changed < 0.995
    if algorithm in ("metropolis", "heat_bath", "swendsen_wang"):
        assert got.acceptance == pytest.approx(changed, abs=1e-12)


@pytest.mark.parametrize(("name", "algorithm"), CASES)
def test_against_sums_over_all_states(name, algorithm):
    """From random states: the distribution, energy, heat capacity and marginals."""
    ham, beta = system(name)
    options = {"betas": [beta / 2, beta]} if algorithm == "tempering" else {}
    got = run(ham, beta, chains=400, sweeps=240, burn_in=60, thin=8, algorithm=algorithm, seed=6, **options)
    exact, found = enumerate_states(ham, beta), measure(got)
    assert abs(found.energy.value - exact.energy) < 4.5 * found.energy.error + 1e-12
    assert abs(found.heat_capacity.value - exact.heat_capacity) < 4.5 * found.heat_capacity.error + 1e-12
    by_chain = np.stack([(got.spins == k).mean(1) for k in range(ham.q)], axis=-1)  # [chains, N, q]
    error = by_chain.std(0, ddof=1) / np.sqrt(len(by_chain))
    assert (np.abs(by_chain.mean(0) - exact.marginal) < 5 * error + 3e-4).all()
    last = got.spins[:, -1:] if algorithm == "metropolis" else got.spins[:, ::15]
    assert g_test(last, ham.q, probabilities(ham, beta)) > 1e-4


def test_the_tests_see_small_mistakes():
    """Samples of a system that is 8 % too cold are found out."""
    ham, beta = POTTS["square 2x3"]
    assert g_test(exact_samples(ham, 1.08 * beta, 40_000, seed=1), ham.q, probabilities(ham, beta)) < 1e-6
    assert g_test(exact_samples(ham, beta, 40_000, seed=1), ham.q, probabilities(ham, beta)) > 1e-3


CONTRACT = {
    "potts": POTTS["open with a field"][0],
    "glass": Potts.on(vf.hamiltonians.EdwardsAnderson((4, 3), disorder="gaussian", seed=1), q=5),
    "network": Neural(strong(LARGE["17 sites"]())),
    "network with a symmetry": Neural(strong(LARGE["seven states"]())),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", CONTRACT)
def test_a_chain_depends_on_its_index_alone(case, algorithm):
    ham = CONTRACT[case]
    options = {"sweeps": 6, "thin": 2, "burn_in": 3, "seed": 2**63 + 8, "algorithm": algorithm}
    options |= {"betas": [0.2, 0.5, 0.7, 0.8, 0.9]} if algorithm == "tempering" else {}
    whole = run(ham, 0.9, chains=75, first=2**32 - 40, threads=1, **options)
    assert whole.spins.dtype == np.int8
    assert set(np.unique(whole.spins)) == set(range(ham.q))
    for chains, first, threads in ((1, 0, 1), (5, 31, 2), (37, 38, 3), (75, 0, 4)):
        part = run(ham, 0.9, chains=chains, first=2**32 - 40 + first, threads=threads, **options)
        assert np.array_equal(part.spins, whole.spins[first : first + chains])
    every = run(ham, 0.9, chains=75, first=2**32 - 40, **(options | {"thin": 1}))
    assert np.array_equal(every.spins[:, 1::2], whole.spins)
    for isa in _cpu.isas():
        got = run(ham, 0.9, chains=75, first=2**32 - 40, isa=isa, **options)
        same = (got.spins == whole.spins).all((1, 2))
        # of networks "base" has no fused multiply-add and rounds otherwise
        assert same.all() or (isa == "base" and isinstance(ham, Neural) and same.sum() >= 73)


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath"])
@pytest.mark.parametrize("case", CONTRACT)
def test_a_run_can_go_on(case, algorithm):
    """From its states alone: roundings do not pile up in a network's sums."""
    ham = CONTRACT[case]
    whole = run(ham, 0.6, chains=40, sweeps=20, burn_in=0, algorithm=algorithm, seed=1)
    rest = run(
        ham, 0.6, chains=40, sweeps=12, burn_in=0, algorithm=algorithm, seed=1, start=whole.spins[:, 7], first_sweep=8
    )
    assert np.array_equal(rest.spins, whole.spins[:, 8:])


@pytest.mark.parametrize("algorithm", ["wolff", "swendsen_wang"])
def test_clusters_depend_on_the_index_alone(algorithm):
    ham = Potts(shape=(5, 4), q=4)
    options = {"sweeps": 6, "burn_in": 5, "thin": 2, "seed": 8, "algorithm": algorithm}
    whole = run(ham, 1.0, chains=75, threads=1, **options)
    assert (whole.kernel, set(np.unique(whole.spins))) == ("clusters", {0, 1, 2, 3})
    for chains, first, threads in ((1, 0, 1), (5, 31, 2), (37, 38, 3)):
        part = run(ham, 1.0, chains=chains, first=first, threads=threads, **options)
        assert np.array_equal(part.spins, whole.spins[first : first + chains])
    for isa in _cpu.isas():
        assert np.array_equal(run(ham, 1.0, chains=75, isa=isa, **options).spins, whole.spins)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_states_are_spins(algorithm):
    """The same words decide the same: Potts of twice the couplings and MADE's twin are the chains of spins."""
    spins = IsingSquare(shape=(3, 4), boundary="open")
    potts = Potts(shape=(3, 4), q=2, coupling=2.0, boundary="open")
    start = start_states(1, np.arange(60, dtype=np.uint64), 12, 2)
    options = {"chains": 60, "sweeps": 8, "burn_in": 0, "seed": 4, "algorithm": algorithm}
    options |= {"betas": [0.2, 0.3, 0.5]} if algorithm == "tempering" else {}
    one = run(spins, 0.5, kernel="sparse", start=2 * start - 1, **options)
    two = run(potts, 0.5, start=start, **options)
    assert np.array_equal(one.spins, 2 * two.spins - 1)
    assert np.array_equal(one.swap_acceptance, two.swap_acceptance, equal_nan=True)


def test_start_and_words_by_hand():
    """Random starts are the high half of word q, and one Metropolis attempt is its rule, word by word."""
    ham, walkers = Potts(shape=(1,), q=5, field=[0.5, 0.0, 1.0, -0.2, 0.3]), np.arange(400, dtype=np.uint64)
    first = start_states(9, walkers, 1, 5)
    assert first.min() == 0
    assert first.max() == 4
    words = walker_words(9, walkers, SITE, 0, 1)[:, 0]
    got = run(ham, 0.7, chains=400, sweeps=1, burn_in=0, seed=9).spins[:, 0, 0]
    for old, word, new in zip(first[:, 0].tolist(), words.tolist(), got.tolist(), strict=True):
        high, low = divmod(word * 4, 2**32)
        proposed = (old + 1 + high) % 5
        gain = ham.state_fields[proposed] - ham.state_fields[old]
        assert new == (proposed if low // 2 < int(0.9375 * np.exp(min(0.7 * gain, 0.0)) * 2**31) else old)
    assert np.array_equal(run(ham, 0.7, chains=9, sweeps=1, burn_in=0, seed=9).spins[:, 0, 0], got[:9])
    assert np.array_equal(start_states(9, walkers, 8, 2)[:, :8] > 0, start_states(9, walkers, 8, 4) > 1)
    assert start_spins(9, walkers, 8).shape == (400, 8)


def test_the_order_of_sites_is_but_a_name():
    here, there = (Neural(strong(CategoricalMADE(6, 3, (9, 5), order=order, seed=1))) for order in (ORDER, None))
    start = np.random.default_rng(0).integers(0, 3, (50, 6)).astype(np.int8)
    options = {"chains": 50, "sweeps": 5, "burn_in": 0, "seed": 1}
    renamed, plain = run(here, 0.7, start=start, **options), run(there, 0.7, start=start[:, ORDER], **options)
    assert np.array_equal(renamed.spins[..., ORDER], plain.spins)


def test_a_hamiltonian_of_ones_own():
    """Sites of three states in a ring whose neighbours in ascending order gain: batched costs in Python."""

    class Ring:
        num_sites, shape, q = 5, (5,), 3

        def energy(self, spins):
            s = np.asarray(spins, dtype=int)
            return -1.0 * ((np.roll(s, -1, 1) - s) % 3 == 1).sum(1)

        def incremental(self, spins):
            return Walkers(self, spins.copy())

    class Walkers:
        def __init__(self, ham, spins):
            self.ham, self.spins, self.energy = ham, spins, ham.energy(spins)

        def cost(self, site, states):
            changed = self.spins.copy()
            changed[:, site] = states
            return self.ham.energy(changed) - self.energy

        def assign(self, site, states):
            self.spins[:, site] = states
            self.energy = self.ham.energy(self.spins)

    ham: states.StateHamiltonian = Ring()
    p = np.exp(-0.8 * ham.energy(q_states(5, 3)))
    for algorithm in ALGORITHMS:
        options = {"betas": [0.4, 0.8]} if algorithm == "tempering" else {}
        got = run(ham, 0.8, chains=1500, sweeps=1, burn_in=30, algorithm=algorithm, seed=1, **options)
        assert (got.kernel, got.q) == ("incremental", 3)
        assert g_test(got.spins, 3, p / p.sum()) > 1e-4


@pytest.mark.parametrize("algorithm", [None, "heat_bath", "wolff"])
def test_networks_as_proposals(algorithm):
    """Of an untrained network, which is wrong on purpose, alone and with sweeps between."""
    ham, beta = POTTS["square 2x3"]
    sampler = vf.Sampler(CategoricalMADE(6, 3, (8,), seed=1), ham, threads=1)
    chain, options = (neural.mixed, {"algorithm": algorithm}) if algorithm else (neural.independence, {})
    got = chain(sampler, beta, chains=2000, steps=1, burn_in=30 if algorithm else 200, seed=1, **options)
    assert got.q == 3
    assert g_test(got.spins, 3, probabilities(ham, beta)) > 1e-4


def test_extreme_temperatures():
    ham = Potts(4, q=5)
    for algorithm in ("metropolis", "heat_bath"):
        cold = run(ham, 1e90, chains=40, sweeps=3, burn_in=0, algorithm=algorithm, start=np.full(16, 3))
        assert (cold.spins == 3).all()
        hot = run(ham, 1e-90, chains=2000, sweeps=1, burn_in=3, algorithm=algorithm)
        assert abs(hot.energy.mean() + 32 / 5) < 5 * np.sqrt(32 * 0.16 / 2000)
    net = Neural(strong(SMALL["five states"]()), 1.0)
    falls = run(net, 1e90, chains=20, sweeps=20, burn_in=0)
    assert (np.diff(falls.energy) <= 1e-4).all()


def test_ladders():
    for ham, beta in ((Potts(8, q=3), 1.0), (Potts(3, q=10), 0.01), (CONTRACT["network"], 2.0)):
        ladder = geometric_ladder(ham, beta)
        assert ladder[-1] == beta
        assert ladder == sorted(ladder)
    assert geometric_ladder(Potts(8, q=2, coupling=2.0), 0.5) == pytest.approx(geometric_ladder(IsingSquare(8), 0.5))
    got = run(Potts(4, q=3), 1.0, chains=40, sweeps=30, burn_in=30, algorithm="tempering")
    assert got.swap_acceptance.min() > 0.05


def test_choice_and_refusals():
    potts, net, spins = Potts(3, q=3), Neural(CategoricalMADE(4, 3, (5,), seed=1)), Neural(MADE(4, seed=1))
    assert [choose(ham, "metropolis") for ham in (potts, net, spins)] == ["potts", "masked", "masked"]
    double = Neural(CategoricalMADE(4, 3, (5,), seed=1).double())
    assert choose(double, "heat_bath") == "incremental"
    for ham, kernel, message in (
        (potts, "planes", "its sites have q = 3 states"),
        (potts, "dense", "its sites have q = 3 states"),
        (potts, "masked", "Potts is not a network's"),
        (net, "sparse", "Neural has no pair couplings"),
        (net, "potts", "Neural is not a Potts model"),
        (IsingSquare(3), "potts", "IsingSquare is not a Potts model"),
        (double, "masked", "float64"),
    ):
        with pytest.raises(ValueError, match=message):
            run(ham, 0.5, kernel=kernel)
    for ham, message in (
        (POTTS["open with a field"][0], "without fields"),
        (POTTS["glass"][0], "ferromagnetic couplings, the smallest is -"),
        (net, "Neural has no pair couplings"),
    ):
        with pytest.raises(ValueError, match=message):
            run(ham, 0.5, algorithm="wolff")
    with pytest.raises(ValueError, match="changes single sites"):
        run(potts, 0.5, algorithm="swendsen_wang", kernel="potts")
    with pytest.raises(ValueError, match="does not know metropolis"):
        run(potts, 0.5, kernel="clusters")
    for start, message in (
        (np.full(9, 3), r"start must hold only the states 0 \.\. 2, found 3"),
        (np.full(9, -1), "start must hold only the states"),
        (np.zeros(8), "start has shape"),
        (np.zeros((2, 9)), "start holds 2 configurations"),
    ):
        with pytest.raises(ValueError, match=message):
            run(potts, 0.5, chains=3, start=start)
    with pytest.raises(ValueError, match="random words"):
        run(potts, 0.5, first_sweep=2**47)


def test_the_module_itself_refuses_what_memory_depends_on():
    ham = Potts(3, q=3)
    from vanfast.mcmc import _tables

    a = _tables.potts_arrays(ham)
    schedule = {"seed": 0, "first": 0, "chains": 1, "burn_in": 0, "draws": 1, "thin": 1, "sweep": 0, "threads": 1}
    schedule |= {"start": None, "progress": None, "isa": ""}
    made = [a.start, a.neighbour, a.coupling, a.field, a.quantum, [0.5], 0, True, schedule]
    assert _cpu.mcmc_potts(*made)[0].shape == (1, 1, 9)
    start = np.full((1, 9), 3, np.int8)
    wrong = {2: a.coupling[1:], 3: a.field[:1], 1: a.neighbour + 9, 6: 1, 8: schedule | {"start": start}}
    for at, value in wrong.items():
        with pytest.raises(ValueError, match=r"must (have|hold|be)|start\[N\]"):
            _cpu.mcmc_potts(*[value if k == at else one for k, one in enumerate(made)])
    net = Neural(CategoricalMADE(4, 3, (5,), seed=1))
    sites, layers, order, group = net.masked_arrays()
    for bad, message in (
        (group[0], r"\[order, states\]"),
        (np.zeros((1, 3), np.int64), "permutations"),
        (np.array([[1, 0, 2]]), "identity"),
        (group + 1, "identity"),
        (np.array([[0, 1]]), "wrong shape"),
    ):
        with pytest.raises(ValueError, match=message):
            _cpu.flip_changes(sites, layers, order, bad, np.zeros((1, 4), np.int8))
    with pytest.raises(ValueError, match="states 0"):
        _cpu.flip_changes(sites, layers, order, group, np.full((1, 4), 3, np.int8))
