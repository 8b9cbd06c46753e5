"""Nested log-sigmoids drawn by the CUDA kernel, against the float64 reference and against themselves in other layouts,
batches and modes. Memory that torch hands out is filled with NaN, so nothing unwritten goes unseen."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import vanfast as vf
from vanfast.backends.engines.base import Drawn
from vanfast.backends.engines.cuda_nest import CudaNest
from vanfast.backends.engines.nest_records import nest_order
from vanfast.backends.reference import ReferenceProgram
from vanfast.networks import SK
from vanfast.networks.plan import NestPlan, moved

SEED, FIRST, COUNT = 2**40 + 7, 2**33 + 5, 40


def pairs(N):
    rng = np.random.default_rng(N)
    J = np.triu(rng.normal(0, N**-0.5, (N, N)), 1)
    return vf.hamiltonians.Pairwise(J + J.T, rng.normal(0, 0.5, N))


def sk(ham, k, scale=0.1, **options):
    """A network away from its start, where the branches' parameters differ."""
    net = SK(ham, 0.8, k=k, seed=1, **options)
    generator = torch.Generator().manual_seed(k)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return net


NETWORKS = {
    "one site": lambda: sk(pairs(1), 2),
    "two sites": lambda: sk(pairs(2), 0),
    "three sites": lambda: sk(pairs(3), 1),
    "rs 33": lambda: sk(pairs(33), 0),
    "rs 64": lambda: sk(pairs(64), 0),
    "1rsb 8": lambda: sk(pairs(8), 1),
    "1rsb 17": lambda: sk(pairs(17), 1),
    "1rsb 100": lambda: sk(pairs(100), 1),
    "2rsb 31": lambda: sk(pairs(31), 2),
    "3rsb 6": lambda: sk(pairs(6), 3),
    "5rsb 13": lambda: sk(pairs(13), 5),
    "small 64": lambda: sk(pairs(64), 1, 0.02, start="small"),
    "learnt 12": lambda: sk(pairs(12), 1, learn_couplings=True),
    "start 65": lambda: SK(pairs(65), 1.5, k=2),
    "sparse 27": lambda: sk(vf.hamiltonians.IsingSquare(shape=(9, 3), field=0.1), 1, sparse=True),
    "lattice 20": lambda: sk(vf.hamiltonians.IsingSquare(shape=(5, 4), field=0.1), 1),
}
SMALL = ["one site", "two sites", "three sites", "1rsb 8", "3rsb 6"]


@functools.cache
def network(name):
    return NETWORKS[name]()


@functools.cache
def reference(name):
    return ReferenceProgram(network(name).plan(), False, "fp32")


@functools.cache
def reference_spins(name):
    return reference(name).sample(COUNT, SEED, FIRST)[0]


def engine(cuda, name, **layout):
    return CudaNest(moved(network(name).plan(), cuda.device), cuda.device, cuda.module, **layout)


def bytes_of(drawn):
    return [tensor.cpu().numpy().tobytes() for tensor in (drawn.spins, drawn.log_q, *drawn.kept)]


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_samples_are_those_of_the_reference(cuda, name, lanes):
    """Spins for the same random words, ln q of what was drawn, and the logits that are kept."""
    drawn = engine(cuda, name, lanes=lanes).draw(COUNT, SEED, FIRST, keep=True)
    spins = drawn.spins.cpu()
    assert spins.abs().eq(1).all()
    assert (spins != reference_spins(name)).any(1).sum() <= 1
    tolerance = 1e-5 * network(name).num_sites ** 0.5
    torch.testing.assert_close(drawn.log_q.cpu(), reference(name).log_prob(spins), rtol=0, atol=tolerance)
    torch.testing.assert_close(drawn.kept[0].cpu().double(), reference(name).logits(spins), rtol=0, atol=tolerance)


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_scoring_gives_the_bytes_of_drawing(cuda, name, lanes):
    one = engine(cuda, name, lanes=lanes)
    drawn = one.draw(33, SEED, 7, keep=True)
    assert bytes_of(one.evaluate(drawn.spins.clone(), keep=True)) == bytes_of(drawn)
    assert one.evaluate(drawn.spins).kept == ()


LAYOUTS = [(16, 32), (16, 128), (16, 256), (4, 32), (4, 64), (4, 192), (4, 256)]


@pytest.mark.parametrize("name", ["two sites", "rs 33", "1rsb 17", "2rsb 31", "5rsb 13", "sparse 27"])
def test_bytes_do_not_depend_on_layout_or_batch(cuda, name):
    one, first = engine(cuda, name), 0
    whole = one.draw(70, SEED, 2**32 - 3, keep=True)
    for lanes, threads in LAYOUTS:
        other = engine(cuda, name, lanes=lanes, threads=threads).draw(70, SEED, 2**32 - 3, keep=True)
        assert bytes_of(other) == bytes_of(whole)
    for count in (1, 5, 33, 31):
        part = one.draw(count, SEED, 2**32 - 3 + first, keep=True)
        cut = [tensor[first : first + count] for tensor in (whole.spins, whole.log_q, *whole.kept)]
        assert bytes_of(part) == bytes_of(Drawn(cut[0], cut[1], tuple(cut[2:])))
        first += count


@pytest.mark.parametrize("lanes", [4, 16])
def test_more_tiles_than_blocks(cuda, lanes):
    """Blocks of threads go from tile to tile; an emulated device holds few."""
    one, many = engine(cuda, "1rsb 8", lanes=lanes, threads=32), 257 if cuda.emulated else 300_001
    drawn = one.draw(many, SEED, 3)
    for start in range(0, many - 31, many // 5):
        part = one.draw(32, SEED, 3 + start)
        assert torch.equal(part.spins, drawn.spins[start : start + 32])
        assert torch.equal(part.log_q, drawn.log_q[start : start + 32])


def test_the_launcher_s_choice(cuda):
    """However many samples: a few, as many as fill an emulated device, and many."""
    one = engine(cuda, "two sites")
    whole = one.draw(1500, SEED, 0)
    for count in (1, 5, 6, 7, 47, 49, 100, 383, 385, 700):
        part = one.draw(count, SEED, 0)
        assert torch.equal(part.spins, whole.spins[:count])
        assert torch.equal(part.log_q, whole.log_q[:count])


def test_step_moves_the_index(cuda):
    one, step = engine(cuda, "1rsb 17"), torch.tensor([2**33 - 2], device=cuda.device)
    assert bytes_of(one.draw(5, SEED, 9, step)) == bytes_of(one.draw(5, SEED, 2**33 + 7))
    step += 1
    assert bytes_of(one.draw(5, SEED, 9, step)) == bytes_of(one.draw(5, SEED, 2**33 + 8))


@pytest.mark.parametrize("name", ["2rsb 31", "sparse 27", "learnt 12"])
def test_parameters_are_taken_in_place(cuda, name):
    plan, net = moved(network(name).plan(), cuda.device), NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5)
    one = CudaNest(moved(net.plan(), cuda.device), cuda.device, cuda.module)
    fresh = bytes_of(one.draw(5, SEED, 0))
    one.load(plan)
    assert bytes_of(one.draw(5, SEED, 0)) == bytes_of(engine(cuda, name).draw(5, SEED, 0)) != fresh


def test_parameters_may_be_zero_at_first(cuda):
    """What is packed follows from the pairs in use, not from the values that their parameters have."""
    net, plan = NETWORKS["1rsb 17"](), moved(network("1rsb 17").plan(), cuda.device)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    one = CudaNest(moved(net.plan(), cuda.device), cuda.device, cuda.module)
    assert one.draw(5, SEED, 0).log_q.sub(17 * np.log(0.5)).abs().max() < 1e-5
    one.load(plan)
    assert bytes_of(one.draw(5, SEED, 0)) == bytes_of(engine(cuda, "1rsb 17").draw(5, SEED, 0))


@pytest.mark.parametrize("name", SMALL)
def test_probabilities_sum_to_one(cuda, name):
    sites = network(name).num_sites
    states = 1 - 2 * ((torch.arange(2**sites)[:, None] >> torch.arange(sites)) & 1)
    log_q = engine(cuda, name).evaluate(states.to(cuda.device, torch.int8)).log_q
    assert abs(log_q.exp().sum().item() - 1) < 2e-6


@pytest.mark.parametrize("name", ["two sites", "1rsb 8", "3rsb 6"])
def test_frequencies_are_the_probabilities(cuda, name):
    """G-test of all 2^N states against the float64 network."""
    sites, count = network(name).num_sites, 20_000
    states = 1 - 2 * ((torch.arange(2**sites)[:, None] >> torch.arange(sites)) & 1)
    expected = reference(name).log_prob(states.to(torch.int8)).exp().numpy()
    spins = engine(cuda, name).draw(count, 5, 0).spins.cpu().numpy()
    seen = np.bincount((spins < 0) @ (1 << np.arange(sites)), minlength=2**sites)
    rare = expected * count < 5
    seen, expected = (np.append(x[~rare], x[rare].sum()) for x in (seen, expected * count))
    seen, expected = seen[expected > 0], expected[expected > 0]
    assert stats.power_divergence(seen, expected * count / expected.sum(), lambda_="log-likelihood").pvalue > 1e-3


def test_log_sigmoid(cuda):
    """Site n - 2 reads ln sigma(shift +- 1e-3), the sign being the first spin's; no other pair is read."""
    n = 5
    couplings, weight = torch.zeros(n, n), torch.zeros(n, n, 2, 2)
    couplings[0, n - 1] = couplings[n - 1, 0] = 1.0
    weight[n - 2, n - 1, 0] = torch.tensor([1e-3, 1.0])
    plan = NestPlan(n, couplings, torch.zeros(n), torch.zeros(n), weight, torch.zeros(n, n, 2, 1))
    one = CudaNest(moved(plan, cuda.device), cuda.device, cuda.module)
    spins = torch.ones((2, n), dtype=torch.int8, device=cuda.device)
    spins[1, 0] = -1
    for shift in (-1e4, -200.0, -30.0, *np.linspace(-20.1, 20.1, 203), 60.0, 1e4):
        truth = -np.logaddexp(0, -(np.float32(shift) + 1e-3 * np.array([1.0, -1.0])))
        plan.shift[n - 2, n - 1, 0] = float(shift)
        plan.bias[n - 2] = -truth[0]  # so that the logit is what the kernel's value lacks
        one.load(moved(plan, cuda.device))
        logit = one.evaluate(spins, keep=True).kept[0][:, n - 2].cpu().numpy()
        limit = 4e-7 * max(1.0, -shift)  # absolute, but for the size of the value
        np.testing.assert_allclose(logit, truth - truth[0], rtol=0, atol=limit, err_msg=f"{shift = }")


def test_tails(cuda):
    """Logits of hundreds, of both signs, and spins against them."""
    plan = replace(network("rs 33").plan(), bias=300 * network("rs 33").plan().bias)
    spins = torch.from_numpy(np.random.default_rng(2).choice(np.int8([-1, 1]), (33, 33)))
    expected = ReferenceProgram(plan, False, "fp32").log_prob(spins)
    assert expected.max() < -500
    one = CudaNest(moved(plan, cuda.device), cuda.device, cuda.module)
    torch.testing.assert_close(one.evaluate(spins.to(cuda.device)).log_q.cpu(), expected, rtol=3e-6, atol=0)


@pytest.mark.parametrize("name", ["one site", "1rsb 17", "sparse 27", "lattice 20"])
def test_what_is_packed(name):
    """Each pair once that is in use and whose field some spin before reaches, or that takes in the last spin."""
    plan, net = network(name).plan(), network(name)
    order = nest_order(plan)
    used = {*zip(*(index.tolist() for index in net._pairs), strict=True)}
    packed, constant = [], []
    for i in range(plan.num_sites):
        for l in range(i + 1, plan.num_sites):
            column = plan.couplings[:i, l]
            if ((i, l) in used and column.any()) or (i > 0 and column[-1] != 0):
                packed.append((i, l))
            elif (i, l) in used:
                constant.append((i, l))
    there = order.later >= 0
    found = zip(np.repeat(order.sites, 4)[there.flatten()].tolist(), order.later[there].tolist(), strict=True)
    assert sorted(found) == packed
    assert [*zip(*map(list, order.still), strict=True)] == constant
    assert (order.rows[there] == plan.num_sites - 1 - order.later[there]).all()
    quarter = np.concatenate([np.repeat(range(4), steps) for steps in order.steps])
    assert (order.rows % 16 == 4 * quarter[:, None] + np.arange(4)).all()  # no two lanes meet in a row
    assert (order.rows < -(-plan.num_sites // 4) * 4).all()
    if name == "1rsb 17":
        assert len(constant) == 16
        assert len(order.later) == sum(-(-left // 4) for left in range(16))


def test_entries_that_no_pair_has_are_not_read(cuda):
    plan = network("1rsb 8").plan()
    lower = torch.tril(torch.ones(8, 8, dtype=torch.bool))[:, :, None, None]
    garbage = replace(
        plan, weight=plan.weight.masked_fill(lower, torch.nan), shift=plan.shift.masked_fill(lower, torch.nan)
    )
    drawn = CudaNest(moved(garbage, cuda.device), cuda.device, cuda.module).draw(5, SEED, 0, keep=True)
    assert bytes_of(drawn) == bytes_of(engine(cuda, "1rsb 8").draw(5, SEED, 0, keep=True))


def test_no_samples_and_wrong_arguments(cuda):
    one = engine(cuda, "1rsb 8")
    assert one.draw(0, SEED, 0, keep=True).kept[0].shape == (0, 8)
    with pytest.raises(ValueError, match=r"spins is torch.int8 \[3, 9\]"):
        one.evaluate(torch.ones((3, 9), dtype=torch.int8, device=cuda.device))
    with pytest.raises(ValueError, match="lanes = 2 must be 0, 4 or 16"):
        engine(cuda, "1rsb 8", lanes=2).draw(5, SEED, 0)
    for threads in (31, 288, -32, 96):
        with pytest.raises(ValueError, match=f"threads = {threads} must be 0, 32, 64"):
            engine(cuda, "1rsb 8", threads=threads).draw(5, SEED, 0)
    one._shared = 1000
    with pytest.raises(ValueError, match="sites = 8 with levels = 2: the fields and parameters of a block do not fit"):
        one.draw(5, SEED, 0)


ON_GPU = pytest.mark.parametrize("cuda", [pytest.param("gpu", marks=pytest.mark.gpu)], indirect=True)


@ON_GPU
def test_replays_of_a_graph(cuda):
    """Parameters and indices move on between replays of one captured load and draw."""
    plan, step = moved(network("2rsb 31").plan(), cuda.device), torch.zeros(1, dtype=torch.int64, device=cuda.device)
    one = CudaNest(plan, cuda.device, cuda.module)
    one.draw(300, SEED, 7, step, keep=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one.load(plan)
        drawn = one.draw(300, SEED, 7, step, keep=True)
    for _ in range(2):
        step += 300
        plan.weight.mul_(0.5)
        graph.replay()
        fresh = CudaNest(plan, cuda.device, cuda.module)
        assert bytes_of(fresh.draw(300, SEED, 7 + int(step), keep=True)) == bytes_of(drawn)


def _case(name, count, given=False, **layout):
    def run(module):
        one = CudaNest(network(name).plan(), torch.device("cpu"), module, **layout)
        spins = torch.from_numpy(np.random.default_rng(1).choice(np.int8([-1, 1]), (count, one.num_sites)))
        drawn = one.evaluate(spins, keep=True) if given else one.draw(count, SEED, 0, keep=True)
        return drawn.spins, drawn.log_q, *drawn.kept

    return run


# More tiles than an emulated device holds blocks, several warps, more chunks of parameters than the ring holds.
BARRIER_CASES = {
    "four": _case("1rsb 17", 200, lanes=4, threads=64),
    "four given": _case("2rsb 31", 100, given=True, lanes=4, threads=64),
    "one": _case("5rsb 13", 13, lanes=16, threads=64),
    "one given": _case("1rsb 17", 13, given=True, lanes=16, threads=64),
}
