"""A network learns a ferromagnet from configurations of one temperature and predicts the others.

L. Wang, Y. Jiang, "Neural Network Statistical Mechanics", arXiv:2007.01037, Figures 3 and 4: configurations measured
at T0 train a MADE by maximum likelihood; H = -T0 ln p is a Hamiltonian, whose Markov chains tell the magnetisation at
other temperatures; also where sums of 2x2 blocks were measured in place of spins.
"""

from vanfast.reproduce.nnsm.curves import CURVES, Curve
from vanfast.reproduce.nnsm.experiment import Experiment, reproduce
from vanfast.reproduce.nnsm.settings import TEMPERATURES, Settings

__all__ = ["CURVES", "TEMPERATURES", "Curve", "Experiment", "Settings", "reproduce"]
