"""Types of the C++ module; each binding file of csrc/cpu has its part here."""

import numpy as np

class EnergyModel:
    """csrc/cpu/bind_energy.cpp"""

    def __init__(self, num_sites: int, edges: np.ndarray, couplings: np.ndarray, fields: np.ndarray) -> None: ...
    @property
    def num_sites(self) -> int: ...
    def evaluate(self, spins: np.ndarray, energy: np.ndarray, threads: int = 0) -> None: ...
