"""Curves between the records against the closed form, for both ways of interpolating covariates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dosetwin.twins.data.subject import Dose, Observation, subject
from dosetwin.twins.diagnostics.curves import individual_curves
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.population_model import Interpolation, PopulationModel
from dosetwin.twins.simulation.cohort import cohort

from .conftest import CL, DOSE_MG, OMEGA2, V1, Values


@pytest.mark.parametrize("interpolation", ["next_value_backward", "last_value_forward"])
def test_a_changing_covariate_and_a_second_dose(model: PopulationModel, interpolation: Interpolation) -> None:
    changed = replace(model, interpolation=interpolation)
    one = subject(
        "A",
        [Dose(0.0, DOSE_MG, interval=12.0, additional=1)],
        [Observation(6.0, 3.0), Observation(24.0)],
        {"weight": [(0.0, 70.0), (6.0, 140.0)]},
    )
    eta = np.array([0.3, -0.2])
    nothing: list[tuple[Values, ...]] = [(np.zeros(0),)] * 4
    one_value = np.zeros(1)
    codes = np.zeros(1, np.int64)
    fits = IndividualFits(
        changed,
        cohort(changed, [one]),
        (eta / np.sqrt(OMEGA2),),
        one_value,
        one_value,
        np.ones(1, np.bool_),
        codes,
        codes,
        codes,
        *nothing,
    )
    curve = individual_curves(fits, points=97)
    t = curve["TIME"].to_numpy()
    assert t[0] == 0
    assert t[-1] == 24
    for name, (e_cl, e_v) in (("PRED", (0.0, 0.0)), ("IPRED", eta)):
        v = V1 * np.exp(e_v)
        first, later = CL / v * np.exp(e_cl) * np.array([1.0, 2.0])
        # the record at 6 has the new weight: backward it holds from 0 on
        first = later if interpolation == "next_value_backward" else first

        def lost(t: np.ndarray, first: float = first, later: float = later) -> np.ndarray:
            found: np.ndarray = first * np.minimum(t, 6) + later * np.maximum(t - 6, 0)
            return found

        expected = DOSE_MG / v * np.exp(-lost(t))
        expected = expected + np.where(t >= 12, DOSE_MG / v * np.exp(-(lost(t) - lost(np.array(12.0)))), 0)
        np.testing.assert_allclose(curve[name], expected, rtol=1e-9)
    before = curve[curve["TIME"] < 12].iloc[-1]
    peak = curve[curve["TIME"] == 12].iloc[0]
    assert before["TIME"] > 11.999
    assert peak["PRED"] - before["PRED"] == pytest.approx(DOSE_MG / V1, rel=1e-3)
