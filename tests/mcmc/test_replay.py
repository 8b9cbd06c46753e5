"""Kernels against slow twins that take the same random words."""

import numpy as np
import pytest

from tests.mcmc.systems import SYSTEMS
from vanfast.hamiltonians import EdwardsAnderson, IsingCubic, IsingSquare, SherringtonKirkpatrick
from vanfast.mcmc import _tables, run
from vanfast.mcmc._words import PLANE, start_spins, walker_words

BIG = {
    "sk 33": (SherringtonKirkpatrick(33, seed=1), 1.0),
    "gaussian 6x6": (EdwardsAnderson((6, 6), disorder="gaussian", seed=1), 1.0),
}


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath", "tempering"])
@pytest.mark.parametrize("name", ["fields", "sk", "gaussian", "free", "one in a field", *BIG])
def test_cached_fields_against_the_reference(name, algorithm):
    """The kernels' exponentials are float32: a decision differs once in about 10^6, and then the chain is another."""
    ham, beta = (SYSTEMS | BIG)[name]
    options = {"chains": 200, "sweeps": 12, "burn_in": 3, "algorithm": algorithm, "seed": 3, "first": 7}
    fast = run(ham, beta, kernel="sparse", **options)
    slow = run(ham, beta, kernel="incremental", **options)
    same = (fast.spins == slow.spins).all((1, 2))
    assert same.mean() > 0.98
    assert np.allclose(fast.energy[same], slow.energy[same], rtol=0, atol=1e-12)
    assert abs(fast.acceptance - slow.acceptance) < 0.01
    if algorithm == "tempering":
        assert fast.swap_acceptance == pytest.approx(slow.swap_acceptance, abs=0.01)


def planes_twin(ham, beta, heat_bath, seed, chains, sweeps):
    """Multi-spin coding chain by chain: a 64-bit uniform number from the planes, compared with a 64-bit threshold."""
    arrays = _tables.plane_arrays(ham)
    limits = arrays.thresholds(beta, heat_bath)
    N = ham.num_sites
    spins = start_spins(seed, np.arange(chains, dtype=np.uint64), N)
    walkers = np.arange((chains + 31) // 32, dtype=np.uint64)
    weights = np.uint64(1) << np.arange(63, -1, -1, dtype=np.uint64)
    for sweep in range(sweeps):
        for site in range(N):
            words = walker_words(seed, walkers, PLANE, (sweep * N + site) * 16, 16)  # [walkers, 64]
            bits = np.unpackbits(words.view(np.uint8).reshape(len(walkers), 64, 4), axis=2, bitorder="little")
            uniform = (bits.astype(np.uint64) * weights[:, None]).sum(1, dtype=np.uint64).reshape(-1)[:chains]
            row = slice(arrays.start[site], arrays.start[site + 1])
            sign = 1 - 2 * arrays.negative[row].astype(int)
            bonds = row.stop - row.start
            satisfied = (spins[:, arrays.neighbour[row]] * sign * spins[:, [site]] > 0).sum(1)
            broken = bonds - satisfied
            if heat_bath or bonds == 0:
                drawn = uniform < limits[bonds, np.minimum(broken, satisfied)]
                turn = np.where(2 * broken > bonds, ~drawn, drawn)
            else:
                turn = uniform < limits[bonds, np.minimum(broken, (bonds + 1) // 2)]
            spins[turn, site] *= -1
    return spins


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath"])
@pytest.mark.parametrize(
    ("ham", "beta"),
    [
        (IsingSquare(L=4), 0.44),
        (IsingSquare(shape=(2, 3)), 0.3),
        (IsingSquare(shape=(3, 4), boundary="open"), 0.6),
        (EdwardsAnderson((3, 3, 2), seed=1), 0.5),
        (EdwardsAnderson((2, 2, 2, 2), seed=1, boundary="open"), 0.4),
        (IsingCubic(L=3), 5.0),  # probabilities far below 2^-32
        (EdwardsAnderson((2, 2, 2, 2, 2), seed=1), 0.1),  # ten bonds
    ],
)
def test_planes_against_their_twin(ham, beta, algorithm):
    chains, sweeps = 70, 4
    got = run(ham, beta, chains=chains, sweeps=sweeps, burn_in=0, thin=sweeps, algorithm=algorithm, seed=9)
    assert got.kernel == "planes"
    assert np.array_equal(got.spins[:, 0], planes_twin(ham, beta, algorithm == "heat_bath", 9, chains, sweeps))


def test_thresholds_are_probabilities():
    arrays = _tables.plane_arrays(IsingSquare(L=4, coupling=0.5))
    metropolis, heat_bath = (arrays.thresholds(0.8, bath).astype(float) / 2.0**64 for bath in (False, True))
    assert metropolis[4, :3] == pytest.approx([0.9375 * np.exp(-3.2), 0.9375 * np.exp(-1.6), 0.9375], rel=1e-12)
    assert heat_bath[4, :3] == pytest.approx([1 / (1 + np.exp(3.2)), 1 / (1 + np.exp(1.6)), 0.5], rel=1e-12)
    assert arrays.thresholds(1e9, True)[4, 0] == 0


def test_couplings_are_kept_to_thirty_digits():
    ham = SherringtonKirkpatrick(60, seed=2)
    arrays = _tables.pair_arrays(ham, dense=True)
    field = np.abs(ham.to_dense()).sum(1).max()
    assert np.abs(arrays.twice * arrays.quantum / 2 - ham.to_dense()).max() <= field * 2.0**-29
    whole = _tables.pair_arrays(EdwardsAnderson((4, 4), seed=1, field=3.0), dense=True)
    assert np.array_equal(whole.twice * whole.quantum / 2, EdwardsAnderson((4, 4), seed=1).to_dense())
    assert (whole.field * whole.quantum == 3.0).all()
