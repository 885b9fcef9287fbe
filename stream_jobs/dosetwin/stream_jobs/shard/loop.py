"""The shard: poll, check, assimilate, decide, write, commit - effectively once.

One Kafka transaction a turn holds commands, alerts, forecasts, audit, dead letters, the snapshots that are
due and the consumed offsets with the group's metadata, so that a shard that lost its partitions cannot
commit (exactly-once v2, KIP-447).
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import AlertCleared, AlertRaised, TwinSnapshot
from dosetwin.platform.errors import TopicError
from dosetwin.platform.identifiers import PLATFORM, identifier
from dosetwin.platform.kafka_clients import consumer, transactional_producer
from dosetwin.platform.metrics import ShardMetrics
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import ALERTS, COMMANDS, ENROLMENTS, OVERSIZE_BYTES, SOURCES, partition_of
from dosetwin.stream_jobs.shard.intake import Record, records
from dosetwin.stream_jobs.shard.merge import AppendOrder
from dosetwin.stream_jobs.shard.recovery import recover
from dosetwin.stream_jobs.shard.snapshots import FORMAT, due, pack
from dosetwin.stream_jobs.shard.turn import Turn

ENROLMENTS_A_TURN = 500
"""New patients are snapshot at once: 500 are some 5 MB, far from what a transaction's time-out allows."""
LAG_EVERY_S = 1.0
COLLECT_EVERY_S = 60.0
"""Garbage is collected between turns at this interval. Left to itself Python does so within a turn, again and
again, because a batch makes very many small lists: 80 of 290 us an update (measured). Hardly anything here is
cyclic, so little waits to be collected.
"""
MERGED = tuple(topic.name for topic in SOURCES if topic is not ENROLMENTS)
"""Topics that are worked on in the order of their append; enrolments go ahead of everything."""
SESSION_TIMEOUT_MS = 10_000

_log = logging.getLogger(__name__)


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes that the group handed out partitions anew; the loop deals with it between turns."""

    def __init__(self) -> None:
        self.changed = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        self.changed = True

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.changed = True


class Shard:
    """Owns partitions and runs turns on them until told to stop."""

    def __init__(self, settings: Settings, index: int, *, restarts: int = 0) -> None:
        self.settings = settings
        self.index = index
        self.kafka = settings.kafka
        self.metrics = ShardMetrics(f"shard-{index}")
        self.metrics.restarts.inc(restarts)
        self.turn = Turn(settings, self.metrics)
        self.clock = self.turn.clock
        self._prefix = self.kafka.topic_prefix
        self._assignment = _Assignment()
        self._positions: dict[tuple[str, int], int] = {}
        self._output_ends: dict[tuple[str, int], int] = {}
        self._owned: set[int] = set()
        self._order = AppendOrder()
        self._released = False
        self._ends: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._lag_at_s = 0.0
        self._lag = 0
        self._behind_alert: str | None = None
        self._consumer: KafkaConsumer
        self._producer: KafkaProducer

    def run(self, stop: threading.Event) -> None:
        """Join the group and run turns until `stop` is set; then leave the group cleanly.

        Any error passes through: the process must end, so that no half-alive member stays behind.
        """
        self._producer = transactional_producer(self.kafka, self.kafka.group(f"shard-{self.index}"))
        self._producer.init_transactions()
        self._consumer = consumer(
            self.kafka,
            f"shard-{self.index}",
            group_id=self.kafka.group("shards"),
            group_instance_id=f"shard-{self.index}",
            partition_assignment_strategy=_range_assignors(),
            max_poll_records=self.settings.shards.batch_records,
            max_partition_fetch_bytes=OVERSIZE_BYTES,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=2_000,
            max_poll_interval_ms=300_000,
        )
        topics = [self.kafka.topic(topic.name) for topic in SOURCES]
        for topic in topics:
            if not self._consumer.partitions_for_topic(topic):
                raise TopicError(
                    f"topic {topic} does not exist at {self.kafka.bootstrap}",
                    remedy="declare the topics first: dosetwin topics",
                )
        self._consumer.subscribe(topics, listener=self._assignment)
        _log.info("shard %d joins %s at %s", self.index, self.kafka.group("shards"), self.kafka.bootstrap)
        collected_s = time.monotonic()
        gc.disable()
        while not stop.is_set():
            self._step()
            if time.monotonic() - collected_s > COLLECT_EVERY_S:
                gc.collect()
                collected_s = time.monotonic()
        self._consumer.close()
        self._producer.close()

    def _step(self) -> None:
        started = time.perf_counter()
        limit = self.settings.shards.batch_records
        wait_ms = 0 if self._released and self._order.waiting() else self.settings.shards.poll_ms
        polled = list(records(self._consumer.poll(timeout_ms=wait_ms, max_records=limit), self._prefix))
        batch: list[Record] = []
        if self._assignment.changed:
            self._assignment.changed = False
            self._order.clear()
            self._paused.clear()
            self._ends.clear()
            self._take_over()
            polled = []
            batch = self._poll_enrolments()
            while len(batch) > ENROLMENTS_A_TURN:
                self._work(batch[:ENROLMENTS_A_TURN])
                del batch[:ENROLMENTS_A_TURN]
        batch.extend(record for record in polled if record.topic == ENROLMENTS.name)
        self._order.add(record for record in polled if record.topic != ENROLMENTS.name)
        self._pause_overfull()
        released = self._order.release(MERGED, self._caught_up, limit)
        self._released = bool(released)
        batch.extend(released)
        if batch:
            self.metrics.poll_seconds.observe(time.perf_counter() - started)
        self._work(batch)
        if batch:
            self.metrics.batch_records.observe(len(batch))
            self.metrics.batch_seconds.observe(time.perf_counter() - started)
        self._measure_lag()

    def _caught_up(self, topic: str, partition: int) -> bool:
        """Whether everything the broker had at the last fetch of a topic's partition was polled."""
        tp = TopicPartition(self.kafka.topic(topic), partition)
        if tp in self._paused:
            return False
        end = self._consumer.highwater(tp)
        if end is None:
            # The client drops a fetch's answer, high watermark included, that comes while a partition is
            # paused or just sought; the broker does not repeat it before something new is there.
            if tp not in self._ends:
                self._ends[tp] = self._consumer.end_offsets([tp])[tp]
            end = self._ends[tp]
        return bool(self._consumer.position(tp) >= end)

    def _pause_overfull(self) -> None:
        wanted = {TopicPartition(self.kafka.topic(t), p) for t, p in self._order.overfull()}
        if wanted != self._paused:
            self._consumer.resume(*(self._paused - wanted))
            self._consumer.pause(*(wanted - self._paused))
            self._paused = wanted

    def _work(self, batch: list[Record]) -> None:
        turn = self.turn
        behind = self._lag > self.settings.shards.fall_behind_records
        self._say_behind(behind)
        if batch:
            unknown = turn.take(batch)
            if unknown:
                late = self._poll_enrolments()
                batch = batch + late
                turn.take(late)
                turn.refuse_unknown(unknown)
            turn.finish(behind=behind)
            for record in batch:
                key = (record.topic, record.partition)
                if record.offset >= self._positions.get(key, 0):
                    self._positions[key] = record.offset + 1
                self.metrics.records[record.topic].inc()
        self._write_snapshots()
        if batch or turn.outbox.records:
            self._commit(batch)
        turn.outbox.clear()
        turn.intake.clear()

    def _commit(self, batch: list[Record]) -> None:
        """One transaction: everything this turn says, and the offsets of everything it heard."""
        turn, producer = self.turn, self._producer
        turn.outbox.seal(instant(self.clock.event_s()))
        with self.metrics.transaction_seconds.time():
            producer.begin_transaction()
            kept = []
            for topic, partition, key, value in turn.outbox.records:
                future = producer.send(self.kafka.topic(topic), value, key=key, partition=partition)
                if topic in (COMMANDS.name, ALERTS.name):
                    kept.append((topic, partition, future))
            if batch:
                touched = {(record.topic, record.partition) for record in batch}
                producer.send_offsets_to_transaction(
                    {
                        TopicPartition(self.kafka.topic(topic), partition): OffsetAndMetadata(
                            self._positions[topic, partition], "", -1
                        )
                        for topic, partition in touched
                    },
                    self._consumer.group_metadata(),
                )
            producer.commit_transaction()
        for topic, partition, future in kept:
            self._output_ends[topic, partition] = future.get(timeout=30).offset + 1
        now_s = self.clock.event_s()
        for topic, _, key, _ in turn.outbox.records:
            if topic == COMMANDS.name:
                sent_s = turn.intake.sent_s.get(key.decode())
                if sent_s is not None:
                    self.metrics.end_to_end_seconds.observe(self.clock.sleep_s(now_s - sent_s))
        self.metrics.readings.inc(sum(record.topic == "readings" for record in batch))

    def _write_snapshots(self) -> None:
        """Add the chunks that are due, with the offsets that they now contain."""
        now_s = time.time()
        roster = self.turn.roster
        for partition, chunks in roster.chunks.items():
            for chunk in due(chunks.values(), now_s, self.settings.shards.snapshot_interval_s):
                entries = roster.entries(chunk)
                models = {
                    therapy: roster.banks[therapy].model_version
                    for therapy in {entry.state.enrolment.therapy for entry in entries.values()}
                }
                offsets = {topic.name: self._positions.get((topic.name, partition), 0) for topic in SOURCES}
                for topic in (COMMANDS, ALERTS):
                    offsets[topic.name] = self._output_ends.get((topic.name, partition), 0)
                size = self.turn.outbox.snapshot(
                    TwinSnapshot(
                        partition=partition,
                        chunk=chunk.number,
                        at=instant(now_s),
                        offsets=offsets,
                        models=models,
                        patients=len(entries),
                        payload=pack(entries, roster.banks),
                        format=FORMAT,
                    )
                )
                chunk.dirty = False
                chunk.written_s = now_s
                self.metrics.snapshots.inc()
                self.metrics.snapshot_bytes.inc(size)

    def _take_over(self) -> None:
        """Make the roster that of the partitions now owned; recover those that are new or moved on."""
        owned = {tp.partition for tp in self._consumer.assignment()}
        for partition in self._owned - owned:
            self._release(partition)
        for partition in sorted(owned):
            committed = {
                topic.name: self._consumer.committed(TopicPartition(self.kafka.topic(topic.name), partition))
                or 0
                for topic in SOURCES
            }
            if partition in self._owned:
                if all(self._positions.get((t, partition), 0) == offset for t, offset in committed.items()):
                    continue
                self._release(partition)
            started = time.perf_counter()
            recovered = recover(self.kafka, self.turn, partition, committed)
            for topic, offset in committed.items():
                self._positions[topic, partition] = offset
            for topic, offset in recovered.output_ends.items():
                self._output_ends[topic, partition] = offset
            self.turn.outbox.audit_heads[partition] = recovered.audit_head
            self.metrics.recovery_seconds.observe(time.perf_counter() - started)
            if recovered.patients:
                _log.info(
                    "shard %d took over partition %d: %d patients, %d records replayed",
                    self.index,
                    partition,
                    recovered.patients,
                    recovered.replayed,
                )
        self._owned = owned
        self.metrics.partitions.set(len(owned))
        self._seek_to_positions()

    def _seek_to_positions(self) -> None:
        """Poll on from what was committed.

        A partition that stayed here keeps its old fetch position, which is ahead by the records that were
        polled and dropped.
        """
        for tp in self._consumer.assignment():
            position = self._positions.get((tp.topic.removeprefix(self._prefix), tp.partition), 0)
            if position:
                self._consumer.seek(tp, position)
            else:
                self._consumer.seek_to_beginning(tp)

    def _release(self, partition: int) -> None:
        self.turn.roster.release(partition)
        self.turn.outbox.audit_heads.pop(partition, None)
        for positions in (self._positions, self._output_ends):
            for key in [key for key in positions if key[1] == partition]:
                del positions[key]

    def _poll_enrolments(self) -> list[Record]:
        """Everything on the owned enrolments partitions up to now, while all other topics wait."""
        assigned = self._consumer.assignment()
        topic = self.kafka.topic(ENROLMENTS.name)
        wanted = [tp for tp in assigned if tp.topic == topic]
        others = [tp for tp in assigned if tp.topic != topic]
        if not wanted:
            return []
        found: list[Record] = []
        self._consumer.pause(*others)
        try:
            ends = self._consumer.end_offsets(wanted)
            while any(self._consumer.position(tp) < ends[tp] for tp in wanted):
                found.extend(records(self._consumer.poll(timeout_ms=50), self._prefix))
                if self._assignment.changed:
                    break
        finally:
            still = self._consumer.assignment()
            self._consumer.resume(*[tp for tp in others if tp in still and tp not in self._paused])
        return found

    def _measure_lag(self) -> None:
        now_s = time.monotonic()
        if now_s - self._lag_at_s < LAG_EVERY_S:
            return
        self._lag_at_s = now_s
        lag = dict.fromkeys((topic.name for topic in SOURCES), 0)
        for tp in self._consumer.assignment():
            highwater = self._consumer.highwater(tp)
            name = tp.topic.removeprefix(self._prefix)
            if highwater is not None:
                lag[name] += max(0, highwater - self._positions.get((name, tp.partition), 0))
        for name, count in lag.items():
            self.metrics.lag_records[name].set(count)
        self._lag = sum(lag.values())
        for therapy, bank in self.turn.roster.banks.items():
            self.metrics.twins[therapy].set(len(bank))
            self.metrics.twins_bytes[therapy].set(bank.nbytes())

    def _say_behind(self, behind: bool) -> None:
        """Tell when the shard starts and stops to skip early scoring because it is behind."""
        self.metrics.assimilate_only.set(behind)
        now = instant(self.clock.event_s())
        partition = partition_of(PLATFORM, self.kafka.partitions)
        if behind and self._behind_alert is None:
            self._behind_alert = identifier("shard_behind", self.index, now)
            self.turn.outbox.alert(
                partition,
                AlertRaised(
                    patient=PLATFORM,
                    alert=self._behind_alert,
                    at=now,
                    kind="shard_behind",
                    priority="low",
                    message=f"shard {self.index} is {self._lag} records behind: it assimilates everything "
                    "and scores only the decisions that are due",
                    evidence={"lag_records": float(self._lag)},
                ),
            )
            self.metrics.alerts["shard_behind", "low"].inc()
        elif not behind and self._behind_alert is not None:
            self.turn.outbox.alert(
                partition, AlertCleared(patient=PLATFORM, alert=self._behind_alert, at=now)
            )
            self._behind_alert = None


def _range_assignors() -> tuple[type, ...]:
    """Range alone: it gives a member the same partition numbers of every topic, which a shard needs."""
    from kafka.coordinator.assignors.range import RangePartitionAssignor

    return (RangePartitionAssignor,)
