"""Networks on disk: their parameters as safetensors, and a JSON that tells how to build them. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch

from vanfast import networks
from vanfast._files import replacing, write_json
from vanfast.errors import FileFormatError, MissingDependency
from vanfast.networks import Network

FORMAT, VERSION = "vanfast.network", 1
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The JSON and the safetensors file meant by `path`: a directory's network.json and network.safetensors, or, when
    `path` ends in .json or .safetensors, the two files of that stem."""
    given = Path(path)
    stem = given.with_suffix("") if given.suffix in (".json", ".safetensors") else given / "network"
    return stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".safetensors")


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Writes `net` to a directory (made if need be) or a pair of files, see `paths`.

    Each file is written under another name, then renamed, so that a file which is there is whole. Raises
    MissingDependency without safetensors, ValueError for parameters that are neither float32 nor float64, OSError when
    the place cannot be written.
    """
    save_file = _safetensors("saving a network").save_file
    if _dtype_name(net) not in DTYPES:
        raise ValueError(f"net has parameters of {net.dtype}, can save {' and '.join(DTYPES)}")
    description, tensors = paths(path)
    description.parent.mkdir(parents=True, exist_ok=True)
    config = net.config()
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    # The tensors carry a digest of the description, so that files of two networks are not taken for a pair.
    with replacing(tensors) as temporary:
        save_file(state, temporary, metadata={"vanfast": _config_digest(config)})  # one key: their order varies
    write_json(description, {"format": FORMAT, "version": VERSION, "dtype": _dtype_name(net), "network": config})


def load(path: str | os.PathLike[str]) -> Network:
    """The network that `save` wrote, with the dtype it had.

    Raises FileNotFoundError when a file is missing, FileFormatError (naming the file and what was expected) when one
    holds something else.
    """
    safe_open = _safetensors("loading a network", "safetensors").safe_open
    description, tensors = paths(path)
    content = _read_json(description)
    if not isinstance(content.get("dtype"), str) or content["dtype"] not in DTYPES:
        raise FileFormatError(f"{description}: dtype is {content.get('dtype')!r}, expected {' or '.join(DTYPES)}")
    config = content.get("network")
    try:
        net = networks.from_config(config).to(DTYPES[content["dtype"]])
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise FileFormatError(f"{description}: 'network' does not describe a network: {error}") from error
    if not tensors.exists():
        raise FileNotFoundError(f"{tensors} is missing; it holds the parameters of {description}")
    try:
        with safe_open(tensors, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # safetensors raises its own type, which is not public
        raise FileFormatError(f"{tensors}: expected a safetensors file: {error}") from error
    if metadata.get("vanfast") != _config_digest(config):
        raise FileFormatError(f"{tensors}: expected the parameters of the network in {description}, found another's")
    expected = net.state_dict()
    if state.keys() != expected.keys():
        names = ", ".join(sorted(state.keys() ^ expected.keys()))
        raise FileFormatError(f"{tensors}: missing or unknown parameters: {names}")
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise FileFormatError(
                f"{tensors}: {name} is {tensor.dtype} {list(tensor.shape)}, "
                f"expected {expected[name].dtype} {list(expected[name].shape)}"
            )
    net.load_state_dict(state)
    return net


def digest(net: Network) -> str:
    """SHA-256, in hexadecimal, of the network's description, dtype and parameters: the same for equal networks."""
    sha = hashlib.sha256(f"{_config_digest(net.config())} {_dtype_name(net)}".encode())
    for name, tensor in sorted(net.state_dict().items()):
        sha.update(f" {name} {list(tensor.shape)} ".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; a saved network has it beside its .safetensors file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise FileFormatError(f"{path}: expected JSON of a network, found brackets nested too deep") from None
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path}, line {error.lineno}: expected JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: expected JSON text in UTF-8") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileFormatError(f'{path}: expected a JSON object with "format": "{FORMAT}"')
    if content.get("version") != VERSION:
        raise FileFormatError(f"{path}: version is {content.get('version')!r}, expected {VERSION}")
    return content


def _safetensors(purpose: str, module: str = "safetensors.torch") -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency("safetensors", "all", purpose) from error


def _config_digest(config: object) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _dtype_name(net: Network) -> str:
    return str(net.dtype).removeprefix("torch.")
