"""Sites of q states in the C++ engine: the reference's samples and scores, equal bytes however called, gradients."""

import copy
import functools

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.networks.test_categorical import index_of
from tests.networks.test_reference import g_test
from vanfast import _cpu
from vanfast.exact import q_states
from vanfast.networks import CategoricalMADE
from vanfast.random import draw_states

NETWORKS = {
    "q2_1": lambda: CategoricalMADE(1, 2, hidden=(5,)),
    "q3_2": lambda: CategoricalMADE(2, 3, hidden=(7, 3), symmetry="permutation"),
    "q5_17": lambda: CategoricalMADE(17, 5, hidden=(33, 20)),
    "q7_33": lambda: CategoricalMADE(
        33, 7, hidden=(70, 9), degrees="random", order=torch.randperm(33).tolist(), seed=1
    ),
    "q3_33_cyclic": lambda: CategoricalMADE(33, 3, hidden=(40,), symmetry="cyclic"),
    "q5_17_reflection": lambda: CategoricalMADE(17, 5, (21,), activation="relu", bias=False, symmetry="reflection"),
    "q2_17_no_hidden": lambda: CategoricalMADE(17, 2, hidden=(), order=list(range(16, -1, -1))),
    "q127_3": lambda: CategoricalMADE(3, 127, hidden=(11,)),
}
ISAS = [isa for isa in _cpu.isas() if isa not in ("amx", "avx512_bf16")]  # distinct in float32
COUNT, SEED, FIRST = 257, 2**40 + 7, 2**32 - 100


def build(name):
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return net


@pytest.fixture(params=NETWORKS)
def net(request):
    return build(request.param)


@functools.cache
def reference_batch(name, precision="fp32"):
    return vf.Sampler(build(name), backend="reference", precision=precision).sample(COUNT, seed=SEED, first=FIRST)


def same(a, b):
    return all(x.numpy().tobytes() == y.numpy().tobytes() for x, y in ((a.spins, b.spins), (a.log_q, b.log_q)))


@pytest.mark.parametrize("isa", ISAS)
def test_samples_are_those_of_the_reference(request, net, isa):
    drawn = vf.Sampler(net, backend="cpu", isa=isa).sample(COUNT, seed=SEED, first=FIRST)
    truth = reference_batch(request.node.callspec.params["net"])
    assert drawn.spins.dtype == torch.int8
    assert int(drawn.spins.min()) >= 0
    assert int(drawn.spins.max()) < net.q
    assert (drawn.spins != truth.spins).any(dim=1).sum() <= 1
    with torch.no_grad():
        exact = copy.deepcopy(net).double().log_prob(drawn.spins)
    torch.testing.assert_close(drawn.log_q, exact, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bytes_do_not_depend_on_batch_threads_or_chunks(net, precision):
    whole = vf.Sampler(net, backend="cpu", threads=1, precision=precision).sample(300, seed=11)
    for threads, cuts in ((2, [300]), (1, [100, 24, 176]), (3, [1, 7, 292])):
        sampler = vf.Sampler(net, backend="cpu", threads=threads, precision=precision)
        parts, first = [], 0
        for count in cuts:
            parts.append(sampler.sample(count, seed=11, first=first))
            first += count
        spins, log_q = torch.cat([part.spins for part in parts]), torch.cat([part.log_q for part in parts])
        assert same(whole, vf.sampler.Batch(spins, log_q, None))
    assert sampler.log_prob(whole.spins).numpy().tobytes() == whole.log_q.numpy().tobytes()
    kept = sampler.sample_and_keep(300, seed=11)
    assert same(whole, kept)


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(ISAS), reason="needs a CPU with AVX2 and AVX-512")
def test_vector_width_does_not_change_bytes(net):
    assert same(*[vf.Sampler(net, backend="cpu", isa=isa).sample(200, seed=1) for isa in ("avx2", "avx512")])


def test_bf16_is_the_rounded_network():
    net = build("q5_17")
    reference = vf.Sampler(net, backend="reference", precision="bf16")
    exact = reference_batch("q5_17")
    scale = float((reference.log_prob(exact.spins) - exact.log_q).abs().max())  # what rounding does
    assert scale > 1e-4
    for isa in ISAS:
        batch = vf.Sampler(net, backend="cpu", precision="bf16", isa=isa).sample(300, seed=4)
        error = (batch.log_q - reference.log_prob(batch.spins)).abs()
        assert error.median() <= 0.1 * scale + 1e-5
        assert error.max() <= 1.5 * scale + 1e-5


@pytest.mark.parametrize("symmetry", [None, "permutation"])
def test_frequencies_are_q(symmetry):
    net = CategoricalMADE(5, 3, hidden=(9,), symmetry=symmetry, seed=6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 3
    spins = vf.Sampler(net, backend="cpu").sample(400_000, seed=3).spins
    q = net.log_prob(q_states(5, 3)).detach().exp().numpy()
    assert g_test(index_of(spins, 3), q / q.sum()) > 1e-3
    q[7] *= 1.2  # an error of one probability is seen
    assert g_test(index_of(spins, 3), q / q.sum()) < 1e-3


def engine(logits):
    """One site with these logits."""
    net = CategoricalMADE(1, len(logits), hidden=())
    with torch.no_grad():
        net.steps[0].layer.bias.copy_(torch.tensor(logits))
    return net


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "logits",
    [[0.0, -9.0, -8.0], [-8.0, 0.0, -9.0], [-9.0, -8.0, 0.0], [0.0, 0.0, 0.0], [3.0, 3.0, -90.0, 2.9], [0.0] * 127],
    ids=["first", "middle", "last", "equal", "two", "many"],
)
def test_the_draw_rule_in_every_implementation(isa, logits):
    """Engine, scalar C++ and numpy agree on each word but next to a threshold, also where states are rare."""
    count = 1 << (17 if len(logits) < 10 else 13)
    drawn = vf.Sampler(engine(logits), backend="cpu", isa=isa).sample(count, seed=1)
    words = vf.random.random_words(1, 0, count, 1)[:, 0]
    expected = draw_states(np.broadcast_to(np.float64(logits), (count, len(logits))), words)
    assert (drawn.spins[:, 0].numpy() != expected).sum() <= 2
    ln = np.float64(logits) - np.logaddexp.reduce(np.float64(logits))
    np.testing.assert_allclose(drawn.log_q.numpy(), ln[drawn.spins[:, 0]], rtol=2e-6, atol=1e-12)
    low = np.sort(words)[:100]
    for word in (*low.tolist(), 0, 1000, 2**32 - 1):
        state = _cpu.draw_state(np.float32(logits), word)
        near = np.clip(word + np.array([-600, 0, 600]), 0, 2**32 - 1).astype(np.uint32)
        assert state in draw_states(np.broadcast_to(np.float64(logits), (3, len(logits))), near)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("count", [1, 70])
def test_gradient_is_that_of_autograd(net, isa, count):
    torch.manual_seed(3)
    weight = torch.randn(count, dtype=torch.float64)
    sampler = vf.Sampler(net, backend="cpu", isa=isa)
    given = torch.from_numpy(np.random.default_rng(count).integers(0, net.q, (count, net.num_sites)).astype(np.int8))
    for kept in (sampler.sample_and_keep(count, seed=5, first=9), sampler.evaluate_and_keep(given)):
        net.zero_grad()
        net.add_gradient(kept.gradient(weight))
        truth = copy.deepcopy(net).double()
        truth.zero_grad()
        expected = truth.log_prob(kept.spins)
        (weight * expected).sum().backward()
        torch.testing.assert_close(kept.log_q, expected.detach(), rtol=1e-6, atol=3e-6)
        largest = max(1.0, *(float(parameter.grad.abs().max()) for parameter in truth.parameters()))
        for ours, parameter in zip(net.parameters(), truth.parameters(), strict=True):
            torch.testing.assert_close(ours.grad.double(), parameter.grad, rtol=1e-4, atol=3e-6 * largest)


def test_threads_do_not_change_the_gradients_bytes():
    net = build("q5_17_reflection")
    weight, found = torch.randn(900, dtype=torch.float64), []
    for threads in (1, 2, 5):
        kept = vf.Sampler(net, backend="cpu", threads=threads).sample_and_keep(900, seed=5, first=9)
        net.zero_grad()
        net.add_gradient(kept.gradient(weight))
        found.append(b"".join(parameter.grad.numpy().tobytes() for parameter in net.parameters()))
    assert len(set(found)) == 1


def test_the_module_checks_what_it_is_given():
    program = vf.Sampler(CategoricalMADE(4, 3, hidden=(5,)), backend="cpu").program
    native = program._engine
    bad = np.full((2, 4), 3, dtype=np.int8)
    with pytest.raises(ValueError, match="states from 0 to 2"):
        native.log_prob(bad)
    _, _, _, _, kept = native.sample(2, 0, keep=True)
    with pytest.raises(ValueError, match="states from 0 to 2"):
        native.gradient(-bad, np.ones(2), 0, kept)
    plan = CategoricalMADE(2, 3, hidden=()).plan()
    layers = [{k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in vars(x).items()} for x in plan.layers]
    for maps, message in (
        ([[1, 0, 2]], "identity"),
        ([[0, 1, 2], [0, 0, 1]], "permutations"),
        ([[0, 1]], "order, states"),
    ):
        with pytest.raises(ValueError, match=message):
            _cpu.categorical_sampler(2, 3, layers, None, np.array(maps), False, "")
    short = {**layers[0], **{name: layers[0][name][:5] for name in ("weight", "bias", "degree")}}
    with pytest.raises(ValueError, match="a unit for each"):
        _cpu.categorical_sampler(2, 3, [short], None, np.arange(3)[None], False, "")
    open_mask = {**layers[0], "weight": np.ones((6, 6), np.float32)}
    with pytest.raises(ValueError, match="masked entries must be zero"):
        _cpu.categorical_sampler(2, 3, [open_mask], None, np.arange(3)[None], False, "")


def test_overflowing_activations_are_told():
    net = CategoricalMADE(6, 3, hidden=(20,), symmetry="permutation", seed=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(3e38)
    with pytest.raises(FloatingPointError, match="overflow"):
        vf.Sampler(net, backend="cpu").sample(100)


def test_kinds_of_sites_must_match():
    net = CategoricalMADE(4, 3, hidden=())
    with pytest.raises(ValueError, match=r"sites of ham have spins \+-1 and those of net 3 states"):
        vf.Sampler(net, vf.hamiltonians.IsingSquare(2))
    with pytest.raises(ValueError, match="sites of ham have 4 states and those of net 3 states"):
        vf.Sampler(net, vf.hamiltonians.Potts(2, q=4))
    with pytest.raises(ValueError, match=r"sites of ham have 3 states and those of net spins \+-1"):
        vf.Sampler(vf.networks.Dense(4), vf.hamiltonians.Potts(2, q=3))
