"""vanfast: fast exact sampling from autoregressive networks for statistical mechanics."""

from vanfast import exact, hamiltonians, networks

__version__ = "0.1.0"
__all__ = ["__version__", "exact", "hamiltonians", "networks"]
