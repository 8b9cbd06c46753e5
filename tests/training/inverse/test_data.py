"""What data may be: arrays, counts, moments, files; and what is said about data that have no answer."""

import tracemalloc

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.training.inverse.conftest import exact_moments, random_system
from vanfast.errors import FileFormatError
from vanfast.training import Moments, inverse_ising
from vanfast.training.data import as_samples
from vanfast.training.data.samples import CHUNK
from vanfast.training.inverse import load_data
from vanfast.training.inverse.pseudo_likelihood import pseudo_likelihood

SPINS = np.array([[1, -1, 1], [1, 1, -1], [-1, -1, 1], [1, 1, 1], [-1, 1, -1]], dtype=np.int8)


def test_moments_are_weighted_averages():
    counts = [1, 2, 0, 4, 0.5]
    moments = as_samples(SPINS, counts).moments()
    weights = np.array(counts) / np.sum(counts)
    np.testing.assert_allclose(moments.magnetization, weights @ SPINS, atol=1e-15)
    np.testing.assert_allclose(moments.correlation, (SPINS * weights[:, None]).T @ SPINS, atol=1e-15)
    m = moments.magnetization
    np.testing.assert_allclose(moments.connected, moments.correlation - np.outer(m, m))


def test_wide_samples_are_widened_a_few_at_a_time(monkeypatch):
    samples = as_samples(np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), size=(30_000, 300)))
    for work in (samples.moments, lambda: pseudo_likelihood(samples, 0.01, max_steps=1)):
        tracemalloc.start()
        work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2 * samples.spins.nbytes + 20 * 8 * CHUNK  # in float64 they take 8 times their bytes
    whole = samples.moments()
    monkeypatch.setattr("vanfast.training.data.samples.CHUNK", 300 * 7)
    np.testing.assert_allclose(samples.moments().correlation, whole.correlation, atol=1e-13)


def test_equal_samples_are_merged():
    merged = as_samples(np.concatenate([SPINS, SPINS[:2]]), [1, 2, 3, 4, 5, 6, 7]).distinct()
    found = {tuple(row): count for row, count in zip(merged.spins.tolist(), merged.counts, strict=True)}
    assert found == dict(zip(map(tuple, SPINS.tolist()), [7, 9, 3, 4, 5], strict=True))


@pytest.mark.parametrize("form", ["float", "bool", "zero-one", "tensor", "lattice"])
def test_forms_of_samples(form):
    data = {
        "float": SPINS.astype(float),
        "bool": SPINS > 0,
        "zero-one": (SPINS + 1) // 2,
        "tensor": torch.from_numpy(SPINS),
        "lattice": SPINS.reshape(5, 3, 1),
    }[form]
    np.testing.assert_array_equal(as_samples(data).spins, SPINS)


def test_files_give_the_same_couplings(tmp_path, counts_file, three_spins):
    spins, counts = three_spins
    expected = inverse_ising(spins, "mle", counts=counts).J
    np.savez(tmp_path / "a.npz", spins=spins, counts=counts)
    moments = as_samples(spins, counts).moments()
    np.savez(tmp_path / "m.npz", magnetization=moments.magnetization, correlation=moments.correlation)
    small = counts // 1000
    rows = np.repeat(spins, small, axis=0)
    np.save(tmp_path / "a.npy", (rows + 1) // 2)
    (tmp_path / "rows.txt").write_text("# spins\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n\n")
    (tmp_path / "bits.txt").write_text("".join("".join(str((k + 1) // 2) for k in row) + "\n" for row in rows))
    for name in (counts_file, tmp_path / "a.npz", str(tmp_path / "m.npz")):
        np.testing.assert_allclose(inverse_ising(name, "mle").J, expected, atol=1e-12)
    for name in ("a.npy", "rows.txt", "bits.txt"):
        np.testing.assert_array_equal(load_data(tmp_path / name).spins, rows)


def test_arrays_in_hdf5(tmp_path, three_spins):
    h5py = pytest.importorskip("h5py")
    spins, counts = three_spins
    moments = as_samples(spins, counts).moments()

    def write(name, **arrays):
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in arrays.items():
                file[key] = value
        return tmp_path / name

    found = load_data(write("a.h5", spins=(spins + 1) // 2, counts=counts))
    np.testing.assert_array_equal(found.spins, spins)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(load_data(write("b.h5", spins=spins)).counts, np.ones(8))
    read = load_data(write("m.h5", magnetization=moments.magnetization, correlation=moments.correlation))
    np.testing.assert_array_equal(read.correlation, moments.correlation)
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file.create_group("spins")
        file["other"] = 1
    with pytest.raises(FileFormatError, match=r"g\.h5: expected spins .* found other"):
        load_data(tmp_path / "g.h5")
    (tmp_path / "c.h5").write_bytes((tmp_path / "b.h5").read_bytes()[:100])
    with pytest.raises(FileFormatError, match=r"c\.h5: damaged"):
        load_data(tmp_path / "c.h5")


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_sample_sets_of_the_package(tmp_path, ending):
    if ending == "h5":
        pytest.importorskip("h5py")
    ham = vf.hamiltonians.Pairwise(random_system(4)[0])
    batch = vf.Sampler(vf.networks.Dense(4, seed=0), ham).sample(300)
    path = tmp_path / f"samples.{ending}"
    with vf.store.SampleWriter(path, count=300, num_sites=4, seed=0, hamiltonian=ham) as writer:
        writer.write(batch.spins, batch.log_q, batch.energy)
    np.testing.assert_array_equal(load_data(path).spins, batch.spins)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 -1\n1 x\n", r"line 2: expected spins .*, found '1 x'"),
        ("1 -1\n1 1 1\n", "line 2: expected 2 spins as in the lines before, found 3"),
        ("+-+ 5 6\n", "line 1: expected spins"),
        ("# nothing\n", "the file holds no samples"),
        ("1 -1\n2 1\n", "found 2.0 at sample 1, spin 0"),
        ("1 nan\n", "found nan at sample 0, spin 1"),
        ("+- -3\n", "counts must be 0 or more, found -3 at 0"),
    ],
)
def test_bad_text(tmp_path, content, message):
    path = tmp_path / "data.txt"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_data(path)
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbf1 -1\r\n-1 -1\r\n")
    np.testing.assert_array_equal(load_data(tmp_path / "bom.txt").spins, [[1, -1], [-1, -1]])


def test_other_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        inverse_ising(tmp_path / "none.npz")
    np.savez(tmp_path / "a.npz", something=1)
    with pytest.raises(FileFormatError, match=r"expected spins .* found something"):
        load_data(tmp_path / "a.npz")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(FileFormatError, match="binary"):
        load_data(tmp_path / "b.txt")
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:40])
    with pytest.raises(FileFormatError, match=r"c\.npz"):
        load_data(tmp_path / "c.npz")
    np.savez_compressed(tmp_path / "e.npz", spins=np.random.default_rng(0).choice([-1, 1], size=(500, 8)))
    damaged = bytearray((tmp_path / "e.npz").read_bytes())
    damaged[200:210] = bytes(10)
    (tmp_path / "e.npz").write_bytes(damaged)
    for read in (load_data, vf.store.load_samples, vf.hamiltonians.load):
        with pytest.raises(FileFormatError, match=r"e\.npz"):
            read(tmp_path / "e.npz")
    np.save(tmp_path / "d.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"d\.npy"):
        load_data(tmp_path / "d.npy")


@pytest.mark.parametrize(
    ("spins", "counts", "message"),
    [
        ([[1, 2], [1, 1]], None, "found 2 at sample 0, spin 1"),
        ([[1, 0], [-1, 1]], None, "mixes 0/1 with"),
        ([[1.0, np.nan], [1, 1]], None, "found nan at sample 0, spin 1"),
        ([1, -1, 1], None, r"data has shape \[3\]"),
        (np.ones((4, 1)), None, r"data has shape \[4, 1\]"),
        (np.ones((0, 3)), None, r"data has shape \[0, 3\]"),
        (SPINS, [1, 2], r"counts has shape \[2\], expected \[5\]"),
        (SPINS, [1, 2, -1, 0, 0], "counts must be 0 or more, found -1 at 2"),
        (SPINS, [0, 0, 0, 0, 0], "counts must not all be 0"),
        (SPINS, [1, 1, 1, 1, np.inf], "counts must be finite"),
    ],
)
def test_bad_samples(spins, counts, message):
    with pytest.raises(ValueError, match=message):
        inverse_ising(spins, "nmf", counts=counts)
    with pytest.raises(TypeError, match="data must hold spins"):
        inverse_ising(np.array([["a", "b"]]), "nmf")


@pytest.mark.parametrize(
    ("m", "c", "message"),
    [
        ([0, 1.2], np.eye(2), "magnetization must be in .* found 1.2 at 1"),
        ([0, np.nan], np.eye(2), r"magnetization must be finite, found nan at \[1\]"),
        ([0, 0], [[1, 1.5], [1.5, 1]], r"correlation must be in .* found 1.5 at \[0, 1\]"),
        ([0, 0], [[1, 0.5], [0.4, 1]], "correlation must be symmetric"),
        ([0, 0], [[0.9, 0], [0, 1]], r"be 1 on the diagonal, found 0.9 at \[0, 0\]"),
        ([0.9, 0.9], np.eye(2), r"must be <s_i s_j> \(not connected\)"),
        ([0, 0, 0], np.eye(2), r"correlation has shape \[2, 2\], expected \[3, 3\]"),
        ([0], [[1]], "expected \\[N\\] with N >= 2"),
    ],
)
def test_bad_moments(m, c, message):
    with pytest.raises(ValueError, match=message):
        Moments(m, c)


def test_constant_spins_are_named():
    spins = np.column_stack([SPINS, np.ones(5), -np.ones(5)])
    for method in ("nmf", "ip", "plm", "mle", "van"):
        with pytest.raises(ValueError, match="constant in all data: spins 3, 4"):
            inverse_ising(spins, method)
    assert np.isfinite(inverse_ising(spins, "nmf", regularizer=0.2).h).all()


def test_singular_correlations_name_the_spins():
    rng = np.random.default_rng(0)
    free = rng.choice([-1, 1], size=(200, 4))
    for copy, kind in ((free[:, 1], "equal"), (-free[:, 1], "opposite")):
        doubled = np.column_stack([free, copy])
        for method in ("nmf", "tap", "sm", "bethe", "mle", "van", "plm"):
            with pytest.raises(ValueError, match=f"singular: spins 1 and 4 are always {kind}"):
                inverse_ising(doubled, method)
        assert np.isfinite(inverse_ising(doubled, "bethe", regularizer=0.1).J).all()
        assert np.isfinite(inverse_ising(doubled, "plm", l1=0.05).J).all()
    # s0 + s1 + s2 + s3 = 0 in every sample, spin 4 is free.
    balanced = np.array([row for row in vf.exact.states(5) if row[:4].sum() == 0])
    with pytest.raises(ValueError, match="singular: spins 0, 1, 2, 3 determine each other"):
        inverse_ising(balanced, "nmf")


def test_too_few_samples():
    with pytest.raises(ValueError, match="too few samples: 5 configurations of 6 spins, at least 7"):
        inverse_ising(np.random.default_rng(1).choice([-1, 1], size=(5, 6)), "sm")


def test_moments_of_no_distribution():
    c = np.full((4, 4), -0.6) + 1.6 * np.eye(4)
    with pytest.raises(ValueError, match="correlation is that of no distribution"):
        inverse_ising(Moments(np.zeros(4), c), "nmf")


def test_regularizer_is_a_share_of_fair_spins():
    J, h = random_system(4, seed=1, fields=0.5)
    moments = exact_moments(J, h)
    mixed = moments.mixed(0.25)
    states = vf.exact.states(4)
    p = np.exp(vf.exact.enumerate(vf.hamiltonians.Pairwise(J, h), 1.0, log_prob=True).log_prob)
    expected = as_samples(states, 0.75 * p + 0.25 / 16).moments()
    np.testing.assert_allclose(mixed.correlation, expected.correlation, atol=1e-14)
    np.testing.assert_allclose(mixed.magnetization, expected.magnetization, atol=1e-14)
    assert np.linalg.norm(inverse_ising(moments, "mle", regularizer=0.25).J) < np.linalg.norm(J)


@pytest.mark.parametrize("options", [{"beta": 0}, {"beta": float("inf")}, {"regularizer": 1}, {"l1": -1.0}])
def test_numbers_are_checked(options):
    (name, value), moments = *options.items(), Moments(np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match=f"{name} must be a finite number .*, got {value}"):
        inverse_ising(moments, "plm" if name == "l1" else "nmf", **options)
    with pytest.raises(ValueError, match="counts belong to samples"):
        inverse_ising(moments, "nmf", counts=[1])
