"""The control app as a process of its own, and a ward of topics around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    Act,
    Action,
    Alert,
    AlertRaised,
    Command,
    DeadLetter,
    EnrolledDevice,
    Enrolment,
    Measure,
    Mode,
    Order,
    Precondition,
    Priority,
    Proposal,
    Reading,
    Sample,
)
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.kafka_clients import consumer, producer
from dosetwin.platform.settings import (
    ClockSettings,
    ControlSettings,
    KafkaSettings,
    MetricsSettings,
    Settings,
)
from dosetwin.platform.topic_admin import declare_topics, delete_topics
from dosetwin.platform.topics import (
    ACKNOWLEDGEMENTS,
    ACTIONS,
    ALERTS,
    COMMANDS,
    DEAD_LETTERS,
    ENROLMENTS,
    READINGS,
    Topic,
    partition_of,
)

T = TypeVar("T")
SPEED = 60.0
"""A minute a second: short enough to wait for, long enough that a second of wall time decides nothing."""


def pseudonym(number: int) -> str:
    return f"p-{number:020x}"


class Ward:
    """Writes to the topics as devices, shards and people do, and reads what the control app made of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kafka = settings.kafka
        self.clock = settings.platform_clock
        self._producer = producer(settings.kafka, "ward")
        self._signer = settings.action_signer()
        self._commands = settings.command_signer()
        self._process: subprocess.Popen[bytes] | None = None
        self.there_s: dict[str, float] = {}
        self.log = settings.data_dir / "control.log"

    # the app

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from dosetwin.platform.command_line import main; main()",
                    "control",
                    "--loglevel",
                    "INFO",
                ],
                env=os.environ | self.settings.environment(),
                stdout=log,
                stderr=log,
                cwd=self.settings.data_dir,
            )

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._producer.close()

    # what others write

    def put(self, topic: Topic, message: msgspec.Struct, key: str = "") -> float:
        return self.put_raw(topic, message.patient, encode(message), key)  # type: ignore[attr-defined]

    def put_raw(self, topic: Topic, patient: str, value: bytes, key: str = "") -> float:
        """Write a record; returns the event time at which the broker has it."""
        sent = self._producer.send(
            self.kafka.topic(topic.name),
            key=(key or patient).encode(),
            value=value,
            partition=partition_of(patient, self.kafka.partitions),
        )
        sent.get(timeout=30)
        return self.clock.event_s()

    def enrol(self, patient: str, mode: Mode = "autonomous", version: int = 1, **changes: Any) -> Enrolment:
        enrolment = Enrolment(
            patient=patient,
            version=version,
            therapy="t1d-insulin",
            mode=mode,
            at=self.clock.now(),
            ward="east",
            covariates={"weight": Measure(70.0, "kg"), "total_daily_dose": Measure(40.0, "U")},
            devices=(
                EnrolledDevice(device=f"cgm-{patient[-4:]}", kind="cgm"),
                EnrolledDevice(device=f"pump-{patient[-4:]}", kind="insulin_pump", commands=True),
            ),
        )
        enrolment = msgspec.structs.replace(enrolment, **changes)
        self.put(ENROLMENTS, enrolment)
        return enrolment

    def read_sensor(self, patient: str, sequence: int) -> None:
        now = self.clock.now()
        sample = Sample(quantity="glucose", value=120.0, unit="mg/dL", at=now)
        self.put(
            READINGS,
            Reading(
                patient=patient,
                device=f"cgm-{patient[-4:]}",
                boot="b",
                sequence=sequence,
                sent_at=now,
                samples=(sample,),
            ),
        )

    def raise_alert(self, patient: str, priority: Priority = "high", cause: str = "x") -> AlertRaised:
        raised = AlertRaised(
            patient=patient,
            alert=identifier(patient, "predicted_low", cause),
            at=self.clock.now(),
            kind="predicted_low",
            priority=priority,
            message="low within 30 min",
        )
        self.put(ALERTS, raised, f"{raised.alert}/raised")
        return raised

    def act(self, patient: str, act: Act, *, signed: bool = True, cause: str = "") -> Action:
        action = Action(
            patient=patient,
            id=identifier(patient, "act", cause or str(time.time_ns())),
            person="Dr Ada",
            role="physician",
            at=self.clock.now(),
            act=act,
        )
        action = self._signer.sign(action) if signed else action
        self.there_s[action.id] = self.put(ACTIONS, action)
        return action

    def command(self, patient: str, cause: str, expires_in_s: float) -> Command:
        command = self.make_command(patient, cause, expires_in_s)
        self.put(COMMANDS, command)
        return command

    def make_command(self, patient: str, cause: str, expires_in_s: float) -> Command:
        now = self.clock.now()
        return self._commands.sign(
            Command(
                patient=patient,
                id=identifier(patient, "command", cause),
                device=f"pump-{patient[-4:]}",
                orders=(_rate(1.0),),
                issued_at=now,
                expires_at=now + timedelta(seconds=expires_in_s),
                precondition=Precondition(enrolment_version=1),
                decision_id=identifier("decision", cause),
                source="readings/0:0",
            )
        )

    def propose(self, patient: str, cause: str, expires_in_s: float) -> Proposal:
        now = self.clock.now()
        proposal = Proposal(
            patient=patient,
            id=identifier(patient, "proposal", cause),
            device=f"pump-{patient[-4:]}",
            orders=(_rate(1.0),),
            proposed_at=now,
            expires_at=now + timedelta(seconds=expires_in_s),
            enrolment_version=1,
            decision_id=identifier("decision", cause),
            source="readings/0:0",
            reason="raise the basal rate",
        )
        self.put(COMMANDS, proposal)
        return proposal

    def answer(self, command: Command, status: Any, reason: str = "", sequence: int = 0) -> None:
        now = self.clock.now()
        self.put(
            ACKNOWLEDGEMENTS,
            Acknowledgement(
                patient=command.patient,
                device=command.device,
                boot="b",
                sequence=sequence,
                sent_at=now,
                command_id=command.id,
                status=status,
                at=now,
                reason=reason,
            ),
        )

    # what the app wrote

    def alerts(self) -> list[Alert]:
        return self._all(ALERTS, Alert)  # type: ignore[arg-type]

    def answers(self) -> list[Acknowledgement]:
        return self._all(ACKNOWLEDGEMENTS, Acknowledgement)

    def enrolments(self, patient: str) -> list[Enrolment]:
        return [found for found in self._all(ENROLMENTS, Enrolment) if found.patient == patient]

    def dead_letters(self) -> list[DeadLetter]:
        return self._all(DEAD_LETTERS, DeadLetter)

    def until(self, found: Callable[[], T], wait_s: float = 60.0) -> T:
        """The first true answer of `found`; the app's log is shown where there is none in time."""
        deadline = time.monotonic() + wait_s
        while True:
            answer = found()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {wait_s} s; the app's log:\n{self.log.read_text()[-6000:]}")
            time.sleep(0.1)

    def _all(self, topic: Topic, contract: type[T]) -> list[T]:
        from kafka import TopicPartition

        client = consumer(self.kafka, "ward-reader")
        name = self.kafka.topic(topic.name)
        partitions = [TopicPartition(name, number) for number in range(self.kafka.partitions)]
        client.assign(partitions)
        client.seek_to_beginning()
        ends = client.end_offsets(partitions)
        found: list[T | None] = []
        while any(client.position(tp) < ends[tp] for tp in partitions):
            for records in client.poll(timeout_ms=100).values():
                found.extend(_decoded(record.value, contract) for record in records)
        client.close()
        return [message for message in found if message is not None]


def _decoded(value: bytes, contract: type[T]) -> T | None:
    try:
        return decode(value, contract)
    except msgspec.DecodeError:
        return None


def _rate(amount: float) -> Order:
    return Order(
        drug="insulin", route="subcutaneous", kind="rate", amount=amount, unit="U/h", duration_s=1800.0
    )


@contextmanager
def _ward(bootstrap: str, prefix: str, data_dir: Path) -> Iterator[Ward]:
    """A ward whose clock runs a minute a second, with the control app not started yet."""
    wall_s = time.time()
    settings = Settings(
        data_dir=data_dir,
        kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=4),
        clock=ClockSettings(speed=SPEED, wall_anchor_s=wall_s, event_anchor_s=wall_s),
        control=ControlSettings(silent_factor=2.0),
        metrics=MetricsSettings(control_port=0),
    )
    declare_topics(settings.kafka)
    made = Ward(settings)
    try:
        yield made
    finally:
        made.close()
        delete_topics(settings.kafka)


@pytest.fixture(scope="module")
def ward(broker_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """One running control app for a module: starting it takes longer than any of the tests."""
    with _ward(broker_bootstrap, "control-", tmp_path_factory.mktemp("control")) as made:
        made.start()
        yield made


@pytest.fixture
def empty_ward(broker_bootstrap: str, tmp_path: Path) -> Iterator[Ward]:
    """A ward of one test, whose app the test starts and kills."""
    with _ward(broker_bootstrap, f"control-{tmp_path.name}-", tmp_path) as made:
        yield made
