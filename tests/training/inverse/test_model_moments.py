"""Moments from weighted samples by Callen's identities: exact on all states, unbiased, and with little noise."""

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.training.inverse.conftest import random_system
from vanfast.training.inverse.model_moments import model_moments


def tensors(*arrays):
    return tuple(torch.tensor(array, dtype=torch.float64) for array in arrays)


@pytest.mark.parametrize(("fields", "beta"), [(0.0, 0.5), (0.0, 2.0), (0.6, 1.0)])
def test_exact_on_all_states(fields, beta):
    J, h = random_system(6, seed=1, fields=fields)
    ham = vf.hamiltonians.Pairwise(J, h)
    exact = vf.exact.enumerate(ham, beta, log_prob=True)
    spins, log_p, K, H = tensors(vf.exact.states(6), exact.log_prob, beta * J, beta * h)
    m, C, _, _ = model_moments(spins, log_p, K, H if fields else None)
    np.testing.assert_allclose(m, exact.magnetization, atol=1e-13)
    np.testing.assert_allclose(C, exact.correlation, atol=1e-13)


@pytest.mark.parametrize(("fields", "beta", "gain"), [(0.0, 0.2, 150), (0.0, 1.0, 2), (0.5, 0.2, 30), (0.5, 1.0, 1.5)])
def test_noise_is_small_and_known(fields, beta, gain):
    """Samples come from another distribution; errors agree with the variances that are told."""
    J, h = random_system(8, seed=2, fields=fields)
    ham = vf.hamiltonians.Pairwise(J, h)
    exact = vf.exact.enumerate(ham, beta, log_prob=True)
    drawn_from = 0.7 * exact.log_prob
    q = np.exp(drawn_from - np.logaddexp.reduce(drawn_from))
    rng = np.random.default_rng(0)
    states, pairs = vf.exact.states(8), np.triu_indices(8, 1)
    squared, told, plain = [], [], []
    for _ in range(40):
        index = rng.choice(256, size=2000, p=q)
        spins, weight, K, H = tensors(states[index], exact.log_prob[index] - np.log(q[index]), beta * J, beta * h)
        m, C, m_variance, C_variance = model_moments(spins, weight, K, H if fields else None)
        difference = (C - torch.tensor(exact.correlation)).numpy()[pairs]
        if fields:
            difference = np.append(difference, (m - torch.tensor(exact.magnetization)).numpy())
            told.append(torch.cat([C_variance[pairs], m_variance]).mean())
        else:
            told.append(C_variance[pairs].mean())
        squared.append(difference**2)
        w = np.exp(weight.numpy())
        correlation = (states[index] * w[:, None]).T @ states[index] / w.sum()
        plain.append(((correlation - exact.correlation)[pairs] ** 2).mean())
    error = np.sqrt(np.mean(squared))
    assert np.sqrt(np.mean(plain)) > gain * error
    assert np.sqrt(np.mean(told)) == pytest.approx(error, rel=0.25)
