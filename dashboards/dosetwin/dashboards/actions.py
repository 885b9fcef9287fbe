"""What a person does: checked again against the newest state, signed, and written to `actions`.

The browser sends what the person saw (proposal, enrolment version). Here, on the server, it is compared with
what holds now; anything else than what was seen is refused with the reason, and nothing is written.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from dosetwin.dashboards.snapshot import MODES, Snapshot
from dosetwin.dashboards.view_models.commands import newest_waiting
from dosetwin.dashboards.view_models.header import header, trouble
from dosetwin.dashboards.view_models.lifelines import stage
from dosetwin.platform import kafka_clients
from dosetwin.platform.clock import instant
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    Act,
    Action,
    ApproveProposal,
    ChangeMode,
    RefuseProposal,
)
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import ACTIONS, partition_of

WRITE_TIMEOUT_S = 10.0
LONGEST_REASON = 500


@dataclass(frozen=True)
class Outcome:
    """What came of an act: written or refused, in a sentence for the person who did it."""

    written: bool
    sentence: str
    action: Action | None = None


class ActionDesk:
    """Takes people's acts of one dashboard process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._signer = settings.action_signer()
        self._producer: KafkaProducer | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the broker."""
        with self._lock:
            if self._producer is not None:
                self._producer.close(timeout=2)
                self._producer = None

    def perform(self, request: Mapping[str, Any], snapshot: Snapshot, wall_s: float) -> Outcome:
        """Check, sign and write one act; returns after the broker has it (acks=all) or says why not.

        `request`: kind, subject (proposal or alert id, or patient), seen_version, reason, nonce. The same
        nonce gives the same action id, so that a double click is one act.
        """
        dashboard = self._settings.dashboard
        stale = trouble(header(snapshot, wall_s, dashboard.person, dashboard.role))
        if stale:
            return Outcome(False, f"Not sent: {stale}. Wait until this view is live again.")
        found = _act(request, snapshot)
        if isinstance(found, str):
            return Outcome(False, f"Not sent: {found}")
        act, patient = found
        action = self._signer.sign(
            Action(
                patient=patient,
                id=identifier(
                    "action", dashboard.person, request.get("nonce", ""), request.get("subject", "")
                ),
                person=dashboard.person,
                role=dashboard.role,
                at=instant(self._settings.platform_clock.event_s(wall_s)),
                act=act,
                reason=str(request.get("reason", ""))[:LONGEST_REASON].strip(),
            )
        )
        try:
            self._write(action)
        except (KafkaError, BrokerError) as error:
            return Outcome(False, f"Not sent: the broker did not take it ({error})")
        return Outcome(True, f"{SAID[type(act)]} Signed and written; what comes of it shows here.", action)

    def _write(self, action: Action) -> None:
        with self._lock:
            if self._producer is None:
                self._producer = kafka_clients.producer(
                    self._settings.kafka, "dosetwin-dashboard-actions", linger_ms=0
                )
            future = self._producer.send(
                self._settings.kafka.topic(ACTIONS.name),
                key=action.patient.encode(),
                value=encode(action),
                partition=partition_of(action.patient, self._settings.kafka.partitions),
            )
            future.get(timeout=WRITE_TIMEOUT_S)


SAID: dict[type, str] = {
    ApproveProposal: "Approved.",
    RefuseProposal: "Turned down.",
    AcknowledgeAlert: "Acknowledged.",
    ChangeMode: "Change of mode asked for.",
}


def _act(request: Mapping[str, Any], snapshot: Snapshot) -> tuple[Act, str] | str:
    """The act and its patient, or why it may not be."""
    kind, subject = request.get("kind"), str(request.get("subject", ""))
    match kind:
        case "approve" | "refuse":
            return _on_proposal(str(kind), subject, request.get("seen_version"), snapshot)
        case "acknowledge":
            alert = snapshot.alerts.get(subject)
            if alert is None or not alert.state.is_open(instant(snapshot.event_s)):
                return "this alert is not open any more."
            return AcknowledgeAlert(alert=subject), alert.patient
        case "mode":
            return _on_mode(subject, request, snapshot)
    return f"the view asked for {kind!r}, which this server does not know."


def _on_proposal(kind: str, subject: str, seen_version: object, snapshot: Snapshot) -> tuple[Act, str] | str:
    line = snapshot.lives.get(subject)
    if line is None or line.proposal is None:
        return "this proposal is not there any more."
    reached = stage(line, instant(snapshot.event_s))
    if reached != "waiting":
        return f"this proposal does not wait any more; it is {reached}."
    record = snapshot.patients.get(line.patient)
    version = record.enrolment.version if record is not None and record.enrolment is not None else None
    if version is None or version != line.proposal.enrolment_version or version != seen_version:
        return (
            f"the patient's enrolment changed since (now version {version}, the proposal was made for "
            f"{line.proposal.enrolment_version}, you saw {seen_version}). A new proposal will follow."
        )
    if kind == "approve":
        if newest_waiting(snapshot).get((line.patient, line.proposal.device)) != subject:
            return "a newer proposal for this patient waits; approve that one, or refuse both."
        return ApproveProposal(proposal_id=subject), line.patient
    return RefuseProposal(proposal_id=subject), line.patient


def _on_mode(subject: str, request: Mapping[str, Any], snapshot: Snapshot) -> tuple[Act, str] | str:
    record = snapshot.patients.get(subject)
    if record is None or record.enrolment is None or not record.enrolment.active:
        return "this patient is not enrolled any more."
    version, mode = record.enrolment.version, request.get("mode")
    if request.get("seen_version") != version:
        return f"the patient's enrolment changed since (now version {version}); look at it again."
    if mode not in MODES:
        return f"there is no mode {mode!r}; there are {', '.join(MODES)}."
    if mode == record.enrolment.mode:
        return f"the patient is in {mode} mode already."
    if not str(request.get("reason", "")).strip():
        return "a change of mode needs a reason."
    return ChangeMode(mode=mode, seen_version=version), subject
