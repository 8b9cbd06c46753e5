"""csrc/cuda/conv_sample.cu, run under csrc/emulation or on a GPU, against the float64 reference and itself."""

import copy

import pytest
import torch
from torch.nn import functional

from vanfast.backends.engines.base import to_tf32
from vanfast.backends.engines.cuda_conv import CudaConv
from vanfast.backends.reference import conv_logits, identity, to_bf16
from vanfast.networks import PixelCNN
from vanfast.networks.plan import moved
from vanfast.random import draw_spins, random_words

SEED = 2**40 + 7
NETWORKS = {
    "one_site": lambda: PixelCNN((1, 1), depth=3, width=2, half_kernel=2),
    "one_row": lambda: PixelCNN((1, 13), depth=3, width=3, half_kernel=4),
    "one_column": lambda: PixelCNN((13, 1), depth=3, width=17, half_kernel=2),
    "kernel_larger_than_lattice": lambda: PixelCNN((2, 3), depth=3, width=3, half_kernel=5),
    "kernel_of_two_fragments": lambda: PixelCNN((3, 19), depth=3, width=1, half_kernel=17),
    "depth_1": lambda: PixelCNN((4, 5), depth=1, width=1, half_kernel=1),
    "depth_1_one_row": lambda: PixelCNN((1, 7), depth=1, width=1, half_kernel=3),
    "depth_2": lambda: PixelCNN((3, 7), depth=2, width=9, half_kernel=2),
    "width_1": lambda: PixelCNN((4, 3), depth=3, width=1, half_kernel=1),
    "width_17": lambda: PixelCNN((5, 6), depth=3, width=17, half_kernel=2),
    "width_20_no_bias": lambda: PixelCNN((4, 4), depth=4, width=20, half_kernel=1, bias=False),
    "width_35": lambda: PixelCNN((3, 5), depth=3, width=35, half_kernel=1),
    "residual": lambda: PixelCNN((4, 6), depth=5, width=11, half_kernel=3, residual=True),
    "residual_no_bias": lambda: PixelCNN((3, 4), depth=4, width=20, half_kernel=1, residual=True, bias=False),
}
LARGE = {"width_64": lambda: PixelCNN((4, 4), depth=3, width=64, half_kernel=6)}
PRECISIONS = ("fp32", "tf32", "bf16")
ROUNDED = {"fp32": identity, "tf32": lambda x: to_tf32(x.float()).double(), "bf16": to_bf16}
# Of log q. A tf32 or bf16 kernel whose sum differs from the reference's in its last bits may round the other way.
TOLERANCE = {"fp32": 3e-6, "tf32": 2e-4, "bf16": 2e-3}


def network(name):
    torch.manual_seed(sum(map(ord, name)))
    net = (NETWORKS | LARGE)[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def engine(cuda, net, precision="fp32", shared_limit=0):
    return CudaConv(moved(net.plan(), cuda.device), precision, cuda.device, cuda.module, shared_limit)


def same(a, b):
    return a.numpy(force=True).tobytes() == b.numpy(force=True).tobytes()


def check_draw(cuda, name, precision, count, first, shared_limit=0):
    """log q of what was drawn, and every spin from the reference's logit and the same word; gives the engine."""
    net = network(name)
    tested = engine(cuda, net, precision, shared_limit)
    drawn = tested.draw(count, SEED, first)
    spins = drawn.spins.cpu()
    assert spins.abs().eq(1).all()
    logits = conv_logits(net.plan(), spins.double(), ROUNDED[precision])
    truth = functional.logsigmoid(spins * logits).sum(1)
    torch.testing.assert_close(drawn.log_q.cpu(), truth, rtol=1e-6, atol=TOLERANCE[precision])
    words = random_words(SEED, first, count, tested.num_sites)
    wrong = int((draw_spins(logits.numpy(), words) != spins.numpy()).sum())
    assert wrong <= (0 if precision == "fp32" else spins.numel() // 1000)
    assert same(tested.evaluate(drawn.spins).log_q, drawn.log_q)
    return tested


@pytest.mark.parametrize(("count", "first"), [(1, 0), (37, 2**33 + 5)])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_draws_are_those_of_the_reference(cuda, name, precision, count, first):
    check_draw(cuda, name, precision, count, first)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_wide_network(cuda, precision):
    check_draw(cuda, "width_64", precision, 5, 7)


def test_tolerances_tell_the_precisions_apart():
    """Else a bf16 kernel that does not round, or a tf32 kernel that rounds to bf16, would pass."""
    net = network("width_17")
    spins = torch.randint(0, 2, (17, 30)).double() * 2 - 1
    results = {
        precision: functional.logsigmoid(spins * conv_logits(net.plan(), spins, rounded)).sum(1)
        for precision, rounded in ROUNDED.items()
    }
    assert (results["bf16"] - results["tf32"]).abs().max() > 4 * TOLERANCE["bf16"]
    assert (results["tf32"] - results["fp32"]).abs().max() > 2 * TOLERANCE["tf32"]


@pytest.mark.parametrize("name", ["width_17", "residual", "depth_1"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_bytes_do_not_depend_on_how_samples_are_asked_for(cuda, name, precision):
    tested, first = engine(cuda, network(name), precision), 2**33 + 5
    whole = tested.draw(70, SEED, first)
    begin = 0
    for count in (1, 5, 17, 16, 31):
        part = tested.draw(count, SEED, first + begin)
        assert same(part.spins, whole.spins[begin : begin + count])
        assert same(part.log_q, whole.log_q[begin : begin + count])
        begin += count
    some = torch.tensor([69, 3, 3, 50], device=cuda.device)
    assert same(tested.evaluate(whole.spins[some]).log_q, whole.log_q[some])


def test_step_moves_the_sample_index(cuda):
    tested = engine(cuda, network("depth_2"))
    for first, step in ((3, 30), (2**40, -5), (0, 2**62)):
        moved_on = tested.draw(5, SEED, first, step=torch.tensor([step], device=cuda.device))
        at_once = tested.draw(5, SEED, first + step)
        assert same(moved_on.spins, at_once.spins)
        assert same(moved_on.log_q, at_once.log_q)
    assert len({tuple(tested.draw(1, SEED, n).spins[0].tolist()) for n in range(8)}) > 4


@pytest.mark.parametrize("name", ["width_17", "residual", "residual_no_bias", "depth_1", "depth_2"])
def test_kept_are_the_networks_pre_activations(cuda, name):
    net = network(name)
    tested = engine(cuda, net)
    drawn = tested.draw(17, SEED, 7, keep=True)
    outputs = []
    truth = copy.deepcopy(net).double()
    for step in truth.stack:
        step.layer.register_forward_hook(lambda module, args, out: outputs.append(out))
    with torch.no_grad():
        truth.z2 = False
        truth.log_prob(drawn.spins.cpu())
    assert len(outputs) == len(drawn.kept)
    for kept, out in zip(drawn.kept[:-1], outputs[:-1], strict=True):
        torch.testing.assert_close(kept.cpu().double(), out.permute(0, 2, 3, 1), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(drawn.kept[-1].cpu().double(), outputs[-1].flatten(1), rtol=1e-5, atol=2e-6)
    again = tested.evaluate(drawn.spins, keep=True)
    assert all(same(a, b) for a, b in zip(drawn.kept, again.kept, strict=True))
    assert same(drawn.spins, tested.draw(17, SEED, 7).spins)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_probabilities_of_all_states_sum_to_one(cuda, precision):
    torch.manual_seed(4)
    tested = engine(cuda, PixelCNN((3, 3), depth=3, width=3, half_kernel=1), precision)
    states = (torch.arange(2**9)[:, None] >> torch.arange(9) & 1).to(torch.int8) * 2 - 1
    log_q = tested.evaluate(states.to(cuda.device)).log_q
    assert abs(float(log_q.exp().sum()) - 1) < 2e-6
    assert float(log_q.std()) > 0.1


def test_loading_other_weights(cuda):
    net, other = network("residual"), network("residual")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1
    tested = engine(cuda, net, "bf16")
    before = tested.draw(5, SEED, 0)
    tested.load(moved(other.plan(), cuda.device))
    after = tested.draw(5, SEED, 0)
    assert not same(before.log_q, after.log_q)
    assert same(after.log_q, engine(cuda, other, "bf16").draw(5, SEED, 0).log_q)


@pytest.mark.parametrize(
    ("name", "precision", "limit", "in_workspace"),
    [
        ("width_64", "bf16", 41_000, False),
        ("width_64", "fp32", 25_000, True),
        ("width_35", "tf32", 30_000, False),
        ("width_35", "bf16", 15_000, True),
        ("one_row", "fp32", 11_600, True),
        ("residual", "fp32", 31_000, False),
        ("residual", "bf16", 13_000, True),
    ],
)
def test_less_shared_memory(cuda, name, precision, limit, in_workspace):
    """Fewer sites and taps a stage; weights of the scan, then also sums, spins and logits outside of shared memory."""
    tested = check_draw(cuda, name, precision, 5, 7, limit)
    assert tested.native.shared_bytes <= limit
    assert tested.native.in_workspace is in_workspace
    assert tested.native.cached_bytes < tested.native.scan_bytes


def test_refusals(cuda):
    net = network("width_17")
    with pytest.raises(ValueError, match="shared memory"):
        engine(cuda, net, shared_limit=5_000)
    with pytest.raises(ValueError, match="fp16"):
        engine(cuda, net, "fp16")
    tested = engine(cuda, net)
    with pytest.raises(ValueError, match="int8"):
        tested.evaluate(torch.ones((3, 30), device=cuda.device))
    with pytest.raises(ValueError, match="30"):
        tested.evaluate(torch.ones((3, 29), dtype=torch.int8, device=cuda.device))


def test_no_samples(cuda):
    drawn = engine(cuda, network("depth_2")).draw(0, SEED, 0, keep=True)
    assert drawn.spins.shape == (0, 21)
    assert [tuple(kept.shape) for kept in drawn.kept] == [(0, 3, 7, 9), (0, 21)]


def barrier_case(name, precision, count):
    def run(module):
        net = network(name)
        tested = CudaConv(net.plan(), precision, torch.device("cpu"), module)
        drawn = tested.draw(count, SEED, 5, keep=True)
        scored = tested.evaluate(drawn.spins, keep=True)
        return (drawn.spins, drawn.log_q, *drawn.kept, scored.log_q)

    return run


BARRIER_CASES = {
    "depth_1": barrier_case("depth_1", "fp32", 5),
    "hidden": barrier_case("kernel_larger_than_lattice", "tf32", 20),
    "residual": barrier_case("residual_no_bias", "bf16", 5),
}
