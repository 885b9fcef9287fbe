"""Whether commands may still come: what the shards have not yet read of what the devices sent."""

from __future__ import annotations

from kafka import TopicPartition

from dosetwin.platform.kafka_clients import consumer
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import DOSES, READINGS


def unread(kafka: KafkaSettings) -> int:
    """Records on `readings` and `doses` that the shards have not committed; 0 where no shard ever ran."""
    reader = consumer(kafka, "dosetwin-fleet-drain", group_id=kafka.group("shards"))
    try:
        parts = [
            TopicPartition(kafka.topic(topic.name), p)
            for topic in (READINGS, DOSES)
            for p in range(kafka.partitions)
        ]
        ends = reader.end_offsets(parts)
        done = {part: reader.committed(part) for part in parts}
    finally:
        reader.close()
    if all(offset is None for offset in done.values()):
        return 0
    return sum(max(0, ends[part] - (offset or 0)) for part, offset in done.items())
