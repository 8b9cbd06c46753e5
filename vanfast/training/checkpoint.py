"""Checkpoints: one safetensors file whose header carries the JSON state; replaced atomically, never a pickle.

Tensors: net/<parameter or buffer>, adam/<parameter>/<moment>, hamiltonian/<array>.
Header key `vanfast`: JSON with format, step, settings, schedule state, and the configurations of both sides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vanfast._files import replacing
from vanfast.errors import FileFormatError, MissingDependency

FORMAT = "vanfast-checkpoint"
VERSION = 1


@dataclass
class Checkpoint:
    """State after `step` finished steps; everything that the rest of the run depends on."""

    step: int
    settings: dict[str, Any]
    schedule: dict[str, float]
    network: dict[str, Any]
    hamiltonian: dict[str, Any]
    parameters: dict[str, torch.Tensor]
    adam: dict[str, torch.Tensor]
    arrays: dict[str, np.ndarray]


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError:
        raise MissingDependency("safetensors", "all", "a checkpoint") from None
    return safetensors


def save_checkpoint(path: Path, state: Checkpoint) -> None:
    """Writes the checkpoint; a crash at any moment leaves either the old file or the new one."""
    tensors = {f"net/{name}": value for name, value in state.parameters.items()}
    tensors |= {f"adam/{name}": value for name, value in state.adam.items()}
    tensors |= {f"hamiltonian/{name}": torch.from_numpy(np.array(a)) for name, a in state.arrays.items()}
    # A copy of each: safetensors refuses tensors that share memory.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "step": state.step,
        "settings": state.settings,
        "schedule": state.schedule,
        "network": state.network,
        "hamiltonian": state.hamiltonian,
    }
    with replacing(path) as temporary:
        # Not save_file, whose files only their owner may read.
        temporary.write_bytes(_safetensors().torch.save(tensors, metadata={"vanfast": json.dumps(header)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; FileNotFoundError when there is none, FileFormatError when the file is something else."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    library = _safetensors()
    try:
        with library.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("vanfast", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (library.SafetensorError, json.JSONDecodeError) as error:
        raise FileFormatError(f"{path}: expected a checkpoint written by vanfast.train: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        raise FileFormatError(f"{path}: expected format {FORMAT!r} version {VERSION} in the header's key 'vanfast'")

    def group(prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    try:
        return Checkpoint(
            step=header["step"],
            settings=header["settings"],
            schedule=header["schedule"],
            network=header["network"],
            hamiltonian=header["hamiltonian"],
            parameters=group("net/"),
            adam=group("adam/"),
            arrays={name: value.numpy() for name, value in group("hamiltonian/").items()},
        )
    except KeyError as error:
        raise FileFormatError(f"{path}: the header's key 'vanfast' lacks {error}") from None


def adam_tensors(net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Adam's moments and step counts by parameter name; empty before the first update."""
    return {
        f"{name}/{key}": value
        for name, parameter in net.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_adam(net: torch.nn.Module, optimizer: torch.optim.Optimizer, stored: dict[str, torch.Tensor]) -> None:
    """Inverse of `adam_tensors`: the next update is bitwise the one that would have followed."""
    by_name = dict(net.named_parameters())
    counts_on_device = bool(optimizer.param_groups[0].get("capturable"))
    for key, value in stored.items():
        name, moment = key.rsplit("/", 1)
        if name not in by_name:
            raise FileFormatError(f"checkpoint holds Adam state for {name!r}, which the network does not have")
        home = by_name[name].device if moment != "step" or counts_on_device else "cpu"
        optimizer.state[by_name[name]][moment] = value.to(home, copy=True)
