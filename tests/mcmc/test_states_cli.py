"""`vanfast mcmc` of sites with q states, and what m means there."""

import json

import numpy as np
import pytest

import vanfast as vf
from vanfast.cli import main
from vanfast.mcmc import magnetizations, measure, run

WORDS = ["--chains", "30", "--sweeps", "20", "--burn-in", "10", "--thin", "2", "--seed", "5"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Directory of a fit to sums of the 9 overlapping 2 x 2 blocks of the 4 x 4 ferromagnet, five states each."""
    folder = tmp_path_factory.mktemp("fit")
    spins = run(vf.hamiltonians.IsingSquare(L=4), 0.4, chains=500, sweeps=4, burn_in=30, algorithm="wolff").spins
    np.save(folder / "sums.npy", vf.observables.block_sums(spins.reshape(-1, 16), (4, 4), 2).numpy())
    fit = ["fit", str(folder / "sums.npy"), "--q", "5", "--levels=-4,-2,0,2,4", "--hidden", "12,8", "--epochs", "3"]
    assert main([*fit, "--symmetry", "reflection", "--out", str(folder / "run"), "--quiet"]) == 0
    return str(folder / "run")


def test_potts(tmp_path, capsys):
    out = tmp_path / "s.npz"
    given = ["mcmc", "--model", "potts", "--q", "3", "--L", "4", "--beta", "0.9", *WORDS]
    assert main([*given, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ham = vf.hamiltonians.Potts(4, q=3)
    expected = run(ham, 0.9, chains=30, sweeps=20, burn_in=10, thin=2, seed=5)
    found = measure(expected)
    assert told["kernel"] == "potts"
    assert told["abs_magnetization"] == pytest.approx(found.abs_magnetization.value)
    assert told["heat_capacity_per_site"] == pytest.approx(found.heat_capacity.value / 16)
    stored = vf.store.load_samples(out)
    assert stored.q == 3
    assert np.array_equal(stored.spins.numpy().reshape(30, 10, 16), expected.spins)
    assert stored.hamiltonian.config() == ham.config()
    assert main([*given, "--algorithm", "tempering"]) == 0
    shown = capsys.readouterr().out
    assert "|order parameter|" in shown
    assert "tempering (potts)" in shown
    assert main([*given, "--levels=0,1,2"]) == 0
    assert "|magnetisation|" in capsys.readouterr().out


def test_a_network_over_states(fitted, tmp_path, capsys):
    net = vf.training.load_fit(fitted).net
    ham = vf.hamiltonians.Neural(net, 2.5)
    levels = [-1, -0.5, 0, 0.5, 1]
    given = ["mcmc", "--neural", fitted, "--T0", "2.5", "--beta", "0.5", "--algorithm", "heat_bath", *WORDS]
    out = tmp_path / "s.npz"
    assert main([*given, "--levels=-1,-0.5,0,0.5,1", "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = run(ham, 0.5, chains=30, sweeps=20, burn_in=10, thin=2, seed=5, algorithm="heat_bath")
    found = measure(expected, levels=levels)
    assert told["kernel"] == "masked"
    assert told["magnetization_squared"] == pytest.approx(found.magnetization_squared.value)
    assert told["energy_per_site"] == pytest.approx(found.energy.value / ham.num_sites)
    stored = vf.store.load_samples(out)
    assert (stored.q, stored.hamiltonian.q, stored.hamiltonian.config()) == (5, 5, ham.config())
    assert np.array_equal(stored.spins.numpy().reshape(expected.spins.shape), expected.spins)
    assert main(given) == 0
    assert "of 5 states" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model", "potts", "--L", "3", "--levels=1,2"],
            "got 2 for sites that hold 3 states",
        ),
        (["--model", "ising-square", "--L", "3", "--levels=1,2"], "got 2 for sites that hold spins"),
        (["--model", "potts", "--L", "3", "--levels=1,x,2"], "--levels"),
        (["--model", "potts", "--L", "3", "--kernel", "sparse"], "its sites have q = 3 states"),
        (
            ["--neural", "RUN", "--T0", "2", "--q", "4"],
            "4 states in the system named, 5 states in the network",
        ),
        (["--neural", "RUN", "--T0", "2", "--model", "ising-square", "--L", "4"], "spins in the system named"),
        (["--neural", "RUN", "--T0", "2", "--algorithm", "wolff"], "Neural has no pair couplings"),
    ],
)
def test_complaints(fitted, capsys, words, message):
    assert main(["mcmc", "--beta", "0.4", *[fitted if word == "RUN" else word for word in words]]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_what_m_is():
    spins = np.array([[[0, 0, 2, 1], [2, 2, 2, 2]], [[0, 1, 2, 0], [0, 1, 1, 0]]], dtype=np.int8)
    assert magnetizations(spins, 3) == pytest.approx(np.array([[0.25, 1.0], [0.25, 0.25]]))
    assert magnetizations(spins, 3, (-1, 0, 1)) == pytest.approx(np.array([[-0.25, 1.0], [-0.25, -0.5]]))
    assert magnetizations(1 - 2 * (spins[..., :1] > 0)).tolist() == [[1.0, -1.0], [1.0, 1.0]]
    got = run(vf.hamiltonians.Potts(3, q=3), 0.5, chains=25, sweeps=10, burn_in=0)
    assert measure(got, levels=[0, 0, 1]).magnetization.value == pytest.approx((got.spins == 2).mean())
    for levels in ([0, 1], [0, 1, np.inf], [[0, 1, 2]]):
        with pytest.raises(ValueError, match=r"levels = .* must be 3 finite numbers"):
            measure(got, levels=levels)
    with pytest.raises(ValueError, match="these are spins"):
        measure(run(vf.hamiltonians.IsingSquare(3), 0.5, chains=2, sweeps=2), levels=[0, 1])
