"""What the engine is compared with, all in PyTorch on the same threads and the same plan.

naive    the whole network once per site, as the VAN paper's code does it: full (2k + 1) x (2k + 1) kernels and full
         matrices, masked entries multiplied.
cached   activations of finished sites are kept, and each site is computed once: what one writes after reading that
         the naive way is wasteful.
Both work in float32 also where the engine's case is bf16, and with Z2 without the pass over the flipped spins.
limit    the rate of a matrix product in the same precision: torch's on large squares or the engine's own on data in
         the first-level cache, whichever is faster here (torch's library is not at its best on every CPU).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from vanfast import _cpu
from vanfast.networks.plan import ConvPlan, MaskedPlan


def torch_product_rate(precision: str, size: int = 2048, repeats: int = 5) -> float:
    """Operations per second of a size x size x size product; the best of `repeats`, for it stands for a limit."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def engine_product_rate(precision: str, threads: int | None) -> float:
    """The same of the engine's inner loop on a product that fits the first-level cache."""
    return max(_cpu.product_rate(bf16=precision == "bf16", threads=threads or 0) for _ in range(3))


def forward(plan: ConvPlan | MaskedPlan, spins: Tensor) -> Tensor:
    """Logits [B, N] of float spins [B, N] in drawing order, masked weights multiplied like the others."""
    z, before = spins, spins
    if isinstance(plan, ConvPlan):
        k = plan.half_kernel
        z = spins.view(-1, 1, *plan.shape)
        for layer in plan.layers:
            x = (
                z
                if layer.pointwise is None
                else functional.conv2d(z, layer.pointwise[..., None, None], layer.pointwise_bias)
            )
            x = x if layer.slope is None else functional.prelu(x, layer.slope)
            out = functional.conv2d(x, functional.pad(layer.weight, (0, 0, 0, k)), layer.bias, padding=k)
            z = out + z if layer.residual else out
        return z.flatten(1)
    for masked in plan.layers:
        x = z if masked.slope is None else functional.prelu(z, masked.slope)
        out = functional.linear(x, masked.weight, masked.bias)
        z, before = (out + before if masked.skip else out), z
    return z


def sample_naive(plan: ConvPlan | MaskedPlan, batch: int, sites: int | None = None) -> float:
    """Seconds for `batch` samples with one whole forward pass per site: the median site's time, times all sites. With
    `sites`, only so many sites are drawn. On a GPU where the plan's tensors lie on one."""
    spins = torch.zeros(batch, plan.num_sites, device=plan.layers[0].weight.device)

    def site(index: int) -> None:
        p = torch.sigmoid(forward(plan, spins)[:, index])
        spins[:, index] = 2 * torch.bernoulli(p) - 1
        if spins.is_cuda:
            torch.cuda.synchronize(spins.device)

    return _time_sites(site, range(min(sites or plan.num_sites, plan.num_sites)), plan.num_sites)


def sample_cached(plan: ConvPlan | MaskedPlan, batch: int, sites: int | None = None) -> float:
    """Seconds for `batch` samples, activations cached, one site at a time; `sites` as in `sample_naive`, taken from
    the middle of the lattice."""
    return _cached_conv(plan, batch, sites) if isinstance(plan, ConvPlan) else _cached_masked(plan, batch, sites)


def _cached_conv(plan: ConvPlan, batch: int, sites: int | None) -> float:
    height, width = plan.shape
    k = plan.half_kernel
    # channels last, so that the patch of a site is k + 1 runs of memory; padded as the convolution is
    caches = [torch.zeros(batch, height + k, width + 2 * k, layer.weight.shape[1]) for layer in plan.layers]
    weights = [layer.weight.permute(2, 3, 1, 0).flatten(0, 2) for layer in plan.layers]
    # made once: a fresh patch for every site would measure the memory allocator
    patches = [torch.empty(batch, k + 1, 2 * k + 1, layer.weight.shape[1]) for layer in plan.layers]
    drawn = min(sites or plan.num_sites, plan.num_sites)
    start = (plan.num_sites - drawn) // 2

    def site(index: int) -> Tensor:
        y, x = divmod(index, width)
        z = torch.zeros(batch, 1)
        for number, (layer, cache, weight) in enumerate(zip(plan.layers, caches, weights, strict=True)):
            if number:  # the layer's input at this site; the first layer's is the spin, which is not drawn yet
                h = z if layer.pointwise is None else functional.linear(z, layer.pointwise, layer.pointwise_bias)
                cache[:, y + k, x + k] = h if layer.slope is None else functional.prelu(h, layer.slope)
            patch = patches[number].copy_(cache[:, y : y + k + 1, x : x + 2 * k + 1]).view(batch, -1)
            out = patch @ weight if layer.bias is None else torch.addmm(layer.bias, patch, weight)
            z = out + z if layer.residual else out
        spin = 2 * torch.bernoulli(torch.sigmoid(z)) - 1
        caches[0][:, y + k, x + k] = spin
        return spin

    return _time_sites(site, range(start, start + drawn), plan.num_sites)


def _cached_masked(plan: MaskedPlan, batch: int, sites: int | None) -> float:
    count = plan.num_sites
    spins = torch.zeros(batch, count)
    active = [spins, *(torch.zeros(batch, len(layer.degree)) for layer in plan.layers[:-1])]
    sums = [torch.zeros(batch, len(layer.degree)) for layer in plan.layers]
    starts = [torch.searchsorted(layer.degree, torch.arange(count + 1)).tolist() for layer in plan.layers]
    drawn = min(sites or count, count)
    start = (count - drawn) // 2

    def site(p: int) -> Tensor:
        for number, layer in enumerate(plan.layers):
            units = slice(starts[number][p], starts[number][p + 1])
            seen = starts[number - 1][p + 1] if number else p
            z = functional.linear(
                active[number][:, :seen], layer.weight[units, :seen], None if layer.bias is None else layer.bias[units]
            )
            if layer.skip:
                z = z + sums[number - 2][:, units]
            sums[number][:, units] = z
            if number + 1 < len(plan.layers):
                slope = plan.layers[number + 1].slope
                active[number + 1][:, units] = z if slope is None else functional.prelu(z, slope[units])
        spin = 2 * torch.bernoulli(torch.sigmoid(sums[-1][:, p])) - 1
        spins[:, p] = spin
        return spin

    return _time_sites(site, range(start, start + drawn), count)


def _time_sites(site: Callable[[int], object], indices: range, count: int) -> float:
    times = []
    with torch.no_grad():
        site(indices[0])
        for index in indices:
            begin = time.perf_counter()
            site(index)
            times.append(time.perf_counter() - begin)
    return statistics.median(times) * count
