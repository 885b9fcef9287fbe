"""The optimiser against analytic answers and brute force."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import solve_ivp

from dosetwin.twins.data.subject import Dose, Observation, subject
from dosetwin.twins.dosing.optimisation import Recommendation, evaluate, optimise_regimen
from dosetwin.twins.dosing.products import Limits, Product, Regimen
from dosetwin.twins.dosing.targets import Target, auc, auc24, peak, trough
from dosetwin.twins.inference.subject_posterior import SubjectPosterior, from_etas, from_population
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Additive, LogNormal, Observed, Parameter, PopulationModel

Values = npt.NDArray[np.float64]
CL, V = 4.0, 20.0
MODEL = PopulationModel(
    one_compartment(),
    (Parameter("CL", CL, "L/h", LogNormal(0.09)), Parameter("V1", V, "L", LogNormal(0.04))),
    Observed("drug", "mg/L", Additive(1.0)),
    "made up for this test",
)
SOURCE = "made up for this test"
NEW = subject("new", [], [Observation(0, None)])
FINE = (Product("solution, 1 mg steps", 1),)


@pytest.fixture(scope="module")
def typical() -> SubjectPosterior:
    return from_etas(MODEL, NEW)


@pytest.fixture(scope="module")
def population() -> SubjectPosterior:
    return from_population(MODEL, NEW, samples=500)


def best(samples: SubjectPosterior, targets: list[Target], **more: object) -> Recommendation:
    given: dict[str, object] = {
        "start": 0.0,
        "products": FINE,
        "limits": Limits(2000),
        "intervals": [12.0],
    }
    return optimise_regimen(samples, targets, **(given | more))  # type: ignore[arg-type] # checked at the call


def test_dose_is_area_times_clearance(typical: SubjectPosterior) -> None:
    # one bolus, the whole area: within +-0.6 mg of AUC x CL = 240 only 240 mg is a whole number
    found = best(typical, [auc(60 - 0.15, 60 + 0.15, 0, 400, "mg.h/L", SOURCE)], intervals=[400.0])
    assert found.regimen.amount == 60 * CL
    assert found.regimen.count == 1
    assert found.reached
    assert found.exposure["mean"].iloc[0] == pytest.approx(60, rel=1e-9)
    assert "240 mg once" in found.reason


def test_dose_for_a_trough_and_a_peak(typical: SubjectPosterior) -> None:
    # after n doses every 12 h: trough = D/V e (1 - e^n)/(1 - e), e = exp(-k 12)
    e = math.exp(-12 * CL / V)
    per_mg = e * (1 - e**4) / (1 - e) / V
    amount = 700
    found = best(typical, [trough(per_mg * 699.6, per_mg * 700.4, 48, "mg/L", SOURCE)])
    assert found.regimen.amount == amount
    top = (1 - e**4) / (1 - e) / V
    high = best(typical, [peak(top * 699.6, top * 700.4, 24, 48, "mg/L", SOURCE)])
    assert high.regimen.amount == amount


def test_what_is_left_of_earlier_doses_counts() -> None:
    before = subject("old", [Dose(0, 400, interval=12, additional=9)], [Observation(5, None)])
    samples = from_etas(MODEL, before)
    # the records' own doses from 24 h on are replaced
    left = 400 / CL * sum(math.exp(-CL / V * (24 - t)) * (1 - math.exp(-CL / V * 12)) for t in (0, 12))
    new = 300 / CL * (1 - math.exp(-CL / V * 12))
    found = best(samples, [auc(left + new - 0.05, left + new + 0.05, 0, 12, "mg.h/L", SOURCE)], start=24.0)
    assert found.regimen.amount == 300
    assert found.plan.doses[0].time == 24


def test_chances_equal_brute_force(population: SubjectPosterior) -> None:
    few = population.thinned(6)
    regimen = Regimen(300, 8, 3, duration=1.0)
    targets = [
        auc24(150, 260, 0, 24, "mg.h/L", SOURCE),
        trough(2, 6, 24, "mg/L", SOURCE),
        peak(10, 16, 0, 24, "mg/L", SOURCE),
    ]
    found = evaluate(few, targets, [regimen], 0.0)[0]
    for s, (cl, v) in enumerate(few.parameters()[["CL", "V1"]].to_numpy()):
        x, area, top = 0.0, 0.0, 0.0
        for k in range(3):
            for a, b, rate in ((0, 1, 300.0), (1, 8, 0.0)):

                def slope(
                    t: float, y: Values, rate: float = rate, cl: float = cl, v: float = v
                ) -> list[float]:
                    return [rate - cl / v * y[0], y[0] / v]

                end = solve_ivp(slope, (8 * k + a, 8 * k + b), [x, area], rtol=1e-10, atol=1e-12).y
                x, area, top = end[0, -1], end[1, -1], max(top, end[0].max() / v)
        assert [float(values[s]) for values in found.values] == pytest.approx([area, x / v, top], rel=1e-7)
    inside = np.array([t.attained(v) for t, v in zip(targets, found.values, strict=True)])
    assert found.joint.value == pytest.approx(inside.all(axis=0).mean())


def test_the_search_finds_what_trying_everything_finds(population: SubjectPosterior) -> None:
    targets = [auc24(180, 260, 24, 48, "mg.h/L", SOURCE), trough(0, 5, 48, "mg/L", SOURCE)]
    tablets = (Product("50 mg", 50),)
    found = best(population, targets, products=tablets, limits=Limits(1500), quick=500)
    every = evaluate(population, targets, [Regimen(a, 12.0, 4) for a in range(50, 1501, 50)], 0.0)
    top = max(every, key=lambda e: e.rank)
    assert found.regimen.amount == top.regimen.amount
    assert found.joint == top.joint
    # exposure grows with the dose in every sample; the chance of too much too
    areas = np.array([e.values[0] for e in every])
    assert (np.diff(areas, axis=0) > 0).all()
    np.testing.assert_allclose(areas[9] / areas[0], 10, rtol=1e-9)  # linear


def test_nothing_is_above_the_limits(population: SubjectPosterior) -> None:
    greedy = [auc24(5000, 6000, 0, 48, "mg.h/L", SOURCE)]
    limits = Limits(700, highest_daily=1500, highest_rate=400)
    found = best(
        population,
        greedy,
        products=(Product("vial 250 mg", 250), Product("vial 100 mg", 100)),
        limits=limits,
        intervals=[6.0, 8.0, 12.0, 24.0],
        durations=[1.0, 2.0],
        loadings=(1.0, 2.0),
        quick=100,
    )
    assert not found.reached
    assert "No regimen on offer attains" in found.reason
    assert limits.allow(found.regimen)
    columns = ["amount", "loading", "interval", "duration"]
    for amount, loading, interval, duration in found.alternatives[columns].to_numpy(np.float64):
        assert max(amount, loading) <= 700
        assert amount * 24 / interval <= 1500 + 1e-6
        assert max(amount, loading) / duration <= 400 + 1e-6
        assert round(max(amount, loading)) % 50 == 0


def test_a_required_chance_refuses(population: SubjectPosterior) -> None:
    wanted = auc24(200, 320, 24, 48, "mg.h/L", SOURCE)
    free = best(population, [wanted])
    safe = trough(0, 3, 48, "mg/L", SOURCE, required=0.9)
    held = best(population, [wanted, safe])
    assert held.chances[1].value >= 0.9
    assert held.regimen.amount < free.regimen.amount
    impossible = trough(50, 60, 48, "mg/L", SOURCE, required=0.9)
    none = best(population, [wanted, impossible])
    assert not none.reached
    assert "required chances" in none.reason


def test_no_regimen_within_the_limits_is_an_error(typical: SubjectPosterior) -> None:
    with pytest.raises(ModelError, match="no regimen within the limits"):
        best(typical, [auc(1, 2, 0, 24, "mg.h/L", SOURCE)], limits=Limits(2000, highest_daily=0.5))
    with pytest.raises(ModelError, match="no target"):
        best(typical, [])
