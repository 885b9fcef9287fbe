"""An independent count of a run, from the topics alone: what came in, what left, what was lost or doubled.

It shares no state with shards, fleet or control app. During the run a thread reads commands as they become
readable, for the latencies; after it, every topic is read from its start to its end.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition

from dosetwin.platform.codec import decoder
from dosetwin.platform.contracts import (
    Acknowledgement,
    AlertRaised,
    Command,
    DeadLetter,
    Dose,
    Forecast,
    Reading,
)
from dosetwin.platform.kafka_clients import consumer
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topic_reader import read_to_end
from dosetwin.platform.topics import (
    ACKNOWLEDGEMENTS,
    ALERTS,
    COMMANDS,
    DEAD_LETTERS,
    DOSES,
    ENROLMENTS,
    FORECASTS,
    READINGS,
    SOURCES,
    Topic,
)

TERMINAL = frozenset({"applied", "refused", "expired"})


@dataclass
class Tally:
    """The figures of a run; `as_json` names them as the demo's last line does."""

    patients: int = 0
    readings: int = 0
    observations: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    issued: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, set[str]] = field(default_factory=dict)
    applications: dict[str, set[str]] = field(default_factory=dict)
    expired_refusals: set[str] = field(default_factory=set)
    alerts: int = 0

    @property
    def lost(self) -> list[str]:
        """Commands that left and of which nobody said what became."""
        return [command for command in self.issued if not self.outcomes.get(command)]

    @property
    def doubled(self) -> list[str]:
        """Commands written more than once, or carried out more than once."""
        return [
            command
            for command, times in self.issued.items()
            if times > 1 or len(self.applications.get(command, ())) > 1
        ]

    def as_json(self) -> dict[str, Any]:
        """The figures; a command counts as applied if it ever was, else as expired, else as refused."""
        applied = {c for c in self.issued if "applied" in self.outcomes.get(c, ())}
        expired = {
            c
            for c in self.issued
            if c not in applied and ("expired" in self.outcomes.get(c, ()) or c in self.expired_refusals)
        }
        refused = {c for c in self.issued if c not in applied | expired and self.outcomes.get(c)}
        return {
            "patients": self.patients,
            "readings": self.readings,
            "observations": self.observations,
            "dead_letters": dict(sorted(self.dead_letters.items())),
            "decisions": sum(self.decisions.values()),
            "commands_issued": len(self.issued),
            "commands_applied": len(applied),
            "commands_refused": len(refused),
            "commands_expired": len(expired),
            "commands_lost": len(self.lost),
            "commands_doubled": len(self.doubled),
            "alerts": self.alerts,
        }


def count(kafka: KafkaSettings) -> Tally:
    """Read every topic to its end and count."""
    tally = Tally()
    parts: dict[str, int] = {}
    for record in read_to_end(kafka, (READINGS, DOSES)):
        tally.readings += record.topic == READINGS.name
        parts[f"{record.topic}/{record.partition}:{record.offset}"] = _parts(record.message)
    tally.observations = sum(parts.values())
    for record in read_to_end(kafka, (DEAD_LETTERS,)):
        letter = record.message
        assert isinstance(letter, DeadLetter)
        tally.dead_letters[letter.reason] += 1
        source = f"{letter.topic}/{letter.partition}:{letter.offset}"
        tally.observations -= parts.get(source, 0) if letter.index is None else 1
    tally.patients = len({record.key for record in read_to_end(kafka, (ENROLMENTS,))})
    for record in read_to_end(kafka, (FORECASTS,)):
        if isinstance(record.message, Forecast) and record.message.decision is not None:
            tally.decisions[record.message.decision.outcome] += 1
    for record in read_to_end(kafka, (COMMANDS,)):
        if isinstance(record.message, Command):
            tally.issued[record.message.id] += 1
    for record in read_to_end(kafka, (ACKNOWLEDGEMENTS,)):
        answer = record.message
        if not isinstance(answer, Acknowledgement):
            continue
        if answer.status in TERMINAL:
            tally.outcomes.setdefault(answer.command_id, set()).add(answer.status)
        if answer.status == "applied":
            tally.applications.setdefault(answer.command_id, set()).add(answer.application_id)
        elif answer.status == "refused" and answer.reason == "expired":
            tally.expired_refusals.add(answer.command_id)
    raised = {
        record.message.alert
        for record in read_to_end(kafka, (ALERTS,))
        if isinstance(record.message, AlertRaised)
    }
    tally.alerts = len(raised)
    return tally


def unconsumed(kafka: KafkaSettings) -> int:
    """Source records that the shards' group has not committed yet."""
    reader = consumer(kafka, "tally-lag", group_id=kafka.group("shards"))
    try:
        waiting = 0
        for topic in SOURCES:
            found = [TopicPartition(kafka.topic(topic.name), p) for p in range(kafka.partitions)]
            ends = reader.end_offsets(found)
            for partition in found:
                if ends[partition]:
                    waiting += max(0, ends[partition] - (reader.committed(partition) or 0))
    finally:
        reader.close()
    return waiting


class LatencyWatch(threading.Thread):
    """Reads readings, doses and commands as they become readable; wall time from one to the other.

    A latency is from the broker's append of the record that caused a command (the device's send plus the
    milliseconds of its way) to the moment a read_committed consumer holds the command.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="latency-watch", daemon=True)
        self._kafka = settings.kafka
        self._stop_event = threading.Event()
        self.latencies_ms: list[float] = []
        self.first_reading_s: float | None = None
        self.first_command_s: float | None = None
        self.first_applied_s: float | None = None
        """Wall times: a reading was there, a command was readable, a device said that it applied one."""

    def run(self) -> None:
        """Read until stopped."""
        kafka = self._kafka
        reader = consumer(kafka, "latency-watch", group_id=None)
        names = {kafka.topic(topic.name): topic for topic in (*SOURCES, COMMANDS)}
        reader.assign([TopicPartition(name, p) for name in names for p in range(kafka.partitions)])
        appended: dict[str, float] = {}
        waiting: list[tuple[str, float]] = []
        while not self._stop_event.is_set():
            polled = reader.poll(timeout_ms=50, max_records=5000)
            now_s = time.time()
            for tp, records in polled.items():
                topic = names[tp.topic]
                for record in records:
                    if topic is COMMANDS:
                        order = decoder(COMMANDS.contract).decode(record.value)
                        if isinstance(order, Command):
                            self.first_command_s = self.first_command_s or now_s
                            waiting.append((order.source, now_s))
                    else:
                        if topic is READINGS:
                            self.first_reading_s = self.first_reading_s or now_s
                        appended[_source(record, topic)] = record.timestamp / 1000
                        if (
                            self.first_applied_s is None
                            and topic is ACKNOWLEDGEMENTS
                            and decoder(Acknowledgement).decode(record.value).status == "applied"
                        ):
                            self.first_applied_s = now_s
            for source, read_s in waiting:
                sent_s = appended.get(source)
                if sent_s is not None:
                    self.latencies_ms.append((read_s - sent_s) * 1000)
            waiting = [item for item in waiting if item[0] not in appended]
            if len(appended) > 2_000_000:
                appended.clear()
        reader.close()

    def finish(self) -> dict[str, float | None]:
        """Stop; returns p50 and p99 in ms."""
        self._stop_event.set()
        self.join(timeout=10)
        found = sorted(self.latencies_ms)

        def quantile(q: float) -> float | None:
            return round(found[min(len(found) - 1, int(q * len(found)))], 1) if found else None

        return {"p50": quantile(0.50), "p99": quantile(0.99)}


def _source(record: Any, topic: Topic) -> str:
    return f"{topic.name}/{record.partition}:{record.offset}"


def _parts(message: object) -> int:
    """Samples or administrations in a record; 1 for one that cannot be read, which is refused as a whole."""
    if isinstance(message, Reading):
        return len(message.samples)
    return len(message.administrations) if isinstance(message, Dose) else 1
