"""The Z2 flip on a GPU (csrc/cuda/symmetry_flip.cu)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vanfast.backends.engines.base import stream_of


def symmetrize(
    module: Any, spins: Tensor, log_q: Tensor, log_q_flipped: Tensor, seed: int, first: int, step: Tensor | None
) -> Tensor:
    """Flips all spins of every other sample, on average, in place, and returns ln((q(s) + q(-s)) / 2), float64 [count].

    spins: int8 [count, N] drawn from q; log_q and log_q_flipped: ln q(s) and ln q(-s), float64 [count]. Sample n is
    number first + step[0] + n of `seed`. Raises ValueError for tensors of another kind.
    """
    count = len(spins)
    if spins.dtype != torch.int8 or spins.ndim != 2 or not spins.is_contiguous():
        raise ValueError(f"spins is {spins.dtype} {list(spins.shape)}, expected contiguous torch.int8 [count, N]")
    for name, values in (("log_q", log_q), ("log_q_flipped", log_q_flipped)):
        if values.dtype != torch.float64 or values.shape != (count,) or values.device != spins.device:
            raise ValueError(f"{name} is {values.dtype} {list(values.shape)}, expected torch.float64 [{count}]")
    out = torch.empty_like(log_q, memory_format=torch.contiguous_format)
    if count:
        log_q, log_q_flipped = log_q.contiguous(), log_q_flipped.contiguous()
        module.symmetry_flip(
            spins=spins.data_ptr(),
            log_q=log_q.data_ptr(),
            log_q_flipped=log_q_flipped.data_ptr(),
            out=out.data_ptr(),
            count=count,
            sites=spins.shape[1],
            seed=seed,
            first=first,
            step=0 if step is None else step.data_ptr(),
            device=spins.device.index or 0,
            stream=stream_of(spins.device),
        )
    return out
