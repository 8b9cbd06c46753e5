"""`vanfast mcmc --neural` and `vanfast exact --neural`: chains of a fitted network's Hamiltonian, and sums over it."""

import json

import numpy as np
import pytest

import vanfast as vf
from vanfast.cli import main

SQUARE = ["--model", "ising-square", "--L", "3"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Directory of a fit to configurations of the 3 x 3 ferromagnet at T = 2.5."""
    folder = tmp_path_factory.mktemp("fit")
    data = str(folder / "data.npz")
    words = ["--beta", "0.4", "--chains", "2000", "--sweeps", "10", "--thin", "5", "--burn-in", "50", "-o", data]
    assert main(["mcmc", *SQUARE, *words, "--json"]) == 0
    fit = ["fit", data, "--hidden", "12,8", "--epochs", "3", "--learning-rate", "0.01", "--out", str(folder / "run")]
    assert main([*fit, "--quiet"]) == 0
    return str(folder / "run")


def test_chains_of_a_fit(fitted, tmp_path, capsys):
    out = tmp_path / "s.npz"
    words = ["--chains", "30", "--sweeps", "20", "--burn-in", "10", "--thin", "2", "--seed", "5"]
    given = ["mcmc", "--neural", fitted, "--T0", "2.5", *SQUARE, "--beta", "0.5", *words]
    assert main([*given, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ham = vf.hamiltonians.Neural(vf.training.load_fit(fitted).net, 2.5, shape=(3, 3))
    expected = vf.mcmc.run(ham, 0.5, chains=30, sweeps=20, burn_in=10, thin=2, seed=5)
    true = vf.mcmc.measure(expected, vf.hamiltonians.IsingSquare(L=3))
    assert told["kernel"] == "masked"
    assert told["energy_per_site"] == pytest.approx(expected.energy.mean() / 9)
    assert told["true_energy_per_site"] == pytest.approx(true.energy.value / 9)
    assert told["true_energy_per_site_error"] == pytest.approx(true.energy.error / 9)
    stored = vf.store.load_samples(out)
    assert np.array_equal(stored.spins.numpy().reshape(30, 10, 9), expected.spins)
    assert stored.hamiltonian.config() == ham.config()
    assert np.array_equal(stored.hamiltonian.energy(stored.spins).numpy(), stored.energy.numpy())
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert "-2.5 ln p of MADE" in shown
    assert "energy per site of IsingSquare" in shown


def test_a_lattice_without_a_system(fitted, capsys):
    words = ["--beta", "0.5", "--chains", "3", "--sweeps", "5", "--burn-in", "1", "--algorithm", "tempering"]
    assert main(["mcmc", "--neural", fitted, "--T0", "2.5", "--L", "3", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "true_energy_per_site" not in told
    assert told["betas"][-1] == 0.5


def test_exact_values_of_a_fit(fitted, capsys):
    assert main(["exact", "--neural", fitted, "--T0", "2.5", "--L", "3", "--beta", "0.4", "0.7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["results"]
    ham = vf.hamiltonians.Neural(vf.training.load_fit(fitted).net, 2.5, shape=(3, 3))
    assert [one["method"] for one in told] == ["enumeration", "enumeration"]
    assert told[0]["log_z"] == pytest.approx(0, abs=1e-6)
    assert told[1] == {"method": "enumeration"} | vf.exact.enumerate(ham, 0.7).to_json()
    assert main(["exact", "--neural", fitted, "--T0", "2.5", "--beta", "0.4"]) == 0
    assert "-2.5 ln p of MADE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--neural", "RUN"], "--neural needs --T0"),
        (["--T0", "2.5", *SQUARE], "--T0 belongs to --neural"),
        (["--neural", "RUN", "--T0", "2.5", *SQUARE], "--neural is a system itself"),
        (["--neural", "RUN", "--T0", "2.5", "--N", "9"], "--N needs --model"),
        (["--neural", "RUN", "--T0", "2.5", "--method", "tap"], "--method tap is for systems of pairs"),
        (["--neural", "RUN", "--T0", "2.5", "--method", "kaufman"], "--method kaufman is for systems of pairs"),
    ],
)
def test_exact_complaints(fitted, capsys, words, message):
    given = [fitted if word == "RUN" else word for word in words]
    assert main(["exact", "--beta", "0.4", *given]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_no_exact_method_for_many_sites(tmp_path, capsys):
    data = tmp_path / "data.npy"
    np.save(data, np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (50, 25)))
    assert main(["fit", str(data), "--hidden", "3", "--epochs", "1", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert main(["exact", "--neural", str(tmp_path / "run"), "--T0", "1", "--beta", "1"]) == 2
    err = capsys.readouterr().err
    assert err == (
        "vanfast exact: no exact method for this system (enumeration takes at most 24 sites, this Hamiltonian has 25)\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--neural", "RUN"], "--neural needs --T0"),
        (["--T0", "2.5", *SQUARE], "--T0 belongs to --neural"),
        (["--neural", "nowhere", "--T0", "2.5"], "no run in nowhere"),
        (["--neural", "RUN", "--T0", "-1"], "--T0"),
        (["--neural", "RUN", "--T0", "2.5", "--L", "4"], "shape (4, 4) has 16 sites, but net has 9"),
        (["--neural", "RUN", "--T0", "2.5", "--model", "sk", "--N", "8"], "shape (8,) has 8 sites, but net has 9"),
        (["--neural", "RUN", "--T0", "2.5", "--N", "9"], "--N needs --model"),
        (["--neural", "RUN", "--T0", "2.5", "--algorithm", "wolff"], "Neural has no pair couplings"),
        (["--neural", "RUN", "--T0", "2.5", "--kernel", "planes"], "Neural has no pair couplings"),
    ],
)
def test_complaints(fitted, capsys, words, message):
    given = [fitted if word == "RUN" else word for word in words]
    assert main(["mcmc", "--beta", "0.4", *given]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
