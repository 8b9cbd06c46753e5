"""Energies on a GPU by the Triton kernels, under TRITON_INTERPRET=1 on the CPU."""

from __future__ import annotations

from torch import Tensor

from vanfast.backends.engines.energy_arrays import (
    DenseArrays,
    EnergyOnDevice,
    LatticeArrays,
    PatternArrays,
)

__all__ = ["DeviceEnergy"]


class DeviceEnergy(EnergyOnDevice):
    """By the kernels of vanfast.kernels.energy."""

    def _launch(self, spins: Tensor) -> Tensor:
        from vanfast.kernels import energy

        a = self.arrays
        if isinstance(a, LatticeArrays):
            return energy.lattice_energy(spins, a.rows, a.width, a.neighbour, a.step, a.values, a.signs, a.fields)
        if isinstance(a, PatternArrays):
            return energy.pattern_energy(spins, a.bits, a.values)
        if isinstance(a, DenseArrays):
            return energy.dense_energy(spins, a.couplings, a.fields)
        return energy.bond_energy(spins, a.edges, a.couplings)
