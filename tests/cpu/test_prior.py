"""The star prior in the C++ engine: against the reference, bytes, gradients, all instruction sets."""

import copy

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast import _cpu
from vanfast.hamiltonians import EdwardsAnderson, IsingSquare, IsingTriangular, Pairwise, SherringtonKirkpatrick
from vanfast.networks import MADE, Dense, PixelCNN

from .test_engine import COUNT, FIRST, FLOAT_ISAS, ISAS, SEED, check_bytes, check_scoring, log_q64, same
from .test_gradient import engine_gradient


def random_system(N, bonds=None, fields=True):
    rng = np.random.default_rng(N)
    J = np.triu(rng.normal(0, N**-0.5, (N, N)), 1)
    if bonds is not None:
        J *= 3 * (rng.random((N, N)) < bonds / N)
    return Pairwise(J + J.T, rng.normal(0, 0.5, N) if fields else None)


def star(kind, *sizes, ham, beta, **options):
    return kind(*sizes, prior="star", ham=ham, beta=beta, **options)


ORDER = torch.randperm(37, generator=torch.Generator().manual_seed(0)).tolist()
NETWORKS = {
    "conv": lambda: star(PixelCNN, (5, 7), 3, 9, 2, z2=False, ham=IsingSquare(shape=(5, 7), field=0.2), beta=0.5),
    "conv_z2": lambda: star(PixelCNN, (6, 4), 4, 5, 1, residual=True, ham=IsingSquare(shape=(6, 4)), beta=0.44),
    "conv_depth_1": lambda: star(PixelCNN, (4, 5), 1, 1, 1, z2=False, ham=random_system(20), beta=0.7),
    "conv_triangular": lambda: star(PixelCNN, (5, 5), 2, 3, 1, ham=IsingTriangular(5, coupling=-1), beta=0.6),
    "conv_one_site": lambda: star(PixelCNN, (1, 1), 3, 2, 2, z2=False, ham=random_system(1), beta=1.0),
    "dense": lambda: star(Dense, 33, 3, 4, ham=random_system(33), beta=0.8),
    "dense_z2": lambda: star(Dense, 31, z2=True, ham=SherringtonKirkpatrick(31, seed=2), beta=1.2),
    "dense_sparse": lambda: star(Dense, 20, 6, 2, residual=True, ham=random_system(20, bonds=3), beta=1.0),
    "dense_larger": lambda: star(Dense, 64, ham=SherringtonKirkpatrick(64), beta=0.6),
    "made_ordered": lambda: star(MADE, 37, (70, 9), order=ORDER, ham=random_system(37), beta=0.7),
    "made_ordered_sparse_z2": lambda: star(
        MADE, 37, (40,), order=ORDER, z2=True, ham=random_system(37, bonds=3, fields=False), beta=1.0
    ),
    "made_no_couplings": lambda: star(MADE, 10, (8,), ham=Pairwise(np.zeros((10, 10)), 0.3), beta=1.0),
}


def build(name):
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


@pytest.fixture(params=NETWORKS)
def net(request):
    return build(request.param)


def test_samples_are_those_of_the_reference(net):
    truth = vf.Sampler(net, backend="reference").sample(COUNT, seed=SEED, first=FIRST)
    for isa in FLOAT_ISAS:
        drawn = vf.Sampler(net, backend="cpu", isa=isa).sample(COUNT, seed=SEED, first=FIRST)
        assert (drawn.spins != truth.spins).any(dim=1).sum() <= 1
        torch.testing.assert_close(drawn.log_q, log_q64(net, drawn.spins), rtol=1e-6, atol=5e-6)


def test_the_networks_bf16_leaves_the_prior_alone(net):
    reference = vf.Sampler(net, backend="reference", precision="bf16")
    for isa in ISAS:
        batch = vf.Sampler(net, backend="cpu", precision="bf16", isa=isa).sample(70, seed=4)
        error = (batch.log_q - reference.log_prob(batch.spins)).abs()
        assert error.median() < 5e-4
        assert error.max() < 0.02  # a middle of two bf16 numbers missed


@pytest.mark.parametrize("isa", FLOAT_ISAS)
def test_scoring_gives_the_bytes_of_sampling(net, isa):
    check_scoring(net, isa, "fp32")


def test_bytes_do_not_depend_on_batch_threads_or_chunks(net):
    check_bytes(net, "fp32")


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(ISAS), reason="needs a CPU with AVX2 and AVX-512")
def test_vector_width_does_not_change_bytes(net):
    batches = [vf.Sampler(net, backend="cpu", isa=isa).sample(200, seed=1) for isa in ("avx2", "avx512")]
    assert same(*batches)


@pytest.mark.parametrize("isa", FLOAT_ISAS)
def test_gradient_is_that_of_autograd(net, isa):
    weight = torch.randn(70, dtype=torch.float64)
    kept, mine = engine_gradient(net, weight, isa=isa)
    truth = copy.deepcopy(net).double()
    (weight * truth.log_prob(kept.spins)).sum().backward()
    largest = max(1.0, *(float(parameter.grad.abs().max()) for parameter in truth.parameters()))
    for ours, parameter in zip(mine, truth.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), parameter.grad, rtol=1e-4, atol=5e-6 * largest)


def pair_logits(isa, field, coupling):
    """2 artanh(tanh K tanh f) from the engine, for the pair's first site: ln q of two spins, K and f its own."""
    ham = Pairwise.from_edges(2, [(0, 1)], [coupling], [0.0, field])
    net = Dense(2, bias=False, prior="star", ham=ham, beta=1.0)
    with torch.no_grad():
        net.steps[0].layer.weight.zero_()
    spins = torch.tensor([[1, 1], [-1, 1]], dtype=torch.int8)
    # ln q(s) = ln sigmoid(s_0 a) + ln sigmoid(2 (f + K s_0)); the second is known in float64
    own = torch.nn.functional.logsigmoid(2 * (field + coupling * spins[:, 0].double()))
    log_q = vf.Sampler(net, backend="cpu", isa=isa).log_prob(spins) - own
    return float(log_q[0] - log_q[1])


@pytest.mark.parametrize("isa", FLOAT_ISAS)
def test_pairs_of_all_sizes(isa):
    for coupling in (1e-4, 0.03, 0.5, 1.0, 2.5, 2.501, 20.0, 60.0):
        for field in (0.0, 1e-3, 0.1, 0.5, 0.999, 1.001, 7.0, 30.0):
            for sign in (1, -1):
                plus, minus = (np.logaddexp(0, -2 * abs(field + s * coupling)) for s in (1, -1))
                exact = abs(field + coupling) + plus - abs(field - coupling) - minus
                found = pair_logits(isa, field, sign * coupling)
                scale = 1 + field + coupling  # ln q holds the second spin's part too, in float32
                assert found == pytest.approx(sign * exact, abs=4e-7 * scale), (coupling, field, sign)


@pytest.mark.parametrize("isa", FLOAT_ISAS)
def test_low_temperatures(isa):
    """Couplings of +-50: frustrated loops, where large terms of either sign meet, and no term's tail may be cut."""
    ham = EdwardsAnderson((4, 4), seed=1)
    net = star(PixelCNN, (4, 4), 1, 1, 1, z2=False, bias=False, ham=ham, beta=50.0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    batch = vf.Sampler(net, backend="cpu", isa=isa).sample(500, seed=2)
    torch.testing.assert_close(batch.log_q, log_q64(net, batch.spins), rtol=1e-6, atol=1e-5)
    spins = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (200, 16))).to(torch.int8)
    log_q = vf.Sampler(net, backend="cpu", isa=isa).log_prob(spins)
    torch.testing.assert_close(log_q, log_q64(net, spins), rtol=1e-6, atol=1e-5)


def test_a_thousand_coupled_sites():
    """Half a million terms stay within float32 roundings."""
    net = Dense(1000, bias=False, prior="star", ham=SherringtonKirkpatrick(1000, seed=5), beta=1.0)
    with torch.no_grad():
        net.steps[0].layer.weight.zero_()
    batch = vf.Sampler(net, backend="cpu").sample(32, seed=2)
    truth = log_q64(net, batch.spins)
    for isa in FLOAT_ISAS:
        sampler = vf.Sampler(net, backend="cpu", isa=isa)
        assert float((sampler.log_prob(batch.spins) - truth).abs().max()) < 6e-5
        assert sampler.program.bytes_per_thread > 1000 * 32 * 4 * 4  # its fields are counted


def change(prior, **changes):
    return {name: np.array(value) for name, value in {**prior, **changes}.items()}


def test_the_module_checks_what_it_is_given():
    net = build("made_no_couplings")
    plan = Dense(3, prior="star", ham=random_system(3), beta=1.0).plan()
    prior = {name: tensor.numpy() for name, tensor in vars(plan.prior).items()}
    layers = [
        {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in vars(layer).items()}
        for layer in plan.layers
    ]

    def make(prior):
        return _cpu.masked_sampler(3, layers, None, False, False, "", prior)

    make(prior)
    make(None)
    for changes, message in (
        ({"fields": [0.0, 1.0]}, "fields"),
        ({"start": [0, 0, 1]}, "start"),
        ({"start": [0, 1, 1, 3]}, "ascend and lie before"),
        ({"start": [0, 2, 1, 3]}, "not decrease"),
        ({"start": [0, 0, 1, 2]}, "number of pairs"),
        ({"sites": [0, 1, 0]}, "ascend"),
        ({"sites": [0, 0, 2]}, "lie before"),
        ({"sites": [0, -1, 1]}, "ascend"),
        ({"couplings": [1.0]}, "couplings"),
    ):
        with pytest.raises(ValueError, match=message):
            make(change(prior, **changes))
    assert net.prior.plan().sites.numel() == 0
