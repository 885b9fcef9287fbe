"""`dosetwin control` as a process on the real broker: each life cycle once, end to end."""

from __future__ import annotations

import pytest

from dosetwin.platform.alert_state import AlertBook
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    ApproveProposal,
    ChangeMode,
    ClearAlert,
    Command,
    Dose,
    EnrolledDevice,
    MissedDose,
)
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.kafka_clients import transactional_producer
from dosetwin.platform.topics import ACTIONS, COMMANDS, DOSES, ENROLMENTS, READINGS, partition_of

from .conftest import Ward, pseudonym

pytestmark = pytest.mark.broker


def raised(ward: Ward, patient: str, kind: str) -> list[AlertRaised]:
    return [
        alert
        for alert in ward.alerts()
        if isinstance(alert, AlertRaised) and (alert.patient, alert.kind) == (patient, kind)
    ]


def cleared(ward: Ward, alert: str) -> list[AlertCleared]:
    return [found for found in ward.alerts() if isinstance(found, AlertCleared) and found.alert == alert]


def escalated(ward: Ward, alert: str) -> list[AlertEscalated]:
    return [found for found in ward.alerts() if isinstance(found, AlertEscalated) and found.alert == alert]


def letters(ward: Ward, patient: str) -> list[str]:
    return [letter.reason for letter in ward.dead_letters() if letter.patient == patient]


def test_alerts_are_passed_on_acknowledged_and_cleared(ward: Ward) -> None:
    patient = pseudonym(1)
    ward.enrol(patient, mode="shadow", devices=(EnrolledDevice(device="lab", kind="laboratory"),))
    seen = ward.raise_alert(patient, cause="seen")
    act = ward.act(patient, AcknowledgeAlert(alert=seen.alert))
    over = ward.raise_alert(patient, cause="over")
    ward.act(patient, ClearAlert(alert=over.alert))
    ignored = ward.raise_alert(patient, cause="ignored")
    ward.until(lambda: [found.level for found in escalated(ward, ignored.alert)][-1:] == [3])
    acknowledged = [a for a in ward.alerts() if isinstance(a, AlertAcknowledged) and a.alert == seen.alert]
    assert [found.person for found in acknowledged] == ["Dr Ada"]
    assert [found.by for found in cleared(ward, over.alert)] == ["Dr Ada"]
    levels = [found.level for found in escalated(ward, ignored.alert)]
    assert levels == sorted(set(levels)), "each step once; a slow start may pass over some"
    steps = [found.at.timestamp() for found in escalated(ward, seen.alert)]
    assert all(step_s < ward.there_s[act.id] for step_s in steps), "none after the person's act was there"
    book = AlertBook(ward.alerts())
    now = ward.clock.now()
    assert {alert.alert for alert in book.open_alerts(now, patient)} == {ignored.alert, seen.alert}


def test_commands_are_answered_called_out_or_expired(ward: Ward) -> None:
    patient = pseudonym(2)
    ward.enrol(patient, devices=(EnrolledDevice(device="pump-0002", kind="insulin_pump", commands=True),))
    lost = ward.command(patient, "lost", expires_in_s=240.0)
    ward.until(lambda: raised(ward, patient, "command_unanswered"))
    expired = ward.until(
        lambda: [a for a in ward.answers() if a.command_id == lost.id and a.status == "expired"]
    )
    assert [answer.device for answer in expired] == ["watchdog"]
    answered = ward.command(patient, "answered", expires_in_s=600.0)
    ward.answer(answered, "delivered", sequence=0)
    ward.answer(answered, "applied", sequence=1)
    (silent,) = raised(ward, patient, "command_unanswered")
    ward.until(lambda: cleared(ward, silent.alert))
    refused = ward.command(patient, "refused", expires_in_s=600.0)
    ward.answer(refused, "refused", "hardware", sequence=2)
    (alert,) = ward.until(lambda: raised(ward, patient, "command_refused"))
    assert "hardware" in alert.message
    assert [a.status for a in ward.answers() if a.command_id == refused.id] == ["refused"]


def test_commands_of_an_aborted_transaction_are_not_waited_for(ward: Ward) -> None:
    patient = pseudonym(9)
    ward.enrol(patient, devices=(EnrolledDevice(device="pump-0009", kind="insulin_pump", commands=True),))
    shard = transactional_producer(ward.kafka, ward.kafka.group("test-shard"))
    shard.init_transactions()

    def send(cause: str) -> Command:
        command = ward.make_command(patient, cause, expires_in_s=60.0)
        topic, partition = ward.kafka.topic(COMMANDS.name), partition_of(patient, ward.kafka.partitions)
        shard.send(topic, key=patient.encode(), value=encode(command), partition=partition)
        return command

    shard.begin_transaction()
    aborted = send("aborted")
    shard.flush()
    shard.abort_transaction()
    shard.begin_transaction()
    committed = send("committed")
    shard.commit_transaction()
    shard.close()
    ward.until(lambda: committed.id in {answer.command_id for answer in ward.answers()})
    later = ward.command(patient, "later", expires_in_s=60.0)
    ward.until(lambda: later.id in {answer.command_id for answer in ward.answers()})
    assert aborted.id not in {answer.command_id for answer in ward.answers()}


def test_advice_waits_for_a_person(ward: Ward) -> None:
    patient = pseudonym(3)
    ward.enrol(patient, mode="advisory")
    approved = ward.propose(patient, "approved", expires_in_s=3600.0)
    ignored = ward.propose(patient, "ignored", expires_in_s=120.0)
    ward.until(lambda: len(raised(ward, patient, "advice_waiting")) == 2)
    ward.act(patient, ApproveProposal(proposal_id=approved.id))

    def reason(proposal: str) -> str:
        return "".join(
            found.reason for found in cleared(ward, identifier(patient, "advice_waiting", proposal))
        )

    ward.until(lambda: reason(approved.id) and reason(ignored.id))
    assert reason(approved.id) == "approved by Dr Ada"
    assert "expired" in reason(ignored.id)


def test_a_change_of_mode_makes_the_round_trip_once(ward: Ward) -> None:
    patient = pseudonym(4)
    ward.enrol(patient, mode="advisory", version=7)
    ward.act(patient, ChangeMode(mode="autonomous", seen_version=7))
    ward.act(patient, ChangeMode(mode="shadow", seen_version=7))
    ward.act(patient, ChangeMode(mode="shadow", seen_version=8), signed=False)
    ward.until(lambda: sorted(letters(ward, patient)) == ["bad_signature", "stale_enrolment"])
    assert [(found.version, found.mode) for found in ward.enrolments(patient)] == [
        (7, "advisory"),
        (8, "autonomous"),
    ]


def test_what_cannot_be_kept_is_a_dead_letter_and_disturbs_nobody(ward: Ward) -> None:
    patient, other = pseudonym(5), pseudonym(6)
    ward.enrol(patient, therapy="leeches")
    for topic in (ENROLMENTS, ACTIONS, DOSES, READINGS, COMMANDS):
        ward.put_raw(topic, patient, b"{not json")
    ward.act(patient, AcknowledgeAlert(alert=identifier("nothing")))
    ward.enrol(other, mode="advisory")
    ward.act(other, ChangeMode(mode="shadow", seen_version=1))
    ward.until(lambda: len(ward.enrolments(other)) == 2)
    ward.until(lambda: sorted(letters(ward, patient)) == ["unknown_subject"])
    assert ward.alive()


def test_a_sensor_falls_silent_and_talks_again(ward: Ward) -> None:
    patient = pseudonym(7)
    ward.enrol(patient)
    ward.read_sensor(patient, 0)
    (alert,) = ward.until(lambda: raised(ward, patient, "silent_device"))
    assert alert.priority == "high"
    ward.read_sensor(patient, 1)
    ward.until(lambda: cleared(ward, alert.alert))


def test_a_missed_dose_is_called_out(ward: Ward) -> None:
    patient = pseudonym(8)
    now = ward.clock.now()
    missed = MissedDose(drug="quinidine", route="oral", amount=200.0, unit="mg", at=now, reason="asleep")
    dose = Dose(
        patient=patient, device="pillbox", boot="b", sequence=0, sent_at=now, administrations=(missed,)
    )
    for _ in range(2):
        ward.put_raw(DOSES, patient, encode(dose))
    ward.until(lambda: raised(ward, patient, "missed_dose"))
    ward.act(pseudonym(4), ChangeMode(mode="shadow", seen_version=8))
    ward.until(lambda: len(ward.enrolments(pseudonym(4))) == 3)
    (alert,) = raised(ward, patient, "missed_dose")
    assert alert.evidence == {"adherence": 0.0, "missed": 1.0, "planned": 1.0}


def test_it_stops_when_it_is_told_to(ward: Ward) -> None:
    assert ward.alive()
    assert ward.stop() == 0
    assert "Traceback" not in ward.log.read_text()
