"""Shuffles and votes against their definitions."""

import numpy as np
import pytest

LANES = np.arange(32)


@pytest.mark.parametrize("width", [1, 4, 16, 32])
def test_shuffles_and_votes(emulation, width):
    words = np.random.default_rng(width).integers(0, 2**32, 32, dtype=np.uint32)
    got = emulation.run("shuffles", words, 256, n=width).reshape(8, 32)
    group = LANES // width * width
    np.testing.assert_array_equal(got[0], words[group + (LANES * 5 + 3) % width])
    other = LANES ^ 5
    np.testing.assert_array_equal(got[1], words[np.where(other < group + width, other, LANES)])
    np.testing.assert_array_equal(got[2], words[np.where(LANES + 3 < group + width, LANES + 3, LANES)])
    np.testing.assert_array_equal(got[3], words[np.where(LANES - 3 >= group, LANES - 3, LANES)])
    assert set(got[4]) == {int(((words & 1).astype(np.uint64) << LANES.astype(np.uint64)).sum())}
    assert set(got[5]) == {2}
    np.testing.assert_array_equal(got[6], words[::-1])
    np.testing.assert_array_equal(got[7], words[LANES ^ 1])


def test_votes_of_one_mind(emulation):
    got = emulation.run("shuffles", np.full(32, 4, dtype=np.uint32), 256, n=32).reshape(8, 32)
    assert set(got[4]) == {0}
    assert set(got[5]) == {3}


def test_every_warp_of_a_block_has_its_own_sum(emulation):
    words = np.random.default_rng(0).integers(0, 2**20, 256, dtype=np.uint32)
    for seed in range(4):
        emulation.module.emulation_seed(seed)
        got = emulation.run("sum_of_warp", words, 256, block=(256, 1, 1))
        np.testing.assert_array_equal(got, words.reshape(8, 32).sum(1, dtype=np.uint32).repeat(32))


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("diverging", r"the warp diverges: lane \d+ came to __shfl_(xor|down)_sync at .*, another one it must meet to"),
        ("shuffle_from_outside", "reads from a lane outside of its mask"),
        ("shuffle_in_branch", "exited, but others wait for it in __shfl_xor_sync|names lanes that have exited"),
    ],
)
def test_lanes_that_do_not_meet_are_an_error(emulation, kernel, message):
    words = np.arange(32, dtype=np.uint32)
    for seed in range(6):
        emulation.module.emulation_seed(seed)
        with pytest.raises(RuntimeError, match=message):
            emulation.run(kernel, words, 32)


def test_a_width_that_is_no_power_of_two_is_an_error(emulation):
    with pytest.raises(RuntimeError, match="width"):
        emulation.run("shuffles", np.arange(32, dtype=np.uint32), 256, n=12)
