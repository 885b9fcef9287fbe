"""What a person's act on an alert, a proposal or a mode leads to."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    Action,
    AlertAcknowledged,
    AlertCleared,
    ChangeMode,
    ClearAlert,
    DeadLetterReason,
)
from dosetwin.platform.errors import SignatureError
from dosetwin.platform.settings import ControlSettings
from dosetwin.platform.signing import Verifier
from dosetwin.stream_jobs.control.state import ControlState, Message
from dosetwin.stream_jobs.enrolment import fault_of


class Unacceptable(Exception):  # noqa: N818 - a verdict on an action, not an error of ours
    """An action that becomes a dead letter."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def obey(state: ControlState, action: Action, verifier: Verifier, control: ControlSettings) -> list[Message]:
    """What an action leads to; nothing when it has led to it already.

    The state must hold everything that the person could have seen. Approvals and refusals of proposals are
    the shards' to carry out; here they only end the waiting. Raises Unacceptable with the dead letter's
    reason: `bad_signature`, `unknown_subject`, `unknown_patient`, `stale_enrolment`, `bad_enrolment`.
    """
    act = action.act
    try:
        verifier.verify(action)
    except SignatureError as error:
        raise Unacceptable("bad_signature", str(error)) from error
    if isinstance(act, AcknowledgeAlert):
        return _acknowledge(state, action, act, control)
    if isinstance(act, ClearAlert):
        return _clear(state, action, act)
    if isinstance(act, ChangeMode):
        return _change_mode(state, action, act)
    state.act(action)
    return []


def _acknowledge(
    state: ControlState, action: Action, act: AcknowledgeAlert, control: ControlSettings
) -> list[Message]:
    alert = state.alert_of(act.alert)
    if alert.raised is None:
        raise Unacceptable("unknown_subject", f"alert {act.alert} was never raised")
    if any(seen.action_id == action.id for seen in alert.acknowledgements):
        return []
    at = max(action.at, alert.raised.at)
    high = alert.priority(at) == "high"
    quiet_s = control.acknowledged_high_s if high else control.acknowledged_medium_s
    return [
        AlertAcknowledged(
            patient=alert.raised.patient,
            alert=act.alert,
            at=at,
            person=action.person,
            until=at + timedelta(seconds=quiet_s),
            action_id=action.id,
        )
    ]


def _clear(state: ControlState, action: Action, act: ClearAlert) -> list[Message]:
    alert = state.alert_of(act.alert)
    if alert.raised is None:
        raise Unacceptable("unknown_subject", f"alert {act.alert} was never raised")
    cleared = AlertCleared(
        patient=alert.raised.patient,
        alert=act.alert,
        at=max(action.at, alert.raised.at),
        by=action.person,
        reason=action.reason,
    )
    return [] if cleared in alert.clears else [cleared]


def _change_mode(state: ControlState, action: Action, act: ChangeMode) -> list[Message]:
    known = state.enrolments.get(action.patient)
    if known is None:
        raise Unacceptable("unknown_patient", f"{action.patient} is not enrolled")
    if known.version == act.seen_version + 1 and known.mode == act.mode:
        return []  # this very change, before a restart; or the same wish of somebody else
    if known.version != act.seen_version:
        raise Unacceptable(
            "stale_enrolment",
            f"{action.person} saw version {act.seen_version}; version {known.version} is in force",
        )
    changed = msgspec.structs.replace(known, version=known.version + 1, mode=act.mode)
    fault = fault_of(changed)
    if fault:
        raise Unacceptable("bad_enrolment", fault)
    return [changed]
