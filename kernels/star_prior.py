"""What a Hamiltonian alone adds to the logits of a network: the star of each site and its later neighbours.

    logit_i += 2 f_i + 2 sum_{l>i} artanh[tanh K_il tanh f_l],   f_l = beta h_l + sum_{s<i} K_sl x_s,   K = beta J

in drawing order. The fields f of TILE samples run along in memory, float32 [tiles, N, TILE]: `star_logit` gathers those
of a site's later neighbours and adds up their terms, `star_update` adds the drawn spin to them; both are called by the
scans of vanfast.kernels.conv_scan and masked_scan. What one thread writes others read after tl.debug_barrier(). The sum
of a site has one order: that of tl.sum over PAIRS terms and then of the runs of PAIRS.

star_prior_kernel, for given spins: one program for each TILE samples walks through all sites.
Floor on H200 for a lattice, N = 256, batch 131,072: 12 bytes a pair, 0.2 ms. Prediction: latency, 1 us a site for every
10,000 samples, 3 ms. Dense, N = 1024: 24 KB a site and tile of fields from L2, and some 60 operations a pair, of which
four run at a quarter of the rate: 0.2 s.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import check, check_device

TILE = 16  # samples a program, as in the scans
PAIRS = 16  # later neighbours taken together


@triton.jit
def log1p_unit(x):
    """ln(1 + x) of float32 x in [0, 1], to full relative precision (W. Kahan)."""
    w = 1.0 + x
    return tl.where(w == 1.0, x, tl.log(w) * (x / tl.where(w == 1.0, 1.0, w - 1.0)))


@triton.jit
def pair_logit(a, b):
    """2 artanh(tanh a tanh b): no tail is lost, however large a and b are."""
    x, y = tl.abs(a), tl.abs(b)
    far = tl.exp(-2.0 * (x + y))
    excess = (tl.exp(-2.0 * tl.abs(x - y)) - far) / (1.0 + far)
    out = 2.0 * tl.minimum(x, y) - log1p_unit(excess)
    return tl.where((a < 0) != (b < 0), -out, out)


@triton.jit
def star_logit(p_fields, p_start, p_later, p_couplings, o_b, site, TILE: tl.constexpr, PAIRS: tl.constexpr):
    """[TILE] that the site's logit gains."""
    total = 2.0 * tl.load(p_fields + (site * TILE + o_b))
    begin, end = tl.load(p_start + site), tl.load(p_start + site + 1)
    o_k = tl.arange(0, PAIRS)
    for k in range(begin, end, PAIRS):
        m_k = k + o_k < end
        l = tl.load(p_later + k + o_k, mask=m_k, other=0)
        coupling = tl.load(p_couplings + k + o_k, mask=m_k, other=0.0)
        field = tl.load(p_fields + (l[None, :] * TILE + o_b[:, None]), mask=m_k[None, :], other=0.0)
        total += tl.sum(pair_logit(coupling[None, :], field), 1)
    return total


@triton.jit
def star_update(p_fields, p_start, p_later, p_couplings, spin, o_b, site, TILE: tl.constexpr, PAIRS: tl.constexpr):
    """Adds the site's spin, float32 [TILE], to the fields of its later neighbours."""
    begin, end = tl.load(p_start + site), tl.load(p_start + site + 1)
    o_k = tl.arange(0, PAIRS)
    for k in range(begin, end, PAIRS):
        m_k = k + o_k < end
        l = tl.load(p_later + k + o_k, mask=m_k, other=0)
        coupling = tl.load(p_couplings + k + o_k, mask=m_k, other=0.0)
        p = p_fields + (l[None, :] * TILE + o_b[:, None])
        field = tl.load(p, mask=m_k[None, :], other=0.0)
        tl.debug_barrier()  # a field may be held by several threads, one of which writes it
        tl.store(p, field + coupling[None, :] * spin[:, None], mask=m_k[None, :])


@triton.jit(do_not_specialize=["count", "sites"])
def star_prior_kernel(
    p_spins, p_out, p_fields, p_start, p_later, p_couplings, count, sites, TILE: tl.constexpr, PAIRS: tl.constexpr
):
    first_b = tl.program_id(0).to(tl.int64) * TILE  # pointers are a 64-bit scalar and 32-bit offsets in the tile
    o_b = tl.arange(0, TILE)
    m_b = o_b < count - first_b
    p_fields += first_b * sites
    p_spins += first_b * sites
    p_out += first_b * sites
    for site in range(sites):
        logit = star_logit(p_fields, p_start, p_later, p_couplings, o_b, site, TILE, PAIRS)
        p_logit = p_out + (o_b * sites + site)
        tl.store(p_logit, tl.load(p_logit, mask=m_b, other=0.0) + logit, mask=m_b)
        spin = tl.load(p_spins + (o_b * sites + site), mask=m_b, other=0).to(tl.float32)
        star_update(p_fields, p_start, p_later, p_couplings, spin, o_b, site, TILE, PAIRS)
        tl.debug_barrier()


@dataclass(frozen=True)
class Star:
    """A prior's sites with their later neighbours, ascending, on a device; all in drawing order."""

    fields: Tensor  # float32 [N], beta h
    start: Tensor  # int32 [N + 1]
    later: Tensor  # int32 [M]
    couplings: Tensor  # float32 [M], beta J

    def running(self, count: int) -> Tensor:
        """The fields of `count` samples before their first site, float32 [tiles, N, TILE]."""
        return self.fields[:, None].expand(triton.cdiv(count, TILE), -1, TILE).contiguous()

    def arguments(self, running: Tensor, count: int) -> tuple[Tensor, ...]:
        """What a kernel takes: p_fields, p_start, p_later, p_couplings. ValueError for fields of other samples."""
        check("running", running, (torch.float32,), (triton.cdiv(count, TILE), len(self.fields), TILE))
        check_device(running=running, star=self.fields)
        if not running.is_contiguous():
            raise ValueError("running must be contiguous")
        return running, self.start, self.later, self.couplings


def add_star_prior(star: Star, spins: Tensor, logits: Tensor) -> None:
    """Adds what the star gives to logits float32 [B, N] of spins int8 [B, N], in place; both in drawing order.

    Raises TypeError or ValueError for arguments that do not fit.
    """
    count, sites = spins.shape
    check("spins", spins, (torch.int8,), (None, len(star.fields)))
    check("logits", logits, (torch.float32,), (count, sites))
    check_device(spins=spins, logits=logits, star=star.fields)
    for name, tensor in (("spins", spins), ("logits", logits)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    if count:
        arguments = star.arguments(star.running(count), count)
        star_prior_kernel[(triton.cdiv(count, TILE),)](
            spins, logits, *arguments, count, sites, TILE=TILE, PAIRS=PAIRS, num_warps=2
        )
