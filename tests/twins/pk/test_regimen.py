"""Regimens: schedules, a first dose against a Monte Carlo written out, choices a clinician would make."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.integrate import quad

from dosetwin.twins import ClosedLoop, Patient
from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators.history_bank import HistoryBank
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.policies.regimen_aims import Aim, Exposure, judge
from dosetwin.twins.policies.regimen_levels import LEVEL_COST
from dosetwin.twins.policies.regimen_plans import Plan
from dosetwin.twins.policies.regimen_schedule import (
    Regimen,
    certain,
    day_of_treatment,
    entered_between,
    future_doses,
    running_regimen,
)
from dosetwin.twins.therapies.vancomycin import (
    CENTRAL_L,
    DRIFT_SD,
    EXCHANGE_L_H,
    EXCHANGE_SD,
    POLICY,
    PRODUCTS,
    make_bank,
    therapy,
)

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


def given(hours: float, amount: float = 1000.0, uid: int = 0) -> TwinEvent:
    return TwinEvent(T0 + hours * H, "infusion", "vancomycin", amount, uid or int(hours * 10) + 1, H)


def test_the_running_regimen_is_read_from_the_doses() -> None:
    twice = [(0.0, 1.0, 0.0, 1000.0), (12.0, 1.0, 0.0, 1000.0)]
    thrice = [*twice, (24.0, 1.0, 0.0, 1000.0)]
    assert running_regimen(twice, 20.0) == Regimen(1000.0, 1.0, 12.0)
    assert running_regimen(twice, 6.0) == Regimen(1000.0, 1.0, 12.0), "one dose alone: every 12 h"
    assert running_regimen(twice, 37.0) is None, "two intervals overdue: stopped"
    assert running_regimen([], 1.0) is None
    assert running_regimen([(0.0, np.inf, 0.0, 5.0)], 1.0) is None, "a pump's rate goes on by itself"
    assert certain([], 0.0)
    assert not certain(twice, 20.0), "the first may have been a loading dose"
    assert certain(thrice, 30.0)
    assert not certain(thrice, 38.0), "one was missed"
    assert not certain([*twice, (24.0, 1.0, 0.0, 750.0)], 30.0)
    assert not certain([*twice, (36.0, 1.0, 0.0, 1000.0)], 40.0), "missed, or every 24 h from now on"


def test_days_of_treatment_count_from_the_first_dose_of_the_course() -> None:
    doses = [
        (0.0, 1.0, 0.0, 1000.0),
        (100.0, 1.0, 0.0, 1000.0),
        (112.0, 1.0, 0.0, 1000.0),
        (130.0, 2.0, 500.0, 250.0),
    ]
    assert day_of_treatment([], 5.0) == 5.0
    assert day_of_treatment(doses, 99.0) == 99.0, "a course that ended"
    assert day_of_treatment(doses, 120.0) == 100.0
    assert day_of_treatment(doses, 124.0) == 124.0
    assert entered_between(doses, 0.5, 113.0) == pytest.approx(500.0 + 1000.0 + 1000.0)
    assert entered_between(doses, 129.0, 131.0) == pytest.approx(500.0 + 250.0)


def test_a_new_regimen_joins_the_schedule_that_runs() -> None:
    doses, trough = future_doses([None, Regimen(750.0, 0.75, 8.0)], 12.0, 15.0, 24.0, 6)
    assert doses[0, 1, :3].tolist() == [20.0, 28.0, 36.0]
    assert doses[3, 1].tolist() == [1000.0, 1000.0, 1000.0, 0.0, 0.0, 0.0]
    assert trough.tolist() == [39.0, 36.0]
    overdue, _ = future_doses([Regimen(750.0, 0.75, 8.0)], -np.inf, 15.0, 24.0, 6)
    assert overdue[0, 0, 0] == 15.0


def test_an_extra_dose_comes_first_and_what_is_offered_can_be_drawn_up() -> None:
    plan = Plan(1750.0, Regimen(1000.0, 1.0, 12.0), 12.0)
    extra, regimen = plan.orders(PRODUCTS)
    assert (extra.kind, extra.amount, extra.duration_s) == ("infusion", 1750.0, 1.75 * H)
    assert (regimen.kind, regimen.amount, regimen.duration_s, regimen.interval_s) == (
        "regimen",
        1000.0,
        H,
        12 * H,
    )
    assert plan.name("mg") == "1750 mg now, then 1000 mg every 12 h"
    for amount in (*PRODUCTS.amounts, *PRODUCTS.extras):
        assert amount % 250 == 0
        hours = PRODUCTS.infusion_h(amount)
        assert hours >= 1.0
        assert amount / hours <= 1000.0
        assert (hours * 4) % 1 == 0, "quarters of an hour"


def test_aims_of_several_measures_must_all_be_met() -> None:
    """As gentamicin will need: a peak of 8-10 and a trough below 1."""
    aims = (Aim("peak", "mg/L", low="peak_low", high="peak_high"), Aim("trough", "mg/L", high="trough_high"))
    edges = np.array([aim.edges({"peak_low": 8.0, "peak_high": 10.0, "trough_high": 1.0}) for aim in aims])
    peak, trough = np.array([[9.0, 9.0, 12.0]]), np.array([[0.5, 2.0, 0.5]])
    found = judge(aims, Exposure(np.zeros((1, 4)), trough, peak), edges)
    assert found.met.tolist() == [[True, False, False, False]]
    assert found.above.tolist() == [[False, True, True, True]]
    assert found.ahead_above.tolist() == [True]


@pytest.fixture(scope="module")
def first() -> tuple[HistoryBank, Appraisal]:
    """Three patients before their first dose: strong and weak kidneys, and one with a target of their own."""
    twins = make_bank(4, 0)
    twins.enrol("strong", at_s=T0, covariates=PATIENT, targets={})
    twins.enrol("weak", at_s=T0, covariates=PATIENT | {"creatinine": 3.5}, targets={})
    twins.enrol("lower", at_s=T0, covariates=PATIENT, targets={"auc24_low": 100.0, "auc24_high": 200.0})
    return twins, twins.decide(["strong", "weak", "lower"], [T0] * 3)


def test_first_doses_are_whole_regimens_from_covariates_alone(first: tuple[HistoryBank, Appraisal]) -> None:
    _, found = first
    assert (found.best > 0).all(), "nothing is running, so something must be proposed"
    assert len(found.names(0)) == found.utility.shape[1] == 22
    per_day = []
    for i in range(3):
        *extra, regimen = found.orders[i][found.best[i]]
        assert regimen.kind == "regimen"
        for order in (*extra, regimen):
            assert (order.drug, order.unit, order.route) == ("vancomycin", "mg", "intravenous")
            assert order.amount % 250 == 0
            assert order.amount / (order.duration_s / H) <= 1000.0
        assert sum(order.amount for order in extra) <= min(3000.0, 35 * 70.0)
        per_day.append(regimen.amount * 24 * H / regimen.interval_s)
        assert per_day[i] <= therapy.limits["maximum_24h"].value
    assert per_day[0] > 1.5 * per_day[1]
    assert len(found.orders[0][found.best[0]]) == 2, "a loading dose reaches the target on the first day"
    assert per_day[2] <= 0.6 * per_day[0], "an enrolment's own target is obeyed"
    assert found.orders[0][0] == ()
    assert found.bands["vancomycin"].shape == (3, 5, 25)
    assert (np.diff(found.bands["vancomycin"], axis=1) >= 0).all()
    assert set(found.estimates) == {"CL", "V", "AUC24"}
    assert (found.evidence["auc24_sd_expected"] < found.evidence["auc24_sd_now"]).all()
    assert "mg.h/L" in found.reasons[0]
    assert "L/h" in found.would_change[0]
    assert np.isfinite(found.evidence["next_sample_h"]).all(), "the first level, whatever its worth"


def test_a_first_dose_agrees_with_a_monte_carlo_by_hand(first: tuple[HistoryBank, Appraisal]) -> None:
    """The bedside model's numbers by hand: 4,000 patients under the plan that was chosen."""
    _, found = first
    extra, regimen = found.orders[0][found.best[0]]
    rng = np.random.default_rng(4)
    n = 4000
    clearance = (140 - 50) * 70 / (72 * 0.9)
    eta = rng.standard_normal((5, n))
    drift = DRIFT_SD * eta[3]
    CL = 4.5 * (clearance / 120) ** 0.8 * np.exp(math.sqrt(math.log1p(0.398**2)) * eta[0] + drift)
    V1 = CENTRAL_L * np.exp(math.sqrt(math.log1p(0.816**2)) * eta[1])
    V2 = 38.4 * np.exp(math.sqrt(math.log1p(0.571**2)) * eta[2])
    Q = EXCHANGE_L_H * np.exp(EXCHANGE_SD * eta[4])
    areas = np.zeros((2, n))
    dt, x, z = 0.05, np.zeros(n), np.zeros(n)
    for step in range(round(48 / dt)):
        t = (step + 0.5) * dt
        rate = extra.amount / extra.duration_s * H * (t < extra.duration_s / H)
        since = t - regimen.interval_s / H
        if since >= 0 and since % (regimen.interval_s / H) < regimen.duration_s / H:
            rate += regimen.amount / regimen.duration_s * H
        # the implicit midpoint rule: second order, and stable where V1 is small
        for _ in range(1):
            a, b, c, d = -(CL + Q) / V1, Q / V2, Q / V1, -Q / V2
            det = (1 - dt / 2 * a) * (1 - dt / 2 * d) - dt**2 / 4 * b * c
            r1 = x + dt / 2 * (a * x + b * z) + dt * rate
            r2 = z + dt / 2 * (c * x + d * z)
            x_new = ((1 - dt / 2 * d) * r1 + dt / 2 * b * r2) / det
            z_new = (dt / 2 * c * r1 + (1 - dt / 2 * a) * r2) / det
        areas[int(t // 24)] += dt * 0.5 * (x + x_new) / V1
        x, z = x_new, z_new
    inside = ((areas >= 400) & (areas <= 600)).mean(axis=1)
    # 128 weighted samples: a chance is known to about 0.045
    assert found.attainment[0, found.best[0]] == pytest.approx(inside[1], abs=0.14)
    assert found.evidence["attainment_today"][0] == pytest.approx(inside[0], abs=0.14)
    assert found.evidence["auc24_median"][0] == pytest.approx(np.median(areas[1]), rel=0.12)
    assert found.evidence["auc24_today"][0] == pytest.approx(np.median(areas[0]), rel=0.12)


@pytest.fixture(scope="module")
def treated() -> Appraisal:
    """After 52 h of 1 g every 12 h: levels that say 500 mg.h/L ("fine"), and of twice the dose ("much")."""
    twins = make_bank(4, 0)
    own = {"CL": 4.0, "V1": 58.4, "Q2": 6.5, "V2": 38.4}
    starts = [12.0 * k for k in range(5)]
    for name, amount in (("fine", 1000.0), ("much", 2000.0)):
        twins.enrol(name, at_s=T0, covariates=PATIENT, targets={})
        facts = [given(s, amount) for s in starts]
        facts += [
            TwinEvent(
                T0 + t * H, "observation", "vancomycin", concentration(t, starts, own, amount), 5000 + i
            )
            for i, t in enumerate([2.5, 6.0, 11.5, 14.0, 23.5, 26.0, 30.0, 35.5, 38.0, 42.0, 47.5, 50.5])
        ]
        twins.assimilate([(name, fact) for fact in facts])
    return twins.decide(["fine", "much"], [T0 + 52 * H] * 2)


def test_a_patient_on_target_is_kept_and_an_overdosed_one_is_cut(treated: Appraisal) -> None:
    assert treated.names(0)[treated.best[0]] == "keep"
    (order,) = treated.orders[1][treated.best[1]]
    assert order.amount * 24 * H / order.interval_s < 3000.0
    assert not treated.feasible[1, 0], "going on at 4 g a day is no option"
    assert treated.risks["auc24_above"][1, 0] > 0.9
    assert treated.evidence["auc24_sd_now"][0] < 80.0
    dear = treated.evidence["next_sample_worth"] < LEVEL_COST
    assert dear[0], "twelve levels have said it"
    assert (np.isnan(treated.evidence["next_sample_h"]) == dear).all()


def test_exposure_is_the_integral_of_the_concentration(treated: Appraisal) -> None:
    """Tomorrow's area going on as now, the fourth day, against quadrature of the two exponentials."""
    own = {"CL": 4.0, "V1": 58.4, "Q2": 6.5, "V2": 38.4}
    starts = [12.0 * k for k in range(9)]
    inner = [s + d for s in starts for d in (0.0, 1.0) if 72 < s + d < 96]
    expected = quad(concentration, 72, 96, args=(starts, own), limit=400, points=inner)[0]
    assert treated.evidence["auc24_median"][0] == pytest.approx(expected, rel=0.06)


def test_an_extra_dose_waits_and_a_dose_that_was_missed_is_ordered_again() -> None:
    twins = make_bank(4, 0)
    twins.enrol("soon", at_s=T0, covariates=PATIENT, targets={})
    twins.enrol("late", at_s=T0, covariates=PATIENT, targets={})
    twins.assimilate([("soon", given(0.0, 500.0))])
    twins.assimilate([("late", given(12.0 * k)) for k in range(4)])
    found = twins.decide(["soon", "late"], [T0 + 3 * H, T0 + 52 * H])
    assert all(len(orders) < 2 for orders in found.orders[0]), "no second dose three hours after the first"
    assert not found.feasible[1, 0], "the dose of 48 h was not given: what the pump does next is not known"
    assert found.orders[1][found.best[1]], "so the regimen is ordered again"
    assert np.isnan(found.evidence["attainment_keep"][1])


def test_kidneys_that_failed_are_left_to_a_person() -> None:
    loop = ClosedLoop(
        "vancomycin", Patient(age_years=60, weight_kg=70, sex="female", creatinine_mg_dL=11.0), seed=0
    )
    decision = loop.decide(at=datetime(2026, 3, 1, tzinfo=UTC))
    assert (decision.outcome, decision.orders) == ("refused", ())
    assert {refusal.limit for refusal in decision.refusals} >= {"contraindicated_above@creatinine"}
    ceiling = therapy.ceilings["clinician"]["contraindicated_above@creatinine"]
    assert ceiling.loosest.value > therapy.limits["contraindicated_above@creatinine"].value


def test_policy_targets_have_the_therapys_values() -> None:
    named = {**therapy.targets, **therapy.limits}
    for name, value in POLICY.targets.items():
        assert named[name].value == value, name
