"""The sources of a partition in the order in which they were appended, also while a shard catches up.

A poll returns whole fetches, topic by topic: after an outage hours of readings would come before the doses of
the same hours, which the twins would then have to refuse as too late. So records wait until nothing older can
still come from another topic of their partition (like Kafka Streams' stream-time synchronisation).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from dosetwin.stream_jobs.shard.intake import Record

HELD_RECORDS = 5000
"""Records of one topic and partition beyond which it is paused."""


class AppendOrder:
    """Holds polled records back and releases them by append time."""

    def __init__(self) -> None:
        self._held: dict[int, dict[str, deque[Record]]] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Take polled records; within a topic and partition they come in offset order."""
        for record in records:
            queues = self._held.setdefault(record.partition, {})
            queue = queues.get(record.topic)
            if queue is None:
                queue = queues[record.topic] = deque()
            queue.append(record)

    def release(
        self, topics: Iterable[str], caught_up: Callable[[str, int], bool], limit: int
    ) -> list[Record]:
        """The records that may be worked on now, at most about `limit`, a fair share of each partition.

        `caught_up(topic, partition)`: whether everything that was appended there has been polled. A record
        is released when every other topic of its partition shows a younger head, or is empty and caught up.
        """
        topics = tuple(topics)
        waiting = [partition for partition, queues in self._held.items() if any(queues.values())]
        share = max(1, limit // max(1, len(waiting)))
        released: list[Record] = []
        for partition in waiting:
            queues = self._held[partition]
            if any(not queues.get(topic) and not caught_up(topic, partition) for topic in topics):
                continue
            for _ in range(share):
                heads = [queue[0] for queue in queues.values() if queue]
                if not heads:
                    break
                oldest = min(heads, key=lambda record: record.appended_ms)
                queue = queues[oldest.topic]
                released.append(queue.popleft())
                if not queue and not caught_up(oldest.topic, partition):
                    break
        return released

    def overfull(self) -> set[tuple[str, int]]:
        """Topics and partitions that hold so much that they should be paused."""
        return {
            (topic, partition)
            for partition, queues in self._held.items()
            for topic, queue in queues.items()
            if len(queue) > HELD_RECORDS
        }

    def waiting(self) -> int:
        """How many records are held."""
        return sum(len(queue) for queues in self._held.values() for queue in queues.values())

    def clear(self) -> None:
        """Forget everything: the partitions were handed out anew and will be polled again."""
        self._held.clear()
