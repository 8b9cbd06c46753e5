"""Barriers of blocks and warps: they hold, their absence shows, and every misuse is named."""

import re

import numpy as np
import pytest

from tests.emulation import line_of

SEEDS = range(6)
WORDS = np.arange(4096, dtype=np.uint32) * 7 + 3


def expected(kernel, n):
    x = WORDS[:n]
    if kernel == "rotate_in_warp":
        return np.roll(x.reshape(-1, 32), -1, axis=1).ravel()
    if kernel == "half_warps":
        return np.roll(x.reshape(-1, 16), -1, axis=1).ravel()
    return np.concatenate([x[::-1], WORDS[n : 2 * n][::-1]]) if kernel == "two_rounds" else x[::-1]


@pytest.mark.parametrize("threads", [32, 96, 1024])
@pytest.mark.parametrize("kernel", ["reverse", "two_rounds", "rotate_in_warp", "half_warps", "early_exit"])
def test_barriers_hold_in_any_order(emulation, kernel, threads):
    for seed in SEEDS:
        emulation.module.emulation_seed(seed)
        want = expected(kernel, threads)
        extra = 64 if kernel == "early_exit" and threads < 1024 else 0
        got = emulation.run(
            kernel, WORDS, len(want), n=threads, block=(threads + extra, 1, 1), shared=4 * (threads + extra)
        )
        np.testing.assert_array_equal(got, want)


SITES = {
    "reverse": [line_of("barriers.cu", "__syncthreads()", 0)],
    "two_rounds": [line_of("barriers.cu", "__syncthreads()", 1), line_of("barriers.cu", "__syncthreads()", 2)],
    "rotate_in_warp": [line_of("barriers.cu", "__syncwarp();", 0)],
    "half_warps": [line_of("barriers.cu", "__syncwarp(0xffffu << half)")],
}


@pytest.mark.parametrize(("kernel", "site"), [(kernel, site) for kernel, sites in SITES.items() for site in sites])
def test_a_missing_barrier_shows(emulation, kernel, site):
    threads = 64
    emulation.run(kernel, WORDS, 2 * threads, n=threads, block=(threads, 1, 1), shared=4 * threads)
    assert emulation.module.emulation_sites()[site] == {kernel}
    emulation.module.emulation_skip(site)
    want = expected(kernel, threads)
    wrong = 0
    for seed in SEEDS:
        emulation.module.emulation_seed(seed)
        got = emulation.run(kernel, WORDS, len(want), n=threads, block=(threads, 1, 1), shared=4 * threads)
        wrong += not np.array_equal(got, want)
    assert wrong >= len(SEEDS) // 2
    emulation.module.emulation_skip("")
    got = emulation.run(kernel, WORDS, len(want), n=threads, block=(threads, 1, 1), shared=4 * threads)
    np.testing.assert_array_equal(got, want)


def test_sites_are_those_of_the_source(emulation):
    for kernel in SITES:
        emulation.run(kernel, WORDS, 256, n=64, block=(64, 1, 1), shared=256)
    sites = emulation.module.emulation_sites()
    assert {site for sites in SITES.values() for site in sites} <= {*sites}


BARRIERS = "tests/emulation/barriers.cu:"
MISUSES = {
    "without_self": (32, r"__syncwarp at .*: the mask leaves out the calling lane"),
    "masks_differ": (32, r"different masks|leaves out the calling lane"),
    "lanes_missing": (40, r"__syncwarp at .*: the mask names lanes that the block does not have"),
    "lane_exits": (32, r"thread \(7, 0, 0\) exited, but others wait|names lanes that have exited"),
    "two_barriers": (64, rf"__syncthreads at {BARRIERS}\d+, but \d+ threads are in __syncthreads at {BARRIERS}\d+"),
    "deadlock": (32, rf"deadlock: .*31 threads \(first \(0, 0, 0\)\) wait in __syncthreads at {BARRIERS}\d+"),
    "trap": (32, r"thread \(5, 0, 0\): __trap"),
}


@pytest.mark.parametrize("kernel", MISUSES)
def test_misuse_is_an_error_that_names_the_place(emulation, kernel):
    threads, message = MISUSES[kernel]
    for seed in SEEDS:
        emulation.module.emulation_seed(seed)
        with pytest.raises(RuntimeError) as error:
            emulation.run(kernel, WORDS, 128, n=5, block=(threads, 1, 1), grid=(2, 1, 1), shared=512)
        assert re.match(rf"{kernel}, block \([01], 0, 0\): .*({message})", str(error.value)), error.value
        # Threads that were left in the middle do no harm to what comes next.
        got = emulation.run("reverse", WORDS, 64, n=64, block=(64, 1, 1), shared=256)
        np.testing.assert_array_equal(got, WORDS[:64][::-1])


def test_a_deadlock_tells_all_who_wait(emulation):
    with pytest.raises(RuntimeError, match=r"1 threads \(first \(3, 0, 0\)\) wait in __syncwarp at"):
        emulation.run("deadlock", WORDS, 128, block=(32, 1, 1))


def test_a_stack_that_overflows_is_an_error(emulation):
    assert (emulation.run("deep_stack", WORDS, 32, n=100 << 10) == 1).all()
    with pytest.raises(RuntimeError, match="the stack of an emulated thread overflowed"):
        emulation.run("deep_stack", WORDS, 32, n=244 << 10)
    assert (emulation.run("deep_stack", WORDS, 32, n=100 << 10) == 1).all()


LIMITS = [
    ({"block": (1025, 1, 1)}, "too many threads"),
    ({"block": (1, 1, 65)}, "too many threads"),
    ({"block": (0, 1, 1)}, "nothing to launch"),
    ({"grid": (0, 1, 1)}, "nothing to launch"),
    ({"grid": (1, 65536, 1)}, "too many blocks"),
    ({"grid": (1, 1, 65536)}, "too many blocks"),
    ({"grid": (2**31, 1, 1)}, "too many blocks"),
    ({"shared": 227 * 1024 + 1}, "more than 227 KB"),
]


@pytest.mark.parametrize(("launch", "message"), LIMITS, ids=[str(launch) for launch, _ in LIMITS])
def test_launches_beyond_the_hardware_are_refused(emulation, launch, message):
    with pytest.raises(RuntimeError, match=f"reverse: invalid .*{message}"):
        emulation.run("reverse", WORDS, 32, n=32, **launch)
    got = emulation.run("reverse", WORDS, 32, n=32, shared=227 * 1024)
    np.testing.assert_array_equal(got, WORDS[:32][::-1])
