"""A whole fleet on a real broker: what it sends, that it survives a kill, that commands reach the body."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import TopicPartition

from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    Bolus,
    Command,
    Dose,
    Enrolment,
    Order,
    Precondition,
    Reading,
)
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.kafka_clients import consumer, producer
from dosetwin.platform.settings import ClockSettings, KafkaSettings, Settings
from dosetwin.platform.topics import (
    ACKNOWLEDGEMENTS,
    COMMANDS,
    DOSES,
    ENROLMENTS,
    READINGS,
    Topic,
    partition_of,
)
from dosetwin.stream_jobs.fleet import load
from dosetwin.stream_jobs.fleet.faults import parse_faults
from dosetwin.stream_jobs.fleet.fleet import Fleet
from dosetwin.stream_jobs.fleet.plan import FleetPlan

pytestmark = pytest.mark.broker

BEGIN_S = 1_790_000_000.0
"""A fixed beginning of event time, so that the same seed has its meals at the same moments."""


def everything(kafka: KafkaSettings, topic: Topic, contract: Any) -> list[tuple[int, Any]]:
    """(append time in ms, message) of a topic."""
    reader = consumer(kafka, "test-reader", group_id=None)
    parts = [TopicPartition(kafka.topic(topic.name), p) for p in range(kafka.partitions)]
    reader.assign(parts)
    ends = reader.end_offsets(parts)
    reader.seek_to_beginning(*parts)
    found: list[tuple[int, Any]] = []
    while any(reader.position(part) < ends[part] for part in parts):
        for records in reader.poll(timeout_ms=200).values():
            found += [(record.timestamp, decode(record.value, contract)) for record in records]
    reader.close()
    return found


def fast(settings: Settings, speed: float) -> Settings:
    now_s = time.time()
    clock = ClockSettings(speed=speed, wall_anchor_s=now_s, event_anchor_s=BEGIN_S)
    return settings.model_copy(update={"clock": clock})


def test_a_fleet_sends_what_it_says_and_goes_on_where_it_stopped(settings: Settings, tmp_path: Path) -> None:
    settings = fast(settings, 600.0)
    plan = FleetPlan(
        patients=10,
        state_dir=tmp_path / "fleet",
        faults=parse_faults("harsh,late=0.4,late_mean_s=600,duplicate=0.2"),
        seed=4,
        for_s=90.0,
        quiet_s=0.2,
    )
    stop = threading.Event()

    def enough(counts: dict[str, int]) -> None:
        if counts.get("late_injected", 0) >= 120:
            stop.set()

    first: dict[str, Any] = Fleet(settings, plan, progress=enough).run(stop)
    readings = everything(settings.kafka, READINGS, Reading)
    enrolments = [message for _, message in everything(settings.kafka, ENROLMENTS, Enrolment)]
    assert len({each.patient for each in enrolments}) == len(enrolments) == 10
    assert not any("ward1-bed" in encode(message).decode() for message in enrolments)
    assert Counter(each.therapy for each in enrolments) == {"t1d-insulin": 8, "vancomycin": 2}

    clock = settings.platform_clock
    for appended_ms, message in readings:
        assert message.sent_at.timestamp() <= clock.event_s(appended_ms / 1000) + 0.6
        assert all(sample.at <= message.sent_at for sample in message.samples)
    names = Counter((each.device, each.boot, each.sequence) for _, each in readings)
    repeats = sum(times - 1 for times in names.values())
    assert 0 < repeats <= first["duplicates_injected"]
    assert 0.5 * first["readings"] < len(names) <= first["readings"], "late ones stay behind at the end"
    latest: dict[tuple[str, str], int] = {}
    out_of_order = 0
    for _, each in readings:
        name = (each.device, each.boot)
        out_of_order += each.sequence < latest.get(name, -1)
        latest[name] = max(latest.get(name, -1), each.sequence)
    assert out_of_order > 0

    doses = [message for _, message in everything(settings.kafka, DOSES, Dose)]
    history = [
        each
        for dose in doses
        for each in dose.administrations
        if each.drug == "vancomycin" and each.at.timestamp() < BEGIN_S
    ]
    assert len(history) >= 4, "vancomycin patients come in mid-therapy, with their doses told"

    stop.clear()
    second = Fleet(settings, plan, progress=enough).run(stop)
    assert second["patients"] == 10
    again = [message for _, message in everything(settings.kafka, ENROLMENTS, Enrolment)]
    assert len(again) == 10, "nobody is enrolled twice"
    boots = {each.boot for _, each in everything(settings.kafka, READINGS, Reading)}
    assert len(boots) == 2
    first_boot = {dose.boot for dose in doses}
    later = [
        each
        for _, dose in everything(settings.kafka, DOSES, Dose)
        if dose.boot not in first_boot
        for each in dose.administrations
    ]
    assert not any(each.at < doses[0].sent_at for each in later), "history is told once"


def test_a_command_changes_the_body_and_survives_a_kill(settings: Settings, tmp_path: Path) -> None:
    """The fleet in a process of its own, killed after it has acknowledged."""
    settings = fast(settings, 240.0)
    arguments = ["fleet", "--patients", "2", "--therapy-mix", "t1d-insulin=1", "--mode", "autonomous"]
    arguments += ["--faults", "none", "--drain", "2", "--state-dir", str(tmp_path / "fleet"), "--json"]
    environment = {**os.environ, **settings.environment(), "DOSETWIN_METRICS__FLEET_PORT": "0"}

    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from dosetwin.platform.command_line import main; main()",
                *arguments,
                *more,
            ],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )

    def wait_for(topic: Topic, contract: Any, enough: int, process: subprocess.Popen[str]) -> list[Any]:
        deadline = time.monotonic() + 90
        while len(found := [message for _, message in everything(settings.kafka, topic, contract)]) < enough:
            assert time.monotonic() < deadline, f"{topic.name}: {len(found)} of {enough}"
            assert process.poll() is None
            time.sleep(0.2)
        return found

    process = start()
    try:
        enrolment = wait_for(ENROLMENTS, Enrolment, 2, process)[0]
        wait_for(READINGS, Reading, 20, process)
        pump = next(each.device for each in enrolment.devices if each.commands)
        now_s = settings.platform_clock.event_s()
        order = settings.command_signer().sign(
            Command(
                patient=enrolment.patient,
                id=identifier("test"),
                device=pump,
                orders=(Order(drug="insulin", route="subcutaneous", kind="bolus", amount=20.0, unit="U"),),
                issued_at=instant(now_s),
                expires_at=instant(now_s + 7200),
                precondition=Precondition(enrolment_version=1),
                decision_id=identifier("decision"),
                source="readings/0:0",
            )
        )
        client = producer(settings.kafka, "test-shard")
        client.send(
            settings.kafka.topic(COMMANDS.name),
            value=encode(order),
            key=order.patient.encode(),
            partition=partition_of(order.patient, settings.kafka.partitions),
        ).get(timeout=10)
        client.close()
        answers = wait_for(ACKNOWLEDGEMENTS, Acknowledgement, 2, process)
        assert [each.status for each in answers] == ["delivered", "applied"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start("--for", "25")  # 100 minutes: insulin is slow
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    counters = json.loads(output.splitlines()[-1])
    assert counters["commands_applied"] == 0, "applied in the first life, and once"
    answers = [message for _, message in everything(settings.kafka, ACKNOWLEDGEMENTS, Acknowledgement)]
    assert len({(each.device, each.boot, each.sequence) for each in answers}) == 2
    doses = {
        (dose.device, dose.boot, dose.sequence): dose
        for _, dose in everything(settings.kafka, DOSES, Dose)
        if dose.patient == order.patient
    }
    given = [each for dose in doses.values() for each in dose.administrations if isinstance(each, Bolus)]
    commanded = [each for each in given if each.command_id == order.id]
    assert [each.amount for each in commanded] == [20.0]
    glucose = sorted(
        (sample.at, sample.value * (18.0156 if sample.unit == "mmol/L" else 1.0))
        for _, message in everything(settings.kafka, READINGS, Reading)
        if message.patient == order.patient
        for sample in message.samples
        if sample.quantity == "glucose"
    )
    before = [value for moment, value in glucose if moment <= commanded[0].at]
    after = [value for moment, value in glucose if moment > commanded[0].at]
    assert min(after) < 0.7 * before[-1], "20 U lower glucose"


def test_load_is_poured_in_event_order(settings: Settings) -> None:
    start_s = time.time() - 3 * 3600
    patients = load.enrol_load(settings, 20, at_event_s=start_s)
    assert load.pour(settings, patients, 12, start_s, seed=1) == [12] * 20
    assert len(everything(settings.kafka, ENROLMENTS, Enrolment)) == 20
    readings = [message for _, message in everything(settings.kafka, READINGS, Reading)]
    assert len({(each.device, each.boot, each.sequence) for each in readings}) == len(readings) == 240
    by_patient: dict[str, list[Reading]] = {}
    for each in readings:
        by_patient.setdefault(each.patient, []).append(each)
    for mine in by_patient.values():
        times = [each.samples[0].at.timestamp() for each in mine]
        np.testing.assert_allclose(np.diff(times), 300.0, atol=1e-3)
        assert start_s <= times[0] < times[-1] < time.time()
        assert all(45 <= each.samples[0].value <= 395 for each in mine)
