"""`vanfast inverse`: values, files, figures, and complaints that leave nothing behind."""

import json
import sys

import numpy as np
import pytest

import vanfast as vf
from vanfast.cli import main

VALUES = [0.0997578, 0.2011192, 0.2999732]


def call(capsys, *words):
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    code = main(["inverse", *(str(word) for word in words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_json_of_the_outside_check(capsys, counts_file):
    code, out, _ = call(capsys, counts_file, "--method", "plm", "mle", "--json")
    results = json.loads(out)["results"]
    assert code == 0
    assert [result["method"] for result in results] == ["plm", "mle"]
    for result in results:
        np.testing.assert_allclose(np.array(result["J"])[[0, 0, 1], [1, 2, 2]], VALUES, atol=5e-8)
        np.testing.assert_allclose(result["h"], [-0.000561, 0.000265, -0.001309], atol=5e-7)
        assert result["reconstruction_error"] is None


def test_couplings_are_written_and_read_as_truth(capsys, counts_file, tmp_path):
    out = tmp_path / "couplings.txt"
    assert call(capsys, counts_file, "--method", "mle", "--beta", 0.5, "-o", out)[0] == 0
    ham = vf.hamiltonians.load(out)
    np.testing.assert_allclose(ham.couplings, np.array(VALUES) / 0.5, atol=1e-7)
    code, text, _ = call(capsys, counts_file, "--method", "mle", "--beta", 0.5, "--truth", out, "--json")
    assert code == 0
    assert json.loads(text)["reconstruction_error"] < 1e-12
    code, text, _ = call(capsys, counts_file, "--method", "nmf", "bethe", "--beta", 0.5, "--truth", out)
    assert "Δ_J" in text
    assert "bethe" in text
    expected = np.linalg.norm(vf.training.inverse_ising(counts_file, "nmf", 0.5).J - ham.to_dense()) / 3
    assert f"{expected:.4g}" in text


def test_van(capsys, counts_file):
    options = ("--method", "van", "--max-steps", 5, "--batch", 50, "--moment-batch", 80, "--seed", 3, "--json")
    code, out, err = call(capsys, counts_file, *options)
    result = json.loads(out)
    assert code == 0
    assert "van stopped before it was converged" in err
    assert [step["step"] for step in result["history"]] == list(range(5))
    again = json.loads(call(capsys, counts_file, *options)[1])
    assert again["J"] == result["J"]


def test_scatter_plot(capsys, counts_file, tmp_path):
    pytest.importorskip("matplotlib")
    truth, plot = tmp_path / "truth.txt", tmp_path / "scatter.png"
    truth.write_text("0 1 0.1\n0 2 0.2\n1 2 0.3\n")
    assert call(capsys, counts_file, "--method", "mle", "nmf", "--truth", truth, "--plot", plot)[0] == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "magic"], "invalid choice: 'magic'"),
        (["--method", "mle", "nmf", "-o", "{tmp}/out.txt"], "-o takes the couplings of one method"),
        (["--method", "mle", "--plot", "{tmp}/p.png"], "--plot needs --truth"),
        (["--method", "mle", "-o", "{tmp}/none/out.txt"], "no directory"),
        (["--method", "mle", "--truth", "{data}", "--plot", "{tmp}/p.bmp"], "--plot must end in"),
        (["--method", "mle", "--seed", "3"], "--seed belongs to --method van"),
        (["--method", "mle", "--beta", "0"], "--beta: must be a number > 0"),
        (["--method", "mle", "--truth", "{tmp}/none.txt"], "none.txt"),
        (["--method", "mle", "--l1", "0.1"], "--l1 belongs to --method plm"),
        (["--method", "plm", "--regularizer", "0.1"], "--regularizer fits no method but"),
        (["--method", "mle", "-o", "{tmp}/out.npy"], "not as .npy"),
        (["--method", "mle", "-o", "{tmp}"], "is a directory"),
        (["{tmp}/none.txt", "--moment-batch", "20"], "moment_batch must be a multiple of 8, got 20"),
    ],
)
def test_complaints_leave_nothing_behind(capsys, counts_file, tmp_path, words, message):
    before = sorted(tmp_path.iterdir())
    words = [word.format(tmp=tmp_path, data=counts_file) for word in words]
    code, out, err = call(capsys, *([] if "none.txt" in words[0] else [counts_file]), *words)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_bad_data(capsys, tmp_path):
    code, _, err = call(capsys, tmp_path / "none.txt")
    assert (code, "no file" in err) == (2, True)
    data = tmp_path / "constant.txt"
    data.write_text("1 1 -1\n1 -1 1\n1 1 1\n1 -1 -1\n")
    code, _, err = call(capsys, data, "--method", "mle", "-o", tmp_path / "out.txt")
    assert code == 2
    assert "constant in all data: spin 0" in err
    assert not (tmp_path / "out.txt").exists()


def test_the_truth_must_fit(capsys, counts_file, tmp_path):
    truth = tmp_path / "truth.txt"
    truth.write_text("0 5 1.0\n")
    code, _, err = call(capsys, counts_file, "--method", "mle", "--truth", truth)
    assert code == 2
    assert "truth.txt" in err


def test_methods_without_an_answer_do_not_take_the_others_along(capsys, tmp_path):
    data, out = tmp_path / "data.npz", tmp_path / "out.txt"
    spins = np.random.default_rng(0).choice([-1, 1], size=(300, 21))
    np.savez(data, spins=spins)
    code, text, err = call(capsys, data, "--method", "nmf", "mle", "bethe", "--json")
    results = json.loads(text)["results"]
    assert code == 0
    assert [result["method"] for result in results] == ["nmf", "mle", "bethe"]
    assert results[1]["error"] == "method 'mle' enumerates at most 20 spins, the data have 21; use 'plm' or 'van'"
    np.testing.assert_allclose(results[2]["J"], vf.training.inverse_ising(spins, "bethe").J)
    assert err == f"vanfast inverse: warning: mle gave nothing: {results[1]['error']}\n"
    code, text, _ = call(capsys, data, "--method", "nmf", "mle")
    assert (code, "nmf" in text, "mle" in text) == (0, True, False)
    for methods in (["mle"], ["mle", "mle"]):
        code, text, err = call(capsys, data, "--method", *methods)
        assert (code, text, "21" in err.splitlines()[-1]) == (2, "", True)
    assert call(capsys, data, "--method", "mle", "-o", out)[0] == 2
    assert not out.exists()


def test_a_figure_that_cannot_be_drawn_is_told_before_the_work(capsys, counts_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("vanfast.cli.inverse.load_data", lambda path: pytest.fail("read the data"))
    code, out, err = call(capsys, counts_file, "--method", "mle", "--truth", "t", "--plot", tmp_path / "p.png")
    assert (code, out, "needs matplotlib" in err) == (1, "", True)


def test_the_line_on_a_terminal_is_wiped_out(capsys, counts_file, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    options = ("--max-steps", 51, "--batch", 50, "--moment-batch", 80)
    code, out, err = call(capsys, counts_file, *options)
    lines = err.split("\r")
    assert code == 0
    assert lines[1].startswith("step 0: moments differ by")
    assert lines[2].startswith("step 50: ")
    assert lines[3].isspace()
    assert len(lines[3]) == len(lines[2].rstrip())
    assert out.startswith("3 spins")
