"""A trained network as a Hamiltonian: H(s) = -T0 ln p(s); L. Wang, Y. Jiang, arXiv:2007.01037.

This file stands below networks and sampler, whose objects it holds: it calls them inside functions, as networks call
what saves them.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NoReturn, overload

import numpy as np
import torch

from vanfast import _cpu
from vanfast._spins import as_spins
from vanfast.hamiltonians._checks import as_number, as_shape
from vanfast.hamiltonians.base import Hamiltonian


class Neural(Hamiltonian):
    """H(s) = -T0 ln p(s) of a network p: its Boltzmann distribution at beta is p(s)^(beta T0) / Z, p itself at 1 / T0.

    It is not made of pairs: it has no edges, couplings or fields, and what needs these refuses it. `vf.mcmc.run`
    changes single sites of it at any temperature; MADE, CategoricalMADE and Dense in float32 without a prior have a
    kernel that evaluates what a change changes (csrc/cpu/masked_flips.h), other networks are evaluated whole each time.
    Over sites of q states, as `net` has them, "spins" below are states 0 .. q - 1.

    Args:
        net: any network of the package. A copy is taken: training on changes nothing here. It is evaluated on the CPU,
            in float32 by the C++ engine, in float64 by torch.
        T0: temperature at which the configurations that `net` learnt were measured, positive. A number times T0 is an
            energy.
        shape: the lattice that the sites form in raster order; None for that of `net`.

    Raises:
        TypeError, ValueError: not a network, T0 not positive and finite, a shape of another number of sites.
        FloatingPointError: parameters that are not finite.
    """

    is_pairwise = False

    def __init__(self, net: Any, T0: float = 1.0, shape: Any = None) -> None:
        from vanfast.networks import Network

        if not isinstance(net, Network):
            raise TypeError(f"net must be a vanfast.networks.Network, got {type(net).__name__}")
        self.T0 = as_number(T0, "T0")
        if self.T0 <= 0:
            raise ValueError(f"T0 must be positive, not {T0}")
        self.shape = tuple(net.shape) if shape is None else as_shape(shape, "shape")
        self.num_sites, self.q = net.num_sites, net.q
        if math.prod(self.shape) != self.num_sites:
            raise ValueError(f"shape {self.shape} has {math.prod(self.shape)} sites, but net has {self.num_sites}")
        self.net: Any = copy.deepcopy(net).cpu().eval().requires_grad_(False)
        self._samplers: dict[int | None, Any] = {}
        self._sampler(None)

    def _sampler(self, threads: int | None) -> Any:
        from vanfast.backends import get
        from vanfast.sampler import Sampler

        if threads not in self._samplers:
            backend = "cpu" if get("cpu").refuses(self.net, "fp32") is None else "reference"
            self._samplers[threads] = Sampler(self.net, backend=backend, threads=threads)
        return self._samplers[threads]

    def log_prob(self, spins: torch.Tensor | np.ndarray, threads: int | None = None) -> torch.Tensor:
        """ln p(s), float64 [B] on the CPU, of spins as for `energy`. FloatingPointError where activations overflow."""
        rows = self._rows(spins, threads)
        log_prob: torch.Tensor = self._sampler(threads).log_prob(rows)
        if bool(log_prob.isnan().any()):
            raise FloatingPointError("ln p is not a number: the network's activations overflow")
        return log_prob

    @overload
    def energy(self, spins: torch.Tensor, threads: int | None = None) -> torch.Tensor: ...
    @overload
    def energy(self, spins: np.ndarray, threads: int | None = None) -> np.ndarray: ...

    def energy(self, spins: torch.Tensor | np.ndarray, threads: int | None = None) -> torch.Tensor | np.ndarray:
        """-T0 ln p(s) of a batch of configurations; arguments, result and errors as for every Hamiltonian."""
        energy = -self.T0 * self.log_prob(spins, threads)
        return energy.to(spins.device) if isinstance(spins, torch.Tensor) else energy.numpy()

    def whole_flips(self) -> str | None:
        """Why a change of a site needs an evaluation of the whole network; None where it costs what it changes."""
        from vanfast.networks import CategoricalPlan, MaskedPlan

        net = self.net
        if net.plan_type not in (MaskedPlan, CategoricalPlan):
            return f"{type(net).__name__} is not a stack of masked linear layers"
        if net.prior is not None:
            return "its network has a prior"
        return None if net.dtype == torch.float32 else f"its parameters are {net.dtype}, not float32"

    def masked_arrays(self) -> tuple[int, list[dict[str, Any]], np.ndarray | None, bool | np.ndarray]:
        """The network as the C++ kernels of single changes take it, where `whole_flips` is None: number of sites,
        layers, order, and the group of its symmetry, csrc/cpu/bind_mcmc_masked.cpp."""
        from vanfast.networks.plan import CategoricalPlan, layer_arrays

        plan = self.net.plan()
        order = None if plan.order is None else plan.order.numpy()
        group = plan.maps.numpy() if isinstance(plan, CategoricalPlan) else bool(self.net.z2)
        return self.num_sites, layer_arrays(plan), order, group

    def differences(self, spins: torch.Tensor | np.ndarray, threads: int | None = None) -> np.ndarray:
        """E with one site changed, less E, of spins as for `energy`: with spin i turned, float64 [B, N], or with state
        k at site i, [B, N, q]."""
        rows = np.ascontiguousarray(self._rows(spins, threads).numpy())
        if self.whole_flips() is None:
            return -self.T0 * _cpu.flip_changes(*self.masked_arrays(), rows, threads or 0) + 0.0  # no negative zero
        energy, found = self.energy(rows, threads), np.empty((*rows.shape, self.q or 1))
        for site in range(self.num_sites):
            for k in range(self.q or 1):
                changed = rows.copy()
                changed[:, site] = -rows[:, site] if self.q is None else k
                found[:, site, k] = self.energy(changed, threads) - energy
        return found[:, :, 0] if self.q is None else found

    def _rows(self, spins: torch.Tensor | np.ndarray, threads: int | None) -> torch.Tensor:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1 or None, not {threads}")
        return as_spins(spins, self.num_sites, q=self.q)

    def incremental(self, spins: np.ndarray, threads: int | None = None) -> NeuralIncremental:
        """Walkers that start at spins int8 [B, N], for `vanfast.mcmc.incremental` and `vanfast.mcmc.states`."""
        return NeuralIncremental(self, spins, threads)

    @property
    def is_z2_symmetric(self) -> bool:
        """Whether the network is made so."""
        return bool(self.net.z2)

    @property
    def edges(self) -> NoReturn:
        raise AttributeError("a Neural Hamiltonian is not made of pairs: it has no edges")

    @property
    def couplings(self) -> NoReturn:
        raise AttributeError("a Neural Hamiltonian is not made of pairs: it has no couplings")

    @property
    def fields(self) -> NoReturn:
        raise AttributeError("a Neural Hamiltonian is not made of pairs: it has no fields")

    @property
    def num_edges(self) -> NoReturn:
        raise AttributeError("a Neural Hamiltonian is not made of pairs: it has no edges")

    def _make_native(self) -> NoReturn:
        raise AttributeError("a Neural Hamiltonian is not made of pairs: it has no native energy model")

    def to_dense(self) -> NoReturn:
        raise AttributeError("a Neural Hamiltonian is not made of pairs: it has no couplings")

    def _arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"network": self.net.config(), "T0": self.T0, "shape": list(self.shape)}
        return arguments | {f"net.{name}": tensor.numpy().copy() for name, tensor in self.net.state_dict().items()}

    @classmethod
    def _from_arguments(cls, arguments: dict[str, Any]) -> Neural:
        from vanfast.networks import from_config

        given = dict(arguments)
        net = from_config(given.pop("network", None))
        state = {
            name.removeprefix("net."): torch.from_numpy(np.array(given.pop(name)))
            for name in list(given)
            if name.startswith("net.")
        }
        dtypes = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
        if len(dtypes) == 1:
            net.to(dtypes.pop())
        try:
            net.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"config of Neural does not fit its arrays: {error}") from None
        return cls(net, **given)

    def describe(self) -> str:
        size = "x".join(str(length) for length in self.shape)
        states = "" if self.q is None else f" of {self.q} states"
        return f"Neural {size}, {self.num_sites} sites{states}, -{self.T0:g} ln p of {type(self.net).__name__}"

    def __repr__(self) -> str:
        return f"Neural({type(self.net).__name__}, T0={self.T0!r}, shape={self.shape!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_samplers": {}}


class NeuralIncremental:
    """Walkers of any network: every change that is tried is a whole evaluation of the batch.

    Attributes:
        spins: int8 [B, N], the present configurations.
        energy: float64 [B], their energies.
    """

    def __init__(self, ham: Neural, spins: np.ndarray, threads: int | None = None) -> None:
        self._ham, self._threads, self.spins = ham, threads, spins.copy()
        self.energy = ham.energy(self.spins, threads)
        self._tried: tuple[int, np.ndarray, np.ndarray] | None = None  # a site, values there, and the energies then

    def difference(self, site: int) -> np.ndarray:
        """E with spin `site` turned, less E: float64 [B]."""
        return self.cost(site, -self.spins[:, site])

    def flip(self, site: int, where: np.ndarray) -> None:
        """Turns spin `site` of the walkers in `where`, bool [B]."""
        spins = self.spins[:, site]
        energy = np.where(where, self._with(site, -spins), self.energy)
        self.spins[:, site] = np.where(where, -spins, spins)
        self.energy, self._tried = energy, None

    def cost(self, site: int, states: np.ndarray) -> np.ndarray:
        """E with `states` int8 [B] at `site`, less E: float64 [B]."""
        return self._with(site, states) - self.energy

    def assign(self, site: int, states: np.ndarray) -> None:
        """Puts `states` int8 [B] at `site`."""
        self.energy = self._with(site, states)
        self.spins[:, site] = states
        self._tried = None

    def _with(self, site: int, values: np.ndarray) -> np.ndarray:
        tried = self._tried
        if tried is None or tried[0] != site or not np.array_equal(tried[1], values):
            changed = self.spins.copy()
            changed[:, site] = values
            self._tried = tried = site, values.copy(), self._ham.energy(changed, self._threads)
        return tried[2]
