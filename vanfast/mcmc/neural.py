"""Networks as proposals of a Markov chain: unbiased where importance weights only correct, and joined by local sweeps.

A proposal s' ~ q is accepted with probability min(1, exp(-beta (E' - E)) q(s) / q(s')) (independence Metropolis), which
leaves exp(-beta E) invariant whatever q is, as long as q reaches all states.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vanfast.mcmc._words import PROPOSAL, uniforms, walker_words
from vanfast.mcmc.chains import as_integer, positive, run, start_rows
from vanfast.mcmc.result import Chains
from vanfast.sampler import Sampler

_AHEAD = 32  # proposals of a chain that are drawn together


def independence(
    sampler: Sampler,
    beta: float,
    *,
    chains: int = 64,
    steps: int = 1000,
    burn_in: int = 100,
    thin: int = 1,
    seed: int = 0,
    first: int = 0,
    start: Any = None,
) -> Chains:
    """Chains whose every step proposes a sample of the network; one configuration is kept after every `thin` steps.

    Args:
        sampler: a vf.Sampler with a Hamiltonian; its ln q and energies decide.
        beta: of the Boltzmann distribution, positive.
        chains, steps, burn_in, thin, seed, first: as for `vanfast.mcmc.run`, steps in place of sweeps. Proposal t of
            chain c is sample (t // 32) 2^40 + 32 c + t % 32 of `seed`.
        start: spins or states to start from, [N] or [chains, N]; None for every chain's first proposal.

    Raises:
        TypeError, ValueError: a sampler without a Hamiltonian, arguments out of range.
    """
    return _chains(sampler, beta, chains, steps, burn_in, thin, seed, first, start, 0, "heat_bath", "independence")


def mixed(
    sampler: Sampler,
    beta: float,
    *,
    local_sweeps: int = 1,
    algorithm: str = "heat_bath",
    chains: int = 64,
    steps: int = 1000,
    burn_in: int = 100,
    thin: int = 1,
    seed: int = 0,
    first: int = 0,
    start: Any = None,
) -> Chains:
    """The same with sweeps of "heat_bath", "metropolis", "wolff" or "swendsen_wang" after every proposal.

    The network moves between distant states, sweeps mend what it gets wrong nearby. `acceptance` is that of proposals.
    """
    as_integer("local_sweeps", local_sweeps, 1, 2**20)
    if algorithm == "tempering":
        raise ValueError("algorithm = 'tempering' has replicas of its own and cannot follow a proposal")
    return _chains(sampler, beta, chains, steps, burn_in, thin, seed, first, start, local_sweeps, algorithm, "mixed")


def _chains(
    sampler: Any,
    beta: float,
    chains: int,
    steps: int,
    burn_in: int,
    thin: int,
    seed: int,
    first: int,
    start: Any,
    local_sweeps: int,
    algorithm: str,
    name: str,
) -> Chains:
    if not isinstance(sampler, Sampler):
        raise TypeError(f"sampler must be a vanfast.Sampler, got {type(sampler).__name__}")
    if sampler.ham is None:
        raise ValueError("sampler has no Hamiltonian: make it as vf.Sampler(net, ham)")
    beta = positive("beta", beta)
    chains, thin = as_integer("chains", chains, 1, 2**32), as_integer("thin", thin, 1, 2**40)
    steps, burn_in = as_integer("steps", steps, 1, 2**28), as_integer("burn_in", burn_in, 0, 2**28)
    seed, first = as_integer("seed", seed, 0, 2**64 - 1), as_integer("first", first, 0, 2**35 - chains)
    if steps % thin:
        raise ValueError(f"thin = {thin} must divide steps = {steps}")
    ham, N = sampler.ham, sampler.net.num_sites
    given = start_rows(start, N, chains, sampler.net.q)
    index = np.arange(chains, dtype=np.uint64) + np.uint64(first)
    spins = np.empty((chains, N), dtype=np.int8)
    energy, log_q = np.zeros(chains), np.zeros(chains)
    if given is not None:
        spins, energy = given.copy(), np.asarray(ham.energy(given), dtype=np.float64)
        log_q = sampler.log_prob(given).cpu().numpy()
    kept, kept_energy = np.empty((chains, steps // thin, N), dtype=np.int8), np.empty((chains, steps // thin))
    accepted = 0
    for step in range(burn_in + steps + 1):  # step 0 is the start
        if step % _AHEAD == 0:
            batch = sampler.sample(chains * _AHEAD, seed=seed, first=(step // _AHEAD << 40) + _AHEAD * first).cpu()
            assert batch.energy is not None
            ahead = batch.spins.numpy().reshape(chains, _AHEAD, N)
            ahead_q, ahead_energy = (x.numpy().reshape(chains, _AHEAD) for x in (batch.log_q, batch.energy))
        if step % 4 == 0:
            words = walker_words(seed, index, PROPOSAL, step // 4, 1)
        new, new_q, new_energy = (x[:, step % _AHEAD] for x in (ahead, ahead_q, ahead_energy))
        log_ratio = -beta * (new_energy - energy) + log_q - new_q
        take = np.log(uniforms(words[:, step % 4])) < log_ratio
        if not step:
            take = np.full(chains, given is None)
        spins[take] = new[take]
        energy, log_q = np.where(take, new_energy, energy), np.where(take, new_q, log_q)
        if local_sweeps and step:
            local = run(
                ham,
                beta,
                chains=chains,
                sweeps=local_sweeps,
                burn_in=0,
                thin=local_sweeps,
                algorithm=algorithm,
                seed=seed,
                first=first,
                threads=sampler.threads,
                start=spins,
                first_sweep=(step - 1) * local_sweeps,
            )
            spins, energy = local.spins[:, 0].copy(), local.energy[:, 0]
            log_q = sampler.log_prob(spins).cpu().numpy()
        if step <= burn_in:
            continue
        accepted += int(take.sum())
        if (step - burn_in) % thin == 0:
            draw = (step - burn_in) // thin - 1
            kept[:, draw], kept_energy[:, draw] = spins, energy
    share = accepted / (chains * steps)
    return Chains(
        spins=kept,
        energy=kept_energy,
        beta=beta,
        algorithm=name,
        kernel=sampler.backend,
        seed=seed,
        first=first,
        burn_in=burn_in,
        thin=thin,
        acceptance=share,
        updates=chains * steps,
        betas=(beta,),
        beta_acceptance=np.array([share]),
        swap_acceptance=np.zeros(0),
        q=sampler.net.q,
    )
