"""What the desk refuses, and that what it writes can be checked by anybody with the public key."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from dosetwin.dashboards.actions import ActionDesk, Outcome
from dosetwin.dashboards.snapshot import Snapshot
from dosetwin.platform import kafka_clients
from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import Action, ApproveProposal
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import partition_of
from tests.dashboards.folding import START_S, alert, enrolment, fold, patient_id, proposal, snapshot

pytestmark = pytest.mark.broker
WAITING = proposal(1, 0, 500)
RAISED = alert(1, 5, "high")


def picture(**reader: Any) -> Snapshot:
    messages = (("enrolments", enrolment(1)), ("commands", WAITING), ("alerts", RAISED))
    return snapshot(fold(*messages), 100, **reader)


def request(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "approve",
        "subject": WAITING.id,
        "seen_version": 1,
        "nonce": "n1",
        "reason": "",
    } | changes


def perform(settings: Settings, seen: Snapshot, **changes: Any) -> Outcome:
    desk = ActionDesk(settings)
    try:
        return desk.perform(request(**changes), seen, START_S + 100)
    finally:
        desk.close()


def test_an_approval_is_signed_and_on_the_patients_partition(settings: Settings) -> None:
    outcome = perform(settings, picture(), reason="  agreed  ")
    assert outcome.written, outcome.sentence
    consumer = kafka_clients.consumer(settings.kafka, "test")
    consumer.subscribe([settings.kafka.topic("actions")])
    records: list[Any] = []
    deadline = time.monotonic() + 30
    while not records and time.monotonic() < deadline:
        records += [record for batch in consumer.poll(timeout_ms=300).values() for record in batch]
    consumer.close()
    (record,) = records
    action = decode(record.value, Action)
    settings.action_verifier().verify(action)
    assert action == outcome.action
    assert (action.act, action.patient, action.reason) == (
        ApproveProposal(proposal_id=WAITING.id),
        patient_id(1),
        "agreed",
    )
    assert record.partition == partition_of(patient_id(1), settings.kafka.partitions)
    assert record.key == patient_id(1).encode()


def test_a_double_click_is_one_act(settings: Settings) -> None:
    first, second = perform(settings, picture()), perform(settings, picture())
    assert first.action is not None
    assert second.action is not None
    assert first.action.id == second.action.id
    other = perform(settings, picture(), nonce="n2")
    assert other.action is not None
    assert other.action.id != first.action.id


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seen_version": 2}, "enrolment changed"),
        ({"subject": "0" * 36}, "not there any more"),
        ({"kind": "acknowledge", "subject": "0" * 36}, "not open any more"),
        ({"kind": "mode", "subject": patient_id(1), "mode": "shadow"}, "needs a reason"),
        (
            {"kind": "mode", "subject": patient_id(1), "mode": "advisory", "reason": "x"},
            "in advisory mode already",
        ),
        ({"kind": "mode", "subject": patient_id(1), "mode": "open", "reason": "x"}, "no mode 'open'"),
        ({"kind": "mode", "subject": patient_id(9), "mode": "shadow", "reason": "x"}, "not enrolled"),
        ({"kind": "delete"}, "does not know"),
    ],
)
def test_what_does_not_hold_any_more_is_refused(
    settings: Settings, changes: dict[str, Any], said: str
) -> None:
    outcome = perform(settings, picture(), **changes)
    assert not outcome.written
    assert said in outcome.sentence


def test_nothing_is_sent_from_a_view_that_is_old(settings: Settings) -> None:
    outcome = perform(settings, picture(heard_s=START_S))
    assert not outcome.written
    assert "The broker has not answered" in outcome.sentence


def test_an_expired_or_changed_proposal_is_refused(settings: Settings) -> None:
    late = snapshot(fold(("enrolments", enrolment(1)), ("commands", WAITING)), 600)
    desk = ActionDesk(settings)
    outcome = desk.perform(request(), late, START_S + 600)
    assert "it is expired" in outcome.sentence
    changed = fold(("enrolments", enrolment(1)), ("commands", WAITING))
    changed.fold("enrolments", encode(enrolment(1, version=2)))
    outcome = desk.perform(request(seen_version=2), snapshot(changed, 100), START_S + 100)
    assert "now version 2, the proposal was made for 1" in outcome.sentence
    newer = proposal(1, 30, 500)
    overtaken = fold(("enrolments", enrolment(1)), ("commands", WAITING), ("commands", newer))
    outcome = desk.perform(request(), snapshot(overtaken, 100), START_S + 100)
    assert "a newer proposal" in outcome.sentence
    assert desk.perform(request(subject=newer.id), snapshot(overtaken, 100), START_S + 100).written
    gone = dataclasses.replace(picture(), lives={})
    assert not desk.perform(request(), gone, START_S + 100).written
    desk.close()
