"""Taking over a partition: newest snapshot chunks, then replay of the sources up to the group's offsets.

Twins are a function of the set of their facts, so replaying the sources in any interleaving gives the state
that was lost. What was decided is not computed again: the shard reads back its own committed outputs
(commands, proposals, alerts), which are the only truth about what has left.
"""

from __future__ import annotations

import heapq
import logging
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from dosetwin.platform.codec import decoder
from dosetwin.platform.contracts import (
    Alert,
    AlertCleared,
    AlertRaised,
    AuditRecord,
    Command,
    Proposal,
    TwinSnapshot,
)
from dosetwin.platform.errors import SnapshotError
from dosetwin.platform.kafka_clients import consumer
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import (
    ALERTS,
    AUDIT,
    COMMANDS,
    ENROLMENTS,
    OVERSIZE_BYTES,
    SOURCES,
    TWIN_SNAPSHOTS,
)
from dosetwin.stream_jobs.shard.intake import Record
from dosetwin.stream_jobs.shard.snapshots import FORMAT, unpack
from dosetwin.stream_jobs.shard.turn import Turn

OUTPUTS = (COMMANDS, ALERTS)
"""Own outputs that are read back on recovery."""
REPLAY_RECORDS = 5000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recovered:
    """What recovery of one partition found: patients, records replayed, ends of the own outputs."""

    patients: int
    replayed: int
    output_ends: dict[str, int]
    audit_head: AuditRecord | None


def recover(kafka: KafkaSettings, turn: Turn, partition: int, committed: dict[str, int]) -> Recovered:
    """Bring one partition's patients into `turn`'s roster, as they were at the committed offsets.

    `committed` maps each source topic to the group's next offset. Raises SnapshotError when what would have
    to be replayed is no longer retained.
    """
    reader = consumer(kafka, f"recovery-{partition}", group_id=None, max_partition_fetch_bytes=OVERSIZE_BYTES)
    try:
        snapshots = _newest_snapshots(kafka, reader, partition)
        offsets, contained = _restore(turn, partition, snapshots)
        replayed = 0
        turn.intake.contained = contained
        turn.decided_proposals.clear()
        try:
            for batch in _batches(kafka, reader, partition, offsets, committed):
                turn.intake.clear()
                turn.intake.dead_letters.clear()
                unknown = turn.take(batch, live=False)
                turn.refuse_unknown(unknown)
                turn.finish(live=False)
                replayed += len(batch)
        finally:
            turn.intake.contained = {}
            turn.intake.clear()
        ends = _read_back(kafka, reader, turn, partition, offsets)
        head = _newest_audit(kafka, reader, partition)
    finally:
        reader.close()
    patients = sum(1 for patient in turn.roster.patients.values() if patient.partition == partition)
    return Recovered(patients, replayed, ends, head)


def _newest_snapshots(kafka: KafkaSettings, reader: KafkaConsumer, partition: int) -> dict[int, TwinSnapshot]:
    newest: dict[int, TwinSnapshot] = {}
    for record in _read(kafka, reader, TWIN_SNAPSHOTS.name, partition, 0, None):
        snapshot = decoder(TwinSnapshot).decode(record.value)
        newest[snapshot.chunk] = snapshot
    return newest


def _restore(
    turn: Turn, partition: int, snapshots: dict[int, TwinSnapshot]
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Take the chunks in; returns the offsets to replay from and, by patient, those already contained."""
    usable: list[TwinSnapshot] = []
    for snapshot in snapshots.values():
        if snapshot.format != FORMAT:
            _log.warning(
                "partition %d chunk %d is in format %s (this shard writes %s): all its partition is rebuilt "
                "from history",
                partition,
                snapshot.chunk,
                snapshot.format,
                FORMAT,
            )
            return {}, {}
        other = {
            therapy: version
            for therapy, version in snapshot.models.items()
            if turn.roster.bank(therapy).model_version != version
        }
        if other:
            _log.warning(
                "partition %d chunk %d was written by other models (%s): all its partition is rebuilt "
                "from history",
                partition,
                snapshot.chunk,
                other,
            )
            return {}, {}
        usable.append(snapshot)
    contained: dict[str, dict[str, int]] = {}
    for snapshot in usable:
        content = unpack(snapshot.payload, snapshot.format)
        for patient in turn.roster.restore(partition, snapshot.chunk, content, snapshot.at.timestamp()):
            contained[patient] = snapshot.offsets
    topics = [topic.name for topic in (*SOURCES, *OUTPUTS)]
    offsets = {
        topic: min((snapshot.offsets.get(topic, 0) for snapshot in usable), default=0) for topic in topics
    }
    return offsets, contained


def _batches(
    kafka: KafkaSettings,
    reader: KafkaConsumer,
    partition: int,
    offsets: dict[str, int],
    committed: dict[str, int],
) -> list[list[Record]]:
    """The source records to replay: every enrolment first, then the others as they were appended."""
    enrolments: list[Record] = []
    others: list[list[Record]] = []
    for topic in SOURCES:
        start, end = offsets.get(topic.name, 0), committed.get(topic.name, 0)
        if start >= end:
            continue
        found = TopicPartition(kafka.topic(topic.name), partition)
        first = reader.beginning_offsets([found])[found]
        if first > start and topic.cleanup == "delete":
            raise SnapshotError(
                f"{topic.name}/{partition} starts at offset {first}; the twins' snapshots need it from "
                f"{start}: the records between are no longer retained",
                remedy="raise the topic's retention above the snapshot interval; to accept the loss, delete "
                "the patients' snapshots and enrol them again",
            )
        records = _read(kafka, reader, topic.name, partition, start, end)
        if topic is ENROLMENTS:
            enrolments = records
        else:
            others.append(records)
    merged = list(heapq.merge(*others, key=lambda record: record.appended_ms))
    return [enrolments] + [merged[i : i + REPLAY_RECORDS] for i in range(0, len(merged), REPLAY_RECORDS)]


def _read_back(
    kafka: KafkaSettings, reader: KafkaConsumer, turn: Turn, partition: int, offsets: dict[str, int]
) -> dict[str, int]:
    """Read the own outputs since the snapshots: what has left is pending, what was raised is open."""
    ends: dict[str, int] = {}
    patients = turn.roster.patients
    for record in _read(kafka, reader, COMMANDS.name, partition, offsets.get(COMMANDS.name, 0), None):
        order: Command | Proposal = decoder(COMMANDS.contract).decode(record.value)
        patient = patients.get(order.patient)
        if patient is None:
            continue
        if isinstance(order, Command):
            patient.state.note_command(
                order.id, order.orders, order.issued_at.timestamp(), order.expires_at.timestamp()
            )
            if order.proposal_id is not None:
                patient.state.proposals.pop(order.proposal_id, None)
        elif order.id not in turn.decided_proposals:
            patient.state.proposals = {order.id: order}
    for record in _read(kafka, reader, ALERTS.name, partition, offsets.get(ALERTS.name, 0), None):
        alert: Alert = decoder(ALERTS.contract).decode(record.value)
        patient = patients.get(alert.patient)
        if patient is None:
            continue
        if isinstance(alert, AlertRaised) and alert.origin == "shard":
            patient.state.alerts[alert.kind] = alert.alert
        elif isinstance(alert, AlertCleared):
            for kind in [k for k, open_alert in patient.state.alerts.items() if open_alert == alert.alert]:
                del patient.state.alerts[kind]
    for topic in OUTPUTS:
        found = TopicPartition(kafka.topic(topic.name), partition)
        ends[topic.name] = reader.end_offsets([found])[found]
    return ends


def _newest_audit(kafka: KafkaSettings, reader: KafkaConsumer, partition: int) -> AuditRecord | None:
    """The newest link of the partition's chain; steps back over transaction markers."""
    found = TopicPartition(kafka.topic(AUDIT.name), partition)
    end = reader.end_offsets([found])[found]
    first = reader.beginning_offsets([found])[found]
    step = 16
    while end > first:
        start = max(first, end - step)
        newest = None
        for record in _read(kafka, reader, AUDIT.name, partition, start, end):
            newest = record
        if newest is not None:
            head: AuditRecord = decoder(AuditRecord).decode(newest.value)
            return head
        if start == first:
            return None
        step *= 4
    return None


def _read(
    kafka: KafkaSettings, reader: KafkaConsumer, topic: str, partition: int, start: int, end: int | None
) -> list[Record]:
    """The committed records of [start, end), end None = what is committed now."""
    found = TopicPartition(kafka.topic(topic), partition)
    reader.assign([found])
    if end is None:
        end = reader.end_offsets([found])[found]
    start = max(start, reader.beginning_offsets([found])[found])
    records: list[Record] = []
    if start >= end:
        return records
    reader.seek(found, start)
    while reader.position(found) < end:
        for batch in reader.poll(timeout_ms=200, max_records=REPLAY_RECORDS).values():
            records.extend(
                Record(topic, partition, r.offset, r.timestamp, r.key or b"", r.value or b"")
                for r in batch
                if r.offset < end and r.value is not None
            )
    return records
