"""What a call through torch.ops costs beside the direct one: `pytest bench/test_ops.py --benchmark-only`.

Each pair of benchmarks gives the same results, which is checked before they are timed. SK with N = 20 and one layer
is all overhead, the convolution none.
"""

import pytest
import torch

import vanfast as vf

torch.set_num_threads(1)
CASES = {
    "sk20": (lambda: vf.networks.Dense(20, seed=0), lambda: vf.hamiltonians.SherringtonKirkpatrick(20), 1000),
    "conv16": (lambda: vf.networks.PixelCNN(16, 3, 16, 3, seed=0), lambda: vf.hamiltonians.IsingSquare(16), 256),
}


@pytest.fixture(params=CASES)
def case(request):
    net, ham, count = (make() if callable(make) else make for make in CASES[request.param])
    return net, ham, count, vf.Sampler(net, ham)


@pytest.mark.parametrize("way", ["direct", "ops"])
def test_sample_and_energy(benchmark, case, way):
    net, ham, count, sampler = case

    def through_ops():
        spins, log_q = vf.ops.sample(net, count)
        return spins, log_q, vf.ops.energy(ham, spins)

    batch = sampler.sample(count)
    assert all(map(torch.equal, through_ops(), (batch.spins, batch.log_q, batch.energy)))
    benchmark(through_ops if way == "ops" else lambda: sampler.sample(count))


@pytest.mark.parametrize("way", ["direct", "ops"])
def test_log_prob(benchmark, case, way):
    net, _, count, sampler = case
    spins = sampler.sample(count).spins
    with torch.no_grad():
        torch.testing.assert_close(vf.ops.log_prob(net, spins), net.log_prob(spins), rtol=1e-6, atol=1e-4)
        benchmark(vf.ops.log_prob if way == "ops" else type(net).log_prob, net, spins)


@pytest.mark.parametrize("way", ["direct", "ops"])
def test_log_prob_and_gradient(benchmark, case, way):
    net, _, count, sampler = case
    spins = sampler.sample(count).spins
    mine, theirs = (
        torch.autograd.grad(log_prob(net, spins).sum(), list(net.parameters()))
        for log_prob in (vf.ops.log_prob, type(net).log_prob)
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-3)
    log_prob = vf.ops.log_prob if way == "ops" else type(net).log_prob
    benchmark(lambda: log_prob(net, spins).sum().backward())
