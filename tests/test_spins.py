"""The way in for configurations."""

import numpy as np
import pytest
import torch

from vanfast._spins import as_spins


def test_what_fits_already_is_not_copied() -> None:
    spins = torch.ones(3, 4, dtype=torch.int8)
    assert as_spins(spins, 4).data_ptr() == spins.data_ptr()
    assert as_spins(spins.reshape(3, 2, 2), 4).data_ptr() == spins.data_ptr()
    array = np.ones((3, 4), dtype=np.int8)
    assert as_spins(array, 4).numpy().ctypes.data == array.ctypes.data


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.float16, np.float32, np.float64, ">i4"])
def test_every_dtype(dtype) -> None:
    array = np.array([[1, -1, 1], [-1, -1, 1]], dtype=dtype)
    spins = as_spins(array, 3)
    assert spins.dtype == torch.int8
    assert spins.is_contiguous()
    assert spins.tolist() == array.tolist()
    assert as_spins(array[:, ::-1], 3).tolist() == array[:, ::-1].tolist()


def test_one_configuration_and_none() -> None:
    assert as_spins(torch.ones(4, requires_grad=True), 4).shape == (1, 4)
    assert as_spins(torch.ones(0, 4), 4).shape == (0, 4)
    assert as_spins(np.ones((0, 2, 2)), 4).shape == (0, 4)
    assert as_spins(torch.ones(5, 1), 1).shape == (5, 1)


def test_a_read_only_array_is_copied() -> None:
    array = np.ones(4, dtype=np.int8)
    array.flags.writeable = False
    spins = as_spins(array, 4)
    spins[0, 0] = -1
    assert array[0] == 1


@pytest.mark.parametrize("value", [0, 2, -2, 3, 127, -127, -128])
def test_wrong_int8(value) -> None:
    spins = torch.ones(3, 5, dtype=torch.int8)
    spins[1, 4] = value
    for array in (spins, spins.numpy()):
        with pytest.raises(ValueError, match=f"x must hold only .* found {value} at configuration 1, site 4"):
            as_spins(array, 5, "x")
        assert as_spins(array, 5, check_values=False)[1, 4] == value


@pytest.mark.parametrize(
    ("spins", "error", "message"),
    [
        (np.array([1.0, np.nan]), ValueError, "found nan"),
        (torch.tensor([1.0, 0.99]), ValueError, "found 0.99"),
        (np.array([1, 255], dtype=np.uint8), ValueError, "found 255"),
        (torch.tensor([1, 255], dtype=torch.uint8), ValueError, "found 255"),
        (np.array([1, 2**64 - 1], dtype=np.uint64), ValueError, "found 18446744073709551615"),
        (np.array([1, 257], dtype=np.int64), ValueError, "found 257"),
        (np.array([True, True]), TypeError, r"spins must hold the numbers \+1 and -1, not bool"),
        (torch.tensor([True, True]), TypeError, r"not torch\.bool"),
        (np.array([1j, 1]), TypeError, "not complex128"),
        (np.array(["1", "1"]), TypeError, "not <U1"),
        ([1, 1], TypeError, "spins must be a torch tensor or a numpy array, not list"),
        (np.ones(3), ValueError, r"spins has shape \[3\], expected \[2\], \[B, 2\]"),
        (np.ones((2, 3)), ValueError, r"spins has shape \[2, 3\]"),
        (torch.tensor(1), ValueError, r"spins has shape \[\]"),
    ],
)
def test_wrong_spins(spins, error, message) -> None:
    with pytest.raises(error, match=message):
        as_spins(spins, 2, check_values=False)
