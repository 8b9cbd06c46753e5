"""Masked linear layers and their gradients against float64: closed tiles, runs of units, finished inputs, spins."""

import pytest
import torch
from torch import Tensor

from tests.triton.twins import NAN, PRECISIONS, Product, error, multiply, prelu, random_spins, rounded
from vanfast.kernels.activate import activate
from vanfast.kernels.masked import Windows, masked, pack, windows
from vanfast.kernels.masked_backward import masked_grad_input, masked_grad_weight

TOLERANCE = {"fp32": 2e-6, "tf32": 2e-5, "bf16": 2e-5}


def sites(count: int, channels: int) -> Tensor:
    return torch.arange(count).repeat_interleave(channels)


def drawn(units: int, top: int) -> Tensor:
    return torch.randint(0, top, (units,)).sort().values


# seen_from, degree, local, batch
LAYERS = {
    "one_unit": lambda: (torch.arange(1) + 1, torch.arange(1), False, 1),  # sees nothing
    "two_sites": lambda: (torch.arange(2) + 1, sites(2, 3), False, 5),
    "channels": lambda: (sites(33, 3), sites(33, 3), False, 63),
    "to_logits": lambda: (sites(33, 2), torch.arange(33), False, 5),
    "local": lambda: (sites(29, 3), sites(29, 3), True, 35),
    "local_wide": lambda: (sites(3, 40), sites(3, 40), True, 2),
    "random": lambda: (drawn(77, 20), drawn(45, 20), False, 5),
    "unseen": lambda: (torch.arange(40, 80), drawn(50, 41), False, 3),  # most units see nothing, most inputs no unit
}


@pytest.fixture(params=LAYERS)
def layer(request, device):
    """(weight, windows on the device, open entries, batch)."""
    seen_from, degree, local, batch = LAYERS[request.param]()
    is_open = seen_from[None, :] == degree[:, None] if local else seen_from[None, :] <= degree[:, None]
    weight = torch.randn(len(degree), len(seen_from)) * is_open
    return weight, windows(seen_from.to(device), degree.to(device), local), is_open, batch


def as_mask(first: Tensor | None, end: Tensor | None, rows: int, length: int) -> Tensor:
    at, mask = torch.arange(length)[None, :], torch.ones(rows, length, dtype=torch.bool)
    mask = mask if first is None else mask & (at >= first.cpu()[:, None])
    return mask if end is None else mask & (at < end.cpu()[:, None])


def test_windows_are_the_open_entries(layer):
    _, seen, is_open, _ = layer
    assert torch.equal(as_mask(seen.first, seen.end, *is_open.shape), is_open)
    assert torch.equal(as_mask(seen.user_first, seen.user_end, *is_open.T.shape).T, is_open)
    assert all(bool((bound[1:] >= bound[:-1]).all()) for bound in seen if bound is not None)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_forward(layer, precision, device):
    weight, seen, _, batch = layer
    n_out, n_in = weight.shape
    x, slope, bias, skip = (torch.randn(*n) for n in ((batch, n_in), (n_in,), (n_out,), (batch, n_out)))
    packed = pack(weight.to(device), precision)
    out = torch.full((batch, n_out), NAN, device=device)
    arguments = (x.to(device), packed, seen, precision)
    got = masked(*arguments, bias.to(device), slope.to(device), skip.to(device), out)
    assert got is out
    expected = Product.apply(prelu(x, slope), weight, multiply, precision)
    assert error(got, expected + bias + skip) < TOLERANCE[precision]
    assert error(masked(*arguments), Product.apply(x, weight, multiply, precision)) < TOLERANCE[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_spins_lose_nothing(layer, precision, device):
    weight, seen, _, batch = layer
    spins = random_spins(batch, weight.shape[1])
    packed = pack(weight.to(device), precision, spins=True)
    assert torch.equal(packed.double().sum(0).cpu(), rounded(weight, precision))
    got = masked(spins.to(device), packed, seen, precision)
    assert error(got, spins.double() @ rounded(weight, precision).T) < TOLERANCE["fp32"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("spins", [False, True])
def test_a_block_of_units_reads_finished_inputs_alone(layer, spins, precision, device):
    weight, seen, _, batch = layer
    n_out, n_in = weight.shape
    begin, limit = n_out // 3, n_in // 2
    end = max(begin + 1, 2 * n_out // 3)
    x = random_spins(batch, n_in) if spins else torch.randn(batch, n_in)
    given = torch.full((batch, n_in + 3), 100 if spins else NAN, dtype=x.dtype)
    given[:, :limit] = x[:, :limit]
    bias, skip = torch.randn(n_out), torch.randn(batch, n_out)
    out = torch.full((batch, n_out), NAN, device=device)
    masked(
        given.to(device)[:, :n_in], pack(weight.to(device), precision, spins), seen, precision, bias.to(device),
        skip=skip.to(device)[:, begin:end], out=out[:, begin:end], units=(begin, end), limit=limit,
    )  # fmt: skip
    expected = Product.apply(x[:, :limit], weight[:, :limit], multiply, precision) + bias + skip
    assert error(out[:, begin:end], expected[:, begin:end]) < TOLERANCE[precision]
    assert bool(out[:, :begin].isnan().all())
    assert bool(out[:, end:].isnan().all())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients(layer, precision, device):
    weight, seen, is_open, batch = layer
    n_out, n_in = weight.shape
    x, slope, grad, skip = (torch.randn(*n) for n in ((batch, n_in), (n_in,), (batch, n_out), (batch, n_in)))
    x64, w64, s64 = (t.double().requires_grad_() for t in (x, weight, slope))
    Product.apply(prelu(x64, s64), w64, multiply, precision).backward(grad.double())
    found = masked_grad_weight(grad.to(device), activate(x.to(device), slope.to(device), precision), seen, precision)
    assert bool((found.cpu()[~is_open] == 0).all())
    assert error(found, w64.grad * is_open) < TOLERANCE[precision]
    out = torch.full((batch, n_in), NAN, device=device)
    operands = pack(weight.to(device), precision)[0]
    arguments = (grad.to(device), operands, seen, precision)
    got, of_slope, total = masked_grad_input(*arguments, x.to(device), slope.to(device), skip.to(device), out)
    assert got is out
    assert error(got, x64.grad + skip) < TOLERANCE[precision]
    assert error(of_slope, s64.grad) < 10 * TOLERANCE[precision]  # sums of terms of both signs
    assert error(total, (x64.grad + skip).sum(0)) < 10 * TOLERANCE[precision]
    plain = masked_grad_input(*arguments)
    assert error(plain[0], rounded(grad, precision) @ rounded(weight, precision)) < TOLERANCE[precision]
    assert bool((plain[1] == 0).all())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weight_gradient_of_spins(layer, precision, device):
    weight, seen, is_open, batch = layer
    spins, grad = random_spins(batch, weight.shape[1]), torch.randn(batch, weight.shape[0])
    found = masked_grad_weight(grad.to(device), spins.to(device), seen, precision)
    expected = (rounded(grad, precision).T @ spins.double()) * is_open
    assert error(found, expected) < TOLERANCE["fp32"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_without_windows_all_is_open(precision, device):
    x, weight, grad = torch.randn(63, 17), torch.randn(33, 17), torch.randn(63, 33)
    packed = pack(weight.to(device), precision)
    expected = rounded(x, precision) @ rounded(weight, precision).T
    assert error(masked(x.to(device), packed, None, precision), expected) < TOLERANCE[precision]
    found = masked_grad_weight(grad.to(device), activate(x.to(device), None, precision), None, precision)
    assert error(found, rounded(grad, precision).T @ rounded(x, precision)) < TOLERANCE[precision]
    got = masked_grad_input(grad.to(device), packed[0], None, precision)[0]
    assert error(got, rounded(grad, precision) @ rounded(weight, precision)) < TOLERANCE[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sample_depends_on_nothing_but_itself(precision, device):
    degree = sites(25, 3)
    seen = windows(degree.to(device), degree.to(device), False)
    packed = pack(torch.randn(75, 75, device=device).tril(), precision)
    x = torch.randn(100, 75, device=device)
    whole = masked(x, packed, seen, precision)
    for start, end in ((0, 1), (31, 37), (40, 100)):
        assert torch.equal(masked(x[start:end], packed, seen, precision), whole[start:end])
    assert torch.equal(masked(x, packed, seen, precision, units=(40, 61)), whole[:, 40:61])
    assert masked(x[:0], packed, seen, precision).shape == (0, 75)


def test_arguments_are_checked(device):
    degree = torch.arange(4, device=device)
    seen, x, packed = windows(degree, degree, False), torch.ones(3, 4, device=device), torch.ones(1, 4, 4)
    packed = packed.to(device)
    with pytest.raises(TypeError, match=r"x has dtype torch\.float64"):
        masked(x.double(), packed, seen, "fp32")
    with pytest.raises(TypeError, match=r"packed has dtype torch\.float32, must be torch\.bfloat16"):
        masked(x.to(torch.int8), packed, seen, "fp32")
    with pytest.raises(ValueError, match=r"packed has shape \[1, 4, 4\], must be \[1, 4, 3\]"):
        masked(x[:, :3], packed, seen, "fp32")
    with pytest.raises(ValueError, match=r"units = \(2, 5\) must be a run of the 4"):
        masked(x, packed, seen, "fp32", units=(2, 5))
    with pytest.raises(ValueError, match=r"limit = 5 must be in 0 \.\. 4"):
        masked(x, packed, seen, "fp32", limit=5)
    with pytest.raises(ValueError, match=r"windows\.end has shape"):
        masked(x, packed, Windows(seen.end[:3], seen.user_first), "fp32")
    with pytest.raises(ValueError, match="kept and slope go together"):
        masked_grad_input(x, packed[0], seen, "fp32", kept=x)
    with pytest.raises(ValueError, match="grad must be contiguous"):
        masked_grad_weight(x.T.contiguous().T, x, seen, "fp32")
