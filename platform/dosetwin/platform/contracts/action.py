"""Topic `actions`: what people did, signed by the station they did it at."""

from __future__ import annotations

import msgspec

from dosetwin.platform.contracts.command import CommandId
from dosetwin.platform.contracts.enrolment import Measure, Mode
from dosetwin.platform.contracts.event import Event, Instant, Name


class ApproveProposal(msgspec.Struct, frozen=True, kw_only=True, tag="approve", tag_field="kind"):
    """Let a proposal leave as a command (the supervisor checks it once more)."""

    proposal_id: CommandId


class RefuseProposal(msgspec.Struct, frozen=True, kw_only=True, tag="refuse", tag_field="kind"):
    """Turn a proposal down."""

    proposal_id: CommandId


class AcknowledgeAlert(msgspec.Struct, frozen=True, kw_only=True, tag="acknowledge", tag_field="kind"):
    """Say that an alert was seen."""

    alert: CommandId


class ClearAlert(msgspec.Struct, frozen=True, kw_only=True, tag="clear", tag_field="kind"):
    """End an alert whose condition a person judged to be over."""

    alert: CommandId


class ChangeMode(msgspec.Struct, frozen=True, kw_only=True, tag="mode", tag_field="kind"):
    """Change a patient's mode; the control app answers with a new enrolment version."""

    mode: Mode
    seen_version: int


class OverrideLimit(msgspec.Struct, frozen=True, kw_only=True, tag="override", tag_field="kind"):
    """Hold a limit of the safety supervisor at another value from `Action.at` until just before `until`.

    `limit` is its key, such as "maximum_bolus" or "maximum_rate@propofol". How far a role may move it and for
    how long, its therapy says; what goes further does not hold at all. It takes the place of the override of
    the same limit by the same person, if there is one.
    """

    limit: Name
    value: Measure
    until: Instant


Act = ApproveProposal | RefuseProposal | AcknowledgeAlert | ClearAlert | ChangeMode | OverrideLimit


class Action(Event, frozen=True, kw_only=True, tag="action", tag_field="type"):
    """One act of one person on one patient, with its reason. Signed like a command."""

    id: CommandId
    person: Name
    role: Name
    at: Instant
    act: Act
    reason: str = ""
    key_id: str = ""
    signature: str = ""
