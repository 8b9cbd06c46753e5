"""Masked convolutions and their gradients against float64, on lattices and widths that are multiples of nothing."""

import pytest
import torch
from torch import Tensor

from tests.triton.conftest import INTERPRETED
from tests.triton.twins import NAN, PRECISIONS, Product, convolve, error, open_taps, prelu, random_spins, rounded
from vanfast.kernels._dot import tf32_rounded
from vanfast.kernels.activate import activate
from vanfast.kernels.conv import ConvShape, conv, pack
from vanfast.kernels.conv_backward import conv_grad_input, conv_grad_weight

# (lattice, half kernel, C_in, C_out, batch)
SHAPES = [
    ((1, 1), 1, 17, 1, 1),
    ((3, 2), 2, 3, 3, 5),
    ((3, 1), 3, 1, 1, 63),
    ((1, 5), 2, 8, 1, 5),
    ((2, 3), 1, 17, 17, 33),
    ((2, 2), 6, 64, 64, 3),
    ((3, 3), 3, 1, 5, 19),
    ((2, 2), 1, 70, 66, 2),
    ((2, 18), 2, 16, 1, 3),
]
FIRST = [shape for shape in SHAPES if shape[2] == 1]
# Of float32 sums of the same operands; a product slope * z in float32 may cross a rounding of the operand.
TOLERANCE = {"fp32": 2e-6, "tf32": 2e-5, "bf16": 2e-5}


def layer(lattice: tuple[int, int], k: int, c_in: int, c_out: int, spins: bool, precision: str):
    """(ConvShape, weight float32 with closed taps 0)."""
    shape = ConvShape(lattice, k, not spins, c_in, c_out, precision, spins)
    return shape, (torch.randn(c_out, c_in, k + 1, 2 * k + 1) * open_taps(k, not spins)).float()


def nans(*shape: int, device: torch.device) -> Tensor:
    return torch.full(shape, NAN, device=device)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("lattice", "k", "c_in", "c_out", "batch"), SHAPES)
def test_forward(lattice, k, c_in, c_out, batch, precision, device):
    shape, weight = layer(lattice, k, c_in, c_out, False, precision)
    z, slope, bias = torch.randn(batch, *lattice, c_in), torch.randn(c_in), torch.randn(c_out)
    residual = torch.randn(batch, *lattice, c_out)
    expected = Product.apply(prelu(z, slope), weight, convolve, precision) + bias + residual
    packed = pack(shape, weight.to(device), out=torch.full(shape.packed_shape(), NAN).to(device, shape.packed_dtype()))
    operands = activate(z.to(device), slope.to(device), precision)
    assert torch.equal(operands.double().cpu(), rounded(prelu(z, slope), precision))
    out = nans(batch, *lattice, c_out, device=device)
    got = conv(shape, operands, packed, bias.to(device), None, residual.to(device), out, ready=True)
    assert got is out
    assert error(got, expected) < TOLERANCE[precision]
    if c_in > 1:
        fused = conv(shape, z.to(device), packed, bias.to(device), slope.to(device), residual.to(device))
        assert error(fused, expected) < TOLERANCE[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("lattice", "k", "c_in", "c_out", "batch"), FIRST)
def test_spins_lose_nothing(lattice, k, c_in, c_out, batch, precision, device):
    shape, weight = layer(lattice, k, 1, c_out, True, precision)
    spins = random_spins(batch, *lattice, 1)
    got = conv(shape, spins.to(device), pack(shape, weight.to(device)), out=nans(batch, *lattice, c_out, device=device))
    assert error(got, convolve(spins.double(), rounded(weight, precision))) < TOLERANCE[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 5), (17, 3), (6, 1)])
def test_prefix_reads_the_rows_above_alone(c_in, c_out, precision, device):
    lattice, k, batch = (4, 2), 2, 5
    shape, weight = layer(lattice, k, c_in, c_out, False, precision)
    x, bias = torch.randn(batch, *lattice, c_in), torch.randn(c_out)
    packed = pack(shape, weight.to(device))
    above = weight.clone()
    above[:, :, k] = 0
    expected = Product.apply(x, above, convolve, precision) + bias
    for y in range(lattice[0]):
        whole = x.clone()
        whole[:, y:] = NAN
        ring = torch.full((batch, k + 1, lattice[1], c_in), NAN)
        for source in range(max(y - k, 0), y):
            ring[:, source % (k + 1)] = x[:, source]
        for rows in (whole, ring):
            out = nans(batch, 3, lattice[1], c_out, device=device)
            conv(shape, rows.to(device), packed, bias.to(device), out=out[:, 1:2], row=y, prefix=True)
            assert error(out[:, 1:2], expected[:, y : y + 1]) < TOLERANCE[precision]
            assert bool(out[:, 0::2].isnan().all())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sample_depends_on_nothing_but_itself(precision, device):
    shape, weight = layer((2, 3), 2, 6, 5, False, precision)
    x, packed = torch.randn(63, 2, 3, 6, device=device), pack(shape, weight.to(device))
    whole = conv(shape, x, packed)
    assert error(whole, Product.apply(x.cpu(), weight, convolve, precision)) < TOLERANCE[precision]
    for start, end in ((0, 1), (17, 22), (31, 63)):
        assert torch.equal(conv(shape, x[start:end], packed), whole[start:end])
    assert torch.equal(conv(shape, x, packed, row=1), whole[:, 1:2])
    assert conv(shape, x[:0], packed).shape == (0, 2, 3, 5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("lattice", "k", "c_in", "c_out", "batch"), SHAPES)
def test_gradients(lattice, k, c_in, c_out, batch, precision, device):
    shape, weight = layer(lattice, k, c_in, c_out, False, precision)
    z, slope = torch.randn(batch, *lattice, c_in), torch.randn(c_in)
    grad, skip = torch.randn(batch, *lattice, c_out), torch.randn(batch, *lattice, c_in)
    z64, w64, s64 = (t.double().requires_grad_() for t in (z, weight, slope))
    Product.apply(prelu(z64, s64), w64, convolve, precision).backward(grad.double())

    operands = activate(z.to(device), slope.to(device), precision)
    found = conv_grad_weight(shape, grad.to(device), operands)
    closed = open_taps(k, True) == 0
    assert bool((found.cpu()[:, :, closed] == 0).all())
    assert error(found, w64.grad * open_taps(k, True)) < TOLERANCE[precision]

    turned = shape.transposed()
    packed = pack(turned, weight.to(device), transpose=True)
    out = nans(batch, *lattice, c_in, device=device)
    arguments = (turned, grad.to(device), packed, z.to(device), slope.to(device))
    got, of_slope, total = conv_grad_input(*arguments, skip.to(device), out)
    assert got is out
    assert error(got, z64.grad + skip) < TOLERANCE[precision]
    assert error(of_slope, s64.grad) < 10 * TOLERANCE[precision]  # sums of terms of both signs
    assert error(total, (z64.grad + skip).sum((0, 1, 2))) < 10 * TOLERANCE[precision]
    if c_in == 3:
        assert error(conv_grad_input(*arguments)[0], z64.grad) < TOLERANCE[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("lattice", "k", "c_in", "c_out", "batch"), FIRST)
def test_weight_gradient_of_spins(lattice, k, c_in, c_out, batch, precision, device):
    shape, weight = layer(lattice, k, 1, c_out, True, precision)
    spins, grad = random_spins(batch, *lattice, 1), torch.randn(batch, *lattice, c_out)
    w64 = weight.double().requires_grad_()
    Product.apply(spins.double(), w64, convolve, precision).backward(grad.double())
    found = conv_grad_weight(shape, grad.to(device), spins.to(device))
    assert error(found, w64.grad * open_taps(k, False)) < TOLERANCE[precision]


def test_bf16_gradients_may_be_stored_in_bf16(device):
    shape, weight = layer((3, 3), 1, 4, 5, False, "bf16")
    turned, z, slope = shape.transposed(), torch.randn(7, 3, 3, 4, device=device), torch.randn(4, device=device)
    grad, packed = torch.randn(7, 3, 3, 5, device=device), pack(shape.transposed(), weight.to(device), transpose=True)
    wide, *sums = conv_grad_input(turned, grad.bfloat16(), packed, z, slope)
    narrow, *same = conv_grad_input(turned, grad, packed, z, slope, out=torch.empty_like(z, dtype=torch.bfloat16))
    assert torch.equal(narrow, wide.bfloat16())
    assert all(torch.equal(a, b) for a, b in zip(sums, same, strict=True))


def test_tf32_ties_go_away_from_zero():
    x = torch.tensor([1 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-11 - 2.0**-23, 2 - 2.0**-23, 0.0])
    assert tf32_rounded(x).tolist() == [1 + 2.0**-10, -1 - 2.0**-10, 1.0, 2.0, 0.0]


def test_arguments_are_checked(device):
    shape, weight = layer((3, 4), 2, 6, 5, False, "fp32")
    x, packed = torch.randn(2, 3, 4, 6, device=device), pack(shape, weight.to(device))
    with pytest.raises(TypeError, match=r"x has dtype torch\.float64"):
        conv(shape, x.double(), packed)
    with pytest.raises(ValueError, match=r"x has shape \[2, 3, 4, 5\], must be \[2, any, 4, 6\]"):
        conv(shape, x[..., 1:], packed)
    with pytest.raises(ValueError, match="x has 2 rows, must be 3"):
        conv(shape, x[:, :2], packed)
    with pytest.raises(ValueError, match=r"row = 3 must be in 0 \.\. 2"):
        conv(shape, x, packed, row=3)
    with pytest.raises(ValueError, match="residual has shape"):
        conv(shape, x, packed, residual=x)
    with pytest.raises(ValueError, match="x must be contiguous in its last two"):
        conv(shape, x.transpose(2, 3).contiguous().transpose(2, 3), packed)
    with pytest.raises(ValueError, match="weight has shape"):
        pack(shape, weight[1:])
    with pytest.raises(ValueError, match="operands has shape"):
        conv_grad_weight(shape, torch.randn(2, 3, 4, 5), x[:1])


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED, reason="needs 2^31 elements on a GPU")
def test_offsets_past_two_to_the_31():
    lattice, batch = (4, 4), (1 << 31) // (16 * 64) + 300
    shape, weight = layer(lattice, 2, 64, 64, False, "bf16")
    packed = pack(shape, weight.cuda())
    x = torch.randn(batch, *lattice, 64, device="cuda", dtype=torch.bfloat16)
    assert torch.equal(conv(shape, x, packed)[-300:], conv(shape, x[-300:].clone(), packed))
