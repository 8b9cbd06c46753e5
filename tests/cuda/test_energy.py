"""CUDA energies and bit packing against the CPU engine's, on shapes that fit nothing, aligned and not."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from tests.cuda.conftest import Cuda
from tests.energy_systems import (
    LARGE,
    NAMES,
    SYSTEMS,
    assert_captured,
    assert_energies,
    assert_energies_past_2_31,
    draw_spins,
    random_graph,
)
from vanfast import hamiltonians as H
from vanfast import store
from vanfast.backends.engines import cuda_energy
from vanfast.backends.engines.cuda_energy import DeviceEnergy, pack_spins, unpack_spins

LATTICE, TRIANGULAR, SIGNS, BONDS, DENSE, PATTERNS = 6, 13, 21, 25, 34, 37


@pytest.mark.parametrize(("kind", "ham"), SYSTEMS, ids=NAMES)
def test_energy_is_that_of_the_cpu_engine(cuda: Cuda, kind: str, ham: H.Hamiltonian) -> None:
    model = DeviceEnergy(ham, cuda.device, cuda.module)
    assert model.kind == kind
    for count in (1, 5, 63, 100) if cuda.emulated else (1, 5, 63, 100, 257, 5000):
        spins = draw_spins(count, ham.num_sites, seed=count)
        assert_energies(model.evaluate(spins.to(cuda.device)), ham, spins)


@pytest.mark.parametrize("ham", [H.IsingSquare(48, field=1.0), H.IsingTriangular(shape=(31, 67)), H.CurieWeiss(2500)])
def test_samples_that_a_warp_has_to_itself(cuda: Cuda, ham: H.Hamiltonian) -> None:
    model, spins = DeviceEnergy(ham, cuda.device, cuda.module), draw_spins(11, ham.num_sites)
    assert_energies(model.evaluate(spins.to(cuda.device)), ham, spins)


@pytest.mark.parametrize("index", [LATTICE, TRIANGULAR, SIGNS, BONDS, DENSE, PATTERNS], ids=lambda index: NAMES[index])
def test_energy_does_not_depend_on_the_batch_nor_on_where_it_begins(cuda: Cuda, index: int) -> None:
    ham = SYSTEMS[index][1]
    model, spins = DeviceEnergy(ham, cuda.device, cuda.module), draw_spins(150, ham.num_sites).to(cuda.device)
    whole = model.evaluate(spins)
    assert_energies(whole, ham, spins.cpu())
    for begin, end in ((0, 1), (1, 3), (7, 140), (149, 150)):
        assert torch.equal(model.evaluate(spins[begin:end]), whole[begin:end])
    shifted = torch.cat([spins.new_zeros(5), spins.flatten()])[5:].view(
        spins.shape
    )  # five bytes past an aligned address
    assert torch.equal(model.evaluate(shifted), whole)
    assert model.evaluate(spins[:0]).shape == (0,)


@pytest.mark.parametrize("index", [LATTICE, DENSE, PATTERNS], ids=lambda index: SYSTEMS[index][0])
def test_nothing_is_written_past_the_batch(cuda: Cuda, index: int) -> None:
    ham = SYSTEMS[index][1]
    spins = draw_spins(70, ham.num_sites).to(cuda.device)
    room: list[torch.Tensor] = []

    class Module:
        """Gives every launch an output with room behind it, and hands the result back."""

        def __getattr__(self, name: str):
            launch = getattr(cuda.module, name)

            def call(**arguments):
                if "energy" in arguments:
                    room.append(torch.full((200,), torch.nan, dtype=torch.float64, device=cuda.device))
                    arguments["energy"] = room[-1].data_ptr()
                launch(**arguments)

            return call

    DeviceEnergy(ham, cuda.device, Module()).evaluate(spins)
    assert_energies(room[0][:70], ham, spins.cpu())
    assert room[0][70:].isnan().all()


def test_huge_couplings_and_flips_are_exact(cuda: Cuda) -> None:
    ham = random_graph(24, 0.5, seed=11)
    model, spins = DeviceEnergy(H.Pairwise(ham.to_dense()), cuda.device, cuda.module), draw_spins(40, 24)
    assert torch.equal(model.evaluate(spins.to(cuda.device)), model.evaluate(-spins.to(cuda.device)))
    ham = H.Pairwise.from_edges(40, [[0, 39], [1, 38]], [2.0**52, 1.0])
    spins = draw_spins(60, 40)
    energy = DeviceEnergy(ham, cuda.device, cuda.module).evaluate(spins.to(cuda.device)).cpu()
    assert torch.equal(energy, ham.energy(spins))


@pytest.mark.parametrize("num_sites", [1, 7, 8, 9, 16, 31, 48, 100])
def test_packing_is_that_of_the_store(cuda: Cuda, num_sites: int) -> None:
    for count in (1, 5, 63, 100):
        spins = draw_spins(count, num_sites, seed=num_sites)
        packed = pack_spins(spins.to(cuda.device), cuda.module)
        np.testing.assert_array_equal(packed.cpu().numpy(), store.pack_spins(spins))
        assert torch.equal(unpack_spins(packed, num_sites, cuda.module).cpu(), spins)
    unaligned = torch.cat([spins.new_zeros(3), spins.flatten()])[3:].view(spins.shape).to(cuda.device)
    assert torch.equal(pack_spins(unaligned, cuda.module), packed)
    assert pack_spins(spins[:0].to(cuda.device), cuda.module).shape == (0, (num_sites + 7) // 8)


@pytest.mark.parametrize("num_sites", [1, 6, 20, 32, 272])
def test_planes_hold_a_sample_a_bit(cuda: Cuda, num_sites: int) -> None:
    count, words = 150, cuda.module.plane_samples // 32
    spins = draw_spins(count, num_sites)
    planes = cuda_energy._planes(spins.to(cuda.device), cuda.module, {"device": 0, "stream": 0}).cpu()
    minus = np.zeros((2 * cuda.module.plane_samples, num_sites + 1), dtype=bool)
    minus[:count, :num_sites] = spins.numpy() < 0
    bits = (planes.numpy().view(np.uint32)[..., None] >> np.arange(32, dtype=np.uint32)) & 1  # [tile, site, word, bit]
    assert planes.shape == (2, num_sites + 1, words)
    np.testing.assert_array_equal(bits.transpose(0, 2, 3, 1).reshape(minus.shape), minus)


def test_arguments_that_do_not_fit_are_refused(cuda: Cuda) -> None:
    model = DeviceEnergy(H.IsingSquare(2), cuda.device, cuda.module)
    with pytest.raises(ValueError, match=r"\[1, 5\], expected torch.int8 \[count, 4\]"):
        model.evaluate(torch.ones(1, 5, dtype=torch.int8, device=cuda.device))
    with pytest.raises(ValueError, match=r"torch\.int64"):
        pack_spins(torch.ones(1, 5, dtype=torch.int64), cuda.module)
    with pytest.raises(ValueError, match=r"expected torch.uint8 \[count, 2\] for 9 sites"):
        unpack_spins(torch.ones(1, 1, dtype=torch.uint8), 9, cuda.module)
    where = {"energy": 0, "device": 0, "stream": 0}
    with pytest.raises(ValueError, match="num_sites must be at least 1"):
        cuda.module.bond_energy(planes=0, count=1, num_sites=0, edges=0, couplings=0, num_bonds=0, **where)
    with pytest.raises(ValueError, match=r"does not fit|do not fit"):
        cuda.module.pattern_energy(spins=0, count=1, num_sites=2_000_000, patterns=1, bits=0, values=0, **where)


@pytest.fixture
def gpu_module() -> ModuleType:
    module = pytest.importorskip("vanfast._cuda", reason="vanfast was built without nvcc")
    if module.device_count() == 0:
        pytest.skip(f"no GPU: {module.device_error()}")
    return module


@pytest.mark.gpu
@pytest.mark.parametrize("index", range(len(LARGE)), ids=lambda index: LARGE[index][0].describe())
def test_indices_past_2_31(gpu_module: ModuleType, index: int) -> None:
    assert_energies_past_2_31(DeviceEnergy(LARGE[index][0], "cuda", gpu_module).evaluate, index)


@pytest.mark.gpu
def test_packing_past_2_31(gpu_module: ModuleType) -> None:
    spins = torch.empty((2**19 + 77, 4099), dtype=torch.int8, device="cuda")
    for part in spins.split(2**17):
        part.random_(0, 2).mul_(2).sub_(1)
    packed = pack_spins(spins, gpu_module)
    np.testing.assert_array_equal(packed[-50:].cpu().numpy(), store.pack_spins(spins[-50:].cpu()))
    assert torch.equal(unpack_spins(packed, 4099, gpu_module), spins)


@pytest.mark.gpu
@pytest.mark.parametrize("index", [LATTICE, BONDS, DENSE, PATTERNS], ids=lambda index: NAMES[index])
def test_a_graph_holds_the_whole_evaluation(gpu_module: ModuleType, index: int) -> None:
    ham = SYSTEMS[index][1]
    assert_captured(DeviceEnergy(ham, "cuda", gpu_module).evaluate, ham)


def _case(ham: H.Hamiltonian, count: int):
    def run(module):
        return (DeviceEnergy(ham, "cpu", module).evaluate(draw_spins(count, ham.num_sites)),)

    return run


BARRIER_CASES = {
    "lattice": _case(H.IsingSquare(shape=(3, 33), field=1.0), 40),
    "patterns": _case(H.CurieWeiss(65), 40),
    "bonds": _case(random_graph(40, 0.3, seed=3), 40),
    "dense": _case(random_graph(40, 0.9, seed=3), 40),
}
