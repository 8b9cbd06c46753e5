"""Fits find known distributions; their gradient is autograd's; what stops them and what is refused."""

import copy
import math

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.training.likelihood.conftest import BETA
from vanfast.hamiltonians import CurieWeiss, SherringtonKirkpatrick
from vanfast.networks import MADE, SK, BernoulliMixture, CurieWeissInf, Dense, ExactH2, Factorised, PixelCNN
from vanfast.training import Moments, Samples
from vanfast.training.likelihood.step import accumulate_log_prob, cross_entropy

LATTICE = vf.hamiltonians.IsingSquare(L=3)
RICH = {
    "made": lambda: MADE(9, hidden=(40,), seed=1),
    "pixelcnn": lambda: PixelCNN((3, 3), depth=3, width=12, half_kernel=2, z2=True, seed=1),
    "dense": lambda: Dense(9, depth=2, width=4, seed=1),
    "sk": lambda: SK(LATTICE, BETA, k=1, start="small", learn_couplings=True, seed=1),
    "prior": lambda: Dense(9, depth=2, width=3, prior="star", ham=LATTICE, beta=BETA, seed=1),
}
EVERY = RICH | {
    "mixture": lambda: BernoulliMixture(9, components=5, z2=True, seed=1),
    "factorised": lambda: Factorised(9, seed=1),
    "curie_weiss": lambda: CurieWeissInf(9, seed=1),
    "double": lambda: Dense(9, depth=2, width=2, seed=1).double(),
}


def fit(net, data, **changes):
    return vf.fit(net, data, **{"progress": False, "threads": 1, **changes})


@pytest.mark.parametrize(("name", "precision"), [*((name, "fp32") for name in RICH), ("made", "bf16")])
def test_a_known_distribution_is_found(known, name, precision):
    counts = known.counts(400_000)
    net = RICH[name]()
    options = {"epochs": 300, "batch": 512, "patience": None, "learning_rate": 0.015, "schedule": "cosine"}
    run = fit(net, known.states, counts=counts, **options, precision=precision)
    assert known.divergence(net) < 1e-3
    assert run.best_loss == pytest.approx(known.entropy, abs=0.02)
    assert run.history[-1].loss == pytest.approx(known.entropy, abs=0.01)


def test_minibatches_find_it_too(known):
    net = Dense(9, depth=2, width=4, seed=1)
    run = fit(net, known.samples(200_000), epochs=3, batch=2000, learning_rate=0.03, schedule="cosine")
    assert run.settings.steps_per_epoch == 90
    assert known.divergence(net) < 1e-3


def test_configurations_that_were_drawn_give_the_sampler_back():
    ham = SherringtonKirkpatrick(12, seed=3)
    exact = ExactH2(ham, 0.7)
    spins, fresh = (vf.Sampler(exact).sample(40_000, seed=seed).spins for seed in (5, 6))
    net = SK(ham, 0.7, k=0)

    def divergence():
        with torch.no_grad():
            return float((exact.log_prob(fresh) - net.log_prob(fresh)).mean())

    before = divergence()
    fit(net, spins, epochs=6, batch=1000, learning_rate=5e-3, schedule="cosine")
    assert before > 0.01
    assert divergence() < 0.3 * before


@pytest.mark.parametrize("micro_batch", [None, 40])
@pytest.mark.parametrize("name", EVERY)
def test_gradient_is_autograds(known, name, micro_batch):
    net = EVERY[name]()
    spins = torch.from_numpy(known.samples(130))
    weight = torch.from_numpy(np.random.default_rng(2).normal(size=130))
    sampler = vf.Sampler(net, backend="reference" if name == "double" else "auto")
    log_q = accumulate_log_prob(sampler, spins, weight, micro_batch)
    truth = copy.deepcopy(net).double()
    expected = truth.log_prob(spins)
    (weight * expected).sum().backward()
    torch.testing.assert_close(log_q, expected.detach(), rtol=1e-5, atol=1e-4)
    largest = max(1.0, *(float(p.grad.abs().max()) for p in truth.parameters()))
    for mine, theirs in zip(net.parameters(), truth.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-3, atol=1e-5 * largest)
    share = weight.abs()
    found = cross_entropy(sampler, spins, share, chunk=50)
    assert found == pytest.approx(-float(share @ expected.detach() / share.sum()), rel=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_one_step_descends(known, name):
    net = EVERY[name]()
    data = known.samples(300)
    backend = "reference" if name == "double" else "auto"
    options = {"epochs": 1, "batch": 300, "validation": 0, "learning_rate": 1e-3, "backend": backend}
    run = fit(net, data, **options)
    again = fit(net, data, **options)
    assert again.history[0].loss < run.history[0].loss
    assert math.isnan(run.best_loss)
    assert math.isnan(run.history[0].validation_loss)


@pytest.mark.parametrize("name", ["made", "mixture", "sk"])
def test_threads_change_nothing(known, name):
    data = known.samples(3000)
    runs = [fit(EVERY[name](), data, epochs=2, batch=900, seed=3, threads=threads) for threads in (1, 3)]
    assert [r.loss for r in runs[0].history] == [r.loss for r in runs[1].history]
    for a, b in zip(runs[0].net.parameters(), runs[1].net.parameters(), strict=True):
        assert torch.equal(a, b)
    other = fit(EVERY[name](), data, epochs=2, batch=900, seed=4)
    assert other.history[0].loss != runs[0].history[0].loss


def test_counts_stand_for_copies(known):
    """One batch of all: the same step whether configurations are counted or repeated."""
    counts = known.counts(2000)
    nets = [MADE(9, hidden=(7,), seed=1) for _ in range(3)]
    options = {"epochs": 1, "batch": 5000, "validation": 0}
    fit(nets[0], known.states, counts=counts, **options)
    fit(nets[1], np.repeat(known.states, counts, axis=0), **options)
    fit(nets[2], known.states, counts=counts * 0.37, **options)  # weights are relative
    for other in nets[1:]:
        for a, b in zip(nets[0].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-6)


def test_weights_are_unbiased_over_an_epoch(known):
    """The mean gradient over an epoch's batches of unequal size and weight is that of the whole."""
    data, weights = known.samples(103), np.random.default_rng(0).random(103) + 0.01
    net = Dense(9, seed=1).double()
    run = fit(copy.deepcopy(net), data, counts=weights, epochs=1, batch=20, validation=0, backend="reference",
              learning_rate=1e-12)  # fmt: skip
    with torch.no_grad():
        whole = -float(torch.from_numpy(weights / weights.sum()) @ net.log_prob(data))
    assert run.settings.steps_per_epoch == 6
    assert run.history[0].loss == pytest.approx(whole, rel=1e-9)


def test_early_stopping_returns_the_best_parameters(known):
    train, held = known.samples(150, seed=1), known.samples(5000, seed=2)
    net = MADE(9, hidden=(60,), seed=1)
    best, seen = [], []

    def watch(record):
        seen.append(record)
        if record.validation_loss == min(r.validation_loss for r in seen):
            best[:] = [copy.deepcopy(net)]

    options = {"epochs": 400, "batch": 50, "validation": held, "learning_rate": 0.02}
    run = fit(net, train, patience=4, callback=watch, **options)
    losses = [record.validation_loss for record in run.history]
    assert run.stopped_early
    assert run.finished
    assert len(losses) == run.epoch == run.best_epoch + 4 < 400
    assert min(losses) == losses[run.best_epoch - 1] == run.best_loss
    assert min(losses[-4:]) > run.best_loss
    for a, b in zip(net.parameters(), best[0].parameters(), strict=True):
        assert torch.equal(a, b)
    assert cross_entropy(vf.Sampler(net), torch.from_numpy(held), torch.ones(5000).double()) == run.best_loss
    forever = fit(MADE(9, hidden=(60,), seed=1), train, patience=None, **{**options, "epochs": run.epoch + 3})
    assert not forever.stopped_early
    assert len(forever.history) == run.epoch + 3
    assert forever.best_loss == min(r.validation_loss for r in forever.history)


def test_a_start_that_training_only_spoils_is_kept(known):
    net = Dense(9, prior="star", ham=LATTICE, beta=BETA, seed=1)
    fit(net, known.states, counts=known.counts(300_000), epochs=60, batch=512, learning_rate=0.01, schedule="cosine")
    before = copy.deepcopy(net.state_dict())
    run = fit(net, known.samples(20), validation=known.samples(5000, 4), epochs=30, patience=3, learning_rate=0.3)
    assert (run.best_epoch, run.epoch) == (0, 3)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_forms_of_data(known, tmp_path):
    samples = known.samples(240)
    np.savez(tmp_path / "s.npz", spins=samples)
    (tmp_path / "s.txt").write_text("".join("".join("01"[int(s > 0)] for s in row) + "\n" for row in samples))
    forms = [
        samples,
        torch.from_numpy((samples > 0).astype(np.int64)),
        samples.reshape(240, 3, 3).astype(np.float32),
        samples.reshape(4, 60, 9),  # chains and draws
        Samples(samples, np.ones(240)),
        tmp_path / "s.npz",
        str(tmp_path / "s.txt"),
    ]
    losses = [fit(MADE(9, hidden=(5,), seed=1), form, epochs=1, batch=70).history[0].loss for form in forms]
    assert losses == [losses[0]] * len(forms)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"net": 3}, TypeError, r"net must be a vanfast\.networks\.Network"),
        ({"net": ExactH2(CurieWeiss(9), 1.0)}, ValueError, "net has no parameters to train: ExactH2"),
        ({"net": MADE(8, hidden=(4,))}, ValueError, "data has 9 spins a sample and net has 8 sites"),
        ({"data": Moments(np.zeros(9), np.eye(9))}, TypeError, "data must be samples, got moments"),
        ({"data": np.zeros((12, 9))}, None, None),  # 0/1
        ({"data": np.full((5, 9), 2)}, ValueError, "found 2 at sample 0, spin 0"),
        ({"data": np.full((5, 9), np.nan)}, ValueError, "found nan at sample 0, spin 0"),
        ({"data": "nowhere.npz"}, FileNotFoundError, "no file nowhere.npz"),
        ({"counts": np.ones(3)}, ValueError, r"counts has shape \[3\], expected \[50\]"),
        ({"counts": -np.ones(50)}, ValueError, "counts must be 0 or more, found -1 at 0"),
        ({"validation": 1.0}, ValueError, r"validation must be data or a share in \[0, 1\), got 1.0"),
        ({"validation": -0.1}, ValueError, "validation must be data or a share"),
        ({"validation": math.nan}, ValueError, "validation must be data or a share"),
        ({"validation": True}, TypeError, "validation must be data or a share"),
        ({"validation": np.ones((4, 8))}, ValueError, "validation has 8 spins a sample and net has 9"),
        (
            {"validation": np.full((4, 9), 3)},
            ValueError,
            "validation: data must hold spins .* found 3 at sample 0, spin 0",
        ),
        ({"validation": "nowhere.npz"}, FileNotFoundError, "no file nowhere.npz"),
        ({"validation": None}, None, None),  # none
        ({"validation": 1e-3}, ValueError, "leaves none for validation"),
        ({"validation": 0.999}, ValueError, "leaves none for training"),
        ({"epochs": 0}, ValueError, "epochs must be an integer in"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"batch": 0}, ValueError, "batch must be an integer >= 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"seed": "x"}, TypeError, "seed must be"),
        ({"patience": 0}, ValueError, "patience must be an integer >= 1, got 0"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be a finite number > 0"),
        ({"betas": (0.9, 1)}, ValueError, "betas must be two numbers"),
        ({"clip_norm": -1}, ValueError, "clip_norm must be None or a number > 0"),
        ({"micro_batch": 0}, ValueError, "micro_batch must be an integer >= 1"),
        ({"schedule": "step"}, ValueError, "schedule must be one of"),
        ({"precision": "fp8"}, ValueError, "precision"),
        ({"backend": "gpu"}, ValueError, "backend"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be an integer >= 1"),
        ({"out": None, "resume": True}, ValueError, "resume needs out"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(known, tmp_path, changes, error, message):
    options = {"net": MADE(9, hidden=(4,), seed=1), "data": known.samples(50), "epochs": 1, "out": tmp_path / "run"}
    options |= changes
    net, data = options.pop("net"), options.pop("data")
    if error is None:
        assert fit(net, data, **options).epoch == 1
        return
    with pytest.raises(error, match=message):
        fit(net, data, **options)
    assert not (tmp_path / "run").exists()


def test_divergence_is_told(known):
    net = MADE(9, hidden=(4,), seed=1)

    def poison(record):
        with torch.no_grad():
            next(net.parameters()).fill_(math.nan)

    with pytest.raises(FloatingPointError, match="not finite"):
        fit(net, known.samples(50), epochs=3, callback=poison)
    with pytest.raises(FloatingPointError, match=r"training diverged at step|validation loss is"):
        fit(MADE(9, hidden=(4,), seed=1), known.samples(50), epochs=3, learning_rate=1e30)
