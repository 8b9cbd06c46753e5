"""torch.compile(fullgraph=True) through the functions: the same results as eager, compiled once for all sizes."""

import pytest
import torch
import torch._dynamo.testing

import vanfast as vf


def loss(net, ham, beta, count, first):
    spins, log_q = vf.ops.sample(net, count, seed=5, first=first)
    reward = beta * vf.ops.energy(ham, spins) + log_q
    return ((reward - reward.mean()) * vf.ops.log_prob(net, spins)).mean()


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def value_and_gradients(function, net, *arguments):
    net.zero_grad()
    value = function(net, *arguments)
    value.backward()
    return value.detach(), [parameter.grad for parameter in net.parameters()]


def assert_same(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-9, atol=1e-12)
    for a, b in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_a_whole_loss_in_every_network_and_system(net, ham):
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    ours, theirs = (value_and_gradients(f, net, ham, 0.4, 11, 3) for f in (compiled, loss))
    assert_same(ours, theirs)


def test_inductor():
    net, ham = vf.networks.Dense(6, depth=2, width=2, z2=True), vf.hamiltonians.SherringtonKirkpatrick(6)
    compiled = torch.compile(loss, fullgraph=True, backend="inductor")
    for count, first in ((11, 3), (30, 2**64 - 30)):
        ours, theirs = (value_and_gradients(f, net, ham, 0.4, count, first) for f in (compiled, loss))
        assert_same(ours, theirs)


def test_another_count_seed_or_index_compiles_nothing(dense):
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=counter)
    def log_q(net, count, seed, first):
        spins, log_q = vf.ops.sample(net, count, seed, first)
        return spins, log_q, vf.ops.log_prob(net, spins)

    for step in range(8):
        count, seed, first = 5 + 3 * step, 11 * step, 1000 * step
        spins, drawn, evaluated = log_q(dense, count, seed, first)
        batch = vf.Sampler(dense, backend="cpu").sample(count, seed, first)
        assert torch.equal(spins, batch.spins)
        assert torch.equal(drawn, batch.log_q)
        torch.testing.assert_close(evaluated, batch.log_q, rtol=1e-6, atol=1e-6)
        if step == 3:
            compiled = counter.frame_count
    assert counter.frame_count == compiled


def test_parameters_are_followed(dense, spins):
    compiled = torch.compile(vf.ops.log_prob, fullgraph=True, backend="aot_eager")
    before = compiled(dense, spins).detach()
    with torch.no_grad():
        next(dense.parameters()).mul_(0.3)
    after = compiled(dense, spins).detach()
    assert not torch.equal(before, after)
    assert torch.equal(after, vf.ops.log_prob(dense, spins).detach())


def test_networks_and_systems_that_differ_in_what_is_no_tensor(spins):
    """Tensors of equal shapes, and other texts: a graph of one must not serve the other."""
    compiled = torch.compile(vf.ops.log_prob, fullgraph=True, backend="aot_eager")
    nets = [
        vf.networks.MADE(6, (4,), order=order, z2=z2) for order in (None, [5, 4, 3, 2, 1, 0]) for z2 in (False, True)
    ]
    for net in (*nets, *nets):
        net.load_state_dict(nets[0].state_dict())
        assert torch.equal(compiled(net, spins), vf.ops.log_prob(net, spins))
    energy = torch.compile(vf.ops.energy, fullgraph=True, backend="aot_eager")
    systems = [vf.hamiltonians.IsingSquare(shape=(2, 3), coupling=coupling) for coupling in (1.0, 2.0)]
    systems += [vf.hamiltonians.Hopfield(vf.hamiltonians.random_patterns(2, 6, seed)) for seed in (1, 2)]
    for ham in (*systems, *systems):
        assert torch.equal(energy(ham, spins), ham.energy(spins))


def test_spins_of_other_forms(spins):
    net = vf.networks.PixelCNN((2, 3), depth=2, width=2, half_kernel=1)
    compiled = torch.compile(vf.ops.log_prob, fullgraph=True, backend="aot_eager")
    for given in (spins, spins.float(), spins.view(-1, 2, 3), spins[0]):
        assert torch.equal(compiled(net, given), vf.ops.log_prob(net, given))


def test_bad_values_are_refused_when_the_graph_runs(dense, spins):
    compiled = torch.compile(vf.ops.log_prob, fullgraph=True, backend="aot_eager")
    compiled(dense, spins)
    with pytest.raises(ValueError, match="found 0 at configuration 0, site 0"):
        compiled(dense, 0 * spins)
    with torch.no_grad():
        next(dense.parameters())[0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite"):
        compiled(dense, spins)


def test_bad_sizes_are_refused_when_the_graph_is_made(dense, spins):
    with pytest.raises(Exception, match=r"expected \[B, 6\]"):
        torch.compile(vf.ops.log_prob, fullgraph=True, backend="aot_eager")(dense, spins[:, :4])
