"""Spin systems: E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i, and Potts, with energies of whole batches in C++;
and networks as Hamiltonians, E(s) = -T0 ln p(s)."""

from vanfast.hamiltonians.base import Hamiltonian
from vanfast.hamiltonians.files import load, save
from vanfast.hamiltonians.hopfield import Hopfield, orthogonal_patterns, random_patterns
from vanfast.hamiltonians.lattices import EdwardsAnderson, IsingCubic, IsingSquare, IsingTriangular, Lattice
from vanfast.hamiltonians.neural import Neural
from vanfast.hamiltonians.pairwise import CurieWeiss, Pairwise, SherringtonKirkpatrick
from vanfast.hamiltonians.potts import Potts
from vanfast.hamiltonians.registry import from_config, from_name, names, parameters

__all__ = [
    "CurieWeiss",
    "EdwardsAnderson",
    "Hamiltonian",
    "Hopfield",
    "IsingCubic",
    "IsingSquare",
    "IsingTriangular",
    "Lattice",
    "Neural",
    "Pairwise",
    "Potts",
    "SherringtonKirkpatrick",
    "from_config",
    "from_name",
    "load",
    "names",
    "orthogonal_patterns",
    "parameters",
    "random_patterns",
    "save",
]
