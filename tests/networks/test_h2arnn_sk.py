"""SK networks: the physics start, counts, other temperatures, the sparse form, learnt couplings, files."""

import itertools
import math

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.networks.conftest import NESTED, build, random_pairs
from vanfast.backends.reference import nest_logits
from vanfast.errors import FileFormatError
from vanfast.hamiltonians import EdwardsAnderson, IsingSquare, Pairwise, SherringtonKirkpatrick
from vanfast.networks import SK, ExactH2, NestGradient, from_config, sherrington_kirkpatrick
from vanfast.networks._frontier import frontier
from vanfast.networks.plan import LayerGradient


def with_fields(ham, seed=0):
    return Pairwise(ham.to_dense(), np.random.default_rng(seed).normal(0, 0.5, ham.num_sites))


def kl(net, ham, beta, states):
    """D_KL(q || Boltzmann) by the sum over all states."""
    log_q, energy = net.log_prob(states).detach(), ham.energy(states)
    return ((log_q.exp() * (log_q + beta * energy)).sum() + torch.logsumexp(-beta * energy, 0)).item()


@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize(("N", "beta"), [(20, 0.5), (7, 1.0)])
def test_counts(k, N, beta):
    published = {(20, 0): 1180, (20, 1): 1940, (20, 2): 2700}
    net = SK(SherringtonKirkpatrick(N), beta, k=k)
    assert net.num_parameters() == (2 * k + 3) * N * (N - 1) + 2 * N
    assert net.num_parameters() == published.get((N, k), net.num_parameters())
    learnt = SK(SherringtonKirkpatrick(N), beta, k=k, learn_couplings=True)
    assert learnt.num_parameters() == net.num_parameters() + N * N
    assert learnt.num_active_parameters() == net.num_active_parameters() + N * (N - 1) // 2


def test_published_counts():
    counts = {100: (29900, 49700, 69500), 200: (119800, 199400, 279000)}
    for N, of_k in counts.items():
        assert tuple(SK(SherringtonKirkpatrick(N), 1.0, k=k).num_parameters() for k in range(3)) == of_k
    assert SK(SherringtonKirkpatrick(100), 1.0, learn_couplings=True).num_parameters() == 59700


@pytest.mark.parametrize("beta", [0.3, 1.0, 3.0])
def test_the_physics_start_is_exact_for_the_last_two_sites(beta, random_spins):
    ham, spins = random_pairs(12), random_spins(200, 12)
    logits = SK(ham, beta, k=0, dtype=torch.float64).logits(spins).detach()
    exact = ExactH2(ham, beta).double().logits(spins)
    assert (logits - exact)[:, -2:].abs().max() < 1e-13 * max(1, beta * 5)
    assert (logits - exact)[:, :-2].abs().max() > 1e-3


@pytest.mark.parametrize("sparse", [False, True])
def test_the_physics_start_is_exact_where_spins_to_come_do_not_interact(sparse, all_states):
    star = np.zeros((9, 9))
    star[:3, 3:] = np.random.default_rng(2).normal(size=(3, 6))
    star[0, 1] = star[1, 2] = 0.7  # three sites that are drawn first
    ham = Pairwise(star + star.T, np.linspace(-1, 1, 9))
    net = SK(ham, 0.9, k=0, sparse=sparse, dtype=torch.float64)
    exact, states = ExactH2(ham, 0.9).double(), all_states(9)
    assert (net.logits(states) - exact.logits(states))[:, 2:].abs().max() < 1e-13  # of sites 2 and later


@pytest.mark.parametrize(("beta", "published"), [(0.3, 0.00002), (0.6, 0.00086), (1.0, 0.0052), (2.0, 0.0409)])
def test_kl_of_the_physics_start(beta, published):
    """h2arnn.md 3.4: SK N = 14, the mean over instances, which scatter by a factor of three."""
    states = (((torch.arange(2**14)[:, None] >> torch.arange(14)) & 1) * 2 - 1).to(torch.int8)
    hams = [SherringtonKirkpatrick(14, seed) for seed in (1, 2, 3)]
    found = np.mean([kl(SK(ham, beta, k=0), ham, beta, states) / 14 for ham in hams])
    assert published / 3 < found < 3 * published
    small = kl(SK(hams[0], beta, k=0, start="small", seed=1), hams[0], beta, states) / 14
    assert small > 8 * found


@pytest.mark.parametrize("k", [1, 2, 3])
def test_further_nestings_start_where_the_first_does(k, all_states):
    ham, states = random_pairs(8), all_states(8)
    for beta in (0.3, 1.0):
        base = SK(ham, beta, k=0, dtype=torch.float64)
        nested = SK(ham, beta, k=k, dtype=torch.float64)
        assert (nested.log_prob(states) - base.log_prob(states)).abs().max() < 2e-3
        assert abs(kl(nested, ham, beta, states) - kl(base, ham, beta, states)) < 1e-4


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("k", [0, 2])
def test_at_moves_the_physics_start(sparse, k, all_states):
    ham = with_fields(EdwardsAnderson((3, 3), disorder="gaussian", seed=1, boundary="open"))
    net = SK(ham, 0.45, k=k, sparse=sparse, dtype=torch.float64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    twin, there = net.at(1.1), SK(ham, 1.1, k=k, sparse=sparse, dtype=torch.float64)
    assert twin.beta == 1.1
    assert twin.config() == there.config()
    for name, value in there.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[name], value, rtol=1e-13, atol=1e-13)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    with pytest.raises(ValueError, match="start = 'small'"):
        SK(ham, 0.45, start="small").at(1.0)
    with pytest.raises(ValueError, match="beta = 0"):
        net.at(0)


def test_a_trained_network_moves_too(all_states):
    """Half the temperature step is better started from the network that was trained than from nothing."""
    ham, states = SherringtonKirkpatrick(8, seed=4), all_states(8)
    net = SK(ham, 0.8, k=1)
    vf.train(net, ham, 0.8, steps=60, batch=300, learning_rate=5e-3, seed=1, backend="reference")
    assert kl(net, ham, 0.8, states) < kl(SK(ham, 0.8), ham, 0.8, states)
    assert kl(net.at(1.0), ham, 1.0, states) < 0.5 * kl(net, ham, 1.0, states)


def test_a_ladder_takes_the_network_along(all_states, tmp_path):
    ham, states, ladder = SherringtonKirkpatrick(8, seed=4), all_states(8), (0.5, 0.8, 1.2)
    common = {"batch": 200, "seed": 1, "learning_rate": 2e-3, "progress": False}

    def excess(follows):
        net = SK(ham, 0.5)
        if not follows:
            net.follow = lambda beta: None
        vf.train(net, ham, ladder, steps=15, **common)
        assert net.beta == (1.2 if follows else 0.5)
        return kl(net, ham, 1.2, states)

    assert excess(True) < 0.1 * excess(False)
    whole = vf.train(SK(ham, 0.5), ham, ladder, steps=15, out=tmp_path / "whole", **common).net
    assert (vf.load(tmp_path / "whole").beta, vf.load(tmp_path / "whole" / "beta-0.8").beta) == (1.2, 0.8)

    def stop_after(step):
        def callback(record):
            if record.step == step - 1:
                raise RuntimeError("stop")

        return callback

    for step in (15, 20):  # between two temperatures, and within one
        out, rest = tmp_path / f"after-{step}", {"steps": 15, "checkpoint_every": step, **common}
        with pytest.raises(RuntimeError, match="stop"):
            vf.train(SK(ham, 0.5), ham, ladder, out=out, callback=stop_after(step), **rest)
        resumed = vf.train(SK(ham, 0.5), ham, ladder, out=out, resume=True, **rest).net
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
        with pytest.raises(ValueError, match="net differs"):
            vf.train(SK(ham, 0.5, k=2), ham, ladder, out=out, resume=True, **rest)


def test_annealing_takes_the_network_along():
    """Every step's network is that of the step's temperature; at the first, where beta is 0, that of the second."""
    ham, rate = SherringtonKirkpatrick(8, seed=4), 0.25
    net, seen = SK(ham, 1.0), []
    common = {"steps": 6, "batch": 50, "learning_rate": 1e-12, "anneal": rate, "progress": False}
    run = vf.train(net, ham, 1.0, callback=lambda record: seen.append((net.beta, net.direct[0].item())), **common)
    expected = [1 - rate ** max(step, 1) for step in range(6)]
    assert [beta for beta, _ in seen] == expected
    torch.testing.assert_close([direct for _, direct in seen], [2 * beta for beta in expected], rtol=1e-5, atol=0)
    assert [record.beta for record in run.history] == [0.0, *expected[1:]]


def test_the_first_temperature_is_followed_as_well():
    ham = SherringtonKirkpatrick(8, seed=4)
    net = SK(ham, 1.5)
    vf.train(net, ham, [0.5, 1.0], steps=1, batch=50, learning_rate=1e-12, progress=False)
    assert net.beta == 1.0
    torch.testing.assert_close(net.direct.detach(), torch.full((8,), 2.0))


def test_what_does_not_stand_for_beta_stays(random_spins):
    net, spins = SK(SherringtonKirkpatrick(6), 0.5, start="small", seed=1), random_spins(4, 6)
    before = net.log_prob(spins)
    net.follow(1.0)
    assert torch.equal(net.log_prob(spins), before)
    assert net.beta == 0.5


def reaches(ham):
    """The frontier by its definition, with a search of its own for every site."""
    J, N = ham.to_dense() != 0, ham.num_sites
    result = np.zeros((N, N), dtype=bool)
    for i in range(N):
        seen, stack = {i}, [i]
        while stack:
            for l in np.flatnonzero(J[stack.pop()]):
                if l > i and l not in seen:
                    seen.add(l)
                    stack.append(l)
        for l in seen - {i}:
            result[i, l] = J[l, :i].any()
    return result


@pytest.mark.parametrize(
    "ham",
    [
        EdwardsAnderson((3, 4), seed=1, boundary="open"),
        IsingSquare(shape=(3, 3)),
        SherringtonKirkpatrick(6),
        Pairwise.from_edges(9, [[0, 5], [5, 3], [1, 8], [2, 8], [4, 7]], 1.0),
        Pairwise.from_edges(3, [], []),
    ],
    ids=lambda ham: f"{type(ham).__name__}{ham.num_sites}",
)
def test_frontier(ham):
    assert np.array_equal(frontier(ham), reaches(ham))


def test_the_frontier_of_a_lattice_is_a_row():
    assert frontier(IsingSquare(shape=(8, 8), boundary="open")).sum(1).max() == 7  # and the site itself


def test_the_exact_conditional_sees_the_frontier_only(random_spins):
    """What enters the conditional of site i besides its own field are the fields on the frontier."""
    ham = with_fields(EdwardsAnderson((3, 4), disorder="gaussian", seed=1, boundary="open"))
    J, edge, spins = ham.to_dense(), frontier(ham), random_spins(400, 12)
    exact = ExactH2(ham, 0.9).double().logits(spins)
    for i in (4, 7, 8):
        seen = spins.double()[:, :i].numpy() @ J[:i][:, edge[i] | (np.arange(12) == i)]
        _, group = np.unique(seen.round(9), axis=0, return_inverse=True)
        logits = exact[:, i].numpy()
        spread = max(np.ptp(logits[group.ravel() == g]) for g in range(group.max() + 1))
        assert group.max() > 2
        assert spread < 1e-12


@pytest.mark.parametrize("k", [0, 1])
def test_the_sparse_network_leaves_nothing_out(k, all_states):
    ham = with_fields(EdwardsAnderson((3, 3), disorder="gaussian", seed=5, boundary="open"))
    dense, sparse = (SK(ham, 0.8, k=k, sparse=flag, dtype=torch.float64) for flag in (False, True))
    off = (dense.log_prob(all_states(9)) - sparse.log_prob(all_states(9))).abs().max()
    assert off < (1e-13 if k == 0 else 3e-3)  # nestings beyond the first are linear to e^-8
    assert sparse.num_parameters() == 18 + 2 * (2 * k + 3) * frontier(ham).sum()
    assert sparse.num_parameters() < 0.6 * dense.num_parameters()


def test_small_start():
    net = SK(SherringtonKirkpatrick(40), 1.0, k=1, start="small", seed=3)
    for parameter in net.parameters():
        assert parameter.std().item() == pytest.approx(1 / 40, rel=0.35)
    twin = SK(SherringtonKirkpatrick(40), 2.0, k=1, start="small", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    assert not torch.equal(net.bias, SK(SherringtonKirkpatrick(40), 1.0, start="small", seed=4).bias)
    assert SK(SherringtonKirkpatrick(40), 1.0, start="small", seed=3, learn_couplings=True).couplings().std() < 0.05


@pytest.mark.parametrize("name", [*NESTED])
def test_chunks_change_nothing(name, monkeypatch, random_spins):
    net = build(name).double()
    spins = random_spins(5, net.num_sites)

    def evaluate():
        net.zero_grad()
        log_q = net.log_prob(spins)
        log_q.sum().backward()
        return [log_q.detach(), *(parameter.grad for parameter in net.parameters())]

    whole = evaluate()
    for chunk, kept in ((1, 1 << 24), (5 * net.num_sites * 3, 0)):
        monkeypatch.setattr(sherrington_kirkpatrick, "CHUNK", chunk)
        monkeypatch.setattr(sherrington_kirkpatrick, "KEPT", kept)
        for a, b in zip(evaluate(), whole, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NESTED if "small" not in name and name != "sk_one_site"])
def test_the_gradient_of_the_plan_reaches_the_parameters(name, random_spins):
    net = build(name).double()
    spins = random_spins(9, net.num_sites)
    net.log_prob(spins).sum().backward()
    expected = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    plan = net.plan()
    assert plan.learn_couplings == net.learn_couplings
    names = ("bias", "direct", "weight", "shift", *(["couplings"] if net.learn_couplings else []))
    tensors = {name: getattr(plan, name).requires_grad_() for name in names}
    torch.nn.functional.logsigmoid(spins * nest_logits(plan, spins.double())).sum().backward()
    net.add_gradient([NestGradient(**{name: tensor.grad for name, tensor in tensors.items()})])
    for parameter, grad in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-11, atol=1e-11)


def test_gradients_that_do_not_fit():
    net, learnt = SK(random_pairs(3), 1.0), SK(random_pairs(3), 1.0, learn_couplings=True)
    plan = net.plan()
    gradient = NestGradient(bias=plan.bias, direct=plan.direct, weight=plan.weight, shift=plan.shift)
    for bad in ([], [gradient, gradient], [LayerGradient(weight=plan.weight)]):
        with pytest.raises(ValueError, match="one NestGradient"):
            net.add_gradient(bad)
    with pytest.raises(ValueError, match="none with respect to the couplings"):
        learnt.add_gradient([gradient])


def test_learnt_couplings_keep_their_form():
    net = build("sk_learnt")
    J = net.plan().couplings
    assert torch.equal(J, J.T)
    assert not J.diagonal().any()
    start = SK(random_pairs(7), 0.8, learn_couplings=True, dtype=torch.float64)
    assert torch.equal(start.couplings(), torch.from_numpy(random_pairs(7).to_dense()))
    assert torch.equal(start.log_prob(torch.ones(7)), SK(random_pairs(7), 0.8, dtype=torch.float64)(torch.ones(7)))


@pytest.mark.parametrize("learn", [False, True])
def test_couplings_survive_saving(tmp_path, learn, random_spins):
    for dtype in (torch.float32, torch.float64):
        net = SK(random_pairs(6, seed=3), 0.7, k=2, learn_couplings=learn, dtype=dtype)
        net.save(tmp_path)
        twin = vf.load(tmp_path)
        assert torch.equal(twin.couplings(), net.couplings())
        assert np.array_equal(twin.ham.fields, net.ham.fields)
        spins = random_spins(5, 6)
        assert torch.equal(twin.log_prob(spins), net.log_prob(spins))
        assert torch.equal(twin.at(0.9).log_prob(spins), net.at(0.9).log_prob(spins))


def test_operations_know_the_couplings(random_spins):
    net, spins = SK(random_pairs(6, seed=3), 0.7, dtype=torch.float64), random_spins(5, 6)
    torch.testing.assert_close(vf.ops.log_prob(net, spins), net.log_prob(spins), rtol=0, atol=1e-13)


def test_descriptions_that_do_not_fit(tmp_path):
    config = SK(random_pairs(4), 0.7).config()
    for changes, message in (
        ({"N": 5}, "N = 5 must be the 4 sites"),
        ({"hamiltonian": None}, "hamiltonian must be"),
        ({"hamiltonian": {"config": {}, "arrays": {}}}, "class"),
        ({"hamiltonian": {**config["hamiltonian"], "arrays": {}}}, "array"),
        ({"dtype": "int8"}, "dtype = 'int8'"),
        ({"k": -1}, "k = -1"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            from_config(config | changes)
    arrays = config["hamiltonian"]["arrays"]
    broken = {"couplings": {"dtype": "|O", "shape": [1], "base64": ""}, "edges": {**arrays["edges"], "base64": "!"}}
    for name, value in broken.items():
        hamiltonian = {**config["hamiltonian"], "arrays": {**arrays, name: value}}
        with pytest.raises(ValueError, match=f"an array {name}"):
            from_config({**config, "hamiltonian": hamiltonian})
    net = SK(random_pairs(4), 0.7)
    net.save(tmp_path)
    text = (tmp_path / "network.json").read_text()
    (tmp_path / "network.json").write_text(text.replace('"base64": "', '"base64": "*'))
    with pytest.raises(FileFormatError, match="does not describe a network"):
        vf.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.0}, "beta = 0"),
        ({"beta": math.nan}, "beta = nan"),
        ({"k": -1}, "k = -1"),
        ({"k": 1.5}, r"k = 1\.5"),
        ({"k": 32}, "k = 32 must be at most 31"),
        ({"k": 10**20}, "k = 1000.* must be at most 31"),
        ({"start": "warm"}, "start = 'warm' must be one of 'physics', 'small'"),
        ({"z2": True}, "fields"),
        ({"z2": 1}, "z2 = 1"),
        ({"sparse": True, "learn_couplings": True}, "exclude each other"),
        ({"dtype": torch.bfloat16}, "bfloat16"),
        ({"ham": 3}, "ham must be"),
        ({"seed": -1, "start": "small"}, "seed = -1"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        SK(**({"ham": random_pairs(4), "beta": 1.0} | arguments))


def test_never_below_the_exact_free_energy(all_states):
    """The variational bound, for parameters far from any start."""
    for name, seed in itertools.product(("sk_rs", "sk_1rsb", "sk_3rsb"), range(3)):
        torch.manual_seed(seed)
        net = build(name)
        assert kl(net.double(), net.ham, net.beta, all_states(net.num_sites)) > 0


def test_pairs_are_moved_to_a_device_once():
    """A training step that a GPU captures may not copy from the host; and what is kept is good for training."""
    net, there = SK(SherringtonKirkpatrick(5), 1.0), torch.device("meta")
    with torch.inference_mode():
        first = net._pairs_on(there)
    assert first.device == there
    assert net._pairs_on(there) is first
    assert not first[0].is_inference()
