"""The networks and batches of the VAN paper's Tables III and IV, and how much arithmetic one sample of each needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vanfast.networks import Dense, PixelCNN
from vanfast.networks.plan import ConvPlan, MaskedPlan, MixturePlan, NestPlan

if TYPE_CHECKING:
    from vanfast.networks import Network
    from vanfast.networks.plan import Plan


@dataclass(frozen=True)
class Case:
    """One line of the table: a network, a batch and a precision."""

    name: str
    build: Callable[[], Network]
    batch: int
    precision: str = "fp32"
    limited_by_products: bool = True  # False: random words and sigmoids decide, a share of the limit says nothing


def _shallow(z2: bool = False, L: int = 16) -> PixelCNN:
    return PixelCNN((L, L), depth=3, width=64, half_kernel=6, z2=z2)


def _deep(z2: bool = False, L: int = 16) -> PixelCNN:
    return PixelCNN((L, L), depth=6, width=64, half_kernel=3, residual=True, z2=z2)


CASES = {
    case.name: case
    for case in (
        Case("conv-3-64-6", _shallow, 1000),
        Case("conv-3-64-6-bf16", _shallow, 1000, "bf16"),
        Case("conv-3-64-6-z2", lambda: _shallow(z2=True), 1000),
        Case("conv-6-64-3", _deep, 1000),
        Case("conv-6-64-3-bf16", _deep, 1000, "bf16"),
        Case("conv-6-64-3-z2", lambda: _deep(z2=True), 1000),
        Case("dense-3-4", lambda: Dense(256, depth=3, width=4), 1000),
        Case("dense-6-2", lambda: Dense(256, depth=6, width=2, residual=True), 1000),
        Case("one-layer-20", lambda: Dense(20), 10_000, limited_by_products=False),
        Case("one-layer-100", lambda: Dense(100), 10_000, limited_by_products=False),
        Case("one-layer-1024", lambda: Dense(1024), 10_000),
        Case("conv-1-1-1", lambda: PixelCNN((16, 16), 1, 1, 1, z2=False), 1000, limited_by_products=False),
    )
}
GROWTH: dict[str, Callable[[int], Network]] = {
    "conv 3/64/6": lambda L: _shallow(L=L),
    "conv 6/64/3": lambda L: _deep(L=L),
}


def useful_operations(plan: Plan, z2: bool) -> int:
    """Multiplications and additions of one sample: unmasked weights, taps inside the lattice, each site once; with Z2
    twice, for the flipped spins."""
    if isinstance(plan, ConvPlan):
        products = _conv_products(plan)
    elif isinstance(plan, MaskedPlan):
        products = sum(int((layer.weight != 0).sum()) for layer in plan.layers)
    elif isinstance(plan, NestPlan):
        products = plan.num_sites * (plan.num_sites - 1) // 2 * (1 + 2 * (plan.nestings + 2))
    elif isinstance(plan, MixturePlan):
        products = plan.logits.numel()
    else:
        products = 0  # look-ups
    return 2 * products * (2 if z2 else 1)


def _conv_products(plan: ConvPlan) -> int:
    height, width = plan.shape
    k = plan.half_kernel
    products = 0
    for layer in plan.layers:
        out, channels = layer.weight.shape[:2]
        taps = 0
        for dy in range(k + 1):
            for dx in range(-k, k + 1):
                if dy == 0 and (dx > 0 or (dx == 0 and not layer.inclusive)):
                    continue
                taps += max(0, height - dy) * max(0, width - abs(dx))
        products += out * channels * taps
        if layer.pointwise is not None:
            products += layer.pointwise.numel() * height * width
    return products
