from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosetwin.dashboards.view_models.alerts import alerts
from dosetwin.dashboards.view_models.commands import commands
from dosetwin.dashboards.view_models.decision import decision_card
from dosetwin.dashboards.view_models.header import header, trouble
from dosetwin.dashboards.view_models.orders import order_words
from dosetwin.dashboards.view_models.patient import patient
from dosetwin.dashboards.view_models.words import ago, duration, evidence_words, number, per_cent
from dosetwin.platform.clock import instant
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    AlertAcknowledged,
    AlertCleared,
    Candidate,
    Decision,
    Dose,
    Forecast,
    Order,
    RateChange,
    Refusal,
)
from dosetwin.platform.identifiers import identifier
from tests.dashboards.folding import (
    START_S,
    acknowledgement,
    alert,
    at,
    command,
    enrolment,
    fold,
    patient_id,
    proposal,
    reading,
    snapshot,
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3599, "1 h"),
        (7500, "2 h 5 min"),
        (40_000, "11 h"),
        (300_000, "3 d"),
        (math.inf, "unknown"),
        (None, "unknown"),
    ],
)
def test_durations_in_words(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@given(st.floats(-1e6, 1e6))
def test_ago_never_says_a_bare_number(seconds: float) -> None:
    assert ago(seconds) == "just now" or ago(seconds).endswith(" ago") or ago(seconds).startswith("in ")


def test_numbers_and_evidence_carry_their_units() -> None:
    assert (number(0.0), number(123.4), number(12.34), number(1.234), number(math.nan)) == (
        "0",
        "123",
        "12.3",
        "1.23",
        "–",
    )
    assert (per_cent(0.004), per_cent(0.37), per_cent(0.9999), per_cent(1.0)) == (
        "<1 %",
        "37 %",
        ">99 %",
        "100 %",
    )
    assert evidence_words({"glucose_mg_dL": 61.2, "insulin_on_board_U": 1.5, "below_70": 0.62}) == [
        ("Below 70", "62 %"),
        ("Glucose", "61.2 mg/dL"),
        ("Insulin on board", "1.50 U"),
    ]  # fmt: skip


def test_an_order_in_words_says_dose_unit_time_and_route() -> None:
    regimen = Order(
        drug="vancomycin",
        route="intravenous",
        kind="regimen",
        amount=1000,
        unit="mg",
        duration_s=5400,
        interval_s=43_200,
    )
    assert order_words(regimen) == "Vancomycin 1000 mg over 1 h 30 min every 12 h, intravenous"


@pytest.mark.parametrize(
    ("reader", "later_s", "said"),
    [
        ({}, 1.0, ""),
        ({}, 11.5, "The broker has not answered"),
        ({"behind_s": 12.0}, 0.0, "12 s behind the devices"),
        ({"connection": "connecting"}, 0.0, "Not connected"),
        ({"heard_s": START_S + 60}, 0.5, "The broker has not answered for"),
    ],
)
def test_trouble_is_named(reader: dict[str, float], later_s: float, said: str) -> None:
    seen = snapshot(fold(("enrolments", enrolment(1))), 100, **reader)
    found = trouble(header(seen, START_S + 100 + later_s, "p", "r"))
    assert found == said if not said else said in found


def test_a_ward_without_readings_for_long_is_trouble() -> None:
    seen = snapshot(fold(("enrolments", enrolment(1))), 100)
    head = header(seen, START_S + 100, "p", "r") | {"reading_age_s": 11.0}
    assert "No reading from any device for 11 s" in trouble(head)


def test_commands_page_waits_for_the_soonest_first_and_tells_each_life() -> None:
    soon, late, over = proposal(1, 0, 500), proposal(2, 0, 900), proposal(3, 0, 50)
    left = command(4, 10)
    seen = snapshot(
        fold(
            *(("enrolments", enrolment(index)) for index in (1, 2, 3, 4)),
            ("readings", reading(1, 5, 214)),
            ("commands", late), ("commands", soon), ("commands", over), ("commands", left),
            ("acknowledgements", acknowledgement(left, 12, "delivered")),
            ("acknowledgements", acknowledgement(left, 13, "refused", "precondition")),
        ),
        100,
    )  # fmt: skip
    page = commands(seen)
    assert [row["id"] for row in page["waiting"]] == [soon.id, late.id]
    assert page["waiting"][0]["value"] == "214 mg/dL"
    assert page["waiting"][0]["enrolment_version"] == page["waiting"][0]["version"] == 1
    lines = {row["id"]: row for row in page["lines"]}
    assert lines[over.id]["stage"] == "expired"
    assert lines[left.id]["stage"] == "refused"
    assert [step["what"] for step in lines[left.id]["steps"]] == ["issued", "delivered", "refused"]
    assert "precondition" in lines[left.id]["steps"][-1]["detail"]


def test_alerts_page_puts_the_unseen_and_the_worst_first() -> None:
    low, medium, high, seen_high = (
        alert(1, 10, "low"), alert(2, 20, "medium"), alert(3, 5, "high"), alert(4, 30, "high")
    )  # fmt: skip
    acknowledged = AlertAcknowledged(
        patient=seen_high.patient,
        alert=seen_high.alert,
        at=at(40),
        person="nurse A",
        until=at(5000),
        action_id=identifier(1),
    )
    gone = alert(5, 1, "medium")
    page = alerts(
        snapshot(
            fold(
                *(("alerts", each) for each in (low, medium, high, seen_high, gone, acknowledged)),
                ("alerts", AlertCleared(patient=gone.patient, alert=gone.alert, at=at(50))),
            ),
            100,
        )
    )
    assert [row["id"] for row in page["open"]] == [high.alert, medium.alert, low.alert, seen_high.alert]
    assert "seen by nurse A, silent until" in page["open"][-1]["state"]
    assert [row["id"] for row in page["over"]] == [gone.alert]
    assert page["counts"] == {"high": 2, "medium": 1, "low": 1}


def test_patient_page_converts_doses_and_stacks_lanes_on_one_axis() -> None:
    dose = Dose(
        patient=patient_id(1), device="pump-1", boot="b", sequence=1, sent_at=at(20),
        administrations=(
            RateChange(drug="insulin", route="subcutaneous", rate=0.02, unit="[iU]/min", at=at(20)),
        ),
    )  # fmt: skip
    folded = fold(("enrolments", enrolment(1)), ("doses", dose), ("readings", reading(1, 30, 5.0, "mmol/L")))
    folded.fold("readings", encode(reading(1, 31, 72, "/min", "heart_rate")))
    page = patient(snapshot(folded, 60), patient_id(1))
    assert page is not None
    lanes = {lane["key"]: lane for lane in page["lanes"]}
    assert list(lanes) == ["glucose", "dosage", "vitals", "combined"]
    assert lanes["dosage"]["rates"][0][1] == pytest.approx(1.2)
    assert lanes["glucose"]["points"][0][1] == pytest.approx(90.08, abs=0.01)
    assert lanes["glucose"]["strip"] == [70.0, 180.0]
    assert page["now_card"]["place"] == "in target"
    assert page["decision"]["none"]
    assert patient(snapshot(folded, 61), patient_id(99)) is None


def test_the_card_says_why_what_was_cut_and_what_would_change_it() -> None:
    rate = Order(drug="insulin", route="subcutaneous", kind="rate", amount=0.5, unit="U/h", duration_s=1800)
    forecast = Forecast(
        patient=patient_id(0),
        therapy="t1d-insulin",
        model="m",
        at=instant(START_S),
        source="readings/0:1",
        decision=Decision(
            id=identifier("d"),
            at=instant(START_S),
            outcome="refused",
            chosen="raise",
            orders=(),
            reason="raise: glucose is high",
            would_change="a reading 12 mg/dL lower would have left it",
            candidates=(
                Candidate(name="raise", orders=(rate,), utility=-1, attainment=0.8, risks={"below_70": 0.01}),
                Candidate(name="bold", orders=(rate,), utility=0, attainment=1, risks={}, feasible=False),
            ),
            refusals=(
                Refusal(
                    limit="suspend_below@heart_rate",
                    value=38,
                    bound=40,
                    unit="/min",
                    effect="refused",
                    reason="the heart rate is 38",
                    source="label",
                ),
            ),
        ),
    )
    card = decision_card(forecast)
    assert card["would_change"] == "A reading 12 mg/dL lower would have left it"
    assert [(each["name"], each["chosen"]) for each in card["candidates"]] == [
        ("raise", True),
        ("bold", False),
    ]
    (cut,) = card["refusals"]
    assert cut["limit"] == "Suspend below (heart rate)"
    assert (cut["value"], cut["bound"], cut["source"]) == ("38 /min", "40 /min", "label")
