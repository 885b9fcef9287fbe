from __future__ import annotations

import math
import random

import msgspec
import pytest

from dosetwin.dashboards.patient_fold import Bounds
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import AlertCleared
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


def test_units_of_devices_become_the_screens_unit_and_unknown_ones_are_not_drawn() -> None:
    folded = fold(
        ("enrolments", enrolment(1)),
        ("readings", reading(1, 60, 6.0, "mmol/L")),
        ("readings", reading(1, 120, 99.0, "mg%")),
    )
    record = snapshot(folded, 130).patients[patient_id(1)]
    assert record.readings["glucose"].rows[:, 1].tolist() == pytest.approx([6.0 * 18.0156], rel=1e-3)
    assert record.units["glucose"] == "mg/dL"


def test_readings_before_the_enrolment_count_as_if_after_it() -> None:
    readings = [("readings", reading(1, 60.0 * step, 100.0 + step)) for step in range(70)]
    before = snapshot(fold(*readings, ("enrolments", enrolment(1))), 4300).ward
    after = snapshot(fold(("enrolments", enrolment(1)), *readings), 4300).ward
    assert before.value.tolist() == after.value.tolist() == [169.0]
    assert before.spark.tolist() == after.spark.tolist()
    assert before.trend.tolist() == after.trend.tolist()


def test_a_late_reading_does_not_become_the_last_value() -> None:
    folded = fold(
        ("enrolments", enrolment(1)), ("readings", reading(1, 600, 150)), ("readings", reading(1, 300, 80))
    )
    ward = snapshot(folded, 600).ward
    assert ward.value[0] == 150
    assert ward.value_at_s[0] == START_S + 600


def test_an_older_enrolment_version_changes_nothing_and_a_withdrawn_patient_leaves_the_ward() -> None:
    folded = fold(
        ("enrolments", enrolment(1, version=3, mode="autonomous")),
        ("enrolments", enrolment(1, version=2, mode="shadow")),
        ("enrolments", enrolment(2)),
    )
    first = snapshot(folded, 1)
    assert first.ward.ids == (patient_id(1), patient_id(2))
    assert first.ward.mode.tolist() == [2, 1]
    folded.fold("enrolments", encode(enrolment(1, version=4, active=False)))
    second = snapshot(folded, 2)
    assert second.ward.ids == (patient_id(2),)
    assert second.order == (0,)
    assert first.ward.ids == (patient_id(1), patient_id(2)), "an earlier snapshot must not change"


def test_patients_beyond_the_bound_are_counted_not_kept() -> None:
    folded = fold(*(("enrolments", enrolment(index)) for index in range(12)), bounds=Bounds(patients=10))
    seen = snapshot(folded, 1)
    assert len(seen.ward) == 10
    assert seen.reader.not_shown == 2


def test_memory_stays_bounded_however_much_is_read() -> None:
    bounds = Bounds(rows=50, lives=40, alerts=40)
    folded = fold(("enrolments", enrolment(1)), bounds=bounds)
    for step in range(3000):
        folded.fold("readings", encode(reading(1, step, 100)))
    for step in range(300):
        order = command(1, step * 1000.0)
        folded.fold("commands", encode(order))
        folded.fold("acknowledgements", encode(acknowledgement(order, step * 1000.0 + 5, "applied")))
        raised = alert(1, step * 1000.0, "medium")
        folded.fold("alerts", encode(raised))
        cleared = AlertCleared(patient=raised.patient, alert=raised.alert, at=at(step * 1000.0 + 60))
        folded.fold("alerts", encode(cleared))
    seen = snapshot(folded, 300_000)
    assert len(seen.lives) <= 40
    assert len(seen.alerts) <= 40
    assert folded.nbytes < 20_000
    assert seen.patients[patient_id(1)].readings["glucose"].count == 3000


def test_waiting_proposals_end_by_expiry_action_or_command_in_any_order() -> None:
    first, second, third = proposal(1, 10, expires=100), proposal(2, 10), proposal(3, 10)
    messages: list[tuple[str, msgspec.Struct]] = [
        *(("enrolments", enrolment(index)) for index in (1, 2, 3)),
        ("commands", first),
        ("commands", second),
        ("commands", third),
        ("commands", command(2, 20, second.id)),
    ]
    for seed in range(6):
        shuffled = random.Random(seed).sample(messages, len(messages))
        folded = fold(*shuffled)
        early = snapshot(folded, 50).ward
        assert dict(zip(early.ids, early.waiting.tolist(), strict=True)) == {
            patient_id(1): 1,
            patient_id(2): 0,
            patient_id(3): 1,
        }
        late = snapshot(folded, 200).ward
        assert dict(zip(late.ids, late.waiting.tolist(), strict=True))[patient_id(1)] == 0


def test_a_high_alert_stays_on_the_ward_after_its_cause_until_somebody_saw_it() -> None:
    high, low = alert(1, 10, "high"), alert(1, 12, "low", "advice_waiting")
    folded = fold(("enrolments", enrolment(1)), ("alerts", high), ("alerts", low))
    for raised in (high, low):
        cleared = AlertCleared(patient=raised.patient, alert=raised.alert, at=at(60))
        folded.fold("alerts", encode(cleared))
    ward = snapshot(folded, 100).ward
    assert (ward.high[0], ward.low[0]) == (1, 0)
    assert snapshot(folded, 100).open_alerts == {"high": 1, "medium": 0, "low": 0}


def test_a_record_that_breaks_its_contract_raises_and_folds_nothing() -> None:
    folded = fold(("enrolments", enrolment(1)))
    with pytest.raises(msgspec.ValidationError):
        folded.fold("readings", b'{"type":"reading","patient":"somebody"}')
    assert math.isnan(snapshot(folded, 1).ward.value[0])
