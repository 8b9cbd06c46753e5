"""The operations give what Sampler, log_prob and energy give, and touch nothing else."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.ops import description
from vanfast.ops.run import runner, signed, unsigned


@pytest.mark.parametrize(("seed", "first"), [(0, 0), (7, 3), (2**63, 2**63 - 10), (2**64 - 1, 2**64 - 37)])
def test_samples_are_those_of_the_sampler(net, seed, first):
    spins, log_q = vf.ops.sample(net, 37, seed=seed, first=first)
    batch = vf.Sampler(net, backend="cpu").sample(37, seed=seed, first=first)
    assert torch.equal(spins, batch.spins)
    assert torch.equal(log_q, batch.log_q)
    assert (spins.dtype, log_q.dtype) == (torch.int8, torch.float64)


def test_seeds_are_64_bits_in_twos_complement(dense):
    for value, word in ((0, 0), (2**63 - 1, 2**63 - 1), (2**63, -(2**63)), (2**64 - 1, -1)):
        assert (signed(value), unsigned(word)) == (word, value)
    arguments = list(dense.parameters()), description.of_network(dense), 9
    raw, _ = torch.ops.vanfast.sample(*arguments, -1, -100, "fp32")
    expected = vf.Sampler(dense, backend="cpu").sample(9, seed=2**64 - 1, first=2**64 - 100)
    assert torch.equal(raw, expected.spins)


def test_numpy_integers_are_integers(dense):
    spins, _ = vf.ops.sample(dense, np.int64(5), seed=np.uint64(2**64 - 1), first=np.int32(2))
    assert torch.equal(spins, vf.Sampler(dense, backend="cpu").sample(5, seed=2**64 - 1, first=2).spins)


def test_rounded_networks(layered, spins):
    sampler = vf.Sampler(layered, backend="cpu", precision="bf16")
    drawn, log_q = vf.ops.sample(layered, 40, seed=1, precision="bf16")
    assert torch.equal(drawn, sampler.sample(40, seed=1).spins)
    assert torch.equal(log_q, sampler.sample(40, seed=1).log_q)
    rounded = vf.ops.log_prob(layered, spins, precision="bf16").detach()
    assert torch.equal(rounded, sampler.log_prob(spins))
    assert not torch.equal(rounded, vf.ops.log_prob(layered, spins))


def test_log_prob_is_the_engines_and_near_that_of_torch(net, spins):
    log_q = vf.ops.log_prob(net, spins)
    assert torch.equal(log_q.detach(), vf.Sampler(net, backend="cpu").log_prob(spins))
    torch.testing.assert_close(log_q, net.log_prob(spins), rtol=1e-6, atol=1e-5)
    double = net.double()
    assert torch.equal(vf.ops.log_prob(double, spins), double.log_prob(spins))


def test_spins_of_every_form(spins):
    net = vf.networks.PixelCNN((2, 3), depth=2, width=2, half_kernel=1)
    ham = vf.hamiltonians.IsingSquare(shape=(2, 3))
    log_q, energy = vf.ops.log_prob(net, spins), vf.ops.energy(ham, spins)
    for given in (spins.double(), spins.to(torch.bfloat16), spins.view(-1, 2, 3), spins.numpy(), spins.T.clone().T):
        assert torch.equal(vf.ops.log_prob(net, given), log_q)
        assert torch.equal(vf.ops.energy(ham, given), energy)
    assert torch.equal(vf.ops.log_prob(net, spins[0]), log_q[:1])
    assert torch.equal(vf.ops.energy(ham, spins[0]), energy[:1])


def test_nothing_is_something(net):
    spins, log_q = vf.ops.sample(net, 0)
    assert (spins.shape, log_q.shape) == ((0, 6), (0,))
    out = vf.ops.log_prob(net, spins)
    assert out.shape == (0,)
    out.sum().backward()
    assert all(float(parameter.grad.abs().sum()) == 0 for parameter in net.parameters())


def test_energies(ham, spins):
    for _ in range(2):  # made, then known
        assert torch.equal(vf.ops.energy(ham, spins), ham.energy(spins))


def test_systems_of_one_description_differ_by_their_arrays(spins):
    one, other = (vf.hamiltonians.Hopfield(vf.hamiltonians.random_patterns(2, 6, seed)) for seed in (1, 2))
    assert description.of_hamiltonian(one) == description.of_hamiltonian(other)
    assert not torch.equal(one.energy(spins), other.energy(spins))
    for system in (one, other, one):
        assert torch.equal(vf.ops.energy(system, spins), system.energy(spins))
    arrays, text = description.arrays_of(one), description.of_hamiltonian(one)
    before = torch.ops.vanfast.energy(arrays, text, spins)
    patterns = arrays[0].clone()
    patterns[0] *= -1  # the same energies, from another matrix
    patterns[1, 0] *= -1
    assert not torch.equal(torch.ops.vanfast.energy([patterns], text, spins), before)
    patterns[1, 0] *= -1  # written in place: the same tensor has other values
    assert torch.equal(torch.ops.vanfast.energy([patterns], text, spins), before)


def test_parameters_are_followed_however_they_change(dense, spins):
    first = vf.ops.log_prob(dense, spins).detach()
    next(dense.parameters()).data *= 0.5
    second = vf.ops.log_prob(dense, spins).detach()
    assert not torch.equal(first, second)
    assert torch.equal(second, vf.Sampler(dense, backend="cpu").log_prob(spins))
    assert torch.equal(vf.ops.sample(dense, 9)[0], vf.Sampler(dense, backend="cpu").sample(9).spins)


def test_networks_of_one_shape_do_not_share_parameters(spins):
    nets = [vf.networks.Dense(6, seed=seed) for seed in (1, 2)]
    for net in (*nets, *nets):
        assert torch.equal(vf.ops.log_prob(net, spins), vf.Sampler(net, backend="cpu").log_prob(spins))


def test_a_callers_state_is_left_alone(net, spins):
    state = torch.get_rng_state()
    with torch.inference_mode():
        inside = vf.ops.log_prob(net, spins)
    with torch.device("meta"):
        vf.ops.sample(net, 3)
    assert torch.equal(torch.get_rng_state(), state)
    outside = vf.ops.log_prob(net, spins)
    outside.sum().backward()  # the network kept was made in inference mode, and must not remember it
    assert torch.equal(inside, outside)


def test_no_parameter_is_kept_alive(net, spins):
    vf.ops.log_prob(net, spins).sum().backward()
    vf.ops.sample(net, 3)
    mine = runner(list(net.parameters()), description.of_network(net)).net
    assert not {p.data_ptr() for p in mine.parameters()} & {p.data_ptr() for p in net.parameters()}


def test_threads_do_not_meet_in_a_kept_network(spins):
    nets = [vf.networks.Dense(6, depth=2, seed=seed) for seed in range(4)]
    weight = torch.ones(23, dtype=torch.float64)

    def results(net):
        log_q = vf.ops.log_prob(net, spins)
        return [
            *vf.ops.sample(net, 50),
            log_q.detach(),
            *torch.autograd.grad((weight * log_q).sum(), [*net.parameters()]),
        ]

    expected = [results(net) for net in nets]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(results, nets * 25)
        for mine, theirs in zip(found, expected * 25, strict=True):
            assert all(map(torch.equal, mine, theirs))
