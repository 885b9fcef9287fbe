"""Five SIGKILLs of Ray-hosted shards under load: nothing lost, nothing doubled, the same twins.

The twins are compared with those of one undisturbed pass over the same records in this process. They agree to
float32 round-off and not bit by bit, because XLA adds in another order in batches of another size.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from typing import Any

import numpy as np
import pytest
from kafka import TopicPartition

from dosetwin.platform.audit_chain import verify
from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decode, decoder, encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    AuditRecord,
    Bolus,
    Command,
    Forecast,
    Measure,
    RateChange,
)
from dosetwin.platform.kafka_clients import consumer, producer
from dosetwin.platform.metrics import ShardMetrics
from dosetwin.platform.settings import KafkaSettings, Settings, ShardSettings
from dosetwin.platform.topic_reader import read_to_end
from dosetwin.platform.topics import (
    ACKNOWLEDGEMENTS,
    AUDIT,
    COMMANDS,
    DEAD_LETTERS,
    DOSES,
    ENROLMENTS,
    FORECASTS,
    READINGS,
    SOURCES,
    partition_of,
)
from dosetwin.stream_jobs.demo.tally import unconsumed
from dosetwin.stream_jobs.shard.intake import Record
from dosetwin.stream_jobs.shard.ray_host import read_shards
from dosetwin.stream_jobs.shard.recovery import recover
from dosetwin.stream_jobs.shard.turn import Turn
from tests.stream_jobs.shard.messages import (
    KEY,
    START_S,
    dose,
    enrolment,
    glucose,
    patient_id,
    reading,
)

PATIENTS = 48
READINGS_EACH = 100
KILLS = 5


class Devices(threading.Thread):
    """Answers every command as its pump would, so that the next one may leave."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.settings = settings
        self.ended = threading.Event()
        self.commands: Counter[str] = Counter()

    def run(self) -> None:
        kafka, verifier = self.settings.kafka, self.settings.command_verifier()
        reader = consumer(kafka, "devices", group_id=None)
        topic = kafka.topic(COMMANDS.name)
        reader.assign([TopicPartition(topic, p) for p in range(kafka.partitions)])
        sender = producer(kafka, "devices")
        sequence = 0
        while not self.ended.is_set():
            for records in reader.poll(timeout_ms=100).values():
                for found in records:
                    command = decoder(COMMANDS.contract).decode(found.value)
                    assert isinstance(command, Command)
                    verifier.verify(command)
                    self.commands[command.id] += 1
                    answer = Acknowledgement(
                        patient=command.patient,
                        device=command.device,
                        boot="b1",
                        sequence=sequence,
                        sent_at=command.issued_at,
                        command_id=command.id,
                        status="applied",
                        at=command.issued_at,
                        application_id=str(uuid.uuid4()),
                    )
                    sequence += 1
                    sender.send(
                        kafka.topic(ACKNOWLEDGEMENTS.name),
                        encode(answer),
                        key=command.patient.encode(),
                        partition=found.partition,
                    )
        sender.close()
        reader.close()


def input_messages() -> list[tuple[str, Any]]:
    """Readings and doses of all patients in event order, with repeats, late and out-of-order ones."""
    chance = random.Random(3)
    level = {number: chance.uniform(90, 220) for number in range(PATIENTS)}
    messages: list[tuple[str, Any]] = []
    for step in range(READINGS_EACH):
        at_s = START_S + 300.0 * step
        for number in range(PATIENTS):
            level[number] = min(330.0, max(75.0, level[number] + chance.gauss(0, 7)))
            messages.append((READINGS.name, reading(number, step, glucose(level[number], at_s))))
            if step % 24 == 0:
                rate = RateChange(
                    drug="insulin", route="subcutaneous", rate=0.9, unit="U/h", at=instant(at_s + 7)
                )
                messages.append((DOSES.name, dose(number, step, rate, sent_s=at_s + 7)))
            if step % 36 == 5:
                bolus = Bolus(
                    drug="insulin", route="subcutaneous", amount=2.0, unit="U", at=instant(at_s - 400)
                )
                messages.append((DOSES.name, dose(number, step, bolus, sent_s=at_s)))
            if chance.random() < 0.02:
                messages.append(messages[-1])
    for index in range(0, len(messages) - 60, 211):
        messages.insert(index + chance.randrange(55), messages.pop(index))
    return messages


def send(kafka: KafkaSettings, sender: Any, topic: str, message: Any) -> None:
    partition = partition_of(message.patient, kafka.partitions)
    sender.send(kafka.topic(topic), encode(message), key=message.patient.encode(), partition=partition)


def committed_offsets(kafka: KafkaSettings, partition: int) -> dict[str, int]:
    reader = consumer(kafka, "test-offsets", group_id=kafka.group("shards"))
    try:
        return {
            topic.name: reader.committed(TopicPartition(kafka.topic(topic.name), partition)) or 0
            for topic in SOURCES
        }
    finally:
        reader.close()


def wait_for(what: str, ready: Any, within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while not ready():
        assert time.monotonic() < deadline_s, f"{what} did not happen within {within_s} s"
        time.sleep(0.1)


@pytest.mark.broker
@pytest.mark.timeout(900)
def test_sigkilled_shards_lose_nothing_double_nothing_and_keep_the_same_twins(settings: Settings) -> None:
    settings = settings.model_copy(
        update={
            "shards": ShardSettings(count=2, snapshot_interval_s=2.0, chunk_patients=8, batch_records=400)
        }
    )
    kafka = settings.kafka
    settings.command_signer()
    settings.action_signer()
    sender = producer(kafka, "test-input")
    for number in range(PATIENTS):
        send(kafka, sender, ENROLMENTS.name, enrolment(number, limits={"stale_after": Measure(1e9, "s")}))
    sender.flush()
    devices = Devices(settings)
    devices.start()
    output = (settings.data_dir / "twins.log").open("wb")
    twins = subprocess.Popen(
        [sys.executable, "-m", "dosetwin.platform.command_line", "twins"],
        env=os.environ | settings.environment() | {"DOSETWIN_METRICS__SHARD_PORT": "0"},
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    messages = input_messages()

    def pour() -> None:
        for index, (topic, message) in enumerate(messages[200:]):
            send(kafka, sender, topic, message)
            if index % 40 == 39:
                time.sleep(0.15)
        sender.flush()

    try:

        def alive() -> list[dict[str, Any]]:
            return [shard for shard in read_shards(settings.data_dir) if shard["pid"]]

        wait_for("two shards", lambda: len(alive()) == 2, 280)
        for topic, message in messages[:200]:
            send(kafka, sender, topic, message)
        sender.flush()
        wait_for("the first turns (programs compile)", lambda: unconsumed(kafka) == 0, 280)
        pouring = threading.Thread(target=pour)
        pouring.start()
        chance = random.Random(5)
        for _ in range(KILLS):
            time.sleep(chance.uniform(2.5, 4.5))
            wait_for("a shard to kill", alive, 200)
            os.kill(chance.choice(alive())["pid"], signal.SIGKILL)
        pouring.join()
        wait_for("everything to be consumed", lambda: unconsumed(kafka) == 0, 300)
        restarts = sum(shard["restarts"] for shard in read_shards(settings.data_dir))
    finally:
        twins.send_signal(signal.SIGTERM)
        twins.wait(timeout=60)
        devices.ended.set()
        devices.join()
        output.close()
        sender.close()
    assert twins.returncode == 0, "SIGTERM is a clean end"
    assert restarts >= KILLS, json.dumps(read_shards(settings.data_dir))

    # every reading has exactly one outcome: predicted and assimilated once, or a dead letter
    refused = {
        (f"{letter['topic']}", letter["partition"], letter["offset"])
        for letter in (json.loads(found.value) for found in read_to_end(kafka, (DEAD_LETTERS,)))
    }
    expected: Counter[tuple[str, float]] = Counter()
    for found in read_to_end(kafka, (READINGS,)):
        if (READINGS.name, found.partition, found.offset) not in refused:
            message = json.loads(found.value)
            expected[message["patient"], message["samples"][0]["at"]] += 1
    assert max(expected.values()) == 1
    assert len(expected) == PATIENTS * READINGS_EACH - sum(
        1 for topic, _, _ in refused if topic == READINGS.name
    ) + sum(count - 1 for count in Counter(_positions(messages)).values() if count > 1)
    predicted: Counter[tuple[str, str]] = Counter()
    commanded: Counter[str] = Counter()
    for found in read_to_end(kafka, (FORECASTS,)):
        forecast = decode(found.value, Forecast)
        for prediction in forecast.predictions:
            predicted[forecast.patient, json.loads(encode(prediction))["at"]] += 1
        if forecast.decision is not None and forecast.decision.outcome == "command":
            commanded[forecast.decision.id] += 1
    doubled = [reading for reading, times in predicted.items() if times > 1]
    assert doubled == []
    assert set(predicted) <= set(expected)
    late = set(expected) - set(predicted)
    assert len(late) < 0.03 * len(expected)  # assimilated behind a newer one: no forecast of their own

    # no command lost or doubled: one for each decision to command, each reached the devices once
    commands = [decoder(COMMANDS.contract).decode(found.value) for found in read_to_end(kafka, (COMMANDS,))]
    assert len(commands) > PATIENTS
    assert Counter(command.decision_id for command in commands) == commanded
    assert devices.commands == Counter(command.id for command in commands)
    assert set(devices.commands.values()) == {1}

    # the audit chain is whole on every partition
    for partition in range(kafka.partitions):
        chain = [
            decode(f.value, AuditRecord) for f in read_to_end(kafka, (AUDIT,)) if f.partition == partition
        ]
        assert verify(chain) is None

    # the twins, taken over from snapshots and replay, equal one undisturbed pass over the records
    recovered, undisturbed = Turn(settings, ShardMetrics("a")), Turn(settings, ShardMetrics("b"))
    for partition in range(kafka.partitions):
        recover(kafka, recovered, partition, committed_offsets(kafka, partition))
    log = [
        Record(topic.name, found.partition, found.offset, found.timestamp_ms, found.key, found.value)
        for topic in (ENROLMENTS, DOSES, READINGS)
        for found in read_to_end(kafka, (topic,))
    ]
    log.sort(key=lambda record: record.appended_ms)
    for first in range(0, len(log), 500):
        undisturbed.refuse_unknown(undisturbed.take(log[first : first + 500], live=False))
        undisturbed.finish(live=False)
        undisturbed.intake.clear()
    patients = [patient_id(number) for number in range(PATIENTS)]
    at_s = [START_S + 300.0 * READINGS_EACH] * PATIENTS
    found_bank, expected_bank = recovered.roster.bank("t1d-insulin"), undisturbed.roster.bank("t1d-insulin")
    assert len(found_bank) == len(expected_bank) == PATIENTS
    one, other = found_bank.decide(patients, at_s), expected_bank.decide(patients, at_s)
    for name, band in other.bands.items():
        np.testing.assert_allclose(one.bands[name], band, rtol=2e-3, atol=0.5)
    for name, (_, values) in other.estimates.items():
        np.testing.assert_allclose(one.estimates[name][1], values, rtol=5e-3, atol=1e-2)
    for patient in patients:
        watches = [turn.roster.patients[patient].state.watch for turn in (recovered, undisturbed)]
        assert watches[0].readings == watches[1].readings
        given = [{d: (k.amounts, k.rates) for d, k in watch.ledgers.items()} for watch in watches]
        assert given[0] == given[1]
    assert KEY  # the pseudonyms above were made with it


def _positions(messages: list[tuple[str, Any]]) -> list[tuple[str, str, int]]:
    return [
        (topic, message.device, message.sequence) for topic, message in messages if topic == READINGS.name
    ]
