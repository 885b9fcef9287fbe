"""The creatinine that would be steady, against SciPy's integration of the balance that defines it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dosetwin.twins.models.creatinine_kinetics import steady_creatinine, steady_series
from dosetwin.twins.therapies.vancomycin import settled_creatinine

PRODUCTION, WEIGHT = (140 - 60) * 80 / 72, 80.0


@pytest.mark.parametrize("clearance", [25.0, 60.0, 140.0])
def test_two_measurements_give_back_the_clearance(clearance: float) -> None:
    volume_mL = 0.6 * 1000 * WEIGHT

    def field(t_min: float, y: np.ndarray) -> np.ndarray:
        return np.asarray((PRODUCTION - clearance * y) / volume_mL)

    later = float(solve_ivp(field, (0, 24 * 60), [1.1], rtol=1e-10, atol=1e-12).y[0, -1])
    steady = steady_creatinine(1.1, later, 24.0, PRODUCTION, WEIGHT)
    assert PRODUCTION / steady == pytest.approx(clearance, rel=1e-4)


def test_a_steady_creatinine_stays_and_odd_pairs_are_not_believed() -> None:
    assert steady_creatinine(1.1, 1.1, 24.0, PRODUCTION, WEIGHT) == pytest.approx(1.1, rel=1e-6)
    assert steady_creatinine(0.5, 3.0, 12.0, PRODUCTION, WEIGHT) == pytest.approx(6.0, rel=1e-6)
    series = steady_series([0.0, 2.0, 24.0, 200.0], [1.0, 1.1, 1.4, 2.0], [PRODUCTION] * 4, [WEIGHT] * 4)
    assert series[:2] == [1.0, 1.1], "two hours apart tells of the assay"
    assert series[2] > 1.4, "it rose within a day, so it will rise on"
    assert series[3] == 2.0, "a week apart it has settled"


def test_the_therapy_settles_creatinine_but_not_under_dialysis() -> None:
    person = {"age": 60.0, "weight": 80.0, "sex": 1.0, "creatinine": 1.1, "haemodialysis": 0.0}
    stretches = [
        (-1.0, person),
        (24.0, person | {"creatinine": 1.9}),
        (30.0, person | {"creatinine": 1.9, "age": 61.0}),
    ]
    found = settled_creatinine(stretches)
    assert found[0] == stretches[0]
    assert found[1][1]["creatinine"] > 1.9
    assert found[2][1]["creatinine"] == found[1][1]["creatinine"]
    dialysed = [(start, c | {"haemodialysis": 1.0}) for start, c in stretches]
    assert settled_creatinine(dialysed) == dialysed
