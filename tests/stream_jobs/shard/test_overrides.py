"""A person's override of a limit: through a signed action, within the therapy's ceiling, for a time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import Action, AuditRecord, DeadLetter, Measure, OverrideLimit
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.metrics import ShardMetrics
from dosetwin.platform.settings import ClockSettings, KafkaSettings, Settings
from dosetwin.platform.topics import ACTIONS, partition_of
from dosetwin.stream_jobs.shard.intake import Record
from dosetwin.stream_jobs.shard.patient import Patient
from dosetwin.stream_jobs.shard.turn import Turn
from dosetwin.twins.therapy import Bound, Ceiling
from tests.stream_jobs.shard.messages import START_S, enrolment, patient_id, record

CEILINGS = {"clinician": {"maximum_bolus": Ceiling(Bound(15.0, "U", "test"), 7200.0)}}


class Ward:
    """One shard's turn with one patient, whose therapy lets clinicians override the largest bolus."""

    def __init__(self, settings: Settings) -> None:
        self.turn = Turn(settings, ShardMetrics("test"))
        self.signer = settings.action_signer()
        self.turn.take([record(enrolment(1), 0)])
        self.patient: Patient = self.turn.roster.patients[patient_id(1)]
        self.patient.therapy = dataclasses.replace(self.patient.therapy, ceilings=CEILINGS)
        self.offset = 0

    def act(self, *, signed: bool = True, live: bool = True, **changes: Any) -> list[DeadLetter]:
        """Override the largest bolus at `at_s`; returns the dead letters of it."""
        asked: dict[str, Any] = {
            "value": 12.0,
            "at_s": START_S,
            "lasts_s": 3600.0,
            "person": "dr-a",
            "role": "clinician",
        }
        asked |= changes
        action = Action(
            patient=patient_id(1),
            id=identifier(patient_id(1), str(self.offset), "action"),
            person=asked["person"],
            role=asked["role"],
            at=instant(asked["at_s"]),
            act=OverrideLimit(
                limit="maximum_bolus",
                value=Measure(asked["value"], "U"),
                until=instant(asked["at_s"] + asked["lasts_s"]),
            ),
            reason="a feast",
        )
        self.offset += 1
        payload = encode(self.signer.sign(action) if signed else action)
        partition = partition_of(action.patient, 4)
        self.turn.outbox.clear()
        self.turn.intake.clear()
        self.turn.take(
            [Record(ACTIONS.name, partition, self.offset, int(START_S * 1000), b"", payload)], live=live
        )
        return [letter for letter, _ in self.turn.intake.dead_letters]

    def bolus_U(self, at_s: float) -> float:
        """The largest bolus in force."""
        return self.patient.held_at(at_s).of_drug("insulin")["maximum_bolus"].value


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(
        Settings(data_dir=tmp_path, kafka=KafkaSettings(partitions=4), clock=ClockSettings(speed=1.0))
    )


def test_it_holds_from_the_act_until_its_end(ward: Ward) -> None:
    usual_U = ward.bolus_U(START_S)
    assert usual_U != 12.0
    assert ward.act() == []
    assert [ward.bolus_U(START_S + after_s) for after_s in (-1.0, 0.0, 3599.0, 3600.0)] == [
        *(usual_U, 12.0, 12.0, usual_U)
    ]
    ward.turn.outbox.seal(instant(START_S))
    links = [decode(value, AuditRecord) for topic, _, _, value in ward.turn.outbox.records]
    (acted,) = [entry for link in links for entry in link.entries if entry.kind == "action"]
    assert (acted.outcome, acted.reason) == ("OverrideLimit", "dr-a (clinician): a feast")


@pytest.mark.parametrize("changes", [{"value": 15.1}, {"role": "patient"}, {"lasts_s": 7201.0}])
def test_what_goes_too_far_is_a_dead_letter_and_changes_nothing(ward: Ward, changes: dict[str, Any]) -> None:
    usual_U = ward.bolus_U(START_S)
    letters = ward.act(**changes)
    assert [letter.reason for letter in letters] == ["bad_override"]
    assert ward.bolus_U(START_S) == usual_U


def test_what_nobody_signed_changes_nothing(ward: Ward) -> None:
    usual_U = ward.bolus_U(START_S)
    assert ward.act(signed=False) == [], "the control app writes that dead letter"
    assert ward.bolus_U(START_S) == usual_U


def test_a_person_s_newer_override_takes_the_place_of_the_older_and_ended_ones_are_forgotten(
    ward: Ward,
) -> None:
    ward.act(value=11.0)
    ward.act(value=14.0, at_s=START_S + 60.0)
    assert ward.bolus_U(START_S + 60.0) == 14.0
    ward.act(value=13.0, person="dr-b", at_s=START_S + 120.0)
    assert ward.bolus_U(START_S + 120.0) == 13.0, "of two persons the stricter"
    ward.act(value=12.0, person="dr-c", at_s=START_S + 7200.0)
    assert [each.person for each in ward.patient.state.overrides] == ["dr-c"]


def test_a_replay_after_a_crash_comes_to_the_same(ward: Ward, tmp_path: Path) -> None:
    again = Ward(
        Settings(data_dir=tmp_path, kafka=KafkaSettings(partitions=4), clock=ClockSettings(speed=1.0))
    )
    ward.act()
    again.act(live=False)
    assert again.patient.state.overrides == ward.patient.state.overrides
    assert again.turn.outbox.records == []
