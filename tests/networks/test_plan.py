"""Plans describe their network completely: evaluated by plain loops in numpy they give its logits."""

import numpy as np
import pytest
import torch
from scipy.special import log_expit, logsumexp

from vanfast.networks import (
    MADE,
    ConvPlan,
    Dense,
    MagnetizationPlan,
    MaskedPlan,
    MixturePlan,
    NestPlan,
    PixelCNN,
    PrefixPlan,
)


def prelu(z, slope):
    return z if slope is None else np.where(z > 0, z, slope * z)


def array(tensor):
    return None if tensor is None else tensor.numpy()


def conv_by_loops(plan, spins):
    """Logits [N] of one configuration: one site, one tap at a time."""
    height, width = plan.shape
    k = plan.half_kernel
    z = spins.reshape(1, height, width).astype(float)
    for layer in plan.layers:
        hidden = z
        if layer.pointwise is not None:
            hidden = np.einsum("oi,iyx->oyx", array(layer.pointwise), z)
            if layer.pointwise_bias is not None:
                hidden = hidden + array(layer.pointwise_bias)[:, None, None]
        hidden = prelu(hidden, None if layer.slope is None else array(layer.slope)[:, None, None])
        weight = array(layer.weight)
        out = np.zeros((len(weight), height, width))
        for y in range(height):
            for x in range(width):
                for row in range(k + 1):
                    for column in range(2 * k + 1):
                        sy, sx = y + row - k, x + column - k
                        if 0 <= sy < height and 0 <= sx < width:
                            out[:, y, x] += weight[:, :, row, column] @ hidden[:, sy, sx]
        if layer.bias is not None:
            out += array(layer.bias)[:, None, None]
        z = out + z if layer.residual else out
    assert z.shape == (1, height, width)
    return z.ravel()


def masked_by_loops(plan, spins):
    """Logits [N] in raster order of one configuration: one unit at a time, seeing only what its degree allows."""
    order = np.arange(plan.num_sites) if plan.order is None else array(plan.order)
    z, before = spins[order].astype(float), None
    seen_from = np.arange(1, plan.num_sites + 1)
    for layer in plan.layers:
        active = prelu(z, array(layer.slope))
        out = np.zeros(len(layer.weight))
        for unit, degree in enumerate(layer.degree.tolist()):
            visible = seen_from <= degree
            out[unit] = array(layer.weight)[unit, visible] @ active[visible]
        if layer.bias is not None:
            out += array(layer.bias)
        if layer.skip:
            out += before
        z, before, seen_from = out, z, array(layer.degree)
    logits = np.empty(plan.num_sites)
    logits[order] = z
    return logits


def mixture_by_loops(plan, spins):
    weights, x = array(plan.log_weights), array(plan.logits)
    logits = []
    for i in range(plan.num_sites):
        seen = weights + sum((log_expit(spins[j] * x[:, j]) for j in range(i)), np.zeros(len(weights)))
        logits.append(logsumexp(seen + log_expit(x[:, i])) - logsumexp(seen + log_expit(-x[:, i])))
    return np.array(logits)


def magnetization_by_loops(plan, spins):
    return np.array([plan.logits[i, (spins[:i] > 0).sum()].item() for i in range(plan.num_sites)])


def prefix_by_loops(plan, spins):
    logits = []
    for i in range(plan.num_sites):
        prefix = sum(2**j for j in range(i) if spins[j] > 0)
        logits.append(plan.logits[2**i - 1 + prefix].item())
    return np.array(logits)


def nest_by_loops(plan, spins):
    J, weight, shift = array(plan.couplings), array(plan.weight), array(plan.shift)
    logits = array(plan.bias).copy()
    for i in range(plan.num_sites):
        logits[i] += array(plan.direct)[i] * sum(J[s, i] * spins[s] for s in range(i))
        for l in range(i + 1, plan.num_sites):
            for e in range(2):
                y = sum(J[s, l] * spins[s] for s in range(i))
                for j in range(plan.nestings + 1):
                    y = log_expit(shift[i, l, e, j] + weight[i, l, e, j] * y)
                logits[i] += weight[i, l, e, plan.nestings + 1] * y
    return logits


BY_LOOPS = {
    ConvPlan: conv_by_loops,
    MagnetizationPlan: magnetization_by_loops,
    MaskedPlan: masked_by_loops,
    MixturePlan: mixture_by_loops,
    NestPlan: nest_by_loops,
    PrefixPlan: prefix_by_loops,
}


def test_plan_gives_the_logits(net, random_spins):
    net.double()
    plan = net.plan()
    assert plan.num_sites == net.num_sites
    spins = random_spins(4, net.num_sites)
    expected = np.array([BY_LOOPS[type(plan)](plan, row) for row in spins.numpy()])
    np.testing.assert_allclose(net.logits(spins).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def tensors_of(plan):
    if isinstance(plan, NestPlan):
        return [plan.bias, plan.direct, plan.weight, plan.shift]
    return [layer.weight for layer in plan.layers] if hasattr(plan, "layers") else [plan.logits]


def test_plans_are_snapshots(trained):
    plan = trained.plan()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter += 1
    for tensor, other in zip(tensors_of(plan), tensors_of(trained.plan()), strict=True):
        assert not tensor.requires_grad
        assert tensor.is_contiguous()
        assert not tensor.numel() or not torch.equal(tensor, other) or not other.any()


def test_convolution_masks(conv):
    for i, layer in enumerate(conv.plan().layers):
        k = conv.half_kernel
        assert layer.weight.shape[2:] == (k + 1, 2 * k + 1)
        assert layer.inclusive == (i > 0)
        assert not layer.weight[:, :, k, k + 1 :].any()
        assert bool(layer.weight[:, :, k, k].any()) == layer.inclusive
        assert (layer.weight[:, :, :k] != 0).all()
        assert (layer.weight[:, :, k, :k] != 0).all()
        assert (layer.slope is None) == (i == 0)


def test_linear_masks_and_degrees(masked):
    plan = masked.plan()
    seen_from = torch.arange(1, plan.num_sites + 1)
    for layer in plan.layers:
        assert layer.degree.dtype == torch.int64
        assert (layer.degree.diff() >= 0).all()
        assert not layer.weight[seen_from[None, :] > layer.degree[:, None]].any()
        seen_from = layer.degree
    assert plan.layers[-1].degree.tolist() == list(range(plan.num_sites))


def test_residual_structure():
    conv = PixelCNN((4, 4), depth=4, width=3, half_kernel=1, residual=True).plan()
    assert [layer.residual for layer in conv.layers] == [False, True, True, False]
    assert [layer.pointwise is not None for layer in conv.layers] == [False, True, True, False]
    dense = Dense(5, depth=4, width=2, residual=True).plan()
    assert [layer.skip for layer in dense.layers] == [False, False, True, False, True, False]
    assert [layer.slope is None for layer in dense.layers] == [True, True, False, True, False, False]
    for channel_layer in dense.layers[1:4:2]:
        site = torch.arange(10) // 2
        assert torch.equal(channel_layer.weight != 0, site[:, None] == site[None, :])


def test_made_degrees():
    net = MADE(10, hidden=(9, 18, 4))
    assert net.degrees[0] == tuple(range(1, 10))
    assert net.degrees[1] == tuple(sorted([*range(1, 10), *range(1, 10)]))
    assert net.degrees[2] == (1, 3, 5, 7)
    assert MADE(1, hidden=(3,)).degrees == ((0, 0, 0),)
    assert MADE(4, hidden=(3,), degrees=[[3, 1, 2]]).degrees == ((1, 2, 3),)
    random = MADE(50, hidden=(400, 400), degrees="random", seed=5)
    assert random.degrees == MADE(50, hidden=(400, 400), degrees="random", seed=5).degrees
    assert random.degrees != MADE(50, hidden=(400, 400), degrees="random", seed=6).degrees
    assert set(random.degrees[0]) == set(range(1, 50))
    narrow = MADE(50, hidden=(2, 400), degrees="random", seed=6)
    assert 1 < min(narrow.degrees[0]) == min(narrow.degrees[1])


@pytest.mark.parametrize("units", [200, 600])
def test_block_products_equal_the_masked_matrix(units, random_spins):
    net = MADE(150, hidden=(units, units), seed=1).double()
    assert len(net.steps[1].layer.blocks) > 1
    spins = random_spins(3, 150)
    expected = [masked_by_loops(net.plan(), row) for row in spins.numpy()]
    np.testing.assert_allclose(net.logits(spins).detach().numpy(), expected, rtol=1e-11, atol=1e-11)
