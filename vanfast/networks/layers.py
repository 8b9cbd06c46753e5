"""Masked layers. Half of each kernel is closed by its mask, and that half is not multiplied: convolutions keep the rows
of the kernel up to the site's own, linear layers work in blocks of rows that see a run of first columns.

Every layer takes `skip`, a term to add to its output.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_BLOCK_ROWS = 64  # below this a matrix product costs more in calls than the mask saves
MAX_BLOCKS = 4  # the work left is (1 + 1/blocks)/2 of the full product; more blocks were slower in training (VAN dense)


def uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator | None) -> Tensor:
    """U(-bound, bound) in the default dtype."""
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def slopes(units: int) -> nn.Parameter:
    """PReLU slopes, 0.5 to start with as in the VAN paper's code."""
    return nn.Parameter(torch.full((units,), 0.5))


def masking_gain(entries: int, active: int) -> float:
    """sqrt(all weights / unmasked weights): keeps the variance of the outputs as that of the unmasked layer."""
    return math.sqrt(entries / active) if active else 1.0


class LinearLayer(nn.Module, ABC):
    """What the layers have in common: a weight, an optional bias, and counts of both."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    @abstractmethod
    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """The layer's output for `x`, plus `skip`."""

    @abstractmethod
    def masked_weight(self) -> Tensor:
        """The weight as it multiplies the input, masks applied: a new tensor."""

    @abstractmethod
    def weight_counts(self) -> tuple[int, int]:
        """Number of weights with masked ones, and without."""

    def num_parameters(self) -> int:
        return self.weight_counts()[0] + (0 if self.bias is None else self.bias.numel())

    def num_active_parameters(self) -> int:
        return self.weight_counts()[1] + (0 if self.bias is None else self.bias.numel())


class MaskedConv2d(LinearLayer):
    """A convolution over the half plane before a site: [B, C_in, Ly, Lx] -> [B, C_out, Ly, Lx], zero padding.

    `weight` is [C_out, C_in, k + 1, 2k + 1]: the kernel's rows dy = -k .. 0. In the last row the taps right of the site
    are closed, and with `inclusive=False` the site's own too. Initialised as torch's Conv2d of the whole
    (2k + 1) x (2k + 1) kernel is, times the masking gain.
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        half_kernel: int,
        inclusive: bool,
        bias: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        k = half_kernel
        self.half_kernel, self.inclusive = k, inclusive
        mask = torch.ones(k + 1, 2 * k + 1)
        mask[k, k + int(inclusive) :] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.taps = int(mask.sum())
        bound = 1 / math.sqrt(in_channels * (2 * k + 1) ** 2)
        gain = masking_gain((2 * k + 1) ** 2, self.taps)
        shape = (out_channels, in_channels, k + 1, 2 * k + 1)
        self.weight = nn.Parameter(uniform(shape, bound * gain, generator) * mask)
        self.bias = nn.Parameter(uniform((out_channels,), bound, generator)) if bias else None

    def masked_weight(self) -> Tensor:
        return self.weight * self.mask

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        k = self.half_kernel
        # Taps that lie outside the lattice from every site are cut off.
        up, side = min(k, x.shape[2] - 1), min(k, x.shape[3] - 1)
        weight = self.masked_weight()[:, :, k - up :, k - side : k + side + 1]
        out = functional.conv2d(functional.pad(x, (side, side, up, 0)), weight, self.bias)
        return out if skip is None else out + skip

    def weight_counts(self) -> tuple[int, int]:
        channels = self.weight.shape[0] * self.weight.shape[1]
        return channels * (2 * self.half_kernel + 1) ** 2, channels * self.taps


class MaskedLinear(LinearLayer):
    """A linear layer [B, n_in] -> [B, n_out] whose masks follow from degrees (see `plan.MaskedLayer`).

    `in_degree` is the smallest degree an output unit needs to see an input. Both degree vectors must not decrease, so
    that what a block of rows sees is a run of first columns.
    """

    mask: Tensor
    degree: Tensor

    def __init__(self, in_degree: Tensor, degree: Tensor, bias: bool, generator: torch.Generator | None = None) -> None:
        super().__init__()
        n_in, n_out = len(in_degree), len(degree)
        mask = (in_degree[None, :] <= degree[:, None]).to(torch.get_default_dtype())
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("degree", degree.clone(), persistent=False)
        self.active = int(mask.sum())
        count = max(1, min(MAX_BLOCKS, n_out // MIN_BLOCK_ROWS))
        edges = [n_out * i // count for i in range(count + 1)]
        seen = [int((in_degree <= degree[end - 1]).sum()) for end in edges[1:]]
        self.blocks = tuple(zip(edges[:-1], edges[1:], seen, strict=True))
        bound = 1 / math.sqrt(n_in)
        gain = masking_gain(n_out * n_in, self.active)
        self.weight = nn.Parameter(uniform((n_out, n_in), bound * gain, generator) * mask)
        self.bias = nn.Parameter(uniform((n_out,), bound, generator)) if bias else None

    def masked_weight(self) -> Tensor:
        return self.weight * self.mask

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        weight = self.masked_weight()
        out = torch.cat([functional.linear(x[:, :n], weight[a:b, :n]) for a, b, n in self.blocks], dim=1)
        if self.bias is not None:
            out = out + self.bias
        return out if skip is None else out + skip

    def weight_counts(self) -> tuple[int, int]:
        return self.weight.numel(), self.active


class ChannelLinear(LinearLayer):
    """Mixes the channels of each site: [B, N * C] -> [B, N * C], units sorted by site, `weight` [N, C_out, C_in].

    The VAN paper counts and initialises it as a masked linear layer of all N * C units, and so does this class.
    """

    degree: Tensor

    def __init__(self, num_sites: int, channels: int, bias: bool, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.num_sites, self.channels = num_sites, channels
        units = num_sites * channels
        self.register_buffer("degree", torch.arange(num_sites).repeat_interleave(channels), persistent=False)
        bound = 1 / math.sqrt(units)
        self.weight = nn.Parameter(
            uniform((num_sites, channels, channels), bound * masking_gain(num_sites, 1), generator)
        )
        self.bias = nn.Parameter(uniform((units,), bound, generator)) if bias else None

    def masked_weight(self) -> Tensor:
        """The layer as one [N * C, N * C] matrix."""
        return torch.diag_embed(self.weight.permute(1, 2, 0), dim1=0, dim2=2).flatten(2).flatten(0, 1)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        sites = x.unflatten(1, (self.num_sites, self.channels))
        out = torch.einsum("bni,noi->bno", sites, self.weight).flatten(1)
        if self.bias is not None:
            out = out + self.bias
        return out if skip is None else out + skip

    def weight_counts(self) -> tuple[int, int]:
        return (self.num_sites * self.channels) ** 2, self.weight.numel()


class PointwiseConv2d(LinearLayer):
    """A 1 x 1 convolution [B, C, Ly, Lx] -> [B, C, Ly, Lx], `weight` [C, C, 1, 1]."""

    def __init__(self, channels: int, bias: bool, generator: torch.Generator | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(channels)
        self.weight = nn.Parameter(uniform((channels, channels, 1, 1), bound, generator))
        self.bias = nn.Parameter(uniform((channels,), bound, generator)) if bias else None

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        out = functional.conv2d(x, self.weight, self.bias)
        return out if skip is None else out + skip

    def masked_weight(self) -> Tensor:
        return self.weight.clone()

    def weight_counts(self) -> tuple[int, int]:
        return self.weight.numel(), self.weight.numel()
