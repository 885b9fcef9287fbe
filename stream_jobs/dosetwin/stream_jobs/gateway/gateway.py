"""From `commands` to devices and back: receive, judge, apply once, acknowledge.

For each command of a device behind this gateway, with a crash allowed between any two steps:

1. received: the record, its position in the topic and a `delivered` acknowledgement, in one transaction;
2. decided: the verdict, the device's new state, the `applied` or `refused` acknowledgement and the report of
   the doses, in one transaction;
3. the messages are sent, and forgotten when Kafka has them.

On restart undecided commands are decided (or found expired) and unsent messages are sent. Proposals and
commands of other gateways' patients are passed over.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from dosetwin.platform.clock import PlatformClock
from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import Acknowledgement, Administration, Command, Enrolment, Proposal
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.kafka_clients import consumer
from dosetwin.platform.metrics import FleetMetrics
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import ACKNOWLEDGEMENTS, COMMANDS, DOSES, ENROLMENTS
from dosetwin.stream_jobs.gateway.device import CommandedDevice, Unfit, Voice
from dosetwin.stream_jobs.gateway.judgement import Objection, objection
from dosetwin.stream_jobs.gateway.memory import DeviceMemory, Entry, Letter
from dosetwin.stream_jobs.gateway.sender import Sender

_log = logging.getLogger(__name__)
PATIENCE_S = 3.0
"""Wall seconds that a command may wait for the enrolment version it names to arrive."""
COMMIT_EVERY_S = 5.0
LOOK_S = 0.05


def _no_pause(step: str) -> None:
    """Where tests stop the process."""


class Gateway:
    """Serves `devices`, by (patient, device). Any error is fatal: start again from `memory`."""

    def __init__(
        self,
        settings: Settings,
        memory: DeviceMemory,
        devices: Mapping[tuple[str, str], CommandedDevice],
        sender: Sender,
        *,
        boot: str,
        metrics: FleetMetrics | None = None,
        pause: Callable[[str], None] = _no_pause,
    ) -> None:
        self._kafka = settings.kafka
        self._clock: PlatformClock = settings.platform_clock
        self._verifier = settings.command_verifier()
        self._memory = memory
        self._devices = devices
        self._patients = {patient for patient, _ in devices}
        self._keys = {patient.encode() for patient in self._patients}
        self._sender = sender
        self._boot = boot
        self._metrics = metrics
        self._pause = pause
        self._versions = memory.enrolment_versions()
        self._last_applied: dict[tuple[str, str], str | None] = {}
        self._strangers: dict[tuple[str, str], Voice] = {}
        self._waiting: dict[tuple[int, int], float] = {}
        self._consumer: KafkaConsumer | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._committed_at = time.monotonic()
        self.answers: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.last_command_wall_s = time.monotonic()
        for (patient, device), machine in devices.items():
            known = memory.device_state(patient, device)
            if known is not None:
                machine.load(known[0])
                self._last_applied[patient, device] = known[1]

    def open(self) -> None:
        """Resume what was left undone, then read on from where the memory ends."""
        self.resume()
        client = consumer(
            self._kafka,
            "dosetwin-gateway",
            group_id=self._kafka.group("gateway"),
            fetch_max_wait_ms=100,
        )
        topics = [self._kafka.topic(COMMANDS.name), self._kafka.topic(ENROLMENTS.name)]
        parts = [TopicPartition(topic, p) for topic in topics for p in range(self._kafka.partitions)]
        client.assign(parts)
        ends = client.end_offsets(parts)
        begins = client.beginning_offsets(parts)
        for part in parts:
            position = self._memory.position(part.topic, part.partition)
            if position is None and part.topic == topics[0]:
                position = client.committed(part)
            start = begins[part] if position is None else min(max(position, begins[part]), ends[part])
            client.seek(part, start)
        self._consumer = client

    def close(self) -> None:
        """Leave the topics, the memory and the sender being the caller's."""
        if self._consumer is not None:
            self._commit_positions()
            self._consumer.close()
            self._consumer = None

    def version_of(self, patient: str) -> int:
        """The newest enrolment version this gateway knows of, 0 for none."""
        return self._versions.get(patient, 0)

    def learn_enrolments(self, timeout_s: float = 30.0) -> None:
        """Read `enrolments` to its present end, so that `version_of` is up to date."""
        client = self._open_consumer()
        topic = self._kafka.topic(ENROLMENTS.name)
        parts = [part for part in client.assignment() if part.topic == topic]
        ends = client.end_offsets(parts)
        until = time.monotonic() + timeout_s
        while any(client.position(part) < ends[part] for part in parts):
            if time.monotonic() > until:
                raise BrokerError(f"{topic} could not be read to its end in {timeout_s:g} s")
            self.poll(LOOK_S)

    def _open_consumer(self) -> KafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("open() the gateway first")
        return self._consumer

    def poll(self, timeout_s: float) -> int:
        """Take what has arrived within `timeout_s`; returns how many commands were received."""
        client = self._open_consumer()
        batches: dict[TopicPartition, list[Any]] = client.poll(timeout_ms=int(timeout_s * 1000))
        received = self._take(batches) if batches else 0
        if received or self._waiting:
            self.settle()
        confirmed = self._sender.confirmed()
        if confirmed:
            with self._memory.transaction():
                self._memory.confirm(confirmed)
        if time.monotonic() - self._committed_at > COMMIT_EVERY_S:
            self._commit_positions()
        return received

    def resume(self) -> None:
        """Send what was not sent, decide what was not decided."""
        for letter in self._memory.outbox():
            self._sender.send_letter(letter)
        self.settle()

    def _take(self, batches: dict[TopicPartition, list[Any]]) -> int:
        now_s = self._clock.event_s()
        commands = self._kafka.topic(COMMANDS.name)
        letters: list[Letter] = []
        received = 0
        self._pause("before receiving")
        with self._memory.transaction():
            # enrolments first: a command of the same poll may name the version that came with it
            for part, records in sorted(batches.items(), key=lambda batch: batch[0].topic == commands):
                for record in records:
                    if record.key not in self._keys:
                        continue
                    if part.topic == commands:
                        letters += self._receive(record, now_s)
                        received += 1
                    elif record.value is not None:
                        self._learn(record.value)
                self._memory.advance(part.topic, part.partition, records[-1].offset + 1)
        for part, records in batches.items():
            self._positions[part] = records[-1].offset + 1
        self._pause("received")
        for letter in letters:
            self._sender.send_letter(letter)
        return received

    def _learn(self, payload: bytes) -> None:
        try:
            enrolment = decode(payload, Enrolment)
        except msgspec.DecodeError:
            return
        if enrolment.version > self._versions.get(enrolment.patient, 0):
            self._versions[enrolment.patient] = enrolment.version
            self._memory.enrol(enrolment.patient, enrolment.version)

    def _receive(self, record: Any, now_s: float) -> list[Letter]:
        try:
            message: Command | Proposal = decode(record.value, Command | Proposal)  # type: ignore[arg-type]  # a union is a contract too
        except msgspec.DecodeError as error:
            _log.warning("commands/%d:%d is no command: %s", record.partition, record.offset, error)
            return []
        if isinstance(message, Proposal) or message.patient not in self._patients:
            return []
        self.last_command_wall_s = time.monotonic()
        entry = Entry(
            record.partition,
            record.offset,
            message.id,
            message.patient,
            message.device,
            record.value,
            now_s,
        )
        if not self._memory.receive(entry):
            return []
        return [self._answer(self._voice(entry), entry, "delivered", now_s)]

    def settle(self) -> None:
        """Decide every command that waits, in one transaction; send what follows from it."""
        letters: list[Letter] = []
        self._pause("before deciding")
        with self._memory.transaction():
            for entry in self._memory.pending():
                letters += self._decide(entry)
            self._pause("deciding")
        self._pause("decided")
        for letter in letters:
            self._sender.send_letter(letter)
        self._pause("sent")

    def _decide(self, entry: Entry) -> Iterable[Letter]:
        command = decode(entry.payload, Command)
        known_version = self._versions.get(entry.patient, 0)
        if self._may_wait(entry, command, known_version):
            return []
        now_s = self._clock.event_s()
        name = (entry.patient, entry.device)
        machine = self._devices.get(name)
        objected = objection(
            command,
            verifier=self._verifier,
            decided_before=self._memory.verdict(entry.command_id),
            now_s=now_s,
            enrolment_version=known_version,
            last_applied=self._last_applied.get(name),
        )
        if objected is None:
            outcome = (
                Objection("unknown_device", f"the patient has no device {entry.device}")
                if machine is None
                else machine.obey(command.orders, command.id, now_s)
            )
            if machine is not None and isinstance(outcome, tuple):
                return self._apply(entry, machine, outcome, now_s)
            if isinstance(outcome, Unfit):
                outcome = Objection("hardware", outcome.detail)
            objected = cast("Objection", outcome)
        self._memory.decide(entry, "refused", now_s, reason=objected.reason)
        self.refusals[objected.reason] += 1
        words = {"reason": objected.reason, "detail": objected.detail}
        return [self._answer(self._voice(entry), entry, "refused", now_s, **words)]

    def _apply(
        self, entry: Entry, machine: CommandedDevice, given: tuple[Administration, ...], now_s: float
    ) -> list[Letter]:
        """Write down what the device has just done: all of it commits with the device's new state."""
        name = (entry.patient, entry.device)
        application_id = str(uuid.uuid4())
        self._memory.decide(entry, "applied", now_s, application_id=application_id)
        self._memory.store_device(*name, machine.dump(), entry.command_id)
        self._last_applied[name] = entry.command_id
        letters = [self._answer(machine.voice, entry, "applied", now_s, application_id=application_id)]
        if given:
            report = encode(machine.voice.dose(given, now_s))
            letters.append(self._memory.post(DOSES.name, entry.patient, report))
        return letters

    def _may_wait(self, entry: Entry, command: Command, known_version: int) -> bool:
        """Whether the enrolment that the command names may still be on its way to this gateway."""
        place = (entry.partition, entry.offset)
        if command.precondition.enrolment_version > known_version:
            until = self._waiting.setdefault(place, time.monotonic() + PATIENCE_S)
            if time.monotonic() < until:
                return True
        self._waiting.pop(place, None)
        return False

    def _answer(self, voice: Voice, entry: Entry, status: Any, now_s: float, **words: str) -> Letter:
        self.answers[status] += 1
        if self._metrics is not None:
            self._metrics.acknowledgements[status].inc()
            self._metrics.sent[ACKNOWLEDGEMENTS.name].inc()
        message: Acknowledgement = voice.acknowledgement(entry.command_id, status, now_s, **words)
        return self._memory.post(ACKNOWLEDGEMENTS.name, entry.patient, encode(message))

    def _voice(self, entry: Entry) -> Voice:
        name = (entry.patient, entry.device)
        machine = self._devices.get(name)
        if machine is not None:
            return machine.voice
        return self._strangers.setdefault(name, Voice(entry.patient, entry.device, self._boot))

    def _commit_positions(self) -> None:
        """Tell the group how far this gateway is, for lag displays; the memory's positions are the truth."""
        self._committed_at = time.monotonic()
        if self._consumer is not None and self._positions:
            offsets = {part: OffsetAndMetadata(at, "", -1) for part, at in self._positions.items()}
            self._positions = {}
            try:
                self._consumer.commit(offsets)
            except KafkaError as error:
                _log.warning("the gateway's positions were not shown to its group: %r", error)
