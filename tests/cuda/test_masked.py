"""Masked linear stacks drawn by the CUDA kernels: against the float64 reference, and against themselves in other
layouts, batches and modes. Memory that torch hands out is filled with NaN, so nothing unwritten goes unseen."""

import functools

import numpy as np
import pytest
import torch
from scipy import stats

import vanfast as vf
from vanfast.backends.engines.base import Drawn, to_tf32
from vanfast.backends.engines.cuda_masked import CudaMasked
from vanfast.backends.engines.masked_tables import Shape, stack_tables
from vanfast.backends.reference import ReferenceProgram, identity, masked_logits, to_bf16
from vanfast.networks.plan import MaskedPlan, moved

ROUND = {"fp32": identity, "tf32": lambda x: to_tf32(x.float()).double(), "bf16": to_bf16}
PRECISIONS = list(ROUND)
# How many samples may be off, and how far, because a value next to the middle of two was rounded the other way.
TIES = {"fp32": (0, 0), "tf32": (0.3, 5e-3), "bf16": (0.05, 0.05)}
SEED = 2**40 + 7

Dense, MADE = vf.networks.Dense, vf.networks.MADE
NETWORKS = {
    "one site": lambda: Dense(1, seed=1),
    "two sites": lambda: Dense(2, bias=False, seed=1),
    "one layer 17": lambda: Dense(17, seed=2),
    "one layer 31": lambda: Dense(31, seed=2),
    "one layer 33": lambda: Dense(33, seed=3),
    "one layer 64": lambda: Dense(64, bias=False, seed=3),
    "one layer 100": lambda: Dense(100, seed=4),
    "no hidden, reversed": lambda: MADE(37, (), order=list(range(37))[::-1], seed=4),
    "dense 2/1": lambda: Dense(3, 2, 1, seed=5),
    "dense 2/13": lambda: Dense(9, 2, 13, seed=5),
    "dense 3/4": lambda: Dense(33, 3, 4, seed=6),
    "dense 6/2": lambda: Dense(17, 6, 2, seed=7),
    "dense one site": lambda: Dense(1, 3, 4, seed=7),
    "residual 3/3": lambda: Dense(20, 3, 3, residual=True, seed=8),
    "residual 6/2": lambda: Dense(17, 6, 2, residual=True, bias=False, seed=8),
    "made 40, 23": lambda: MADE(12, (40, 23), seed=9),
    "made shuffled": lambda: MADE(31, (25, 40), "random", np.random.default_rng(3).permutation(31).tolist(), seed=9),
    "made 1": lambda: MADE(5, (1,), seed=10),
    "made relu": lambda: MADE(7, (9, 1, 12), activation="relu", bias=False, seed=10),
    "made degrees 0": lambda: MADE(6, (5, 7), [[0, 0, 2, 2, 5], [0, 0, 0, 1, 4, 4, 5]], seed=11),
    "made one site": lambda: MADE(1, (3, 2), seed=11),
    "made 64": lambda: MADE(64, (70, 33), seed=12),
}


@functools.cache
def network(name):
    """Twice the weights it starts with and all slopes different: logits of order 1 and nothing cancels."""
    net, rng = NETWORKS[name](), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for step in net.stack:
            step.layer.weight.mul_(2)
            if step.slope is not None and step.slope.requires_grad:
                step.slope.copy_(torch.rand(len(step.slope), generator=rng) - 0.2)
    return net


@functools.cache
def reference(name, precision):
    program = ReferenceProgram(network(name).plan(), False, precision)
    program.rounded = ROUND[precision]
    return program


@functools.cache
def reference_spins(name, precision, count, first):
    return reference(name, precision).sample(count, SEED, first)[0]


def engine(cuda, name, precision="fp32", **layout):
    return CudaMasked(moved(network(name).plan(), cuda.device), precision, cuda.device, cuda.module, **layout)


def bytes_of(drawn):
    return [tensor.cpu().numpy().tobytes() for tensor in (drawn.spins, drawn.log_q, *drawn.kept)]


def check(cuda, actual, expected, precision, tolerance=1e-5, share=1.0):
    """Within the tolerance but for a few, and all within a bound. Real tensor cores cut a sum off where the emulation
    rounds it, and always towards 0, so on a GPU ten times as much is allowed."""
    tolerance *= 1 if cuda.emulated else 10
    few, bound = TIES[precision]
    error = (actual.cpu().double() - expected).abs().flatten()
    assert not error.isnan().any()
    assert (error > tolerance).double().mean() <= share * few
    assert error.max() <= max(bound, tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_samples_are_those_of_the_reference(cuda, name, precision):
    count, first = 70, 2**33 + 5
    drawn = engine(cuda, name, precision).draw(count, SEED, first)
    spins = drawn.spins.cpu()
    assert spins.abs().eq(1).all()
    assert (spins != reference_spins(name, precision, count, first)).any(1).sum() <= 1
    check(cuda, drawn.log_q, reference(name, precision).log_prob(spins), precision)


def pre_activations(plan: MaskedPlan, drawn, rounded):
    """Every layer's, by the first layers as a network of their own."""
    return [
        masked_logits(MaskedPlan(plan.num_sites, None, plan.layers[: l + 1]), drawn, rounded)
        for l in range(len(plan.layers))
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "name", ["one layer 33", "no hidden, reversed", "dense 3/4", "residual 6/2", "made shuffled", "made degrees 0"]
)
def test_kept_are_the_pre_activations(cuda, name, precision):
    plan = network(name).plan()
    drawn = engine(cuda, name, precision).draw(33, SEED, 0, keep=True)
    order = torch.arange(plan.num_sites) if plan.order is None else plan.order
    expected = pre_activations(plan, drawn.spins.cpu()[:, order].double(), ROUND[precision])
    assert len(drawn.kept) == len(expected)
    for kept, z in zip(drawn.kept, expected, strict=True):
        assert kept.dtype == torch.float32
        assert kept.shape == z.shape
        check(cuda, kept, z, precision, 5e-6, share=1 / 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_scoring_gives_the_bytes_of_drawing(cuda, name):
    for precision in PRECISIONS:
        one = engine(cuda, name, precision)
        drawn = one.draw(33, SEED, 7, keep=True)
        assert bytes_of(one.evaluate(drawn.spins.clone(), keep=True)) == bytes_of(drawn)
        assert one.evaluate(drawn.spins).kept == ()


LAYOUTS = [
    {"groups": 1, "parts": 1, "memory": 1},
    {"groups": 1, "parts": 8, "memory": 2},
    {"groups": 4, "parts": 2, "memory": 2},
    {"groups": 2, "parts": 3, "memory": 1},
    {"groups": 8, "parts": 1, "memory": 2},
]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["one layer 100", "dense 3/4", "residual 3/3", "made 64"])
def test_bytes_do_not_depend_on_layout_or_batch(cuda, name, precision):
    one, first = engine(cuda, name, precision, block_sites=8), 0
    whole = one.draw(70, SEED, 2**32 - 3, keep=True)
    for layout in LAYOUTS:
        other = engine(cuda, name, precision, block_sites=8, **layout).draw(70, SEED, 2**32 - 3, keep=True)
        assert bytes_of(other) == bytes_of(whole)
    for count in (1, 5, 33, 31):
        part = one.draw(count, SEED, 2**32 - 3 + first, keep=True)
        cut = [tensor[first : first + count] for tensor in (whole.spins, whole.log_q, *whole.kept)]
        assert bytes_of(part) == bytes_of(Drawn(cut[0], cut[1], tuple(cut[2:])))
        first += count


@pytest.mark.parametrize("name", ["one layer 33", "dense 2/13"])
def test_more_tiles_than_blocks(cuda, name):
    """Blocks of threads go from tile to tile; an emulated device holds few."""
    one, many = engine(cuda, name, groups=1), 1000 if cuda.emulated else 300_000
    drawn = one.draw(many, SEED, 3)
    for start in range(0, many, many // 5):
        part = one.draw(32, SEED, 3 + start)
        assert torch.equal(part.spins, drawn.spins[start : start + 32])
        assert torch.equal(part.log_q, drawn.log_q[start : start + 32])


@pytest.mark.parametrize("name", ["one layer 17", "made 1"])
def test_step_moves_the_index(cuda, name):
    one, step = engine(cuda, name), torch.tensor([2**33 - 2], device=cuda.device)
    assert bytes_of(one.draw(5, SEED, 9, step)) == bytes_of(one.draw(5, SEED, 2**33 + 7))
    step += 1
    assert bytes_of(one.draw(5, SEED, 9, step)) == bytes_of(one.draw(5, SEED, 2**33 + 8))


@pytest.mark.parametrize("block_sites", [1, 3, 5, 32])
@pytest.mark.parametrize("name", ["dense 3/4", "residual 6/2", "made shuffled"])
def test_blocks_of_any_size(cuda, name, block_sites):
    for precision in ("fp32", "bf16"):
        drawn = engine(cuda, name, precision, block_sites=block_sites).draw(33, SEED, 7)
        expected = engine(cuda, name, precision).draw(33, SEED, 7)
        assert (drawn.spins != expected.spins).any(1).sum() <= 1
        truth = reference(name, precision).log_prob(drawn.spins.cpu())
        check(cuda, drawn.log_q, truth, precision)


def test_weights_are_taken_in_place(cuda):
    for precision in PRECISIONS:
        for name in ("one layer 33", "residual 3/3"):
            plan = moved(network(name).plan(), cuda.device)
            other = moved(vf.networks.from_config({**network(name).config(), "seed": 77}).plan(), cuda.device)
            one = CudaMasked(other, precision, cuda.device, cuda.module)
            fresh = bytes_of(one.draw(5, SEED, 0))
            one.load(plan)
            assert bytes_of(one.draw(5, SEED, 0)) == bytes_of(engine(cuda, name, precision).draw(5, SEED, 0)) != fresh


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["one site", "two sites", "dense 2/1", "made 1", "made relu", "made degrees 0"])
def test_probabilities_sum_to_one(cuda, name, precision):
    sites = network(name).num_sites
    states = 1 - 2 * ((torch.arange(2**sites)[:, None] >> torch.arange(sites)) & 1)
    log_q = engine(cuda, name, precision).evaluate(states.to(cuda.device, torch.int8)).log_q
    assert abs(log_q.exp().sum().item() - 1) < 1e-6


@pytest.mark.parametrize("name", ["two sites", "dense 2/1", "made 1", "made degrees 0"])
def test_frequencies_are_the_probabilities(cuda, name):
    """G-test of all 2^N states against the float64 network."""
    sites, count = network(name).num_sites, 20_000
    states = 1 - 2 * ((torch.arange(2**sites)[:, None] >> torch.arange(sites)) & 1)
    expected = reference(name, "fp32").log_prob(states.to(torch.int8)).exp().numpy()
    spins = engine(cuda, name).draw(count, 5, 0).spins.cpu().numpy()
    seen = np.bincount((spins < 0) @ (1 << np.arange(sites)), minlength=2**sites)
    rare = expected * count < 5
    seen, expected = (np.append(x[~rare], x[rare].sum()) for x in (seen, expected * count))
    seen, expected = seen[expected > 0], expected[expected > 0]
    assert stats.power_divergence(seen, expected * count / expected.sum(), lambda_="log-likelihood").pvalue > 1e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_long_sums(cuda, precision):
    """Ten blocks of one layer, and prefixes of 30 and more steps."""
    for net in (Dense(300, seed=1), MADE(90, (270, 200), seed=1)):
        program = ReferenceProgram(net.plan(), False, precision)
        program.rounded = ROUND[precision]
        one = CudaMasked(moved(net.plan(), cuda.device), precision, cuda.device, cuda.module)
        drawn = one.draw(40, SEED, 0)
        check(cuda, drawn.log_q, program.log_prob(drawn.spins.cpu()), precision, 2e-5)
        assert one.evaluate(drawn.spins).log_q.equal(drawn.log_q)


def test_tails(cuda):
    """Logits of hundreds, of both signs, and spins against them."""
    for net in (Dense(40, seed=1), MADE(15, (20,), seed=1)):
        plan = net.plan()
        for layer in plan.layers:
            layer.weight.mul_(100 ** (1 / len(plan.layers)) * 5)
        spins = torch.from_numpy(np.random.default_rng(2).choice(np.int8([-1, 1]), (33, net.num_sites)))
        expected = ReferenceProgram(plan, False, "fp32").log_prob(spins)
        assert expected.max() < -500
        one = CudaMasked(moved(plan, cuda.device), "fp32", cuda.device, cuda.module)
        torch.testing.assert_close(one.evaluate(spins.to(cuda.device)).log_q.cpu(), expected, rtol=3e-6, atol=0)


def test_many_units_of_one_degree(cuda):
    """The weights inside a block stay where they are; and what cannot be done is refused."""
    plan = moved(MADE(2, (300, 290), seed=1).plan(), cuda.device)
    drawn = CudaMasked(plan, "fp32", cuda.device, cuda.module).draw(5, SEED, 0)
    expected = ReferenceProgram(moved(plan, "cpu"), False, "fp32").log_prob(drawn.spins.cpu())
    check(cuda, drawn.log_q, expected, "fp32")
    wide = moved(MADE(1, (4000,), seed=1).plan(), cuda.device)
    with pytest.raises(ValueError, match="too many units of one degree"):
        CudaMasked(wide, "fp32", cuda.device, cuda.module)


def test_no_samples_and_wrong_arguments(cuda):
    for name in ("one layer 17", "dense 3/4"):
        one = engine(cuda, name)
        assert one.draw(0, SEED, 0, keep=True).kept[-1].shape == (0, one.num_sites)
        with pytest.raises(ValueError, match="spins is"):
            one.evaluate(torch.ones((3, one.num_sites + 1), dtype=torch.int8, device=cuda.device))
        with pytest.raises(ValueError, match="groups"):
            engine(cuda, name, groups=9, parts=1).draw(5, SEED, 0)
    with pytest.raises(ValueError, match="fp16"):
        engine(cuda, "one layer 17", "fp16")
    with pytest.raises(ValueError, match=r"float64, expected torch\.float32"):
        CudaMasked(Dense(3).double().plan(), "fp32", cuda.device, cuda.module)


ON_GPU = pytest.mark.parametrize("cuda", [pytest.param("gpu", marks=pytest.mark.gpu)], indirect=True)


@ON_GPU
@pytest.mark.parametrize("name", ["one layer 100", "dense 3/4"])
def test_replays_of_a_graph(cuda, name):
    """Weights and indices move on between replays of one captured load and draw."""
    plan, step = moved(network(name).plan(), cuda.device), torch.zeros(1, dtype=torch.int64, device=cuda.device)
    one = CudaMasked(plan, "fp32", cuda.device, cuda.module)
    one.draw(300, SEED, 7, step, keep=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one.load(plan)
        drawn = one.draw(300, SEED, 7, step, keep=True)
    for _ in range(2):
        step += 300
        plan.layers[0].weight.mul_(0.5)
        graph.replay()
        fresh = CudaMasked(plan, "fp32", cuda.device, cuda.module)
        assert bytes_of(fresh.draw(300, SEED, 7 + int(step), keep=True)) == bytes_of(drawn)


@ON_GPU
@pytest.mark.parametrize("name", ["one layer 100", "dense 3/4"])
def test_more_than_2_to_31_spins(cuda, name):
    one = engine(cuda, name)
    count = 2**31 // one.num_sites + 1000
    drawn, tail = one.draw(count, SEED, 5), one.draw(70, SEED, 5 + count - 70)
    assert drawn.spins[-70:].equal(tail.spins)
    assert drawn.log_q[-70:].equal(tail.log_q)


def test_tables_are_as_wide_as_the_kernel_reads_them(cuda):
    degrees = tuple(layer.degree.numpy() for layer in network("dense 3/4").plan().layers)
    tables = stack_tables(Shape(33, degrees, (False,) * 3, (False,) * 3), False)
    lists = (tables.blocks, tables.tasks, tables.stages, tables.segments)
    assert tuple({len(row) for row in rows} for rows in lists) == tuple({n} for n in cuda.module.masked_table_ints)


def test_networks_that_no_table_can_hold():
    with pytest.raises(ValueError, match="layer 2 adds"):
        Shape(2, (np.arange(2), np.arange(2), np.array([1, 1])), (False,) * 3, (False, False, True))
    with pytest.raises(ValueError, match="unit p"):
        Shape(2, (np.array([0, 0]),), (False,), (False,))


def _case(name, precision, count, keep=False, given=False, **layout):
    def run(module):
        one = CudaMasked(network(name).plan(), precision, torch.device("cpu"), module, **layout)
        spins = torch.from_numpy(np.random.default_rng(1).choice(np.int8([-1, 1]), (count, one.num_sites)))
        drawn = one.evaluate(spins, keep) if given else one.draw(count, SEED, 0, keep=keep)
        return drawn.spins, drawn.log_q, *drawn.kept

    return run


# More tiles than an emulated device holds blocks, several warps, all blocks of sites.
BARRIER_CASES = {
    "single": _case("one layer 100", "fp32", 270, groups=2),
    "single kept": _case("one layer 33", "bf16", 40, keep=True, groups=1),
    "single given": _case("one layer 33", "tf32", 40, keep=True, given=True, groups=1),
    "stack": _case("dense 3/4", "fp32", 140, groups=1, parts=4, memory=1),
    "stack kept": _case("made shuffled", "bf16", 140, keep=True, groups=1, parts=3, memory=2),
    "stack given": _case("residual 3/3", "tf32", 140, given=True, groups=1, parts=4, memory=2),
}
