"""torch.ops.vanfast.log_prob_backward on a GPU runs these kernels; its function is called as the dispatcher would."""

import pytest
import torch

from tests import gpu_battery as battery
from vanfast.ops import description, engine_gradient
from vanfast.ops import device as operations


@pytest.mark.parametrize(
    "name", ["conv z2", "residual z2", "one layer", "made", "conv star z2", "sk z2", "sk couplings"]
)
def test_gradients_for_given_spins(device, name, monkeypatch):
    monkeypatch.setattr(engine_gradient, "PIECE", 4)
    net = battery.network(name, device)
    generator = torch.Generator().manual_seed(4)
    spins = torch.randint(0, 2, (9, net.num_sites), generator=generator).mul(2).sub(1).to(torch.int8)
    grad = torch.randn(9, dtype=torch.float64, generator=generator)
    double = battery.build(name).double()
    double.load_state_dict({key: value.double().cpu() for key, value in net.state_dict().items()})
    expected = torch.autograd.grad(double.log_prob(spins), list(double.parameters()), grad)
    parameters, text = [parameter.detach() for parameter in net.parameters()], description.of_network(net)
    found = operations.log_prob_backward(parameters, text, spins.to(device), grad.to(device), "fp32")
    assert engine_gradient.can_differentiate(net, device)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a.double().cpu(), b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_others_are_differentiated_by_torch(device):
    for name in ("mixture", "magnetisation"):
        assert not engine_gradient.can_differentiate(battery.network(name, device), device)
    assert not engine_gradient.can_differentiate(battery.network("made", device).double(), device)
