"""The public loop of one patient: what it takes, what it refuses, and that saving it changes nothing."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from dosetwin.platform.errors import DoseTwinError, SnapshotError, TherapyError, UnitError
from dosetwin.twins import ClosedLoop, Patient
from dosetwin.twins.closed_loop import FactError
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.loop_group import LoopGroup

START = datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
ADULT = Patient(weight_kg=70, total_daily_dose_U=40)
INFECTED = Patient(age_years=61, weight_kg=80, sex="male", creatinine_mg_dL=1.0)


def later(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def insulin_loop(**options: object) -> ClosedLoop:
    loop = ClosedLoop("t1d-insulin", ADULT, seed=3, **options)  # type: ignore[arg-type]
    for k, glucose in enumerate((150, 158, 167, 178)):
        loop.observe("glucose", glucose, "mg/dL", at=later(5 * k))
    return loop


def test_a_decision_is_machine_readable_and_explains_itself() -> None:
    decision = insulin_loop().decide(at=later(15))
    found = json.loads(decision.to_json())
    assert found["therapy"] == "t1d-insulin"
    assert datetime.fromisoformat(found["at"]) == later(15)
    assert found["outcome"] in ("orders", "refused", "none")
    for order in found["orders"]:
        assert order["drug"] == "insulin"
        assert order["kind"] in ("rate", "bolus")
        assert order["unit"] == ("U/h" if order["kind"] == "rate" else "U")
    assert decision.chosen in {candidate.name for candidate in decision.candidates}
    assert all(math.isfinite(candidate.utility) for candidate in decision.candidates)
    assert decision.reason
    assert decision.would_change
    glucose = next(band for band in decision.forecast if band.quantity == "glucose")
    assert glucose.unit == "mg/dL"
    assert [list(row) for row in zip(*glucose.values, strict=True)] == [
        sorted(row) for row in zip(*glucose.values, strict=True)
    ]


def test_units_are_converted_once_and_order_does_not_matter() -> None:
    told = insulin_loop().decide(at=later(15))
    other = ClosedLoop("t1d-insulin", ADULT, seed=3)
    for k, glucose in reversed(list(enumerate((150, 158, 167, 178)))):
        other.observe("glucose", glucose / 18.0156, "mmol/L", at=later(5 * k))
    assert other.decide(at=later(15)).chosen == told.chosen


def test_a_repeat_is_ignored_and_a_contradiction_refused() -> None:
    loop = insulin_loop()
    loop.observe("glucose", 178, "mg/dL", at=later(15))
    assert loop.decide(at=later(15)).to_json() == insulin_loop().decide(at=later(15)).to_json()
    with pytest.raises(FactError, match="was told as 178"):
        loop.observe("glucose", 190, "mg/dL", at=later(15))


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (
            lambda loop: loop.observe("glucose", 100, "mg/dL", at=START.replace(tzinfo=None)),
            FactError,
            "time zone",
        ),
        (
            lambda loop: loop.observe("glucose", float("nan"), "mg/dL", at=START),
            FactError,
            "expected a number",
        ),
        (lambda loop: loop.observe("glucose", 5, "mg/dL", at=START), FactError, "possible is 20 to 600"),
        (lambda loop: loop.observe("sugar", 100, "mg/dL", at=START), FactError, "it takes glucose"),
        (lambda loop: loop.observe("glucose", 100, "kg", at=START), UnitError, "kg"),
        (lambda loop: loop.record_dose("heparin", 1, "U", at=START), FactError, "no drug 'heparin'"),
        (lambda loop: loop.record_dose("insulin", -1, "U", at=START), FactError, "expected at least 0"),
        (lambda loop: loop.record_dose("insulin", 500, "U", at=START), FactError, "possible is up to 60"),
        (lambda loop: loop.announce("fireworks", at=START), FactError, "knows no announcement"),
        (lambda loop: loop.announce("meal", at=START), FactError, "expected carbohydrate_g"),
        (lambda loop: loop.announce("meal", grams=50, at=START), FactError, "expected carbohydrate_g"),
        (lambda loop: loop.decide(at="now"), FactError, "expected a datetime"),
    ],
)
def test_bad_input_says_what_was_found_and_expected(
    act: object, error: type[DoseTwinError], words: str
) -> None:
    with pytest.raises(error, match=words):
        act(ClosedLoop("t1d-insulin", ADULT))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("patient", "words"),
    [
        (Patient(weight_kg=70), "needs total_daily_dose_U"),
        (Patient(weight_kg=70, total_daily_dose_U=40, wieght=1), "knows no covariate wieght"),
        (Patient(weight_kg=700, total_daily_dose_U=40), "expected 10 to 250 kg"),
        (Patient(weight_kg=math.inf, total_daily_dose_U=40), "finite"),
    ],
)
def test_a_patient_is_checked_against_the_therapy(patient: Patient, words: str) -> None:
    with pytest.raises(TherapyError, match=words):
        ClosedLoop("t1d-insulin", patient)


def test_an_override_must_be_one_of_the_therapys() -> None:
    with pytest.raises(TherapyError, match="limit maximum_speed is none"):
        ClosedLoop("t1d-insulin", ADULT, limits={"maximum_speed": (1, "U/h")})
    with pytest.raises(TherapyError, match="monitored only"):
        ClosedLoop("quinidine", Patient(creatinine_clearance_mL_per_min=80))


def test_a_limit_given_by_the_caller_holds() -> None:
    loop = ClosedLoop(
        "t1d-insulin", ADULT, limits={"maximum_bolus": (0.3, "U"), "maximum_rate": (1.0, "U/h")}
    )
    for k in range(6):
        loop.observe("glucose", 280 + 2 * k, "mg/dL", at=later(5 * k))
    decision = loop.decide(at=later(25))
    assert decision.orders
    for order in decision.orders:
        assert order.amount <= (0.3 if order.kind == "bolus" else 1.0) + 1e-9


def test_a_persons_override_holds_for_its_time_and_no_further_than_the_role_may_go() -> None:
    loop = ClosedLoop("t1d-insulin", ADULT)
    loop.record_dose("insulin", 0.0, "U", at=START)
    for k in range(16):
        loop.observe("glucose", 280 + 2 * (k % 3), "mg/dL", at=later(5 * k))
    asked = {"role": "caregiver", "person": "B. Doe", "start": later(30), "until": later(60)}
    loop.override("maximum_bolus", 0.1, "U", reason="a run in the afternoon", **asked)  # type: ignore[arg-type]
    for value, reason, words in ((25.0, "more", "may loosen it to 10"), (0.2, "", "needs a person and a")):
        with pytest.raises(FactError, match=words):
            loop.override("maximum_bolus", value, "U", reason=reason, **asked)  # type: ignore[arg-type]
    with pytest.raises(FactError, match="no limit that can be overridden"):
        loop.override("maximum_speed", 1, "U", reason="faster", **asked)  # type: ignore[arg-type]
    boluses = []
    for minute in (25, 45, 75):
        decision = loop.decide(at=later(minute))
        boluses.append(sum(order.amount for order in decision.orders if order.kind == "bolus"))
        if minute == 45:
            assert "B. Doe" in decision.refusals[0].source
        loop = ClosedLoop.load(loop.save())
    assert boluses[1] <= 0.1 < min(boluses[0], boluses[2])


def test_saving_changes_nothing() -> None:
    one, two = insulin_loop(), insulin_loop()
    for loop in (one, two):
        loop.decide(at=later(15))
        loop.record_dose("insulin", 1.2, "U/h", at=later(15))
        loop.announce("meal", carbohydrate_g=30, at=later(40))
        loop.observe("glucose", 185, "mg/dL", at=later(20))
    two = ClosedLoop.load(two.save())
    for minute in (20, 45):
        assert one.decide(at=later(minute)).to_json() == two.decide(at=later(minute)).to_json()
    with pytest.raises(SnapshotError):
        ClosedLoop.load(b"something else")


def test_orders_count_as_given_until_a_delivery_is_recorded() -> None:
    """A device that nobody reports on carries out its orders; one report, and reports alone count."""
    silent, loud, refused = (ClosedLoop("t1d-insulin", ADULT, seed=1) for _ in range(3))
    for loop in (silent, loud, refused):
        for k in range(4):
            loop.observe("glucose", 240 + 3 * k, "mg/dL", at=later(5 * k))
    decisions = [loop.decide(at=later(15)) for loop in (silent, loud, refused)]
    orders = decisions[0].orders
    given = sum(order.amount for order in orders if order.kind == "bolus")
    assert orders
    for order in orders:
        unit = order.unit
        loud.record_dose("insulin", order.amount, unit, at=later(15), duration_min=order.duration_s / 60)
    refused.record_dose("insulin", 0.0, "U", at=later(15))
    for loop in (silent, loud, refused):
        loop.observe("glucose", 255, "mg/dL", at=later(20))
    boards = [loop.decide(at=later(20)).evidence["insulin_on_board_U"] for loop in (silent, loud, refused)]
    assert boards[0] == pytest.approx(boards[1], abs=1e-6)
    assert boards[0] > boards[2] + 0.5 * given


def test_what_lies_ahead_waits_for_its_time() -> None:
    loop, plain = insulin_loop(), insulin_loop()
    loop.announce("meal", carbohydrate_g=60, at=later(60))
    assert loop.decide(at=later(15)).to_json() == plain.decide(at=later(15)).to_json()


def test_vancomycin_from_the_first_dose_on() -> None:
    loop = ClosedLoop("vancomycin", INFECTED, seed=2)
    first = loop.decide(at=START)
    assert first.orders
    assert {order.unit for order in first.orders} == {"mg"}
    assert all(order.amount % 250 == 0 for order in first.orders)
    loop.record_dose("vancomycin", 1500, "mg", at=START, duration_min=90)
    loop.observe("vancomycin", 14.0, "mg/L", at=later(11 * 60))
    loop.observe("creatinine", 115, "umol/L", at=later(11 * 60))
    again = loop.decide(at=later(12 * 60))
    assert again.estimates["CL"].unit == "L/h"
    assert (
        ClosedLoop.load(loop.save()).decide(at=later(13 * 60)).to_json()
        == loop.decide(at=later(13 * 60)).to_json()
    )


def test_a_group_decides_as_its_members_alone() -> None:
    facts = []
    alone = []
    names = ("a", "b", "c")
    for k, name in enumerate(names):
        one = LoopGroup("t1d-insulin", [ADULT], seed=5, names=[name])
        news = [
            TwinEvent(
                START.timestamp() + 300 * i, "observation", "glucose", 120 + 40 * k + 4 * i, 100 * k + i
            )
            for i in range(4)
        ]
        facts.append(news)
        one.tell([news])
        alone += one.decide(START.timestamp() + 900)
    group = LoopGroup("t1d-insulin", [ADULT] * 3, seed=5, names=names)
    group.tell(facts)
    assert group.decide(START.timestamp() + 900) == alone
