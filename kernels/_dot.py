"""Products of tiles in the three precisions, and how operands are rounded for them. Used inside the other kernels.

fp32: three tf32 products of operands split in two (hi hi + hi lo + lo hi), or, where one operand is spins, which are
exact in bf16, three bf16 products of the other split in three. tf32: operands rounded to tf32, ties away from zero, by
hand because the hardware truncates. bf16: operands rounded to bf16, ties to even. Sums are float32 in all of them.
"""

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

PRECISIONS = {"fp32": 0, "tf32": 1, "bf16": 2}

FP32 = tl.constexpr(0)
TF32 = tl.constexpr(1)
BF16 = tl.constexpr(2)
# The interpreter's casts to bf16 truncate and its tl.dot takes bf16 for integers: there, bf16 operands are float32 that
# were rounded by hand.
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


@triton.jit
def to_tf32(x):
    """float32 rounded to 10 bits after the leading one."""
    bits = x.to(tl.int32, bitcast=True)
    return ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit
def to_bf16(x):
    """Rounded to bf16, ties to even."""
    if INTERPRETED:
        bits = x.to(tl.float32).to(tl.int32, bitcast=True)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000).to(tl.float32, bitcast=True)
    else:
        return x.to(tl.bfloat16)


@triton.jit
def operand(x, PRECISION: tl.constexpr):
    """A tile as its product takes it."""
    if PRECISION == BF16:
        return to_bf16(x)
    elif PRECISION == TF32:
        return to_tf32(x.to(tl.float32))
    else:
        return x.to(tl.float32)


@triton.jit
def ready(x):
    """A loaded tile that is an operand already."""
    if INTERPRETED:
        return x.to(tl.float32)
    else:
        return x


@triton.jit
def stored(x, p_out):
    """float32 rounded to what p_out points to."""
    if p_out.dtype.element_ty == tl.bfloat16:
        return to_bf16(x)
    else:
        return x


@triton.jit
def activated(x, slope):
    """PReLU with float32 slopes that broadcast against x."""
    x = x.to(tl.float32)
    return tl.where(x > 0, x, x * slope)


@triton.jit
def product(acc, a, b, PRECISION: tl.constexpr):
    """acc + a b of operands."""
    if PRECISION == BF16:
        return tl.dot(ready(a), ready(b), acc)
    elif PRECISION == TF32:
        return tl.dot(a, b, acc, input_precision="tf32")
    else:
        return tl.dot(a, b, acc, input_precision="tf32x3")


@triton.jit
def spins_product(acc, a, spins, PRECISION: tl.constexpr):
    """acc + a spins of float32 a in bf16 parts that add up to it: 3 for float32, 2 for tf32, 1 rounds to bf16."""
    if PRECISION == TF32:
        a = to_tf32(a)
    high = to_bf16(a)
    if PRECISION != BF16:
        rest = a - high.to(tl.float32)
        middle = to_bf16(rest)
        if PRECISION == FP32:
            acc = product(acc, to_bf16(rest - middle.to(tl.float32)), spins, BF16)
        acc = product(acc, middle, spins, BF16)
    return product(acc, high, spins, BF16)


def parts_of(precision: str) -> int:
    """Number of bf16 parts that a weight multiplying spins is split in."""
    return {"fp32": 3, "tf32": 2, "bf16": 1}[precision]


def tf32_rounded(x: Tensor) -> Tensor:
    """`to_tf32` in torch: float32 rounded to tf32, ties away from zero."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)


def rounded(x: Tensor, precision: str) -> Tensor:
    """`operand` in torch: float32 for fp32 and tf32, bfloat16 for bf16."""
    if precision == "bf16":
        return x.to(torch.bfloat16)
    return tf32_rounded(x.float()) if precision == "tf32" else x.float()


def split(weight: Tensor, precision: str) -> Tensor:
    """bf16 [parts, ...] that add up to the weight (fp32), to its tf32 rounding, or its bf16 rounding alone."""
    rest = tf32_rounded(weight.float()) if precision == "tf32" else weight.float()
    parts = []
    for _ in range(parts_of(precision)):
        parts.append(rest.to(torch.bfloat16))
        rest = rest - parts[-1].float()
    return torch.stack(parts)


def power_of_two(n: int, least: int = 1) -> int:
    """The smallest power of two that is neither below n nor below `least`."""
    return max(least, 1 << (n - 1).bit_length())


def check(name: str, tensor: Tensor, dtypes: tuple[torch.dtype, ...], shape: tuple[int | None, ...]) -> None:
    """TypeError or ValueError naming the argument unless the tensor has one of the dtypes and the shape (None: any)."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if tensor.dtype not in dtypes:
        raise TypeError(f"{name} has dtype {tensor.dtype}, must be {' or '.join(map(str, dtypes))}")
    fits = len(tensor.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, tensor.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} has shape {list(tensor.shape)}, must be [{wanted}]")


def check_device(**tensors: Tensor | None) -> None:
    """ValueError unless all tensors lie on one device, the first one's."""
    there = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    first = next(iter(there))
    for name, device in there.items():
        if device != there[first]:
            raise ValueError(f"{name} lies on {device}, {first} on {there[first]}")
