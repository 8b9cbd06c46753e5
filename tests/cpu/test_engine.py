"""The C++ engine against the slow truth, and the contract of design.md, section 5: equal bytes however it is called."""

import copy
import functools
import signal
import threading

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast import _cpu

from .conftest import MIXTURES, build

ISAS = ["amx_model", *_cpu.isas()]
COUNT, SEED, FIRST = 133, 2**40 + 7, 2**32 - 100
FLOAT_ISAS = [isa for isa in ISAS if isa != "amx_model"]  # the model differs from base in bf16 only


def log_q64(net, spins):
    """ln q in float64, from the network's own forward pass."""
    with torch.no_grad():
        return copy.deepcopy(net).double().log_prob(spins)


@functools.cache
def reference_batch(name, precision):
    """133 samples, in five tiles and across the index 2^32; drawn once per network, for it is slow."""
    sampler = vf.Sampler(build(name), backend="reference", precision=precision)
    return sampler.sample(COUNT, seed=SEED, first=FIRST)


def same(a, b):
    return all(x.numpy().tobytes() == y.numpy().tobytes() for x, y in ((a.spins, b.spins), (a.log_q, b.log_q)))


@pytest.mark.parametrize("isa", FLOAT_ISAS)
def test_samples_are_those_of_the_reference(request, net, isa):
    drawn = vf.Sampler(net, backend="cpu", isa=isa).sample(COUNT, seed=SEED, first=FIRST)
    truth = reference_batch(request.node.callspec.params["net"], "fp32")
    assert drawn.spins.abs().eq(1).all()
    assert (drawn.spins != truth.spins).any(dim=1).sum() <= 1
    torch.testing.assert_close(drawn.log_q, log_q64(net, drawn.spins), rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_scoring_gives_the_bytes_of_sampling(layered_net, isa, precision):
    check_scoring(layered_net, isa, precision)


@pytest.mark.parametrize("isa", FLOAT_ISAS)
@pytest.mark.parametrize("name", MIXTURES)
def test_scoring_of_mixtures(name, isa):
    check_scoring(build(name), isa, "fp32")


def check_scoring(net, isa, precision):
    sampler = vf.Sampler(net, backend="cpu", isa=isa, precision=precision)
    batch = sampler.sample(70, seed=3)
    assert sampler.log_prob(batch.spins).numpy().tobytes() == batch.log_q.numpy().tobytes()


def test_bytes_do_not_depend_on_batch_threads_or_chunks(net):
    check_bytes(net, "fp32")


def test_bytes_in_bf16(layered_net):
    check_bytes(layered_net, "bf16")


def check_bytes(net, precision):
    whole = vf.Sampler(net, backend="cpu", threads=1, precision=precision).sample(1024, seed=11)
    for threads, cuts in ((2, [1024]), (1, [1000, 24]), (2, [1, 7, 1000, 16]), (3, [500, 524]), (1, [1, 1, 1])):
        sampler = vf.Sampler(net, backend="cpu", threads=threads, precision=precision)
        first = 0
        for count in cuts:
            part = sampler.sample(count, seed=11, first=first)
            piece = vf.sampler.Batch(whole.spins[first : first + count], whole.log_q[first : first + count], None)
            assert same(part, piece), (threads, count, first)
            first += count


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(ISAS), reason="needs a CPU with AVX2 and AVX-512")
def test_vector_width_does_not_change_bytes(net):
    batches = [vf.Sampler(net, backend="cpu", isa=isa).sample(200, seed=1) for isa in ("avx2", "avx512")]
    assert same(*batches)


def test_bf16_is_the_rounded_network(request, layered_net):
    """Every set against the float64 reference with the same roundings; sums in float32 move a few next roundings."""
    reference = vf.Sampler(layered_net, backend="reference", precision="bf16")
    exact = reference_batch(request.node.callspec.params["layered_net"], "fp32")
    scale = max(1e-5, float((reference.log_prob(exact.spins) - exact.log_q).abs().max()))  # what rounding does
    for isa in ISAS:
        batch = vf.Sampler(layered_net, backend="cpu", precision="bf16", isa=isa).sample(300, seed=4)
        scored = reference.log_prob(batch.spins)
        error = (batch.log_q - scored).abs()
        assert error.median() <= 0.1 * scale + 1e-5, (isa, float(error.median()), scale)
        assert error.max() <= 1.5 * scale + 1e-5, (isa, float(error.max()), scale)


def test_bf16_differs_from_fp32_where_there_are_products():
    torch.manual_seed(0)
    net = vf.networks.PixelCNN((6, 6), depth=3, width=16, half_kernel=3, z2=False)
    fp32, bf16 = (vf.Sampler(net, backend="cpu", precision=p).sample(64, seed=0) for p in ("fp32", "bf16"))
    assert not torch.equal(fp32.log_q, bf16.log_q)


def test_energy_comes_with_the_samples():
    torch.manual_seed(0)
    ham = vf.hamiltonians.IsingSquare(L=5, field=0.3)
    batch = vf.Sampler(vf.networks.PixelCNN((5, 5), 2, 3, 1, z2=True), ham, backend="cpu").sample(75, seed=1, first=3)
    assert torch.equal(batch.energy, ham.energy(batch.spins))


TAILS = torch.tensor([0.0, -0.0, 1e-8, -1e-3, 0.5, -5.0, 15.0, -22.0, 40.0, 80.0, -86.0, 300.0, -1e4])


@pytest.fixture(scope="module")
def tails():
    """Independent sites with these logits, and samples by the reference."""
    net = vf.networks.Factorised(len(TAILS))
    with torch.no_grad():
        next(net.parameters()).copy_(TAILS.view_as(next(net.parameters())))
    return net, vf.Sampler(net, backend="reference").sample(20_000, seed=0)


@pytest.mark.parametrize("isa", FLOAT_ISAS)
def test_tails_of_the_draw_rule(isa, tails):
    """ln q to full relative precision from certain to impossible spins, and thresholds that are right where P -> 0."""
    (net, truth), logits = tails, TAILS
    batch = vf.Sampler(net, backend="cpu", isa=isa).sample(20_000, seed=0)
    assert torch.equal(batch.spins, truth.spins)
    frequency = (batch.spins == 1).double().mean(0)
    assert (frequency[7:] == (logits[7:] > 0).double()).all()
    for spins in (torch.where(logits >= 0, 1, -1), torch.where(logits >= 0, -1, 1)):
        for i in range(len(logits)):  # one site off at a time, so that small terms are not drowned
            single = vf.networks.Factorised(1)
            with torch.no_grad():
                next(single.parameters()).fill_(float(logits[i]))
            ours = vf.Sampler(single, backend="cpu", isa=isa).log_prob(spins[i : i + 1])
            exact = torch.nn.functional.logsigmoid(spins[i].double() * logits[i].double())
            torch.testing.assert_close(ours[0], exact, rtol=5e-7, atol=1e-37)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("conv", "fp32"),
        ("conv", "bf16"),
        ("dense", "fp32"),
        ("dense", "bf16"),
        ("made", "fp32"),
        ("mixture", "fp32"),
        ("one_layer", "fp32"),
    ],
)
def test_frequencies_follow_q(isa, name, precision):
    """G-test of all 2^9 states of a 3 x 3 system against exp(log_q)."""
    torch.manual_seed(1)
    net = {
        "conv": lambda: vf.networks.PixelCNN((3, 3), 3, 6, 2, z2=True),
        "dense": lambda: vf.networks.Dense(9, 2, 3, z2=True),
        "made": lambda: vf.networks.MADE(9, (12,), order=[8, 1, 5, 0, 2, 7, 3, 4, 6]),
        "mixture": lambda: vf.networks.BernoulliMixture(9, 3),
        "one_layer": lambda: vf.networks.Dense(9),
    }[name]()
    sampler = vf.Sampler(net, backend="cpu", isa=isa, precision=precision)
    states = torch.from_numpy(1 - 2 * ((np.arange(512)[:, None] >> np.arange(9)) & 1)).to(torch.int8)
    q = sampler.log_prob(states).exp().numpy()
    assert abs(q.sum() - 1) < 1e-5
    count = 40_000
    spins = sampler.sample(count, seed=6).spins.numpy()
    observed = np.bincount(((spins < 0) << np.arange(9)).sum(1), minlength=512)
    kept = observed > 0
    g = 2 * (observed[kept] * np.log(observed[kept] / (count * q[kept] / q.sum()))).sum()
    assert g < 511 + 5 * np.sqrt(2 * 511), g


def test_memory_grows_with_height_by_spins_alone():
    """Only k + 1 rows of activations per layer are kept; spins take 4 bytes a site and lane."""
    bytes_at = {
        height: vf.Sampler(vf.networks.PixelCNN((height, 8), 3, 16, 2), backend="cpu").program.bytes_per_thread
        for height in (4, 8, 64)
    }
    spins = {height: 32 * 4 * height * 8 for height in bytes_at}
    rows = {height: bytes_at[height] - spins[height] for height in bytes_at}
    assert rows[4] == rows[8] == rows[64]
    # k + 1 rows of activations and one of sums for the hidden layer, k + 1 rows of logits, and single-site buffers
    assert rows[4] <= 32 * 4 * ((3 + 1) * 8 * 16 + 3 * 8 + 20 * 16)


def test_absurd_numbers_of_threads_are_harmless():
    net = vf.networks.Dense(5)
    few, many = (vf.Sampler(net, backend="cpu", threads=threads).sample(70, seed=1) for threads in (1, 2**31 - 1))
    assert same(few, many)


def test_overflowing_networks_are_refused():
    net = vf.networks.PixelCNN((4, 4), 3, 4, 1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 1e30
    with pytest.raises(FloatingPointError, match="not finite"):
        vf.Sampler(net, backend="cpu").sample(10)


def test_empty_and_refused_calls():
    net = vf.networks.Dense(5)
    sampler = vf.Sampler(net, backend="cpu")
    assert sampler.sample(0).spins.shape == (0, 5)
    with pytest.raises(ValueError, match="isa = 'sse9' is not available"):
        vf.Sampler(net, backend="cpu", isa="sse9")
    with pytest.raises(ValueError, match="tf32"):
        vf.Sampler(net, backend="cpu", precision="tf32")
    with pytest.raises(ValueError, match="float64"):
        vf.Sampler(copy.deepcopy(net).double(), backend="cpu")


def test_the_module_checks_what_it_is_given():
    good = {
        "weight": np.zeros((3, 3)),
        "bias": None,
        "slope": None,
        "skip": False,
        "local": False,
        "degree": np.arange(3),
    }
    _cpu.masked_sampler(3, [good], None, False, False, "")
    cases = [
        ({"weight": np.ones((3, 3))}, "masked entries must be zero"),
        ({"weight": np.zeros((3, 2))}, "wrong shape"),
        ({"degree": np.array([0, 1, 3])}, "degree must lie in"),
        ({"degree": np.array([0, 2, 1])}, "must not decrease"),
        ({"degree": np.array([0, 1, 1])}, "unit p must have degree p"),
        ({"skip": True}, "skip needs two layers"),
        ({"bias": np.zeros(2)}, "bias has the wrong shape"),
    ]
    for change, message in cases:
        with pytest.raises(ValueError, match=message):
            _cpu.masked_sampler(3, [good | change], None, False, False, "")
    with pytest.raises(ValueError, match="permutation"):
        _cpu.masked_sampler(3, [good], np.array([0, 1, 1]), False, False, "")
    with pytest.raises(ValueError, match="at least one layer"):
        _cpu.masked_sampler(3, [], None, False, False, "")
    sampler = _cpu.masked_sampler(3, [good], None, False, False, "")
    with pytest.raises(ValueError, match="must not exceed"):
        sampler.sample(5, 0, 2**64 - 3)
    with pytest.raises(ValueError, match="has 4 sites"):
        sampler.sample(5, 0, 0, 1, vf.hamiltonians.IsingSquare(shape=(2, 2)).native)


def test_ctrl_c_ends_a_long_call():
    """A signal during a call of minutes raises KeyboardInterrupt within a fraction of a second."""
    net = vf.networks.PixelCNN((16, 16), 3, 64, 6, z2=False)
    sampler = vf.Sampler(net, backend="cpu", threads=2)
    sampler.sample(1)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        sampler.sample(200_000)
    timer.join()
    assert len(sampler.sample(5)) == 5


def test_the_last_sample_indices(net):
    sampler = vf.Sampler(net, backend="cpu")
    last = sampler.sample(40, seed=1, first=2**64 - 40)
    for first, count in ((2**64 - 1, 1), (2**64 - 33, 33), (2**64 - 32, 31)):
        part = sampler.sample(count, seed=1, first=first)
        at = first - (2**64 - 40)
        assert torch.equal(part.spins, last.spins[at : at + count])
        assert torch.equal(part.log_q, last.log_q[at : at + count])
    with pytest.raises(ValueError, match="past the last sample index"):
        sampler.sample(np.int64(3), 0, np.uint64(2**64 - 1))
