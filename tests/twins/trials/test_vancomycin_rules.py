"""What the twin is compared with: doses by the tables, and changes by hand arithmetic."""

from __future__ import annotations

import math

import pytest

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.vancomycin_rules import Fixed, Rules, TroughGuided, TwoLevels, area_24h, rounded

T0, H = 1.75e9, 3600.0
MAN = Patient(age_years=60, weight_kg=80, sex="male", creatinine_mg_dL=1.0, height_cm=178)
"""Cockcroft-Gault: 80 x 80 / 72 = 88.9 mL/min."""


def given(rules: Rules, *facts: TwinEvent) -> None:
    rules.tell([facts])


def dose(hours: float, amount: float, run_h: float = 1.0) -> TwinEvent:
    return TwinEvent(T0 + hours * H, "infusion", "vancomycin", amount, int(hours * 10) + 1, run_h * H)


def level(hours: float, value: float) -> TwinEvent:
    return TwinEvent(T0 + hours * H, "observation", "vancomycin", value, int(hours * 10) + 5000)


def what(orders: tuple[Order, ...]) -> list[tuple[str, float, float]]:
    return [(o.kind, o.amount, o.interval_s / H) for o in orders]


def test_first_doses_are_those_of_the_tables() -> None:
    assert what(Fixed((MAN,), 0).decide(T0)[0]) == [("regimen", 1000.0, 12.0)]
    assert what(TroughGuided((MAN,), 0).decide(T0)[0]) == [
        ("infusion", 2000.0, 0.0),
        ("regimen", 1250.0, 12.0),
    ]
    assert what(TwoLevels((MAN,), 0).decide(T0)[0]) == [("infusion", 1500.0, 0.0), ("regimen", 1000.0, 12.0)]
    weak = Patient(age_years=80, weight_kg=50, sex="female", creatinine_mg_dL=2.0, height_cm=160)
    # 60 x 50 / 144 x 0.85 = 17.7 mL/min
    assert what(TroughGuided((weak,), 0).decide(T0)[0]) == [
        ("infusion", 1250.0, 0.0),
        ("regimen", 750.0, 48.0),
    ]
    assert what(TwoLevels((weak,), 0).decide(T0)[0]) == [("infusion", 1000.0, 0.0), ("regimen", 500.0, 48.0)]


def test_a_trough_changes_the_dose_in_proportion() -> None:
    rules = TroughGuided((MAN,), 0)
    rules.decide(T0)
    given(rules, dose(0, 2000, 2.0), dose(12, 1250, 1.25))
    rules.decide(T0 + 13 * H)
    assert math.isnan(rules.next_sample_s[0]), "not before the third dose has begun"
    given(rules, dose(24, 1250, 1.25))
    rules.decide(T0 + 30 * H)
    assert rules.next_sample_s[0] == pytest.approx(T0 + 35.75 * H), "before the fourth dose"
    given(rules, level(35.75, 25.0))
    # 15/25 of 2,500 mg a day is 1,500: 750 mg every 12 h
    assert what(rules.decide(T0 + 38 * H)[0]) == [("regimen", 750.0, 12.0)]
    given(rules, level(60.0, 14.0))
    assert rules.decide(T0 + 62 * H)[0] == ()


def test_two_levels_give_the_area_of_a_one_compartment_model() -> None:
    """At steady state of one compartment AUC24 is the daily dose over clearance."""
    CL, V, amount, run, interval = 4.0, 50.0, 1000.0, 1.0, 12.0
    k = CL / V
    top = amount / run / CL * (1 - math.exp(-k * run)) / (1 - math.exp(-k * interval))

    def seen(t: float) -> float:
        return top * math.exp(-k * (t - run))

    found = area_24h((T0, run * H, amount), (T0 + 2.5 * H, seen(2.5)), (T0 + 11.5 * H, seen(11.5)), interval)
    assert found == pytest.approx(2 * amount / CL, rel=0.005)


def test_two_levels_are_taken_in_one_interval_and_used() -> None:
    rules = TwoLevels((MAN,), 0)
    rules.decide(T0)
    given(rules, dose(0, 1500, 1.5), dose(12, 1000))
    rules.decide(T0 + 13.5 * H)
    assert rules.next_sample_s[0] == pytest.approx(T0 + 14 * H), "an hour after the infusion"
    given(rules, level(14.0, 40.0))
    rules.decide(T0 + 18 * H)
    assert rules.next_sample_s[0] == pytest.approx(T0 + 23.75 * H), "and before the next dose"
    given(rules, level(23.75, 24.0), dose(24, 1000))
    k = math.log(40 / 24) / 9.75
    peak, trough = 40 * math.exp(k * 1.0), 40 * math.exp(k) * math.exp(-k * 11)
    area = 2 * ((peak + trough) / 2 + (peak - trough) / k)
    factor = max(500.0 / area, 0.5)
    assert what(rules.decide(T0 + 25 * H)[0]) == [("regimen", rounded(1000.0 * factor), 12.0)]
    rules.decide(T0 + 30 * H)
    assert math.isnan(rules.next_sample_s[0]), "two days until the next pair"


def test_amounts_can_be_drawn_up() -> None:
    assert [rounded(a) for a in (1.0, 374.0, 376.0, 1900.0)] == [250.0, 250.0, 500.0, 2000.0]
