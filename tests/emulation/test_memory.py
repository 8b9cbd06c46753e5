"""Shared memory, asynchronous copies, atomics, order of threads, indices, bits."""

import numpy as np
import pytest

from tests.emulation import line_of

WORDS = np.random.default_rng(3).integers(0, 2**32, 4096, dtype=np.uint32)
NONE = np.uint32(0xFFFFFFFF)


def test_shared_memory_is_poisoned_before_every_block(emulation):
    assert (emulation.run("unwritten", WORDS, 256, grid=(4, 1, 1), block=(64, 1, 1), shared=256) == NONE).all()


def test_a_write_behind_shared_memory_is_found(emulation):
    emulation.run("write_shared_byte", WORDS, 1, n=99, shared=100)
    with pytest.raises(RuntimeError, match=r"write_shared_byte.*behind the block's shared memory"):
        emulation.run("write_shared_byte", WORDS, 1, n=100, shared=100)


def aligned(words):
    """A copy of words that starts at a multiple of 16 bytes."""
    room = np.empty(len(words) + 4, dtype=np.uint32)
    start = -room.ctypes.data // 4 % 4
    room[start : start + len(words)] = words
    return room[start : start + len(words)]


def test_copies_arrive_when_they_are_waited_for(emulation):
    words = aligned(WORDS[:512])
    first, second, early = emulation.run("copies", words, 768, n=50, block=(64, 1, 1), shared=2048).reshape(3, 256)
    np.testing.assert_array_equal(first[:200], words[:200])
    assert (first[200:] == 0).all()
    np.testing.assert_array_equal(second, words[256:])
    assert (early == NONE).all()


@pytest.mark.parametrize("wait", ["copy_async_wait<1>()", "copy_async_wait<0>()"])
def test_a_missing_wait_shows(emulation, wait):
    site = line_of("memory.cu", wait)
    words = aligned(WORDS[:512])
    emulation.run("copies", words, 768, n=50, block=(64, 1, 1), shared=2048)
    assert "copies" in emulation.module.emulation_sites()[site]
    emulation.module.emulation_skip(site)
    first, second, _ = emulation.run("copies", words, 768, n=50, block=(64, 1, 1), shared=2048).reshape(3, 256)
    assert ((first if "1" in wait else second) == NONE).all()


@pytest.mark.parametrize(
    ("kernel", "n", "message"),
    [
        ("copy_to", 8, "copy_async16: the shared address is not aligned"),
        ("copy_to", 48, "copy_async16: outside of the block's shared memory"),
        ("copy_from", 1, "copy_async16: the global address is not aligned"),
        ("load_at", 4, "load_matrix4: the shared address is not aligned"),
        ("load_at", 48, "load_matrix4: outside of the block's shared memory"),
    ],
)
def test_wrong_addresses_are_errors(emulation, kernel, n, message):
    with pytest.raises(RuntimeError, match=message):
        emulation.run(kernel, aligned(WORDS[:64]), 32, n=n, shared=60)


def order_of(emulation, seed):
    emulation.module.emulation_seed(seed)
    out = np.zeros(3 * 64 + 1, dtype=np.uint32)
    emulation.module.run("order", WORDS.ctypes.data, out.ctypes.data, 192, (3, 1, 1), (64, 1, 1), 0)
    assert out[192] == 192
    assert sorted(out[:192]) == list(range(192))
    return out[:192].reshape(3, 64)


def test_the_order_follows_from_the_seed(emulation):
    orders = [order_of(emulation, seed) for seed in range(12)]
    for seed, order in enumerate(orders):
        np.testing.assert_array_equal(order_of(emulation, seed), order)
    assert len({order.tobytes() for order in orders}) == 12
    # One block after another, in any order.
    starts = {tuple(np.argsort(order.min(1))) for order in orders}
    assert len(starts) >= 4
    assert all((order.max(1) - order.min(1) == 63).all() for order in orders)
    # Which thread of a block comes first, and whether a whole warp goes before the other.
    assert len({int(np.argmin(row)) for order in orders for row in order}) > 20
    apart = [bool(row[:32].max() < row[32:].min() or row[32:].max() < row[:32].min()) for o in orders for row in o]
    assert 4 < sum(apart) < 32


def test_atomics(emulation):
    x = WORDS[:96]
    out = np.zeros(16, dtype=np.uint32)
    out[3] = out[4] = NONE
    out[7] = 9
    emulation.module.run("atomics", x.ctypes.data, out.ctypes.data, 0, (1, 1, 1), (96, 1, 1), 0)
    total = x.sum(dtype=np.uint32)
    assert list(out[:4]) == [total, -int(total) % 2**32, x.max(), x.min()]
    assert list(out[4:9]) == [np.bitwise_and.reduce(x), np.bitwise_or.reduce(x), np.bitwise_xor.reduce(x), 5, 96]
    assert out[9:10].view(np.float32)[0] == 48
    assert out[10:12].view(np.float64)[0] == 24
    assert out[12:14].view(np.uint64)[0] == 96 << 31


def test_blocks_and_grids_of_three_dimensions(emulation):
    grid, block = (2, 3, 2), (4, 8, 3)
    out = emulation.run("indices", WORDS, 3 * 12 * 96, grid=grid, block=block).reshape(2, 3, 2, 3, 8, 4, 3)
    bz, by, bx, tz, ty, tx = np.ogrid[:2, :3, :2, :3, :8, :4]
    np.testing.assert_array_equal(out[..., 0], tx | ty << 8 | tz << 16 | 0 * (bx + by + bz))
    np.testing.assert_array_equal(out[..., 1], bx | by << 8 | bz << 16 | 0 * (tx + ty + tz))
    first = np.arange(96).reshape(3, 8, 4) // 32 * 32
    np.testing.assert_array_equal(out[..., 2], np.broadcast_to(first, out.shape[:-1]))


def test_bits(emulation):
    x, y = 0x80F1A35C, 0x7E0203FD
    got = emulation.run("bits", np.array([x, y], dtype=np.uint32), 9, block=(1, 1, 1))
    low, high = [x >> 8 * i & 255 for i in range(4)], [y >> 8 * i & 255 for i in range(4)]
    picked = [low[0], high[0], low[2], high[2]]  # selector 0x6240 from its lowest digit
    signed = [(a ^ 128) - 128 for a in low], [(b ^ 128) - 128 for b in high]
    funnel = y << 32 | x
    assert list(got) == [
        x.bit_count(),
        0,
        3,
        x * y >> 32,
        int(f"{x:032b}"[::-1], 2),
        funnel << 9 >> 32 & 0xFFFFFFFF,
        funnel >> 9 & 0xFFFFFFFF,
        sum(byte << 8 * i for i, byte in enumerate(picked)),
        (sum(a * b for a, b in zip(*signed, strict=True)) - 7) & 0xFFFFFFFF,
    ]
