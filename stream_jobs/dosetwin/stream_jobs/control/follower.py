"""Reads the topics that the control app's state is folded from, at start and ever after.

One thread with one kafka-python consumer, read_committed, over all partitions. It tells the app what it read
and until when the topics are known (`watermark`): what is judged by time (silence, expiry) is judged up to
that moment and not up to now.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

from dosetwin.platform.codec import decoder
from dosetwin.platform.contracts import Acknowledgement, Action, Alert, Command, Enrolment, Proposal
from dosetwin.platform.errors import SignatureError, TherapyError
from dosetwin.platform.kafka_clients import consumer
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import (
    ACKNOWLEDGEMENTS,
    ACTIONS,
    ALERTS,
    COMMANDS,
    ENROLMENTS,
    MAXIMUM_RECORD_BYTES,
    READINGS,
    Topic,
)
from dosetwin.stream_jobs.control.silence import watched_interval_s
from dosetwin.stream_jobs.control.state import Order
from dosetwin.stream_jobs.control.watermark import Watermark

POLL_MS = 100
POLL_RECORDS = 5000
COMMIT_EVERY_S = 2.0
MARGIN_S = 60.0
"""Wall seconds read beyond what is needed: clocks of brokers and clients differ."""

_log = logging.getLogger(__name__)


class Heard(msgspec.Struct, gc=False):
    """The part of a reading that tells who spoke."""

    patient: str
    device: str


@dataclass
class Batch:
    """What one poll gave, decoded.

    `known_until_wall_s` is for all topics but readings, `heard_until_wall_s` for readings; None until their
    ends were reached once.
    """

    enrolments: list[tuple[Enrolment, float]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    answers: list[Acknowledgement] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    heard_s: dict[tuple[str, str], float] = field(default_factory=dict)
    known_until_wall_s: float | None = None
    heard_until_wall_s: float | None = None
    lag_records: int = 0
    records: dict[str, int] = field(default_factory=dict)


class Follower:
    """Follows the topics until told to stop.

    `deliver(batch)` folds a batch before it returns, and returns the oldest open order of each partition.
    """

    def __init__(
        self,
        settings: Settings,
        deliver: Callable[[Batch], dict[int, Order]],
        listening: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._kafka = settings.kafka
        self._clock = settings.platform_clock
        self._verifier = settings.action_verifier()
        self._deliver = deliver
        self._listening = listening
        self._known = Watermark(self._partitions(ENROLMENTS, ALERTS, COMMANDS, ACKNOWLEDGEMENTS, ACTIONS))
        self._heard = Watermark(self._partitions(READINGS))
        self._committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self._committed_at_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Read until `stop` is set. Any error passes through: the process must end then."""
        client = consumer(self._kafka, "control-follower", group_id=self._kafka.group("control-follower"))
        try:
            self._start(client)
            while not stop.is_set():
                oldest = self._deliver(self._poll(client))
                if time.time() - self._committed_at_s > COMMIT_EVERY_S:
                    self._remember(client, oldest)
        finally:
            client.close()

    def _partitions(self, *topics: Topic) -> list[TopicPartition]:
        return [
            TopicPartition(self._kafka.topic(topic.name), partition)
            for topic in topics
            for partition in range(self._kafka.partitions)
        ]

    def _start(self, client: KafkaConsumer) -> None:
        """Go to where reading begins.

        State topics from their beginning, commands from the oldest open one, what answers them from its time
        on, and readings from as long ago as silence takes to be noticed.
        """
        enrolments, alerts = self._partitions(ENROLMENTS), self._partitions(ALERTS)
        client.assign(enrolments)
        client.seek_to_beginning(*enrolments)
        ends = client.end_offsets(enrolments)
        interval_s = 0.0
        while any(client.position(tp) < ends[tp] for tp in enrolments):
            batch = self._decoded(client.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS))
            for enrolment, _ in batch.enrolments:
                interval_s = max(interval_s, _interval_s(enrolment))
            self._deliver(batch)

        positions = {tp: client.position(tp) for tp in enrolments}
        commands = self._partitions(COMMANDS)
        answers = self._partitions(ACKNOWLEDGEMENTS, ACTIONS)
        readings = self._partitions(READINGS)
        client.assign([*enrolments, *alerts, *commands, *answers, *readings])
        for tp, position in positions.items():
            client.seek(tp, position)
        client.seek_to_beginning(*alerts)
        known = {tp: client.committed(tp, metadata=True) for tp in commands}
        for tp, found in known.items():
            if found is None:
                client.seek_to_beginning(tp)
            else:
                client.seek(tp, found.offset)
        if all(known.values()):
            since_ms = min(int(found.metadata) for found in known.values()) - int(MARGIN_S * 1000)
            self._seek_to_time(client, answers, since_ms)
        else:
            client.seek_to_beginning(*answers)
        window_s = self._clock.sleep_s(self._settings.control.silent_factor * interval_s) + MARGIN_S
        since_wall_s = time.time() - window_s
        self._seek_to_time(client, readings, int(since_wall_s * 1000))
        self._listening(self._clock.event_s(since_wall_s))

    def _seek_to_time(self, client: KafkaConsumer, partitions: list[TopicPartition], since_ms: int) -> None:
        found = client.offsets_for_times(dict.fromkeys(partitions, max(since_ms, 0)))
        for tp in partitions:
            if found.get(tp) is None:
                client.seek_to_end(tp)
            else:
                client.seek(tp, found[tp].offset)

    def _poll(self, client: KafkaConsumer) -> Batch:
        batch = self._decoded(client.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS))
        positions = {tp: client.position(tp) for tp in client.assignment()}
        batch.lag_records = self._known.update(client, positions) + self._heard.update(client, positions)
        batch.known_until_wall_s = self._known.known_until_s
        batch.heard_until_wall_s = self._heard.known_until_s
        return batch

    def _decoded(self, polled: dict[TopicPartition, list[Any]]) -> Batch:
        batch = Batch()
        for tp, found in polled.items():
            topic = tp.topic.removeprefix(self._kafka.topic_prefix)
            batch.records[topic] = batch.records.get(topic, 0) + len(found)
            take = self._takers()[topic]
            for record in found:
                if record.value is None or len(record.value) > MAXIMUM_RECORD_BYTES:
                    continue
                try:
                    take(batch, record)
                except msgspec.DecodeError:
                    continue  # the shards, which read everything, write the dead letter
        return batch

    def _takers(self) -> dict[str, Callable[[Batch, Any], None]]:
        return {
            READINGS.name: self._reading,
            ENROLMENTS.name: self._enrolment,
            ALERTS.name: _alert,
            COMMANDS.name: _order,
            ACKNOWLEDGEMENTS.name: _answer,
            ACTIONS.name: self._action,
        }

    def _reading(self, batch: Batch, record: Any) -> None:
        heard = _HEARD.decode(record.value)
        batch.heard_s[heard.patient, heard.device] = self._clock.event_s(record.timestamp / 1000)

    def _enrolment(self, batch: Batch, record: Any) -> None:
        enrolment: Enrolment = decoder(Enrolment).decode(record.value)
        batch.enrolments.append((enrolment, self._clock.event_s(record.timestamp / 1000)))

    def _action(self, batch: Batch, record: Any) -> None:
        action: Action = decoder(Action).decode(record.value)
        try:
            self._verifier.verify(action)
        except SignatureError:
            return
        batch.actions.append(action)

    def _remember(self, client: KafkaConsumer, oldest: dict[int, Order]) -> None:
        """Commit from where a start must read `commands`, with the time from which it is answered."""
        known_until_s = self._known.known_until_s
        if known_until_s is None:
            return
        since_ms = min((order.appended_ms for order in oldest.values()), default=int(known_until_s * 1000))
        offsets = {}
        for tp in self._partitions(COMMANDS):
            order = oldest.get(tp.partition)
            offset = client.position(tp) if order is None else order.offset
            offsets[tp] = OffsetAndMetadata(offset, str(since_ms), -1)
        if offsets != self._committed:
            client.commit(offsets)
            self._committed = offsets
        self._committed_at_s = time.time()


_HEARD = msgspec.json.Decoder(Heard)


def _alert(batch: Batch, record: Any) -> None:
    batch.alerts.append(decoder(Alert).decode(record.value))


def _order(batch: Batch, record: Any) -> None:
    message: Command | Proposal = decoder(Command | Proposal).decode(record.value)
    batch.orders.append(Order(message, record.partition, record.offset, record.timestamp))


def _answer(batch: Batch, record: Any) -> None:
    batch.answers.append(decoder(Acknowledgement).decode(record.value))


def _interval_s(enrolment: Enrolment) -> float:
    try:
        return watched_interval_s(enrolment) or 0.0
    except TherapyError:
        return 0.0
