"""The topics: name, contract, retention, keys and the one partitioner every client uses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec

from dosetwin.platform.contracts import (
    Acknowledgement,
    Action,
    Alert,
    AuditRecord,
    Command,
    DeadLetter,
    Dose,
    Enrolment,
    Forecast,
    Proposal,
    Reading,
    TwinSnapshot,
)

DAY_MS = 86_400_000
MAXIMUM_RECORD_BYTES = 1_048_576
"""A device record above this is a dead letter (`too_large`)."""
OVERSIZE_BYTES = 16 * 1024 * 1024
"""What the broker still takes on `readings` and `doses`, so that an oversized record can be refused by
name; three halves of it on `dead-letters`, which carries it base64-encoded."""

_COMPACTED_SOON: dict[str, str] = {
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.2",
}
"""Compaction spares the segment being written: with Kafka's own 1 GiB or 7 days a shard that recovers, and
a dashboard that starts, would read every snapshot and forecast of a week to find the newest."""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic: its short name, what travels on it, how it is cleaned up, how its records are keyed."""

    name: str
    contract: Any
    cleanup: Literal["delete", "compact", "compact,delete"]
    retention_ms: int
    key: str
    summary: str
    config: dict[str, str] = {}


READINGS = Topic(
    name="readings",
    contract=Reading,
    cleanup="delete",
    retention_ms=7 * DAY_MS,
    key="patient",
    summary="raw device telemetry; many samples of one patient may share a record",
    config={"max.message.bytes": str(OVERSIZE_BYTES), "message.timestamp.type": "LogAppendTime"},
)
DOSES = Topic(
    name="doses",
    contract=Dose,
    cleanup="delete",
    retention_ms=30 * DAY_MS,
    key="patient",
    summary="administrations reported by pumps, dispensers, inhalers, people",
    config={"max.message.bytes": str(OVERSIZE_BYTES), "message.timestamp.type": "LogAppendTime"},
)
ENROLMENTS = Topic(
    name="enrolments",
    contract=Enrolment,
    cleanup="compact",
    retention_ms=-1,
    key="patient",
    summary="desired state: therapy, covariates, targets, limits, mode",
    config={"message.timestamp.type": "LogAppendTime"},
)
ACTIONS = Topic(
    name="actions",
    contract=Action,
    cleanup="delete",
    retention_ms=365 * DAY_MS,
    key="patient",
    summary="what people did: approvals, refusals, overrides, alert acknowledgements",
    config={"message.timestamp.type": "LogAppendTime"},
)
TWIN_SNAPSHOTS = Topic(
    name="twin-snapshots",
    contract=TwinSnapshot,
    cleanup="compact",
    retention_ms=-1,
    key="partition/chunk",
    summary="posterior blocks with the source offsets they contain and the model version",
    config={"max.message.bytes": str(4 * 1024 * 1024)} | _COMPACTED_SOON,
)
FORECASTS = Topic(
    name="forecasts",
    contract=Forecast,
    cleanup="compact,delete",
    retention_ms=2 * DAY_MS,
    key="patient",
    summary="quantile bands, target attainment, risks, the decision with reason and evidence",
    config=_COMPACTED_SOON,
)
COMMANDS = Topic(
    name="commands",
    contract=Command | Proposal,
    cleanup="delete",
    retention_ms=30 * DAY_MS,
    key="patient",
    summary="signed orders to devices, and proposals that wait for a person",
)
ACKNOWLEDGEMENTS = Topic(
    name="acknowledgements",
    contract=Acknowledgement,
    cleanup="delete",
    retention_ms=30 * DAY_MS,
    key="patient",
    summary="what devices did with commands",
    config={"message.timestamp.type": "LogAppendTime"},
)
ALERTS = Topic(
    name="alerts",
    contract=Alert,
    cleanup="compact",
    retention_ms=-1,
    key="alert/event type",
    summary="raised, escalated, acknowledged, cleared, with the evidence",
)
AUDIT = Topic(
    name="audit",
    contract=AuditRecord,
    cleanup="delete",
    retention_ms=3650 * DAY_MS,
    key="partition",
    summary="hash-chained record of every decision and human action",
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    contract=DeadLetter,
    cleanup="delete",
    retention_ms=30 * DAY_MS,
    key="patient, or the refused record's key",
    summary="what was refused: the bytes, the reason, the source offset",
    config={"max.message.bytes": str(OVERSIZE_BYTES * 3 // 2)},
)

TOPICS: tuple[Topic, ...] = (
    READINGS,
    DOSES,
    ENROLMENTS,
    ACTIONS,
    TWIN_SNAPSHOTS,
    FORECASTS,
    COMMANDS,
    ACKNOWLEDGEMENTS,
    ALERTS,
    AUDIT,
    DEAD_LETTERS,
)
SOURCES: tuple[Topic, ...] = (READINGS, DOSES, ENROLMENTS, ACTIONS, ACKNOWLEDGEMENTS)
"""What a shard reads; their consumed offsets travel in its transactions."""


@lru_cache(maxsize=1 << 20)
def partition_of(patient: str, partitions: int) -> int:
    """The partition of a patient on every topic: murmur2(patient) mod P, as Kafka's default partitioner.

    Every producer gives the partition explicitly, so that keys may say more than the patient
    (alerts, snapshots) and no client's own default can differ.
    """
    return (_murmur2(patient.encode()) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    from kafka.partitioner.default import murmur2

    return int(murmur2(data))
