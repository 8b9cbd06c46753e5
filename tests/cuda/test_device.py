"""Devices and random words of the CUDA module."""

import numpy as np
import pytest
import torch

from vanfast.random import random_words


def test_there_is_a_device(cuda):
    assert cuda.module.device_count() >= 1
    assert cuda.module.device_error() == ""
    facts = cuda.module.device_properties(0)
    assert facts["capability"] >= (8, 0)
    assert facts["shared_bytes"] >= 96 << 10
    with pytest.raises(RuntimeError, match="device"):
        cuda.module.device_properties(99)


@pytest.mark.parametrize(("count", "first", "seed"), [(1, 0, 0), (300, 2**32 - 100, 2**64 - 1), (129, 2**64 - 3, 7)])
def test_random_words_are_those_of_the_contract(cuda, count, first, seed):
    words = torch.full((count + 1, 4), -1, dtype=torch.int32, device=cuda.device)
    stream = 0 if cuda.emulated else torch.cuda.current_stream().cuda_stream
    cuda.module.philox_words(words.data_ptr(), count, seed, first, 3, 1, device=0, stream=stream)
    expected = random_words(seed, first, count, 16, 1)[:, 12:]
    np.testing.assert_array_equal(words[:count].cpu().numpy().view(np.uint32), expected)
    assert (words[count] == -1).all()
    with pytest.raises(ValueError, match="count"):
        cuda.module.philox_words(words.data_ptr(), -1, seed, first, 3, 1, device=0, stream=stream)
