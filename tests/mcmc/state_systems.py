"""Small systems of sites with q states, their exact distributions, and samples of these."""

import numpy as np

from tests.mcmc.systems import g_statistic, strong
from vanfast.exact import enumerate_states, q_states
from vanfast.hamiltonians import EdwardsAnderson, IsingCubic, IsingTriangular, Neural, Pairwise, Potts
from vanfast.networks import CategoricalMADE

ORDER = [3, 0, 5, 1, 2, 4]
# name -> (system, beta): odd and doubled periods, fields, antiferromagnets and glasses, lone sites, many states
POTTS = {
    "square 2x3": (Potts(shape=(2, 3), q=3), 0.5),
    "square 3x3 of two states": (Potts(3, q=2), 0.7),
    "open with a field": (Potts(shape=(2, 3), q=4, boundary="open", field=[0.3, 0.0, -0.4, 0.1]), 0.9),
    "antiferromagnet": (Potts.on(IsingTriangular(shape=(2, 3), coupling=-1.0), q=3), 0.6),
    "glass": (Potts.on(EdwardsAnderson((2, 3), disorder="gaussian", seed=1), q=4), 0.9),
    "cubic": (Potts.on(IsingCubic(shape=(2, 2, 2)), q=2), 0.3),
    "two directions": (Potts(shape=(3, 2), q=3, coupling=[1.0, 0.3]), 0.7),
    "one site": (Potts(shape=(1,), q=5, field=[0.5, 0.0, 1.0, -0.2, 0.3]), 1.1),
    "the same field everywhere": (Potts(shape=(2, 3), q=3, field=[0.7, 0.7, 0.7]), 0.6),
    "free": (Potts.on(Pairwise(np.zeros((4, 4))), q=3), 1.0),
    "ten states": (Potts(shape=(3,), q=10, boundary="open"), 1.2),
    "127 states": (Potts(shape=(2,), q=127, boundary="open"), 3.0),
}


# small enough for sums over all states
SMALL = {
    "three states": lambda: CategoricalMADE(6, 3, (9, 5), seed=1),
    "five states": lambda: CategoricalMADE(4, 5, (8, 6), seed=1),
    "two states": lambda: CategoricalMADE(7, 2, (6,), seed=1),
    "no hidden layer": lambda: CategoricalMADE(5, 3, (), seed=1),
    "in another order": lambda: CategoricalMADE(6, 3, (9, 5), order=ORDER, seed=1),
    "cyclic": lambda: CategoricalMADE(5, 4, (7,), symmetry="cyclic", seed=1),
    "permutation": lambda: CategoricalMADE(5, 3, (7, 4), symmetry="permutation", seed=1),
    "reflection": lambda: CategoricalMADE(4, 5, (7, 4), symmetry="reflection", seed=1),
    "relu without bias": lambda: CategoricalMADE(5, 3, (11,), activation="relu", bias=False, seed=1),
    "one site": lambda: CategoricalMADE(1, 4, (3,), seed=1),
}
LARGE = {
    "17 sites": lambda: CategoricalMADE(17, 3, (19, 33), seed=2),
    "wide": lambda: CategoricalMADE(9, 5, (40, 33, 25), degrees="random", seed=2),
    "64 sites": lambda: CategoricalMADE(64, 5, (48, 32), seed=2),
    "seven states": lambda: CategoricalMADE(13, 7, (30,), symmetry="reflection", seed=2),
    "many states": lambda: CategoricalMADE(3, 127, (10,), seed=2),
}


def system(name):
    """Hamiltonian and beta of a name of POTTS or SMALL; the networks are not at their own temperature."""
    return POTTS[name] if name in POTTS else (Neural(strong(SMALL[name](), scale=0.5), 1.7), 0.8)


def probabilities(ham, beta):
    return np.exp(enumerate_states(ham, beta, log_prob=True).log_prob)


def exact_samples(ham, beta, count, seed):
    """Independent samples of the Boltzmann distribution, int8 [count, N]."""
    p = probabilities(ham, beta)
    return q_states(ham.num_sites, ham.q)[np.random.default_rng(seed).choice(len(p), size=count, p=p / p.sum())]


def g_test(states, q, probability):
    """As `systems.g_test`, of configurations of states."""
    rows = np.asarray(states).reshape(-1, states.shape[-1]).astype(np.int64)
    return g_statistic(rows @ q ** np.arange(rows.shape[1], dtype=np.int64), probability)
