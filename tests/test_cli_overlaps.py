"""`vanfast overlaps`: the table, the file, the figure, and what is refused."""

import json

import numpy as np
import pytest

import vanfast as vf
from vanfast.cli import main
from vanfast.cli.overlaps import mode_shares
from vanfast.observables import log_weights, overlap_distribution, overlaps
from vanfast.training import load_run


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    out = tmp_path_factory.mktemp("hopfield")
    ham = vf.hamiltonians.Hopfield(vf.hamiltonians.orthogonal_patterns(2, 12))
    net = vf.networks.Dense(12, bias=False, seed=0)
    vf.train(net, ham, [0.3, 1.5], steps=60, batch=200, learning_rate=0.02, threads=1, out=out, progress=False)
    return [str(out / "beta-0.3"), str(out / "beta-1.5")]


def test_table_and_file_agree_with_the_library(ladder, tmp_path, capsys):
    file = tmp_path / "q.npz"
    assert main(["overlaps", *ladder, "--num", "3000", "--seed", "5", "-o", str(file), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    with np.load(file) as found:
        arrays = dict(found)
    assert [row["beta"] for row in rows] == arrays["beta"].tolist() == [0.3, 1.5]
    for k, (path, row) in enumerate(zip(ladder, rows, strict=True)):
        run = load_run(path)
        batch = vf.Sampler(run.net, run.hamiltonian).sample(3000, seed=5)
        weights = log_weights(batch.log_q, batch.energy, run.beta)
        for prefix, weight in (("", None), ("unbiased_", weights)):
            expected = overlap_distribution(batch.spins, 12, weight, mirror=True)
            np.testing.assert_array_equal(arrays[f"{prefix}probability"][k], expected.probability)
            np.testing.assert_array_equal(arrays[f"{prefix}error"][k], expected.error)
            estimate = expected.mean(expected.q**2)
            assert (row[f"{prefix}q_squared"], row[f"{prefix}q_squared_error"]) == estimate
        np.testing.assert_array_equal(arrays["overlaps"][k], overlaps(batch.spins, run.hamiltonian.patterns, 12))
        np.testing.assert_array_equal(arrays["log_q"][k], batch.log_q)
        np.testing.assert_array_equal(arrays["energy"][k], batch.energy)
    assert all(abs(share - 0.25) < 0.1 for share in rows[1]["modes"])


def test_modes_are_shared_out_by_the_nearest_pattern():
    overlap = np.array([[0.9, 0.1], [-0.9, 0.1], [0.2, 0.8], [0.5, -0.5], [0.0, 0.0]])
    assert mode_shares(overlap) == pytest.approx([1.75 / 5, 1.25 / 5, 1.25 / 5, 0.75 / 5])


def test_the_figure_and_the_table(ladder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "q.png"
    assert main(["overlaps", *ladder, "--num", "200", "--plot", str(figure)]) == 0
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "nearest to +1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num", "39"], "--num: must be an integer >= 40, got '39'"),
        (["-o", "q.txt"], "-o must end in .npz, got 'q.txt'"),
        (["--plot", "q.gif"], "--plot must end in .png, .pdf or .svg, got 'q.gif'"),
        (["--plot", "nowhere/q.png"], "no directory nowhere"),
        (["--bins", "0"], "--bins: must be an integer >= 1"),
    ],
)
def test_wrong_words_are_refused(ladder, words, message, capsys):
    assert main(["overlaps", *ladder, *words]) == 2
    assert message in capsys.readouterr().err


def test_systems_must_be_of_one_size(ladder, tmp_path, capsys):
    ham = vf.hamiltonians.CurieWeiss(5)
    vf.train(vf.networks.OneParameter(5), ham, 0.5, steps=1, batch=10, out=tmp_path / "a", progress=False)
    assert main(["overlaps", ladder[0], str(tmp_path / "a"), "--num", "50"]) == 2
    assert "has 5 spins" in capsys.readouterr().err
