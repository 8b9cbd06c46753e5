"""log_prob from known pre-activations: the same value and gradient, without the forward work."""

import pytest
import torch

from vanfast.networks import Dense, Factorised, PixelCNN


def recorded(net, spins):
    """The pre-activations of an ordinary forward pass over `spins`."""
    outputs = []
    handles = [
        step.layer.register_forward_hook(lambda m, a, z: outputs.append(z.detach().clone())) for step in net.stack
    ]
    with torch.no_grad():
        net.logits(spins)
    for handle in handles:
        handle.remove()
    return outputs


def gradients(net, value):
    net.zero_grad()
    weight = torch.linspace(-1, 1, len(value), dtype=torch.float64)
    (weight * value).sum().backward()
    return {name: p.grad.clone() for name, p in net.named_parameters()}


def assert_same(net, spins, activations):
    expected = net.log_prob(spins)
    known = net.log_prob(spins, activations=activations)
    torch.testing.assert_close(known, expected, rtol=1e-12, atol=1e-12)
    one, other = gradients(net, known), gradients(net, expected)
    for name in other:
        torch.testing.assert_close(one[name], other[name], rtol=1e-10, atol=1e-12, msg=name)


def test_values_and_gradients(layered, random_spins):
    layered.double()
    spins = random_spins(6, layered.num_sites)
    if layered.z2:
        assert_same(layered, spins, recorded(layered, torch.cat([spins, -spins])))
    assert_same(layered, spins, recorded(layered, spins))


def test_blocked_layers(random_spins):
    net = Dense(150, depth=3, width=2, residual=True, seed=0).double()
    spins = random_spins(5, 150)
    assert_same(net, spins, recorded(net, spins))


def test_values_come_from_the_activations(layered, random_spins):
    layered.double()
    spins = random_spins(3, layered.num_sites)
    activations = recorded(layered, torch.cat([spins, -spins]) if layered.z2 else spins)
    calls = []
    activations[-1] = torch.zeros_like(activations[-1])
    for step in layered.stack:
        step.layer.register_forward_hook(lambda module, inputs, output: calls.append(output))
    log_q = layered.log_prob(spins, activations=activations)
    torch.testing.assert_close(log_q.exp() * 2.0**layered.num_sites, torch.ones(3, dtype=torch.float64))
    for output, given in zip(calls, activations, strict=True):
        assert output.data_ptr() == given.data_ptr()


def test_plan_order_of_the_activations(random_spins):
    net = PixelCNN((3, 4), depth=3, width=5, half_kernel=1, residual=True, z2=False)
    assert [tuple(z.shape) for z in recorded(net, random_spins(2, 12))] == [
        (2, 5, 3, 4),
        (2, 5, 3, 4),
        (2, 5, 3, 4),
        (2, 1, 3, 4),
    ]
    dense = Dense(6, depth=3, width=2, residual=True)
    shapes = [tuple(z.shape) for z in recorded(dense, random_spins(2, 6))]
    assert shapes == [(2, len(layer.degree)) for layer in dense.plan().layers]


@pytest.mark.parametrize("frozen", ["weight", "bias", "slope"])
def test_frozen_parameters(frozen, random_spins):
    net = PixelCNN((3, 3), depth=3, width=2, half_kernel=1, z2=False, seed=0).double()
    spins = random_spins(4, 9)
    activations = recorded(net, spins)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not name.endswith(frozen))
    net.log_prob(spins, activations=activations).sum().backward()
    known = {name: p.grad for name, p in net.named_parameters()}
    net.zero_grad()
    net.log_prob(spins).sum().backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == name.endswith(frozen)
        if parameter.grad is not None:
            torch.testing.assert_close(known[name], parameter.grad, rtol=1e-10, atol=1e-12)


def test_activations_that_do_not_fit(random_spins):
    net = PixelCNN((3, 3), depth=2, width=2, half_kernel=1, z2=False)
    spins = random_spins(4, 9)
    activations = recorded(net, spins)
    with pytest.raises(ValueError, match="1 tensors"):
        net.log_prob(spins, activations=activations[:1])
    with pytest.raises(ValueError, match="given activation"):
        net.log_prob(spins, activations=[z[:3] for z in activations])
    with pytest.raises(ValueError, match="float64"):
        net.log_prob(spins, activations=[z.double() for z in activations])
    with pytest.raises(ValueError, match="no layers"):
        Factorised(9).log_prob(spins, activations=[])
