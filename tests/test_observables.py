"""Observables against exact sums over all states of small systems, with samples of a known q."""

import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast import observables
from vanfast.observables import Accumulator, EffectiveSampleSizeWarning, effective_sample_size, measure

N = 6
BETA = 0.7
PATTERNS = np.array([[1, 1, -1, 1, -1, -1], [1, -1, 1, 1, 1, -1]], dtype=np.int8)
STATES = (2 * (np.arange(2**N)[:, None] >> np.arange(N) & 1) - 1).astype(np.int8)


def _system(seed=3):
    """Energies of all states of a random pairwise system, and the ln q of independent spins near its mean field."""
    rng = np.random.default_rng(seed)
    couplings = np.triu(rng.normal(size=(N, N)) * 0.3, 1)
    fields = rng.normal(size=N) * 0.3
    spins = STATES.astype(float)
    energy = -np.einsum("bi,ij,bj->b", spins, couplings, spins) - spins @ fields
    logits = 0.8 * fields
    log_q = -np.logaddexp(0, -2 * spins * logits).sum(1)
    return energy, log_q


ENERGY, LOG_Q = _system()
Q = np.exp(LOG_Q)
WEIGHT = np.exp(-BETA * ENERGY)
P = WEIGHT / WEIGHT.sum()


def _exact(probability, free_energy):
    """Exact averages of everything scalar under a distribution over STATES."""
    mean = probability @ ENERGY
    m = STATES.mean(1)
    overlap = STATES @ PATTERNS.T / N
    return {
        "free_energy": free_energy,
        "energy": mean,
        "entropy": -probability @ np.log(probability),
        "heat_capacity": BETA**2 * (probability @ (ENERGY - mean) ** 2),
        "magnetization": probability @ m,
        "abs_magnetization": probability @ np.abs(m),
        "magnetization_squared": probability @ m**2,
        "site_magnetization": probability @ STATES,
        "correlation": np.einsum("b,bi,bj->ij", probability, STATES, STATES),
        "overlap": probability @ overlap,
        "abs_overlap": probability @ np.abs(overlap),
        "overlap_squared": probability @ overlap**2,
    }


LOG_Z = math.log(WEIGHT.sum())
EXACT_Q = _exact(Q, Q @ (ENERGY + LOG_Q / BETA))
EXACT_P = _exact(P, -LOG_Z / BETA)


def _batch(index):
    return SimpleNamespace(
        spins=torch.from_numpy(STATES[index]),
        log_q=torch.from_numpy(LOG_Q[index]),
        energy=torch.from_numpy(ENERGY[index]),
    )


def _draw(count, seed, probability=Q):
    return np.random.default_rng(seed).choice(2**N, size=count, p=probability)


def _every_state_often():
    """States with multiplicities that make every frequency exactly its probability under the rounded q."""
    times = np.round(Q * 20_000).astype(int) + 1
    return np.repeat(np.arange(2**N), times), times / times.sum()


def test_averages_are_the_sums_they_should_be():
    index, frequency = _every_state_often()
    result = measure(_batch(index), BETA, patterns=PATTERNS, correlation=True)
    log_w = -BETA * ENERGY - LOG_Q
    reweighted = frequency * np.exp(log_w)
    log_z = math.log(reweighted.sum())
    for ensemble, probability in ((result, frequency), (result.unbiased, reweighted / reweighted.sum())):
        expected = _exact(probability, 0.0)
        for name in set(expected) - {"free_energy", "entropy"}:
            scale = result.count / (result.count - 1) if name == "heat_capacity" and ensemble is result else 1.0
            np.testing.assert_allclose(
                np.asarray(getattr(ensemble, name).value) / scale, expected[name], atol=1e-12, err_msg=name
            )
        assert ensemble.free_energy.value == pytest.approx(
            ensemble.energy.value - ensemble.entropy.value / BETA, abs=1e-12
        )
    assert result.entropy.value == pytest.approx(-frequency @ LOG_Q, abs=1e-12)
    assert result.log_z.value == pytest.approx(log_z, abs=1e-12)
    assert result.unbiased.free_energy.value == pytest.approx(-log_z / BETA, abs=1e-12)
    assert result.log_z_lower.value == pytest.approx(frequency @ log_w, abs=1e-12)
    mean = frequency @ log_w
    assert result.loss_variance.value == pytest.approx(
        frequency @ (log_w - mean) ** 2 * result.count / (result.count - 1), rel=1e-10
    )
    weights = np.exp(log_w[index])
    assert result.ess == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-12)


def test_errors_are_honest():
    """z-scores of repeated runs have unit width: 68 % of runs lie within one error, 95 % within two."""
    runs, count = 500, 3000
    scores = {}
    for run in range(runs):
        result = measure(_batch(_draw(count, run)), BETA, patterns=PATTERNS, correlation=True)
        for prefix, ensemble, exact in (("q ", result, EXACT_Q), ("p ", result.unbiased, EXACT_P)):
            for name, truth in exact.items():
                value, error = (np.asarray(part, dtype=float) for part in getattr(ensemble, name))
                free = ~np.eye(N, dtype=bool) if name == "correlation" else np.ones(value.shape, dtype=bool)
                scores.setdefault(prefix + name, []).append(((value - truth) / np.where(free, error, 1.0))[free])
        scores.setdefault("log_z", []).append((result.log_z.value - LOG_Z) / result.log_z.error)
        variance = Q @ (BETA * ENERGY + LOG_Q - Q @ (BETA * ENERGY + LOG_Q)) ** 2
        scores.setdefault("loss variance", []).append(
            (result.loss_variance.value - variance) / result.loss_variance.error
        )
    for name, z in scores.items():
        column = np.array(z).reshape(runs, -1)
        within = [(np.abs(column) < k).mean(0) for k in (1, 2)]
        # four standard deviations of a frequency over 500 runs: 0.083 and 0.041
        assert np.abs(within[0] - 0.683).max() < 0.083, (name, within[0])
        assert np.abs(within[1] - 0.954).max() < 0.041, (name, within[1])


@pytest.mark.parametrize("cuts", [[1], [1, 2, 3, 700], [2500], [999, 1000, 1001]])
def test_chunks_do_not_matter(cuts):
    index = _draw(3000, 1)
    index = index[np.argsort(-BETA * ENERGY[index] - LOG_Q[index])]  # every chunk raises the scale of the weights
    whole = measure(_batch(index), BETA, patterns=PATTERNS, correlation=True)
    parts = Accumulator(N, BETA, patterns=PATTERNS, correlation=True)
    for piece in np.split(index, cuts):
        parts.update(_batch(piece))
    chunked = parts.result()
    for a, b in ((whole, chunked), (whole.unbiased, chunked.unbiased)):
        for name in EXACT_P:
            value, error = getattr(a, name)
            np.testing.assert_allclose(value, getattr(b, name).value, rtol=1e-10, atol=1e-12, err_msg=name)
            # the root of a rounded zero: <s_i s_i> has no error
            np.testing.assert_allclose(error, getattr(b, name).error, rtol=1e-9, atol=1e-8, err_msg=name)
    for name in ("log_z", "log_z_lower", "loss_variance"):
        np.testing.assert_allclose(getattr(whole, name), getattr(chunked, name), rtol=1e-10, err_msg=name)
    assert chunked.ess == pytest.approx(whole.ess, rel=1e-12)


def test_large_offset_energies_keep_their_digits():
    """A constant of 1e6 in the energy shifts ln Z and E and leaves every spread and error as it was."""
    index, offset = _draw(3000, 2), 1e6
    plain = measure(_batch(index), BETA)
    moved = _batch(index)
    moved.energy = moved.energy + offset
    shifted = measure(moved, BETA)
    assert shifted.log_z.value == pytest.approx(plain.log_z.value - BETA * offset, abs=1e-8)
    assert shifted.heat_capacity.value == pytest.approx(plain.heat_capacity.value, rel=1e-6)
    assert shifted.unbiased.heat_capacity.value == pytest.approx(plain.unbiased.heat_capacity.value, rel=1e-6)
    assert shifted.unbiased.entropy.error == pytest.approx(plain.unbiased.entropy.error, rel=1e-6)


def test_two_sided_bounds_and_forward_ess():
    count = 200_000
    accumulator = Accumulator(N, BETA)
    accumulator.update(_batch(_draw(count, 3)))
    for piece in np.split(_draw(count, 4, P), [1, 1000]):
        accumulator.update_reference(_batch(piece))
    result = accumulator.result()
    log_w = -BETA * ENERGY - LOG_Q
    assert result.log_z_lower.value < LOG_Z < result.log_z_upper.value
    assert abs(result.log_z_lower.value - Q @ log_w) < 4 * result.log_z_lower.error
    assert abs(result.log_z_upper.value - P @ log_w) < 4 * result.log_z_upper.error
    fraction = 1 / (P @ (P / Q))
    assert result.forward_ess_fraction == pytest.approx(fraction, rel=0.02)
    assert result.ess_fraction == pytest.approx(fraction, rel=0.02)


def test_exact_network_has_no_weight_noise():
    index = _draw(1000, 5, P)
    batch = _batch(index)
    batch.log_q = torch.from_numpy(np.log(P[index]))
    result = measure(batch, BETA)
    assert result.log_z.value == pytest.approx(LOG_Z, abs=1e-12)
    assert result.log_z.error < 1e-8
    assert result.ess == pytest.approx(1000)
    assert result.loss_variance.value < 1e-24
    assert result.energy.value == pytest.approx(result.unbiased.energy.value, abs=1e-12)


def test_warns_when_few_samples_are_effective():
    index = _draw(1000, 6)
    batch = _batch(index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(batch, BETA)
    batch.log_q = batch.log_q.clone()
    batch.log_q[0] -= 20.0
    with pytest.warns(EffectiveSampleSizeWarning, match=r"of 1000 samples are effective"):
        result = measure(batch, BETA)
    assert result.ess == pytest.approx(1.0, abs=0.01)


def test_json_has_the_agreed_keys():
    result = measure(_batch(_draw(2000, 7)), BETA, reference=_batch(_draw(2000, 8, P)))
    numbers = json.loads(json.dumps(result.to_json(), allow_nan=False))
    for prefix in ("", "unbiased_"):
        for name in ("free_energy", "energy", "entropy", "heat_capacity"):
            key = f"{prefix}{name}_per_site"
            ensemble = result.unbiased if prefix else result
            assert numbers[key] == pytest.approx(getattr(ensemble, name).value / N)
            assert numbers[key + "_error"] == pytest.approx(getattr(ensemble, name).error / N)
    assert numbers["log_z"] == result.log_z.value
    assert numbers["log_z_error"] == result.log_z.error
    assert numbers["ess"] == result.ess
    assert {"log_z_lower", "log_z_upper", "forward_ess_fraction", "loss_variance"} <= set(numbers)


def test_one_sample_has_no_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = measure(_batch(np.array([5])), BETA, correlation=True)
    assert math.isnan(result.energy.error)
    assert result.log_z.value == pytest.approx(-BETA * ENERGY[5] - LOG_Q[5])
    numbers = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert "energy_per_site_error" not in numbers


def test_numpy_and_torch_give_the_same():
    index = _draw(500, 9)
    arrays = SimpleNamespace(spins=STATES[index].astype(float), log_q=LOG_Q[index], energy=list(ENERGY[index]))
    assert measure(arrays, BETA).to_json() == measure(_batch(index), BETA).to_json()


def test_functions():
    assert effective_sample_size(np.full(7, -1e5)) == pytest.approx(7)
    assert effective_sample_size([0.0, -1e5]) == pytest.approx(1)
    np.testing.assert_allclose(observables.log_weights(LOG_Q, ENERGY, BETA), -BETA * ENERGY - LOG_Q)
    np.testing.assert_allclose(observables.magnetization(STATES, N), STATES.mean(1))
    np.testing.assert_allclose(observables.overlaps(STATES, PATTERNS, N), STATES @ PATTERNS.T / N)
    np.testing.assert_allclose(observables.overlaps(STATES[3], PATTERNS[0], N), [[STATES[3] @ PATTERNS[0] / N]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": None}, "energy of the samples is None"),
        ({"energy": np.zeros(3)}, "energy 3"),
        ({"log_q": np.zeros(3), "energy": np.zeros(3)}, "3 values for 4 configurations"),
        ({"log_q": np.array([0.0, np.nan, 0, 0])}, "log_q must be finite, found nan at sample 1"),
        ({"energy": np.zeros((4, 1))}, r"energy has shape \[4, 1\]"),
        ({"spins": np.zeros((4, N), dtype=np.int8)}, "must hold only"),
    ],
)
def test_refuses_bad_samples(change, message):
    batch = _batch(np.arange(4))
    accumulator = Accumulator(N, BETA)
    for name, value in change.items():
        setattr(batch, name, value)
    with pytest.raises(ValueError, match=message):
        accumulator.update(batch)
    with pytest.raises(ValueError, match="no samples were added"):
        accumulator.result()


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_refuses_bad_beta(beta):
    with pytest.raises(ValueError, match="beta must be positive"):
        Accumulator(N, beta)
    with pytest.raises(ValueError, match="beta must be positive"):
        observables.log_weights(LOG_Q, ENERGY, beta)


def test_refuses_other_arguments():
    with pytest.raises(ValueError, match="num_sites must be at least 1"):
        Accumulator(0, BETA)
    with pytest.raises(ValueError, match="patterns has shape"):
        Accumulator(N, BETA, patterns=PATTERNS[:, :4])
    with pytest.raises(ValueError, match="log_weight is empty"):
        effective_sample_size([])


def test_states_have_the_magnetisation_of_potts():
    """Against direct sums, weights and errors too; q = 2 is |m| of spins."""
    rng = np.random.default_rng(5)
    states = torch.from_numpy(rng.integers(0, 4, (500, 7)) * (rng.random((500, 7)) < 0.7)).to(torch.int8)
    log_q, energy = torch.from_numpy(rng.normal(-8, 0.3, 500)), torch.from_numpy(rng.normal(-3, 0.5, 500))
    found = vf.observables.measure(vf.sampler.Batch(states, log_q, energy), 0.7, q=4)
    counts = np.stack([(states.numpy() == k).sum(1) for k in range(4)], 1)
    m = (4 * counts.max(1) / 7 - 1) / 3
    assert found.magnetization.value == pytest.approx(m.mean())
    assert found.magnetization.error == pytest.approx(m.std(ddof=1) / 500**0.5)
    assert found.magnetization_squared.value == pytest.approx((m**2).mean())
    weight = np.exp(-0.7 * energy.numpy() - log_q.numpy())
    assert found.unbiased.magnetization.value == pytest.approx((weight * m).sum() / weight.sum())
    rows = vf.observables.potts_spins(states, 7, 4)
    np.testing.assert_allclose(rows.mean(1), m)
    np.testing.assert_allclose(found.site_magnetization.value, rows.mean(0))
    np.testing.assert_allclose(found.site_magnetization.error, rows.std(0, ddof=1) / 500**0.5)
    spins = vf.exact.states(5)
    np.testing.assert_allclose(vf.observables.potts_spins((spins + 1) // 2, 5, 2).mean(1), np.abs(spins.mean(1)))
    with pytest.raises(ValueError, match=r"0 .. 3, found \d at configuration 0, site 0"):
        vf.observables.measure(vf.sampler.Batch(states + 4, log_q, energy), 0.7, q=4)
    for options in ({"q": 1}, {"q": 3, "correlation": True}, {"q": 3, "patterns": np.ones(7)}):
        with pytest.raises(ValueError, match="neither patterns nor correlation"):
            vf.observables.Accumulator(7, 0.7, **options)
