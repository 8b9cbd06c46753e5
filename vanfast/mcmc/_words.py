"""Random words of Monte Carlo in numpy, the twin of csrc/common/mcmc.h."""

from __future__ import annotations

import numpy as np

from vanfast.random import MONTE_CARLO_STREAM, philox4x32

SITE, START, PLANE, SWAP, CLUSTER, PROPOSAL = range(6)
WALKER_BLOCKS = 2**48


def walker_words(seed: int, walkers: np.ndarray, use: int, block: int, blocks: int) -> np.ndarray:
    """The words of blocks block .. block + blocks - 1 of walkers uint64 [W]: uint32 [W, 4 blocks]."""
    numbers = np.arange(blocks, dtype=np.uint64) + np.uint64(block)
    counter = np.empty((len(walkers), blocks, 4), dtype=np.uint32)
    counter[:, :, 0] = (walkers & np.uint64(0xFFFFFFFF))[:, None]
    counter[:, :, 1] = (walkers >> np.uint64(32))[:, None]
    counter[:, :, 2] = numbers & np.uint64(0xFFFFFFFF)
    counter[:, :, 3] = MONTE_CARLO_STREAM | use << 8 | (numbers >> np.uint64(32) << np.uint64(16))
    return philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(len(walkers), 4 * blocks)


def uniforms(words: np.ndarray) -> np.ndarray:
    """The middles of the 2^32 equal parts of (0, 1)."""
    return (words + 0.5) / 2.0**32


def start_states(seed: int, walkers: np.ndarray, num_sites: int, q: int) -> np.ndarray:
    """The random states of 0 .. q - 1 that walkers start with, int8 [W, N]: the high half of word q, a word a site."""
    words = walker_words(seed, walkers, START, 0, (num_sites + 3) // 4)[:, :num_sites]
    return (words.astype(np.uint64) * np.uint64(q) >> np.uint64(32)).astype(np.int8)


def start_spins(seed: int, walkers: np.ndarray, num_sites: int) -> np.ndarray:
    """The random spins that walkers start with, int8 [W, N]."""
    words = walker_words(seed, walkers, START, 0, (num_sites + 127) // 128)
    bits = np.unpackbits(words.astype("<u4").view(np.uint8), axis=1, bitorder="little", count=num_sites)
    return 1 - 2 * bits.astype(np.int8)
