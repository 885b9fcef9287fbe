"""Hands messages to Kafka and learns when it has them; a message it will never have ends the process."""

from __future__ import annotations

from collections import deque
from typing import Any

from dosetwin.platform.errors import BrokerError
from dosetwin.platform.kafka_clients import producer
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topics import partition_of
from dosetwin.stream_jobs.gateway.memory import Letter


class Sender:
    """One idempotent producer for everything that devices say."""

    def __init__(self, kafka: KafkaSettings, client_id: str) -> None:
        self._kafka = kafka
        self._producer = producer(kafka, client_id)
        self._confirmed: deque[int] = deque()
        self._failed: deque[BaseException] = deque()

    def send(self, topic: str, patient: str, payload: bytes) -> Any:
        """Send a message (short topic name) without waiting; returns the producer's future."""
        if self._failed:
            raise BrokerError(f"Kafka refused a device's message: {self._failed[0]!r}") from self._failed[0]
        future = self._producer.send(
            self._kafka.topic(topic),
            value=payload,
            key=patient.encode(),
            partition=partition_of(patient, self._kafka.partitions),
        )
        future.add_errback(self._failed.append)
        return future

    def send_letter(self, letter: Letter) -> None:
        """Send a message of the outbox; its id is in `confirmed()` once Kafka has it."""
        self.send(letter.topic, letter.patient, letter.payload).add_callback(self._confirm, letter.id)

    def _confirm(self, letter_id: int, _metadata: object) -> None:
        self._confirmed.append(letter_id)

    def confirmed(self) -> list[int]:
        """The letters Kafka has confirmed since the last call."""
        return [self._confirmed.popleft() for _ in range(len(self._confirmed))]

    def flush(self) -> None:
        """Wait until Kafka has everything."""
        self._producer.flush(timeout=30)
        if self._failed:
            raise BrokerError(f"Kafka refused a device's message: {self._failed[0]!r}") from self._failed[0]

    def close(self) -> None:
        """Flush and close."""
        self._producer.close(timeout=10)
