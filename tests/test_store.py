"""Sample sets: what is written is what is read, a broken or foreign file is refused by name."""

import os
import zipfile

import numpy as np
import pytest
import torch

from vanfast.errors import FileFormatError
from vanfast.hamiltonians import EdwardsAnderson, Pairwise
from vanfast.store import SampleWriter, load_samples, pack_spins, unpack_spins

FORMATS = ("npz", "h5")


def random_spins(count, num_sites, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (count, num_sites), generator=generator, dtype=torch.int8) * 2 - 1


def write(path, spins, log_q, pieces, **options):
    with SampleWriter(path, count=len(spins), num_sites=spins.shape[1], seed=7, first=30, **options) as writer:
        start = 0
        for size in pieces:
            part = slice(start, start + size)
            ham = options.get("hamiltonian")
            writer.write(spins[part], log_q[part], None if ham is None else ham.energy(spins[part]))
            start += size


@pytest.mark.parametrize("num_sites", [1, 7, 8, 9, 64, 100])
def test_packing_is_inverted(num_sites):
    spins = random_spins(13, num_sites)
    packed = pack_spins(spins)
    assert packed.shape == (13, (num_sites + 7) // 8)
    assert torch.equal(unpack_spins(packed, num_sites), spins)


def test_packing_is_little_endian():
    assert pack_spins(torch.tensor([[1, -1, -1, -1, -1, -1, -1, -1, 1]])).tolist() == [[1, 1]]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("pieces", [(1000,), (1, 7, 992), (500, 0, 500)])
def test_round_trip_with_hamiltonian(tmp_path, ending, pieces):
    ham = EdwardsAnderson((4, 5), disorder="gaussian", seed=3, boundary="open")
    spins, log_q = random_spins(1000, 20), torch.linspace(-30, -1, 1000, dtype=torch.float64)
    path = tmp_path / f"s.{ending}"
    write(path, spins, log_q, pieces, hamiltonian=ham, network_digest="abc", extra={"beta": 0.5})
    got = load_samples(path)
    assert len(got) == 1000
    assert torch.equal(got.spins, spins)
    assert torch.equal(got.log_q, log_q)
    assert torch.equal(got.energy, ham.energy(spins))
    assert (got.seed, got.first, got.network_digest, got.shape, got.meta["beta"]) == (7, 30, "abc", (4, 5), 0.5)
    assert torch.equal(got.hamiltonian.energy(spins), got.energy)
    assert torch.equal(torch.cat(list(got.chunks(300))), spins)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", FORMATS)
def test_arrays_of_a_hamiltonian_travel_along(tmp_path, ending):
    J = np.array([[0, 0.5, -1], [0.5, 0, 2], [-1, 2, 0]])
    ham = Pairwise(J, h=[0.1, 0.2, 0.3])
    spins, log_q = random_spins(5, 3), torch.zeros(5, dtype=torch.float64)
    write(tmp_path / f"s.{ending}", spins, log_q, (5,), hamiltonian=ham)
    got = load_samples(tmp_path / f"s.{ending}").hamiltonian
    assert np.array_equal(got.to_dense(), J)
    assert np.array_equal(got.fields, ham.fields)


@pytest.mark.parametrize("ending", FORMATS)
def test_no_energy_and_no_samples(tmp_path, ending):
    path = tmp_path / f"s.{ending}"
    write(path, random_spins(0, 3), torch.zeros(0, dtype=torch.float64), ())
    got = load_samples(path)
    assert len(got) == 0
    assert got.energy is None
    assert got.hamiltonian is None
    assert got.spins.shape == (0, 3)


@pytest.mark.parametrize("ending", FORMATS)
def test_an_unfinished_set_leaves_nothing(tmp_path, ending):
    spins, log_q = random_spins(10, 4), torch.zeros(10, dtype=torch.float64)
    old = tmp_path / f"s.{ending}"
    old.write_bytes(b"kept")

    def write_ten(then):
        with SampleWriter(old, count=11, num_sites=4, seed=0) as writer:
            writer.write(spins, log_q)
            then()

    def stop():
        raise RuntimeError("stop")

    with pytest.raises(ValueError, match="11 samples were announced, 10 were written"):
        write_ten(lambda: None)
    with pytest.raises(RuntimeError, match="stop"):
        write_ten(stop)
    assert old.read_bytes() == b"kept"
    assert os.listdir(tmp_path) == [old.name]


def test_wrong_pieces_are_refused(tmp_path):
    spins, log_q = random_spins(10, 4), torch.zeros(10, dtype=torch.float64)
    with SampleWriter(tmp_path / "s.npz", count=10, num_sites=4, seed=0) as writer:
        with pytest.raises(ValueError, match=r"spins \[b, 4\]"):
            writer.write(random_spins(10, 5), log_q)
        with pytest.raises(ValueError, match="energy must be None"):
            writer.write(spins, log_q, log_q)
        writer.write(spins, log_q)
        with pytest.raises(ValueError, match="b <= 0"):
            writer.write(spins, log_q)
    with pytest.raises(ValueError, match="format must be one of npz, h5"):
        SampleWriter(tmp_path / "s.csv", count=1, num_sites=1, seed=0)


def rewrite(path, **changes):
    """The same archive with members replaced, or left out where None."""
    with np.load(path) as archive:
        content = {**{name: archive[name] for name in archive.files}, **changes}
    np.savez(path, **{name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spins": np.zeros((10, 2), np.uint8)}, "expected spins of type uint8"),
        ({"log_q": None}, "expected log_q of type float64"),
        ({"log_q": np.zeros(10, np.float32)}, "expected log_q of type float64"),
        ({"energy": np.zeros(9)}, "expected energy"),
        ({"meta": np.array("{")}, "expected JSON in meta"),
        ({"meta": np.array('{"format": "vanfast-samples", "version": 2}')}, "expected version 1"),
        ({"meta": np.array('{"format": "vanfast-samples", "version": 1}')}, "expected the key 'count'"),
        ({"meta": None}, "meta"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, changes, message):
    path = tmp_path / "s.npz"
    write(path, random_spins(10, 4), torch.zeros(10, dtype=torch.float64), (10,))
    rewrite(path, **changes)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_samples(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("ending", FORMATS)
def test_foreign_and_cut_files(tmp_path, ending):
    path = tmp_path / f"s.{ending}"
    with pytest.raises(FileNotFoundError):
        load_samples(path)
    write(path, random_spins(2000, 40), torch.zeros(2000, dtype=torch.float64), (2000,))
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(FileFormatError, match="expected a sample set"):
        load_samples(path)
    for content in (b"", b"1 2 3\n", b"\x89HDF\r\n\x1a\n"):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="expected a sample set"):
            load_samples(path)


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, meta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match="pickle"):
        load_samples(path)
    assert zipfile.is_zipfile(path)
