"""Energies and bit packing on a GPU: a Hamiltonian's arrays uploaded once, one or two launches for a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vanfast.backends.engines.base import stream_of
from vanfast.backends.engines.energy_arrays import (
    BondArrays,
    DenseArrays,
    EnergyArrays,
    EnergyOnDevice,
    LatticeArrays,
    PatternArrays,
)
from vanfast.hamiltonians import Hamiltonian

__all__ = ["DeviceEnergy", "pack_spins", "unpack_spins"]

PLANE_SAMPLES = 128  # samples whose bits stand side by side in a plane: kPlaneWords words of csrc/cuda/pack_bits.cuh


class DeviceEnergy(EnergyOnDevice):
    """By the CUDA kernels of `module`."""

    def __init__(self, ham: Hamiltonian, device: torch.device | str, module: Any) -> None:
        super().__init__(ham, device)
        self._module = module

    def _launch(self, spins: Tensor) -> Tensor:
        return _energy(self.arrays, spins, self._module)


def _energy(arrays: EnergyArrays, spins: Tensor, module: Any) -> Tensor:
    count, num_sites = spins.shape
    energy = torch.empty(count, dtype=torch.float64, device=spins.device)
    if not count:
        return energy
    where = {"device": spins.device.index or 0, "stream": stream_of(spins.device)}
    common = {"count": count, "energy": energy.data_ptr(), **where}
    if isinstance(arrays, LatticeArrays):
        module.lattice_energy(
            spins=spins.data_ptr(),
            rows=arrays.rows,
            width=arrays.width,
            directions=len(arrays.step),
            neighbour=arrays.neighbour.data_ptr(),
            step=arrays.step.data_ptr(),
            values=arrays.values.data_ptr(),
            bonds=arrays.bonds.data_ptr(),
            signs=_pointer(arrays.signs),
            fields=_pointer(arrays.fields),
            **common,
        )
        return energy
    if isinstance(arrays, PatternArrays):
        module.pattern_energy(
            spins=spins.data_ptr(),
            num_sites=num_sites,
            patterns=len(arrays.bits),
            bits=arrays.bits.data_ptr(),
            values=arrays.values.data_ptr(),
            **common,
        )
        return energy
    planes = _planes(spins, module, where)
    if isinstance(arrays, DenseArrays):
        module.dense_energy(
            planes=planes.data_ptr(),
            num_sites=num_sites,
            couplings=arrays.couplings.data_ptr(),
            fields=arrays.fields.data_ptr(),
            **common,
        )
    else:
        assert isinstance(arrays, BondArrays)
        module.bond_energy(
            planes=planes.data_ptr(),
            num_sites=num_sites,
            edges=arrays.edges.data_ptr(),
            couplings=arrays.couplings.data_ptr(),
            num_bonds=len(arrays.couplings),
            **common,
        )
    return energy


def _planes(spins: Tensor, module: Any, where: dict[str, int]) -> Tensor:
    """The bits of 128 samples of every site side by side, int32 [tiles, N + 1, 4]; plane N is that of spins +1."""
    count, num_sites = spins.shape
    tiles = -(-count // PLANE_SAMPLES)
    planes = torch.empty((tiles, num_sites + 1, PLANE_SAMPLES // 32), dtype=torch.int32, device=spins.device)
    module.pack_planes(spins=spins.data_ptr(), count=count, num_sites=num_sites, planes=planes.data_ptr(), **where)
    return planes


def pack_spins(spins: Tensor, module: Any) -> Tensor:
    """Bit-packed rows as vanfast.store keeps them: uint8 [count, ceil(N / 8)] of spins int8 [count, N]."""
    if spins.dtype != torch.int8 or spins.ndim != 2:
        raise ValueError(f"spins is {spins.dtype} {list(spins.shape)}, expected torch.int8 [count, N]")
    spins = spins.contiguous()
    count, num_sites = spins.shape
    packed = torch.empty((count, (num_sites + 7) // 8), dtype=torch.uint8, device=spins.device)
    if packed.numel():
        module.pack_spins(
            spins=spins.data_ptr(),
            count=count,
            num_sites=num_sites,
            packed=packed.data_ptr(),
            device=spins.device.index or 0,
            stream=stream_of(spins.device),
        )
    return packed


def unpack_spins(packed: Tensor, num_sites: int, module: Any) -> Tensor:
    """Inverse of `pack_spins`: int8 [count, num_sites]."""
    if packed.dtype != torch.uint8 or packed.ndim != 2 or packed.shape[1] != (num_sites + 7) // 8:
        expected = f"torch.uint8 [count, {(num_sites + 7) // 8}]"
        raise ValueError(f"packed is {packed.dtype} {list(packed.shape)}, expected {expected} for {num_sites} sites")
    packed = packed.contiguous()
    spins = torch.empty((len(packed), num_sites), dtype=torch.int8, device=packed.device)
    if spins.numel():
        module.unpack_spins(
            packed=packed.data_ptr(),
            count=len(packed),
            num_sites=num_sites,
            spins=spins.data_ptr(),
            device=packed.device.index or 0,
            stream=stream_of(packed.device),
        )
    return spins


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
