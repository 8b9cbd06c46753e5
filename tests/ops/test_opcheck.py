"""torch.library.opcheck: schemas tell the truth, fakes have the results' shapes, gradients survive tracing."""

import pytest
import torch

from vanfast.ops import description
from vanfast.ops.schemas import SCHEMAS


def arguments_of(net, double=False):
    net = net.double() if double else net
    return [parameter.detach().requires_grad_() for parameter in net.parameters()], description.of_network(net)


def test_sample(net):
    parameters, text = arguments_of(net)
    for count, seed, first in ((4, 1, 3), (0, -5, 0)):
        torch.library.opcheck(torch.ops.vanfast.sample, (parameters, text, count, seed, first, "fp32"))


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_log_prob(net, spins, double):
    parameters, text = arguments_of(net, double)
    for rows in (spins[:3], spins[:2].double()):
        torch.library.opcheck(torch.ops.vanfast.log_prob, (parameters, text, rows, "fp32"), rtol=1e-5, atol=1e-5)


def test_log_prob_rounded(layered, spins):
    torch.library.opcheck(torch.ops.vanfast.log_prob, (*arguments_of(layered), spins[:3], "bf16"), rtol=1e-4, atol=1e-4)


def test_log_prob_backward(net, spins):
    parameters, text = arguments_of(net)
    plain = [parameter.detach() for parameter in parameters]
    grad = torch.randn(23, dtype=torch.float64)
    torch.library.opcheck(torch.ops.vanfast.log_prob_backward, (plain, text, spins, grad, "fp32"))


def test_energy(ham, spins):
    arguments = description.arrays_of(ham), description.of_hamiltonian(ham)
    for rows in (spins, spins[:0], spins.float().requires_grad_()):
        torch.library.opcheck(torch.ops.vanfast.energy, (*arguments, rows))


def test_every_operation_is_registered_for_both_devices():
    for name in SCHEMAS:
        for key in ("CPU", "CUDA"):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(f"vanfast::{name}", key), (name, key)
