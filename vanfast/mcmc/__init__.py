"""Markov chain Monte Carlo: single-site updates, clusters, parallel tempering, and their diagnostics."""

from vanfast.mcmc.chains import run
from vanfast.mcmc.incremental import geometric_ladder
from vanfast.mcmc.kernels import ALGORITHMS, KERNELS, choose
from vanfast.mcmc.result import Chains

__all__ = ["ALGORITHMS", "KERNELS", "Chains", "choose", "geometric_ladder", "run"]
