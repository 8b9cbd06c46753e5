"""`vanfast fit`: from a file to samples, resuming, and complaints of one line that leave nothing behind."""

import json
import os
import signal

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.stopping import stopped
from vanfast.cli import main
from vanfast.training import load_fit


def call(capsys, *words):
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def file(known, tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, spins=known.samples(900))
    return path


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_from_a_file_to_samples(capsys, known, file, tmp_path):
    words = ("fit", file, "--hidden", 12, "--epochs", 4, "--batch", 90, "--lr", 0.01, "--seed", 3, "-o", tmp_path / "r")
    code, out, _ = call(capsys, *words, "--json")
    values = json.loads(out)
    assert code == 0
    assert (values["network"], values["epochs"], values["steps"], values["num_samples"]) == ("MADE", 4, 36, 810)
    expected = vf.fit(
        vf.networks.MADE(9, hidden=(12,), seed=3), known.samples(900), epochs=4, batch=90, learning_rate=0.01, seed=3
    )
    run = load_fit(tmp_path / "r")
    assert same(run.net, expected.net)
    assert values["validation_loss"] == expected.best_loss == run.best_loss
    assert values["loss"] == expected.history[-1].loss
    sampled = tmp_path / "s.npz"
    assert call(capsys, "sample", tmp_path / "r", "--num", 50, "--seed", 2, "-o", sampled)[0] == 0
    found = vf.store.load_samples(sampled)
    assert torch.equal(found.spins, vf.Sampler(expected.net).sample(50, seed=2).spins)
    assert found.energy is None
    code, out, _ = call(capsys, "fit", sampled, "--validation", file, "--epochs", 1, "-o", tmp_path / "again")
    assert code == 0
    assert "validation data, best epoch" in out


def test_resuming_takes_over_the_stored_settings(capsys, file, tmp_path):
    options = ("--net", "dense", "--depth", 2, "--batch", 100, "--schedule", "plateau", "--validation", 0.2, "--quiet")
    assert call(capsys, "fit", file, *options, "--epochs", 6, "-o", tmp_path / "whole")[0] == 0
    assert call(capsys, "fit", file, *options, "--epochs", 2, "-o", tmp_path / "cut")[0] == 0
    code, _, err = call(capsys, "fit", file, *options, "--epochs", 2, "-o", tmp_path / "cut")
    assert code == 2
    assert "already holds a run" in err
    assert call(capsys, "fit", file, "--resume", "--epochs", 4, "-o", tmp_path / "cut", "--quiet")[0] == 0
    assert call(capsys, "fit", file, *options, "--resume", "--epochs", 6, "-o", tmp_path / "cut", "--quiet")[0] == 0
    assert same(load_fit(tmp_path / "cut").net, load_fit(tmp_path / "whole").net)
    code, _, err = call(capsys, "fit", file, "--resume", "--lr", 0.5, "-o", tmp_path / "cut")
    assert code == 2
    assert "learning_rate of the stored run is 0.001, asked for 0.5" in err


def test_validation_from_a_file_is_asked_for_again(capsys, file, tmp_path):
    words = ("fit", file, "-o", tmp_path / "r", "--quiet", "--epochs")
    assert call(capsys, *words, 1, "--validation", file)[0] == 0
    code, _, err = call(capsys, *words, 2, "--resume")
    assert code == 2
    assert "give it again, --validation FILE" in err
    assert call(capsys, *words, 2, "--resume", "--validation", file)[0] == 0


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["--net", "pixelcnn", "--L", "3", "--depth", "2", "--width", "3", "--z2"], "PixelCNN"),
        (["--net", "pixelcnn", "--shape", "1x9", "--depth", "1"], "PixelCNN"),
        (["--net", "mixture", "--components", "2"], "BernoulliMixture"),
        (["--net", "factorised"], "Factorised"),
        (["--net", "sk", "--learn-couplings", "--k", "0"], "SK"),
        (["--net", "sk", "--model", "ising-square", "--L", "3", "--beta", "0.3"], "SK"),
        (["--net", "one-parameter", "--model", "curie-weiss", "--N", "9"], "OneParameter"),
        (["--model", "ising-square", "--L", "3", "--patience", "0", "--clip-norm", "1"], "PixelCNN"),
    ],
)
def test_every_network(capsys, file, tmp_path, words, kind):
    code, out, _ = call(capsys, "fit", file, *words, "--epochs", 1, "-o", tmp_path / "r", "--json", "--threads", 1)
    assert code == 0
    assert json.loads(out)["network"] == kind
    assert type(load_fit(tmp_path / "r").net).__name__ == kind


def test_a_sample_set_knows_its_lattice_and_counts_weigh(capsys, known, tmp_path):
    path = tmp_path / "s.npz"
    with vf.store.SampleWriter(path, count=100, num_sites=9, seed=0, shape=(3, 3)) as writer:
        writer.write(torch.from_numpy(known.samples(100)), torch.zeros(100))
    assert call(capsys, "fit", path, "--net", "pixelcnn", "--epochs", 1, "-o", tmp_path / "a", "--quiet")[0] == 0
    assert load_fit(tmp_path / "a").net.shape == (3, 3)
    (tmp_path / "counts.txt").write_text("+-+ 94788\n--- 211725\n")
    words = ("fit", tmp_path / "counts.txt", "--epochs", 300, "--lr", 0.05, "-o", tmp_path / "b", "--json")
    values = json.loads(call(capsys, *words)[1])
    p = 94788 / (94788 + 211725)
    assert values["loss"] == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p), abs=0.01)


def test_ctrl_c_saves_and_resuming_is_exact(capsys, file, tmp_path):
    words = ["fit", str(file), "--batch", "50", "--patience", "0", "--threads", "1", "--quiet"]
    metrics = tmp_path / "cut" / "metrics.jsonl"
    command = [*words, "--epochs", "5000", "-o", tmp_path / "cut"]
    err = stopped(command, lambda: metrics.exists() and metrics.stat().st_size > 500, signal.SIGINT)
    assert f"of 85000; saved in {tmp_path / 'cut'}" in err
    epochs = load_fit(tmp_path / "cut").epoch + 2
    assert 2 < epochs < 5000
    assert call(capsys, "fit", file, "--resume", "-o", tmp_path / "cut", "--epochs", epochs, "--quiet")[0] == 0
    assert call(capsys, *words, "--epochs", epochs, "-o", tmp_path / "whole")[0] == 0
    assert same(load_fit(tmp_path / "cut").net, load_fit(tmp_path / "whole").net)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: -o/--out"),
        (["-o", "x", "--epochs", "0"], "--epochs: must be an integer >= 1, got '0'"),
        (["-o", "x", "--validation", "1"], "--validation: must be a number in [0, 1) or a file, got '1'"),
        (["-o", "x", "--validation", "nowhere.npz"], "or a file, got 'nowhere.npz'"),
        (["-o", "x", "--patience", "-1"], "--patience: must be an integer >= 0"),
        (
            ["-o", "x", "--net", "pixelcnn"],
            "--net pixelcnn needs a two-dimensional lattice, this system has shape (9,)",
        ),
        (["-o", "x", "--L", "4"], "a lattice 4x4 does not have the 9 spins of a sample"),
        (["-o", "x", "--L", "3", "--shape", "3x3"], "give either --L or --shape"),
        (["-o", "x", "--N", "9"], "--N needs --model or --couplings"),
        (["-o", "x", "--model", "sk", "--N", "8", "--net", "sk"], "has 9 spins and the system has 8 sites"),
        (["-o", "x", "--model", "sk", "--N", "9", "--net", "sk"], "--net sk starts from the system at --beta"),
        (["-o", "x", "--net", "sk", "--start", "physics"], "--start physics needs a system"),
        (["-o", "x", "--beta", "1"], "--beta belongs to the physics start of --net sk"),
        (["-o", "x", "--net", "made", "--depth", "2"], "--net made does not take --depth"),
        (["-o", "x", "--net", "one-parameter"], "is for --model curie-weiss"),
        (["-o", "x", "--precision", "tf32"], "tf32 exists on GPUs only"),
    ],
)
def test_complaints_leave_nothing_behind(capsys, file, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    before = os.listdir(tmp_path)
    code, out, err = call(capsys, "fit", "data.npz", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == before


def test_bad_data(capsys, tmp_path):
    np.savez(tmp_path / "moments.npz", magnetization=np.zeros(3), correlation=np.eye(3))
    (tmp_path / "bad.txt").write_text("1 -1 1\n1 2\n")
    for name, message in (
        ("moments.npz", "holds moments; a network is fitted to samples"),
        ("bad.txt", "bad.txt, line 2"),
        ("nowhere.npz", "no file"),
    ):
        code, _, err = call(capsys, "fit", tmp_path / name, "-o", tmp_path / "x")
        assert code == 2
        assert message in err
        assert not (tmp_path / "x").exists()
