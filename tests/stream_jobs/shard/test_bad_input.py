"""What bad input does: each a dead letter with its reason, and nothing else is disturbed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decode
from dosetwin.platform.contracts import Bolus, DeadLetter, Forecast, Measure, Sample
from dosetwin.platform.metrics import ShardMetrics
from dosetwin.platform.settings import ClockSettings, KafkaSettings, Settings
from dosetwin.platform.topics import DEAD_LETTERS, FORECASTS, MAXIMUM_RECORD_BYTES
from dosetwin.stream_jobs.shard.intake import Record
from dosetwin.stream_jobs.shard.turn import Turn
from tests.stream_jobs.shard.messages import START_S, dose, enrolment, glucose, reading, record


@pytest.fixture
def turn(tmp_path: Path) -> Turn:
    settings = Settings(data_dir=tmp_path, kafka=KafkaSettings(partitions=4), clock=ClockSettings(speed=1.0))
    turn = Turn(settings, ShardMetrics("test"))
    run(turn, record(enrolment(1), 0))
    return turn


def run(turn: Turn, *records: Record) -> list[DeadLetter]:
    """One turn; returns its dead letters. What it would have sent stays in the outbox."""
    turn.outbox.clear()
    turn.intake.clear()
    turn.refuse_unknown(turn.take(records))
    turn.finish()
    return [
        decode(value, DeadLetter) for topic, _, _, value in turn.outbox.records if topic == DEAD_LETTERS.name
    ]


def good(sequence: int, minute: int) -> Record:
    at_s = START_S + 60.0 * minute
    return record(reading(1, sequence, glucose(120.0, at_s)), 1000 + sequence, appended_s=at_s)


def forecasts(turn: Turn) -> list[Forecast]:
    return [decode(value, Forecast) for topic, _, _, value in turn.outbox.records if topic == FORECASTS.name]


def raw(payload: bytes) -> Record:
    return msgspec_replace(good(7, 5), payload)


def msgspec_replace(found: Record, payload: bytes) -> Record:
    return Record(found.topic, found.partition, found.offset, found.appended_ms, found.key, payload)


AT_S = START_S + 300.0
CASES: dict[str, tuple[str, Record]] = {
    "malformed JSON": ("malformed", raw(b'{"type": "reading", ')),
    "no UTF-8": ("malformed", raw(b"\xff\xfe\x00")),
    "not the contract": ("malformed", raw(b'{"patient": "p-00000000000000000001", "contract": 1}')),
    "a name instead of a pseudonym": (
        "malformed",
        raw(good(7, 5).value.replace(b'"p-', b'"Mrs. Smith-')),
    ),
    "time without a zone": ("malformed", raw(good(7, 5).value.replace(b"Z", b""))),
    "another contract version": (
        "contract_version",
        raw(good(7, 5).value.replace(b'"contract":1', b'"contract":9')),
    ),
    "10 MB": ("too_large", raw(b" " * 10_000_000 + good(7, 5).value)),
    "unknown patient": (
        "unknown_patient",
        record(reading(99, 0, glucose(120.0, AT_S)), 50, appended_s=AT_S),
    ),
    "unknown unit": (
        "unknown_unit",
        record(reading(1, 8, glucose(120.0, AT_S, unit="furlong")), 51, appended_s=AT_S),
    ),
    "wrong dimension": (
        "wrong_dimension",
        record(reading(1, 8, glucose(120.0, AT_S, unit="mm[Hg]")), 52, appended_s=AT_S),
    ),
    "impossible value": (
        "impossible_value",
        record(reading(1, 8, glucose(-5.0, AT_S)), 53, appended_s=AT_S),
    ),
    "mg/dL labelled as mmol/L": (
        "impossible_value",
        record(reading(1, 8, glucose(120.0, AT_S, unit="mmol/L")), 54, appended_s=AT_S),
    ),
    "unknown quantity": (
        "unknown_quantity",
        record(
            reading(1, 8, Sample(quantity="aura", value=1.0, unit="1", at=instant(AT_S))),
            55,
            appended_s=AT_S,
        ),
    ),
    "future time": (
        "future_time",
        record(
            reading(1, 8, glucose(120.0, AT_S + 7200.0), sent_s=AT_S),
            56,
            appended_s=AT_S,
        ),
    ),
    "unknown drug": (
        "unknown_drug",
        record(
            dose(
                1,
                0,
                Bolus(drug="heparin", route="intravenous", amount=1.0, unit="U", at=instant(AT_S)),
                sent_s=AT_S,
            ),
            57,
        ),
    ),
    "a bolus of 9,000 U": (
        "impossible_value",
        record(
            dose(
                1,
                0,
                Bolus(drug="insulin", route="subcutaneous", amount=9e3, unit="U", at=instant(AT_S)),
                sent_s=AT_S,
            ),
            58,
        ),
    ),
    "insulin in mg": (
        "wrong_dimension",
        record(
            dose(
                1,
                0,
                Bolus(drug="insulin", route="subcutaneous", amount=1.0, unit="mg", at=instant(AT_S)),
                sent_s=AT_S,
            ),
            59,
        ),
    ),
    "an enrolment that lacks its weight": (
        "bad_enrolment",
        record(
            msgspec.structs.replace(enrolment(5), covariates={"total_daily_dose": Measure(40.0, "U")}), 60
        ),
    ),
    "an enrolment in no therapy": (
        "bad_enrolment",
        record(msgspec.structs.replace(enrolment(5), therapy="leeches"), 61),
    ),
    "an old enrolment version": ("stale_enrolment", record(enrolment(1, version=1), 62)),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_a_dead_letter_and_disturbs_nothing(turn: Turn, name: str) -> None:
    reason, bad = CASES[name]
    letters = run(turn, good(1, 0), bad, good(2, 5))
    assert [letter.reason for letter in letters] == [reason]
    (letter,) = letters
    assert (letter.topic, letter.partition, letter.offset) == (bad.topic, bad.partition, bad.offset)
    assert letter.payload == bad.value
    assert letter.detail
    assert [forecast.at.timestamp() for forecast in forecasts(turn)] == [START_S + 300.0]


def test_a_repeat_is_a_dead_letter(turn: Turn) -> None:
    first = good(1, 0)
    assert run(turn, first) == []
    (letter,) = run(turn, first)
    assert letter.reason == "duplicate"


def test_one_bad_sample_does_not_take_its_message_along(turn: Turn) -> None:
    message = reading(1, 1, glucose(120.0, AT_S), glucose(5000.0, AT_S))
    (letter,) = run(turn, record(message, 70, appended_s=AT_S))
    assert (letter.reason, letter.index) == ("impossible_value", 1)
    assert len(forecasts(turn)) == 1


def test_mmol_per_litre_is_converted(turn: Turn) -> None:
    assert run(turn, record(reading(1, 1, glucose(6.66, AT_S, unit="mmol/L")), 71, appended_s=AT_S)) == []
    (forecast,) = forecasts(turn)
    (prediction,) = forecast.predictions
    assert prediction.observed == pytest.approx(6.66 * 18.0156, rel=1e-4)


def test_what_was_sent_before_the_enrolment_is_of_an_unknown_patient(turn: Turn) -> None:
    before = record(reading(1, 1, glucose(120.0, AT_S)), 72, appended_s=START_S - 10)
    (letter,) = run(turn, before)
    assert letter.reason in ("unknown_patient", "future_time")


def test_maximum_record_bytes_is_below_what_the_broker_takes() -> None:
    assert MAXIMUM_RECORD_BYTES < 10_000_000
