"""Subjects built by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dosetwin.twins.data.subject import Dataset, Dose, Observation, RecordError, subject


def test_rows_are_in_order_with_troughs_before_doses() -> None:
    patient = subject(
        "1",
        [Dose(12, 100), Dose(0, 100)],
        [Observation(12, 4.0), Observation(3, 8.0)],
        {"WT": 70.0, "CRCL": [(6, 80.0), (0, 90.0)]},
    )
    np.testing.assert_array_equal(patient.time, [0, 3, 6, 12, 12])
    np.testing.assert_array_equal(patient.evid, [1, 0, 2, 0, 1])
    np.testing.assert_array_equal(patient.covariates["CRCL"], [90, 90, 80, 80, 80])
    np.testing.assert_array_equal(patient.covariates["WT"], [70] * 5)
    assert Dataset((patient,))["1"] is patient
    assert Dataset((patient,)).observations == 2


@pytest.mark.parametrize(
    "change",
    [
        {"amount": -1.0},
        {"amount": math.nan},
        {"rate": -3.0},
        {"rate": math.inf},
        {"duration": -1.0},
        {"rate": 5.0, "duration": 1.0},
        {"rate": -2.0, "duration": 1.0},
        {"additional": 2},
        {"additional": -1, "interval": 12.0},
        {"compartment": -1},
        {"steady_state": 1},
        {"steady_state": 3, "interval": 12.0},
        {"time": math.inf},
    ],
)
def test_an_impossible_dose_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="subject p"):
        subject("p", [Dose(**{"time": 0.0, "amount": 10.0} | change)], [])


def test_the_steady_state_of_an_infusion_without_end_is_a_dose() -> None:
    assert len(subject("p", [Dose(0, 0, rate=5, steady_state=1)], [])) == 1


@pytest.mark.parametrize(
    "observation",
    [Observation(0, 1.0, censored=2), Observation(0, None, censored=1), Observation(0, math.inf)],
)
def test_an_impossible_observation_is_refused(observation: Observation) -> None:
    with pytest.raises(RecordError, match="subject p"):
        subject("p", [], [observation])


@pytest.mark.parametrize("course", [math.nan, math.inf, [], [(0.0, math.nan)], [(math.nan, 1.0)]])
def test_an_impossible_covariate_is_refused(course: Any) -> None:
    with pytest.raises(RecordError, match="covariate WT"):
        subject("p", [Dose(0, 1)], [], {"WT": course})
