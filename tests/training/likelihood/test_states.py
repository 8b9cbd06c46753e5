"""Fits of sites with q states: they find known distributions; data in every form; what is refused."""

import json

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.cli import main
from vanfast.errors import FileFormatError
from vanfast.exact import enumerate_states, q_states
from vanfast.hamiltonians import Potts
from vanfast.networks import MADE, CategoricalMADE
from vanfast.training import Samples, load_data, load_fit
from vanfast.training.data import as_samples

LEVELS = (-4, -2, 0, 2, 4)


def fit(net, data, **changes):
    return vf.fit(net, data, **{"progress": False, "threads": 1, **changes})


def sums(count, seed=0):
    """Block sums of independent spins on a 4 x 4 lattice, [count, 9]."""
    spins = np.random.RandomState(seed).choice([-1, 1], (count, 16), p=[0.3, 0.7])
    return vf.observables.block_sums(spins, (4, 4)).numpy()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("symmetry", [None, "permutation"])
def test_a_known_distribution_is_found(symmetry):
    ham = Potts(shape=(2, 3), q=3, boundary="open")
    exact = enumerate_states(ham, 0.8, log_prob=True)
    p, states = np.exp(exact.log_prob), q_states(6, 3)
    counts = np.random.RandomState(0).multinomial(1_000_000, p / p.sum())
    net = CategoricalMADE(6, 3, hidden=(40,), symmetry=symmetry, seed=1)
    options = {"epochs": 80, "batch": 256, "patience": None, "learning_rate": 0.01, "schedule": "cosine"}
    run = fit(net, states, counts=counts, **options)
    with torch.no_grad():
        divergence = float(p @ (exact.log_prob - net.log_prob(states).numpy()))
    assert divergence < 1e-3
    assert run.best_loss == pytest.approx(exact.entropy, abs=0.02)


def test_levels_stand_for_states():
    data = sums(400)
    states = vf.observables.sums_to_states(torch.from_numpy(data))
    options = {"epochs": 2, "batch": 60}
    nets = [CategoricalMADE(9, 5, hidden=(12,), symmetry="reflection", seed=1) for _ in range(3)]
    runs = [
        fit(nets[0], data, levels=LEVELS, **options),
        fit(nets[1], states, **options),
        fit(nets[2], data.astype(np.float32).reshape(4, 100, 9), levels=LEVELS, **options),
    ]
    assert runs[0].data == runs[1].data == runs[2].data
    assert same(nets[0], nets[1])
    assert same(nets[0], nets[2])
    other = states.clone()
    other[0, 0] = (other[0, 0] + 1) % 5
    changed = fit(CategoricalMADE(9, 5, hidden=(12,), seed=1), other, epochs=1)
    assert changed.data != runs[0].data
    separate = fit(CategoricalMADE(9, 5, hidden=(12,), seed=1), data, levels=LEVELS, validation=sums(90, 1), epochs=1)
    assert separate.settings.num_samples == 400


def test_resuming_is_exact(tmp_path):
    data, options = sums(150), {"levels": LEVELS, "batch": 40, "seed": 4}
    whole = fit(CategoricalMADE(9, 5, hidden=(9,), symmetry="reflection", seed=1), data, epochs=4, **options)
    fit(CategoricalMADE(9, 5, hidden=(9,), symmetry="reflection", seed=1), data, epochs=2, **options, out=tmp_path)
    stored = load_fit(tmp_path)
    assert stored.net.q == 5
    again = CategoricalMADE(9, 5, hidden=(9,), symmetry="reflection", seed=7)
    assert same(fit(again, data, epochs=4, **options, out=tmp_path, resume=True).net, whole.net)
    other = CategoricalMADE(9, 5, hidden=(9,), symmetry="cyclic", seed=1)
    with pytest.raises(ValueError, match="net differs from the stored run's"):
        fit(other, data, epochs=4, **options, out=tmp_path, resume=True)


@pytest.mark.parametrize("ending", ["npz", "npy", "txt", "words", "h5", "archive"])
def test_every_kind_of_file(tmp_path, ending):
    states = np.random.default_rng(0).integers(0, 4, (20, 7)).astype(np.int8)
    path = tmp_path / f"data.{ending}"
    if ending == "archive":
        with open(path, "wb") as file:
            np.savez(file, spins=states)
    elif ending == "npy":
        np.save(path, states)
    elif ending == "txt":
        np.savetxt(path, states, fmt="%d", delimiter=", ", header="states of seven sites")
    elif ending == "words":
        path.write_text("".join("".join(map(str, row)) + " 3\n" for row in states))
    else:
        with vf.store.SampleWriter(path, count=20, num_sites=7, seed=1, q=4) as writer:
            writer.write(states[:9], np.zeros(9))
            writer.write(states[9:], np.zeros(11))
        found = vf.store.load_samples(path)
        assert found.q == 4
        assert np.array_equal(found.spins.numpy(), states)
        assert np.array_equal(torch.cat(list(found.chunks(6))).numpy(), states)
    data = load_data(path, q=4)
    assert data.q == 4
    assert np.array_equal(data.spins, states)
    assert set(data.counts) == {3.0 if ending == "words" else 1.0}
    assert np.array_equal(np.sort(data.distinct().spins, axis=0), np.sort(np.unique(states, axis=0), axis=0))
    with pytest.raises(ValueError, match="moments are those of spins"):
        data.moments()
    kept = fit(CategoricalMADE(7, 4, hidden=(3,), seed=1), path, epochs=1).settings.num_samples
    assert kept == (20 if ending == "words" else 18)  # where counts are divided, or samples


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / "data.txt"
    path.write_text("-4 0 2\n2 2 1\n")
    with pytest.raises(FileFormatError, match=r"data must hold -4, -2, 0, 2, 4, found 1\.0 at sample 1, site 2"):
        load_data(path, q=5, levels=LEVELS)
    path.write_text("0 1 x\n")
    with pytest.raises(FileFormatError, match="line 1: expected numbers of 3 states apart by blanks, found '0 1 x'"):
        load_data(path, q=3)
    spins = tmp_path / "spins.npz"
    with vf.store.SampleWriter(spins, count=1, num_sites=3, seed=1) as writer:
        writer.write(np.ones((1, 3)), np.zeros(1))
    with pytest.raises(FileFormatError, match=r"holds spins \+-1, expected sites of 3 states"):
        load_data(spins, q=3)
    states = tmp_path / "states.npz"
    with vf.store.SampleWriter(states, count=1, num_sites=3, seed=1, q=3) as writer:
        writer.write(np.array([[0, 2, 1]]), np.zeros(1))
    with pytest.raises(FileFormatError, match=r"holds sites of 3 states, expected spins \+-1"):
        load_data(states)
    with pytest.raises(FileFormatError, match="levels belong to files of numbers"):
        load_data(states, q=3, levels=[5, 6, 7])
    archive = dict(np.load(states))
    np.savez(states, **{**archive, "spins": np.full((1, 3), 3, np.uint8)})
    with pytest.raises(FileFormatError, match="spins to hold states below q = 3"):
        load_data(states, q=3)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([[0, 1, 3]], {}, "data must hold 0, 1, 2, found 3 at sample 0, site 2"),
        ([[0, 1, np.nan]], {}, "found nan at sample 0, site 2"),
        ([[0, 1, 2]], {"levels": [0, 1]}, "levels must be q = 3 different numbers"),
        ([[0, 1, 2]], {"levels": [0, 1, 1]}, "levels must be q = 3 different numbers"),
        ([[0, 1, 2]], {"levels": [0, 1, np.inf]}, "levels must be finite"),
        ([[True, False, True]], {}, "data must hold numbers, not bool"),
        ([[0, 1, 2, 0]], {}, "data has 4 spins a sample and net has 3 sites"),
        (
            Samples(np.ones((5, 3), np.int8), np.ones(5)),
            {},
            r"data has sites of spins \+-1 and net has sites of 3 states",
        ),
        (as_samples([[0, 1, 2]], q=3), {"levels": [0, 1, 2]}, "levels belong to an array or a file"),
        ([[0, 1, 2]] * 30, {"validation": [[0, 5, 1]]}, "validation: data must hold 0, 1, 2, found 5"),
    ],
)
def test_data_that_do_not_fit(data, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(CategoricalMADE(3, 3, hidden=(2,)), np.array(data) if isinstance(data, list) else data, **options)


def test_networks_of_spins_take_no_states():
    with pytest.raises(ValueError, match="levels belong to sites of q states"):
        fit(MADE(3), np.ones((9, 3)), levels=[-1, 1])
    with pytest.raises(ValueError, match=r"data has sites of 3 states and net has sites of spins \+-1"):
        fit(MADE(3), as_samples([[0, 1, 2]] * 9, q=3))


def call(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_on_the_command_line(capsys, tmp_path):
    data, held = tmp_path / "sums.npy", tmp_path / "held.npy"
    np.save(data, sums(300))
    np.save(held, sums(50, 1))
    run, samples = tmp_path / "run", tmp_path / "s.npz"
    words = ("fit", data, "--q", 5, "--levels=-4,-2,0,2,4", "--symmetry", "reflection", "--hidden", "11", "-o", run)
    code, out, _ = call(capsys, *words, "--epochs", 2, "--validation", held, "--seed", 3, "--json")
    assert code == 0
    assert json.loads(out)["network"] == "CategoricalMADE"
    net = CategoricalMADE(9, 5, hidden=(11,), symmetry="reflection", seed=3)
    fit(net, sums(300), levels=LEVELS, validation=sums(50, 1), epochs=2, seed=3)
    assert same(load_fit(run).net, net)
    more = ("fit", data, "--levels=-4,-2,0,2,4", "--resume", "--validation", held, "-o", run)
    assert call(capsys, *more, "--epochs", 3)[0] == 0
    assert call(capsys, *more, "--epochs", 4, "--q", 5)[0] == 0
    assert load_fit(run).epoch == 4
    assert call(capsys, "sample", run, "--num", 40, "-o", samples)[0] == 0
    found = vf.store.load_samples(samples)
    assert found.q == 5
    assert torch.equal(found.spins, vf.Sampler(load_fit(run).net).sample(40, seed=1).spins)
    assert (
        call(capsys, "fit", samples, "--q", 5, "--epochs", 1, "--net", "categorical-made", "-o", tmp_path / "b")[0] == 0
    )
    for options, message in (
        (("--q", 5), "data must hold 0, 1, 2, 3, 4, found -4"),
        (("--levels=-4,-2,0,2,4",), "--levels needs --q"),
        (("--q", 5, "--levels=-4,-2,0,2,4", "--net", "made"), "--net made is for spins +-1; sites of 5 states take"),
        (("--q", 5, "--levels=-4,x"), "must be finite numbers such as"),
        (("--q", 1), "must be an integer in [2, 127]"),
    ):
        try:
            code, _, err = call(capsys, "fit", data, *options, "--epochs", 1, "-o", tmp_path / "none")
        except SystemExit as stop:
            code, err = stop.code, capsys.readouterr().err
        assert code == 2
        assert "found -2" in err or message in err
        assert not (tmp_path / "none").exists()
    code, _, err = call(capsys, "fit", held, "--net", "categorical-made", "--epochs", 1, "-o", tmp_path / "none")
    assert (code, "data must hold spins" in err) == (2, True)
