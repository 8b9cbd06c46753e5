"""Settings and schedules: annealing and ladders of beta, factors of the learning rate, and what is refused."""

import json
import math

import pytest

from vanfast.training.schedule import Cosine, Plateau, Schedule, make_schedule
from vanfast.training.settings import Settings

DEFAULTS = {
    "beta": 0.5,
    "steps": 10,
    "batch": 100,
    "seed": 0,
    "learning_rate": 1e-3,
    "adam_betas": (0.9, 0.99),
    "anneal": None,
    "clip_norm": 1.0,
    "micro_batch": None,
    "schedule": "constant",
    "precision": "fp32",
}


def settings(**changes):
    return Settings.checked(**{**DEFAULTS, **changes})


def test_annealing_follows_the_paper():
    s = settings(beta=0.44, steps=1000, anneal=0.998)
    for t in (0, 1, 17, 999):
        assert s.beta_at(t) == pytest.approx(0.44 * (1 - 0.998**t), abs=1e-15)


def test_a_ladder_anneals_from_rung_to_rung():
    s = settings(beta=(0.2, 0.6), steps=(3, 4), anneal=0.5)
    assert [s.rung(t) for t in (0, 2, 3, 6)] == [(0, 0), (0, 2), (1, 0), (1, 3)]
    assert [s.beta_at(t) for t in range(7)] == pytest.approx([0, 0.1, 0.15, 0.2, 0.4, 0.5, 0.55])
    assert s.total_steps == 7
    assert [settings(beta=(0.2, 0.6), steps=2).beta_at(t) for t in range(4)] == [0.2, 0.2, 0.6, 0.6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": 0.0}, "beta must be a finite number > 0, got 0.0"),
        ({"beta": math.nan}, "beta must be a finite number > 0"),
        ({"beta": ()}, "beta must hold at least one"),
        ({"beta": (0.1, -1)}, "beta must be a finite number > 0, got -1"),
        ({"beta": "0.4"}, "beta"),
        ({"steps": 0}, "steps must be an integer >= 1, got 0"),
        ({"steps": (1, 2)}, "steps must be one number or one for each beta"),
        ({"steps": 2.5}, "steps must be an integer >= 1"),
        ({"batch": 1}, "batch must be an integer >= 2, got 1"),
        ({"batch": True}, "batch must be an integer"),
        ({"seed": -1}, "seed must be an integer in"),
        ({"seed": 2**64}, "seed must be an integer in"),
        ({"learning_rate": 0}, "learning_rate must be a finite number > 0"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"adam_betas": (0.9,)}, "betas must be two numbers"),
        ({"adam_betas": (0.9, 1.0)}, "betas must be two numbers"),
        ({"anneal": 1.0}, r"anneal must be None or a number in \(0, 1\), got 1.0"),
        ({"clip_norm": 0}, "clip_norm must be None or a number > 0"),
        ({"micro_batch": 0}, "micro_batch must be an integer >= 1"),
        ({"schedule": "step"}, "schedule must be one of constant, cosine, plateau"),
        ({"schedule": {"name": "cosine", "end": 1}}, "no argument 'end'; allowed: final"),
        ({"schedule": {"name": "plateau", "factor": 1.5}}, r"factor must be in \(0, 1\)"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        settings(**changes)


def test_settings_survive_json():
    s = settings(beta=(0.1, 0.2), steps=(5, 6), anneal=0.9, schedule={"name": "plateau", "patience": 7})
    assert Settings.from_json(json.loads(json.dumps(s.to_json()))) == s
    with pytest.raises(ValueError, match="settings must hold exactly"):
        Settings.from_json({"beta": 1})


def test_only_steps_may_change_on_resuming():
    s = settings(steps=10)
    assert s.continued_by(settings(steps=20)).steps == (20,)
    with pytest.raises(ValueError, match=r"learning_rate of the stored run is 0\.001, asked for 0\.1"):
        s.continued_by(settings(learning_rate=0.1))
    with pytest.raises(ValueError, match="steps of the stored run is 10, asked for 20"):
        settings(schedule="cosine").continued_by(settings(schedule="cosine", steps=20))
    ladder = settings(beta=(0.1, 0.2), steps=(5, 6))
    with pytest.raises(ValueError, match="steps of the stored run"):
        ladder.continued_by(settings(beta=(0.1, 0.2), steps=(6, 6)))


def test_cosine_goes_from_one_to_final():
    schedule = Cosine(final=0.2)
    assert schedule.factor(0, 100) == 1.0
    assert schedule.factor(50, 100) == pytest.approx(0.6)
    assert schedule.factor(100, 100) == pytest.approx(0.2)
    assert Schedule().factor(50, 100) == 1.0


def test_plateau_waits_then_lowers_and_stops_at_the_lowest():
    schedule = Plateau(factor=0.1, patience=5, window=1, threshold=1e-3, lowest=0.05)
    for loss in (3.0, 2.0, 1.0):
        schedule.observe(loss, True)
    assert schedule.factor(0, 1) == 1.0
    for _ in range(4):
        schedule.observe(0.9995, True)
    assert schedule.factor(0, 1) == 1.0
    schedule.observe(0.9995, True)
    assert schedule.factor(0, 1) == pytest.approx(0.1)
    for _ in range(50):
        schedule.observe(1.0, True)
    assert schedule.factor(0, 1) == 0.05


def test_plateau_does_not_count_while_annealing():
    schedule = Plateau(patience=3, window=1)
    for _ in range(20):
        schedule.observe(1.0, False)
    assert schedule.factor(0, 1) == 1.0


def test_plateau_state_goes_through_json():
    mine, other = Plateau(patience=4, window=3), Plateau(patience=4, window=3)
    losses = [5.0, 4.0, 4.5, 4.4, 4.4, 4.5, 4.6, 4.5, 4.4, 4.5, 4.5, 4.4, 5.0, 5.0, 5.0, 5.0]
    for cut in range(len(losses)):
        mine, other = Plateau(patience=4, window=3), Plateau(patience=4, window=3)
        for loss in losses[:cut]:
            mine.observe(loss, True)
        other.restore(json.loads(json.dumps(mine.state())))
        for loss in losses[cut:]:
            mine.observe(loss, True)
            other.observe(loss, True)
        assert other.state() == mine.state()
    assert mine.factor(0, 1) < 1.0
    with pytest.raises(ValueError, match="has no state"):
        make_schedule("constant").restore(mine.state())
