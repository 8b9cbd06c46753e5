"""Where a network is put and what runs it: --backend and --device."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vanfast.backends import NAMES, ON_GPU, wanted

if TYPE_CHECKING:
    from vanfast.networks import Network


def add_placing_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--backend",
        choices=("auto", *NAMES),
        default="auto",
        help="default: that of VANFAST_BACKEND, or else the first that can run where the network lies",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda for a GPU backend, else cpu"
    )


def place(net: Network, arguments: argparse.Namespace) -> Network:
    """Moves `net` to the device that was asked for. Raises ValueError where there is none."""
    from vanfast.backends.cuda import no_gpu

    device = arguments.device
    if device == "auto":
        device = "cuda" if wanted(arguments.backend) in ON_GPU and no_gpu() is None else "cpu"
    elif device == "cuda" and (reason := no_gpu()):
        raise ValueError(f"--device cuda: {reason}")
    return net.to(device)
