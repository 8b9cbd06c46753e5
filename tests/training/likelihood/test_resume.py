"""Fits that were stopped anywhere go on bit for bit; directories are not mixed up."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.errors import FileFormatError
from vanfast.networks import MADE, BernoulliMixture, PixelCNN
from vanfast.training import TrainingInterrupted, load_fit, load_run, read_metrics

# 95 samples, 9 held out: 5 steps an epoch
OPTIONS = {"epochs": 7, "batch": 20, "seed": 5, "patience": None, "learning_rate": 0.02, "progress": False}
VARIANTS = {
    "plain": {},
    "plateau": {"schedule": {"name": "plateau", "patience": 2, "window": 2}},
    "cosine": {"schedule": "cosine", "micro_batch": 7, "clip_norm": 0.1},
    "no-validation": {"validation": 0},
    "patience": {"learning_rate": 0.4, "patience": 2, "epochs": 30},
}


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def data(known):
    return known.samples(95)


def fresh(seed=1):
    return MADE(9, hidden=(12,), seed=seed)


def fit(data, net=None, **changes):
    return vf.fit(fresh() if net is None else net, data, **{**OPTIONS, **changes})


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def timeless(history):
    return repr([{k: v for k, v in vars(r).items() if k != "seconds"} for r in history])


def stop_after(epoch, what=Stop):
    def callback(record):
        if record.epoch == epoch:
            if what is Stop:
                raise Stop
            os.kill(os.getpid(), what)

    return callback


@pytest.fixture(scope="module")
def whole(data):
    return {name: fit(data, **changes) for name, changes in VARIANTS.items()}


@pytest.mark.parametrize("every", [1, 3, 4, 100])
@pytest.mark.parametrize("variant", VARIANTS)
def test_resuming_is_exact(tmp_path, data, whole, variant, every):
    """Stopped by force; what is taken up is the last checkpoint, in the middle of an epoch for most `every`."""
    changes = VARIANTS[variant]
    with pytest.raises(Stop):
        fit(data, **changes, out=tmp_path, checkpoint_every=every, callback=stop_after(3))
    steps = whole[variant].settings.steps_per_epoch
    assert load_fit(tmp_path).step == 3 * steps // every * every
    run = fit(data, fresh(seed=99), **changes, out=tmp_path, resume=True, checkpoint_every=every)
    assert same(run.net, whole[variant].net)
    assert timeless(run.history) == timeless(whole[variant].history)
    assert (run.best_epoch, repr(run.best_loss)) == (whole[variant].best_epoch, repr(whole[variant].best_loss))
    stored = load_fit(tmp_path)
    assert same(stored.net, run.net)
    assert timeless(stored.history) == timeless(run.history)
    assert same(vf.load(tmp_path), run.net)
    assert stored.finished
    assert stored.stopped_early == (variant == "patience")


@pytest.mark.parametrize(
    "net",
    [lambda seed: BernoulliMixture(9, 4, seed=seed), lambda seed: PixelCNN((3, 3), 2, 5, 2, z2=True, seed=seed)],
    ids=["mixture", "pixelcnn"],
)
def test_resuming_other_networks_is_exact(tmp_path, data, net):
    expected = fit(data, net(1), threads=1)
    with pytest.raises(Stop):
        fit(data, net(1), out=tmp_path, checkpoint_every=7, callback=stop_after(4), threads=3)
    assert same(fit(data, net(2), out=tmp_path, resume=True).net, expected.net)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_resuming_is_exact(tmp_path, data, whole, signum):
    before = signal.getsignal(signum)
    with pytest.raises(TrainingInterrupted, match=r"stopped after step \d+ of 35; saved in") as caught:
        fit(data, out=tmp_path, callback=stop_after(2, signum))
    assert caught.value.signum == signum
    assert caught.value.run.step == load_fit(tmp_path).step == 11  # the step after the one that was told of
    assert same(caught.value.run.net, load_fit(tmp_path).net)
    assert signal.getsignal(signum) == before
    assert same(fit(data, fresh(3), out=tmp_path, resume=True).net, whole["plain"].net)
    with pytest.raises(TrainingInterrupted, match="nothing was saved"):
        fit(data, callback=stop_after(2, signum))


def test_more_epochs_and_patience_continue_a_finished_run(tmp_path, data, whole):
    changes = VARIANTS["patience"]
    stopped = fit(data, **changes, out=tmp_path)
    assert stopped.stopped_early
    again = fit(data, fresh(4), **changes, out=tmp_path, resume=True)
    assert (again.step, timeless(again.history)) == (stopped.step, timeless(stopped.history))
    longer = fit(data, **{**changes, "patience": 4, "epochs": 40}, out=tmp_path, resume=True)
    expected = fit(data, **{**changes, "patience": 4, "epochs": 40})
    assert len(longer.history) > len(stopped.history)
    assert timeless(longer.history) == timeless(expected.history)
    assert same(longer.net, expected.net)


def test_a_run_is_not_overwritten_or_mixed(tmp_path, data, known):
    fit(data, out=tmp_path)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="already holds a run"):
        fit(data, out=tmp_path)
    for changes, message in (
        ({"batch": 21}, "batch of the stored run is 20, asked for 21: only patience and epochs may change"),
        ({"validation": 0.2}, "validation of the stored run is 0.1, asked for 0.2"),
        ({"validation": known.samples(40)}, "validation of the stored run is 0.1, asked for None"),
        ({"epochs": 3}, "epochs must be at least the 7 already done, got 3"),
        ({"net": MADE(9, hidden=(13,))}, "net differs"),
        ({"net": fresh().double(), "backend": "reference"}, "net differs from the stored run's in"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(data, out=tmp_path, resume=True, **changes)
    with pytest.raises(ValueError, match="data differ from those of the stored run"):
        fit(-data, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="data differ"):
        fit(data[:60], out=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept
    fit(data, schedule="cosine", out=tmp_path / "cosine")
    with pytest.raises(ValueError, match="epochs of the stored run is 7, asked for 8"):
        fit(data, schedule="cosine", epochs=8, out=tmp_path / "cosine", resume=True)


def test_the_two_kinds_of_runs_tell_each_other_apart(tmp_path, data, known):
    fit(data, out=tmp_path / "fit")
    vf.train(fresh(), known.ham, 0.3, steps=2, batch=10, out=tmp_path / "train", progress=False)
    with pytest.raises(FileFormatError, match="expected the checkpoint of a variational run, found a likelihood one"):
        load_run(tmp_path / "fit")
    with pytest.raises(FileFormatError, match="expected the checkpoint of a likelihood run, found a variational one"):
        load_fit(tmp_path / "train")
    with pytest.raises(FileFormatError, match="load_run reads it"):
        fit(data, out=tmp_path / "train", resume=True)
    with pytest.raises(FileNotFoundError, match="no run in"):
        load_fit(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match="expected a JSON object with step, beta"):
        read_metrics(tmp_path / "fit" / "metrics.jsonl")


def test_what_the_directory_holds(tmp_path, data):
    run = fit(data, validation=0, out=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 8))
    assert lines[0]["validation_loss"] is None
    assert math.isnan(load_fit(tmp_path).history[0].validation_loss)
    described = json.loads((tmp_path / "run.json").read_text())
    assert described["settings"]["epochs"] == 7
    assert described["network"] == run.net.config()
    (tmp_path / "checkpoint.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors: expected"):
        load_fit(tmp_path)


def test_a_damaged_header_is_named(tmp_path, data):
    from safetensors import safe_open
    from safetensors.torch import save_file

    fit(data, out=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(path, "pt") as file:
        header, tensors = json.loads(file.metadata()["vanfast"]), {k: file.get_tensor(k) for k in file.keys()}
    for change in ({"settings": {}}, {"network": {}}, {"best": {"epoch": 1}}):
        save_file(tensors, path, metadata={"vanfast": json.dumps({**header, **change})})
        with pytest.raises(FileFormatError, match="the checkpoint does not describe a fit"):
            load_fit(tmp_path)
    del header["data"]
    save_file(tensors, path, metadata={"vanfast": json.dumps(header)})
    with pytest.raises(FileFormatError, match="lacks 'data'"):
        load_fit(tmp_path)


def test_a_resumed_double_network_stays_double(tmp_path, data):
    run = fit(data, fresh().double(), backend="reference", out=tmp_path)
    assert load_fit(tmp_path).net.dtype == torch.float64
    assert same(load_fit(tmp_path).net, run.net)
    assert np.isfinite(run.best_loss)
