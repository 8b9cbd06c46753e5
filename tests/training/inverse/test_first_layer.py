"""Couplings in the first layer of SK networks: what is free in them, how it is fixed, and that they are learnt."""

import json

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.cli import main
from vanfast.hamiltonians import Pairwise, SherringtonKirkpatrick
from vanfast.networks import SK
from vanfast.training.inverse import compare_couplings, learned_couplings, reconstruction_error


def free(num_sites):
    return Pairwise(np.zeros((num_sites, num_sites)))


def rescaled(net, factors):
    """Row l times c_l, and what reads it over c_l, in place."""
    c = torch.tensor(factors, dtype=net.dtype)
    _, l = net._pairs
    with torch.no_grad():
        net.first *= c
        net.direct /= c
        net.weight[:, :, 0] /= c[l, None]


@pytest.fixture(scope="module")
def fitted():
    """A network that knew nothing, fitted to 20,000 configurations of SK with N = 12, beta = 1; and the system."""
    ham = SherringtonKirkpatrick(12, seed=4)
    spins = vf.Sampler(vf.networks.ExactH2(ham, 1.0)).sample(20_000, seed=1).spins
    net = SK(free(12), 1.0, k=1, start="small", learn_couplings=True, seed=0)
    options = {"epochs": 25, "batch": 1000, "learning_rate": 0.02, "schedule": "cosine", "patience": None}
    vf.fit(net, spins, **options, progress=False, threads=1)
    return net, ham


def test_rows_are_free_up_to_a_factor():
    net = SK(SherringtonKirkpatrick(7, seed=2), 0.9, k=1, learn_couplings=True, dtype=torch.float64)
    states = vf.exact.states(7)
    before = net.log_prob(states).detach()
    was = learned_couplings(net)
    rescaled(net, [1.0, -2.0, 0.5, -1.0, 1.0, -0.1, 3.0])
    torch.testing.assert_close(net.log_prob(states).detach(), before, rtol=0, atol=1e-12)
    now = learned_couplings(net)
    assert was.flipped == 0
    assert now.signs.tolist() == [1, -1, 1, -1, 1, -1, 1]
    np.testing.assert_allclose(now.scaled(0.9), was.scaled(0.9), atol=1e-14)
    assert (now.direct[1:] > 0).all()
    np.testing.assert_allclose(np.abs(now.J), np.abs(now.raw))


def test_the_physics_start_has_the_couplings_of_its_system():
    ham = SherringtonKirkpatrick(9, seed=3)
    learned = learned_couplings(SK(ham, 1.3, learn_couplings=True, dtype=torch.float64))
    assert reconstruction_error(learned.J, ham) < 1e-12
    assert reconstruction_error(learned.scaled(1.3), ham) < 1e-12
    compared = learned.compare(ham)
    assert (compared.slope, compared.pearson, compared.signed_pearson) == pytest.approx((1, 1, 1))
    assert compared.intercept == pytest.approx(0, abs=1e-12)


def test_a_reference_fixes_signs_row_by_row():
    ham = SherringtonKirkpatrick(9, seed=3)
    net = SK(ham, 1.0, learn_couplings=True)
    signs = [1, -1, 1, 1, -1, -1, 1, 1, -1]
    with torch.no_grad():
        net.first *= torch.tensor(signs)  # without what reads them: only the reference can tell
    learned = learned_couplings(net, ham)
    assert learned.rule == "reference"
    assert learned.signs.tolist() == signs
    assert learned.flipped == 4
    assert learned.compare(ham).signed_pearson == pytest.approx(1)
    assert learned_couplings(net).flipped == 0
    assert learned_couplings(net, ham.to_dense()).signs.tolist() == signs


def test_comparison_is_least_squares():
    rng = np.random.default_rng(0)
    a, b = (np.triu(rng.normal(size=(6, 6)), 1) for _ in range(2))
    a, b = a + a.T, b + b.T
    i, j = np.triu_indices(6, 1)
    slope, intercept = np.polyfit(np.abs(b[i, j]), np.abs(a[i, j]), 1)
    found = compare_couplings(a, b)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))
    assert found.pearson == pytest.approx(np.corrcoef(np.abs(a[i, j]), np.abs(b[i, j]))[0, 1])
    assert found.signed_pearson == pytest.approx(np.corrcoef(a[i, j], b[i, j])[0, 1])
    assert compare_couplings(-a, b).signed_pearson == pytest.approx(-found.signed_pearson)
    constant = np.ones((6, 6)) - np.eye(6)
    assert all(np.isnan(value) for value in compare_couplings(a, constant).to_json().values())


def test_couplings_are_learnt_from_configurations(fitted):
    net, ham = fitted
    learned = learned_couplings(net)
    assert learned.compare(ham).signed_pearson > 0.9
    assert learned.compare(ham).pearson > 0.9
    assert abs(compare_couplings(learned.raw, ham).signed_pearson) < 0.8  # signs are not those of the system by luck
    assert learned.signs[2:].tolist() == learned_couplings(net, ham).signs[2:].tolist()
    scaled = compare_couplings(learned.scaled(1.0), ham)
    assert scaled.signed_pearson > 0.95
    assert scaled.slope == pytest.approx(1, abs=0.15)


def test_what_does_not_fit_is_refused():
    ham = SherringtonKirkpatrick(5, seed=1)
    net = SK(ham, 1.0, learn_couplings=True)
    with pytest.raises(TypeError, match=r"net must be a vanfast\.networks\.SK, got Dense"):
        learned_couplings(vf.networks.Dense(4))
    with pytest.raises(ValueError, match="learn_couplings = False"):
        learned_couplings(SK(ham, 1.0))
    with pytest.raises(ValueError, match="reference has 4 spins and the couplings compared have 5"):
        learned_couplings(net, np.zeros((4, 4)))
    with pytest.raises(ValueError, match="truth has 4 spins"):
        learned_couplings(net).compare(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="at least 3"):
        compare_couplings(np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="beta"):
        learned_couplings(net).scaled(0)


def call(capsys, *words):
    capsys.readouterr()
    code = main(["couplings", *(str(word) for word in words)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def directory(tmp_path):
    """A fit of two epochs in run, and its system in truth.txt."""
    ham = SherringtonKirkpatrick(8, seed=2)
    spins = vf.Sampler(vf.networks.ExactH2(ham, 1.0)).sample(500, seed=1).spins
    net = SK(free(8), 1.0, start="small", learn_couplings=True, seed=0)
    vf.fit(net, spins, epochs=2, out=tmp_path / "run", progress=False)
    vf.fit(vf.networks.MADE(8, hidden=(3,)), spins, epochs=1, out=tmp_path / "made", progress=False)
    vf.hamiltonians.save(ham, tmp_path / "truth.txt")
    return tmp_path


def test_the_command_line_prints_writes_and_draws(capsys, directory):
    run, truth = directory / "run", directory / "truth.txt"
    learned = learned_couplings(vf.load(run))
    known = vf.hamiltonians.load(truth)
    words = ("--truth", truth, "--beta", 1, "--plot", directory / "p.png", "-o", directory / "J.txt", "--json")
    code, out, _ = call(capsys, run, *words)
    values = json.loads(out)
    assert code == 0
    np.testing.assert_allclose(values["J"], learned.J)
    np.testing.assert_allclose(values["scaled"], learned.scaled(1.0))
    assert values["comparison"]["first layer"] == pytest.approx(learned.compare(known).to_json())
    assert values["reconstruction_error"] == pytest.approx(reconstruction_error(learned.scaled(1.0), known))
    np.testing.assert_allclose(vf.hamiltonians.load(directory / "J.txt").to_dense(), learned.scaled(1.0), atol=1e-12)
    assert (directory / "p.png").read_bytes()[:4] == b"\x89PNG"
    code, out, _ = call(capsys, run, "--truth", truth, "--signs", "truth")
    assert f"{learned_couplings(vf.load(run), known).flipped} of 7 rows flipped by truth" in out
    code, out, _ = call(capsys, run)
    assert code == 0
    assert f"{learned.flipped} of 7 rows flipped by direct" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["made"], "net must be a vanfast.networks.SK, got MADE"),
        (["nowhere"], "no run in"),
        (["run", "--plot", "p.png"], "--plot needs --truth"),
        (["run", "--signs", "truth"], "--signs truth needs --truth"),
        (["run", "--truth", "truth.txt", "--plot", "p.gif"], "--plot must end in .png, .pdf or .svg"),
        (["run", "-o", "no/where.txt"], "no directory no"),
        (["run", "--beta", "0"], "--beta: must be a number > 0"),
    ],
)
def test_complaints_leave_nothing_behind(capsys, directory, monkeypatch, words, message):
    monkeypatch.chdir(directory)
    before = {*directory.iterdir()}
    code, out, err = call(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert {*directory.iterdir()} == before
