"""What run refuses, and how kernels are chosen."""

import numpy as np
import pytest

from vanfast.errors import BackendUnavailable
from vanfast.hamiltonians import CurieWeiss, EdwardsAnderson, IsingSquare, Neural, Pairwise, SherringtonKirkpatrick
from vanfast.mcmc import choose, geometric_ladder, run
from vanfast.networks import MADE

SQUARE, SK = IsingSquare(L=3), SherringtonKirkpatrick(6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beta": 0.0}, ValueError, "beta = 0.0 must be positive"),
        ({"beta": float("inf")}, ValueError, "beta"),
        ({"beta": "cold"}, TypeError, "beta = 'cold'"),
        ({"chains": 0}, ValueError, "chains = 0"),
        ({"chains": 2.0}, TypeError, "chains = 2.0"),
        ({"sweeps": 0}, ValueError, "sweeps = 0"),
        ({"sweeps": True}, TypeError, "sweeps = True"),
        ({"burn_in": -1}, ValueError, "burn_in = -1"),
        ({"sweeps": 10, "thin": 3}, ValueError, "thin = 3 must divide sweeps = 10"),
        ({"seed": -1}, ValueError, "seed = -1"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"first": 2**64 - 1, "chains": 2}, ValueError, "first"),
        ({"threads": 0}, ValueError, "threads = 0"),
        ({"algorithm": "glauber"}, ValueError, "algorithm = 'glauber' must be one of 'metropolis'"),
        ({"kernel": "fast"}, ValueError, "kernel = 'fast' must be one of"),
        ({"kernel": "clusters"}, ValueError, "does not know metropolis"),
        ({"algorithm": "wolff", "kernel": "dense"}, ValueError, "does not know wolff"),
        ({"algorithm": "tempering", "kernel": "planes"}, ValueError, "share one temperature"),
        ({"algorithm": "wolff", "kernel": "incremental"}, ValueError, "single sites"),
        ({"betas": [0.1, 0.4]}, ValueError, "betas belong to algorithm 'tempering'"),
        ({"algorithm": "tempering", "betas": [0.4]}, ValueError, "2 to 1024"),
        ({"algorithm": "tempering", "betas": [0.1, 0.1, 0.4]}, ValueError, "different"),
        ({"algorithm": "tempering", "betas": [0.1, 0.2]}, ValueError, "must contain beta = 0.4"),
        ({"algorithm": "tempering", "betas": [0.4, -0.2]}, ValueError, "betas = -0.2"),
        ({"update": "metropolis"}, ValueError, "update = 'metropolis' belongs to"),
        ({"algorithm": "tempering", "update": "wolff"}, ValueError, "update = 'wolff'"),
        ({"clusters": 3}, ValueError, "clusters = 3 belongs to algorithm 'wolff'"),
        ({"algorithm": "wolff", "clusters": 0}, ValueError, "clusters = 0"),
        ({"start": np.ones((2, 9), np.int8), "chains": 3}, ValueError, "start holds 2"),
        ({"start": np.ones(8, np.int8)}, ValueError, "start has shape"),
        ({"start": np.zeros(9, np.int8)}, ValueError, "start must hold only"),
        ({"first_sweep": 2**46}, ValueError, "random words"),
        ({"sweeps": 2**46, "burn_in": 0}, ValueError, "random words"),
        ({"isa": "mmx"}, ValueError, "isa = 'mmx'"),
        ({"backend": "opencl"}, ValueError, "backend = 'opencl' must be one of 'cpu', 'cuda'"),
        ({"backend": "cuda", "kernel": "incremental"}, ValueError, "backend 'cuda' has no kernel 'incremental'"),
        ({"backend": "cuda", "isa": "base"}, ValueError, "isa = 'base': backend 'cuda' has no instruction sets"),
    ],
)
def test_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        run(SQUARE, **({"beta": 0.4, "chains": 4, "sweeps": 4, "burn_in": 1} | arguments))


@pytest.mark.parametrize("algorithm", ["wolff", "swendsen_wang"])
def test_clusters_refuse_fields_and_frustration(algorithm):
    with pytest.raises(ValueError, match="without fields"):
        run(IsingSquare(L=3, field=0.1), 0.4, algorithm=algorithm)
    with pytest.raises(ValueError, match="ferromagnetic couplings, the smallest is -"):
        run(SK, 0.4, algorithm=algorithm)
    with pytest.raises(ValueError, match="no pair couplings"):
        run(object(), 0.4, algorithm=algorithm)


def test_other_things_are_refused():
    with pytest.raises(ValueError, match=r"incremental\(spins\)"):
        run(object(), 0.4)


def test_a_gpu_runs_pairs_alone():
    network = Neural(MADE(4, (3,)), 2.0)
    with pytest.raises(ValueError, match="backend 'cuda' has no kernel 'masked', which backend='cpu' has"):
        run(network, 0.4, backend="cuda")
    assert choose(SQUARE, "metropolis", backend="cuda") == "planes"
    assert choose(SK, "tempering", backend="cuda") == "dense"


@pytest.mark.parametrize("algorithm", ["metropolis", "tempering", "wolff"])
def test_without_a_gpu_the_backend_says_so(algorithm, monkeypatch):
    from vanfast.backends import cuda

    monkeypatch.setattr(cuda, "no_gpu", lambda: "torch sees no NVIDIA GPU on this machine")
    monkeypatch.setattr(cuda.BACKEND, "_module", None)
    with pytest.raises(BackendUnavailable, match=r"backend 'cuda' cannot run here: .*; backend='cpu' runs all chains"):
        run(SQUARE, 0.4, chains=2, sweeps=2, algorithm=algorithm, backend="cuda")


@pytest.mark.parametrize(
    ("ham", "algorithm", "kernel"),
    [
        (SQUARE, "metropolis", "planes"),
        (SQUARE, "wolff", "clusters"),
        (SQUARE, "tempering", "dense"),
        (IsingSquare(L=16), "tempering", "sparse"),
        (IsingSquare(L=16, field=0.1), "heat_bath", "sparse"),
        (IsingSquare(L=4, coupling=[1.0, 0.5]), "heat_bath", "planes"),
        (IsingSquare(L=16, coupling=[1.0, 0.3]), "heat_bath", "sparse"),
        (EdwardsAnderson((6, 6, 6), seed=1), "metropolis", "planes"),
        (EdwardsAnderson((6, 6, 6), disorder="gaussian", seed=1), "metropolis", "sparse"),
        (SK, "metropolis", "dense"),
        (CurieWeiss(16), "metropolis", "planes"),
        (CurieWeiss(17), "metropolis", "dense"),
        (CurieWeiss(17), "wolff", "clusters"),
        (Pairwise(np.zeros((3, 3))), "metropolis", "planes"),
    ],
)
def test_choice(ham, algorithm, kernel):
    assert choose(ham, algorithm) == kernel
    assert run(ham, 0.3, chains=2, sweeps=2, burn_in=2, algorithm=algorithm).kernel == kernel


def test_a_kernel_that_does_not_fit_says_why():
    with pytest.raises(ValueError, match="multiples"):
        choose(SK, "metropolis", "planes")
    with pytest.raises(ValueError, match="16 bonds"):
        choose(CurieWeiss(17), "metropolis", "planes")
    with pytest.raises(ValueError, match="fields"):
        choose(IsingSquare(L=3, field=1.0), "metropolis", "planes")


def test_ladders():
    for ham, beta in ((SK, 2.0), (SherringtonKirkpatrick(100), 2.0), (SQUARE, 0.01), (Pairwise(np.zeros((1, 1))), 3.0)):
        ladder = geometric_ladder(ham, beta)
        assert ladder[-1] == beta
        assert 2 <= len(ladder) <= 64
        assert ladder == sorted(ladder)
        assert np.allclose(np.diff(np.log(ladder), 2), 0, atol=1e-9)


def test_extreme_temperatures():
    """Nothing overflows: a cold ferromagnet from its ground state stays, a cold glass goes down alone."""
    for kernel in ("planes", "sparse", "dense", "incremental"):
        for algorithm in ("metropolis", "heat_bath"):
            got = run(
                SQUARE, 1e90, chains=40, sweeps=3, algorithm=algorithm, kernel=kernel, start=np.ones(9), burn_in=0
            )
            assert (got.spins == 1).all(), (kernel, algorithm)
            hot = run(SQUARE, 1e-90, chains=2000, sweeps=1, algorithm="heat_bath", kernel=kernel, burn_in=1)
            assert abs(hot.energy.mean()) < 4 * np.sqrt(18 / 2000)
    got = run(SK, 1e90, chains=20, sweeps=40, burn_in=0, algorithm="metropolis")
    assert (np.diff(got.energy) <= 1e-12).all()


def test_a_ladder_with_a_gap_warns():
    ham = IsingSquare(L=8)
    with pytest.warns(UserWarning, match=r"betas 0\.1 and 0\.8 exchanged replicas in .* give more betas"):
        run(ham, 0.8, chains=20, sweeps=40, burn_in=20, algorithm="tempering", betas=[0.1, 0.8])
