"""The star prior in the CUDA samplers (csrc/cuda/star_prior.cuh), run under csrc/emulation or on a GPU."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from tests.star_systems import CONVOLUTIONS, NETWORKS, drawing_order, logits_of, network, random_system, star
from vanfast.backends.engines.cuda_conv import CudaConv
from vanfast.backends.engines.cuda_masked import CudaMasked
from vanfast.backends.engines.star_tables import UNITS, star_tables
from vanfast.backends.reference import star_logits
from vanfast.hamiltonians import Pairwise
from vanfast.networks import MADE, Dense, PixelCNN
from vanfast.networks.plan import ConvPlan, moved
from vanfast.random import draw_spins, random_words

SEED, FIRST, COUNT = 2**40 + 7, 2**33 + 5, 37


def engine(cuda, net, precision="fp32", **layout):
    plan = moved(net.plan(), cuda.device)
    kind = CudaConv if isinstance(plan, ConvPlan) else CudaMasked
    return kind(plan, precision, cuda.device, cuda.module, **layout)


def bytes_of(drawn):
    return [tensor.cpu().numpy().tobytes() for tensor in (drawn.spins, drawn.log_q, *drawn.kept)]


def log_q(net, spins):
    plan = net.plan()
    return functional.logsigmoid(drawing_order(plan, spins) * logits_of(net, spins)).sum(1)


@pytest.mark.parametrize("name", NETWORKS)
def test_draws_are_those_of_the_reference(cuda, name):
    """ln q and kept logits of what was drawn, each spin from the reference's logit; scoring gives the same bytes."""
    net = network(name)
    tested = engine(cuda, net)
    drawn = tested.draw(COUNT, SEED, FIRST, keep=True)
    spins = drawn.spins.cpu()
    logits = logits_of(net, spins)
    torch.testing.assert_close(drawn.kept[-1].cpu().double(), logits, rtol=2e-6, atol=4e-6)
    torch.testing.assert_close(drawn.log_q.cpu(), log_q(net, spins), rtol=2e-6, atol=5e-6)
    words = random_words(SEED, FIRST, COUNT, net.num_sites)
    in_order = drawing_order(net.plan(), spins).numpy()
    assert (draw_spins(logits.numpy(), words) != in_order).sum() <= 1
    assert bytes_of(tested.evaluate(drawn.spins, keep=True)) == bytes_of(drawn)
    assert bytes_of(tested.draw(COUNT, SEED, FIRST)) == bytes_of(drawn)[:2]


@pytest.mark.parametrize("name", NETWORKS)
def test_spins_that_nobody_would_draw(cuda, name):
    """Both tails of every pair, at couplings of up to 40 as well."""
    net = network(name)
    spins = torch.from_numpy(np.random.default_rng(3).choice(np.int8([-1, 1]), (COUNT, net.num_sites)))
    found = engine(cuda, net).evaluate(spins.to(cuda.device)).log_q.cpu()
    torch.testing.assert_close(found, log_q(net, spins), rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", ["open", "any system", "one layer", "dense", "made shuffled"])
def test_precision_is_the_networks_alone(cuda, name, precision):
    """The prior is added to logits of products that are rounded, and is not rounded itself."""
    net = network(name)
    drawn = engine(cuda, net, precision).draw(COUNT, SEED, FIRST, keep=True)
    error = (drawn.kept[-1].cpu() - logits_of(net, drawn.spins.cpu(), "bf16")).abs()
    exact = (drawn.kept[-1].cpu() - logits_of(net, drawn.spins.cpu())).abs()
    assert float((error if precision == "bf16" else exact).median()) < (2e-6 if precision == "bf16" else 2e-4)
    assert float(exact.max()) < (0.05 if precision == "bf16" else 5e-3)


LAYOUTS = [
    {"groups": 1, "parts": 1, "memory": 1},
    {"groups": 1, "parts": 8, "memory": 2},
    {"groups": 4, "parts": 2, "memory": 2},
    {"groups": 2, "parts": 3, "memory": 1},
]


@pytest.mark.parametrize("name", ["open", "any system", "one layer", "dense", "dense residual", "made shuffled"])
def test_bytes_do_not_depend_on_layout_or_batch(cuda, name):
    net = network(name)
    tested = engine(cuda, net)
    whole, begin = tested.draw(70, SEED, FIRST, keep=True), 0
    for count in (1, 5, 17, 16, 31):
        part = tested.draw(count, SEED, FIRST + begin, keep=True)
        cut = [
            tensor[begin : begin + count].cpu().numpy().tobytes() for tensor in (whole.spins, whole.log_q, *whole.kept)
        ]
        assert bytes_of(part) == cut
        begin += count
    step = torch.tensor([30], device=cuda.device)
    assert bytes_of(tested.draw(5, SEED, FIRST - 30, step)) == bytes_of(tested.draw(5, SEED, FIRST))
    for layout in () if name in CONVOLUTIONS else LAYOUTS:
        assert bytes_of(engine(cuda, net, **layout).draw(70, SEED, FIRST, keep=True)) == bytes_of(whole)


@pytest.mark.parametrize("name", ["periodic z2", "any system"])
def test_rows_in_the_workspace(cuda, name):
    """A block with too little shared memory for the row's spins and logits."""
    net = network(name)
    whole = engine(cuda, net)
    small = next(
        found for limit in range(2500, 60_000, 500) if (found := _made(cuda, net, limit)) and found.native.in_workspace
    )
    assert not whole.native.in_workspace
    drawn = small.draw(20, SEED, 3, keep=True)
    assert torch.equal(drawn.spins, whole.draw(20, SEED, 3).spins)
    torch.testing.assert_close(drawn.kept[-1].cpu().double(), logits_of(net, drawn.spins.cpu()), rtol=2e-6, atol=4e-6)
    assert bytes_of(small.evaluate(drawn.spins, keep=True)) == bytes_of(drawn)


def _made(cuda, net, limit):
    try:
        return engine(cuda, net, shared_limit=limit)
    except ValueError:
        return None


@pytest.mark.parametrize("name", ["open", "cold", "one layer", "made shuffled"])
def test_the_prior_moves_in_place(cuda, name):
    """Buffers stay where they are, whose addresses a captured step holds; strong pairs become weak ones and back."""
    net = network(name)
    tested = engine(cuda, net)
    arrays = tested._star if name in CONVOLUTIONS else tested._net.star
    before, held = bytes_of(tested.draw(9, SEED, 0)), arrays.pointers()
    beta = net.prior.beta
    net.follow(0.3 if beta > 1 else 2.7)
    tested.load_prior(net.prior.plan())
    elsewhere = bytes_of(tested.draw(9, SEED, 0))
    assert elsewhere == bytes_of(engine(cuda, net).draw(9, SEED, 0)) != before
    net.follow(beta)
    tested.load(moved(net.plan(), cuda.device))
    assert bytes_of(tested.draw(9, SEED, 0)) == before
    assert arrays.pointers() == held


@pytest.mark.parametrize("name", ["conv one site", "one layer one site", "dense one site", "triangular", "one row"])
def test_probabilities_add_up_to_one_and_frequencies_follow_them(cuda, name):
    net, count = network(name), 8_000
    states = torch.tensor(list(itertools.product((1, -1), repeat=net.num_sites)), dtype=torch.int8)
    tested = engine(cuda, net)
    found = tested.evaluate(states.to(cuda.device)).log_q.cpu()
    assert abs(float(found.exp().sum()) - 1) < 2e-6
    drawn = (tested.draw(count, 6, 0).spins.cpu().numpy() < 0) @ (1 << np.arange(net.num_sites)[::-1])
    seen, expected = np.bincount(drawn, minlength=len(states)), count * log_q(net, states).exp().numpy()
    rare = expected < 5
    seen, expected = (np.append(x[~rare], x[rare].sum()) for x in (seen, expected))
    seen, expected = seen[expected > 0], expected[expected > 0]
    expected *= seen.sum() / expected.sum()
    assert stats.power_divergence(seen, expected, lambda_="log-likelihood").pvalue > 1e-3


def test_pairs_of_all_sizes(cuda):
    """2 artanh(tanh K tanh f) for the first site of a pair, as ln q tells it."""
    for kind in (lambda **o: star(Dense, 2, **o), lambda **o: star(PixelCNN, (1, 2), 1, 1, 1, z2=False, **o)):
        for coupling, sign in itertools.product((1e-4, 0.03, 1.0, 2.499, 2.501, 40.0, 1e4), (1, -1)):
            for field in (0.0, 1e-3, 0.1, 0.999, 7.0, 40.0, 1e4):
                net = kind(ham=Pairwise.from_edges(2, [(0, 1)], [sign * coupling], [0.0, field]), beta=1.0, bias=False)
                with torch.no_grad():
                    for parameter in net.parameters():
                        parameter.zero_()
                spins = torch.ones((1, 2), dtype=torch.int8, device=cuda.device)
                kept = engine(cuda, net).evaluate(spins, keep=True).kept[-1].cpu().double()
                exact = star_logits(net.plan().prior, torch.ones((1, 2), dtype=torch.float64))
                first, second = (kept - exact).abs()[0].tolist()
                assert first <= 3e-7 * (1 + min(field, coupling)), (coupling, sign, field)
                assert second <= 3e-7 * (1 + field + coupling), (coupling, sign, field)


def test_long_rows(cuda):
    """Several runs of pairs for every slot, and more sites than a block has."""
    for net in (
        star(Dense, 200, ham=random_system(200), beta=0.5),
        star(MADE, 200, (30,), ham=random_system(200), beta=3.0),
        star(PixelCNN, (8, 10), 1, 1, 1, z2=False, ham=random_system(80), beta=1.0),
    ):
        drawn = engine(cuda, net).draw(20, SEED, 0)
        torch.testing.assert_close(drawn.log_q.cpu(), log_q(net, drawn.spins.cpu()), rtol=1e-6, atol=3e-5)


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("name", ["open", "cold", "made shuffled", "made no couplings", "one layer one site"])
def test_tables_hold_every_pair_once(name, slots):
    plan = network(name).plan().prior
    tables, N = star_tables(plan, slots), len(plan.fields)
    K = np.zeros((N + 1, N))
    K[1:][plan.sites.numpy(), np.repeat(np.arange(N), plan.start.diff().numpy())] = (
        plan.couplings.numpy()
    )  # row i + 1: i
    changes, pairs = tables.entries[:, 1:3].view(np.float32).astype(float).T
    seen = np.zeros(N * N, int)
    for site, slot in itertools.product(range(N), range(slots)):
        begin, weak, strong, end = tables.rows[site, slot]
        for k in range(begin, end):
            l = tables.entries[k, 0]
            assert l > site
            assert l % slots == slot
            assert changes[k] == np.float32(UNITS * K[site, l])
            exact = K[site + 1, l]
            assert (exact != 0) == (k < strong)
            if k < weak:
                exact = np.copysign(np.exp(-2 * abs(exact)), exact)
            assert pairs[k] == np.float32(exact)
            seen[site * N + l] += 1
    wanted = np.triu((K[:-1] != 0) | (K[1:] != 0), 1)
    assert np.array_equal(seen.reshape(N, N), wanted)
    assert np.array_equal(tables.sites[1:, 1], np.float32(UNITS * np.diagonal(K[1:], 1)))
    assert tables.rows[..., 3].max(initial=0) == len(tables.entries)


def test_tables_that_are_missing_are_noticed(cuda):
    tested = engine(cuda, network("open"))
    tested._star = None
    with pytest.raises(ValueError, match="star does not fit"):
        tested.draw(3, SEED, 0)


def barrier_case(name, precision, count, given=False, **layout):
    def run(module):
        net = network(name)
        kind = CudaConv if isinstance(net.plan(), ConvPlan) else CudaMasked
        tested = kind(net.plan(), precision, torch.device("cpu"), module, **layout)
        spins = torch.from_numpy(np.random.default_rng(1).choice(np.int8([-1, 1]), (count, net.num_sites)))
        drawn = tested.evaluate(spins, keep=True) if given else tested.draw(count, SEED, 5, keep=True)
        return drawn.spins, drawn.log_q, *drawn.kept

    return run


BARRIER_CASES = {
    "conv": barrier_case("periodic z2", "bf16", 20),
    "conv depth 1": barrier_case("any system", "fp32", 20),
    "single": barrier_case("one layer", "fp32", 70, groups=2),
    "stack": barrier_case("made shuffled", "tf32", 70, groups=1, parts=4, memory=2),
    "stack given": barrier_case("dense residual", "fp32", 40, given=True, groups=1, parts=3, memory=1),
}
