"""Sampling of nested log-sigmoids (H2ARNN's SK networks): site after site, fields and nests fused, then the draw.

The formula is in vanfast.kernels.nest. Before site i the fields u_l of all sites l >= i take in the column of the spin
drawn last, one fused multiply-add while they are in registers, and both branches read them.

Grid: one program for each TILE consecutive samples, which lie in lanes; blocks of BLOCK_L later sites, [BLOCK_L, TILE].
Data: the fields, float32 [N, count], lie in global memory, 128 bytes of a row for a program: 13 KB at N = 100, in the
multiprocessor's cache. Parameters come through the caches, those of a pair together, at one address for all lanes. A
block is passed over where no read-out and no coupling of it is in use (`used`), which networks with few couplings have
many of. The logit goes through global
memory, where it is wanted anyway, so that a thread draws for one sample; what one thread writes others read after
tl.debug_barrier().
Random: the word of stream 0, site i, sample first + step[0] + row. ln q is `log_prob` of the logits.

Floor on H200: as vanfast.kernels.nest, SK N = 100, k = 1, 10,000 samples 0.11 ms. Prediction: 0.5 ms: 1252 warps, 3 to
a scheduler at most, of 225,000 instructions, a tenth of them draws in float64; SK N = 20, 10,000 samples: 50 us.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import check, check_device
from vanfast.kernels.nest import check_nest, nests
from vanfast.kernels.random import SPINS, draw_up, random_word, sample_index

TILE = 32  # samples of a program
BLOCK_L = 16  # sites of a block


# `given` is no constant, so that drawn and given spins go through the same instructions.
@triton.jit(do_not_specialize=["count", "given", "seed", "first"])
def nest_scan_kernel(
    p_spins, p_logits, p_fields, p_step, p_weight, p_shift, p_couplings, p_bias, p_direct, p_used,
    count, sites, given, seed: tl.uint64, first: tl.uint64,
    LEVELS: tl.constexpr, TILE: tl.constexpr, BLOCK_L: tl.constexpr,
):  # fmt: skip
    first_b = tl.program_id(0).to(tl.int64) * TILE  # pointers are a 64-bit scalar and offsets in the tile
    o_b = tl.arange(0, TILE)
    m_b = o_b < count - first_b
    sample = sample_index(first, p_step, first_b + o_b)
    p_spins += first_b * sites
    p_logits += first_b * sites
    p_fields += first_b
    blocks = tl.cdiv(sites, BLOCK_L)
    x = tl.zeros((BLOCK_L, TILE), tl.float32)  # the spin drawn last, in the layout of the fields
    for site in range(sites):
        terms = tl.zeros((BLOCK_L, TILE), tl.float32)
        direct = tl.load(p_direct + site)
        for block in range(site // BLOCK_L, blocks):
            if tl.load(p_used + site * blocks + block) != 0:
                o_l = block * BLOCK_L + tl.arange(0, BLOCK_L)
                m_l = o_l < sites
                m = m_l[:, None] & m_b[None, :]
                o_u = o_l.to(tl.int64)[:, None] * count + o_b[None, :]
                j = tl.load(p_couplings + (site - 1) * sites + o_l, mask=m_l & (site > 0), other=0.0)
                u = tl.load(p_fields + o_u, mask=m, other=0.0) + j[:, None] * x
                tl.store(p_fields + o_u, u, mask=m)
                pair = tl.cast(site, tl.int64) * sites + o_l
                p_w, p_s = p_weight + pair * (2 * LEVELS + 2), p_shift + pair * (2 * LEVELS)
                later = nests(p_w, p_s, u, m_l & (o_l > site), 1, LEVELS)
                terms += tl.where((o_l == site)[:, None], direct * u, later)
        o_s = o_b * sites + site
        tl.store(p_logits + o_s, tl.load(p_bias + site) + tl.sum(terms, 0), mask=m_b)
        tl.debug_barrier()
        if given != 0:
            up = tl.load(p_spins + o_s, mask=m_b, other=0) > 0
        else:
            logit = tl.load(p_logits + o_s, mask=m_b, other=0.0)
            up = draw_up(logit, random_word(seed, sample, site, SPINS))
            tl.store(p_spins + o_s, tl.where(up, 1, -1).to(tl.int8), mask=m_b)
        x = tl.broadcast_to(tl.where(up, 1.0, -1.0)[None, :], (BLOCK_L, TILE))


def used_blocks(weight: Tensor, couplings: Tensor) -> Tensor:
    """int8 [N, blocks]: whether at a site a block of BLOCK_L sites has a read-out that counts, has a coupling to the
    site before, or holds the site itself. Torch operations only, nothing waits for the device."""
    sites = len(couplings)
    used = couplings.new_zeros((sites, triton.cdiv(sites, BLOCK_L) * BLOCK_L), dtype=torch.bool)
    used[:, :sites] = weight[..., -1].ne(0).any(2)
    used[1:, :sites] |= couplings[:-1].ne(0)
    used.diagonal().fill_(True)
    return used.view(sites, -1, BLOCK_L).any(2).to(torch.int8)


def nest_scan(
    weight: Tensor,
    shift: Tensor,
    couplings: Tensor,
    bias: Tensor,
    direct: Tensor,
    used: Tensor,
    spins: Tensor,
    logits: Tensor,
    step: Tensor,
    seed: int,
    first: int,
    given: bool,
) -> None:
    """Spins int8 [count, N], read if given, else written, and logits float32 [count, N], written.

    weight, shift, couplings, bias, direct: the tensors of a NestPlan, float32, contiguous. used: as `used_blocks` gives
    it. step: int64 [1]. Raises TypeError or ValueError for arguments that do not fit.
    """
    sites, levels = check_nest(weight, shift, couplings, bias=bias, direct=direct)
    check("used", used, (torch.int8,), (sites, triton.cdiv(sites, BLOCK_L)))
    check("spins", spins, (torch.int8,), (None, sites))
    count = len(spins)
    check("logits", logits, (torch.float32,), (count, sites))
    check("step", step, (torch.int64,), (1,))
    check_device(spins=spins, logits=logits, step=step, weight=weight, used=used)
    for name, tensor in (("spins", spins), ("logits", logits), ("used", used)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    if not count:
        return
    fields = torch.zeros((sites, count), dtype=torch.float32, device=spins.device)
    nest_scan_kernel[(triton.cdiv(count, TILE),)](
        spins, logits, fields, step, weight, shift, couplings, bias, direct, used,
        count, sites, int(given), seed, first, LEVELS=levels, TILE=TILE, BLOCK_L=BLOCK_L, num_warps=4,
    )  # fmt: skip
