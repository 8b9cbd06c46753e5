"""Markov chain Monte Carlo: single-site updates, clusters, parallel tempering; diagnostics; networks as proposals."""

from vanfast.mcmc import neural
from vanfast.mcmc.autocorrelation import Autocorrelation, Blocking, Geweke, autocorrelation, blocking, geweke
from vanfast.mcmc.chains import run
from vanfast.mcmc.incremental import Incremental, IncrementalHamiltonian, geometric_ladder
from vanfast.mcmc.kernels import ALGORITHMS, KERNELS, choose
from vanfast.mcmc.measure import ChainObservables, magnetizations, measure, measure_series
from vanfast.mcmc.result import Chains
from vanfast.mcmc.states import StateHamiltonian, StateIncremental

__all__ = [
    "ALGORITHMS",
    "KERNELS",
    "Autocorrelation",
    "Blocking",
    "ChainObservables",
    "Chains",
    "Geweke",
    "Incremental",
    "IncrementalHamiltonian",
    "StateHamiltonian",
    "StateIncremental",
    "autocorrelation",
    "blocking",
    "choose",
    "geometric_ladder",
    "geweke",
    "magnetizations",
    "measure",
    "measure_series",
    "neural",
    "run",
]
