"""`vanfast mcmc` and interrupts."""

import json
import os
import signal
import threading

import numpy as np
import pytest

import vanfast as vf
from tests.stopping import stopped
from vanfast.cli import main
from vanfast.training.inverse import load_data

SQUARE = ["--model", "ising-square", "--L", "4", "--beta", "0.4"]


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_a_set_is_read_again(tmp_path, capsys, ending):
    out = tmp_path / f"s.{ending}"
    words = ["--chains", "40", "--sweeps", "30", "--burn-in", "20", "--thin", "3", "--seed", "5", "--first", "7"]
    assert main(["mcmc", *SQUARE, *words, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    stored = vf.store.load_samples(out)
    expected = vf.mcmc.run(stored.hamiltonian, 0.4, chains=40, sweeps=30, burn_in=20, thin=3, seed=5, first=7)
    assert np.array_equal(stored.spins.numpy().reshape(40, 10, 16), expected.spins)
    assert np.array_equal(stored.energy.numpy().reshape(40, 10), expected.energy)
    assert stored.log_q is None
    assert (stored.meta["chains"], stored.meta["draws"], stored.meta["algorithm"]) == (40, 10, "metropolis")
    assert told["energy_per_site"] == pytest.approx(expected.energy.mean() / 16)
    assert told["acceptance"] == pytest.approx(expected.acceptance)
    assert told["bytes"] == out.stat().st_size
    assert len(load_data(out).spins) == 400
    assert main(["inverse", str(out), "--method", "nmf", "--beta", "0.4"]) == 0


def test_pieces_are_one_run(tmp_path, monkeypatch, capsys):
    from vanfast.cli import mcmc

    words = ["mcmc", *SQUARE, "--chains", "70", "--sweeps", "10", "--burn-in", "5", "--algorithm", "wolff"]
    assert main([*words, "-o", str(tmp_path / "a.npz"), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(mcmc, "_PIECE_BYTES", 16 * 10 * 32)
    assert main([*words, "-o", str(tmp_path / "b.npz"), "--json"]) == 0
    cut = json.loads(capsys.readouterr().out)
    a, b = (vf.store.load_samples(tmp_path / name).spins for name in ("a.npz", "b.npz"))
    assert np.array_equal(a, b)
    for key in ("energy_per_site", "heat_capacity_per_site_error", "tau_energy"):
        assert cut[key] == whole[key]


def test_the_table_and_tempering(capsys):
    assert main(["mcmc", "--model", "sk", "--N", "8", "--beta", "1", "--algorithm", "tempering", "--chains", "30"]) == 0
    out = capsys.readouterr().out
    for words in ("tempering (dense)", "energy per site", "ladder", "swaps of neighbours", "effective draws"):
        assert words in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*SQUARE, "--sweeps", "10", "--thin", "3"], "--thin 3 must divide --sweeps 10"),
        ([*SQUARE, "--betas", "0.1", "0.4"], "betas belong to algorithm 'tempering'"),
        ([*SQUARE, "--algorithm", "glauber"], "glauber"),
        ([*SQUARE, "--kernel", "sparse", "--algorithm", "wolff"], "does not know wolff"),
        (["--model", "sk", "--N", "8", "--beta", "1", "--algorithm", "wolff"], "ferromagnetic"),
        ([*SQUARE, "-o", "s.txt"], "format"),
        ([*SQUARE, "-o", "no/where/s.npz"], "no directory"),
        ([*SQUARE, "--format", "npz"], "--format belongs to -o"),
        (["--model", "ising-square", "--L", "4"], "--beta"),
        ([*SQUARE, "--chains", "0"], "--chains"),
        ([*SQUARE, "--backend", "opencl"], "--backend"),
        ([*SQUARE, "--backend", "cuda", "--kernel", "incremental"], "backend 'cuda' has no kernel 'incremental'"),
    ],
)
def test_complaints(capsys, words, message):
    assert main(["mcmc", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, signum):
    system = ["--model", "ising-square", "--L", "128", "--beta", "0.4"]
    words = ["--chains", "3", "--sweeps", "2000000", "--thin", "100000", "-o", tmp_path / "s.npz", "--threads", "2"]
    stopped(["mcmc", *system, *words], lambda: any(tmp_path.iterdir()), signum, pause=0.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("algorithm", ["metropolis", "tempering", "wolff"])
def test_a_run_in_a_program_is_interrupted(algorithm):
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        vf.mcmc.run(
            vf.hamiltonians.IsingSquare(L=64), 0.4, chains=2, sweeps=10**7, burn_in=0, thin=10**7, algorithm=algorithm
        )
    timer.join()


def test_progress_may_stop_a_run():
    shares = []

    def stop(share):
        shares.append(share)
        if len(shares) == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        vf.mcmc.run(vf.hamiltonians.IsingSquare(L=64), 0.4, chains=2, sweeps=10**7, thin=10**7, progress=stop)
    assert len(shares) == 2
    assert 0 <= shares[0] <= shares[1] < 1
