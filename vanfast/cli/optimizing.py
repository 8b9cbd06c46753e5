"""What `train` and `fit` share: options of the optimiser and of the run, and the values that they give to these."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

from vanfast.backends import PRECISIONS
from vanfast.cli.parser import integer, positive, real, seed
from vanfast.cli.placing import add_placing_options

AnyRun = TypeVar("AnyRun")
Settings = dict[str, tuple[str, Any]]  # option -> (argument of vanfast.train or vanfast.fit, its default)

OPTIMIZER: Settings = {
    "seed": ("seed", 0),
    "learning_rate": ("learning_rate", 1e-3),
    "adam": ("betas", [0.9, 0.99]),
    "micro_batch": ("micro_batch", None),
    "schedule": ("schedule", "constant"),
    "precision": ("precision", "fp32"),
}


def add_optimizer_options(
    group: argparse._ActionsContainer, *, seed_of: str, precision_of: str, default_norm: int
) -> None:
    """The options of OPTIMIZER and --clip-norm."""
    group.add_argument("--seed", type=seed, metavar="S", help=f"seed of {seed_of} (default 0)")
    group.add_argument(
        "--clip-norm",
        type=real("a number >= 0", lambda x: x >= 0),
        metavar="G",
        help=f"largest norm of the gradient, 0 for no limit (default {default_norm})",
    )
    group.add_argument("--learning-rate", "--lr", type=positive, metavar="R", help="of Adam (default 0.001)")
    group.add_argument(
        "--adam",
        type=real("a number in [0, 1)", lambda x: 0 <= x < 1),
        nargs=2,
        metavar="D",
        help="decay rates (default 0.9 0.99)",
    )
    group.add_argument("--micro-batch", type=integer(1), metavar="B", help="samples differentiated at once")
    group.add_argument("--schedule", choices=("constant", "cosine", "plateau"), help="of the learning rate")
    group.add_argument("--precision", choices=PRECISIONS, help=f"of {precision_of} (default fp32)")


def add_run_options(parser: argparse.ArgumentParser, checkpoint_every: int) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("-o", "--out", required=True, metavar="DIR", help="run directory")
    group.add_argument(
        "--resume", action="store_true", help="go on from DIR; options that are not given keep the stored run's values"
    )
    group.add_argument(
        "--checkpoint-every",
        type=integer(1),
        default=checkpoint_every,
        metavar="T",
        help=f"steps (default {checkpoint_every})",
    )
    add_placing_options(group)
    group.add_argument("--threads", type=integer(1), metavar="N", help="of the engine (default: all cores)")
    group.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    group.add_argument("--json", action="store_true", help="print the result as JSON")


def run_to_resume(arguments: argparse.Namespace, load: Callable[[str], AnyRun]) -> AnyRun | None:
    """What `load` reads from --out, where --resume is given and there is a run; else None."""
    from vanfast.training.metrics import StepRecord
    from vanfast.training.run import RunFolder

    return load(arguments.out) if arguments.resume and RunFolder(arguments.out, StepRecord).holds_a_run() else None


def settings_of(arguments: argparse.Namespace, options: Settings, stored: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments for the training: of the options that were given, else of the stored run's settings, else defaults."""
    settings: dict[str, Any] = {}
    for option, (name, default) in options.items():
        given = getattr(arguments, option)
        kept = default if stored is None else stored["adam_betas" if name == "betas" else name]
        settings[name] = kept if given is None else given
    settings["clip_norm"] = settings["clip_norm"] or None
    return settings


def run_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments for the training that the options of the run give."""
    return {
        "backend": arguments.backend,
        "threads": arguments.threads,
        "out": arguments.out,
        "checkpoint_every": arguments.checkpoint_every,
        "resume": arguments.resume,
        "progress": False if arguments.quiet else None,
    }
