"""Training of networks: variational, by the free energy of what they draw, or by likelihood, from configurations; and
the inverse Ising problem."""

from vanfast.training.data import Moments, Samples, load_data
from vanfast.training.interrupt import TrainingInterrupted
from vanfast.training.inverse import InverseResult, inverse_ising, reconstruction_error
from vanfast.training.likelihood import EpochRecord, FitRun, fit, load_fit
from vanfast.training.metrics import StepRecord, read_metrics
from vanfast.training.run import Run, load_run
from vanfast.training.variational import train

__all__ = [
    "EpochRecord",
    "FitRun",
    "InverseResult",
    "Moments",
    "Run",
    "Samples",
    "StepRecord",
    "TrainingInterrupted",
    "fit",
    "inverse_ising",
    "load_data",
    "load_fit",
    "load_run",
    "read_metrics",
    "reconstruction_error",
    "train",
]
