"""What is measured, and against what: the cases of the VAN paper, their rivals, and the machine's own limit."""

from vanfast.benchmarks.cases import CASES, Case, useful_operations
from vanfast.benchmarks.machine import describe_hardware
from vanfast.benchmarks.measure import Measurement, measure_case, measure_growth, measure_training

__all__ = [
    "CASES",
    "Case",
    "Measurement",
    "describe_hardware",
    "measure_case",
    "measure_growth",
    "measure_training",
    "useful_operations",
]
