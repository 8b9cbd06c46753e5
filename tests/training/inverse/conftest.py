"""Small systems with known couplings, and the outside check's counts."""

import numpy as np
import pytest

import vanfast as vf
from vanfast.training import Moments

THREE_SPINS = {
    "---": 211725,
    "--+": 77620,
    "+-+": 94788,
    "-++": 115717,
    "-+-": 95346,
    "+++": 211198,
    "++-": 77625,
    "+--": 115981,
}


def random_system(num_sites, seed=0, fields=0.0):
    """Normal couplings of variance 1 / N, normal fields of deviation `fields`: J and h."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(num_sites, num_sites)) / np.sqrt(num_sites), 1)
    return upper + upper.T, fields * rng.normal(size=num_sites)


def exact_moments(J, h, beta=1.0):
    exact = vf.exact.enumerate(vf.hamiltonians.Pairwise(J, h), beta)
    return Moments(exact.magnetization, exact.correlation)


@pytest.fixture(scope="session")
def three_spins():
    """Spins [8, 3] and counts [8]."""
    spins = np.array([[1 if symbol == "+" else -1 for symbol in word] for word in THREE_SPINS], dtype=np.int8)
    return spins, np.array(list(THREE_SPINS.values()))


@pytest.fixture
def counts_file(tmp_path):
    path = tmp_path / "three.txt"
    path.write_text("# s1 s2 s3\n" + "".join(f"{word} {count}\n" for word, count in THREE_SPINS.items()))
    return path
