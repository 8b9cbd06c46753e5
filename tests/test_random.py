"""The contract of randomness: Philox words by known answers, the draw rule at its edges and in its tails."""

import math

import numpy as np
import pytest

from vanfast.random import FLIP_STREAM, draw_spins, flip_signs, philox4x32, random_words


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_known_answers(counter, key, answer):
    assert philox4x32(np.array(counter, dtype=np.uint32), key).tolist() == answer


def test_counter_layout():
    seed, sample = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    words = random_words(seed, sample, 3, 11, stream=2)
    assert words.shape == (3, 11)
    for n in range(3):
        for site in range(11):
            index = sample + n
            counter = [index & 0xFFFFFFFF, index >> 32, site // 4, 2]
            expected = philox4x32(np.array(counter, dtype=np.uint32), (0x89ABCDEF, 0x01234567))[site % 4]
            assert words[n, site] == expected


def test_words_of_a_sample_do_not_depend_on_the_batch():
    whole = random_words(5, 2**32 - 3, 8, 6)
    np.testing.assert_array_equal(random_words(5, 2**32 + 1, 2, 6), whole[4:6])
    np.testing.assert_array_equal(random_words(5, 2**32 - 3, 8, 2), whole[:, :2])
    np.testing.assert_array_equal(random_words(5, 2**64 - 1, 3, 4)[1:], random_words(5, 0, 2, 4))
    assert random_words(5, 0, 0, 4).shape == (0, 4)


def draw(logit, word):
    return int(draw_spins(np.array([logit]), np.array([word], dtype=np.uint32))[0])


@pytest.mark.parametrize("logit", [0.0, 0.3, -0.3, 2.5, -7.0, 20.0, -20.0])
def test_threshold_of_the_minority(logit):
    majority = 1 if logit >= 0 else -1
    threshold = math.floor(2**32 / (1 + math.exp(abs(logit))))
    assert draw(logit, threshold) == majority
    assert draw(logit, threshold - 1) == -majority
    assert draw(logit, 0) == -majority
    assert draw(logit, 2**32 - 1) == majority


def test_tails_never_draw_what_is_rarer_than_a_word():
    assert draw(22.0, 0) == -1
    assert draw(23.0, 0) == 1
    assert draw(-23.0, 0) == -1
    assert draw(1e4, 0) == 1
    assert draw(-np.inf, 0) == -1


def test_frequencies_of_drawn_spins():
    words = random_words(1, 0, 200_000, 4).ravel()
    for logit in (-2.0, 0.0, 0.7):
        p = 1 / (1 + math.exp(-logit))
        drawn = (draw_spins(np.full(len(words), logit), words) > 0).mean()
        assert abs(drawn - p) < 4 * math.sqrt(p * (1 - p) / len(words))


def test_flips_are_fair_and_from_their_own_stream():
    signs = flip_signs(3, 10, 100_000)
    assert set(signs.tolist()) == {-1, 1}
    assert abs(signs.mean()) < 4 / math.sqrt(100_000)
    words = random_words(3, 10, 100_000, 1, FLIP_STREAM)[:, 0]
    np.testing.assert_array_equal(signs < 0, words < 2**31)


def test_threshold_of_a_flip(monkeypatch):
    words = np.array([[2**31 - 1], [2**31]], dtype=np.uint32)
    monkeypatch.setattr("vanfast.random.random_words", lambda *_: words)
    assert flip_signs(0, 0, 2).tolist() == [-1, 1]
