"""Training networks with a star prior: it follows a ladder of temperatures, and a run goes on from a checkpoint."""

import pytest
import torch

import vanfast as vf
from vanfast.hamiltonians import SherringtonKirkpatrick
from vanfast.networks import Dense

HAM = SherringtonKirkpatrick(10, seed=3)


def network(beta=0.5):
    return Dense(10, prior="star", ham=HAM, beta=beta, z2=True, seed=0)


def test_the_prior_follows_a_ladder(tmp_path):
    net = network()
    betas = [0.5, 1.0, 1.5]
    run = vf.train(net, HAM, betas, steps=[60, 60, 60], batch=500, learning_rate=0.01, progress=False, out=tmp_path)
    assert net.prior.beta == 1.5
    for rung, beta in enumerate(betas):
        exact = beta * vf.exact.enumerate(HAM, beta).free_energy
        divergence = [record.loss - exact for record in run.history if record.rung == rung]
        assert -0.02 < sum(divergence[-10:]) / 10 < 0.25
    stored = vf.load(tmp_path / "beta-1")
    assert stored.prior.beta == 1.0


@pytest.mark.parametrize(("anneal", "last"), [(None, 1.0), (0.25, 0.5 + 0.5 * (1 - 0.25**9))])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, anneal, last):
    options = {"batch": 100, "learning_rate": 0.01, "progress": False, "checkpoint_every": 7, "anneal": anneal}
    whole, cut = network(), network()
    vf.train(whole, HAM, [0.5, 1.0], steps=[10, 10], out=tmp_path / "whole", **options)

    class Stop(Exception):
        pass

    def stop(record):
        if record.step == 15:
            raise Stop

    try:
        vf.train(cut, HAM, [0.5, 1.0], steps=[10, 10], out=tmp_path / "cut", callback=stop, **options)
    except Stop:
        pass
    again = network()
    vf.train(again, HAM, [0.5, 1.0], steps=[10, 10], out=tmp_path / "cut", resume=True, **options)
    assert again.prior.beta == last
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_engines_gradient_trains_as_autograds():
    """A step by the engine's backward pass and one by autograd (in micro batches) move parameters alike."""
    nets = [network(1.0), network(1.0)]
    for net, backend in zip(nets, ("cpu", "reference"), strict=True):
        vf.train(net, HAM, 1.0, steps=3, batch=64, learning_rate=0.01, progress=False, backend=backend)
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
