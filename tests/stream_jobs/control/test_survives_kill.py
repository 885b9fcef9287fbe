"""SIGKILL in the middle: nothing is lost, and what is said twice is the same."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertEscalated,
    AlertRaised,
    Dose,
    MissedDose,
)
from dosetwin.platform.errors import TopicError
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topics import DOSES
from dosetwin.stream_jobs.control.worker import check_topics

from .conftest import Ward, pseudonym

pytestmark = pytest.mark.broker
PATIENTS = 12
ROUNDS = 3


def test_kills_lose_nothing_and_double_nothing(empty_ward: Ward) -> None:
    ward = empty_ward
    chance = random.Random(0)
    patients = [pseudonym(number + 1) for number in range(PATIENTS)]
    ignored, seen, lost, missed = [], [], [], 0
    ward.start()
    for patient in patients:
        ward.enrol(patient, mode="shadow", therapy="t1d-insulin")
    for turn in range(ROUNDS):
        for patient in patients:
            ignored.append(ward.raise_alert(patient, cause=f"ignored-{turn}"))
            alert = ward.raise_alert(patient, "medium", cause=f"seen-{turn}")
            seen.append(alert)
            ward.act(patient, AcknowledgeAlert(alert=alert.alert), cause=f"{turn}")
            lost.append(ward.command(patient, f"{turn}", expires_in_s=chance.uniform(60.0, 400.0)))
            now = ward.clock.now()
            dose = Dose(
                patient=patient,
                device="pillbox",
                boot="b",
                sequence=turn,
                sent_at=now,
                administrations=(
                    MissedDose(drug="quinidine", route="oral", amount=200.0, unit="mg", at=now),
                ),
            )
            ward.put_raw(DOSES, patient, encode(dose))
            missed += 1
        if turn < ROUNDS - 1:
            time.sleep(chance.uniform(3.0, 8.0))
            ward.kill()
            ward.start()

    def complete() -> bool:
        alerts = ward.alerts()
        escalated = {a.alert for a in alerts if isinstance(a, AlertEscalated) and a.level == 3}
        acknowledged = {a.alert for a in alerts if isinstance(a, AlertAcknowledged)}
        called_out = {a.alert for a in alerts if isinstance(a, AlertRaised) and a.kind == "missed_dose"}
        expired = {a.command_id for a in ward.answers() if a.device == "watchdog"}
        return (
            escalated >= {alert.alert for alert in ignored}
            and acknowledged == {alert.alert for alert in seen}
            and expired == {command.id for command in lost}
            and len(called_out) == missed
        )

    ward.until(complete, 120.0)
    repeats = Counter((message.command_id, message.status) for message in ward.answers())
    contents = {encode(message) for message in ward.answers()}
    assert len(contents) == len(repeats), "a repeat says the same, byte by byte"
    raises = [
        alert for alert in ward.alerts() if isinstance(alert, AlertRaised) and alert.origin == "control"
    ]
    assert len({encode(alert) for alert in raises}) == len({alert.alert for alert in raises})
    assert ward.dead_letters() == []
    assert ward.alive()


def test_missing_topics_are_named(broker_bootstrap: str) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap=broker_bootstrap, topic_prefix="nowhere-"))
    with pytest.raises(TopicError, match="nowhere-readings") as caught:
        check_topics(settings)
    assert "dosetwin topics" in caught.value.remedy
