"""The Z2 flip, and Z2 networks drawn by the CUDA backend as users get them."""

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.backends.cuda import CudaBackend
from vanfast.backends.engines.cuda_symmetry import symmetrize
from vanfast.backends.reference import BACKEND as REFERENCE
from vanfast.random import flip_signs

SEED = 2**64 - 5


@pytest.mark.parametrize(("count", "sites"), [(1, 1), (5, 2), (33, 3), (70, 4), (257, 31), (100, 64), (3000, 100)])
@pytest.mark.parametrize("first", [0, 7, 2**33 + 5])
def test_flips_are_those_of_the_contract(cuda, count, sites, first):
    rng = np.random.default_rng(count)
    spins = rng.choice(np.int8([-1, 1]), (count, sites))
    a, b = (torch.from_numpy(rng.normal(-50, 20, count)).to(cuda.device) for _ in range(2))
    drawn = torch.from_numpy(spins.copy()).to(cuda.device)
    log_q = symmetrize(cuda.module, drawn, a, b, SEED, first, None)
    np.testing.assert_array_equal(drawn.cpu().numpy(), spins * flip_signs(SEED, first, count)[:, None])
    np.testing.assert_allclose(log_q.cpu(), torch.logaddexp(a, b).cpu() - np.log(2), rtol=1e-15, atol=1e-14)
    again, step = torch.from_numpy(spins.copy()).to(cuda.device), torch.tensor([first], device=cuda.device)
    assert symmetrize(cuda.module, again, a, b, SEED, 0, step).equal(log_q)
    assert again.equal(drawn)


def test_impossible_configurations(cuda):
    none = -float("inf")
    a, b = (torch.tensor(x, dtype=torch.float64, device=cuda.device) for x in ([none, none, -1.0], [none, -2.0, none]))
    spins = torch.ones((3, 5), dtype=torch.int8, device=cuda.device)
    log_q = symmetrize(cuda.module, spins, a, b, 1, 0, None).cpu()
    torch.testing.assert_close(log_q, torch.logaddexp(a, b).cpu() - np.log(2))


def test_wrong_arguments(cuda):
    spins = torch.ones((3, 5), dtype=torch.int8, device=cuda.device)
    log_q = torch.zeros(3, dtype=torch.float64, device=cuda.device)
    assert symmetrize(cuda.module, spins[:0], log_q[:0], log_q[:0], 1, 0, None).shape == (0,)
    with pytest.raises(ValueError, match="spins is"):
        symmetrize(cuda.module, spins.int(), log_q, log_q, 1, 0, None)
    with pytest.raises(ValueError, match="log_q is"):
        symmetrize(cuda.module, spins, log_q.float(), log_q, 1, 0, None)
    with pytest.raises(ValueError, match="log_q_flipped is"):
        symmetrize(cuda.module, spins, log_q, log_q[:2], 1, 0, None)


@pytest.mark.parametrize(
    "net",
    [
        vf.networks.Dense(20, z2=True, seed=1),
        vf.networks.Dense(6, 3, 3, residual=True, z2=True, seed=2),
        vf.networks.MADE(9, (12, 5), order=[8, 1, 2, 7, 4, 5, 6, 3, 0], z2=True, seed=3),
        vf.networks.BernoulliMixture(11, 3, z2=True, seed=4),
    ],
)
def test_symmetric_networks(cuda, net):
    program = CudaBackend(cuda.module, cuda.device).compile(net, "fp32", None)
    spins, log_q, _ = program.sample(70, SEED, 5)
    expected, _, _ = REFERENCE.compile(net, "fp32", None).sample(70, SEED, 5)
    assert (spins.cpu() != expected).any(1).sum() <= 1
    with torch.no_grad():
        truth = net.log_prob(spins.cpu())
    torch.testing.assert_close(log_q.cpu(), truth, rtol=0, atol=1e-5)
    assert program.log_prob(spins).cpu().sub(truth).abs().max() < 1e-5
