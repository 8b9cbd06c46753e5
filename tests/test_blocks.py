"""Sums of blocks of spins against loops, and their map to states."""

import numpy as np
import pytest
import torch

from vanfast.observables import block_levels, block_shape, block_sums, states_to_sums, sums_to_states


@pytest.mark.parametrize(
    ("shape", "block", "stride", "expected"),
    [
        ((16, 16), 2, 1, (15, 15)),
        ((16, 16), 2, 2, (8, 8)),
        ((4, 6), 2, 2, (2, 3)),
        ((3, 5), 2, 1, (2, 4)),
        ((2, 2), 2, 1, (1, 1)),
        ((7, 4), 3, 1, (5, 2)),
        ((8, 5), 2, 3, (3, 2)),
        ((3, 2), 1, 1, (3, 2)),
        ((11, 22), 11, 11, (1, 2)),
    ],
)
def test_sums_are_those_of_loops(shape, block, stride, expected):
    rng = np.random.default_rng(0)
    spins = rng.choice(np.array([-1, 1], dtype=np.int8), (13, *shape))
    assert block_shape(shape, block, stride) == expected
    sums = block_sums(spins, shape, block, stride)
    assert sums.dtype == torch.int8
    assert sums.shape == (13, expected[0] * expected[1])
    for y in range(expected[0]):
        for x in range(expected[1]):
            part = spins[:, y * stride : y * stride + block, x * stride : x * stride + block]
            assert np.array_equal(sums[:, y * expected[1] + x].numpy(), part.sum((1, 2)))
    flat = torch.from_numpy(spins).reshape(13, -1)
    assert torch.equal(block_sums(flat.double(), shape, block, stride), sums)
    assert set(np.unique(sums)) <= set(block_levels(block))
    states = sums_to_states(sums, block)
    assert states.dtype == torch.int8
    assert states.min() >= 0
    assert states.max() <= block * block
    assert torch.equal(torch.tensor(block_levels(block), dtype=torch.int8)[states.long()], sums)
    assert torch.equal(states_to_sums(states, block), sums)


def test_a_reflection_of_spins_reflects_states():
    spins = torch.from_numpy(np.random.default_rng(1).choice(np.array([-1, 1]), (5, 16)))
    states, mirrored = (sums_to_states(block_sums(s, (4, 4))) for s in (spins, -spins))
    assert torch.equal(mirrored, 4 - states)


def test_levels():
    assert block_levels() == (-4, -2, 0, 2, 4)
    assert sums_to_states(np.array([-4, -2, 0, 2, 4])).tolist() == [0, 1, 2, 3, 4]
    assert states_to_sums(np.arange(5)).tolist() == [-4, -2, 0, 2, 4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: block_sums(np.ones((2, 15)), (5, 3), 2, 2), r"shape \(5, 3\) does not fit: .* leave 1 of the 5 sites"),
        (lambda: block_sums(np.ones((2, 5)), (5, 1)), "smaller than a block of 2x2"),
        (lambda: block_sums(np.ones((2, 15)), (4, 4)), r"expected \[16\]"),
        (lambda: block_sums(np.zeros((2, 16)), (4, 4)), r"only \+1 and -1, found 0"),
        (lambda: block_sums(np.ones((2, 16)), (4, 4), block=0), "block must be an integer of at least 1"),
        (lambda: block_sums(np.ones((2, 16)), (4, 4), stride=0), "stride must be an integer of at least 1"),
        (lambda: block_sums(np.ones((2, 16)), (16,)), "shape must have 2 lengths"),
        (lambda: block_sums(np.ones((1, 144)), (12, 12), block=12), "block must be at most 11"),
        (lambda: sums_to_states(np.array([[0, 2], [1, 0]])), r"sums must be in \(-4, .*, found 1 at \[1, 0\]"),
        (lambda: sums_to_states(torch.tensor([-128], dtype=torch.int8)), "found -128"),
        (lambda: states_to_sums(np.array([0, 5])), r"states must be 0 .. 4, found 5 at \[1\]"),
        (lambda: states_to_sums(np.array([0.5])), r"found 0\.5"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
