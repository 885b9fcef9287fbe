"""Sends a recorded data set through Kafka and collects what the shards predicted for each level."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import Dose, Enrolment, Forecast, Prediction, Reading
from dosetwin.platform.errors import DoseTwinError
from dosetwin.platform.kafka_clients import admin, consumer, producer
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import DOSES, ENROLMENTS, FORECASTS, READINGS, partition_of
from dosetwin.stream_jobs.replay.messages import Anchored, device_messages, enrolments
from dosetwin.stream_jobs.replay.recording import DataSet

Progress = Callable[[str, int, int], None]
"""Told what is done, how many of it, out of how many."""


class ReplayStalledError(DoseTwinError):
    """The shards stopped answering before every level was predicted."""


def predict_streamed(
    data_set: DataSet,
    people: Sequence[Anchored],
    kafka: KafkaSettings,
    *,
    speed: float | None = None,
    patience_s: float = 300.0,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, list[Prediction]]:
    """Enrol, stream doses and levels in event order, collect the predictions; by patient, in event time.

    With `speed`, every patient starts now and runs so many times faster than life; without it, as fast
    as it goes. Raises ReplayStalledError when nothing new comes for `patience_s` wall seconds.
    """
    collector = _Collector(kafka, people)
    sender = producer(kafka, "dosetwin-replay")
    doses = _Doses(kafka, sender)
    try:
        for person in people:
            for enrolment in enrolments(data_set, person):
                _send(sender, kafka, ENROLMENTS.name, enrolment)
        sender.flush()
        total = len(people)
        collector.wait(
            lambda: len(collector.enrolled), total, patience_s, lambda n: progress("enrolled", n, total)
        )
        levels = data_set.levels

        def report(n: int) -> None:
            progress("levels predicted", n, levels)

        def meanwhile() -> None:
            collector.poll(0.02)
            report(collector.count)

        began_s = time.monotonic()
        order = _timeline(data_set, people) if speed is not None else _rounds(data_set, people)
        for at_h, message in order:
            while speed is not None and (wait_s := at_h * 3600 / speed - (time.monotonic() - began_s)) > 0:
                sender.flush()
                collector.poll(min(wait_s, 0.2))
                report(collector.count)
            if isinstance(message, Dose):
                doses.send(message)
                continue
            # a level that overtook a dose on its way through Kafka would be predicted without it
            doses.await_taken(message.patient, patience_s, meanwhile)
            _send(sender, kafka, READINGS.name, message)
        sender.flush()
        collector.wait(lambda: collector.count, levels, patience_s, report)
    finally:
        sender.close()
        doses.close()
        collector.close()
    return collector.predictions()


def _timeline(data_set: DataSet, people: Sequence[Anchored]) -> list[tuple[float, Dose | Reading]]:
    """Everything of everybody by event time; equal times of one patient stay in the patient's order."""
    timed: list[tuple[float, int, int, Dose | Reading]] = []
    for i, person in enumerate(people):
        for k, message in enumerate(device_messages(data_set, person)):
            hours = (message.sent_at.timestamp() - person.start_s) / 3600
            timed.append((hours, i, k, message))
    return [(hours, message) for hours, _, _, message in sorted(timed, key=lambda item: item[:3])]


def _rounds(data_set: DataSet, people: Sequence[Anchored]) -> list[tuple[float, Dose | Reading]]:
    """Everybody's doses up to the first level, everybody's first level, doses up to the second, and so on."""
    keyed: list[tuple[int, int, int, float, Dose | Reading]] = []
    for person in people:
        levels = 0
        for k, message in enumerate(device_messages(data_set, person)):
            is_level = isinstance(message, Reading)
            keyed.append((levels, int(is_level), k, message.sent_at.timestamp(), message))
            levels += is_level
    return [(at_s / 3600, message) for _, _, _, at_s, message in sorted(keyed, key=lambda item: item[:3])]


def _send(
    sender: KafkaProducer, kafka: KafkaSettings, topic: str, message: Enrolment | Dose | Reading
) -> Any:
    return sender.send(
        kafka.topic(topic),
        key=message.patient.encode(),
        value=encode(message),
        partition=partition_of(message.patient, kafka.partitions),
    )


class _Doses:
    """Sends doses and knows whether the shards have taken them: their group's committed offsets say so."""

    def __init__(self, kafka: KafkaSettings, sender: KafkaProducer) -> None:
        self._kafka = kafka
        self._sender = sender
        self._admin = admin(kafka, "dosetwin-replay-admin")
        self._on_the_way: dict[str, Any] = {}

    def send(self, dose: Dose) -> None:
        """Put a dose on its way."""
        self._on_the_way[dose.patient] = _send(self._sender, self._kafka, DOSES.name, dose)

    def await_taken(self, patient: str, patience_s: float, meanwhile: Callable[[], object]) -> None:
        """Return once every dose sent so far is taken, where one of this patient is still on its way."""
        if patient not in self._on_the_way:
            return
        self._sender.flush()
        wanted: dict[TopicPartition, int] = {}
        for future in self._on_the_way.values():
            sent = future.get(timeout=30)
            place = TopicPartition(sent.topic, sent.partition)
            wanted[place] = max(wanted.get(place, 0), sent.offset + 1)
        group, since_s = self._kafka.group("shards"), time.monotonic()
        while not self._taken(group, wanted):
            meanwhile()
            if time.monotonic() - since_s > patience_s:
                raise ReplayStalledError(
                    f"no shard of the group {group} took the doses within {patience_s:.0f} s",
                    remedy="start the shards (`dosetwin twins`), or read their logs (DATA_DIR/logs)",
                )
        self._on_the_way.clear()

    def _taken(self, group: str, wanted: dict[TopicPartition, int]) -> bool:
        committed = self._admin.list_group_offsets([group]).get(group, {})
        return all(place in committed and committed[place].offset >= end for place, end in wanted.items())

    def close(self) -> None:
        """Let go of the broker."""
        self._admin.close()


class _Collector:
    """Reads `forecasts` from its present end: who was enrolled, and the prediction of each level."""

    def __init__(self, kafka: KafkaSettings, people: Sequence[Anchored]) -> None:
        self._consumer: KafkaConsumer = consumer(kafka, "dosetwin-replay", group_id=None)
        places = [TopicPartition(kafka.topic(FORECASTS.name), p) for p in range(kafka.partitions)]
        self._consumer.assign(places)
        self._consumer.seek_to_end(*places)
        for place in places:
            self._consumer.position(place)  # seek_to_end is lazy: fix the ends before anything is sent
        self._wanted = {person.patient for person in people}
        self._found: dict[str, dict[tuple[Any, float], Prediction]] = {p.patient: {} for p in people}
        self.enrolled: set[str] = set()
        self.count = 0

    def poll(self, timeout_s: float) -> None:
        """Take what has come."""
        for records in self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=5000).values():
            for record in records:
                if (record.key or b"").decode() not in self._wanted:
                    continue
                forecast: Forecast = decode(record.value, Forecast)
                self.enrolled.add(forecast.patient)
                known = self._found[forecast.patient]
                for prediction in forecast.predictions:
                    if known.setdefault((prediction.at, prediction.observed), prediction) is prediction:
                        self.count += 1

    def wait(
        self, count: Callable[[], int], enough: int, patience_s: float, report: Callable[[int], None]
    ) -> None:
        """Poll until there are `enough`; patience starts anew with everything that comes."""
        last, since_s = count(), time.monotonic()
        while last < enough:
            self.poll(0.2)
            report(count())
            if count() > last:
                last, since_s = count(), time.monotonic()
            elif time.monotonic() - since_s > patience_s:
                raise ReplayStalledError(
                    f"{last} of {enough} came; nothing more for {patience_s:.0f} s",
                    remedy="read the shards' logs (DATA_DIR/logs) and the topic dead-letters "
                    "(`dosetwin inspect --help`)",
                )

    def predictions(self) -> dict[str, list[Prediction]]:
        """By patient, in event time."""
        return {p: [found[key] for key in sorted(found)] for p, found in self._found.items()}

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()
