"""The contract of randomness in numpy: Philox4x32-10 words and the draw rule, the twin of csrc/common/philox.h.

Philox4x32-10: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. key = seed (low, high word),
counter = (sample index low, high, site // 4, stream), and the word of a site is number site % 4 of the result, where
site is the position in drawing order. Every word is thus a function of (seed, sample, site, stream) alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPIN_STREAM, FLIP_STREAM, MONTE_CARLO_STREAM, INIT_STREAM, ORDER_STREAM = 0, 1, 2, 3, 4

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox4x32(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10 of counters [..., 4] under a key of two 32-bit words; uint32 [..., 4]."""
    c0, c1, c2, c3 = (np.asarray(counter)[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c2 = (p1 >> _32) ^ c1 ^ np.uint64(k0), (p0 >> _32) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def random_words(seed: int, first: int, count: int, sites: int, stream: int = SPIN_STREAM) -> NDArray[np.uint32]:
    """The words of samples first .. first + count - 1 (modulo 2**64) at sites 0 .. sites - 1; uint32 [count, sites]."""
    samples = np.arange(count, dtype=np.uint64) + np.uint64(first)
    blocks = (sites + 3) // 4
    counter = np.empty((count, blocks, 4), dtype=np.uint32)
    counter[:, :, 0] = (samples & _LOW)[:, None]
    counter[:, :, 1] = (samples >> _32)[:, None]
    counter[:, :, 2] = np.arange(blocks, dtype=np.uint32)
    counter[:, :, 3] = stream
    return philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(count, 4 * blocks)[:, :sites]


def permutation(seed: int, block: int, count: int) -> NDArray[np.int64]:
    """A random order of 0 .. count - 1, int64 [count]: that of 64 bits, the first two words of counter (n, block,
    ORDER_STREAM), with equal ones in the order of n. `block` in [0, 2**32) numbers the orders of a seed."""
    counter = np.empty((count, 4), dtype=np.uint32)
    counter[:, 0], counter[:, 1] = np.arange(count) & 0xFFFFFFFF, np.arange(count) >> 32
    counter[:, 2], counter[:, 3] = block, ORDER_STREAM
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32)).astype(np.uint64)
    return np.argsort(words[:, 0] << _32 | words[:, 1], kind="stable")


def draw_spins(logits: NDArray[np.float64], words: NDArray[np.uint32]) -> NDArray[np.int8]:
    """Spins +-1 for logits x and words w of one shape: sign(x) (+ at 0), or its opposite iff w < floor(s(-|x|) 2**32).

    s is the logistic function. The rarer spin is drawn by comparison with its own small probability, so both tails are
    exact to the resolution of a word.
    """
    with np.errstate(over="ignore"):
        threshold = np.floor(2.0**32 / (1.0 + np.exp(np.abs(logits))))
    return np.where((logits >= 0) ^ (words < threshold), 1, -1).astype(np.int8)


def draw_states(logits: NDArray[np.float64], words: NDArray[np.uint32]) -> NDArray[np.int8]:
    """States 0 .. q - 1 of sites with logits [..., q], q >= 2, and words [...]; the twin of csrc/common/draw_state.h.

    The majority is the last state of the largest logit. Every other state owns floor(p_k 2**32) words, p = softmax of
    the logits; their shares lie one behind the other from word 0 in ascending order of k, and the majority owns what is
    left. So all rare states are compared with their own small probabilities, first, last or between, and q = 2 is
    `draw_spins` with the logit x_1 - x_0.
    """
    q = logits.shape[-1]
    majority = q - 1 - np.argmax(logits[..., ::-1], axis=-1)
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    np.put_along_axis(weight, majority[..., None], 0.0, -1)
    share = np.floor(weight / (1.0 + weight.sum(-1, keepdims=True)) * 2.0**32)
    end = np.cumsum(share, -1)  # integers below 2**53: exact
    hit = (words[..., None] >= end - share) & (words[..., None] < end)
    return np.where(hit.any(-1), hit.argmax(-1), majority).astype(np.int8)


def symmetry_elements(seed: int, first: int, count: int, order: int) -> NDArray[np.int64]:
    """Which element of a symmetry group of `order` maps each sample, int64 [count]: order - 1 - floor(w order / 2**32),
    w the sample's word 0 of the flip stream. All are equally likely to 2**-32, and element 0 is the identity."""
    words = random_words(seed, first, count, 1, FLIP_STREAM)[:, 0].astype(np.uint64)
    return order - 1 - (words * np.uint64(order) >> _32).astype(np.int64)


def flip_signs(seed: int, first: int, count: int) -> NDArray[np.int8]:
    """+-1 for each sample: -1, with probability 1/2, where Z2 symmetrisation flips all its spins; int8 [count]."""
    return (1 - 2 * symmetry_elements(seed, first, count, 2)).astype(np.int8)
