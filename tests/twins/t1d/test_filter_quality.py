"""The ensemble filter on simulated patients: of its own model, and of the UVA/Padova plant."""

from __future__ import annotations

import numpy as np
import pytest
from jax import Array

from dosetwin.twins.estimators.ensemble_calibration import Calibration, calibrate
from dosetwin.twins.estimators.ensemble_filter import update
from dosetwin.twins.estimators.ensemble_layout import MEMBERS
from dosetwin.twins.estimators.ensemble_simulated_patients import PlantPatients, PriorPatients

PATIENTS = 120


def within(found: float, level: float, patients: int, allowed: float) -> bool:
    """Two standard errors of a coverage with three independent cases a patient, and what a filter of few
    members is allowed besides; an interval of M members covers no more than (M - 1) / (M + 1)."""
    error = 2.0 * np.sqrt(level * (1.0 - level) / (3.0 * patients))
    return bool(abs(found - min(level, (MEMBERS - 1) / (MEMBERS + 1))) < allowed + error)


def allowed(lead_min: int) -> float:
    """Within an hour 0.03; at 2 h twice that, since the twin expects meals that these patients never eat."""
    return 0.03 if lead_min <= 60 else 0.06


@pytest.fixture(scope="module")
def own() -> Calibration:
    return calibrate(PriorPatients(PATIENTS, seed=5), hours=6, seed=7)


def test_on_its_own_model_intervals_cover_what_they_say(own: Calibration) -> None:
    for level in (0.5, 0.9, 0.95):
        assert within(own.one_step.coverage[level], level, PATIENTS, 0.02), level
        for lead, scores in own.ahead.items():
            assert within(scores.coverage[level], level, PATIENTS, allowed(lead)), (lead, level)


def test_ranks_of_readings_are_flat(own: Calibration) -> None:
    assert own.one_step.ranks.p_value > 0.01
    assert own.one_step.ranks.counts.sum() == 3 * PATIENTS


def test_readings_are_worth_something(own: Calibration) -> None:
    """Against the same ensemble that sees no reading, and against climatology."""
    gain = {0: 0.35, 30: 0.5, 60: 0.65, 120: 0.85}
    assert own.one_step.crps < 0.25 * min(own.one_step.crps_prior, own.one_step.crps_climatology)
    for lead, scores in own.ahead.items():
        assert scores.crps < gain[lead] * min(scores.crps_prior, scores.crps_climatology), lead


def test_worse_filters_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above would be empty if a filter that is too sure of itself passed them."""

    def overconfident(x: Array, reading: Array, censored: Array) -> tuple[Array, Array, Array]:
        x, mean, sd = update(x, reading, censored)
        centre = x.mean(1, keepdims=True)
        return centre + 0.7 * (x - centre), mean, sd

    monkeypatch.setattr("dosetwin.twins.estimators.ensemble_calibration.update", overconfident)
    patients = 2 * PATIENTS
    made = calibrate(PriorPatients(patients, seed=5), hours=4, seed=7)
    assert not within(made.one_step.coverage[0.9], 0.9, patients, 0.02)
    assert not within(made.ahead[0].coverage[0.9], 0.9, patients, 0.03)


@pytest.mark.slow
def test_on_many_patients_of_its_own_model() -> None:
    made = calibrate(PriorPatients(400, seed=5), hours=9, seed=7)
    assert made.one_step.ranks.p_value > 0.001
    for level in (0.5, 0.9, 0.95):
        assert within(made.one_step.coverage[level], level, 400, 0.015)
        for lead, scores in made.ahead.items():
            assert within(scores.coverage[level], level, 400, allowed(lead)), (lead, level)


@pytest.mark.slow
def test_on_the_plant_it_helps_and_is_not_overconfident() -> None:
    """Another model's patients: better than without readings up to an hour, and intervals that are too wide
    rather than too narrow."""
    made = calibrate(PlantPatients(200, seed=5), hours=8, seed=7)
    assert made.one_step.coverage[0.9] > 0.87
    for lead, scores in made.ahead.items():
        assert scores.coverage[0.9] > 0.85, lead
        assert scores.crps < 0.9 * scores.crps_prior, lead
    for lead in (0, 30, 60):
        assert made.ahead[lead].crps < 0.9 * made.ahead[lead].crps_climatology, lead
