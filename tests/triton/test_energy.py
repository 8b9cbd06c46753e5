"""The Triton energies against the C++ ones, on shapes that fit nothing."""

import pytest
import torch

from tests.energy_systems import (
    LARGE,
    NAMES,
    SYSTEMS,
    assert_captured,
    assert_energies,
    assert_energies_past_2_31,
    draw_spins,
    need_a_gpu,
)
from vanfast import hamiltonians as H
from vanfast.backends.engines.energy_arrays import energy_kind
from vanfast.backends.engines.triton_energy import DeviceEnergy

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("kind", "ham"), SYSTEMS, ids=NAMES)
def test_energy_is_that_of_the_cpu_engine(kind: str, ham: H.Hamiltonian, device: str) -> None:
    model = DeviceEnergy(ham, device)
    assert model.kind == kind
    for count in (1, 5) if device == "cpu" else (1, 5, 63, 100, 257):
        spins = draw_spins(count, ham.num_sites, seed=count)
        assert_energies(model.evaluate(spins.to(device)), ham, spins)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("index", [3, 6, 23, 31, 37], ids=lambda index: NAMES[index])
def test_energy_does_not_depend_on_the_batch(index: int, device: str) -> None:
    ham = SYSTEMS[index][1]
    model, spins = DeviceEnergy(ham, device), draw_spins(137, ham.num_sites).to(device)
    spins = spins[:70] if SYSTEMS[index][0] == "lattice" and device == "cpu" else spins  # a program a sample is slow
    whole = model.evaluate(spins)
    assert_energies(whole, ham, spins.cpu())
    assert torch.equal(model.evaluate(spins[61:69]), whole[61:69])
    assert model.evaluate(spins[:0]).shape == (0,)


def test_the_kind_follows_from_the_couplings() -> None:
    assert energy_kind(H.IsingSquare(3, coupling=0.0)) == "lattice"
    assert energy_kind(H.EdwardsAnderson((5, 5), "gaussian")) == "bonds"
    assert energy_kind(H.SherringtonKirkpatrick(2)) == "dense"
    with pytest.raises(TypeError, match="ham must be a vanfast"):
        energy_kind(None)  # type: ignore[arg-type]


def test_other_spins_are_refused() -> None:
    model = DeviceEnergy(H.IsingSquare(2), "cpu")
    with pytest.raises(ValueError, match=r"torch.float32 \[1, 4\], expected torch.int8 \[count, 4\]"):
        model.evaluate(torch.ones(1, 4))
    with pytest.raises(ValueError, match=r"\[1, 5\], expected torch.int8 \[count, 4\]"):
        model.evaluate(torch.ones(1, 5, dtype=torch.int8))


def test_launchers_name_the_array_that_does_not_fit() -> None:
    from vanfast.kernels import energy

    spins, one = torch.ones(3, 5, dtype=torch.int8), torch.ones(1, dtype=torch.float64)
    edges = torch.zeros(1, 2, dtype=torch.int32)
    with pytest.raises(TypeError, match=r"spins must be int8, not torch\.int64"):
        energy.bond_energy(spins.long(), edges, one)
    with pytest.raises(TypeError, match=r"couplings must be torch\.float64, not torch\.float32"):
        energy.bond_energy(spins, edges, one.float())
    with pytest.raises(ValueError, match=r"edges has shape \[1, 2\], expected a contiguous \[2, 2\]"):
        energy.bond_energy(spins, edges, torch.ones(2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"couplings has shape \[1\], expected a contiguous \[48\]"):
        energy.dense_energy(spins, one, torch.zeros(8, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"bits has shape \[1, 2\], expected a contiguous \[1, 1\]"):
        energy.pattern_energy(spins, edges, torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"spins has shape \[3, 5\], expected a contiguous \[count, 6\]"):
        energy.lattice_energy(spins, 2, 3, edges, edges[0, :1], torch.zeros(2, dtype=torch.float64), None, None)


@pytest.fixture
def gpu() -> None:
    need_a_gpu()


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("index", range(len(LARGE)), ids=lambda index: LARGE[index][0].describe())
def test_indices_past_2_31(index: int) -> None:
    assert_energies_past_2_31(DeviceEnergy(LARGE[index][0], "cuda").evaluate, index)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("index", [6, 25, 34, 37], ids=lambda index: NAMES[index])
def test_a_graph_holds_the_whole_evaluation(index: int) -> None:
    ham = SYSTEMS[index][1]
    assert_captured(DeviceEnergy(ham, "cuda").evaluate, ham)
