"""Puts what the control app says on the broker, under keys and partitions that every reader knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    DeadLetter,
    Enrolment,
)
from dosetwin.platform.metrics import ControlMetrics
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import ACKNOWLEDGEMENTS, ALERTS, DEAD_LETTERS, ENROLMENTS, Topic, partition_of
from dosetwin.stream_jobs.control.state import ControlState, Message

ALERT_KEYS = {
    AlertRaised: "raised",
    AlertCleared: "cleared",
    AlertEscalated: "escalated",
    AlertAcknowledged: "acknowledged",
}


class Writer:
    """Writes messages and waits for the broker to have them; then the state has them too."""

    def __init__(
        self,
        settings: Settings,
        make_topic: Callable[[Topic], Any],
        state: ControlState,
        metrics: ControlMetrics,
    ) -> None:
        self._partitions = settings.kafka.partitions
        self._state = state
        self._metrics = metrics
        self._topics = {
            topic.name: make_topic(topic) for topic in (ALERTS, ACKNOWLEDGEMENTS, ENROLMENTS, DEAD_LETTERS)
        }

    async def write(self, messages: Sequence[Message]) -> None:
        """Return once the broker took every message; raises whatever kept it from that."""
        if not messages:
            return
        sent = [await self._send(message) for message in messages]
        for future in sent:
            await future
        self._state.written(messages)
        for message in messages:
            if isinstance(message, AlertRaised):
                self._metrics.alerts[message.kind, message.priority].inc()
            elif isinstance(message, AlertEscalated):
                self._metrics.escalations[str(message.level)].inc()
            elif isinstance(message, Acknowledgement):
                self._metrics.watchdog_expiries.inc()

    async def _send(self, message: Message) -> Awaitable[Any]:
        if isinstance(message, DeadLetter):
            topic, key, partition = DEAD_LETTERS, message.patient.encode() or message.key, message.partition
        else:
            partition = partition_of(message.patient, self._partitions)
            topic, key = ENROLMENTS, message.patient.encode()
            if isinstance(message, Acknowledgement):
                topic = ACKNOWLEDGEMENTS
            elif not isinstance(message, Enrolment):
                topic, key = ALERTS, f"{message.alert}/{ALERT_KEYS[type(message)]}".encode()
        sent: Awaitable[Any] = await self._topics[topic.name].send(
            key=key, value=encode(message), partition=partition
        )
        return sent
