"""Couplings from files: every format, every complaint with its line, and back again."""

import sys

import numpy as np
import pytest
import scipy.sparse

from vanfast import hamiltonians as H
from vanfast.errors import FileFormatError, MissingDependency


def write(path, text):
    path.write_text(text)
    return path


def bonds(ham):
    return {tuple(pair): J for pair, J in zip(ham.edges.tolist(), ham.couplings.tolist(), strict=True)}


def test_edge_list_from_one_and_from_zero(tmp_path) -> None:
    one = H.load(write(tmp_path / "one.txt", "1 2 0.5\n3 1 -1e-1  # a comment\n\n% another\n"))
    assert bonds(one) == {(0, 1): 0.5, (0, 2): -0.1}
    assert one.num_sites == 3
    zero = H.load(write(tmp_path / "zero.txt", "0 2 1\n1 2 -1\n"))
    assert bonds(zero) == {(0, 2): 1.0, (1, 2): -1.0}
    told = H.load(tmp_path / "one.txt", index_base=0, num_sites=6)
    assert bonds(told) == {(1, 2): 0.5, (1, 3): -0.1}
    assert told.num_sites == 6
    assert bonds(H.load(tmp_path / "one.txt", sign=-1)) == {(0, 1): -0.5, (0, 2): 0.1}


def test_fields_and_comments_in_an_edge_list(tmp_path) -> None:
    path = write(tmp_path / "a", "# num_sites 6\n# index_base 0\n#shape 2 3\n# by hand\n1 2 1\n2 0.25\n5 -1\n")
    ham = H.load(path)
    assert ham.shape == (2, 3)
    assert bonds(ham) == {(1, 2): 1.0}
    assert ham.fields.tolist() == [0, 0, 0.25, 0, 0, -1]
    assert H.load(path, shape=(3, 2)).shape == (3, 2)
    fields = write(tmp_path / "fields", "1 2\n3 4\n")
    assert H.load(fields, format="edges").fields.tolist() == [2, 0, 4]


def test_rudy(tmp_path) -> None:
    path = write(tmp_path / "G0.rud", "4 3\n1 2 1\n2 3 -1\n1 4 1\n")
    assert bonds(H.load(path)) == {(0, 1): 1.0, (1, 2): -1.0, (0, 3): 1.0}
    assert bonds(H.load(path, sign=-1)) == {(0, 1): -1.0, (1, 2): 1.0, (0, 3): -1.0}
    assert H.load(path, shape=(2, 2)).shape == (2, 2)
    isolated = write(tmp_path / "b", "5 2\n1 2\n2 3\n")
    assert H.load(isolated).num_sites == 5
    assert H.load(isolated).couplings.tolist() == [1.0, 1.0]
    from_zero = write(tmp_path / "c", "2 1\n0 1 3\n")
    assert bonds(H.load(from_zero, index_base=0)) == {(0, 1): 3.0}


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("1 2 0.5\n1 3\n2 3 4 5\n", {}, r"x, line 3: expected 'i j J' or 'i h', found '2 3 4 5'"),
        ("1 2 0.5\n1 b 3\n", {}, r"line 2: expected an integer site number, found 'b'"),
        ("1 2.5 1\n", {}, r"line 1: expected an integer site number, found '2.5'"),
        ("1 2 x\n", {}, r"line 1: expected a number as coupling, found 'x'"),
        ("1 2 nan\n", {}, r"line 1: expected a finite coupling, found 'nan'"),
        ("1 2 1\n2 inf\n", {}, r"line 2: expected a finite field, found 'inf'"),
        ("1 2 1\n3 3 1\n", {}, r"line 2: bond 3 3 joins a site with itself"),
        ("1 2 1\n\n2 1 1\n", {}, r"line 3: bond 2 1 was given on line 1 already"),
        ("1 2 1\n1 0.5\n1 0.5\n", {}, r"line 3: the field of site 1 was given on line 2 already"),
        ("1 2 1\n", {"num_sites": 1}, r"line 1: bond 1 2: expected sites 1 to 1 \(site 0 does not occur"),
        ("1 2 1\n9 0.5\n", {"num_sites": 4}, r"line 2: field of site 9: expected a site from 1 to 4"),
        ("-1 2 1\n", {}, r"line 1: bond -1 2: expected sites 1 to 2"),
        ("0 2 1\n", {"index_base": 1}, r"line 1: bond 0 2: expected sites 1 to 2 \(index_base=1 was given"),
        ("", {}, "expected lines 'i j J', found none"),
        ("# index_base 7\n1 2 1\n", {}, "line 1: expected index_base 0 or 1, found 7"),
        ("# num_sites 4\n1 2 1\n", {"num_sites": 5}, "the comment num_sites says 4 sites, but num_sites=5 was given"),
        ("# shape 2 2\n1 2 1\n", {}, r"line 1: shape \[2, 2\] has 4 sites, expected 2"),
        ("1 99999999999 1\n", {}, "expected from 1 to 2147483647 sites, found 99999999999"),
        ("4 3\n1 2 1\n", {}, r"line 1: '4 3' announces 3 edges, but 1 follow .*format='edges'"),
        ("4 1\n1 2 1 1\n", {}, r"line 2: expected 'i j w' or 'i j', found '1 2 1 1'"),
        ("4 1\n1 5 1\n", {}, r"line 2: bond 1 5: expected sites 1 to 4 \(rudy files count from 1"),
        ("4 1\n0 1 1\n", {}, r"line 2: bond 0 1: expected sites 1 to 4 \(rudy"),
        ("0 0\n", {}, "line 1: expected at least one site in 'n m', found n = 0"),
        ("4 1\n1 2 1\n", {"num_sites": 5}, "the first line says 4 sites, but num_sites=5 was given"),
        ("1 2 3\n", {"format": "rudy"}, r"line 1: expected 'n m', the numbers of sites and of edges, found '1 2 3'"),
        ("", {"format": "rudy"}, "line 1: expected a first line 'n m', found no data"),
    ],
)
def test_wrong_text_is_named_with_its_line(tmp_path, text, arguments, message) -> None:
    with pytest.raises(FileFormatError, match=message) as info:
        H.load(write(tmp_path / "x", text), **arguments)
    assert str(info.value).startswith(str(tmp_path / "x"))


def test_bytes_that_are_no_text(tmp_path) -> None:
    (tmp_path / "x").write_bytes(b"1 2 1\n\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="expected text in UTF-8"):
        H.load(tmp_path / "x")


def test_arrays(tmp_path) -> None:
    J = np.array([[0, 1, 0], [1, 0, -2], [0, -2, 0]])
    np.savez(tmp_path / "dense.npz", J=J, h=[0.5, 0, 0])
    ham = H.load(tmp_path / "dense.npz")
    np.testing.assert_array_equal(ham.to_dense(), J)
    assert ham.fields.tolist() == [0.5, 0, 0]
    np.testing.assert_array_equal(H.load(tmp_path / "dense.npz", sign=-1).to_dense(), -J)
    np.save(tmp_path / "dense.npy", J)
    np.testing.assert_array_equal(H.load(tmp_path / "dense.npy").to_dense(), J)
    np.savez(tmp_path / "edges.npz", edges=[[2, 1], [1, 3]], couplings=[1.0, 2.0])
    assert bonds(H.load(tmp_path / "edges.npz")) == {(1, 2): 1.0, (1, 3): 2.0}
    assert bonds(H.load(tmp_path / "edges.npz", index_base=1)) == {(0, 1): 1.0, (0, 2): 2.0}
    assert H.load(tmp_path / "edges.npz", num_sites=9).num_sites == 9
    np.savez(tmp_path / "h.npz", edges=[[0, 1]], couplings=[1.0], h=np.ones(5))
    assert H.load(tmp_path / "h.npz").num_sites == 5
    for matrix in (scipy.sparse.csr_array(J), scipy.sparse.coo_matrix(J.astype(float))):
        scipy.sparse.save_npz(tmp_path / "sparse.npz", matrix)
        np.testing.assert_array_equal(H.load(tmp_path / "sparse.npz").to_dense(), J)


@pytest.mark.parametrize(
    ("arrays", "arguments", "message"),
    [
        ({"A": np.ones(2)}, {}, r"expected arrays 'J', or 'edges' and 'couplings', found \['A'\]"),
        ({"edges": np.ones((1, 2), int)}, {}, r"found \['edges'\]"),
        ({"J": np.ones((2, 2))}, {}, r"J must have a zero diagonal"),
        ({"J": np.zeros((2, 2))}, {"num_sites": 3}, "J has 2 sites, expected num_sites = 3"),
        ({"J": np.zeros((2, 2)), "h": np.ones(3)}, {}, r"h has shape \[3\]"),
        ({"edges": np.ones((1, 2)), "couplings": np.ones(1)}, {}, "edges must hold integer site numbers"),
        ({"edges": np.array([[0, 1]]), "couplings": np.ones(1)}, {"index_base": 1}, r"sites must be in \[0, 1\)"),
    ],
)
def test_wrong_arrays_are_named_with_their_file(tmp_path, arrays, arguments, message) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(FileFormatError, match=message) as info:
        H.load(tmp_path / "x.npz", **arguments)
    assert str(info.value).startswith(str(tmp_path / "x.npz"))


def test_nothing_is_unpickled(tmp_path) -> None:
    np.savez(tmp_path / "x.npz", J=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match=r"expected a numpy \.npz file of plain arrays"):
        H.load(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_bytes(b"no archive")
    with pytest.raises(FileFormatError, match=r"y\.npz: expected a numpy \.npz file"):
        H.load(tmp_path / "y.npz")
    (tmp_path / "z.npz").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"z\.npz: expected a numpy \.npz file"):
        H.load(tmp_path / "z.npz")
    with pytest.raises(FileNotFoundError):
        H.load(tmp_path / "absent.npz")


def test_a_sparse_file_without_scipy_tells_how_to_install_it(tmp_path, monkeypatch) -> None:
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csr_array((2, 2)))
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(MissingDependency, match=r"pip install 'vanfast\[sparse\]'"):
        H.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "csv"}, "format must be one of auto, edges, rudy, npz, npy, not 'csv'"),
        ({"index_base": 2}, "index_base must be 0, 1 or None, not 2"),
        ({"sign": 2}, "sign must be 1 or -1, not 2"),
        ({"num_sites": 0}, "num_sites must be an integer of at least 1, not 0"),
        ({"shape": (2, 2)}, r"shape \(2, 2\) has 4 sites, but the couplings have 3"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        H.load(write(tmp_path / "x", "1 2 1\n2 3 1\n"), **arguments)


@pytest.mark.parametrize("ending", ["txt", "npz"])
@pytest.mark.parametrize(
    "ham",
    [
        H.EdwardsAnderson((4, 5), "gaussian", seed=1, field=np.linspace(-1, 1, 20)),
        H.IsingSquare(1, field=1.0),
        H.IsingSquare(1),
        H.SherringtonKirkpatrick(9),
        H.Pairwise.from_edges(10, [[1, 2], [5, 6]], [1e-300, 1 / 3]),
        H.CurieWeiss(5, h=0.1),
    ],
    ids=lambda ham: ham.describe(),
)
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, ham, ending) -> None:
    H.save(ham, tmp_path / f"x.{ending}")
    again = H.load(tmp_path / f"x.{ending}")
    assert again.shape == ham.shape
    np.testing.assert_array_equal(again.edges, ham.edges)
    np.testing.assert_array_equal(again.couplings, ham.couplings)
    np.testing.assert_array_equal(again.fields, ham.fields)


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"as \.npz or as text, not as \.npy: .*x\.npy"):
        H.save(H.IsingSquare(2), tmp_path / "x.npy")
    assert not list(tmp_path.iterdir())


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbf0 1 1.5\r\n1 2 -0.5\r\n")
    assert H.load(path).couplings.tolist() == [1.5, -0.5]
