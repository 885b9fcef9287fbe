"""What was announced comes and ends; the level goes on; what lasts becomes the level."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators.anaesthesia_filter import ANNOUNCED, Round, propagate
from dosetwin.twins.estimators.anaesthesia_prior import Person, prior_ensemble
from dosetwin.twins.estimators.anaesthesia_stimuli import EASES_FOR_MIN, Ahead, Stimuli
from dosetwin.twins.policies.anaesthesia_expected import RELIEVED, Announced, expected_stimulus

from .conftest import START_S, fact


def told(*announcements: tuple[float, str, float, float]) -> Stimuli:
    """Of (at, name, strength, duration)."""
    made = Stimuli()
    for uid, (at, name, strength, lasts_s) in enumerate(announcements):
        assert made.tell(fact(at, "announcement", name, strength, uid, lasts_s))
    return made


def test_one_that_comes_lasts_and_fades_is_seen_so() -> None:
    stimuli = told((100.0, "intubation", 3.0, 80.0))
    at = {s: stimuli.ahead(START_S + s, START_S + s + 180.0) for s in (10.0, 100.0, 150.0, 200.0, 320.0)}
    assert at[10.0] == pytest.approx(Ahead(3.0, 1.5, 80.0 / 60.0, math.inf, 0.0))
    assert at[100.0] == pytest.approx(Ahead(0.0, 0.0, 0.0, 80.0 / 60.0, EASES_FOR_MIN))
    assert at[150.0].left == pytest.approx(0.5)
    assert at[200.0][3:] == pytest.approx((0.0, EASES_FOR_MIN - 20.0 / 60.0))
    assert at[320.0] == Ahead()
    assert [stimuli.phase(START_S + s) for s in (99.0, 100.0, 179.0, 180.0, 299.0, 300.0)] == [
        0,
        1,
        1,
        2,
        2,
        0,
    ]
    assert stimuli.edges(START_S, START_S + 1000.0) == [START_S + s for s in (100.0, 180.0, 300.0)]
    assert stimuli.beginning(START_S + 100.0) == 3.0
    assert not stimuli.tell(fact(100.0, "announcement", "intubation", 3.0, 0, 80.0))


def test_surgery_has_no_end_and_an_intubation_the_usual_one() -> None:
    stimuli = told((0.0, "surgery", 1.0, 0.0))
    assert stimuli.phase(START_S + 1.0) == 0.0
    assert stimuli.ahead(START_S + 3600.0, START_S + 3700.0) == Ahead()
    assert told((0.0, "intubation", 3.0, 0.0)).ahead(START_S, START_S).left == pytest.approx(1.5)


def ensemble(stimulus: float = 1.0) -> np.ndarray:
    made = prior_ensemble(np.random.default_rng(1), Person(50.0, 70.0, 170.0, 1.0))[:, :, None]
    made[row.S] = stimulus
    made[row.SL] = 0.2
    return made


def announcement(**values: float) -> Announced:
    return Announced(*(jnp.full(1, v) for v in Ahead(**values)))


def test_the_level_goes_on_and_what_came_lately_passes_slowly() -> None:
    t = jnp.asarray([0.5, 2.0, 5.0])
    S, after, relieved = expected_stimulus(jnp.asarray(ensemble()), t, announcement(left=1e6))
    passing = np.exp(-np.asarray(t) / row.PASSES_MIN)
    assert np.asarray(S).mean((1, 2)) == pytest.approx(0.2 + passing)
    assert np.allclose(after, 0.2 + passing[-1])
    assert np.allclose(relieved, RELIEVED + 0.2)


def test_what_was_said_to_end_does_so_in_three_of_four_members_and_what_comes_is_expected() -> None:
    t = jnp.asarray([0.5, 1.0, 3.0])
    ends, _, _ = expected_stimulus(jnp.asarray(ensemble()), t, announcement(left=1.0, easing=2.0))
    assert np.asarray(ends[:2]).mean((1, 2)) == pytest.approx(
        0.2 + np.exp(-np.asarray(t[:2]) / row.PASSES_MIN)
    )
    share = np.asarray(ends[2, :, 0]) < 0.5
    assert share.mean() == pytest.approx(0.75)
    comes, _, _ = expected_stimulus(
        jnp.asarray(ensemble(0.0)), t, announcement(strength=3.0, begins=0.75, lasts=1.0, left=1e6)
    )
    assert np.allclose(comes[0], 0.2)
    assert float(comes[1].mean()) == pytest.approx(0.2 + 0.75 * 3.0 * ANNOUNCED, rel=0.15)
    assert float(comes[2].mean()) < float(comes[1].mean())


@pytest.mark.parametrize("phase", [0.0, 1.0])
def test_what_lasts_becomes_the_level_unless_it_was_said_to_pass(phase: float) -> None:
    x = jnp.asarray(ensemble())
    zero = jnp.zeros(1)
    asked = dict.fromkeys(Round._fields, zero) | {
        "h_min": zero + 1.0 / 3.0,
        "phase": zero + phase,
        "key": jnp.ones(1, jnp.uint32),
    }
    moved = propagate(x, Round(**asked))
    went = float((x[row.S] - moved[row.S]).mean())
    passes, settles = (1.0 - math.exp(-1.0 / 3.0 / time) for time in (row.PASSES_MIN, row.STIMULUS_TIME_MIN))
    assert went == pytest.approx(passes + (0.0 if phase else settles), abs=0.05)
    total = float((moved[row.S] + moved[row.SL]).mean())
    assert total == pytest.approx(1.2 - passes, abs=0.05)
