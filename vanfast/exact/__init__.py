"""Exact results to measure networks against, and the mean-field approximations they are compared with.

Everything takes Hamiltonians E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i, enumeration any others too, and returns
frozen dataclasses of extensive Python floats and numpy arrays.

    kaufman            square-lattice torus, any size
    transfer_matrix    lattices narrow in one direction, any couplings and fields
    enumerate          any system of up to 24 spins, with magnetisations and correlations
    enumerate_states   any system of sites with q states, such as Potts, up to 2^24 configurations
    curie_weiss        sum over the magnetisation
    hopfield           sum over the magnetisations of sites that are alike, for few patterns
    forward_recursion  of a network whose conditionals know the magnetisation alone, on the Curie-Weiss model
    naive_mean_field, tap, bethe    approximations
"""

from vanfast.exact._mean_field_result import MeanField
from vanfast.exact._result import PairSystem, Thermodynamics
from vanfast.exact.bethe import bethe
from vanfast.exact.curie_weiss import CurieWeissResult, curie_weiss
from vanfast.exact.enumeration import Enumeration, enumerate, states
from vanfast.exact.forward_recursion import NetworkThermodynamics, forward_recursion
from vanfast.exact.hopfield import HopfieldResult, hopfield
from vanfast.exact.mean_field import TapResult, naive_mean_field, tap
from vanfast.exact.potts import StateEnumeration, enumerate_states, q_states
from vanfast.exact.square_torus import kaufman
from vanfast.exact.transfer_matrix import transfer_matrix

__all__ = [
    "CurieWeissResult",
    "Enumeration",
    "HopfieldResult",
    "MeanField",
    "NetworkThermodynamics",
    "PairSystem",
    "StateEnumeration",
    "TapResult",
    "Thermodynamics",
    "bethe",
    "curie_weiss",
    "enumerate",
    "enumerate_states",
    "forward_recursion",
    "hopfield",
    "kaufman",
    "naive_mean_field",
    "q_states",
    "states",
    "tap",
    "transfer_matrix",
]
