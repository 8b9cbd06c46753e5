"""Which configurations each step sees, and which are held out: functions of the data and the seed alone."""

from __future__ import annotations

import hashlib

import numpy as np

from vanfast.random import permutation
from vanfast.training.data import Samples

SPLIT = 0  # block of the order that the split is read from; that of epoch e is e + 1


class Batches:
    """Every epoch goes once through all configurations in an order of its own, cut into batches as equal as can be."""

    def __init__(self, count: int, steps: int, seed: int) -> None:
        self.count, self.steps, self.seed = count, steps, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def rows(self, step: int) -> np.ndarray:
        """Indices of the configurations of a step, int64."""
        epoch, inside = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, permutation(self.seed, epoch + 1, self.count)
        return self._order[self.count * inside // self.steps : self.count * (inside + 1) // self.steps]


def held_out(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Training and validation data: a random `share` of the samples is held out.

    Where samples were seen several times, each time goes its own way: counts are divided binomially. Weights that are
    no counts stay whole. Raises ValueError where one side would be empty.
    """
    counts, size = samples.counts, len(samples)
    if (counts == np.floor(counts)).all() and counts.max() > 1:
        if counts.max() >= 2**53:
            raise ValueError(f"counts must be below 2**53 to be divided for validation, found {counts.max():.6g}")
        # the legacy generator, whose draws are the same in every numpy
        rng = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
        away = rng.binomial(counts.astype(np.int64), share).astype(np.float64)
    else:
        away = np.zeros(size)
        chosen = permutation(seed, SPLIT, size)[: round(share * size)]
        away[chosen] = counts[chosen]
    kept = counts - away
    if not away.any() or not kept.any():
        side = "validation" if not away.any() else "training"
        raise ValueError(
            f"validation = {share} of {size} configurations leaves none for {side}: give more data, or validation = 0"
        )
    return samples.where(kept), samples.where(away)


def digest_of(*parts: Samples | None) -> str:
    """SHA-256, in hexadecimal, of configurations and counts."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(b"none" if part is None else f"{part.spins.shape}".encode())
        if part is not None:
            packed = np.packbits(part.spins > 0, axis=1) if part.q is None else np.ascontiguousarray(part.spins)
            sha.update(packed.tobytes())
            sha.update(np.ascontiguousarray(part.counts, dtype="<f8").tobytes())
    return sha.hexdigest()
