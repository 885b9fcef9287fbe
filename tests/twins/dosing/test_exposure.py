"""Exposures against closed forms and SciPy's adaptive quadrature."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq

from dosetwin.twins.data.subject import Dose, Observation, subject
from dosetwin.twins.dosing.exposure import Plan, Window, exposure
from dosetwin.twins.inference.subject_posterior import from_etas
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.michaelis_menten import michaelis_menten
from dosetwin.twins.models.ode_solvers import FixedStep
from dosetwin.twins.population_model import Additive, LogNormal, Observed, Parameter, PopulationModel

Values = npt.NDArray[np.float64]
CL, V, KA, LAG = 5.0, 40.0, 0.9, 0.7
ORAL = PopulationModel(
    one_compartment("first_order"),
    (
        Parameter("CL", CL, "L/h", LogNormal(0.1)),
        Parameter("V1", V, "L"),
        Parameter("ka", KA, "1/h"),
        Parameter("lag", LAG, "h", LogNormal(0.1)),
        Parameter("F", 0.8, "1"),
    ),
    (
        Observed("drug", "mg/L", Additive(1.0)),
        Observed("effect", "%", Additive(1.0), output=lambda p, y: 100 * y.central / (2.0 + y.central)),
    ),
    "made up for this test",
)
HISTORY = subject("1", [Dose(0, 100, interval=12, additional=3)], [Observation(5, 1.0)])
PLAN = Plan((Dose(24, 150), Dose(36, 150)), start=24)
ETAS = pd.DataFrame({"CL": [0.0, 0.3, -0.4], "lag": [0.0, -0.5, 0.6]})
WINDOW = Window(24, 48, low=1.2, high=2.4)


def oral(eta: tuple[float, float]) -> Callable[[float], float]:
    k, lag = CL * math.exp(eta[0]) / V, LAG * math.exp(eta[1])

    def concentration(t: float) -> float:
        total = 0.0
        for at, amount in ((0, 100), (12, 100), (24, 150), (36, 150)):
            age = t - at - lag
            if age > 0:
                total += 0.8 * amount * KA / V / (KA - k) * (math.exp(-k * age) - math.exp(-KA * age))
        return total

    return concentration


def kinks(eta: tuple[float, float]) -> list[float]:
    return [24.0, *(at + LAG * math.exp(eta[1]) for at in (24, 36)), 48.0]


def pieces(f: Callable[[float], float], edges: list[float]) -> float:
    return sum(quad(f, a, b, epsabs=1e-12, epsrel=1e-12, limit=400)[0] for a, b in itertools.pairwise(edges))


def time_above(f: Callable[[float], float], threshold: float, edges: list[float]) -> float:
    total = 0.0
    for a, b in itertools.pairwise(edges):
        grid = np.linspace(a, b, 400)
        cuts = [a, b]
        for left, right in itertools.pairwise(grid):
            if (f(left) - threshold) * (f(right) - threshold) < 0:
                cuts.append(brentq(lambda t: f(t) - threshold, left, right, xtol=1e-13))
        cuts.sort()
        total += sum(r - q for q, r in itertools.pairwise(cuts) if f(0.5 * (q + r)) > threshold)
    return total


def test_oral_with_individual_lags() -> None:
    found = exposure(from_etas(ORAL, HISTORY, ETAS), WINDOW, PLAN, times=[30.0, 26.0])
    for s, row in enumerate(ETAS.itertuples(index=False)):
        eta = (float(row[0]), float(row[1]))
        f, edges = oral(eta), kinks(eta)
        assert found.area[s] == pytest.approx(pieces(f, edges), rel=1e-8)
        assert found.trough[s] == pytest.approx(f(48.0), rel=1e-9)
        np.testing.assert_allclose(found.course[s], [f(30.0), f(26.0)], rtol=1e-9)
        dense = np.array([f(t) for a, b in itertools.pairwise(edges) for t in np.linspace(a, b, 4001)])
        assert found.highest[s] == pytest.approx(dense.max(), abs=float(found.level_error[s]) + 1e-6)
        assert found.lowest[s] == pytest.approx(dense.min(), abs=float(found.level_error[s]) + 1e-6)
        above, over = time_above(f, 1.2, edges), time_above(f, 2.4, edges)
        assert found.time_above[s] == pytest.approx(above, abs=float(found.time_error[s]))
        assert found.time_within[s] == pytest.approx(above - over, abs=float(found.time_error[s]))
        assert found.time_error[s] < 2e-3
    assert found.average == pytest.approx(found.area / 24)
    assert (found.area_error == 0).all()  # by mass balance


def test_a_direct_effect_by_quadrature() -> None:
    found = exposure(from_etas(ORAL, HISTORY, ETAS), WINDOW, PLAN, output=2)
    for s, row in enumerate(ETAS.itertuples(index=False)):
        eta = (float(row[0]), float(row[1]))
        f = oral(eta)
        expected = pieces(lambda t, f=f: 100 * f(t) / (2 + f(t)), kinks(eta))  # type: ignore[misc] # bound
        assert found.area[s] == pytest.approx(expected, rel=1e-8)
        assert abs(found.area[s] - expected) <= found.area_error[s] + 1e-10 * expected
    assert found.unit == "%"


def test_only_areas_are_the_same_areas() -> None:
    samples = from_etas(ORAL, HISTORY, ETAS)
    quick = exposure(samples, WINDOW, PLAN, levels=False)
    full = exposure(samples, WINDOW, PLAN)
    np.testing.assert_allclose(quick.area, full.area, rtol=1e-12)
    np.testing.assert_allclose(quick.trough, full.trough, rtol=1e-12)
    assert np.isnan(quick.highest).all()
    assert "area" in quick.quantiles().index
    assert "highest" not in quick.quantiles().index


def test_steady_state_area_is_dose_over_clearance() -> None:
    steady = subject("1", [Dose(0, 100, interval=12, steady_state=1, additional=2)], [Observation(24, None)])
    for levels in (False, True):
        found = exposure(from_etas(ORAL, steady, ETAS), Window(0, 12), levels=levels)
        np.testing.assert_allclose(found.area, 80 / (CL * np.exp(ETAS["CL"])), rtol=1e-9)
        at_12 = exposure(from_etas(ORAL, steady, ETAS), Window(12, 24), levels=levels)
        np.testing.assert_allclose(at_12.trough, found.trough, rtol=1e-9)


def test_a_bolus_peaks_just_after_it() -> None:
    iv = PopulationModel(
        one_compartment(),
        (Parameter("CL", CL, "L/h", LogNormal(0.1)), Parameter("V1", V, "L")),
        Observed("drug", "mg/L", Additive(1.0)),
        "made up for this test",
    )
    given = subject("1", [Dose(0, 400), Dose(6, 400)], [])
    found = exposure(from_etas(iv, given), Window(0, 12, low=5.0))
    after = 10 * (1 + math.exp(-6 * CL / V))
    assert found.highest[0] == pytest.approx(after, rel=1e-12)
    assert found.lowest[0] == pytest.approx(10 * math.exp(-6 * CL / V), rel=1e-12)
    # 10 mg/L falls to 5 after V/CL log 2 = 5.5 h; the second peak to 5 only after the window
    assert found.time_above[0] == pytest.approx(V / CL * math.log(2) + 6, abs=1e-4)
    half = exposure(from_etas(iv, given), Window(1, 5), levels=False)
    assert half.area[0] == pytest.approx(400 / CL * (math.exp(-CL / V) - math.exp(-5 * CL / V)), rel=1e-12)


def test_saturable_elimination_by_quadrature() -> None:
    model = PopulationModel(
        michaelis_menten(solver=FixedStep(0.02)),
        (
            Parameter("Vmax", 20.0, "mg/h", LogNormal(0.1)),
            Parameter("Km", 2.0, "mg/L"),
            Parameter("V1", 20.0, "L"),
        ),
        Observed("drug", "mg/L", Additive(1.0)),
        "made up for this test",
    )
    given = subject("1", [Dose(0, 200, duration=2)], [])
    found = exposure(from_etas(model, given, {"Vmax": 0.2}), Window(1, 13, low=4.0), panels=24)
    top = 20 * math.exp(0.2)

    def slope(t: float, x: Values) -> list[float]:
        c = x[0] / 20
        return [(100.0 if t < 2 else 0.0) - top * c / (2 + c)]

    first = solve_ivp(slope, (0, 2), [0.0], rtol=1e-11, atol=1e-12, dense_output=True)
    second = solve_ivp(
        slope, (2, 13), first.y[:, -1], rtol=1e-11, atol=1e-12, dense_output=True, method="DOP853"
    )

    def c(t: float) -> float:
        sol = first.sol if t < 2 else second.sol
        assert sol is not None
        return float(sol(t)[0]) / 20

    assert found.area[0] == pytest.approx(pieces(c, [1.0, 2.0, 13.0]), rel=1e-6)
    assert found.highest[0] == pytest.approx(c(2.0), rel=1e-6)
    assert found.time_above[0] == pytest.approx(time_above(c, 4.0, [1.0, 2.0, 13.0]), abs=1e-3)


def test_refusals() -> None:
    samples = from_etas(ORAL, HISTORY, ETAS)
    with pytest.raises(ModelError, match="begin before end"):
        exposure(samples, Window(5, 5))
    with pytest.raises(ModelError, match=r"expected 1\.\.2"):
        exposure(samples, WINDOW, output=3)
    started = replace(HISTORY, evid=np.where(HISTORY.time == 5, 3, HISTORY.evid))
    with pytest.raises(ModelError, match="reset at 5"):
        exposure(from_etas(ORAL, started, ETAS), Window(0, 12))
