"""What the control app knows: a fold of the topics, in any order and any number of times.

Nothing here is kept on disk: a start reads it back from the topics (docs/decisions/0007-control-state.md).
All times are event Unix seconds unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dosetwin.platform.alert_state import AlertBook, AlertState
from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    Acknowledgement,
    Action,
    Alert,
    ApproveProposal,
    ClearAlert,
    Command,
    DeadLetter,
    Enrolment,
    Proposal,
    RefuseProposal,
)
from dosetwin.stream_jobs.enrolment import fault_of

Message = Alert | Acknowledgement | Enrolment | DeadLetter
"""What the control app writes."""


@dataclass(frozen=True)
class Order:
    """A command or proposal that is not settled yet, and where it stands on `commands`."""

    message: Command | Proposal
    partition: int
    offset: int
    appended_ms: int


class ControlState:
    """The fold. Every method may be called again with the same message."""

    def __init__(self, clock: PlatformClock) -> None:
        self.clock = clock
        self.enrolments: dict[str, Enrolment] = {}
        self.enrolled_s: dict[str, float] = {}
        """When a patient's first enrolment that is still on the log was appended."""
        self.book = AlertBook()
        self.orders: dict[str, Order] = {}
        self.answers: dict[str, Acknowledgement] = {}
        """Terminal acknowledgements by command; they may come before their command does."""
        self.verdicts: dict[str, Action] = {}
        """Approvals and refusals by proposal, signature checked."""
        self.seen_s: dict[str, float] = {}
        """When a person last acted on an alert, signature checked: known before the act is carried out."""
        self.heard_s: dict[tuple[str, str], float] = {}
        """When the broker last took a reading, by patient and device."""
        self.listening_since_s: float = 0.0
        """Readings are known from here on; a device not heard since may have been heard before."""
        self._open: set[str] = set()
        self._running: dict[tuple[str, str], set[str]] = {}

    def enrolment(self, enrolment: Enrolment, appended_s: float) -> None:
        """Take a valid enrolment that is newer than the one known."""
        known = self.enrolments.get(enrolment.patient)
        if (known is None or enrolment.version > known.version) and not fault_of(enrolment):
            self.enrolments[enrolment.patient] = enrolment
            self.enrolled_s.setdefault(enrolment.patient, appended_s)

    def alert(self, event: Alert) -> None:
        """Take an event of an alert's life."""
        state = self.book.add(event)
        raised, cleared = state.raised, state.cleared
        if raised is None:
            return
        if state.is_open(event.at):
            self._open.add(event.alert)
        else:
            self._open.discard(event.alert)
        running = self._running.setdefault((raised.patient, raised.kind), set())
        if cleared is None or cleared.at < raised.at:
            running.add(event.alert)
        else:
            running.discard(event.alert)

    def running(self, patient: str, kind: str) -> list[AlertState]:
        """The alerts of that kind whose condition holds for a patient."""
        return [self.alert_of(alert) for alert in sorted(self._running.get((patient, kind), ()))]

    def open_alerts(self) -> list[AlertState]:
        """Every alert that people still see, acknowledged or not."""
        return [self.alert_of(alert) for alert in sorted(self._open)]

    def alert_of(self, alert: str) -> AlertState:
        """The state of an alert; without any event where none was seen."""
        return self.book.get(alert) or AlertState(alert=alert, patient="")

    def order(self, order: Order) -> None:
        """Take a command or proposal that is on the log."""
        self.orders.setdefault(order.message.id, order)

    def answer(self, answer: Acknowledgement) -> None:
        """Take what became of a command; of two terminal answers the device's own counts."""
        if answer.status == "delivered":
            return
        known = self.answers.get(answer.command_id)
        if known is None or known.device == "watchdog":
            self.answers[answer.command_id] = answer

    def act(self, action: Action) -> None:
        """Take what a person did: on a proposal the first act counts, on an alert the last."""
        act = action.act
        if isinstance(act, ApproveProposal | RefuseProposal):
            self.verdicts.setdefault(act.proposal_id, action)
        elif isinstance(act, AcknowledgeAlert | ClearAlert):
            at_s = action.at.timestamp()
            self.seen_s[act.alert] = max(at_s, self.seen_s.get(act.alert, at_s))

    def readings(self, heard_s: Mapping[tuple[str, str], float]) -> None:
        """Take when devices were last heard."""
        for key, at_s in heard_s.items():
            if at_s > self.heard_s.get(key, float("-inf")):
                self.heard_s[key] = at_s

    def written(self, messages: Iterable[Message]) -> None:
        """Take what this app wrote itself, without waiting to read it."""
        for message in messages:
            if isinstance(message, Enrolment):
                self.enrolment(message, self.clock.event_s())
            elif isinstance(message, Acknowledgement):
                self.answer(message)
            elif not isinstance(message, DeadLetter):
                self.alert(message)

    def oldest_orders(self) -> dict[int, Order]:
        """By partition, the oldest order that is not settled: a start must read from there."""
        oldest: dict[int, Order] = {}
        for order in self.orders.values():
            if order.partition not in oldest or order.offset < oldest[order.partition].offset:
                oldest[order.partition] = order
        return oldest

    def settle(self, order_id: str) -> None:
        """Forget an order whose life is over and whose consequences are all written."""
        self.orders.pop(order_id, None)
        self.verdicts.pop(order_id, None)

    def forget(self, before_s: float) -> None:
        """Forget closed alerts, and answers to commands that nobody waits for any more."""
        self.book.forget_closed(self.clock.now(), instant(before_s))
        for alert in [alert for alert, at_s in self.seen_s.items() if at_s < before_s]:
            del self.seen_s[alert]
        stale = [
            command
            for command, answer in self.answers.items()
            if command not in self.orders and answer.at.timestamp() < before_s
        ]
        for command in stale:
            del self.answers[command]
