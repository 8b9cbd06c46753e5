"""A known distribution: the 3 x 3 ferromagnet, by enumeration."""

import numpy as np
import pytest
import torch

import vanfast as vf

BETA = 0.3


class Known:
    """ln p of all 512 states, and independent samples as counts of these."""

    def __init__(self):
        self.ham = vf.hamiltonians.IsingSquare(L=3)
        self.states = vf.exact.states(9)
        self.log_prob = vf.exact.enumerate(self.ham, BETA, log_prob=True).log_prob
        self.prob = np.exp(self.log_prob)
        self.entropy = -float(self.prob @ self.log_prob)

    def counts(self, size, seed=0):
        return np.random.RandomState(seed).multinomial(size, self.prob / self.prob.sum())

    def samples(self, size, seed=0):
        """[size, 9] in random order."""
        rows = np.repeat(self.states, self.counts(size, seed), axis=0)
        return rows[np.random.RandomState(seed + 1).permutation(size)]

    def divergence(self, net):
        """KL(p || q) in nats."""
        with torch.no_grad():
            log_q = net.log_prob(self.states).numpy()
        return float(self.prob @ (self.log_prob - log_q))


@pytest.fixture(scope="session")
def known():
    return Known()
