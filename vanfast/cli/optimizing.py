"""What `train` and `fit` share: options of the optimiser and of the run."""

from __future__ import annotations

import argparse

from vanfast.backends import PRECISIONS
from vanfast.cli.parser import integer, positive, real, seed
from vanfast.cli.placing import add_placing_options


def add_optimizer_options(group: argparse._ActionsContainer, precision_of: str) -> None:
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


def add_clipping_option(group: argparse._ActionsContainer, default: str) -> None:
    group.add_argument(
        "--clip-norm",
        type=real("a number >= 0", lambda x: x >= 0),
        metavar="G",
        help=f"largest norm of the gradient, 0 for no limit (default {default})",
    )


def add_seed_option(group: argparse._ActionsContainer, of: str) -> None:
    group.add_argument("--seed", type=seed, metavar="S", help=f"seed of {of} (default 0)")


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
