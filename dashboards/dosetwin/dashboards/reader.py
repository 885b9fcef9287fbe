"""The one background reader of a dashboard process: Kafka in, immutable snapshots out.

A Streamlit session never touches Kafka; it takes `reader.snapshot`. The reader uses no consumer group and
commits nothing: it starts from what the topics still hold of the last day and follows their ends,
read_committed. When the broker goes it says so in the snapshot, and continues where it was.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from dosetwin.dashboards.flow import FlowMeter
from dosetwin.dashboards.patient_fold import Bounds
from dosetwin.dashboards.presentation import therapy_view
from dosetwin.dashboards.snapshot import Connection, ReaderState, Snapshot
from dosetwin.dashboards.ward_fold import WardFold
from dosetwin.platform import kafka_clients
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.settings import Settings
from dosetwin.twins.therapies import therapy_ids

DAY_S = 86_400.0
READ_FROM_START = ("enrolments", "alerts")
READ_LAST_DAY = ("readings", "doses", "forecasts", "commands", "acknowledgements", "actions", "dead-letters")
READ = READ_FROM_START + READ_LAST_DAY
PUBLISH_EVERY_S = 0.5
HEARTBEAT_EVERY_S = 1.0
HEARTBEAT_TIMEOUT_MS = 1500
LOST_AFTER_S = 4.0
BATCH = 4000

_log = logging.getLogger(__name__)


class Reader:
    """Reads all topics in a daemon thread; `snapshot` is always the newest whole picture."""

    def __init__(
        self,
        settings: Settings,
        bounds: Bounds | None = None,
        on_batch: Callable[[int, float, int], None] | None = None,
    ) -> None:
        self._settings = settings
        self._fold = WardFold(settings.platform_clock, bounds)
        self._flow = FlowMeter(READ)
        self._on_batch = on_batch
        self._stop = threading.Event()
        self._positions: dict[TopicPartition, int] = {}
        self._topic_of = {settings.kafka.topic(topic): topic for topic in READ}
        now = time.time()
        self._state = ReaderState("connecting", since_s=now, heard_s=now)
        self._complete_s = now
        self._target: tuple[float, dict[TopicPartition, int]] | None = None
        self._beat_s = 0.0
        self._published_s = 0.0
        self.snapshot: Snapshot = self._picture(now)
        self._thread = threading.Thread(target=self._run, name="topics-reader", daemon=True)

    def start(self) -> Reader:
        """Begin to read."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop reading and wait for the thread; the last snapshot stays."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def wait_for(self, condition: Callable[[Snapshot], bool], timeout_s: float) -> Snapshot | None:
        """The first snapshot that fulfils the condition, or None when the time is over."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            snapshot = self.snapshot
            if condition(snapshot):
                return snapshot
            time.sleep(0.05)
        return None

    def _run(self) -> None:
        for therapy in therapy_ids():
            therapy_view(therapy)  # the first look imports models, which must not stop the reading later
        while not self._stop.is_set():
            consumer: KafkaConsumer | None = None
            try:
                consumer = kafka_clients.consumer(
                    self._settings.kafka, "dosetwin-dashboard", request_timeout_ms=15_000
                )
                self._assign(consumer)
                self._target = None
                self._connected("catching up")
                self._follow(consumer)
            except (KafkaError, BrokerError, OSError) as error:
                self._lost(str(error))
                self._stop.wait(1.0)
            finally:
                if consumer is not None:
                    consumer.close(timeout_ms=2000)

    def _assign(self, consumer: KafkaConsumer) -> None:
        partitions: list[TopicPartition] = []
        missing = []
        for full, topic in self._topic_of.items():
            numbers = consumer.partitions_for_topic(full)
            if not numbers:
                missing.append(topic)
            partitions += [TopicPartition(full, number) for number in sorted(numbers or ())]
        if missing:
            raise BrokerError(f"waiting for topics: {', '.join(missing)}", remedy="run `dosetwin topics`")
        consumer.assign(partitions)
        fresh = [each for each in partitions if each not in self._positions]
        dated = [each for each in fresh if self._topic_of[each.topic] in READ_LAST_DAY]
        if dated:
            start_ms = int((time.time() - max(DAY_S / self._settings.clock.speed, 3600.0)) * 1000)
            found = consumer.offsets_for_times(dict.fromkeys(dated, start_ms))
            ends = consumer.end_offsets(dated)
            for each in dated:
                self._positions[each] = found[each].offset if found.get(each) else ends[each]
        rest = [each for each in fresh if each not in self._positions]
        if rest:
            self._positions |= consumer.beginning_offsets(rest)
        for each in partitions:
            consumer.seek(each, self._positions[each])

    def _follow(self, consumer: KafkaConsumer) -> None:
        while not self._stop.is_set():
            batches = consumer.poll(timeout_ms=200, max_records=BATCH)
            started = time.perf_counter()
            records = self._take(batches)
            wall_s = time.time()
            if records:
                self._heard(wall_s)
            self._completed(consumer)
            if wall_s - self._beat_s >= HEARTBEAT_EVERY_S:
                self._beat(consumer, wall_s)
            if wall_s - self._published_s >= PUBLISH_EVERY_S:
                self.snapshot = self._picture(wall_s)
                if self._on_batch is not None:
                    self._on_batch(records, time.perf_counter() - started, self._state.lag_records)

    def _take(self, batches: dict[TopicPartition, list]) -> int:  # type: ignore[type-arg]  # untyped library
        records = 0
        for partition, batch in batches.items():
            topic = self._topic_of[partition.topic]
            undecodable = 0
            for record in batch:
                try:
                    if record.value is not None:
                        self._fold.fold(topic, record.value)
                except (msgspec.DecodeError, msgspec.ValidationError) as error:
                    undecodable += 1
                    _log.debug("%s %d:%d: %s", topic, record.partition, record.offset, error)
            self._positions[partition] = batch[-1].offset + 1
            self._flow.took(topic, len(batch), batch[-1].timestamp / 1000.0, undecodable)
            records += len(batch)
        return records

    def _beat(self, consumer: KafkaConsumer, wall_s: float) -> None:
        """Ask the broker for the ends of the topics: a poll alone is silent about a broker that is gone."""
        self._beat_s = wall_s
        try:
            ends = consumer.end_offsets(list(consumer.assignment()), timeout_ms=HEARTBEAT_TIMEOUT_MS)
        except KafkaError as error:
            if time.time() - self._state.heard_s > LOST_AFTER_S:
                self._lost(f"the broker at {self._settings.kafka.bootstrap} does not answer ({error})")
            return
        lag = sum(max(0, end - (consumer.position(each) or 0)) for each, end in ends.items())
        self._heard(time.time())
        self._state = dataclasses.replace(self._state, lag_records=lag)
        if self._target is None:
            self._target = (wall_s, ends)
            self._completed(consumer)

    def _completed(self, consumer: KafkaConsumer) -> None:
        """Note up to which wall time this view holds everything: when the ends of then are reached."""
        if self._target is None:
            return
        asked_s, ends = self._target
        if all((consumer.position(each) or 0) >= end for each, end in ends.items()):
            self._complete_s, self._target = asked_s, None
            if self._state.connection == "catching up":
                self._set("live")

    def _heard(self, wall_s: float) -> None:
        self._state = dataclasses.replace(self._state, heard_s=wall_s)
        if self._state.connection == "reconnecting":
            self._connected("live")

    def _connected(self, connection: Connection) -> None:
        if self._state.connection == "reconnecting":
            count = self._state.reconnections + 1
            self._state = dataclasses.replace(self._state, reconnections=count)
        self._set(connection)
        self._state = dataclasses.replace(self._state, heard_s=time.time(), error="")

    def _lost(self, error: str) -> None:
        first = self._state.connection == "connecting"
        if not first:
            self._set("reconnecting")
        self._state = dataclasses.replace(self._state, error=error)
        self.snapshot = self._picture(time.time())

    def _set(self, connection: Connection) -> None:
        if connection != self._state.connection:
            self._state = dataclasses.replace(self._state, connection=connection, since_s=time.time())

    def _picture(self, wall_s: float) -> Snapshot:
        self._published_s = wall_s
        self._flow.tick(wall_s)
        state = dataclasses.replace(
            self._state,
            behind_s=max(0.0, wall_s - self._complete_s - HEARTBEAT_EVERY_S),
            silent_after_s=self._flow.silent_after_s,
        )
        return self._fold.publish(wall_s, state, self._flow.flows(), self._flow.history())
