"""Topic `alerts`: events in an alert's life; its state is a fold over them, in any order.

Priorities are those of IEC 60601-1-8: high (prompt response), medium, low (awareness).
"""

from __future__ import annotations

from typing import Literal

from dosetwin.platform.contracts.command import CommandId
from dosetwin.platform.contracts.event import Event, Instant, Name, Positive

Priority = Literal["high", "medium", "low"]


class AlertEvent(Event, frozen=True, kw_only=True, tag_field="type"):
    """Base of the events of one alert. `alert` = uuid5(patient, kind, what raised it)."""

    alert: CommandId
    at: Instant


class AlertRaised(AlertEvent, frozen=True, kw_only=True, tag="raised"):
    """A condition began. `evidence` holds the numbers that made it true."""

    kind: Name
    priority: Priority
    message: str
    evidence: dict[str, float] = {}
    source: str = ""
    origin: Name = "shard"


class AlertEscalated(AlertEvent, frozen=True, kw_only=True, tag="escalated"):
    """Nobody acknowledged in time: the next person is called."""

    level: Positive
    to: Name


class AlertAcknowledged(AlertEvent, frozen=True, kw_only=True, tag="acknowledged"):
    """A person has seen it; silent until `until`, or until something worse."""

    person: Name
    until: Instant
    action_id: CommandId


class AlertCleared(AlertEvent, frozen=True, kw_only=True, tag="cleared"):
    """The condition ended, or a named person cleared it with a reason."""

    by: Name = "condition"
    reason: str = ""


Alert = AlertRaised | AlertEscalated | AlertAcknowledged | AlertCleared
