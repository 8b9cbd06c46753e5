"""Networks over sites of q states: normalised, autoregressive, symmetric; q = 2 is the network of spins."""

import math

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.networks.test_reference import g_test
from vanfast.backends import get
from vanfast.exact import q_states
from vanfast.networks import MADE, CategoricalMADE, from_config
from vanfast.networks.symmetry import state_maps
from vanfast.random import draw_spins, draw_states, random_words, symmetry_elements

NETWORKS = {
    "plain": lambda: CategoricalMADE(5, 3, hidden=(17, 9)),
    "ordered": lambda: CategoricalMADE(5, 3, (12,), "random", order=[3, 1, 4, 0, 2], seed=2),
    "cyclic": lambda: CategoricalMADE(4, 4, hidden=(11, 6), symmetry="cyclic"),
    "permutation": lambda: CategoricalMADE(5, 3, hidden=(8,), order=[4, 0, 3, 1, 2], symmetry="permutation"),
    "reflection": lambda: CategoricalMADE(3, 5, hidden=(9, 7), symmetry="reflection"),
    "two_states": lambda: CategoricalMADE(7, 2, hidden=(13,), activation="relu", bias=False),
    "no_hidden": lambda: CategoricalMADE(4, 3, hidden=()),
    "one_site": lambda: CategoricalMADE(1, 7, hidden=(4,), symmetry="cyclic"),
}


def build(name):
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
    return net


@pytest.fixture(params=NETWORKS)
def net(request):
    return build(request.param)


def order_of(net):
    return np.arange(net.num_sites) if net.order is None else net.order.numpy()


def index_of(states, q):
    return (np.asarray(states).astype(np.int64) * q ** np.arange(states.shape[1])).sum(1)


def test_probabilities_sum_to_one(net):
    states = q_states(net.num_sites, net.q)
    assert np.array_equal(index_of(states, net.q), np.arange(len(states)))
    log_q = net.log_prob(states)
    assert log_q.dtype == torch.float64
    assert abs(float(log_q.detach().exp().sum()) - 1) < 2e-6
    assert abs(float(net.double().log_prob(states).detach().exp().sum()) - 1) < 1e-12


def test_log_prob_is_the_mean_of_products_of_conditionals(net):
    net.double()
    states = q_states(net.num_sites, net.q)

    def q_theta(s):
        conditionals = torch.softmax(net.logits(s).detach(), -1).numpy()
        return np.take_along_axis(conditionals, s[..., None].astype(int), -1)[..., 0].prod(1)

    maps = np.array(state_maps(net.symmetry, net.q))
    expected = np.mean([q_theta(table[states].astype(np.int8)) for table in maps], axis=0)
    np.testing.assert_allclose(net.log_prob(states).detach().exp().numpy(), expected, rtol=1e-12)


def test_conditionals_depend_on_earlier_sites_only(net):
    net.double()
    order, rng = order_of(net), np.random.default_rng(0)
    states = rng.integers(0, net.q, (20, net.num_sites))
    before = net.logits(states).detach()[:, order]
    assert before.shape == (20, net.num_sites, net.q)
    for p in range(net.num_sites):
        changed = states.copy()
        changed[:, order[p]] = (changed[:, order[p]] + 1) % net.q
        after = net.logits(changed).detach()[:, order]
        torch.testing.assert_close(after[:, : p + 1], before[:, : p + 1], rtol=0, atol=1e-13)


def test_every_site_sees_every_earlier_one():
    net = CategoricalMADE(6, 3, hidden=(24, 24), order=[5, 0, 4, 1, 3, 2], seed=1).double()
    order, states = order_of(net), np.random.default_rng(0).integers(0, 3, (60, 6))
    before = net.logits(states).detach()[:, order]
    for p in range(5):
        changed = states.copy()
        changed[:, order[p]] = (changed[:, order[p]] + 1) % 3
        moved = (net.logits(changed).detach()[:, order] - before).abs().amax((0, 2))
        assert (moved[p + 1 :] > 1e-6).all()


@pytest.mark.parametrize("symmetry", ["cyclic", "permutation", "reflection"])
def test_symmetric_configurations_are_equally_likely(symmetry):
    net = CategoricalMADE(6, 4, hidden=(10,), symmetry=symmetry, seed=3).double()
    states = torch.from_numpy(np.random.default_rng(1).integers(0, 4, (30, 6)))
    log_q = net.log_prob(states).detach()
    maps = state_maps(symmetry, 4)
    assert len(maps) == {"cyclic": 4, "permutation": 24, "reflection": 2}[symmetry] == len(set(maps))
    assert maps[0] == (0, 1, 2, 3)
    products = {tuple(a[k] for k in b) for a in maps for b in maps}
    assert products == set(maps)  # a group
    for table in maps:
        torch.testing.assert_close(net.log_prob(torch.tensor(table)[states]).detach(), log_q)
    plain = CategoricalMADE(6, 4, hidden=(10,), seed=3).double()
    assert (plain.log_prob(states) - log_q).abs().max() > 1e-3


def test_gradcheck():
    net = CategoricalMADE(4, 3, hidden=(6,), symmetry="permutation", seed=1).double()
    states = torch.from_numpy(np.random.default_rng(3).integers(0, 3, (3, 4)))

    def log_q(*parameters):
        names = [name for name, _ in net.named_parameters()]
        return torch.func.functional_call(net, dict(zip(names, parameters, strict=True)), (states,))

    assert torch.autograd.gradcheck(log_q, tuple(net.parameters()))


def as_binary(made, **changes):
    """The q = 2 network that gives spins s = 2 k - 1 the distribution of a MADE without symmetry."""
    config = {name: made.config()[name] for name in ("N", "hidden", "degrees", "order", "activation", "bias")}
    net = CategoricalMADE(q=2, **config, **changes)
    with torch.no_grad():
        for step, from_step in zip(net.stack, made.stack, strict=True):
            step.layer.weight.zero_()
            step.layer.bias.zero_()
            last, first = step is net.stack[-1], step is net.stack[0]
            rows = slice(1, None, 2) if last else slice(None)
            weight = from_step.layer.masked_weight()
            if first:  # a spin is [k = 1] - [k = 0]
                step.layer.weight[rows, 1::2], step.layer.weight[rows, 0::2] = weight, -weight
            else:
                step.layer.weight[rows] = weight
            step.layer.bias[rows] = from_step.layer.bias
            if not first:
                step.slope.copy_(from_step.slope)
    return net


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(("z2", "symmetry"), [(False, None), (True, "cyclic"), (True, "reflection")])
def test_two_states_are_spins(backend, z2, symmetry):
    made = MADE(19, hidden=(30, 11), degrees="random", order=np.random.default_rng(0).permutation(19), z2=z2, seed=4)
    net = as_binary(made, symmetry=symmetry)
    spins = vf.Sampler(made, backend=backend).sample(2000, seed=9, first=3)
    states = vf.Sampler(net, backend=backend).sample(2000, seed=9, first=3)
    assert ((2 * states.spins - 1) != spins.spins).any(1).sum() <= 2
    torch.testing.assert_close(net.log_prob((spins.spins + 1) // 2).detach(), spins.log_q, rtol=1e-6, atol=1e-5)


def test_the_draw_rule_by_hand():
    logits = np.log(np.array([0.2, 0.5, 0.05, 0.25]))
    ends = np.cumsum(np.floor(np.array([0.2, 0.05, 0.25]) * 2**32)).astype(np.int64)
    words = np.concatenate([[0], ends - 1, ends, [2**32 - 1]]).astype(np.uint32)
    # shares of 0, 2 and 3 from word 0 on, what is left belongs to the likeliest, 1
    expected = {0: 0, 2**32 - 1: 1}
    drawn = draw_states(np.broadcast_to(logits, (len(words), 4)), words)
    assert drawn[0] == expected[0]
    assert drawn[-1] == expected[2**32 - 1]
    for word, state in zip(words.tolist(), drawn.tolist(), strict=True):
        inside = [k for k, low, high in zip((0, 2, 3), [0, *ends[:-1]], ends, strict=True) if low <= word < high]
        if not any(abs(word - end) <= 1 for end in ends):  # floor of a rounded product may be off by one
            assert state == (inside[0] if inside else 1)


@pytest.mark.parametrize("majority", [0, 1, 2])
def test_both_tails_of_the_draw_rule(majority):
    """Rare states own floor(p 2^32) words each, wherever the likely one stands."""
    logits = np.full(3, -math.log(2.0**30))
    logits[majority] = 0.0
    words = np.arange(12, dtype=np.uint32)
    drawn = draw_states(np.broadcast_to(logits, (12, 3)), words)
    rare = [k for k in range(3) if k != majority]
    share = math.floor(2.0**32 * 2.0**-30 / (1 + 2 * 2.0**-30))
    assert share == 3
    assert drawn.tolist() == [rare[0]] * share + [rare[1]] * share + [majority] * (12 - 2 * share)
    high = np.array([2**32 - 1], dtype=np.uint32)
    assert draw_states(logits[None], high)[0] == majority
    assert draw_states(np.array([[0.0, -23.0, -1e4]]), np.zeros(1, np.uint32))[0] == 0


def test_the_draw_rule_of_two_states_is_that_of_spins():
    rng = np.random.default_rng(1)
    x, words = rng.normal(0, 8, 5000), rng.integers(0, 2**32, 5000, dtype=np.uint32)
    words[::2] = rng.integers(0, 200, 2500)
    x[:10] = 0.0
    states = draw_states(np.stack([np.zeros_like(x), x], 1), words)
    np.testing.assert_array_equal(2 * states - 1, draw_spins(x, words))


def test_elements_of_a_symmetry_group_are_equally_likely():
    for order in (2, 3, 6, 120):
        found = np.bincount(symmetry_elements(5, 2**33, 60_000, order), minlength=order)
        assert len(found) == order
        assert np.abs(found - 60_000 / order).max() < 5 * math.sqrt(60_000 / order)


def test_frequencies_are_q(net):
    spins = vf.Sampler(net, backend="reference").sample(8192, seed=12).spins
    q = net.log_prob(q_states(net.num_sites, net.q)).detach().exp().numpy()
    assert g_test(index_of(spins, net.q), q / q.sum()) > 1e-3


def test_replay_of_the_contract(net):
    seed, first = 2**63 + 5, 2**32 - 20
    batch = vf.Sampler(net, backend="reference").sample(40, seed=seed, first=first)
    net.double()
    words = random_words(seed, first, 40, net.num_sites)
    states = np.zeros((40, net.num_sites), dtype=np.int8)
    for p, site in enumerate(order_of(net)):
        states[:, site] = draw_states(net.logits(states)[:, site].detach().numpy(), words[:, p])
    maps = np.array(state_maps(net.symmetry, net.q), dtype=np.int8)
    words = random_words(seed, first, 40, 1, stream=1)[:, 0].astype(object)
    elements = [len(maps) - 1 - (word * len(maps) >> 32) for word in words]
    states = np.stack([maps[g][row] for g, row in zip(elements, states, strict=True)])
    assert np.array_equal(batch.spins.numpy(), states)
    torch.testing.assert_close(batch.log_q, net.log_prob(states).detach(), rtol=1e-12, atol=1e-12)


def test_saved_and_loaded(net, tmp_path):
    net.save(tmp_path / "net")
    loaded = vf.load(tmp_path / "net")
    states = q_states(net.num_sites, net.q)
    assert torch.equal(loaded.log_prob(states), net.log_prob(states))
    assert loaded.config() == net.config() == from_config(net.config()).config()
    for name, parameter in net.named_parameters():
        assert torch.equal(dict(loaded.named_parameters())[name], parameter)


def test_parameters_are_counted_with_masks():
    net = CategoricalMADE(3, 2, hidden=(4,))
    assert net.degrees == ((1, 1, 2, 2),)
    assert net.num_parameters() == (6 * 4 + 4) + 4 + (4 * 6 + 6)
    assert net.num_active_parameters() == (2 * 2 + 2 * 4 + 4) + 4 + (2 * 2 + 2 * 4 + 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"q": 1}, "q = 1 must be an integer >= 2"),
        ({"q": 128}, "q = 128 must be at most 127"),
        ({"q": 2.5}, "q = 2.5 must be an integer"),
        ({"N": 0}, "N = 0"),
        ({"symmetry": "z2"}, "symmetry = 'z2' must be None, 'cyclic', 'permutation', 'reflection'"),
        ({"q": 6, "symmetry": "permutation"}, "takes q <= 5, q is 6: use 'cyclic'"),
        ({"hidden": (3, 0)}, r"hidden\[1\] = 0"),
        ({"order": [0, 1, 1]}, "order must hold each of 0 .. 2 once"),
        ({"activation": "tanh"}, "activation = 'tanh'"),
        ({"degrees": [[5]]}, "degrees has layers"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        CategoricalMADE(**{"N": 3, "q": 3, **arguments})


def test_bad_states():
    net = CategoricalMADE(4, 3)
    with pytest.raises(ValueError, match=r"only the states 0 .. 2, found 3 at configuration 1, site 2"):
        net.log_prob(np.array([[0, 1, 2, 0], [0, 0, 3, 0]]))
    with pytest.raises(ValueError, match="found -1 at configuration 0, site 0"):
        net.log_prob(torch.tensor([-1, 1, 1, 1], dtype=torch.int8))
    with pytest.raises(ValueError, match=r"found 0\.5"):
        net.logits(np.array([0.5, 0, 0, 0]))
    with pytest.raises(TypeError, match=r"the states 0 .. 2, not torch\.bool"):
        net.log_prob(torch.ones(4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"expected \[4\]"):
        net.log_prob(np.zeros((2, 5)))


def test_gpu_backends_refuse():
    net = CategoricalMADE(4, 3)
    for name in ("cuda", "triton"):
        assert "no GPU kernel for CategoricalMADE: net.cpu() and backend 'cpu'" in get(name).refuses(net, "fp32")
