"""A bedside: one pump behind a gateway on the real broker, and whoever sends it commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition

from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    Command,
    Dose,
    EnrolledDevice,
    Enrolment,
    Order,
    Precondition,
)
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.kafka_clients import consumer, producer
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topics import ACKNOWLEDGEMENTS, COMMANDS, DOSES, ENROLMENTS, Topic, partition_of
from dosetwin.stream_jobs.fleet.devices.insulin_pump import InsulinPump
from dosetwin.stream_jobs.gateway.device import Voice
from dosetwin.stream_jobs.gateway.gateway import Gateway
from dosetwin.stream_jobs.gateway.memory import DeviceMemory
from dosetwin.stream_jobs.gateway.sender import Sender

PATIENT = pseudonym("bed 1", b"k" * 32)
PUMP = "pump-1"
PROGRAMME_U_PER_H = 1.0


def read_all(kafka: KafkaSettings, topic: Topic, contract: Any) -> list[Any]:
    """Everything on a topic now, in order of arrival within partitions."""
    reader = consumer(kafka, "test-reader", group_id=None)
    parts = [TopicPartition(kafka.topic(topic.name), p) for p in range(kafka.partitions)]
    reader.assign(parts)
    ends = reader.end_offsets(parts)
    reader.seek_to_beginning(*parts)
    found: list[Any] = []
    while any(reader.position(part) < ends[part] for part in parts):
        for records in reader.poll(timeout_ms=200).values():
            found += [decode(record.value, contract) for record in records]
    reader.close()
    return found


def once(messages: list[Any]) -> list[Any]:
    """Messages without their repeats, as any reader tells them apart."""
    return list({(each.device, each.boot, each.sequence): each for each in messages}.values())


def command(settings: Settings, *orders: Order, number: int = 0, **changes: Any) -> Command:
    """A signed command to the pump, that expires in an hour."""
    now_s = settings.platform_clock.event_s()
    plain = Command(
        patient=PATIENT,
        id=identifier("test", number),
        device=PUMP,
        orders=orders or (bolus(1.0),),
        issued_at=instant(now_s),
        expires_at=instant(now_s + 3600),
        precondition=Precondition(enrolment_version=1),
        decision_id=identifier("decision", number),
        source="readings/0:0",
    )
    return settings.command_signer().sign(msgspec.structs.replace(plain, **changes))


def bolus(amount_U: float) -> Order:
    return Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount_U, unit="U")


def rate(amount_U_per_h: float, duration_s: float) -> Order:
    return Order(
        drug="insulin",
        route="subcutaneous",
        kind="rate",
        amount=amount_U_per_h,
        unit="U/h",
        duration_s=duration_s,
    )


class Bedside:
    """Sends commands, runs gateways on one memory, reads what came back."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self.settings, self.path = settings, path
        self.producer = producer(settings.kafka, "test-shard")
        self.boots = 0
        self.send(
            ENROLMENTS,
            Enrolment(
                patient=PATIENT,
                version=1,
                therapy="t1d-insulin",
                mode="autonomous",
                at=settings.platform_clock.now(),
                devices=(EnrolledDevice(device=PUMP, kind="insulin_pump", commands=True),),
            ),
        )

    def send(self, topic: Topic, message: Any) -> None:
        kafka = self.settings.kafka
        payload = message if isinstance(message, bytes) else encode(message)
        self.producer.send(
            kafka.topic(topic.name),
            value=payload,
            key=PATIENT.encode(),
            partition=partition_of(PATIENT, kafka.partitions),
        ).get(timeout=10)

    def order(self, message: Command) -> None:
        self.send(COMMANDS, message)

    def serve(
        self, pause: Callable[[str], None] = lambda step: None, *, until_answers: int = 0
    ) -> InsulinPump:
        """One life of a gateway: until this many final answers, or until `pause` raises."""
        self.boots += 1
        memory = DeviceMemory(self.path)
        sender = Sender(self.settings.kafka, "test-gateway")
        pump = InsulinPump(Voice(PATIENT, PUMP, f"boot {self.boots}"), PROGRAMME_U_PER_H, 0.0)
        gateway = None
        try:
            gateway = Gateway(
                self.settings, memory, {(PATIENT, PUMP): pump}, sender, boot=f"boot {self.boots}", pause=pause
            )
            gateway.open()
            gateway.learn_enrolments()
            deadline = time.monotonic() + 20
            while gateway.answers["applied"] + gateway.answers["refused"] < until_answers:
                assert time.monotonic() < deadline, f"answers so far: {gateway.answers}"
                gateway.poll(0.1)
            for _ in range(2):
                gateway.poll(0.2)
            sender.flush()
            gateway.poll(0.0)
        finally:
            if gateway is not None:
                gateway.close()
            sender.close()
            memory.close()
        return pump

    def acknowledgements(self) -> list[Acknowledgement]:
        return once(read_all(self.settings.kafka, ACKNOWLEDGEMENTS, Acknowledgement))

    def doses(self) -> list[Dose]:
        return once(read_all(self.settings.kafka, DOSES, Dose))


@pytest.fixture
def bedside(settings: Settings, tmp_path: Path) -> Iterator[Bedside]:
    place = Bedside(settings, tmp_path / "gateway.sqlite")
    yield place
    place.producer.close()


@pytest.fixture
def make_command(settings: Settings) -> Callable[..., Command]:
    return lambda *orders, **changes: command(settings, *orders, **changes)
