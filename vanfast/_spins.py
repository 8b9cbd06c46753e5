"""The one way in for configurations: whatever array the caller holds becomes int8 [B, N]."""

from __future__ import annotations

import math

import numpy as np
import torch

Spins = torch.Tensor | np.ndarray


def as_spins(
    spins: Spins,
    num_sites: int,
    name: str = "spins",
    check_values: bool = True,
    device: torch.device | None = None,
    q: int | None = None,
) -> torch.Tensor:
    """Configurations as a contiguous int8 tensor [B, num_sites] on `device`, None for the CPU.

    Args:
        spins: torch tensor or numpy array of any integer or floating dtype holding +1 and -1, or with q the states
            0 .. q - 1, of shape [num_sites] (one configuration), [B, num_sites] or [B, *lattice shape].
        num_sites: N, the number of sites of one configuration.
        name: what the caller calls this argument, for messages.
        check_values: False leaves out the check of int8 values, for callers whose next step checks them anyway;
            other dtypes are always checked.
        device: int8 spins that lie there already are neither moved nor checked elsewhere.
        q: number of states of a site; None for spins.

    Returns:
        int8 [B, num_sites]; shares memory with `spins` where it already had this form.

    Raises:
        TypeError: not a tensor or array, or of a dtype that holds no numbers.
        ValueError: a shape that does not fit, or a value that is not allowed.
    """
    if isinstance(spins, np.ndarray):
        rows = _from_numpy(spins, num_sites, name, check_values, q)
    elif isinstance(spins, torch.Tensor):
        spins = spins.detach()
        home = spins.device if device is not None and spins.device == device else torch.device("cpu")
        if spins.dtype == torch.bool or spins.dtype.is_complex:
            raise TypeError(f"{name} must hold {_numbers(q)}, not {spins.dtype}")
        if spins.dtype == torch.int8:
            rows = spins.reshape(_rows(tuple(spins.shape), num_sites, name), num_sites).to(home).contiguous()
            if check_values and not bool((rows.abs() == 1 if q is None else (rows >= 0) & (rows < q)).all()):
                _refuse(rows.cpu().numpy(), name, q)
        else:
            wide = spins.float() if spins.dtype == torch.bfloat16 else spins
            rows = _from_numpy(wide.cpu().numpy(), num_sites, name, check_values, q)
    else:
        raise TypeError(f"{name} must be a torch tensor or a numpy array, not {type(spins).__name__}")
    return rows if device is None else rows.to(device)


def _from_numpy(spins: np.ndarray, num_sites: int, name: str, check_values: bool, q: int | None) -> torch.Tensor:
    if spins.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold {_numbers(q)}, not {spins.dtype}")
    rows = spins.reshape(_rows(spins.shape, num_sites, name), num_sites)
    if (check_values or rows.dtype != np.int8) and not _allowed(rows, q).all():
        _refuse(rows, name, q)
    packed = np.ascontiguousarray(rows, dtype=np.int8)
    return torch.from_numpy(packed if packed.flags.writeable else packed.copy())


def _rows(shape: tuple[int, ...], num_sites: int, name: str) -> int:
    """The batch size B that `shape` stands for."""
    if shape == (num_sites,):
        return 1
    if len(shape) >= 2 and math.prod(shape[1:]) == num_sites:
        return int(shape[0])
    raise ValueError(
        f"{name} has shape {list(shape)}, expected [{num_sites}], [B, {num_sites}] "
        f"or [B, ...] with {num_sites} sites a configuration"
    )


def _allowed(rows: np.ndarray, q: int | None) -> np.ndarray:
    """Which values are spins, or states of q, bool."""
    if q is None:
        return np.abs(rows) == 1 if rows.dtype == np.int8 else (rows == 1) | (rows == -1)
    whole = (rows >= 0) & (rows < q)
    return whole & (rows == np.floor(rows)) if rows.dtype.kind == "f" else whole


def _numbers(q: int | None) -> str:
    return "the numbers +1 and -1" if q is None else f"the states 0 .. {q - 1}"


def _refuse(rows: np.ndarray, name: str, q: int | None) -> None:
    row, site = (int(i) for i in np.argwhere(~_allowed(rows, q))[0])
    allowed = "+1 and -1" if q is None else f"the states 0 .. {q - 1}"
    raise ValueError(f"{name} must hold only {allowed}, found {rows[row, site]} at configuration {row}, site {site}")
