"""vanfast: fast exact sampling from autoregressive networks for statistical mechanics."""

from vanfast import exact, hamiltonians, networks, observables, store
from vanfast.sampler import Batch, Sampler
from vanfast.saving import load
from vanfast.training import train

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "Sampler",
    "__version__",
    "exact",
    "hamiltonians",
    "load",
    "networks",
    "observables",
    "store",
    "train",
]
