"""Every kernel leaves the Boltzmann distribution as it is, and reaches it, on systems that can be enumerated."""

import pytest

from tests.mcmc.systems import FERROMAGNETS, SYSTEMS, exact_samples, g_test, probabilities
from vanfast.mcmc import ALGORITHMS, KERNELS, run
from vanfast.mcmc.kernels import refuses

CASES = [
    (name, algorithm, kernel)
    for name, (ham, _) in SYSTEMS.items()
    for algorithm in ALGORITHMS
    for kernel in KERNELS[1:]
    if refuses(ham, algorithm, kernel) is None and kernel != "dense"  # dense is sparse, byte for byte
]


def test_the_cases_are_many():
    assert len(CASES) > 80
    clustered = {name for name, algorithm, _ in CASES if algorithm == "wolff"}
    assert clustered == {*FERROMAGNETS, "one"}  # one spin has no couplings that could be negative
    assert {name for name, _, kernel in CASES if kernel == "planes"} >= {*FERROMAGNETS, "pm", "antiferromagnet"}


@pytest.mark.parametrize(("name", "algorithm", "kernel"), CASES)
def test_a_sweep_keeps_the_distribution(name, algorithm, kernel):
    """One sweep from exact samples; of tempering, whose other replicas start elsewhere, after many."""
    ham, beta = SYSTEMS[name]
    count = 20_000 if kernel != "incremental" else 700 if algorithm == "tempering" else 2000
    start = exact_samples(ham, beta, count, seed=1)
    tempering = algorithm == "tempering"
    options = {"betas": [beta / 3, beta / 1.5, beta], "burn_in": 60} if tempering else {"burn_in": 0}
    got = run(ham, beta, chains=count, sweeps=1, algorithm=algorithm, kernel=kernel, start=start, seed=5, **options)
    assert g_test(got.spins, probabilities(ham, beta)) > 1e-4
    if not tempering:
        turned = (got.spins[:, 0] != start).mean()
        assert 0.02 < turned < 0.98
        assert got.acceptance == pytest.approx(turned, abs=1e-12)


@pytest.mark.parametrize(("name", "algorithm", "kernel"), CASES)
def test_the_distribution_is_reached(name, algorithm, kernel):
    """From random spins, in one draw of each of many chains."""
    ham, beta = SYSTEMS[name]
    options = {"betas": [beta / 2, beta]} if algorithm == "tempering" else {}
    chains, burn_in = {"incremental": (1500, 59), "clusters": (5000, 29)}.get(kernel, (20_000, 119))
    got = run(
        ham, beta, chains=chains, burn_in=burn_in, sweeps=1, algorithm=algorithm, kernel=kernel, seed=6, **options
    )
    assert g_test(got.spins, probabilities(ham, beta)) > 1e-4


def test_the_test_sees_small_mistakes():
    """Samples of a system that is 5 % too cold are found out."""
    ham, beta = SYSTEMS["square 3x3"]
    wrong = exact_samples(ham, 1.05 * beta, 30_000, seed=1)
    assert g_test(wrong, probabilities(ham, beta)) < 1e-6
    assert g_test(exact_samples(ham, beta, 30_000, seed=1), probabilities(ham, beta)) > 1e-3


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath"])
def test_one_chain_visits_all_states_of_free_spins(algorithm):
    ham, beta = SYSTEMS["free"]
    got = run(ham, beta, chains=1, sweeps=4000, burn_in=0, thin=4, algorithm=algorithm, seed=2)
    assert g_test(got.spins, probabilities(ham, beta)) > 1e-4
