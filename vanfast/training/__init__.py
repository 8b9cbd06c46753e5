"""Training of networks: variational, by the free energy of what they draw."""

from vanfast.training.interrupt import TrainingInterrupted
from vanfast.training.metrics import StepRecord, read_metrics
from vanfast.training.run import Run, load_run
from vanfast.training.variational import train

__all__ = ["Run", "StepRecord", "TrainingInterrupted", "load_run", "read_metrics", "train"]
