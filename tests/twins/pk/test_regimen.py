"""Regimen candidates: schedules, exposure by an independent integral, and choices a clinician would make."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from dosetwin.twins.events import TwinEvent
from dosetwin.twins.policies.regimen_schedule import Regimen, future_doses, running_regimen
from dosetwin.twins.therapies.vancomycin import POLICY, make_bank

T0 = 1.7e9
H = 3600.0
PATIENT = {"age": 50.0, "weight": 70.0, "sex": 1.0, "creatinine": 0.9}


def concentration(t: float, starts: list[float], p: dict[str, float], dose: float = 1000.0) -> float:
    """mg/L at t h under doses over one hour: the textbook's two exponentials."""
    k10, k12, k21 = p["CL"] / p["V1"], p["Q2"] / p["V1"], p["Q2"] / p["V2"]
    fast, slow = np.sort(np.roots([1.0, -(k10 + k12 + k21), k10 * k21]).real)[::-1]
    total = 0.0
    for start in starts:
        for rate, other in ((fast, slow), (slow, fast)):
            share = (rate - k21) / (rate - other) / p["V1"]
            a, b = max(t - start, 0.0), max(t - start - 1.0, 0.0)
            total += dose * share * (np.exp(-rate * b) - np.exp(-rate * a)) / rate
    return float(total)


def test_the_running_regimen_is_read_from_the_doses() -> None:
    twice = [(0.0, 1.0, 0.0, 1000.0), (12.0, 1.0, 0.0, 1000.0)]
    assert running_regimen(twice, 20.0) == Regimen(1000.0, 1.0, 12.0)
    assert running_regimen(twice, 6.0) == Regimen(1000.0, 1.0, 12.0), "one dose alone: every 12 h"
    assert running_regimen(twice, 37.0) is None, "two intervals overdue: stopped"
    assert running_regimen([], 1.0) is None
    assert running_regimen([(0.0, np.inf, 0.0, 5.0)], 1.0) is None, "a pump's rate goes on by itself"


def test_a_new_regimen_joins_the_schedule_that_runs() -> None:
    doses, trough = future_doses([None, Regimen(750.0, 0.75, 8.0)], 12.0, 15.0, 24.0, 6)
    assert doses[0, 1, :3].tolist() == [20.0, 28.0, 36.0]
    assert doses[3, 1].tolist() == [1000.0, 1000.0, 1000.0, 0.0, 0.0, 0.0]
    assert trough.tolist() == [39.0, 36.0]
    overdue, _ = future_doses([Regimen(750.0, 0.75, 8.0)], -np.inf, 15.0, 24.0, 6)
    assert overdue[0, 0, 0] == 15.0


def test_first_dose_is_chosen_from_covariates_alone() -> None:
    twins = make_bank(4, 0)
    twins.enrol("strong", at_s=T0, covariates=PATIENT, targets={})
    twins.enrol("weak", at_s=T0, covariates=PATIENT | {"creatinine": 3.5}, targets={})
    found = twins.decide(["strong", "weak"], [T0, T0])
    assert found.candidates[0] == "keep"
    assert len(found.candidates) == 22
    assert (found.best > 0).all(), "nothing is running, so something must be proposed"
    per_day = []
    for i in range(2):
        (order,) = found.orders[i][found.best[i]]
        assert order.kind == "regimen"
        assert (order.drug, order.unit, order.route) == ("vancomycin", "mg", "intravenous")
        assert order.amount / (order.duration_s / H) == pytest.approx(1000.0)
        per_day.append(order.amount * 24 * H / order.interval_s)
    assert per_day[0] > 1.5 * per_day[1]
    assert found.orders[0][0] == ()
    assert found.bands["vancomycin"].shape == (2, 5, 25)
    assert (np.diff(found.bands["vancomycin"], axis=1) >= 0).all()
    assert set(found.estimates) == {"CL", "V", "AUC24"}


def test_exposure_is_the_integral_of_the_concentration() -> None:
    """The area by mass balance against quadrature of the same patient's two exponentials, written out."""
    twins = make_bank(1, 0)
    twins.enrol("p", at_s=T0, covariates=PATIENT, targets={})
    doses = [TwinEvent(T0 + 12 * H * k, "infusion", "vancomycin", 1000.0, k + 1, H) for k in range(4)]
    rng = np.random.default_rng(1)
    # many levels, all as the typical patient would have them, so that the posterior is narrow there
    typical = twins.modes(["p"], [T0])[0]
    starts = [0.0, 12.0, 24.0, 36.0]
    levels = [
        TwinEvent(T0 + t * H, "observation", "vancomycin", concentration(t, starts, typical), 100 + i)
        for i, t in enumerate(rng.uniform(1.5, 38, 60))
    ]
    twins.assimilate([("p", fact) for fact in [*doses, *levels]])
    found = twins.decide(["p"], [T0 + 40 * H])
    going_on = [*starts, *(48.0 + 12 * k for k in range(4))]
    expected = quad(concentration, 64, 88, args=(going_on, typical), limit=200, points=[72, 73, 84, 85])[0]
    keep = found.candidates.index("keep")
    low, high = POLICY.targets["auc24_low"], POLICY.targets["auc24_high"]
    assert found.attainment[0, keep] == pytest.approx(float(low <= expected <= high), abs=0.25)
    median = found.evidence["auc24_median"][0]
    (order,) = found.orders[0][found.best[0]] or (None,)
    daily = 2000.0 if order is None else order.amount * 24 * H / order.interval_s
    assert median == pytest.approx(expected * daily / 2000.0, rel=0.12)


def test_a_patient_on_target_is_kept_and_an_overdosed_one_is_cut() -> None:
    twins = make_bank(2, 0)
    own = {"CL": 4.0, "V1": 58.4, "Q2": 6.5, "V2": 38.4}  # AUC24 of 1 g every 12 h: 500 mg.h/L
    starts = [12.0 * k for k in range(5)]
    for name, amount in (("fine", 1000.0), ("much", 2000.0)):
        twins.enrol(name, at_s=T0, covariates=PATIENT, targets={})
        facts = [TwinEvent(T0 + s * H, "infusion", "vancomycin", amount, k, H) for k, s in enumerate(starts)]
        facts += [
            TwinEvent(T0 + t * H, "observation", "vancomycin", concentration(t, starts, own, amount), 100 + i)
            for i, t in enumerate([2.0, 6.0, 11.5, 14.0, 23.5, 26.0, 30.0, 35.5, 38.0, 42.0, 47.5, 50.0])
        ]
        twins.assimilate([(name, fact) for fact in facts])
    found = twins.decide(["fine", "much"], [T0 + 52 * H] * 2)
    assert found.candidates[found.best[0]] == "keep"
    (order,) = found.orders[1][found.best[1]]
    assert order.amount * 24 * H / order.interval_s < 3000.0
    assert not found.feasible[1, 0], "going on at 4 g a day is no option"
    assert found.risks["auc_above_600"][1, 0] > 0.9
    assert np.isfinite(found.time_to_event_s[1]) or found.risks["auc_above_600"][1, found.best[1]] < 0.5
    lower_bank = make_bank(1, 0)
    lower_bank.enrol("fine", at_s=T0, covariates=PATIENT, targets={"auc24_low": 100.0, "auc24_high": 200.0})
    lower = lower_bank.decide(["fine"], [T0])
    (small,) = lower.orders[0][lower.best[0]]
    assert small.amount * 24 * H / small.interval_s <= 1250.0, "an enrolment's own target is obeyed"
