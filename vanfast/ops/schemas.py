"""The operations torch.ops.vanfast.*: their schemas, and what shape, dtype and device their results have.

parameters: those of a network, in the order of `Network.parameters()`, all float32 or all float64, on one device.
network: canonical JSON of `Network.config()`. hamiltonian, arrays: likewise, and `Hamiltonian.arrays()` by name.
seed, first: 64 bits as torch's int has them: numbers from 2**63 are passed less 2**64.
spins: +1 and -1 in any real dtype, [B, N] in raster order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vanfast.ops.description import num_sites

SCHEMAS = {
    "sample": "(Tensor[] parameters, str network, SymInt count, SymInt seed, SymInt first, str precision)"
    " -> (Tensor spins, Tensor log_q)",  # int8 [count, N], float64 [count]; no gradient
    "log_prob": "(Tensor[] parameters, str network, Tensor spins, str precision) -> Tensor",  # float64 [B]
    "log_prob_backward": "(Tensor[] parameters, str network, Tensor spins, Tensor grad, str precision) -> Tensor[]",
    "energy": "(Tensor[] arrays, str hamiltonian, Tensor spins) -> Tensor",  # float64 [B]; no gradient
}
for _name, _schema in SCHEMAS.items():
    torch.library.define(f"vanfast::{_name}", _schema, tags=(torch.Tag.pt2_compliant_tag,))


@torch.library.register_fake("vanfast::sample")
def _sample(
    parameters: Sequence[Tensor], network: str, count: int, seed: int, first: int, precision: str
) -> tuple[Tensor, Tensor]:
    torch._check(count >= 0, lambda: f"count = {count} must not be negative")
    like = parameters[0]
    return like.new_empty((count, num_sites(network)), dtype=torch.int8), like.new_empty(count, dtype=torch.float64)


@torch.library.register_fake("vanfast::log_prob")
def _log_prob(parameters: Sequence[Tensor], network: str, spins: Tensor, precision: str) -> Tensor:
    sites = num_sites(network)
    torch._check(
        spins.ndim == 2 and spins.shape[1] == sites, lambda: f"spins has shape {spins.shape}, expected [B, {sites}]"
    )
    return parameters[0].new_empty(spins.shape[0], dtype=torch.float64)


@torch.library.register_fake("vanfast::log_prob_backward")
def _log_prob_backward(
    parameters: Sequence[Tensor], network: str, spins: Tensor, grad: Tensor, precision: str
) -> list[Tensor]:
    return [parameter.new_empty(parameter.shape) for parameter in parameters]


@torch.library.register_fake("vanfast::energy")
def _energy(arrays: Sequence[Tensor], hamiltonian: str, spins: Tensor) -> Tensor:
    return spins.new_empty(spins.shape[0], dtype=torch.float64)
