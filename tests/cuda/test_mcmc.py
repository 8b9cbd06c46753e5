"""CUDA Markov chains of single spins: the bytes of the CPU's chains of the same system with its sites renumbered."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import pytest
import torch

from tests.cuda.chains import backend_of, cpu_twin
from tests.cuda.conftest import Cuda
from tests.mcmc.systems import SYSTEMS, exact_samples, g_test, probabilities
from vanfast import hamiltonians as H
from vanfast.cli import main
from vanfast.mcmc import Chains, _device_run, run
from vanfast.mcmc._device_tables import colours
from vanfast.mcmc._tables import neighbours
from vanfast.mcmc.device import Planes
from vanfast.mcmc.kernels import refuses

ROOT = Path(__file__).parents[2]
LARGER = {
    "square 24x25": (H.IsingSquare(shape=(24, 25)), 0.44),  # three colours, of more sites than threads
    "square 26x26": (H.IsingSquare(26), 0.44),
    "square 9x8 open": (H.IsingSquare(shape=(9, 8), boundary="open"), 0.5),  # two, three and four bonds
    "triangular 9x9": (H.IsingTriangular(9, coupling=-1.0), 0.6),
    "cubic 5x4x3": (H.IsingCubic(shape=(5, 4, 3)), 5.0),  # probabilities far below 2^-32
    "eight bonds": (H.EdwardsAnderson((4, 2, 3, 2), seed=1), 0.5),
    "mean field": (H.CurieWeiss(16), 0.9),  # fifteen bonds, sixteen colours
    "gaussian 6x7": (H.EdwardsAnderson((6, 7), disorder="gaussian", seed=1, field=0.3), 1.0),
    "sk 150": (H.SherringtonKirkpatrick(150, seed=1), 1.2),  # two warps share the fields
}
ALL = SYSTEMS | LARGER
CASES = [
    (name, algorithm, kernel)
    for name, (ham, _) in ALL.items()
    for algorithm in ("metropolis", "heat_bath", "tempering")
    for kernel in ("planes", "sparse", "dense")
    if refuses(ham, algorithm, kernel, "cuda") is None and not (ham.num_sites > 160 and kernel == "dense")
]
SQUARE, SPARSE, GLASS = H.IsingSquare(shape=(5, 4)), LARGER["gaussian 6x7"][0], H.SherringtonKirkpatrick(17, seed=1)
EACH = [
    (SQUARE, "heat_bath", "planes"),
    (SPARSE, "metropolis", "sparse"),
    (SPARSE, "tempering", "sparse"),
    (GLASS, "heat_bath", "dense"),
    (GLASS, "tempering", "dense"),
    (SQUARE, "wolff", "clusters"),
    (SQUARE, "swendsen_wang", "clusters"),
]
IDS = [f"{algorithm}-{kernel}" for _, algorithm, kernel in EACH]
OPTIONS = {"sweeps": 6, "burn_in": 5, "thin": 2, "seed": 2**63 + 5}


@pytest.fixture(autouse=True)
def on_module(cuda: Cuda):
    with backend_of(cuda.module, cuda.device):
        yield


def draw(ham: H.Hamiltonian, algorithm: str, kernel: str, chains: int, **more: object) -> Chains:
    return run(ham, 0.5, chains=chains, algorithm=algorithm, kernel=kernel, **({"backend": "cuda"} | OPTIONS | more))


def assert_same(got: Chains, twin: tuple[Chains, np.ndarray]) -> None:
    expected, site = twin
    assert np.array_equal(got.spins[:, :, site], expected.spins)
    assert np.array_equal(got.beta_acceptance, expected.beta_acceptance)
    assert np.array_equal(got.swap_acceptance, expected.swap_acceptance, equal_nan=True)
    assert got.updates == expected.updates


@pytest.mark.filterwarnings("ignore:betas")
@pytest.mark.parametrize(("name", "algorithm", "kernel"), CASES)
def test_chains_are_the_cpu_s_of_the_renumbered_system(name: str, algorithm: str, kernel: str) -> None:
    ham, beta = ALL[name]
    options = {"chains": 45, "sweeps": 6, "burn_in": 3, "thin": 2, "algorithm": algorithm, "seed": 5, "first": 17}
    if algorithm == "tempering":
        options["betas"] = [beta / 3, beta / 2, beta / 1.5, beta / 1.2, beta]
    got = run(ham, beta, kernel=kernel, backend="cuda", **options)
    assert got.kernel == kernel
    assert got.backend == "cuda"
    assert 0 < got.acceptance < 1 or ham.num_sites == 1 or beta == 5.0
    assert np.array_equal(got.energy, ham.energy(got.spins.reshape(-1, ham.num_sites)).reshape(got.energy.shape))
    assert_same(got, cpu_twin(ham, beta, kernel, **options))


@pytest.mark.parametrize(
    ("ham", "kernel"),
    [
        (H.SherringtonKirkpatrick(1030, seed=1), "dense"),  # more fields than four for every thread
        (H.IsingSquare(shape=(110, 112)), "planes"),  # more than 48 KB: larger blocks
        (H.IsingSquare(shape=(110, 112)), "sparse"),
        (H.IsingSquare(shape=(1, 600), field=0.2), "sparse"),
    ],
)
def test_large_systems(ham: H.Hamiltonian, kernel: str) -> None:
    options = {"chains": 5, "sweeps": 2, "burn_in": 0, "algorithm": "heat_bath", "seed": 4, "first": 30}
    got = run(ham, 0.6, kernel=kernel, backend="cuda", **options)
    assert_same(got, cpu_twin(ham, 0.6, kernel, **options))


@pytest.mark.parametrize("update", ["heat_bath", "metropolis"])
def test_two_temperatures(update: str) -> None:
    """Every other sweep has no pair to exchange."""
    options = {"chains": 33, "algorithm": "tempering", "betas": [0.2, 0.5], "update": update}
    for ham, kernel in ((SPARSE, "sparse"), (GLASS, "dense")):
        got = draw(ham, kernel=kernel, **options)
        assert_same(got, cpu_twin(ham, 0.5, kernel, **OPTIONS, **options))
        assert got.swap_acceptance[0] > 0


@pytest.mark.parametrize(("ham", "algorithm", "kernel"), EACH, ids=IDS)
def test_a_chain_depends_on_its_index_alone(ham, algorithm, kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw(ham, algorithm, kernel, 100)
    assert whole.spins.dtype == np.int8
    for first, chains in ((0, 1), (33, 31), (17, 64), (99, 1)):
        part = draw(ham, algorithm, kernel, chains, first=first)
        assert np.array_equal(part.spins, whole.spins[first : first + chains]), (first, chains)
    monkeypatch.setattr(_device_run, "_PIECE_UPDATES", 2000)  # one sweep a piece
    monkeypatch.setattr(_device_run, "_GROUP_BYTES", 100)  # 32 chains a group, one draw at a time
    cut = draw(ham, algorithm, kernel, 100)
    assert np.array_equal(cut.spins, whole.spins)
    assert cut.acceptance == whole.acceptance
    assert np.array_equal(cut.swap_acceptance, whole.swap_acceptance, equal_nan=True)
    assert np.array_equal(draw(ham, algorithm, kernel, 3, thin=1).spins[:, 1::2], whole.spins[:3])
    assert not np.array_equal(draw(ham, algorithm, kernel, 100, seed=3).spins, whole.spins)
    assert len(np.unique(whole.spins[:, 0], axis=0)) > 20


@pytest.mark.parametrize(("ham", "algorithm", "kernel"), EACH, ids=IDS)
def test_what_does_not_fit_in_shared_memory_works_in_global_memory(ham, algorithm, kernel, monkeypatch) -> None:
    expected = draw(ham, algorithm, kernel, 40)
    monkeypatch.setattr(_device_run.Gpu, "shared_limit", 16)
    got = draw(ham, algorithm, kernel, 40)
    assert np.array_equal(got.spins, expected.spins)
    assert got.acceptance == expected.acceptance


@pytest.mark.parametrize(("ham", "algorithm", "kernel"), EACH[:5], ids=IDS[:5])
def test_given_spins_and_the_last_indices(ham, algorithm, kernel) -> None:
    more = {"betas": [0.1, 0.2, 0.5]} if algorithm == "tempering" else {}
    start = np.where(np.random.default_rng(1).random((40, ham.num_sites)) < 0.5, 1, -1).astype(np.int8)
    last = 2**64 // (3 if more else 1) - 40
    got = draw(ham, algorithm, kernel, 40, start=start, first=last, first_sweep=2**20 + 1, **more)
    options = OPTIONS | {"chains": 40, "algorithm": algorithm, "first": last, "first_sweep": 2**20 + 1} | more
    assert_same(got, cpu_twin(ham, 0.5, kernel, start=start, **options))


@pytest.mark.parametrize(("ham", "algorithm", "kernel"), [EACH[0], EACH[1], EACH[3], EACH[6]])
def test_a_run_can_go_on(ham, algorithm, kernel) -> None:
    options = {"chains": 50, "burn_in": 0, "algorithm": algorithm, "kernel": kernel, "seed": 1, "backend": "cuda"}
    whole = run(ham, 0.5, sweeps=20, **options)
    head = run(ham, 0.5, sweeps=8, **options)
    tail = run(ham, 0.5, sweeps=12, start=head.spins[:, -1], first_sweep=8, **options)
    assert np.array_equal(np.concatenate([head.spins, tail.spins], axis=1), whole.spins)


@pytest.mark.parametrize("name", ["square 3x3", "pm", "fields"])
def test_a_sweep_keeps_the_distribution(name: str) -> None:
    ham, beta = SYSTEMS[name]
    start = exact_samples(ham, beta, 4000, seed=1)
    for kernel in ("planes", "sparse", "dense"):
        if refuses(ham, "heat_bath", kernel) is None:
            got = run(
                *(ham, beta), chains=4000, sweeps=1, burn_in=0, algorithm="heat_bath", kernel=kernel, start=start,
                seed=5, backend="cuda",
            )  # fmt: skip
            assert g_test(got.spins, probabilities(ham, beta)) > 1e-4
            assert 0.02 < (got.spins[:, 0] != start).mean() < 0.98


def test_extreme_temperatures() -> None:
    """Nothing overflows: a cold ferromagnet stays in its ground state, a hot one leaves it."""
    start = np.ones(9, dtype=np.int8)
    for kernel in ("planes", "sparse", "dense"):
        for algorithm in ("metropolis", "heat_bath"):
            options = {"chains": 40, "sweeps": 3, "burn_in": 0, "algorithm": algorithm, "kernel": kernel}
            cold = run(H.IsingSquare(3), 1e90, start=start, backend="cuda", **options)
            assert (cold.spins == 1).all()
            hot = run(H.IsingSquare(3), 1e-90, start=start, backend="cuda", **options)
            assert abs(hot.spins.mean()) < (0.2 if algorithm == "heat_bath" else 1)


def test_progress_is_told_and_may_stop_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device_run, "_PIECE_UPDATES", 1)
    shares: list[float] = []
    draw(SQUARE, "heat_bath", "planes", 40, progress=shares.append)
    assert shares == pytest.approx([k / 11 for k in range(1, 12)])

    def stop(share: float) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        draw(SQUARE, "heat_bath", "planes", 40, progress=stop)


@pytest.mark.parametrize("name", ["square 3x3", "square 24x25", "square 26x26", "free", "mean field", "sk", "one"])
def test_no_colour_holds_neighbours(name: str) -> None:
    rows = neighbours(ALL[name][0])
    order = colours(rows.start, rows.neighbour)
    N = len(order.site)
    assert sorted(order.site) == list(range(N))
    assert np.array_equal(order.position[order.site], np.arange(N))
    colour = np.empty(N, dtype=int)
    colour[order.site] = np.repeat(np.arange(len(order.start) - 1), np.diff(order.start))
    assert (colour[np.repeat(np.arange(N), np.diff(rows.start))] != colour[rows.neighbour]).all()
    if name == "square 26x26":
        assert np.array_equal(colour.reshape(26, 26), np.indices((26, 26)).sum(0) % 2)


def test_benchmarks_check_and_time_the_same_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "bench" / "gpu")
    bench = importlib.import_module("chains")
    for ham, algorithm in ((SQUARE, "heat_bath"), (SPARSE, "tempering"), (GLASS, "heat_bath"), (SQUARE, "wolff")):
        timed, useful = bench.chains_run(ham, algorithm, 8, 3, "cuda")
        timed()
        assert useful["sites"] == ham.num_sites
        assert useful.get("updates", 0) % (8 * 3 * ham.num_sites) == 0
    kernel = Planes(_device_run.find_gpu(), SQUARE, 0.5, heat_bath=True)
    sweeps = _device_run.sweeper(kernel, 40, 3)
    sweeps()
    sweeps()
    expected = run(SQUARE, 0.5, chains=40, sweeps=6, burn_in=0, algorithm="heat_bath", backend="cuda")
    assert int(kernel.flips) == round(expected.acceptance * expected.updates)
    monkeypatch.setattr(bench, "run", lambda *given, **more: run(*given, **(more | {"seed": len(more)})))
    with pytest.raises(AssertionError, match="spins differ from the CPU's"):  # another seed on the GPU than on the CPU
        bench.check(SQUARE, "heat_bath")


def test_the_command_line(capsys: pytest.CaptureFixture) -> None:
    words = ["--model", "ising-square", "--L", "4", "--beta", "0.4", "--chains", "40", "--sweeps", "10"]
    assert main(["mcmc", *words, "--burn-in", "5", "--seed", "5", "--backend", "cuda", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = run(H.IsingSquare(4), 0.4, chains=40, sweeps=10, burn_in=5, seed=5, backend="cuda")
    assert told["energy_per_site"] == pytest.approx(expected.energy.mean() / 16)
    assert (told["backend"], told["kernel"]) == ("cuda", "planes")
    assert main(["mcmc", *words, "--backend", "cuda"]) == 0
    assert "metropolis (planes, cuda)" in capsys.readouterr().out


def test_arguments_that_do_not_fit_are_refused(cuda: Cuda) -> None:
    walkers = {"state": 0, "words": 2, "sites": 4, "shift": 0, "count": 5, "base": 0, "seed": 0}
    where = {"replicas": 1, "given": 0, "site": 0, "device": 0, "stream": 0}
    with pytest.raises(ValueError, match="words as many as hold the walkers"):
        cuda.module.mcmc_start(walkers=walkers, **where)
    with pytest.raises(ValueError, match="replicas must be at least 1"):
        cuda.module.mcmc_start(walkers=walkers | {"words": 1}, **(where | {"replicas": 0}))
    with pytest.raises(ValueError, match="base is missing"):
        cuda.module.mcmc_start(walkers={key: value for key, value in walkers.items() if key != "base"}, **where)


def _case(name: str, algorithm: str, kernel: str, shared: bool = True, **more: object):
    """Spins and counts; what skipping barriers changes, or what threads out of order must not."""

    def case(module: ModuleType) -> list[torch.Tensor]:
        ham, beta = ALL[name]
        limit = _device_run.Gpu.shared_limit if shared else 16
        with backend_of(module, torch.device("cpu")), patch.object(_device_run.Gpu, "shared_limit", limit):
            options = {"sweeps": 4, "burn_in": 2, "thin": 2, "seed": 1, "chains": 40} | more
            got = run(ham, beta, algorithm=algorithm, kernel=kernel, backend="cuda", **options)
        return [torch.from_numpy(got.spins), torch.from_numpy(got.beta_acceptance)]

    return case


BARRIER_CASES = {
    "planes": _case("square 26x26", "heat_bath", "planes"),
    "sparse": _case("gaussian 6x7", "metropolis", "sparse"),
    "sparse tempering": _case("gaussian 6x7", "tempering", "sparse", chains=9, betas=[0.5, 0.7, 1.0]),
    "dense": _case("sk 150", "heat_bath", "dense"),
    "dense, one site": _case("one in a field", "heat_bath", "dense"),
    "Swendsen-Wang": _case("square 24x25", "swendsen_wang", "clusters", chains=3),
    "Wolff": _case("square 24x25", "wolff", "clusters", chains=3),
    "in global memory, planes": _case("eight bonds", "metropolis", "planes", shared=False),
    "in global memory, sparse": _case("square 9x8 open", "tempering", "sparse", shared=False, betas=[0.4, 0.5]),
    "in global memory, dense": _case("sk 150", "tempering", "dense", shared=False, chains=9, betas=[1.0, 1.2]),
    "in global memory, Swendsen-Wang": _case("cubic 5x4x3", "swendsen_wang", "clusters", shared=False),
    "in global memory, Wolff": _case("triangular", "wolff", "clusters", shared=False),
}
