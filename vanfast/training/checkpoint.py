"""Checkpoints: one safetensors file whose header carries the JSON state; replaced atomically, never a pickle.

Tensors: net/<parameter or buffer>, adam/<parameter>/<moment>, hamiltonian/<array>; of a fit best/<parameter or buffer>.
Header key `vanfast`: JSON with format, kind of run, step, settings, schedule state, the network's configuration, and
the Hamiltonian's or what a fit has besides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vanfast._files import replacing
from vanfast.errors import FileFormatError, MissingDependency

FORMAT = "vanfast-checkpoint"
VERSION = 1
READERS = {"variational": "load_run", "likelihood": "load_fit"}  # kind of run -> function of vanfast.training


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
    groups = {
        "net": state.parameters,
        "adam": state.adam,
        "hamiltonian": {name: torch.from_numpy(np.array(a)) for name, a in state.arrays.items()},
    }
    header = {
        "step": state.step,
        "settings": state.settings,
        "schedule": state.schedule,
        "network": state.network,
        "hamiltonian": state.hamiltonian,
    }
    write_state(path, "variational", header, groups)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; FileNotFoundError when there is none, FileFormatError when the file is something else."""
    header, groups = read_state(path, "variational", ("step", "settings", "schedule", "network", "hamiltonian"))
    return Checkpoint(
        **header,
        parameters=groups.get("net", {}),
        adam=groups.get("adam", {}),
        arrays={name: value.numpy() for name, value in groups.get("hamiltonian", {}).items()},
    )


Groups = dict[str, dict[str, torch.Tensor]]  # first part of a tensor's name -> the rest -> the tensor


def write_state(path: Path, kind: str, header: dict[str, Any], groups: Groups) -> None:
    """Writes a header of JSON values and groups of tensors, in one step."""
    tensors = {f"{group}/{name}": value for group, part in groups.items() for name, value in part.items()}
    # A copy of each: safetensors refuses tensors that share memory.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {"format": FORMAT, "version": VERSION, "kind": kind, **header}
    with replacing(path) as temporary:
        # Not save_file, whose files only their owner may read.
        temporary.write_bytes(_safetensors().torch.save(tensors, metadata={"vanfast": json.dumps(header)}))


def kind_of_state(path: Path) -> str:
    """The kind of run whose checkpoint this is; raises as `load_checkpoint`."""
    return str(_read(path, with_tensors=False)[0].get("kind", "variational"))  # the first ones did not say


def read_state(path: Path, kind: str, keys: Sequence[str]) -> tuple[dict[str, Any], Groups]:
    """Inverse of `write_state`: those keys of the header, and the groups. Raises as `load_checkpoint`."""
    header, tensors = _read(path)
    found = header.get("kind", "variational")
    if found != kind:
        reader = READERS.get(found, "a newer vanfast")
        raise FileFormatError(
            f"{path}: expected the checkpoint of a {kind} run, found a {found} one; {reader} reads it"
        )
    for key in keys:
        if key not in header:
            raise FileFormatError(f"{path}: the header's key 'vanfast' lacks {key!r}")
    groups: Groups = {}
    for name, value in tensors.items():
        group, rest = name.split("/", 1)
        groups.setdefault(group, {})[rest] = value
    return {key: header[key] for key in keys}, groups


def _read(path: Path, with_tensors: bool = True) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    library = _safetensors()
    try:
        with library.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("vanfast", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}
    except (library.SafetensorError, json.JSONDecodeError) as error:
        raise FileFormatError(f"{path}: expected a checkpoint written by vanfast.train: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        raise FileFormatError(f"{path}: expected format {FORMAT!r} version {VERSION} in the header's key 'vanfast'")
    return header, tensors


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
