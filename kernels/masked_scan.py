"""Scan of a block of sites of a masked linear stack: site after site, all layers fused, then the draw.

  z_l[u] = bias_l[u] + before_l[u] + sum_c W_l[u, c] PReLU(z_{l-1}[c]) [+ z_{l-2}[u]],  u of the site's own degree
Units are sorted by degree, so a site owns a run of units in every layer; c goes over the previous layer's units inside
the block, up to the site's own. before: what the units finished before the block give, which `masked(..., limit=)` of
vanfast.kernels.masked has put in the place of z_l. The first layer's input is the spins in drawing order.

Grid: one program for each TILE consecutive samples; products [TILE, BLOCK_K] x [BLOCK_K, BLOCK_U] on tensor cores.
Data: p_state holds, one after the other, the spins [samples, N] and z_l [samples, units_l], all float32; tables tell
where. What one thread writes others read after tl.debug_barrier(). Weights stay in the caches.
Random: the word of stream 0, site p in drawing order, sample first + step[0] + row. log q is summed in float64.

Floor on H200 (one layer, N = 1024, blocks of 32): 64 KFLOP and 13 KB a sample in scans, 2.7 ns a sample from memory.
Prediction: latency, 1.5 us a site for every 10,000 samples: 20 ms for 131,072 samples; dense 3/4 at N = 256, batch
1000, 4 us a site: 1 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import PRECISIONS, activated, check, check_device, operand, product, ready
from vanfast.kernels.random import SPINS, draw_up, log_probability, random_word, sample_index
from vanfast.kernels.star_prior import PAIRS, Star, star_logit, star_update

TILE = 16  # samples a program: the least height of a tensor-core product
BLOCK_U = 16  # units a product
BLOCK_K = 16  # inputs a step
LAYER_FIELDS = tl.constexpr(6)
SITE_FIELDS = tl.constexpr(5)


# `given` is no constant, so that drawn and given spins go through the same instructions.
@triton.jit(do_not_specialize=["count", "sites", "begin", "end", "layers", "given", "seed", "first"])
def masked_scan_kernel(
    p_spins, p_log_q, p_state, p_step, p_weight, p_bias, p_slope, p_layers, p_sites,
    p_fields, p_star_start, p_later, p_couplings,
    count, sites, begin, end, layers, given, seed: tl.uint64, first: tl.uint64,
    PRECISION: tl.constexpr, TILE: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_K: tl.constexpr, STAR: tl.constexpr,
    PAIRS: tl.constexpr,
):  # fmt: skip
    first_b = tl.program_id(0).to(tl.int64) * TILE  # pointers are a 64-bit scalar and 32-bit offsets in the tile
    o_b = tl.arange(0, TILE)
    m_b = o_b < count - first_b
    o_k = tl.arange(0, BLOCK_K)
    o_u = tl.arange(0, BLOCK_U)
    sample = sample_index(first, p_step, first_b + o_b)
    p_log_q += first_b
    p_spins += first_b * sites
    p_x = p_state + first_b * sites
    if STAR:
        p_fields += first_b * sites
    log_q = tl.load(p_log_q + o_b, mask=m_b, other=0.0)
    for p in range(begin, end):
        p_out, out_units = p_x, sites
        for layer in range(layers):
            p_l = p_layers + layer * LAYER_FIELDS
            in_at, out_at, skip_at = tl.load(p_l), tl.load(p_l + 2), tl.load(p_l + 4)
            in_units, out_units = tl.load(p_l + 1).to(tl.int32), tl.load(p_l + 3).to(tl.int32)
            p_w = p_weight + tl.load(p_l + 5)
            p_p = p_sites + (layer * sites + p) * SITE_FIELDS
            unit_begin, unit_end = tl.load(p_p), tl.load(p_p + 1)
            in_begin, in_end, before = tl.load(p_p + 2), tl.load(p_p + 3), tl.load(p_p + 4)
            p_in = p_state + in_at * count + first_b * in_units
            p_skip = p_state + skip_at * count + first_b * out_units
            p_out = p_state + out_at * count + first_b * out_units
            for u in range(unit_begin, unit_end, BLOCK_U):
                m_u = u + o_u < unit_end
                m = m_b[:, None] & m_u[None, :]
                o_z = o_b[:, None] * out_units + (u + o_u)[None, :]
                acc = tl.load(p_out + o_z, mask=m & (before > 0), other=0.0)
                acc += tl.load(p_bias + out_at + u + o_u, mask=m_u, other=0.0)[None, :]
                for k in range(in_begin, in_end, BLOCK_K):
                    m_k = k + o_k < in_end
                    a = tl.load(
                        p_in + (o_b[:, None] * in_units + (k + o_k)[None, :]),
                        mask=m_b[:, None] & m_k[None, :],
                        other=0.0,
                    )
                    a = activated(a, tl.load(p_slope + in_at + k + o_k, mask=m_k, other=0.0)[None, :])
                    o_w = (u + o_u)[:, None] * in_units + (k + o_k)[None, :]
                    w = tl.load(p_w + o_w, mask=m_u[:, None] & m_k[None, :], other=0.0)
                    acc = product(acc, operand(a, PRECISION), tl.trans(ready(w)), PRECISION)
                acc += tl.load(p_skip + o_z, mask=m & (skip_at >= 0), other=0.0)
                tl.store(p_out + o_z, acc, mask=m)
            tl.debug_barrier()
        p_logit = p_out + o_b * out_units + p
        logit = tl.load(p_logit, mask=m_b, other=0.0)
        if STAR:
            logit += star_logit(p_fields, p_star_start, p_later, p_couplings, o_b, p, TILE, PAIRS)
            tl.debug_barrier()
            tl.store(p_logit, logit, mask=m_b)  # not before all threads that hold a copy of it have read it there
        o_s = o_b * sites + p
        if given != 0:
            up = tl.load(p_spins + o_s, mask=m_b, other=0) > 0
        else:
            up = draw_up(logit, random_word(seed, sample, p, SPINS))
            tl.store(p_spins + o_s, tl.where(up, 1, -1).to(tl.int8), mask=m_b)
        tl.store(p_x + o_s, tl.where(up, 1.0, -1.0), mask=m_b)
        log_q += log_probability(logit, up)
        if STAR:
            spin = tl.where(up, 1.0, -1.0)
            star_update(p_fields, p_star_start, p_later, p_couplings, spin, o_b, p, TILE, PAIRS)
        tl.debug_barrier()
    tl.store(p_log_q + o_b, log_q, mask=m_b)


@dataclass(frozen=True)
class MaskedScanTables:
    """Where everything lies. Offsets count units: the spins come first, then the units of layer after layer."""

    sites: int
    units: tuple[int, ...]  # of every layer
    layers: Tensor  # int64 [L, 6]: offset and units of input and of output, offset of the skip term or -1, of weights
    places: Tensor  # int32 [L, N, 5]: run of the site's units, run of inputs in the block, whether a prefix precedes

    @property
    def total(self) -> int:
        """Units of all layers, and the spins."""
        return self.sites + sum(self.units)


def masked_scan(
    tables: MaskedScanTables,
    weight: Tensor,
    bias: Tensor,
    slope: Tensor,
    spins: Tensor,
    log_q: Tensor,
    state: Tensor,
    step: Tensor,
    begin: int,
    end: int,
    seed: int,
    first: int,
    given: bool,
    precision: str,
    star: Star | None = None,
    running: Tensor | None = None,
) -> None:
    """Sites begin .. end - 1, one of the blocks that the tables were made for, of all samples, in place.

    weight: all layers' operands [n_out, n_in], one after the other. bias, slope: float32 [tables.total] as the state
    counts units; 1 is the slope of the identity. spins: int8 [count, N] in drawing order, read if given, else written.
    log_q: float64 [count], added to. state: float32 [count * tables.total], [count, units] of layer after layer: the
    prefixes of the block, then pre-activations; the spins as well are written here. step: int64 [1]. star: added to the
    logits; running: `star.running(count)`, which has taken up the spins of the blocks before. Raises TypeError or
    ValueError for arguments that do not fit.
    """
    count, total = spins.shape[0], tables.total
    check("spins", spins, (torch.int8,), (count, tables.sites))
    check("log_q", log_q, (torch.float64,), (count,))
    check("state", state, (torch.float32,), (count * total,))
    check("bias", bias, (torch.float32,), (total,))
    check("slope", slope, (torch.float32,), (total,))
    check("step", step, (torch.int64,), (1,))
    inputs = (tables.sites, *tables.units[:-1])
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    check("weight", weight, (kind,), (sum(n * m for n, m in zip(inputs, tables.units, strict=True)),))
    check_device(spins=spins, log_q=log_q, state=state, bias=bias, slope=slope, step=step, weight=weight)
    for name, tensor in (("spins", spins), ("log_q", log_q), ("state", state)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    if not 0 <= begin < end <= tables.sites:
        raise ValueError(f"begin, end = {begin}, {end} must be a run of the {tables.sites} sites")
    if not count:
        return
    masked_scan_kernel[(triton.cdiv(count, TILE),)](
        spins, log_q, state, step, weight, bias, slope, tables.layers, tables.places,
        *((None,) * 4 if star is None or running is None else star.arguments(running, count)),
        count, tables.sites, begin, end, len(tables.units), int(given), seed, first,
        PRECISION=PRECISIONS[precision], TILE=TILE, BLOCK_U=BLOCK_U, BLOCK_K=BLOCK_K, STAR=star is not None,
        PAIRS=PAIRS,
        **({} if star is None else {"maxnreg": 232}),  # left alone, 128 that spill
        num_warps=2, num_stages=1 if precision == "bf16" else 2,  # 2 would spill
    )  # fmt: skip
