"""The H2ARNN family in the C++ engine: tables of the magnetisation and of prefixes, nested log-sigmoids and their
gradient. Sizes around the engine's own: 32 lanes, 8 rows of a product, ten tabulated sites."""

import copy
import functools
import itertools

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast import _cpu
from vanfast.networks import SK, CurieWeissInf, CurieWeissN, ExactH2, OneParameter
from vanfast.networks.sherrington_kirkpatrick import MOST_NESTINGS

ISAS = [isa for isa in _cpu.isas() if isa not in ("amx", "avx512_bf16")]  # distinct in float32
SIZES = [1, 2, 3, 17, 31, 33, 64, 100]
SEED, FIRST = 2**40 + 7, 2**32 - 100


def pairs(N, seed=0, fields=True):
    rng = np.random.default_rng(seed)
    J = np.triu(rng.normal(0, N**-0.5, (N, N)), 1)
    return vf.hamiltonians.Pairwise(J + J.T, rng.normal(0, 0.5, N) if fields else None)


def sk(N, k, beta=0.8, scale=0.1, **options):
    """A network away from its start, where the branches' innermost weights differ."""
    net = SK(pairs(N, fields=not options.get("z2")), beta, k=k, seed=N, **options)
    generator = torch.Generator().manual_seed(N + k)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return net


def curie_weiss(N, beta=1.2):
    return CurieWeissN(vf.hamiltonians.CurieWeiss(N, h=0.1), beta)


TABLES = {
    "cw_n": lambda: curie_weiss(100),
    "cw_n_one_site": lambda: curie_weiss(1),
    "cw_inf": lambda: CurieWeissInf(33, beta=1.3),
    "one_parameter": lambda: OneParameter(31, beta=0.6),
    "exact_h2": lambda: ExactH2(pairs(11), 1.4),
    "exact_h2_one_site": lambda: ExactH2(pairs(1), 1.4),
}
NESTS = {
    "rs": lambda: sk(33, 0),
    "1rsb": lambda: sk(17, 1),
    "2rsb_z2": lambda: sk(12, 2, z2=True),
    "3rsb_one_site": lambda: sk(1, 3),
    "5rsb": lambda: sk(13, 5),
    "most_nestings": lambda: sk(11, MOST_NESTINGS, scale=0.01),
    "1rsb_small": lambda: sk(64, 1, start="small", scale=0.02),
    # with a field: where symmetry makes a logit 0, its rounding decides which outcome counts as the likely one
    "1rsb_ladder": lambda: SK(vf.hamiltonians.IsingSquare(shape=(9, 3), field=0.1), 0.4, sparse=True),
}


def exact(net):
    return copy.deepcopy(net).double()


@functools.cache
def reference(name):
    return vf.Sampler((TABLES | NESTS)[name](), backend="reference").sample(64, seed=SEED, first=FIRST)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", TABLES)
def test_tables_are_drawn_as_by_the_reference(name, isa):
    """Thresholds and ln q are tabulated in float64, so nothing is rounded but the sum."""
    batch = vf.Sampler(TABLES[name](), backend="cpu", isa=isa).sample(64, seed=SEED, first=FIRST)
    truth = reference(name)
    assert torch.equal(batch.spins, truth.spins)
    torch.testing.assert_close(batch.log_q, truth.log_q, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NESTS)
def test_nests_are_drawn_as_by_the_reference(name, isa):
    batch = vf.Sampler(NESTS[name](), backend="cpu", isa=isa).sample(64, seed=SEED, first=FIRST)
    assert (batch.spins != reference(name).spins).any(1).sum() <= 1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize("N", SIZES)
def test_log_q_of_nests(N, k, isa):
    net = sk(N, k)
    batch = vf.Sampler(net, backend="cpu", isa=isa).sample(257, seed=SEED, first=FIRST)
    with torch.no_grad():
        error = (batch.log_q - exact(net).log_prob(batch.spins)).abs().max()
    assert error <= 1e-5 * N**0.5


@pytest.mark.parametrize("isa", ISAS)
def test_log_q_at_the_start_where_nestings_lie_far_from_zero(isa):
    """Linear nestings give Y near -8 in both branches, large terms that cancel."""
    net = SK(pairs(100), 1.5, k=2)
    batch = vf.Sampler(net, backend="cpu", isa=isa).sample(64, seed=1)
    with torch.no_grad():
        error = (batch.log_q - exact(net).log_prob(batch.spins)).abs().max()
    assert error <= 1e-5 * 100**0.5


@pytest.mark.parametrize("isa", ISAS)
def test_log_sigmoid(isa):
    """Site n - 2 reads ln sigma(shift +- 1e-3), the sign being the first spin's; no other pair is read. All pieces."""
    n = 12  # past the tabulated sites, so that a group of samples meets the kernel itself
    couplings, weight, shifts = np.zeros((n, n)), np.zeros((n, n, 2, 2)), np.zeros((n, n, 2, 1))
    couplings[0, n - 1] = couplings[n - 1, 0] = 1.0
    weight[n - 2, n - 1, 0] = 1e-3, 1.0
    for shift in (-1e4, -200.0, -30.0, *np.linspace(-20.1, 20.1, 403), 18.69, 18.71, 60.0, 1e4):
        truth = -np.logaddexp(0, -(np.float32(shift) + 1e-3 * np.array([1.0, -1.0])))
        shifts[n - 2, n - 1, 0], bias = shift, np.zeros(n)
        bias[n - 2] = -truth[0]  # so that the logit is what the kernel's value lacks
        engine = _cpu.nest_sampler(couplings, bias, np.zeros(n), weight, shifts, False, False, isa)
        spins = np.ones((2, n), dtype=np.int8)
        spins[1, 0] = -1
        up = engine.log_prob(spins)
        spins[:, n - 2] = -1
        logit = up - engine.log_prob(spins)  # ln q(+) - ln q(-)
        limit = 3e-7 * max(1.0, -shift)  # absolute, but for the size of the value
        np.testing.assert_allclose(logit, truth - truth[0], rtol=0, atol=limit, err_msg=f"{shift = }")


def test_infinite_and_undefined_parameters_are_refused():
    for value in (torch.inf, torch.nan):
        net = sk(14, 1)
        with torch.no_grad():
            net.weight.fill_(value)
        with pytest.raises(FloatingPointError, match="not finite"):
            vf.Sampler(net, backend="cpu").sample(10)


def same(a, b):
    return all(x.numpy().tobytes() == y.numpy().tobytes() for x, y in ((a.spins, b.spins), (a.log_q, b.log_q)))


@pytest.mark.parametrize("name", TABLES | NESTS)
def test_bytes_do_not_depend_on_batch_threads_or_chunks(name):
    net = (TABLES | NESTS)[name]()
    whole = vf.Sampler(net, backend="cpu", threads=1).sample(1024, seed=11)
    for threads, cuts in ((2, [1024]), (1, [1000, 24]), (2, [1, 7, 1000, 16]), (3, [500, 524])):
        first = 0
        for count in cuts:
            part = vf.Sampler(net, backend="cpu", threads=threads).sample(count, seed=11, first=first)
            piece = vf.sampler.Batch(whole.spins[first : first + count], whole.log_q[first : first + count], None)
            assert same(part, piece), (threads, count, first)
            first += count


def test_bytes_of_tiles_of_several_groups():
    """N = 120 has more parameters than a cache, so that four groups are drawn side by side."""
    net = sk(120, 2)
    whole = vf.Sampler(net, backend="cpu", threads=1).sample(640, seed=11)
    part = vf.Sampler(net, backend="cpu", threads=2).sample(40, seed=11, first=333)
    assert same(part, vf.sampler.Batch(whole.spins[333:373], whole.log_q[333:373], None))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", TABLES | NESTS)
def test_scoring_gives_the_bytes_of_sampling(name, isa):
    sampler = vf.Sampler((TABLES | NESTS)[name](), backend="cpu", isa=isa)
    batch = sampler.sample(70, seed=3)
    assert sampler.log_prob(batch.spins).numpy().tobytes() == batch.log_q.numpy().tobytes()


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(ISAS), reason="needs a CPU with AVX2 and AVX-512")
@pytest.mark.parametrize("name", TABLES | NESTS)
def test_vector_width_does_not_change_bytes(name):
    net = (TABLES | NESTS)[name]()
    assert same(*[vf.Sampler(net, backend="cpu", isa=isa).sample(200, seed=1) for isa in ("avx2", "avx512")])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "build",
    [
        lambda: ExactH2(pairs(12), 1.0),
        lambda: curie_weiss(12),
        lambda: OneParameter(12, beta=0.7),
        *(functools.partial(sk, 12, k) for k in range(4)),
        lambda: sk(13, 1, z2=True),
        lambda: SK(vf.hamiltonians.IsingSquare(shape=(4, 3)), 0.4, sparse=True),
    ],
)
def test_probabilities_add_up_to_one(build, isa):
    net = build()
    states = torch.tensor(list(itertools.product((-1, 1), repeat=net.num_sites)), dtype=torch.int8)
    log_q = vf.Sampler(net, backend="cpu", isa=isa).log_prob(states)
    assert abs(float(log_q.exp().sum()) - 1) < 2e-6
    with torch.no_grad():
        assert (log_q - exact(net).log_prob(states)).abs().max() < 3e-5


def test_exact_networks_follow_boltzmann():
    """ln q + beta E is the constant -ln Z on every state, to rounding in float64."""
    for ham, network in ((pairs(10), ExactH2), (vf.hamiltonians.CurieWeiss(10, J=1.3, h=-0.2), CurieWeissN)):
        batch = vf.Sampler(network(ham, 1.5), ham, backend="cpu").sample(500, seed=2)
        level = batch.log_q + 1.5 * batch.energy
        torch.testing.assert_close(
            level, torch.full_like(level, -vf.exact.enumerate(ham, 1.5).log_z), rtol=0, atol=1e-10
        )


def engine_gradient(net, weight, **options):
    kept = vf.Sampler(net, backend="cpu", **options).sample_and_keep(len(weight), seed=5, first=9)
    net.zero_grad()
    net.add_gradient(kept.gradient(weight))
    return kept, [parameter.grad for parameter in net.parameters()]


TRAINABLE = {
    **{f"k{k}_{N}": functools.partial(sk, N, k) for k in range(4) for N in (1, 2, 3, 10, 11, 33)},
    "k1_64": lambda: sk(64, 1),
    "k5_13": lambda: sk(13, 5),
    "most_nestings": lambda: sk(11, MOST_NESTINGS, scale=0.01),
    "z2": lambda: sk(17, 1, z2=True),
    "couplings": lambda: sk(34, 1, learn_couplings=True),
    "couplings_tabulated": lambda: sk(7, 2, learn_couplings=True, z2=True),
    "sparse": lambda: SK(vf.hamiltonians.IsingSquare(shape=(5, 3)), 0.4, sparse=True),
    "lattice": lambda: SK(vf.hamiltonians.IsingSquare(shape=(5, 4), field=0.2), 0.4, k=2),
    "lattice_couplings": lambda: SK(vf.hamiltonians.IsingSquare(shape=(5, 4)), 0.4, learn_couplings=True),
    "one_parameter": lambda: OneParameter(33, beta=0.6),
    "cw_inf": lambda: CurieWeissInf(17, beta=1.2),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", TRAINABLE)
def test_gradient_is_that_of_autograd(name, isa):
    net = TRAINABLE[name]()
    weight = torch.randn(300, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kept, mine = engine_gradient(net, weight, isa=isa)
    truth = exact(net)
    truth.zero_grad()
    (weight * truth.log_prob(kept.spins)).sum().backward()
    largest = max(1.0, *(float(p.grad.abs().max()) for p in truth.parameters() if p.numel()))
    for ours, parameter in zip(mine, truth.parameters(), strict=True):
        if parameter.numel():  # one site has no pairs
            torch.testing.assert_close(ours.double(), parameter.grad, rtol=1e-4, atol=3e-6 * largest)


@pytest.mark.parametrize("name", ["k1_33", "couplings", "z2", "cw_inf"])
def test_threads_do_not_change_the_gradients_bytes(name):
    net, weight = TRAINABLE[name](), torch.randn(900, dtype=torch.float64)
    _, one = engine_gradient(net, weight, threads=1)
    for threads in (2, 5):
        for a, b in zip(one, engine_gradient(net, weight, threads=threads)[1], strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()


def test_keeping_changes_no_sample():
    for name in ("z2", "k1_33", "cw_inf"):
        sampler = vf.Sampler(TRAINABLE[name](), backend="cpu")
        kept, plain = sampler.sample_and_keep(37, seed=5, first=9), sampler.sample(37, seed=5, first=9)
        assert torch.equal(kept.spins, plain.spins)
        assert torch.equal(kept.log_q, plain.log_q)


def test_training_differentiates_in_the_engine():
    """From the paper's start to below half of the distance to the exact free energy; nothing is left to autograd."""
    ham = pairs(12)
    net = SK(ham, 1.0, k=1, start="small", seed=0)
    assert vf.Sampler(net, ham, backend="cpu").sample_and_keep(1) is not None
    vf.train(net, ham, beta=1.0, steps=150, batch=500, learning_rate=0.02, seed=0, progress=False, backend="cpu")
    batch = vf.Sampler(net, ham, backend="cpu").sample(20_000, seed=9)
    excess = float((batch.log_q + batch.energy).mean()) + vf.exact.enumerate(ham, 1.0).log_z
    assert -0.01 < excess < 0.5


def test_what_the_module_and_the_backend_refuse():
    n, good = 3, {}
    good = {
        "couplings": np.zeros((n, n)),
        "bias": np.zeros(n),
        "direct": np.zeros(n),
        "weight": np.zeros((n, n, 2, 3)),
        "shift": np.zeros((n, n, 2, 2)),
    }
    _cpu.nest_sampler(**good, learn_couplings=False, z2=False, isa="")
    for change, message in (
        ({"couplings": np.eye(n)}, "symmetric with a zero diagonal"),
        ({"couplings": np.triu(np.ones((n, n)), 1)}, "symmetric"),
        ({"direct": np.zeros(2)}, "direct has the wrong shape"),
        ({"weight": np.zeros((n, n, 2, 2))}, "weight has the wrong shape"),
        ({"shift": np.zeros((n, n, 2, 33))}, "levels from 1 to 32"),
        ({"bias": np.zeros(0)}, r"bias must be \[num_sites\]"),
    ):
        with pytest.raises(ValueError, match=message):
            _cpu.nest_sampler(**(good | change), learn_couplings=False, z2=False, isa="")
    with pytest.raises(ValueError, match=r"logits must be \[num_sites, num_sites\]"):
        _cpu.magnetization_sampler(np.zeros((2, 3)), False, "")
    for size in (0, 2, 8):
        with pytest.raises(ValueError, match=r"logits must be \[2\^num_sites - 1\]"):
            _cpu.prefix_sampler(np.zeros(size), False, "")
    with pytest.raises(ValueError, match="SK has no matrix products"):
        vf.Sampler(sk(5, 1), backend="cpu", precision="bf16")
    with pytest.raises(ValueError, match="float64"):
        vf.Sampler(exact(sk(5, 1)), backend="cpu")
    assert len(vf.Sampler(exact(OneParameter(5)), backend="cpu").sample(3)) == 3
    assert vf.Sampler(ExactH2(pairs(5), 1.0), backend="cpu").sample_and_keep(3) is None
