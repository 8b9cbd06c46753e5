"""`vanfast reproduce`: small experiments from end to end, stopped and resumed, and what is refused."""

import json
import math
import signal

import numpy as np
import pytest

from tests.stopping import stopped
from vanfast.cli import main
from vanfast.errors import FileFormatError
from vanfast.exact import enumerate, kaufman, states
from vanfast.hamiltonians import IsingSquare
from vanfast.reproduce import nnsm
from vanfast.reproduce.nnsm.curves import CURVES
from vanfast.reproduce.nnsm.distributions import compare
from vanfast.reproduce.nnsm.experiment import key_of

SMALL = {
    "L": 4,
    "temperatures": (2.0, 2.5, 3.5),
    "samples": 4000,
    "hidden": (24,),
    "epochs": 25,
    "batch": 100,
    "learning_rate": 5e-3,
    "chains": 200,
    "sweeps": 20,
    "burn_in": 20,
    "thin": 5,
    "seed": 3,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Spins and sums of blocks of the 4x4 ferromagnet."""
    out = tmp_path_factory.mktemp("nnsm")
    curves = ("spins", "stride-2", "spins-direct")
    return nnsm.reproduce(out, nnsm.Settings(**SMALL, curves=curves), threads=1, progress=False)


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_true_curves_are_kaufmans(done):
    for T, point in done.results["truth"].items():
        energy = kaufman(4, 1 / float(T)).energy / 16
        assert abs(point["energy_per_site"] - energy) < 4 * point["energy_per_site_error"]
        # blocks at stride 2 tile the lattice
        assert point["abs_magnetization_stride_2"] == pytest.approx(point["abs_magnetization"], abs=1e-12)
        assert point["abs_magnetization_stride_1"] != pytest.approx(point["abs_magnetization"], abs=1e-6)


def ideal_magnetization(name, T):
    """<|m|> of p(S)^(T0 / T) where p is the exact distribution at T0 of what is measured of the 4x4 ferromagnet: what a
    network that had learnt it perfectly would predict. For sums it is not the truth: p(S) counts the spins behind S."""
    spins = states(16)
    weight = enumerate(IsingSquare(4), 1 / 2.5, log_prob=True).log_prob
    observed, index = np.unique(CURVES[name].observe(spins, 4), axis=0, return_inverse=True)
    p = np.bincount(index.reshape(-1), weights=np.exp(weight))
    tempered = p ** (2.5 / T)
    return np.average(np.abs(CURVES[name].magnetization(observed)), weights=tempered)


@pytest.mark.parametrize("name", ["spins", "stride-2", "spins-direct"])
def test_networks_predict_other_temperatures(done, name):
    curve = done.results["curves"][name]
    assert len(curve["points"]) == 3
    gaps = []
    for T, point in curve["points"].items():
        assert abs(point["abs_magnetization"] - ideal_magnetization(name, float(T))) < 0.05
        gaps.append(abs(point["abs_magnetization"] - done.results["truth"][T]["abs_magnetization"]))
        if CURVES[name].stride is None:
            assert gaps[-1] < 0.06
            assert abs(point["energy_per_site"] - done.results["truth"][T]["energy_per_site"]) < 0.1
    # the temperatures differ by far more than what is allowed
    ends = [done.results["truth"][T]["abs_magnetization"] for T in ("2", "3.5")]
    assert ends[0] - ends[1] > 0.3
    distances = done.results["distances"][name]
    assert distances["abs_magnetization_largest"] == max(gaps)
    assert distances["abs_magnetization_mean"] == pytest.approx(np.mean(gaps))


def test_the_loss_is_held_against_the_entropy(done):
    fit = done.results["curves"]["spins"]["fit"]
    assert fit["entropy"] == kaufman(4, 1 / 2.5).entropy
    assert -0.3 < fit["validation_loss"] - fit["entropy"] < 0.3
    assert fit["hidden"] == [24]
    assert done.results["curves"]["spins-direct"]["fit"]["hidden"] == []
    assert "entropy" not in done.results["curves"]["stride-2"]["fit"]


def test_distributions_at_the_learnt_temperature(done):
    for name, kinds in (("spins", ("true", "learnt")), ("stride-2", ("learnt",))):
        energies = done.results["curves"][name]["energies"]
        assert sorted(energies) == sorted(kinds)
        for kind in kinds:
            found = energies[kind]
            assert sum(found["measured"]) == pytest.approx(1)
            assert sum(found["drawn"]) == pytest.approx(1)
            # 1.36 sqrt(2 / 4000) = 0.03 is what equal distributions stay below 19 times out of 20
            assert found["kolmogorov"] < 0.08
    true = done.results["curves"]["spins"]["energies"]["true"]
    assert true["measured_mean"] / 16 == pytest.approx(kaufman(4, 1 / 2.5).energy / 16, abs=0.03)


def test_figures_are_written(done):
    for name in ("figure3.png", "figure4.png"):
        assert (done.out / name).read_bytes().startswith(b"\x89PNG")
    assert all(path.exists() for path in done.files)


def test_a_stopped_run_goes_on_and_curves_may_be_added(done, tmp_path, capsys):
    words = ["reproduce", "nnsm", "--threads", "2", "--temperatures", "2", "2.5", "3.5"]
    for name, value in SMALL.items():
        if name != "temperatures":
            option = "lr" if name == "learning_rate" else name.replace("_", "-")
            words += [f"--{option}", str(value[0] if isinstance(value, tuple) else value)]

    def far_enough():
        path = tmp_path / "results.json"
        return path.exists() and "3.5" in json.loads(path.read_text())["curves"].get("spins", {}).get("points", {})

    curves = ["--curves", "spins", "spins-direct"]
    stopped([*words, *curves, "-o", tmp_path, "--quiet"], far_enough, signal.SIGINT)
    assert main([*words, "--curves", "spins", "-o", str(tmp_path), "--quiet"]) == 0
    assert main([*words, "--curves", "stride-2", "-o", str(tmp_path)]) == 0
    tables = capsys.readouterr().out
    assert "|m|, learnt at T = 2.5" in tables
    assert "Distances from the true curves" in tables
    assert main([*words, *curves, "-o", str(tmp_path), "--json"]) == 0
    found = results_of(tmp_path)
    assert json.loads(capsys.readouterr().out) == found
    assert found == results_of(done.out)


def test_what_a_directory_holds_decides(done, tmp_path):
    with pytest.raises(ValueError, match=r"samples = 5000, but the experiment in .* has samples = 4000"):
        nnsm.reproduce(done.out, nnsm.Settings(**SMALL | {"samples": 5000}))
    (tmp_path / "results.json").write_text('{"experiment": "another"}')
    with pytest.raises(FileFormatError, match="holds no results of this experiment"):
        nnsm.reproduce(tmp_path, nnsm.Settings(**SMALL))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"L": 5}, "L must be even"),
        ({"L": 4.0}, "L must be an integer"),
        ({"samples": 3}, "samples must be an integer >= 20"),
        ({"thin": 3}, "thin = 3 must divide sweeps = 20"),
        ({"T0": 0.0}, "T0 must be a finite number > 0"),
        ({"temperatures": ()}, "temperatures must be at least one"),
        ({"temperatures": (2.0, math.inf)}, "temperatures must be"),
        ({"curves": ("spins", "stride-3")}, "curves must be some of spins, stride-1"),
        ({"hidden": (0,)}, "hidden must be an integer >= 1"),
        ({"seed": -1}, "seed must be an integer in"),
    ],
)
def test_settings_out_of_range(tmp_path, change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        nnsm.reproduce(tmp_path / "new", nnsm.Settings(**SMALL | change))
    assert not (tmp_path / "new").exists()


def test_what_curves_measure():
    spins = 2 * np.random.default_rng(1).integers(0, 2, (50, 36), dtype=np.int8) - 1
    for name, curve in CURVES.items():
        observed = curve.observe(spins, 6)
        assert observed.shape == (50, math.prod(curve.lattice(6))), name
        assert curve.network(6, (8,), 0).num_sites == observed.shape[1]
        assert curve.magnetization(curve.ordered(6)) == 1
        assert curve.magnetization(curve.observe(-np.ones((1, 36), np.int8), 6)) == -1
    for name in ("spins", "stride-2"):
        np.testing.assert_allclose(CURVES[name].magnetization(CURVES[name].observe(spins, 6)), spins.mean(1))
    inner = spins.reshape(50, 6, 6)
    sums = inner[:, 1:, 1:] + inner[:, :-1, 1:] + inner[:, 1:, :-1] + inner[:, :-1, :-1]
    stride_1 = CURVES["stride-1"]
    np.testing.assert_allclose(stride_1.magnetization(stride_1.observe(spins, 6)), sums.mean((1, 2)) / 4)


def test_energies_beside_each_other():
    found = compare(np.array([-4.0, -4.0, 0.0, 4.0]), np.array([-4.0, 0.0, 0.0, 8.0]))
    assert found["kolmogorov"] == 0.25
    assert found["measured"] == [0.5, 0.25, 0.25, 0]
    assert found["drawn"] == [0.25, 0.5, 0, 0.25]
    assert found["edges"] == [-6, -2, 2, 6, 10]
    assert (found["measured_mean"], found["drawn_mean"]) == (-1, 1)
    assert compare(np.zeros(3), np.zeros(2))["kolmogorov"] == 0
    many = np.random.default_rng(0).normal(size=5000)
    apart = compare(many, many + 10)
    assert apart["kolmogorov"] == pytest.approx(1, abs=1e-3)
    assert len(apart["edges"]) == 61
    assert sum(apart["measured"]) == pytest.approx(1)


def test_temperatures_keep_their_digits():
    assert [key_of(T) for T in (2.0, 2.5, 1.75)] == ["2", "2.5", "1.75"]
    close = [2.2691853142130221, 2.26918531]
    assert [float(key_of(T)) for T in close] == close
    assert key_of(close[0]) != key_of(close[1])
