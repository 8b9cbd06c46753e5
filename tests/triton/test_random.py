"""The words and the draw rule of Triton kernels against their numpy twin, bit for bit."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from vanfast.kernels.random import draw, random_word, sample_index
from vanfast.random import FLIP_STREAM, SPIN_STREAM, draw_spins, random_words

SEEDS = [
    (0, 0, 0),
    (2**64 - 1, 2**33 + 5, 7),
    (2**40 + 7, 2**64 - 30, 0),
    (5, 2**32 - 10, 2**34),
    (2**63, 1, 2**63 - 1),
]


@triton.jit(do_not_specialize=["seed", "first"])
def words_kernel(p_words, p_step, sites, seed: tl.uint64, first: tl.uint64, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    o_b = tl.arange(0, BLOCK)
    for site in range(sites):
        word = random_word(seed, sample_index(first, p_step, o_b), site, STREAM)
        tl.store(p_words + o_b * sites + site, word.to(tl.int64))


@pytest.mark.parametrize("stream", [SPIN_STREAM, FLIP_STREAM])
@pytest.mark.parametrize(("seed", "first", "step"), SEEDS)
def test_words_are_those_of_the_contract(device, seed, first, step, stream):
    words = torch.full((64, 9), -1, dtype=torch.int64, device=device)
    words_kernel[(1,)](words, torch.tensor([step], device=device), 9, seed, first, stream, 64)
    truth = random_words(seed, (first + step) % 2**64, 64, 9, stream)
    assert np.array_equal(words.cpu().numpy(), truth.astype(np.int64))


def drawn(device, logits, seed, first):
    """Spins and ln q by the kernel, into garbage."""
    spins = torch.full(logits.shape, 77, dtype=torch.int8, device=device)
    log_q = torch.full((len(logits),), torch.nan, dtype=torch.float64, device=device)
    draw(logits.to(device), spins, log_q, torch.zeros(1, dtype=torch.int64, device=device), seed, first)
    return spins.cpu(), log_q.cpu()


def test_draws_from_certain_to_impossible(device):
    extreme = torch.tensor([0.0, -0.0, 1e-8, -1e-3, 5.0, -5.0, 15.0, -22.0, 40.0, -86.0, 300.0, -1e4])
    for logits in (extreme.repeat(70, 1), 4 * torch.randn(33, 5, dtype=torch.float64)):
        spins, log_q = drawn(device, logits, 11, 2**33 + 5)
        truth = draw_spins(logits.double().numpy(), random_words(11, 2**33 + 5, *logits.shape))
        assert np.array_equal(spins.numpy(), truth)
        exact = torch.nn.functional.logsigmoid(spins * logits.double()).sum(1)
        torch.testing.assert_close(log_q, exact, rtol=1e-14, atol=1e-300)


def test_log_probabilities_of_tiny_terms(device):
    """One site a time, so that a tiny term is not drowned: ln sigmoid(40) = -4e-18."""
    for logit in (1e-12, 20.0, 40.0, 80.0, 700.0):
        spins, log_q = drawn(device, torch.tensor([[logit]], dtype=torch.float64), 3, 0)
        exact = torch.nn.functional.logsigmoid(spins * torch.tensor([[logit]], dtype=torch.float64)).sum(1)
        torch.testing.assert_close(log_q, exact, rtol=1e-14, atol=1e-320)


def test_thresholds_are_exact_to_one_word(device):
    """Logits whose threshold lies one above or one below the word that will be drawn: float32 could not tell them."""
    words = random_words(17, 100, 40, 6).astype(np.float64)
    for above, flips in ((0.5, False), (1.5, True)):  # floor(threshold) = word, and word + 1
        threshold = np.minimum(words, 2.0**32 - 4 - words) + above
        logits = np.log(2.0**32 / threshold - 1)
        below = words < 2.0**31 - 4
        spins, _ = drawn(device, torch.from_numpy(np.where(below, logits, 1.0)), 17, 100)
        assert below.sum() > 50
        assert (spins.numpy()[below] == (-1 if flips else 1)).all()
        spins, _ = drawn(device, torch.from_numpy(np.where(below, -logits, 1.0)), 17, 100)
        assert (spins.numpy()[below] == (1 if flips else -1)).all()


def test_arguments_are_checked(device):
    logits, step = torch.zeros(3, 2, device=device), torch.zeros(1, dtype=torch.int64, device=device)
    log_q = torch.zeros(3, dtype=torch.float64, device=device)
    with pytest.raises(TypeError, match="spins"):
        draw(logits, logits, log_q, step, 0, 0)
    with pytest.raises(ValueError, match="log_q"):
        draw(logits, torch.zeros(3, 2, dtype=torch.int8, device=device), log_q[:2], step, 0, 0)
