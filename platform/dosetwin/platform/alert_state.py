"""The state of an alert: a fold over its events that does not depend on their order or on repeats.

An `AlertState` is the set of events seen of one alert; adding is set union, so it is commutative,
associative and idempotent by construction. What the set means is judged raise by raise:

    over       a clear at or after the raise
    seen       an acknowledgement at or after it, or a clear by a named person at or after it
    silenced   the newest acknowledgement has not expired, and it came at or after the raise, or was for a
               raise of higher priority

    not over                 active, or acknowledged while silenced
    over, high, not seen     latched: it stays until a person acknowledges it
    over otherwise           closed

An alert is as urgent as its most urgent raise and has the priority of its worst raise that is not closed,
so that nothing said about one raise hides a worse one. `at` of a clear is when it was found to be over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

import msgspec

from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    Alert,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    Priority,
)

Status = Literal["unknown", "closed", "acknowledged", "latched", "active"]
URGENCY: tuple[Status, ...] = ("unknown", "closed", "acknowledged", "latched", "active")
"""The statuses from least to most urgent. "unknown": events of an alert whose raise was not seen (yet)."""
RANK: dict[Priority, int] = {"low": 0, "medium": 1, "high": 2}


class AlertState(msgspec.Struct, frozen=True, kw_only=True):
    """The events seen of one alert, each once, in a fixed order."""

    alert: str
    patient: str
    raises: tuple[AlertRaised, ...] = ()
    acknowledgements: tuple[AlertAcknowledged, ...] = ()
    clears: tuple[AlertCleared, ...] = ()
    escalations: tuple[AlertEscalated, ...] = ()

    def with_event(self, event: Alert) -> AlertState:
        """The state that has seen `event` too; itself where it had."""
        field = _FIELD[type(event)]
        seen = getattr(self, field)
        if event in seen:
            return self
        ordered = tuple(sorted((*seen, event), key=lambda item: (item.at, encode(item))))
        return msgspec.structs.replace(self, **{field: ordered})

    def status(self, at: datetime) -> Status:
        """How urgent the alert is at an event time (which matters for expired acknowledgements only)."""
        return max(
            (self._status_of(raised, at) for raised in self.raises), key=URGENCY.index, default="unknown"
        )

    def priority(self, at: datetime) -> Priority:
        """The worst priority among the raises that are not closed; of all, where all are."""
        not_closed = [raised for raised in self.raises if self._status_of(raised, at) != "closed"]
        return max(
            (raised.priority for raised in not_closed or self.raises), key=RANK.__getitem__, default="low"
        )

    def is_open(self, at: datetime) -> bool:
        """Whether it belongs on a screen."""
        return self.status(at) not in ("closed", "unknown")

    def wants_a_person(self, at: datetime) -> bool:
        """Whether it is to be announced and escalated: active or latched."""
        return self.status(at) in ("active", "latched")

    @property
    def raised(self) -> AlertRaised | None:
        """The newest raise: its message and evidence are the ones to show."""
        return self.raises[-1] if self.raises else None

    @property
    def acknowledged(self) -> AlertAcknowledged | None:
        """The newest acknowledgement."""
        return max(self.acknowledgements, key=lambda item: (item.at, item.until), default=None)

    @property
    def cleared(self) -> AlertCleared | None:
        """The newest clear."""
        return self.clears[-1] if self.clears else None

    @property
    def level(self) -> int:
        """The highest level it was escalated to; 0 where it was not."""
        return max((escalated.level for escalated in self.escalations), default=0)

    def _status_of(self, raised: AlertRaised, at: datetime) -> Status:
        if any(cleared.at >= raised.at for cleared in self.clears):
            return "latched" if raised.priority == "high" and not self._was_seen(raised) else "closed"
        return "acknowledged" if self._is_silenced(raised, at) else "active"

    def _was_seen(self, raised: AlertRaised) -> bool:
        return any(item.at >= raised.at for item in self.acknowledgements) or any(
            item.at >= raised.at and item.by != "condition" for item in self.clears
        )

    def _is_silenced(self, raised: AlertRaised, at: datetime) -> bool:
        newest = self.acknowledged
        if newest is None or at >= newest.until:
            return False
        if newest.at >= raised.at:
            return True
        return any(
            RANK[other.priority] > RANK[raised.priority] for other in self.raises if other.at <= newest.at
        )


_FIELD: dict[type, str] = {
    AlertRaised: "raises",
    AlertAcknowledged: "acknowledgements",
    AlertCleared: "clears",
    AlertEscalated: "escalations",
}


def fold(events: Iterable[Alert]) -> AlertState:
    """The state of one alert from its events, in any order, repeats included.

    Raises ValueError for events of different alerts, or for none.
    """
    state: AlertState | None = None
    for event in events:
        if state is None:
            state = AlertState(alert=event.alert, patient=event.patient)
        if event.alert != state.alert:
            raise ValueError(f"events of two alerts, {state.alert} and {event.alert}, in one fold")
        state = state.with_event(event)
    if state is None:
        raise ValueError("no events to fold")
    return state


class AlertBook:
    """Many alerts, kept up as their events come, in whatever order."""

    def __init__(self, events: Iterable[Alert] = ()) -> None:
        self._states: dict[str, AlertState] = {}
        for event in events:
            self.add(event)

    def add(self, event: Alert) -> AlertState:
        """Take one event; the state of its alert."""
        state = self._states.get(event.alert) or AlertState(alert=event.alert, patient=event.patient)
        state = self._states[event.alert] = state.with_event(event)
        return state

    def get(self, alert: str) -> AlertState | None:
        """The state of an alert, None where no event of it was seen."""
        return self._states.get(alert)

    def __iter__(self) -> Iterator[AlertState]:
        return iter(self._states.values())

    def __len__(self) -> int:
        return len(self._states)

    def open_alerts(self, at: datetime, patient: str | None = None) -> list[AlertState]:
        """The open ones (of one patient, or of all): most urgent first, then worst, then newest."""
        found = [
            state
            for state in self._states.values()
            if (patient is None or state.patient == patient) and state.is_open(at)
        ]
        return sorted(
            found,
            key=lambda state: (
                state.wants_a_person(at),
                RANK[state.priority(at)],
                state.raises[-1].at,
                state.alert,
            ),
            reverse=True,
        )

    def forget_closed(self, at: datetime, older_than: datetime) -> int:
        """Drop alerts that are closed and whose last event is older than `older_than`; how many."""
        doomed = [
            state.alert
            for state in self._states.values()
            if state.status(at) == "closed" and max(item.at for item in state.clears) < older_than
        ]
        for alert in doomed:
            del self._states[alert]
        return len(doomed)
