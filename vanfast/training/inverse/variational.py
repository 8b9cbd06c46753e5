"""The inverse problem with a variational autoregressive network: D. Wu, L. Wang, P. Zhang, PRL 122, 080602 (2019).

Two loops. The inner one keeps a network q at the optimum of the free energy of the present K = beta J, H = beta h, by
a few steps of variational training from where it was. The outer one moves K and H up the likelihood's gradient, the
data's moments minus the model's, with Adam. The model's moments are those of a large batch from q with the importance
weights exp(-E) / q, so that they are unbiased (but for 1 / ess) even where the network is not yet the Boltzmann
distribution, and by Callen's identities, which takes most of the noise away (see `model_moments`).

When to stop. The standard error sigma of a batch's moments hides small differences; the mean difference over the W last
steps has sigma / sqrt(W). What is left beyond noise is
    excess^2 = mean over moments of (mean difference)^2 - sigma^2 / W .
The outer learning rate stays until the excess is below the tolerance, over a W long enough to resolve it (or until half
of the steps are used), and then falls to zero over as many steps again: fast down to the size of the noise, and from
there along a half cosine.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vanfast.hamiltonians import Pairwise
from vanfast.networks import Dense, Network
from vanfast.sampler import Sampler
from vanfast.training.data import Moments
from vanfast.training.inverse.model_moments import GROUPS, model_moments
from vanfast.training.inverse.result import OuterStep, symmetric
from vanfast.training.step import accumulate_gradient, draw, effective_sample_size, one_torch_thread

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 10  # outer steps whose mean difference is kept together
LEAST_STEPS = 100  # before the learning rate may fall
LEAST_ESS = 0.05  # share of effective samples below which the network is trained on before the couplings move
EXTRA_ROUNDS = 20  # most rounds of inner steps for that, at one outer step
BETAS = (0.9, 0.99)  # of both Adams: the gradients shrink by orders of magnitude
LEAST_DECAY = 300  # steps
DROP = 0.97  # factor of the learning rate at a step when the noise is far below it
CLIP = 1.0


@dataclass(frozen=True, kw_only=True)
class VanSettings:
    """Settings of the two loops.

    tolerance      rms difference of moments beyond sampling noise at which the couplings count as found.
    max_steps      most outer steps. learning_rate: of the outer Adam, in units of beta J.
    inner_steps    variational training steps at every outer step, of `batch` samples and `inner_learning_rate`.
    moment_batch   samples behind the model's moments.
    """

    tolerance: float = 1e-4
    max_steps: int = 3000
    learning_rate: float = 0.01
    inner_steps: int = 2
    inner_learning_rate: float = 5e-3
    batch: int = 1000
    moment_batch: int = 10_000
    seed: int = 0
    backend: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("max_steps", 1),
            ("inner_steps", 1),
            ("batch", 2),
            ("moment_batch", 2 * GROUPS),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
        if self.moment_batch % GROUPS:
            raise ValueError(f"moment_batch must be a multiple of {GROUPS}, got {self.moment_batch}")
        for name in ("tolerance", "learning_rate", "inner_learning_rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, float | int) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a finite number > 0, got {value!r}")


class VariationalInverse:
    """The state of both loops. `net` is trained in place; `theta` holds H (where the data are magnetised) and K."""

    def __init__(self, moments: Moments, net: Network | None, settings: VanSettings) -> None:
        n = moments.num_sites
        self.settings, self.pairs = settings, np.triu_indices(n, 1)
        self.has_fields = bool(np.abs(moments.magnetization).max() > 1e-12)
        if net is None:
            net = Dense(n, depth=2, width=5, z2=not self.has_fields, seed=settings.seed)
        if not isinstance(net, Network):
            raise TypeError(f"net must be a vanfast.networks.Network, got {type(net).__name__}")
        if net.num_sites != n:
            raise ValueError(f"net has {net.num_sites} sites and the data have {n} spins; they must be equal")
        if net.z2 and self.has_fields:
            raise ValueError("net has z2 = True, but the data are magnetised: take a network without z2")
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise ValueError(f"net has no parameters to train: {type(net).__name__}")
        self.net = net
        parts = [moments.magnetization] if self.has_fields else []
        self.target = torch.tensor(np.concatenate([*parts, moments.correlation[self.pairs]]))
        start = np.zeros(len(self.target))
        if self.has_fields:
            start[:n] = np.arctanh(moments.magnetization)
        self.theta = torch.tensor(start)
        self.outer = torch.optim.Adam([self.theta], lr=settings.learning_rate, betas=BETAS)
        self.inner = torch.optim.Adam(net.parameters(), lr=settings.inner_learning_rate, betas=BETAS)
        self.sampler = Sampler(net, self.hamiltonian(), backend=settings.backend, threads=settings.threads)
        self.inner_count = 0  # inner steps done
        self.drawn = 0  # samples drawn for moments
        self.blocks: list[np.ndarray] = []  # sums of BLOCK differences and, last, of their mean variance
        self.history: list[OuterStep] = []

    def couplings(self) -> tuple[np.ndarray, np.ndarray]:
        """K [N, N] and H [N]."""
        n, theta = self.net.num_sites, self.theta.numpy()
        return (symmetric(theta[n:], n), theta[:n].copy()) if self.has_fields else (symmetric(theta, n), np.zeros(n))

    def hamiltonian(self) -> Pairwise:
        K, H = self.couplings()
        return Pairwise(K, H if self.has_fields else None)

    def run(self, callback: Callable[[OuterStep], None] | None = None) -> bool:
        """Goes on until the couplings are found or the steps are used up; tells which."""
        settings = self.settings
        last, decay_from = settings.max_steps, max(1, settings.max_steps // 2)  # the first step has no history
        with one_torch_thread(self.sampler.sample_and_keep(1) is not None):
            for step in range(settings.max_steps):
                if step < decay_from and self.found():
                    last, decay_from = min(last, step + max(step, LEAST_DECAY)), step
                share, slope = 1.0, 1.0
                if step >= decay_from:
                    done = step - decay_from
                    slope = 0.5 * (1 + math.cos(math.pi * done / max(1, last - decay_from)))
                    # Steps of the size of the noise average it away; first, larger steps have to settle down.
                    share = slope * max(DROP**done, min(1.0, self.history[-1].noise / settings.learning_rate))
                record = self.advance(settings.learning_rate * share, max(slope, 0.1))
                if callback is not None:
                    callback(record)
                if step + 1 >= last:
                    break
        excess, resolution = self.excess()
        return excess <= max(settings.tolerance, resolution)

    def advance(self, learning_rate: float, inner_share: float) -> OuterStep:
        """One outer step: the network follows, the moments are taken, the couplings move."""
        self.sampler.ham = self.hamiltonian()
        for _ in range(EXTRA_ROUNDS):
            self.train_network(inner_share)
            moments, variance, ess = self.model_moments()
            if ess >= LEAST_ESS:
                break
        else:
            warnings.warn(
                f"the network follows the couplings badly: {100 * ess:.2g} % effective samples at outer step "
                f"{len(self.history)}; give inner_steps more, learning_rate less, or a larger net",
                stacklevel=2,
            )
        difference = self.target - moments
        record = OuterStep(
            step=len(self.history),
            difference=float(difference.square().mean().sqrt()),
            noise=math.sqrt(variance),
            ess=ess,
            learning_rate=learning_rate,
        )
        if not math.isfinite(record.difference):
            raise FloatingPointError(f"the inverse problem diverged at outer step {record.step}: lower learning_rate")
        if record.step % BLOCK == 0:
            self.blocks.append(np.zeros(len(difference) + 1))
        self.blocks[-1] += np.append(difference.numpy(), variance)
        self.theta.grad = -difference
        self.outer.param_groups[0]["lr"] = learning_rate
        self.outer.step()
        self.history.append(record)
        return record

    def train_network(self, share: float) -> None:
        """The inner loop: variational training at the present couplings."""
        settings = self.settings
        self.inner.param_groups[0]["lr"] = settings.inner_learning_rate * share
        for _ in range(settings.inner_steps):
            batch = draw(self.sampler, settings.batch, settings.seed, self.inner_count * settings.batch, None)
            accumulate_gradient(self.sampler, batch, 1.0, None)
            torch.nn.utils.clip_grad_norm_(list(self.net.parameters()), CLIP)
            self.inner.step()
            self.inner_count += 1

    def model_moments(self) -> tuple[torch.Tensor, float, float]:
        """Moments of the Boltzmann distribution at the present couplings, their mean variance, and the share of
        effective samples."""
        # Its own half of the sample indices: no sample that the network was trained on is seen again.
        batch = self.sampler.sample(self.settings.moment_batch, seed=self.settings.seed, first=2**63 + self.drawn)
        self.drawn += self.settings.moment_batch
        assert batch.energy is not None
        log_weight = -batch.energy - batch.log_q
        K, H = (torch.from_numpy(values).to(log_weight.device) for values in self.couplings())
        m, C, m_variance, C_variance = model_moments(
            batch.spins.double(), log_weight, K, H if self.has_fields else None
        )
        C, C_variance = C.cpu()[self.pairs], C_variance.cpu()[self.pairs]
        ess = effective_sample_size(log_weight)
        if not self.has_fields:
            return C, float(C_variance.mean()), ess
        return torch.cat([m.cpu(), C]), float(torch.cat([m_variance.cpu(), C_variance]).mean()), ess

    def found(self) -> bool:
        """Whether nothing is left beyond noise, over enough steps to tell."""
        steps = len(self.history)
        return steps >= LEAST_STEPS and steps % BLOCK == 0 and max(self.excess()) <= self.settings.tolerance

    def excess(self) -> tuple[float, float]:
        """rms difference beyond sampling noise over the last half of the steps, and the resolution of that: what noise
        alone makes of it."""
        skipped = len(self.blocks) // 2
        steps = len(self.history) - BLOCK * skipped
        mean = np.sum(self.blocks[skipped:], axis=0) / steps
        noise = mean[-1] / steps
        square = float(np.mean(mean[:-1] ** 2)) - noise
        return math.sqrt(max(0.0, square)), math.sqrt(noise * math.sqrt(2 / (len(mean) - 1)))
