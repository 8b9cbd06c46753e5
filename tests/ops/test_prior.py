"""Operations with networks that have a star prior: the text that names the network carries the Hamiltonian."""

import torch

import vanfast as vf
from vanfast.hamiltonians import Pairwise, SherringtonKirkpatrick
from vanfast.networks import MADE, Dense


def test_samples_and_gradients():
    J = SherringtonKirkpatrick(9).to_dense()
    for net in (
        Dense(9, prior="star", ham=Pairwise(J, h=0.3), beta=0.7),
        MADE(9, (5,), order=[*range(8, -1, -1)], prior="star", ham=SherringtonKirkpatrick(9), beta=1.1, z2=True),
    ):
        spins, log_q = vf.ops.sample(net, 50, seed=4)
        batch = vf.Sampler(net).sample(50, seed=4)
        assert torch.equal(spins, batch.spins)
        assert torch.equal(log_q, batch.log_q)
        parameters = list(net.parameters())
        found = torch.autograd.grad(vf.ops.log_prob(net, spins).sum(), parameters)
        expected = torch.autograd.grad(net.log_prob(spins).sum(), parameters)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
