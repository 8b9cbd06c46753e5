"""A chain's bytes depend on system, algorithm, beta, seed and index alone."""

import numpy as np
import pytest

from vanfast import _cpu
from vanfast.hamiltonians import EdwardsAnderson, IsingSquare, SherringtonKirkpatrick
from vanfast.mcmc import run
from vanfast.mcmc._words import CLUSTER, SITE, walker_words

SQUARE, GLASS = IsingSquare(shape=(5, 4)), SherringtonKirkpatrick(17, seed=1)
SPARSE = EdwardsAnderson((4, 3), disorder="gaussian", seed=1)
CASES = [
    (SQUARE, "metropolis", "planes"),
    (SQUARE, "heat_bath", "planes"),
    (GLASS, "metropolis", "dense"),
    (SPARSE, "heat_bath", "sparse"),
    (GLASS, "tempering", "dense"),
    (SQUARE, "wolff", "clusters"),
    (SQUARE, "swendsen_wang", "clusters"),
]
IDS = [f"{algorithm}-{kernel}" for _, algorithm, kernel in CASES]
OPTIONS = {"sweeps": 6, "burn_in": 5, "thin": 2, "seed": 2**63 + 5}


def draw(ham, algorithm, kernel, chains, **more):
    return run(ham, 0.5, chains=chains, algorithm=algorithm, kernel=kernel, **(OPTIONS | more))


@pytest.mark.parametrize(("ham", "algorithm", "kernel"), CASES, ids=IDS)
def test_chains_and_threads(ham, algorithm, kernel):
    whole = draw(ham, algorithm, kernel, 1100, threads=1)
    assert whole.spins.shape == (1100, 3, ham.num_sites)
    assert whole.spins.dtype == np.int8
    assert np.array_equal(whole.energy, ham.energy(whole.spins.reshape(-1, ham.num_sites)).reshape(1100, 3))
    for first, chains, threads in ((0, 1, None), (0, 33, 3), (517, 64, 2), (1000, 100, 5), (31, 2, 1)):
        part = draw(ham, algorithm, kernel, chains, first=first, threads=threads)
        assert np.array_equal(part.spins, whole.spins[first : first + chains]), (first, chains)
    assert not np.array_equal(draw(ham, algorithm, kernel, 64, seed=3).spins, whole.spins[:64])
    assert len(np.unique(whole.spins[:, 0], axis=0)) > 200


@pytest.mark.parametrize("isa", _cpu.isas())
@pytest.mark.parametrize(("ham", "algorithm", "kernel"), CASES, ids=IDS)
def test_instruction_sets(ham, algorithm, kernel, isa):
    expected = draw(ham, algorithm, kernel, 90, isa="base")
    got = draw(ham, algorithm, kernel, 90, isa=isa)
    assert np.array_equal(got.spins, expected.spins)
    assert got.acceptance == expected.acceptance
    assert np.array_equal(got.swap_acceptance, expected.swap_acceptance)


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath", "tempering"])
@pytest.mark.parametrize("ham", [GLASS, SPARSE, SQUARE])
def test_dense_and_sparse_agree(ham, algorithm):
    dense, sparse = (draw(ham, algorithm, kernel, 40) for kernel in ("dense", "sparse"))
    assert np.array_equal(dense.spins, sparse.spins)


@pytest.mark.parametrize(("ham", "algorithm", "kernel"), [c for c in CASES if c[1] in ("metropolis", "heat_bath")])
def test_a_run_can_go_on(ham, algorithm, kernel):
    whole = run(ham, 0.5, chains=50, sweeps=20, burn_in=0, algorithm=algorithm, kernel=kernel, seed=1)
    head = run(ham, 0.5, chains=50, sweeps=8, burn_in=0, algorithm=algorithm, kernel=kernel, seed=1)
    tail = run(
        ham,
        0.5,
        chains=50,
        sweeps=12,
        burn_in=0,
        algorithm=algorithm,
        kernel=kernel,
        seed=1,
        start=head.spins[:, -1],
        first_sweep=8,
    )
    assert np.array_equal(np.concatenate([head.spins, tail.spins], axis=1), whole.spins)


@pytest.mark.parametrize(("ham", "algorithm", "kernel"), CASES, ids=IDS)
def test_the_last_indices(ham, algorithm, kernel):
    replicas = 3 if algorithm == "tempering" else 1
    options = {"betas": [0.1, 0.2, 0.5]} if replicas > 1 else {}
    first = 2**64 // replicas - 40
    got = draw(ham, algorithm, kernel, 40, first=first, **options)
    assert np.array_equal(draw(ham, algorithm, kernel, 3, first=first + 37, **options).spins, got.spins[37:])
    with pytest.raises(ValueError, match="first"):
        draw(ham, algorithm, kernel, 42, first=first, **options)


def test_thinning_takes_every_nth_draw():
    for ham, algorithm, kernel in CASES:
        every = draw(ham, algorithm, kernel, 3, thin=1)
        assert np.array_equal(draw(ham, algorithm, kernel, 3).spins, every.spins[:, 1::2])


def test_chains_are_independent_of_each_other():
    """Neighbouring chains of a word, and of different words, are uncorrelated: energies and single spins."""
    got = run(SQUARE, 0.3, chains=2048, sweeps=4, burn_in=50, seed=11)
    e = got.energy[:, -1] - got.energy[:, -1].mean()
    s = got.spins[:, -1].astype(float)
    for lag in (1, 2, 31, 32, 64, 128, 512, 513):
        assert abs((e[lag:] * e[:-lag]).mean()) / e.var() < 4.5 / np.sqrt(2048 - lag)
        overlap = (s[lag:] * s[:-lag]).sum(1)
        assert abs(overlap.mean()) < 4.5 * overlap.std() / np.sqrt(2048 - lag)
    assert abs(e.mean()) < 1e-9


@pytest.mark.parametrize("isa", _cpu.isas())
def test_words_are_those_of_the_twin(isa):
    cases = ((0, 0, SITE, 0), (2**64 - 3, 2**64 - 1, CLUSTER, 2**48 - 64), (5, 2**33, SITE, 2**32))
    for seed, walker, use, block in cases:
        expected = walker_words(seed, np.array([walker], dtype=np.uint64), use, block, 64).reshape(64, 4).T
        assert np.array_equal(_cpu.mcmc_words(seed, walker, use, block, 64, isa), expected)


def test_sweeps_of_so_many_clusters():
    """As many as asked for, else as many as turn N spins; the burn-in decides then."""
    options = {"chains": 5, "sweeps": 20, "burn_in": 30, "algorithm": "wolff", "seed": 2}
    asked = run(SQUARE, 0.3, clusters=3, **options)
    assert asked.clusters_per_sweep.tolist() == [3] * 5
    assert asked.updates == 5 * 20 * 3
    found = run(SQUARE, 0.1, **options)
    assert found.updates == 20 * found.clusters_per_sweep.sum()
    assert found.clusters_per_sweep.min() > 3
    assert run(SQUARE, 0.3, **{**options, "algorithm": "swendsen_wang"}).clusters_per_sweep is None
