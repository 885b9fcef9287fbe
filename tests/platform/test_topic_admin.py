from __future__ import annotations

from collections.abc import Callable

import pytest

from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import DeadLetter
from dosetwin.platform.errors import TopicError
from dosetwin.platform.kafka_clients import admin, consumer, producer
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topic_admin import declare_topics, topic_states
from dosetwin.platform.topics import DEAD_LETTERS, OVERSIZE_BYTES, READINGS, TOPICS

pytestmark = pytest.mark.broker


def test_declaring_again_changes_nothing(kafka: KafkaSettings) -> None:
    states = declare_topics(kafka)
    assert [state.name for state in states] == [kafka.topic(topic.name) for topic in TOPICS]
    assert {state.state for state in states} == {"as declared"}
    assert {state.partitions for state in states} == {kafka.partitions}


def test_another_partition_count_says_what_to_do(kafka: KafkaSettings) -> None:
    other = kafka.model_copy(update={"partitions": 6})
    with pytest.raises(TopicError, match="has 4 partitions; the settings say 6") as caught:
        declare_topics(other)
    assert "DOSETWIN_KAFKA__PARTITIONS=4" in caught.value.remedy


def test_a_missing_topic_and_a_changed_option_are_put_right(kafka: KafkaSettings) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    client = admin(kafka)
    client.delete_topics([kafka.topic("audit")])
    client.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, kafka.topic("readings"), configs={"retention.ms": "1000"})]
    )
    client.close()
    _eventually(lambda: "missing" in {state.state for state in topic_states(kafka)})
    _eventually(lambda: "differs" in {state.state for state in topic_states(kafka)})
    found = {state.name.removeprefix(kafka.topic_prefix): state for state in topic_states(kafka)}
    assert found["readings"].differences == {"retention.ms": ("1000", str(READINGS.retention_ms))}
    corrected = {state.name.removeprefix(kafka.topic_prefix): state.state for state in declare_topics(kafka)}
    assert corrected["audit"] == "created"
    assert corrected["readings"] == "updated"
    _eventually(lambda: {state.state for state in topic_states(kafka)} == {"as declared"})


def test_an_oversized_reading_and_the_dead_letter_that_carries_it_fit(kafka: KafkaSettings) -> None:
    from dosetwin.platform.clock import instant

    oversized = b"x" * (10 * 1024 * 1024)
    letter = DeadLetter(
        reason="too_large",
        detail="10 MB",
        topic="readings",
        partition=0,
        offset=0,
        at=instant(1.7e9),
        payload=oversized,
    )
    writer = producer(kafka, "test", max_request_size=OVERSIZE_BYTES * 3 // 2)
    writer.send(kafka.topic("readings"), oversized, partition=0).get(30)
    writer.send(kafka.topic("dead-letters"), encode(letter), partition=0).get(30)
    writer.close()
    reader = consumer(kafka, "test", group_id=None)
    from kafka import TopicPartition

    reader.assign([TopicPartition(kafka.topic("dead-letters"), 0)])
    records: list[bytes] = []

    def received() -> bool:
        records.extend(_values(reader))
        return bool(records)

    _eventually(received)
    reader.close()
    assert decode(records[0], DEAD_LETTERS.contract) == letter


def _values(reader: object) -> list[bytes]:
    polled = reader.poll(timeout_ms=200)  # type: ignore[attr-defined]  # kafka-python has no types
    return [record.value for records in polled.values() for record in records]


def _eventually(condition: Callable[[], bool], attempts: int = 300) -> None:
    import time

    for _ in range(attempts):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("the condition never became true")
