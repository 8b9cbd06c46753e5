"""Batches and held-out data: every configuration once an epoch, counts divided, all by the seed alone."""

import numpy as np
import pytest

from vanfast.random import permutation, philox4x32
from vanfast.training.data import Samples
from vanfast.training.likelihood.batches import Batches, digest_of, held_out


def some(counts):
    size = len(counts)
    bits = (np.arange(size)[:, None] >> np.arange(12)) & 1
    return Samples((2 * bits - 1).astype(np.int8), np.asarray(counts, dtype=np.float64))


def test_a_permutation_is_the_order_of_its_words():
    order = permutation(2**40 + 7, 3, 50)
    counter = np.array([[n, 0, 3, 4] for n in range(50)], dtype=np.uint32)
    words = philox4x32(counter, (7, 2**8))
    keys = [(int(w[0]) << 32) | int(w[1]) for w in words]
    assert list(order) == sorted(range(50), key=keys.__getitem__)
    assert not np.array_equal(order, permutation(2**40 + 7, 4, 50))
    assert not np.array_equal(order, permutation(7, 3, 50))
    assert len(permutation(0, 0, 0)) == 0


def test_permutations_are_uniform():
    """All 24 orders of four, chi-square."""
    orders, counts = np.unique([permutation(5, block, 4) for block in range(4800)], axis=0, return_counts=True)
    assert len(orders) == 24
    assert np.sum((counts - 200) ** 2 / 200) < 50  # 23 degrees of freedom: p = 1e-3


@pytest.mark.parametrize(("count", "steps"), [(10, 3), (7, 7), (1, 1), (1001, 10)])
def test_an_epoch_goes_once_through_everything(count, steps):
    batches = Batches(count, steps, seed=9)
    first, second = ([batches.rows(epoch * steps + step) for step in range(steps)] for epoch in range(2))
    for epoch in (first, second):
        assert sorted(np.concatenate(epoch)) == list(range(count))
        assert {len(rows) for rows in epoch} <= {count // steps, -(-count // steps)}
    assert count < 3 or not np.array_equal(np.concatenate(first), np.concatenate(second))
    again = Batches(count, steps, seed=9)
    assert np.array_equal(again.rows(2 * steps - 1), second[-1])  # whatever was asked for before


def test_samples_seen_once_are_held_out_whole():
    samples = some(np.ones(200))
    train, held = held_out(samples, 0.25, seed=3)
    assert (len(train), len(held)) == (150, 50)
    together = np.concatenate([train.spins, held.spins])
    assert len(np.unique(together, axis=0)) == 200
    assert np.array_equal(held_out(samples, 0.25, seed=3)[1].spins, held.spins)
    assert not np.array_equal(held_out(samples, 0.25, seed=4)[1].spins, held.spins)


def test_counts_are_divided():
    counts = np.array([1000, 1, 0 + 1, 50_000, 7])
    train, held = held_out(some(counts), 0.2, seed=1)
    parts = np.zeros((2, 5))
    for row, part in enumerate((train, held)):
        for spins, count in zip(part.spins, part.counts, strict=True):
            parts[row, int(((spins + 1) // 2) @ (1 << np.arange(12)))] = count
    assert np.array_equal(parts.sum(0), counts)
    assert parts[1, 3] == pytest.approx(10_000, abs=5 * np.sqrt(50_000 * 0.16))
    assert parts[1, 3] != 10_000  # a share of its own: what is held out is not a copy of what is trained on
    with pytest.raises(ValueError, match=r"counts must be below 2\*\*53"):
        held_out(some([2.0**60, 1]), 0.5, 0)


def test_weights_that_are_no_counts_stay_whole():
    weights = np.random.default_rng(0).random(100) * 10
    train, held = held_out(some(weights), 0.3, seed=1)
    assert len(held) == 30
    assert sorted([*train.counts, *held.counts]) == sorted(weights)


def test_the_digest_sees_spins_and_counts_and_which_is_which():
    a, b = some([1, 2, 3]), some([1, 2, 4])
    flipped = Samples(-a.spins, a.counts)
    assert (
        len({digest_of(a, None), digest_of(b, None), digest_of(flipped, None), digest_of(a, b), digest_of(b, a)}) == 5
    )
    assert digest_of(some([1, 2, 3]), b) == digest_of(a, b)
