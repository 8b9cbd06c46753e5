"""What this device can do at most, measured in the same run: torch's matrix products and a copy. Best, not median."""

from __future__ import annotations

from typing import Any

import torch
from clock import Clock

PRECISIONS = ("fp32", "tf32", "bf16")


def measure_limits(clock: Clock, tiny: bool) -> dict[str, Any]:
    """Operations per second of a square product in each precision, and bytes per second of a copy (read + written)."""
    size, copied = (64, 1 << 16) if tiny else (8192, 4 << 30)
    rates = {precision: 2 * size**3 / _product(clock, precision, size) for precision in PRECISIONS}
    source = torch.empty(copied, dtype=torch.int8, device=clock.device).random_()
    target = torch.empty_like(source)
    seconds = clock.time(lambda: target.copy_(source)).fastest
    return {"product_rate": rates, "product_size": size, "copy_rate": 2 * copied / seconds, "copy_bytes": copied}


def best_of(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The higher of two measurements of each limit: one before the cases, one after."""
    rates = {name: max(rate, second["product_rate"][name]) for name, rate in first["product_rate"].items()}
    return {**first, "product_rate": rates, "copy_rate": max(first["copy_rate"], second["copy_rate"])}


def _product(clock: Clock, precision: str, size: int) -> float:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=clock.device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype, device=clock.device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        return clock.time(lambda: torch.mm(a, b, out=out)).fastest
    finally:
        torch.set_float32_matmul_precision(before)
