"""What is compiled ahead: every kernel of kernels/ with the constants of the networks that matter.

Convolutions are those of conv 3/64/6 at L = 16, masked layers those of dense 6/2 (512 units) and of one layer at
N = 1024, nests those of SK_1RSB and SK_2RSB (k = 1, 2) at N = 100.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.ahead.compile import Launch, recorded
from vanfast import hamiltonians
from vanfast.backends.engines.triton_conv import TritonConv
from vanfast.backends.engines.triton_energy import DeviceEnergy
from vanfast.backends.engines.triton_masked import TritonMasked
from vanfast.backends.engines.triton_mixture import TritonMixture
from vanfast.backends.engines.triton_nest import TritonNest
from vanfast.backends.engines.triton_star import shared_star
from vanfast.backends.engines.triton_table import TritonTable
from vanfast.kernels._dot import parts_of
from vanfast.kernels.activate import activate
from vanfast.kernels.conv import ConvShape, conv
from vanfast.kernels.conv_backward import conv_grad_input, conv_grad_weight
from vanfast.kernels.log_prob import log_prob, logit_gradient, symmetrize
from vanfast.kernels.masked import Windows, masked
from vanfast.kernels.masked_backward import masked_grad_input, masked_grad_weight
from vanfast.kernels.nest import nest
from vanfast.kernels.nest_backward import nest_backward
from vanfast.kernels.random import draw
from vanfast.kernels.star_prior import add_star_prior
from vanfast.kernels.table_scan import table_gradient
from vanfast.networks import SK, BernoulliMixture, CurieWeissN, Dense, ExactH2, Network, PixelCNN
from vanfast.networks.plan import MaskedPlan

PRECISIONS = ("fp32", "tf32", "bf16")
BATCH, L, WIDTH, HALF = 1024, 16, 64, 6


class Case(NamedTuple):
    """A call, the kernel in it that is meant, and the operands its tensor core instructions must have."""

    call: Callable[[], object]
    kernel: str
    operands: str | None  # "tf32", "bf16" or None where nothing is promised

    def launch(self) -> Launch:
        """The last such launch of the call: of a row or block with all its predecessors."""
        return [launch for launch in recorded(self.call) if launch.kernel.__name__ == self.kernel][-1]


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def stored(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16" else torch.float32


def operands(precision: str) -> str:
    return "bf16" if precision == "bf16" else "tf32"


def seen(n_out: int, n_in: int, local: bool = False) -> Windows:
    units, inputs = meta(n_out, dtype=torch.int32), meta(n_in, dtype=torch.int32)
    return Windows(units, inputs, units, inputs) if local else Windows(units, inputs)


def convolution(c_in: int, c_out: int, precision: str, mode: str) -> Callable[[], object]:
    spins = mode == "spins"
    shape = ConvShape((L, L), HALF, not spins, c_in, c_out, precision, spins)
    dtype = torch.int8 if spins else torch.float32 if mode in ("fused", "prefix") else stored(precision)
    x, packed = meta(BATCH, L, L, c_in, dtype=dtype), meta(*shape.packed_shape(), dtype=shape.packed_dtype())
    slope = meta(c_in) if mode in ("fused", "prefix") else None
    if mode == "prefix":
        return lambda: conv(shape, x, packed, meta(c_out), slope, row=8, prefix=True)
    return lambda: conv(shape, x, packed, meta(c_out), slope, ready=mode == "ready")


def conv_input(c_in: int, c_out: int, precision: str) -> Callable[[], object]:
    shape = ConvShape((L, L), HALF, True, c_out, c_in, precision)
    grad, z = meta(BATCH, L, L, c_out, dtype=stored(precision)), meta(BATCH, L, L, c_in)
    packed = meta(*shape.packed_shape(), dtype=shape.packed_dtype())
    return lambda: conv_grad_input(shape, grad, packed, z, meta(c_in), out=torch.empty_like(z, dtype=stored(precision)))


def conv_weight(c_in: int, c_out: int, precision: str, spins: bool = False) -> Callable[[], object]:
    shape = ConvShape((L, L), HALF, not spins, c_in, c_out, precision, spins)
    grad = meta(BATCH, L, L, c_out, dtype=stored(precision) if c_out > 1 else torch.float32)
    a = meta(BATCH, L, L, c_in, dtype=torch.int8 if spins else stored(precision))
    return lambda: conv_grad_weight(shape, grad, a)


def linear(n: int, precision: str, mode: str) -> Callable[[], object]:
    if mode == "spins":
        parts = parts_of(precision)
        packed = meta(parts, n, n, dtype=torch.bfloat16)
        return lambda: masked(meta(BATCH, n, dtype=torch.int8), packed, seen(n, n), precision, meta(n))
    packed, x = meta(1, n, n, dtype=stored(precision)), meta(BATCH, n)
    if mode == "prefix":
        return lambda: masked(x, packed, None, precision, None, meta(n), units=(64, 128), limit=64)
    return lambda: masked(x, packed, seen(n, n, mode == "local"), precision, meta(n), meta(n), meta(BATCH, n))


def linear_input(n: int, precision: str) -> Callable[[], object]:
    weight, z = meta(n, n, dtype=stored(precision)), meta(BATCH, n)
    return lambda: masked_grad_input(meta(BATCH, n), weight, seen(n, n), precision, z, meta(n), meta(BATCH, n))


def linear_weight(n: int, precision: str, spins: bool) -> Callable[[], object]:
    a = meta(BATCH, n, dtype=torch.int8 if spins else stored(precision))
    return lambda: masked_grad_weight(meta(BATCH, n), a, seen(n, n), precision)


def network_cases() -> dict[str, Case]:
    found = {}
    for p in PRECISIONS:
        kind = operands(p)
        for mode in ("ready", "fused", "prefix"):
            found[f"conv middle {mode} {p}"] = Case(convolution(WIDTH, WIDTH, p, mode), "conv_kernel", kind)
        found[f"conv last {p}"] = Case(convolution(WIDTH, 1, p, "ready"), "conv_kernel", kind)
        found[f"conv first {p}"] = Case(convolution(1, WIDTH, p, "spins"), "taps_kernel", "bf16")
        found[f"conv input middle {p}"] = Case(conv_input(WIDTH, WIDTH, p), "conv_kernel", kind)
        found[f"conv input last {p}"] = Case(conv_input(WIDTH, 1, p), "taps_kernel", kind)
        found[f"conv weight middle {p}"] = Case(conv_weight(WIDTH, WIDTH, p), "conv_grad_weight_kernel", kind)
        found[f"conv weight last {p}"] = Case(conv_weight(WIDTH, 1, p), "conv_grad_weight_kernel", kind)
        found[f"conv weight first {p}"] = Case(conv_weight(1, WIDTH, p, True), "conv_grad_weight_kernel", "bf16")
        found[f"masked {p}"] = Case(linear(512, p, "whole"), "masked_kernel", kind)
        found[f"masked local {p}"] = Case(linear(512, p, "local"), "masked_kernel", kind)
        found[f"masked prefix {p}"] = Case(linear(512, p, "prefix"), "masked_kernel", kind)
        found[f"masked spins {p}"] = Case(linear(1024, p, "spins"), "masked_kernel", "bf16")
        found[f"masked input {p}"] = Case(linear_input(512, p), "masked_grad_input_kernel", kind)
        found[f"masked weight {p}"] = Case(linear_weight(512, p, False), "masked_grad_weight_kernel", kind)
        found[f"masked weight spins {p}"] = Case(linear_weight(1024, p, True), "masked_grad_weight_kernel", "bf16")
        call = lambda p=p: activate(meta(BATCH, 256, WIDTH), meta(WIDTH), p)  # noqa: E731  bound to this turn of the loop
        found[f"activate {p}"] = Case(call, "activate_kernel", None)
    return found


def star(kind: type[PixelCNN | Dense], *sizes: Any) -> Network:
    return kind(*sizes, prior="star", ham=hamiltonians.IsingSquare(L), beta=0.44)


def sampling_cases() -> dict[str, Case]:
    cpu, found = torch.device("cpu"), {}
    nets = {
        "conv": lambda: PixelCNN((L, L), 3, WIDTH, HALF),
        "conv residual": lambda: PixelCNN((L, L), 6, WIDTH, 3, residual=True),
    }
    for p in PRECISIONS:
        for name, net in nets.items():
            call = lambda net=net, p=p: TritonConv(net().plan(), p, cpu).draw(64, 0, 0)  # noqa: E731  bound to this turn of the loop
            found[f"{name} scan {p}"] = Case(call, "conv_scan_kernel", operands(p))
        call = lambda p=p: TritonMasked(Dense(256, 3, 4).plan(), p, cpu).draw(64, 0, 0)  # noqa: E731  bound to this turn of the loop
        found[f"masked scan {p}"] = Case(call, "masked_scan_kernel", operands(p))
        call = lambda p=p: TritonConv(star(PixelCNN, (L, L), 3, WIDTH, HALF).plan(), p, cpu).draw(64, 0, 0)  # noqa: E731  bound to this turn of the loop
        found[f"conv star scan {p}"] = Case(call, "conv_scan_kernel", operands(p))
        call = lambda p=p: TritonMasked(star(Dense, L * L, 3, 4).plan(), p, cpu).draw(64, 0, 0)  # noqa: E731  bound to this turn of the loop
        found[f"masked star scan {p}"] = Case(call, "masked_scan_kernel", operands(p))
    mixture = BernoulliMixture(100, 8)
    found["mixture scan"] = Case(lambda: TritonMixture(mixture.plan(), cpu).draw(64, 0, 0), "mixture_scan_kernel", None)
    return found


def nest_cases() -> dict[str, Case]:
    N, found = 100, {}
    spins, grad, couplings, vector = meta(BATCH, N, dtype=torch.int8), meta(BATCH, N), meta(N, N), meta(N)
    for k in (1, 2):
        pairs = meta(N, N, 2, k + 2), meta(N, N, 2, k + 1)
        for learnt in (False, True):
            call = lambda pairs=pairs, learnt=learnt: nest_backward(grad, spins, *pairs, couplings, vector, learnt)  # noqa: E731  bound to this turn of the loop
            found[f"nest backward{' couplings' * learnt} {k}"] = Case(call, "nest_backward_kernel", None)
    pairs = meta(N, N, 2, 3), meta(N, N, 2, 2)
    found["nest 1"] = Case(lambda: nest(spins, *pairs, couplings, vector, vector), "nest_kernel", None)
    net = SK(hamiltonians.SherringtonKirkpatrick(N), 1.0, k=1)
    found["nest scan 1"] = Case(
        lambda: TritonNest(net.plan(), torch.device("cpu")).draw(64, 0, 0), "nest_scan_kernel", None
    )
    return found


def table_cases() -> dict[str, Case]:
    cpu, spins, grad = torch.device("cpu"), meta(BATCH, 100, dtype=torch.int8), meta(BATCH, 100)
    by_magnetisation = CurieWeissN(hamiltonians.CurieWeiss(100), 1.0)
    by_prefix = ExactH2(hamiltonians.SherringtonKirkpatrick(10), 1.0)
    calls = {
        "magnetisation scan": lambda: TritonTable(by_magnetisation.plan(), cpu).draw(64, 0, 0, keep=True),
        "prefix scan": lambda: TritonTable(by_prefix.plan(), cpu).draw(64, 0, 0),
    }
    found = {name: Case(call, "table_scan_kernel", None) for name, call in calls.items()}
    return found | {"table gradient": Case(lambda: table_gradient(grad, spins), "table_gradient_kernel", None)}


def other_cases() -> dict[str, Case]:
    logits, spins = meta(BATCH, 1024), meta(BATCH, 1024, dtype=torch.int8)
    log_q, step = meta(BATCH, dtype=torch.float64), meta(1, dtype=torch.int64)
    found = {
        "log_prob": Case(lambda: log_prob(logits, spins), "log_prob_kernel", None),
        "logit gradient": Case(lambda: logit_gradient(logits, spins, log_q), "logit_gradient_kernel", None),
        "symmetrize": Case(lambda: symmetrize(spins, log_q, log_q, 5, 7, step), "symmetrize_kernel", None),
        "draw": Case(lambda: draw(logits, spins, log_q, step, 5, 7), "draw_kernel", None),
    }
    on_lattice = star(Dense, L * L).plan()
    assert isinstance(on_lattice, MaskedPlan)
    assert on_lattice.prior is not None
    neighbours, zeros = shared_star(on_lattice.prior, torch.device("cpu")), torch.zeros(64, L * L)
    call = lambda: add_star_prior(neighbours, zeros.to(torch.int8), zeros)  # noqa: E731  as the others
    found["star prior"] = Case(call, "star_prior_kernel", None)
    couplings = torch.zeros(128, 128).index_put_((torch.arange(127), torch.arange(1, 128)), torch.tensor(0.5))
    systems = {
        "lattice": hamiltonians.IsingSquare(L),
        "pattern": hamiltonians.Hopfield(1 - 2 * (torch.arange(512).view(4, 128) % 3 // 2).numpy()),
        "dense": hamiltonians.SherringtonKirkpatrick(128),
        "bond": hamiltonians.Pairwise((couplings + couplings.T).double().numpy()),
    }
    for name, ham in systems.items():
        given = torch.ones(64, ham.num_sites, dtype=torch.int8)
        call = lambda ham=ham, given=given: DeviceEnergy(ham, "cpu").evaluate(given)  # noqa: E731  bound to this turn of the loop
        found[f"{name} energy"] = Case(call, f"{name}_energy_kernel", None)
    return found


def all_cases() -> dict[str, Case]:
    return network_cases() | sampling_cases() | nest_cases() | table_cases() | other_cases()
