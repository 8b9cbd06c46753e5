"""Masked linear stacks on a GPU: one launch draws a batch (csrc/cuda/masked_single.cu, csrc/cuda/masked_stack.cu)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vanfast.backends.engines.base import PRECISION_CODES, CudaEngine, Drawn, precision_code, to_tf32
from vanfast.backends.engines.masked_tables import Ints, Shape, single_tables, stack_tables
from vanfast.backends.engines.star_tables import NO_STAR, StarArrays
from vanfast.networks.plan import MaskedPlan, Plan, StarPriorPlan

Round = Callable[[Tensor], Tensor]


def to_bf16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).float()


ROUND: dict[str, Round] = {"fp32": lambda x: x, "tf32": to_tf32, "bf16": to_bf16}


def bf16_words(x: Tensor, splits: int) -> Tensor:
    """x [..., 32, 4, 2] as a sum of `splits` bf16 numbers, pairs in words: int32 [..., splits, 32, 4]."""
    parts = []
    for _ in range(splits):
        part = x.to(torch.bfloat16)
        parts.append(part.contiguous().view(torch.int32).squeeze(-1))
        x = x - part.float()
    return torch.stack(parts, -3)


def tf32_words(x: Tensor, splits: int) -> Tensor:
    """x [..., 32, 4] as a sum of `splits` tf32 numbers: int32 [..., splits, 32, 4]."""
    parts = []
    for _ in range(splits):
        part = to_tf32(x)
        parts.append(part.view(torch.int32))
        x = x - part
    return torch.stack(parts, -3)


class Packed:
    """Device buffers of a network's weights, and the indices that fill them."""

    def __init__(self, plan: MaskedPlan, precision: str, device: torch.device, star_slots: int) -> None:
        self.precision, self.device, self.round = precision, device, ROUND[precision]
        self.star = None if plan.prior is None else StarArrays(plan.prior, star_slots, device)
        self._net: dict[str, Any] = {"star": NO_STAR if self.star is None else self.star.pointers()}
        self.splits = 3 - PRECISION_CODES[precision]  # bf16 numbers that make up a weight of spins

    def _index(self, index: Ints) -> Tensor:
        if index.size and index.max() >= 2**31:
            raise ValueError("the network has 2**31 weights or more")
        return torch.from_numpy(index.astype(np.int32)).to(self.device)

    def _empty(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, device=self.device)


def gathered(values: Tensor, index: Tensor) -> Tensor:
    return values.index_select(0, index.reshape(-1)).view(index.shape)


class Single(Packed):
    """One layer."""

    def __init__(self, plan: MaskedPlan, precision: str, device: torch.device) -> None:
        super().__init__(plan, precision, device, star_slots=1)
        self.sites = plan.num_sites
        self.units = [self.sites]
        prefix, diagonal = single_tables(self.sites)
        self._prefix_index, self._diagonal_index = self._index(prefix), self._index(diagonal)
        self.values = self._empty(self.sites**2 + self.sites + 1, torch.float32)
        self.zeros = torch.zeros(self.sites + 1, device=device)
        self.prefix = self._empty(prefix.size // 2 * self.splits, torch.int32)
        self.diagonal = self._empty(diagonal.size, torch.float32)
        self._net |= {"sites": self.sites, "splits": self.splits}
        self._net |= {name: getattr(self, name).data_ptr() for name in ("prefix", "diagonal")}

    def load(self, plan: MaskedPlan) -> None:
        layer = plan.layers[0]
        weight, bias = self.round(layer.weight).reshape(-1), self.zeros[:-1] if layer.bias is None else layer.bias
        torch.cat([weight, bias, self.zeros[-1:]], out=self.values)
        torch.index_select(self.values, 0, self._diagonal_index.view(-1), out=self.diagonal)
        if self._prefix_index.numel():
            words = bf16_words(gathered(self.values, self._prefix_index), self.splits)
            self.prefix.copy_(words.view(-1))

    def launch(self, module: Any, layout: tuple[int, int, int], call: dict[str, Any]) -> None:
        how = {"groups": layout[0]}
        where = {name: call[name] for name in ("count", "device", "shared_limit")}
        size = module.masked_single_workspace(self._net, **how, **where) if self.star is not None else 0
        workspace = torch.empty(size, dtype=torch.uint8, device=self.device)
        module.masked_single(self._net, workspace=workspace.data_ptr(), workspace_bytes=size, **how, **call)


class Stack(Packed):
    """Two layers or more."""

    def __init__(
        self, plan: MaskedPlan, precision: str, device: torch.device, star_slots: int, block_sites: int | None = None
    ) -> None:
        super().__init__(plan, precision, device, star_slots)
        layers = plan.layers
        shape = Shape(
            plan.num_sites,
            tuple(layer.degree.cpu().numpy() for layer in layers),
            tuple(layer.local for layer in layers),
            tuple(layer.skip for layer in layers),
        )
        bf16 = precision == "bf16"
        tables = stack_tables(shape, bf16) if block_sites is None else stack_tables(shape, bf16, (block_sites,))
        self.units = tables.units
        spins, hidden = tables.spin_index, tables.hidden_index
        hidden_splits = 2 if precision == "fp32" else 1
        tasks = np.array(tables.tasks)
        of_spins = tasks[:, 5] < 0
        places = tasks[:, 4] * 32
        tasks[:, 4] = np.where(of_spins, places * self.splits, len(spins) * 32 * self.splits + places * hidden_splits)
        self._indices = [self._index(index) for index in (spins, hidden, tables.scan_index)]
        self.hidden_splits = hidden_splits
        words = len(spins) * 128 * self.splits + len(hidden) * 128 * hidden_splits
        self.prefix = self._empty(words, torch.int32)
        self.scan = self._empty(len(tables.scan_index), torch.float32)
        self.zeros, self.ones = (torch.full((max(self.units),), value, device=device) for value in (0.0, 1.0))
        self.bias, self.slope = (self._empty(sum(self.units), torch.float32) for _ in range(2))
        self._lists = [self._index(np.array(rows)) for rows in (tables.blocks, tasks, tables.stages, tables.segments)]
        names = ("block_table", "task_table", "stage_table", "segment_table")
        self._net |= {
            "sites": plan.num_sites,
            "block_sites": tables.block_sites,
            "blocks": len(tables.blocks),
            "precision": PRECISION_CODES[precision],
            **{name: rows.data_ptr() for name, rows in zip(names, self._lists, strict=True)},
            **{name: getattr(self, name).data_ptr() for name in ("prefix", "scan", "bias", "slope")},
            "z_rows": tables.z_rows,
            "scan_floats": tables.scan_floats,
            "active_rows": tables.active_rows,
        }

    def load(self, plan: MaskedPlan) -> None:
        layers = plan.layers
        values = self.round(torch.cat([*(layer.weight.reshape(-1) for layer in layers), self.zeros[:1]]))
        spins, hidden, scan = (gathered(values, index) for index in self._indices)
        words = bf16_words(spins, self.splits).view(-1)
        split = bf16_words if self.precision == "bf16" else tf32_words
        more = split(hidden, self.hidden_splits).view(-1)
        torch.cat([words, more], out=self.prefix)
        self.scan.copy_(scan)
        biases = [
            self.zeros[:n] if layer.bias is None else layer.bias for n, layer in zip(self.units, layers, strict=True)
        ]
        torch.cat(biases, out=self.bias)
        follows = [*(layer.slope for layer in layers[1:]), None]
        slopes = [self.ones[:n] if given is None else given for n, given in zip(self.units, follows, strict=True)]
        torch.cat(slopes, out=self.slope)

    def workspace(self, module: Any, layout: tuple[int, int, int], count: int, device: int, shared_limit: int) -> int:
        """Bytes that a launch needs. Raises ValueError where a block of sites has more units than fit a processor."""
        how = {"groups": layout[0], "parts": layout[1], "memory": layout[2]}
        size: int = module.masked_stack_workspace(
            self._net, **how, count=count, device=device, shared_limit=shared_limit
        )
        return size

    def launch(self, module: Any, layout: tuple[int, int, int], call: dict[str, Any]) -> None:
        how = {"groups": layout[0], "parts": layout[1], "memory": layout[2]}
        size = self.workspace(module, layout, call["count"], call["device"], call["shared_limit"])
        workspace = torch.empty(size, dtype=torch.uint8, device=self.device)
        module.masked_stack(self._net, workspace=workspace.data_ptr(), workspace_bytes=size, **how, **call)


class CudaMasked(CudaEngine):
    """groups, parts, memory, block_sites: how work is laid out (csrc/cuda/masked_launch.cuh), 0 and None leave it to
    the launcher. The first three change no result."""

    def __init__(
        self,
        plan: MaskedPlan,
        precision: str,
        device: torch.device,
        module: Any,
        *,
        groups: int = 0,
        parts: int = 0,
        memory: int = 0,
        block_sites: int | None = None,
    ) -> None:
        super().__init__(plan, device)
        precision_code(precision)
        if plan.layers[0].weight.dtype != torch.float32:
            raise ValueError(f"the network's parameters are {plan.layers[0].weight.dtype}, expected torch.float32")
        self._module, self._layout = module, (groups, parts, memory)
        self._shared = module.device_properties(device.index or 0)["shared_bytes"]
        self._order = None if plan.order is None else plan.order.to(device, torch.int32)
        self._net: Single | Stack
        if len(plan.layers) == 1:
            self._net = Single(plan, precision, device)
        else:
            self._net = Stack(plan, precision, device, module.masked_star_slots, block_sites)
            self._net.workspace(module, self._layout, 1, device.index or 0, self._shared)  # refuses what cannot be run
        self.load(plan)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, MaskedPlan)
        self._net.load(plan)
        if plan.prior is not None:
            self.load_prior(plan.prior)

    def load_prior(self, prior: StarPriorPlan) -> None:
        assert self._net.star is not None
        self._net.star.load(prior)

    def _run(self, spins: Tensor, given: bool, seed: int, first: int, step: Tensor | None, keep: bool) -> Drawn:
        count, units = len(spins), self._net.units
        log_q = torch.empty(count, dtype=torch.float64, device=self.device)
        kept = torch.empty(count * sum(units) if keep else 0, dtype=torch.float32, device=self.device)
        if count:
            call = {
                **self._call(spins, log_q, given, seed, first, step),
                "order": 0 if self._order is None else self._order.data_ptr(),
                "keep": kept.data_ptr() if keep else 0,
                "shared_limit": self._shared,
            }
            self._net.launch(self._module, self._layout, call)
        parts = kept.split([count * n for n in units]) if keep else ()
        return Drawn(spins, log_q, tuple(part.view(count, n) for part, n in zip(parts, units, strict=False)))
