"""Training of networks: variational, by the free energy of what they draw; and the inverse Ising problem."""

from vanfast.training.interrupt import TrainingInterrupted
from vanfast.training.inverse import InverseResult, Moments, inverse_ising, reconstruction_error
from vanfast.training.metrics import StepRecord, read_metrics
from vanfast.training.run import Run, load_run
from vanfast.training.variational import train

__all__ = [
    "InverseResult",
    "Moments",
    "Run",
    "StepRecord",
    "TrainingInterrupted",
    "inverse_ising",
    "load_run",
    "read_metrics",
    "reconstruction_error",
    "train",
]
