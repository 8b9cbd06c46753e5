"""Variational training of sites with q states against enumeration, and its gradients."""

import json

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.cli import main
from vanfast.exact import enumerate_states, q_states
from vanfast.hamiltonians import Potts
from vanfast.networks import CategoricalMADE
from vanfast.training import load_run


def train(net, ham, beta, **changes):
    return vf.train(net, ham, beta, **{"progress": False, "threads": 1, "seed": 5, **changes})


@pytest.mark.parametrize(
    ("ham", "symmetry"),
    [(Potts(shape=(2, 3), q=3), "permutation"), (Potts(shape=(2, 3), q=3, field=[0.4, 0.0, -0.3]), None)],
    ids=["symmetric", "field"],
)
def test_a_small_system_is_found(ham, symmetry):
    beta = 0.7
    exact = enumerate_states(ham, beta, log_prob=True)
    net = CategoricalMADE(6, 3, hidden=(24,), symmetry=symmetry, seed=1)
    train(net, ham, beta, steps=500, batch=500, learning_rate=0.02, schedule="cosine")
    states = q_states(6, 3)
    with torch.no_grad():
        log_q = net.log_prob(states).numpy()
    q = np.exp(log_q)
    free_energy = float(q @ (ham.energy(states) + log_q / beta))
    assert 0 <= free_energy - exact.free_energy < 5e-3 / beta  # KL(q || p) / beta
    batch = vf.Sampler(net, ham).sample(20_000, seed=9)
    log_weight = vf.observables.log_weights(batch.log_q, batch.energy, beta)
    assert np.log(np.exp(log_weight).mean()) == pytest.approx(exact.log_z, abs=5e-3)
    assert vf.observables.effective_sample_size(log_weight) > 0.95 * 20_000


def test_micro_batches_and_autograd_make_the_same_step():
    ham = Potts(shape=(5,), q=4)
    nets = [CategoricalMADE(5, 4, hidden=(7,), symmetry="cyclic", seed=2) for _ in range(3)]
    for net, changes in zip(nets, ({}, {"micro_batch": 30}, {"backend": "reference"}), strict=True):
        train(net, ham, 0.5, steps=2, batch=100, **changes)
    for net in nets[1:]:
        for a, b in zip(nets[0].parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_energies_of_samples_are_the_hamiltonians():
    ham = Potts(4, q=5, coupling=0.7)
    net = CategoricalMADE(16, 5, hidden=(12,), seed=2)
    for backend in ("cpu", "reference"):
        sampler = vf.Sampler(net, ham, backend=backend)
        batch = sampler.sample(70, seed=1)
        assert torch.equal(batch.energy, ham.energy(batch.spins))
    kept = vf.Sampler(net, ham).sample_and_keep(70, seed=1)
    assert torch.equal(kept.energy, ham.energy(kept.spins))


def test_on_the_command_line(capsys, tmp_path):
    run = tmp_path / "run"
    system = ("--model", "potts", "--shape", "2x3", "--q", "3")
    words = ("train", *system, "--beta", "0.6", "--symmetry", "cyclic", "--hidden", "9")
    assert main([*words, "--steps", "20", "--batch", "50", "-o", str(run), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    exact = enumerate_states(Potts(shape=(2, 3), q=3), 0.6)
    assert values["exact_free_energy_per_site"] == pytest.approx(exact.free_energy / 6)
    stored = load_run(run)
    assert stored.hamiltonian.config() == Potts(shape=(2, 3), q=3).config()
    assert stored.net.config()["symmetry"] == "cyclic"
    assert main(["train", "--resume", "--steps", "25", "-o", str(run), "--quiet"]) == 0
    assert load_run(run).step == 25
    assert main(["exact", *system, "--beta", "0.6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log_z"] == pytest.approx(exact.log_z)
    samples = tmp_path / "s.npz"
    assert main(["sample", str(run), "--num", "30", "-o", str(samples)]) == 0
    found = vf.store.load_samples(samples)
    assert torch.equal(found.energy, found.hamiltonian.energy(found.spins))
    capsys.readouterr()
    assert main(["evaluate", str(run), "--num", "2000", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert abs(values["log_z"] - exact.log_z) < 5 * values["log_z_error"]
    assert values["exact_log_z"] == pytest.approx(exact.log_z)
    for words, message in (
        (["train", *system, "--beta", "1", "--net", "made"], "sites of 3 states take --net categorical-made"),
        (
            ["train", "--model", "sk", "--N", "4", "--beta", "1", "--net", "categorical-made"],
            "or --model potts",
        ),
        (["train", "--model", "sk", "--N", "4", "--q", "3", "--beta", "1"], "--model sk does not take --q"),
        (
            ["exact", "--model", "potts", "--L", "5", "--beta", "1"],
            "2**24 configurations, 25 sites of 3 states",
        ),
        (
            ["mcmc", *system, "--beta", "1", "--kernel", "sparse", "-o", str(tmp_path / "m.npz")],
            "its sites have q = 3 states",
        ),
    ):
        more = [] if words[0] != "train" else ["-o", str(tmp_path / "none")]
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "m.npz").exists()
