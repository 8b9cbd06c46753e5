"""Maximum likelihood: a network learns the distribution that configurations were drawn from."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanfast.sampler import Sampler
from vanfast.training.data import Moments, Samples, as_data
from vanfast.training.likelihood.batches import digest_of, held_out
from vanfast.training.likelihood.run import EpochRecord, FitRun, load_fit
from vanfast.training.likelihood.settings import FitSettings, checked_share
from vanfast.training.likelihood.trainer import LikelihoodTrainer
from vanfast.training.run import RunFolder
from vanfast.training.settings import checked_integer
from vanfast.training.trainer import check_training_arguments

if TYPE_CHECKING:
    from vanfast.networks import Network

__all__ = ["EpochRecord", "FitRun", "FitSettings", "fit", "load_fit"]


def fit(
    net: Network,
    data: Any,
    epochs: int = 100,
    batch: int = 500,
    seed: int = 0,
    *,
    counts: Any = None,
    levels: Any = None,
    validation: Any = 0.1,
    patience: int | None = 10,
    learning_rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.99),
    clip_norm: float | None = None,
    micro_batch: int | None = None,
    schedule: str | dict[str, Any] = "constant",
    precision: str = "fp32",
    backend: str = "auto",
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1000,
    resume: bool = False,
    progress: bool | None = None,
    callback: Callable[[EpochRecord], None] | None = None,
) -> FitRun:
    """Fits `net` (in place) to configurations: minimises the cross-entropy -<ln q(s)> over them, in nats.

    data       samples [M, N] of +-1 or 0/1, or [M, *shape], or [chains, draws, N], array or tensor; Samples; or the
               name of a file, see `vanfast.training.load_data`.
               For a network over sites of q states: these as 0 .. q - 1 in the same forms.
    levels     the numbers that stand for states 0 .. q - 1 in data (and in validation data), where these are others:
               (-4, -2, 0, 2, 4) for sums of blocks.
    counts     how often each sample was seen, or any weights >= 0, [M]. A configuration is in one batch an epoch
               whatever its weight: small batches of very unequal weights are noisy.
    epochs     passes through the training data, each in an order of its own, cut into batches of at most `batch`.
    validation share of the data that is held out, in [0, 1); or validation data, in the forms of `data`; None for none.
    patience   epochs without a lower validation loss after which training stops, or None. The network is left with the
               parameters of the lowest validation loss; without validation data with the last ones.
    betas      Adam's two decay rates. clip_norm: largest norm of a gradient, or None.
    micro_batch  samples differentiated at once: bounds memory, the result is the same but for rounding.
    schedule   "constant", "cosine", "plateau" (of the batches' loss per site), or a dict, as in `vanfast.train`.
    out        run directory: metrics.jsonl, a line an epoch; the best network; and a checkpoint every
               `checkpoint_every` steps and at the end.
    resume     go on from the directory's checkpoint (start when there is none); bit for bit as if never stopped. epochs
               and patience may have grown.
    progress   a progress bar on standard error; None shows it on a terminal only.
    callback   called with the EpochRecord of every epoch.

    The result depends on the network, the data, the settings and the seed alone, not on threads. Returns a FitRun.
    Raises TrainingInterrupted (a KeyboardInterrupt that carries the run) on SIGINT or SIGTERM, after saving;
    FileExistsError when `out` already holds a run and `resume` is not set; FloatingPointError when the loss is no
    longer finite; ValueError or TypeError when an argument or the data do not fit.
    """
    sampler = Sampler(net, backend=backend, precision=precision, threads=threads)
    check_training_arguments(net, checkpoint_every, resume, out)
    checked_integer("seed", seed, 0, 2**64 - 1)
    share = checked_share(validation or 0.0) if validation is None or isinstance(validation, Real) else None
    training, held = samples_for(net, "data", data, counts, levels), None
    if share is None:
        held = samples_for(net, "validation", validation, None, levels)
    elif share:
        training, held = held_out(training, share, int(seed))
    settings = FitSettings.checked(
        epochs=epochs,
        num_samples=len(training),
        validation=share,
        patience=patience,
        batch=batch,
        seed=seed,
        learning_rate=learning_rate,
        adam_betas=betas,
        clip_norm=clip_norm,
        micro_batch=micro_batch,
        schedule=schedule,
        precision=precision,
    )
    trainer = LikelihoodTrainer(FitRun(net, settings, digest_of(training, held)), sampler, training, held)
    if out is not None:
        trainer.open(RunFolder(Path(out), EpochRecord), resume)
    return trainer.go(checkpoint_every, progress, callback)


def samples_for(net: Network, name: str, data: Any, counts: Any, levels: Any = None) -> Samples:
    """Samples of the network's size and kind of sites; ValueError or TypeError that names the argument otherwise."""
    try:
        found = as_data(data, counts, net.num_sites, net.q, levels)
    except (TypeError, ValueError) as error:
        if name == "data":
            raise
        raise type(error)(f"{name}: {error}") from None
    if isinstance(found, Moments):
        raise TypeError(f"{name} must be samples, got moments")
    if found.num_sites != net.num_sites:
        raise ValueError(f"{name} has {found.num_sites} spins a sample and net has {net.num_sites} sites")
    if found.q != net.q:
        kinds = [f"{q} states" if q else "spins +-1" for q in (found.q, net.q)]
        raise ValueError(f"{name} has sites of {kinds[0]} and net has sites of {kinds[1]}")
    return found
