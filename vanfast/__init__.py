"""vanfast: fast exact sampling from autoregressive networks for statistical mechanics."""

try:
    import vanfast._cpu as _cpu  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"vanfast's C++ module is missing or does not fit this Python ({error}); build it: `pip install .`, or"
        " `python setup.py build_ext --inplace` in a working copy"
    ) from error

from vanfast import exact, hamiltonians, mcmc, networks, observables, ops, store
from vanfast.sampler import Batch, Sampler
from vanfast.saving import load
from vanfast.training import fit, train

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "Sampler",
    "__version__",
    "exact",
    "fit",
    "hamiltonians",
    "load",
    "mcmc",
    "networks",
    "observables",
    "ops",
    "store",
    "train",
]
