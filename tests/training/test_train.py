"""Training runs: they find known free energies, and resume bit for bit wherever they were stopped."""

import json
import math
import os
import signal
import threading

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.errors import FileFormatError
from vanfast.hamiltonians import CurieWeiss, EdwardsAnderson, IsingSquare, Pairwise
from vanfast.networks import Dense, PixelCNN
from vanfast.training import TrainingInterrupted, load_run, read_metrics

OPTIONS = {"steps": 24, "batch": 40, "seed": 5, "backend": "reference", "progress": False}
# settings that touch every part of the state: moments, schedule, annealing, ladder
VARIANTS = {
    "plain": {},
    "plateau": {"schedule": {"name": "plateau", "patience": 2, "window": 2}, "learning_rate": 0.05},
    "cosine-annealed": {"schedule": "cosine", "anneal": 0.8},
    "ladder": {"beta": (0.2, 0.3, 0.5), "steps": (8, 6, 10), "anneal": 0.5, "micro_batch": 17},
    "no-clip": {"clip_norm": None, "betas": (0.5, 0.9)},
}


class Stop(Exception):
    pass


def system():
    return IsingSquare(shape=(2, 3), boundary="open")


def fresh(seed=1, z2=True):
    return PixelCNN(shape=(2, 3), depth=2, width=3, half_kernel=2, z2=z2, seed=seed)


def train(net, ham=None, **changes):
    options = {"beta": 0.4, **OPTIONS, **changes}
    return vf.train(net, system() if ham is None else ham, options.pop("beta"), **options)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def stop_after(step, kind=Stop):
    def callback(record):
        if record.step == step:
            if kind is Stop:
                raise Stop
            os.kill(os.getpid(), kind)

    return callback


def timeless(history):
    return [{k: v for k, v in vars(r).items() if not k.endswith("seconds")} for r in history]


@pytest.fixture(scope="module")
def uninterrupted():
    """The whole runs of all variants."""
    return {name: train(fresh(), **changes) for name, changes in VARIANTS.items()}


@pytest.mark.parametrize("stopped", [0, 10, 13, 22])
@pytest.mark.parametrize("variant", VARIANTS)
def test_resuming_is_exact(tmp_path, uninterrupted, variant, stopped):
    changes, whole = VARIANTS[variant], uninterrupted[variant]
    with pytest.raises(Stop):
        train(fresh(), **changes, out=tmp_path, checkpoint_every=4, callback=stop_after(stopped))
    assert load_run(tmp_path).step == stopped + 1 - (stopped + 1) % 4
    run = train(fresh(seed=99), **changes, out=tmp_path, resume=True, checkpoint_every=4)
    assert same(run.net, whole.net)
    assert repr(timeless(run.history)) == repr(timeless(whole.history))
    assert [record.step for record in read_metrics(tmp_path / "metrics.jsonl")] == list(range(24))
    assert same(vf.load(tmp_path), whole.net)
    stored = load_run(tmp_path)
    assert same(stored.net, whole.net)
    assert stored.finished
    assert stored.free_energy == pytest.approx(whole.free_energy, rel=1e-15)


def test_resuming_is_exact_on_the_default_backend(tmp_path):
    ham = EdwardsAnderson((5, 7), disorder="gaussian", seed=2)

    def net(seed):
        return PixelCNN(shape=(5, 7), depth=3, width=6, half_kernel=2, residual=True, z2=True, seed=seed)

    options = {"ham": ham, "backend": "auto", "batch": 150}
    whole = train(net(1), **options)
    with pytest.raises(Stop):
        train(net(1), **options, out=tmp_path, checkpoint_every=5, callback=stop_after(11))
    run = train(net(2), **options, out=tmp_path, resume=True, threads=1)
    assert same(run.net, whole.net)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_resuming_is_exact(tmp_path, signum):
    before = signal.getsignal(signum)
    whole = train(fresh())
    with pytest.raises(TrainingInterrupted, match=r"stopped after step \d+ of 24; saved in") as caught:
        train(fresh(), out=tmp_path, callback=stop_after(9, signum))
    assert caught.value.signum == signum
    assert caught.value.run.step == load_run(tmp_path).step < 24
    assert signal.getsignal(signum) == before
    assert same(train(fresh(3), out=tmp_path, resume=True).net, whole.net)


def test_a_signal_without_a_directory_keeps_the_run(tmp_path):
    with pytest.raises(TrainingInterrupted, match="nothing was saved") as caught:
        train(fresh(), callback=stop_after(2, signal.SIGINT))
    assert len(caught.value.run.history) == caught.value.run.step


def test_training_works_outside_the_main_thread():
    results = []
    worker = threading.Thread(target=lambda: results.append(train(fresh(), steps=3)))
    worker.start()
    worker.join()
    assert results[0].step == 3


def test_more_steps_continue_a_finished_run(tmp_path):
    whole = train(fresh(), steps=30)
    train(fresh(), steps=24, out=tmp_path)
    assert same(train(fresh(), steps=30, out=tmp_path, resume=True).net, whole.net)
    with pytest.raises(ValueError, match="steps must be at least the 30 already done, got 10"):
        train(fresh(), steps=10, out=tmp_path, resume=True)


def test_resume_starts_where_nothing_is_stored(tmp_path):
    assert same(train(fresh(), out=tmp_path / "new", resume=True).net, train(fresh()).net)
    with pytest.raises(ValueError, match="resume needs out"):
        train(fresh(), resume=True)


def test_a_run_is_not_overwritten_or_mixed(tmp_path):
    train(fresh(), out=tmp_path)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(fresh(), out=tmp_path)
    with pytest.raises(ValueError, match="batch of the stored run is 40, asked for 41"):
        train(fresh(), batch=41, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="net differs"):
        train(fresh(z2=False), out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="net differs"):
        train(fresh().double(), out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="ham differs"):
        train(fresh(), IsingSquare(shape=(2, 3), boundary="open", coupling=0.5), out=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept


def test_a_hamiltonian_with_arrays_is_stored_and_compared(tmp_path):
    J = np.triu(np.random.default_rng(0).normal(size=(6, 6)), 1)
    ham, other = Pairwise(J + J.T), Pairwise(2 * (J + J.T))
    train(Dense(6, seed=1), ham, out=tmp_path)
    assert np.array_equal(load_run(tmp_path).hamiltonian.to_dense(), ham.to_dense())
    with pytest.raises(ValueError, match="ham differs"):
        train(Dense(6, seed=1), other, out=tmp_path, resume=True)


def test_a_float64_network_comes_back_as_float64(tmp_path):
    run = train(fresh().double(), out=tmp_path)
    stored = load_run(tmp_path)
    assert stored.net.dtype == torch.float64
    assert same(stored.net, run.net)


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    train(fresh(), out=tmp_path)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        train(fresh(), steps=30, out=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp") and "checkpoint" in name]


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_broken_checkpoint_is_named(tmp_path, content):
    train(fresh(), out=tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors: expected"):
        load_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="no run in"):
        load_run(tmp_path / "elsewhere")


def test_metrics_are_what_they_say(tmp_path):
    records = []
    run = train(fresh(), anneal=0.5, out=tmp_path, callback=records.append)
    assert records == run.history or repr(records) == repr(run.history)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["beta"] == 0.0
    assert lines[0]["free_energy_per_site"] is None
    assert math.isnan(run.history[0].free_energy_per_site)
    last = run.history[-1]
    assert last.free_energy_per_site == pytest.approx(last.energy_per_site - last.entropy_per_site / last.beta)
    assert last.loss == pytest.approx(6 * last.beta * last.free_energy_per_site)
    assert 0 < last.ess <= 1
    assert last.sample_seconds <= last.step_seconds


def test_metrics_tell_the_line_that_is_wrong(tmp_path):
    train(fresh(), steps=3, out=tmp_path)
    path = tmp_path / "metrics.jsonl"
    text = path.read_text()
    path.write_text(text + '{"step": 3, "be')
    assert len(read_metrics(path)) == 3
    path.write_text(text + "[1]\n")
    with pytest.raises(FileFormatError, match=r"metrics.jsonl:4: expected a JSON object"):
        read_metrics(path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ham": IsingSquare(L=3)}, ValueError, "ham has 9 sites and net has 6"),
        ({"ham": 3}, TypeError, r"ham must be a vanfast\.hamiltonians\.Hamiltonian, got int"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be an integer >= 1"),
        ({"batch": 0}, ValueError, "batch must be"),
        ({"beta": -1.0}, ValueError, "beta must be"),
        ({"backend": "gpu"}, ValueError, "backend"),
        ({"precision": "fp8"}, ValueError, "precision"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        train(fresh(), **changes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_annealing_that_stops_short_is_told():
    with pytest.warns(UserWarning, match=r"reaches beta = 0.018 of 0.4 in 24 steps"):
        train(fresh(), steps=24, anneal=0.998)


def test_divergence_is_told_and_the_checkpoint_stays(tmp_path):
    net = fresh()

    def poison(record):
        if record.step == 3:
            net.requires_grad_(False)
            next(net.parameters()).fill_(math.nan)

    with pytest.raises(FloatingPointError):
        train(net, out=tmp_path, checkpoint_every=2, callback=poison)
    assert load_run(tmp_path).step == 4


def test_training_finds_the_free_energy_of_small_systems():
    for ham, beta, net in (
        (CurieWeiss(8), 0.8, Dense(8, depth=2, width=2, z2=True, seed=1)),
        (
            EdwardsAnderson((2, 4), disorder="gaussian", seed=1, boundary="open"),
            0.7,
            PixelCNN(shape=(2, 4), depth=2, width=8, half_kernel=3, z2=True, seed=1),
        ),
    ):
        run = vf.train(net, ham, beta, steps=250, batch=300, learning_rate=0.01, anneal=0.95)
        spins = torch.tensor([[1 - 2 * (n >> k & 1) for k in range(8)] for n in range(256)], dtype=torch.int8)
        exact = -float(torch.logsumexp(-beta * ham.energy(spins), 0)) / beta
        assert exact - 0.02 < run.free_energy < exact + 0.2
        # it had a way to go: the start, uniform spins, is -N ln 2 / beta
        assert -8 * math.log(2) / beta > exact + 0.25
        assert run.history[-1].free_energy_std_per_site < 0.1
