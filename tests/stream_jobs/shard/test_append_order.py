"""Held-back records come out in append order, each once, however the polls were cut."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dosetwin.stream_jobs.shard.intake import Record
from dosetwin.stream_jobs.shard.merge import AppendOrder

TOPICS = ("readings", "doses")


def log_of(topic: str, times: list[int]) -> list[Record]:
    return [Record(topic, 0, offset, ms, b"", b"") for offset, ms in enumerate(sorted(times))]


TIMES = st.lists(st.integers(0, 500), max_size=40)


@given(TIMES, TIMES, st.integers(1, 9), st.integers(0, 2**32))
def test_released_in_append_order_and_each_once(
    readings: list[int], doses: list[int], limit: int, seed: int
) -> None:
    chance = random.Random(seed)
    logs = {"readings": log_of("readings", readings), "doses": log_of("doses", doses)}
    polled = dict.fromkeys(TOPICS, 0)
    order = AppendOrder()
    released: list[Record] = []
    for _ in range(400):
        topic = chance.choice(TOPICS)
        take = logs[topic][polled[topic] : polled[topic] + chance.randint(0, 5)]
        polled[topic] += len(take)
        order.add(take)
        released += order.release(TOPICS, lambda name, _: polled[name] == len(logs[name]), limit)
    assert [record.appended_ms for record in released] == sorted(readings + doses)
    assert len({(record.topic, record.offset) for record in released}) == len(readings) + len(doses)
    assert order.waiting() == 0


def test_nothing_is_released_while_another_topic_may_hold_something_older() -> None:
    order = AppendOrder()
    order.add(log_of("readings", [5, 6, 7]))
    assert order.release(TOPICS, lambda name, _: name == "readings", 10) == []
    order.add(log_of("doses", [1, 6]))
    assert [r.appended_ms for r in order.release(TOPICS, lambda name, _: False, 10)] == [1, 5, 6, 6]
