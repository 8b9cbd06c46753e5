"""`vanfast evaluate` and `vanfast overlaps` of fits: the network alone, and weighed with a system."""

import json

import numpy as np
import pytest

import vanfast as vf
from tests.training.likelihood.conftest import BETA
from vanfast.cli import main
from vanfast.observables import effective_sample_size, log_weights, overlap_distribution
from vanfast.training import load_fit

SYSTEM = ["--model", "ising-square", "--L", "3"]


@pytest.fixture(scope="module")
def fitted(known, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "run"
    net = vf.networks.MADE(9, hidden=(12,), z2=True, seed=3)
    vf.fit(net, known.samples(3000), epochs=6, batch=100, learning_rate=0.01, out=out, progress=False)
    return str(out)


@pytest.fixture(scope="module")
def of_states(tmp_path_factory):
    out = tmp_path_factory.mktemp("states") / "run"
    data = np.random.default_rng(0).choice(3, (200, 4), p=[0.6, 0.3, 0.1]).astype(np.int8)
    vf.fit(vf.networks.CategoricalMADE(4, 3, hidden=(5,), seed=1), data, epochs=3, out=out, progress=False)
    return str(out)


def told(capsys, *words):
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_network_alone(fitted, capsys):
    values = told(capsys, "evaluate", fitted, "--num", "5000", "--seed", "4")
    run = load_fit(fitted)
    batch = vf.Sampler(run.net).sample(5000, seed=4)
    m = batch.spins.numpy().mean(1)
    for name, column in {
        "entropy_per_site": -batch.log_q.numpy() / 9,
        "magnetization": m,
        "abs_magnetization": np.abs(m),
        "magnetization_squared": m**2,
    }.items():
        assert values[name] == pytest.approx(column.mean(), rel=1e-9, abs=1e-12)
        assert values[f"{name}_error"] == pytest.approx(column.std(ddof=1) / np.sqrt(5000), rel=1e-9)
    assert values["validation_loss_per_site"] == run.best_loss / 9
    assert values["loss_per_site"] == run.history[-1].loss / 9
    assert (values["num_sites"], values["count"]) == (9, 5000)
    assert "log_z" not in values
    pieces = told(capsys, "evaluate", fitted, "--num", "5000", "--seed", "4", "--chunk", "77")
    for timed in (values, pieces):
        del timed["samples_per_second"]
    assert pieces == pytest.approx(values, rel=1e-9, abs=1e-12)
    assert main(["evaluate", fitted, "--num", "100"]) == 0
    shown = capsys.readouterr().out
    assert "MADE of" in shown
    assert "-<ln q>/N of the validation data" in shown
    assert told(capsys, "evaluate", fitted, "--num", "1")["magnetization_error"] is None


def test_weighed_with_a_system(fitted, known, capsys):
    values = told(capsys, "evaluate", fitted, *SYSTEM, "--beta", str(BETA), "--num", "20000")
    exact = vf.exact.enumerate(known.ham, BETA)
    assert values["exact_log_z"] == pytest.approx(exact.log_z, rel=1e-12)
    assert abs(values["log_z"] - exact.log_z) < 4 * values["log_z_error"]
    assert abs(values["unbiased_energy_per_site"] - exact.energy / 9) < 4 * values["unbiased_energy_per_site_error"]
    assert values["log_z_lower"] < exact.log_z
    batch = vf.Sampler(load_fit(fitted).net, known.ham).sample(20000, seed=1)
    ess = effective_sample_size(log_weights(batch.log_q, batch.energy, BETA))
    assert values["ess"] == pytest.approx(ess, rel=1e-9)
    assert ess > 15000
    assert main(["evaluate", fitted, *SYSTEM, "--beta", "0.2", "--num", "100"]) == 0
    assert "IsingSquare 3x3, 9 sites, 18 bonds, β = 0.2, 100 samples" in capsys.readouterr().out


def test_sites_of_states(of_states, capsys):
    values = told(capsys, "evaluate", of_states, "--num", "500")
    batch = vf.Sampler(load_fit(of_states).net).sample(500, seed=1)
    m = vf.observables.potts_spins(batch.spins, 4, 3).mean(1)
    assert values["abs_magnetization"] == pytest.approx(m.mean())
    weighed = told(capsys, "evaluate", of_states, "--num", "500", "--model", "potts", "--L", "2", "--beta", "0.3")
    ham = vf.hamiltonians.Potts(2, q=3)
    assert weighed["exact_log_z"] == vf.exact.enumerate_states(ham, 0.3).log_z
    assert main(["overlaps", of_states]) == 2
    assert "has sites of 3 states; overlaps are those of spins +-1" in capsys.readouterr().err


def test_overlaps(fitted, known, tmp_path, capsys):
    file = tmp_path / "q.npz"
    words = ["overlaps", fitted, "--num", "2000", "--seed", "5", "-o", str(file)]
    batch = vf.Sampler(load_fit(fitted).net, known.ham).sample(2000, seed=5)
    plain = overlap_distribution(batch.spins, 9, mirror=True)
    (row,) = told(capsys, *words)["results"]
    assert row.keys() == {"run", "count", "abs_q", "abs_q_error", "q_squared", "q_squared_error"}
    assert (row["q_squared"], row["q_squared_error"]) == plain.mean(plain.q**2)
    with np.load(file) as arrays:
        np.testing.assert_array_equal(arrays["probability"], [plain.probability])
        for name in ("beta", "energy", "unbiased_probability", "unbiased_error"):
            assert np.isnan(arrays[name]).all()
        np.testing.assert_array_equal(arrays["log_q"], [batch.log_q])
    (row,) = told(capsys, *words, *SYSTEM, "--beta", str(BETA))["results"]
    weighed = overlap_distribution(batch.spins, 9, log_weights(batch.log_q, batch.energy, BETA), mirror=True)
    assert (row["unbiased_q_squared"], row["unbiased_q_squared_error"]) == weighed.mean(weighed.q**2)
    with np.load(file) as arrays:
        np.testing.assert_array_equal(arrays["unbiased_probability"], [weighed.probability])
        np.testing.assert_array_equal(arrays["energy"], [batch.energy])
        assert arrays["beta"].tolist() == [BETA]
    assert main(["overlaps", fitted, "--num", "40"]) == 0
    assert "9 spins" in capsys.readouterr().out


def test_overlaps_of_a_fit_beside_a_training(fitted, known, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run = str(tmp_path / "run")
    vf.train(vf.networks.Dense(9, seed=0), known.ham, 0.2, steps=2, batch=20, out=run, progress=False)
    words = ["overlaps", run, fitted, "--num", "60", "--plot", str(tmp_path / "q.png")]
    both = told(capsys, *words, *SYSTEM, "--beta", "0.25")["results"]
    assert [row["beta"] for row in both] == [0.25, 0.25]
    assert all("unbiased_abs_q" in row for row in both)
    assert (tmp_path / "q.png").exists()
    assert main(words[:3] + words[3:5]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "IsingSquare 3x3" in lines[0]
    assert sum("–" in line for line in lines) == 1
    for command in ("evaluate", "overlaps"):
        assert main([command, run, *SYSTEM, "--beta", "0.25"]) == 2
        assert "has the system of its training" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "overlaps"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--beta", "1"], "is a fit: --beta goes with a system"),
        (SYSTEM, "is a fit: --beta goes with a system"),
        (["--L", "3", "--beta", "1"], "give either --model NAME or --couplings FILE"),
        (["--model", "sk", "--N", "8", "--beta", "1"], "ham has 8 sites and net has 9"),
        (["--model", "potts", "--L", "3", "--beta", "1"], "they must be alike"),
        (["--couplings", "nowhere.txt", "--beta", "1"], "nowhere.txt"),
    ],
)
def test_complaints(fitted, capsys, command, words, message):
    assert main([command, fitted, *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
