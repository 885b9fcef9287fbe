"""Contract messages folded without a broker, for the tests of what the pages show."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from dosetwin.dashboards.patient_fold import Bounds
from dosetwin.dashboards.snapshot import ReaderState, Snapshot, TopicFlow
from dosetwin.dashboards.ward_fold import WardFold
from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    AlertRaised,
    Command,
    EnrolledDevice,
    Enrolment,
    Mode,
    Order,
    Precondition,
    Proposal,
    Reading,
    Sample,
)
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.pseudonym import pseudonym

START_S = 1_800_000_000.0
BASAL = Order(drug="insulin", route="subcutaneous", kind="rate", amount=0.9, unit="U/h", duration_s=1800.0)


def patient_id(index: int) -> str:
    return pseudonym(str(index), b"k" * 32)


def at(seconds: float) -> datetime:
    return instant(START_S + seconds)


def enrolment(index: int, version: int = 1, **changes: Any) -> Enrolment:
    mode: Mode = "advisory"
    fields: dict[str, Any] = {
        "patient": patient_id(index),
        "version": version,
        "therapy": "t1d-insulin",
        "mode": mode,
        "at": at(0),
        "ward": "Ward 4",
        "devices": (EnrolledDevice(device="pump-1", kind="insulin_pump", commands=True),),
    }
    return Enrolment(**(fields | changes))


def reading(
    index: int, seconds: float, value: float, unit: str = "mg/dL", quantity: str = "glucose"
) -> Reading:
    return Reading(
        patient=patient_id(index),
        device="cgm-1",
        boot="b",
        sequence=int(seconds),
        sent_at=at(seconds),
        samples=(Sample(quantity=quantity, value=value, unit=unit, at=at(seconds)),),
    )


def proposal(index: int, seconds: float, expires: float = 3600.0, version: int = 1) -> Proposal:
    return Proposal(
        patient=patient_id(index),
        id=identifier("proposal", index, seconds),
        device="pump-1",
        orders=(BASAL,),
        proposed_at=at(seconds),
        expires_at=at(seconds + expires),
        enrolment_version=version,
        decision_id=identifier("decision", index, seconds),
        source="readings/0:1",
        reason="glucose rises",
    )


def command(index: int, seconds: float, proposal_id: str | None = None) -> Command:
    return Command(
        patient=patient_id(index),
        id=identifier("command", index, seconds),
        device="pump-1",
        orders=(BASAL,),
        issued_at=at(seconds),
        expires_at=at(seconds + 300),
        precondition=Precondition(enrolment_version=1),
        decision_id=identifier("decision", index, seconds),
        source="readings/0:1",
        proposal_id=proposal_id,
    )


def acknowledgement(order: Command, seconds: float, status: Any, reason: str = "") -> Acknowledgement:
    return Acknowledgement(
        patient=order.patient,
        device="pump-1",
        boot="b",
        sequence=int(seconds * 10),
        sent_at=at(seconds),
        command_id=order.id,
        status=status,
        at=at(seconds),
        reason=reason,
    )


def alert(index: int, seconds: float, priority: Any, kind: str = "predicted_low") -> AlertRaised:
    return AlertRaised(
        patient=patient_id(index),
        alert=identifier("alert", index, seconds, kind),
        at=at(seconds),
        kind=kind,
        priority=priority,
        message="glucose falls",
        evidence={"probability_below_70": 0.62},
    )


def fold(*messages: tuple[str, msgspec.Struct], bounds: Bounds | None = None) -> WardFold:
    """A fold that took these (topic, message) pairs."""
    folded = WardFold(PlatformClock(), bounds)
    for topic, message in messages:
        folded.fold(topic, encode(message))
    return folded


def snapshot(folded: WardFold, seconds: float, **reader: Any) -> Snapshot:
    """The fold's snapshot at an event time (which is wall time here), from a reader that is well."""
    now = START_S + seconds
    state: dict[str, Any] = {"connection": "live", "since_s": now, "heard_s": now}
    flows = {"readings": TopicFlow(1, 1.0, now)}
    return folded.publish(now, ReaderState(**(state | reader)), flows, {})
