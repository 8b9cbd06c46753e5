"""Small systems, exact samples of them, and the G-test."""

import numpy as np
import torch

from vanfast.exact import enumerate as enumerate_states
from vanfast.exact import states
from vanfast.hamiltonians import EdwardsAnderson, IsingCubic, IsingSquare, IsingTriangular, Pairwise
from vanfast.hamiltonians import SherringtonKirkpatrick as SK

FIELDS = Pairwise([[0, 0.7, -0.4], [0.7, 0, 1.1], [-0.4, 1.1, 0]], h=[0.3, -0.2, 0.5])
LONE = Pairwise.from_edges(4, [(0, 1)], [0.8])  # sites 2 and 3 are free
# name -> (system, beta): odd and doubled periods, open ends, one and two spins, fields, glasses
SYSTEMS = {
    "square 3x3": (IsingSquare(L=3), 0.35),
    "square 2x2": (IsingSquare(L=2), 0.2),  # every bond counts twice
    "square 2x3": (IsingSquare(shape=(2, 3)), 0.3),  # couplings 1 and 2
    "square 3x3 open": (IsingSquare(L=3, boundary="open"), 0.5),
    "chain": (IsingSquare(shape=(1, 5), boundary="open"), 0.8),
    "antiferromagnet": (IsingTriangular(L=3, coupling=-1.0), 0.4),
    "triangular": (IsingTriangular(shape=(2, 4)), 0.15),
    "cubic 2x2x2": (IsingCubic(L=2), 0.12),
    "pm": (EdwardsAnderson((3, 3), seed=2), 0.7),
    "gaussian": (EdwardsAnderson((2, 4), disorder="gaussian", seed=1), 0.9),
    "sk": (SK(8, seed=3), 1.2),
    "fields": (FIELDS, 0.9),
    "one": (Pairwise(np.zeros((1, 1))), 1.0),
    "one in a field": (Pairwise(np.zeros((1, 1)), h=0.4), 1.0),
    "two": (Pairwise([[0, 0.6], [0.6, 0]]), 1.0),
    "free": (LONE, 0.9),
}
FERROMAGNETS = [
    name for name, (ham, _) in SYSTEMS.items() if not ham.fields.any() and (ham.couplings >= 0).all() and ham.num_edges
]


def probabilities(ham, beta):
    return np.exp(enumerate_states(ham, beta, log_prob=True).log_prob)


def numbers(spins):
    """The number of every configuration in `states`."""
    rows = np.asarray(spins).reshape(-1, spins.shape[-1])
    return (rows > 0) @ (1 << np.arange(rows.shape[1]))


def exact_samples(ham, beta, count, seed):
    """Independent samples of the Boltzmann distribution, int8 [count, N]."""
    chosen = np.random.default_rng(seed).choice(2**ham.num_sites, size=count, p=probabilities(ham, beta))
    return states(ham.num_sites)[chosen]


def g_test(spins, probability):
    """Survival probability of the G statistic of independent configurations; rare states are taken together."""
    return g_statistic(numbers(spins), probability)


def g_statistic(numbers, probability):
    """The same of the numbers of configurations."""
    counts = np.bincount(numbers, minlength=len(probability)).astype(float)
    expected = probability * counts.sum()
    order = np.argsort(expected)
    groups = np.cumsum(expected[order]) // 8  # about eight expected in each
    groups = np.unique(np.minimum(groups, groups[np.searchsorted(groups, groups[-1])]), return_inverse=True)[1]
    seen, wanted = np.bincount(groups, weights=counts[order]), np.bincount(groups, weights=expected[order])
    if len(seen) > 1 and wanted[-1] < 4:
        seen, wanted = (np.append(x[:-2], x[-2] + x[-1]) for x in (seen, wanted))
    used = seen > 0
    g = 2 * float((seen[used] * np.log(seen[used] / wanted[used])).sum())
    return float(torch.special.gammaincc(torch.tensor((len(seen) - 1) / 2).double(), torch.tensor(g / 2).double()))


def strong(net, seed=3, scale=0.7):
    """The network with larger random weights: far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator) * (parameter != 0))
    return net
