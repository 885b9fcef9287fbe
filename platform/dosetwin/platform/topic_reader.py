"""Reads a topic from its beginning to its present end, committed records only, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from dosetwin.platform.codec import decoder
from dosetwin.platform.errors import BrokerError, TopicError
from dosetwin.platform.kafka_clients import consumer
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import Topic

IDLE_LIMIT = 100
"""Empty polls in a row, of 100 ms each, after which the broker is said not to answer."""


class Record(NamedTuple):
    """One record; `message` is its decoded value, None where it breaks the topic's contract."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    message: msgspec.Struct | None
    value: bytes


def read_to_end(
    kafka: KafkaSettings,
    topics: Iterable[Topic],
    partitions: Iterable[int] | None = None,
    *,
    containing: bytes = b"",
) -> Iterator[Record]:
    """Every committed record of `topics` (of some partitions, or of all) up to the end as it is now.

    Records of one partition come in its order. Those whose value does not hold the bytes `containing` are
    passed over before they are decoded. Raises TopicError where a topic is not there, BrokerError
    where the broker stops answering.
    """
    from kafka import TopicPartition

    by_name = {kafka.topic(topic.name): topic for topic in topics}
    wanted = None if partitions is None else set(partitions)
    reader = consumer(kafka, "dosetwin-reader", group_id=None)
    try:
        assigned = []
        for name in by_name:
            found = reader.partitions_for_topic(name)
            if not found:
                raise TopicError(
                    f"there is no topic {name} at {kafka.bootstrap}",
                    remedy="declare the topics with `dosetwin topics`, or check the topic prefix",
                )
            assigned += [TopicPartition(name, p) for p in sorted(found) if wanted is None or p in wanted]
        reader.assign(assigned)
        ends = {place: end for place, end in reader.end_offsets(assigned).items() if end > 0}
        reader.seek_to_beginning(*assigned)
        idle = 0
        while ends:
            polled = reader.poll(timeout_ms=100, max_records=5000)
            idle = 0 if polled else idle + 1
            for place, records in polled.items():
                end = ends.get(place)
                decode = decoder(by_name[place.topic].contract).decode
                for record in records:
                    if end is None or record.offset >= end:
                        break
                    if containing and containing not in (record.value or b""):
                        continue
                    try:
                        message = decode(record.value) if record.value is not None else None
                    except msgspec.DecodeError:
                        message = None
                    yield Record(
                        by_name[place.topic].name,
                        record.partition,
                        record.offset,
                        record.timestamp,
                        record.key or b"",
                        message,
                        record.value or b"",
                    )
            # the position also moves over transaction markers and aborted records
            ends = {place: end for place, end in ends.items() if reader.position(place) < end}
            if idle > IDLE_LIMIT:
                raise BrokerError(
                    f"{kafka.bootstrap} stopped answering with {len(ends)} partitions unread "
                    "(an open transaction holds readers back, too)",
                    remedy="look at the broker with `dosetwin doctor`; a transaction of a process that died "
                    "is aborted after its time-out",
                )
    finally:
        reader.close()
