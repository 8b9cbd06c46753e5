"""Tensor cores: fragments, products against plain ones, rounding of operands."""

import numpy as np
import pytest
import torch

RNG = np.random.default_rng(7)


def to_tf32(x):
    """Rounded to 10 bits after the leading one, ties away from zero."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    scaled = mantissa * 2.0**11
    return np.ldexp(np.trunc(scaled + np.copysign(0.5, scaled)) / 2.0**11, exponent).astype(np.float32)


def to_bf16(x):
    return torch.from_numpy(x).bfloat16().float().numpy()


def pairs(x):
    """float32 [..., 2k] of bf16 values as words [..., k], the lower index in the lower half."""
    return (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint32)


def check(got, a, b):
    """a [n, 16, K], b [n, 8, K]; the products of float32 have a bound on their error from adding up nK terms."""
    exact = np.einsum("nik,njk->ij", a.astype(np.float64), b.astype(np.float64))
    bound = np.einsum("nik,njk->ij", abs(a).astype(np.float64), abs(b).astype(np.float64)) * 2.0**-23 * a[:, 0].size
    assert (abs(got.view(np.float32).reshape(16, 8) - exact) <= bound).all()
    assert abs(exact).max() > 1


@pytest.mark.parametrize("n", [1, 3])
def test_product_of_tf32(emulation, n):
    a, b = to_tf32(RNG.normal(size=(n, 16, 8))), to_tf32(RNG.normal(size=(n, 8, 8)))
    words = np.concatenate([a, b], axis=1).view(np.uint32)
    check(emulation.run("product_tf32", words, 128, n=n), a, b)
    # The lowest 13 bits do not count: operands that are not rounded are cut off.
    garbage = words | RNG.integers(0, 2**13, words.shape, dtype=np.uint32)
    np.testing.assert_array_equal(
        emulation.run("product_tf32", garbage, 128, n=n), emulation.run("product_tf32", words, 128, n=n)
    )


@pytest.mark.parametrize("n", [1, 3])
def test_product_of_bf16(emulation, n):
    a = to_bf16(RNG.normal(size=(n, 16, 16)).astype(np.float32))
    b = to_bf16(RNG.normal(size=(n, 8, 16)).astype(np.float32))
    check(emulation.run("product_bf16", pairs(np.concatenate([a, b], axis=1)), 128, n=n), a, b)


@pytest.mark.parametrize("transposed", [False, True])
def test_fragments_through_shared_memory(emulation, transposed):
    a = to_bf16(RNG.normal(size=(1, 16, 16)).astype(np.float32))
    b = to_bf16(RNG.normal(size=(1, 8, 16)).astype(np.float32))
    stored = np.ascontiguousarray(b[0].T if transposed else b[0])
    words = np.concatenate([pairs(a[0]).ravel(), pairs(stored).ravel()])
    for seed in range(4):
        emulation.module.emulation_seed(seed)
        check(emulation.run("product_through_shared", words, 128, n=2 if transposed else 1, shared=768), a, b)


def test_half_a_warp_cannot_multiply(emulation):
    with pytest.raises(RuntimeError, match="mma_bf16 at tests/emulation/matrices"):
        emulation.run("product_of_half_a_warp", np.zeros(1, dtype=np.uint32), 32)


def test_rounding(emulation):
    x = np.concatenate([RNG.normal(size=1000), RNG.normal(size=1000) * 1e-39, [0.0, -0.0, 1e38, -3e38]])
    ties = np.array([0x3F808000, 0x3F818000, 0xBF828000, 0x3F801000, 0xBF803000, 0x3F80FFFF], dtype=np.uint32)
    words = np.concatenate([x.astype(np.float32).view(np.uint32), ties, np.array([0x7F800000, 0xFF800000], np.uint32)])
    words = np.resize(words, 2016)
    launch = {"block": (32, 1, 1), "grid": (63, 1, 1)}
    floats = words.view(np.float32)
    got = emulation.run("rounding", words, 2016, n=0, **launch)
    np.testing.assert_array_equal(got, to_bf16(floats).view(np.uint32))
    packed = emulation.run("rounding", words, 2016, n=2, **launch)
    np.testing.assert_array_equal(packed[::2], got[::2] >> 16 | got[1::2])
    got = emulation.run("rounding", words, 2016, n=1, **launch)
    normal = np.isfinite(floats) & (abs(floats) > 2e-38)
    np.testing.assert_array_equal(got.view(np.float32)[normal], to_tf32(floats[normal]))
    assert not (got[np.isfinite(floats)] & 0x1FFF).any()
    nan = emulation.run("rounding", np.full(32, 0xFFC00001, dtype=np.uint32), 32, n=0)
    assert set(nan) == {0x7FFF0000}
