"""Load without plants: as many readings as asked for, made beforehand and poured into Kafka at full speed.

For benchmarks and for tests that kill shards. Each patient has one glucose sensor and one pump; its glucose
is a daily wave with noise that persists, a value each five minutes, in event order over all patients.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from dosetwin.platform.clock import instant
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import EnrolledDevice, Enrolment, Measure, Mode, Reading, Sample
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.kafka_clients import producer
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.platform.settings import Settings
from dosetwin.platform.topics import ENROLMENTS, READINGS, partition_of

INTERVAL_S = 300.0
UNDERWAY_RECORDS = 50_000
NOISE_MEMORY = 0.9
NOISE_SD_MG_DL = 8.0


def sensor_of(patient: str) -> str:
    """The name of a load patient's sensor."""
    return f"cgm-{patient[2:8]}"


def pump_of(patient: str) -> str:
    """The name of a load patient's pump."""
    return f"pump-{patient[2:8]}"


def enrol_load(
    settings: Settings,
    n: int,
    *,
    at_event_s: float,
    seed: int = 0,
    mode: Mode = "autonomous",
    limits: Mapping[str, Measure] = MappingProxyType({}),
) -> list[str]:
    """Enrol `n` patients on t1d-insulin from `at_event_s` on; returns their pseudonyms once Kafka has all.

    `limits` override the therapy's, by name.
    """
    kafka, key = settings.kafka, settings.pseudonym_key()
    rng = np.random.default_rng([seed, 1])
    patients = [pseudonym(f"load{seed}-{i}", key) for i in range(n)]
    client = producer(kafka, "dosetwin-load-enrolments")
    try:
        futures = []
        for patient in patients:
            weight_kg = float(np.clip(rng.normal(78.0, 14.0), 45.0, 130.0))
            enrolment = Enrolment(
                patient=patient,
                version=1,
                therapy="t1d-insulin",
                mode=mode,
                at=instant(at_event_s),
                ward="load",
                limits=dict(limits),
                covariates={
                    "weight": Measure(round(weight_kg, 1), "kg"),
                    "total_daily_dose": Measure(round(0.6 * weight_kg, 1), "U"),
                },
                devices=(
                    EnrolledDevice(device=sensor_of(patient), kind="cgm"),
                    EnrolledDevice(device=pump_of(patient), kind="insulin_pump", commands=True),
                ),
            )
            futures.append(
                client.send(
                    kafka.topic(ENROLMENTS.name),
                    value=encode(enrolment),
                    key=patient.encode(),
                    partition=partition_of(patient, kafka.partitions),
                )
            )
        for future in futures:
            future.get(timeout=60)
    finally:
        client.close()
    return patients


def encoded_rounds(
    patients: Sequence[str], readings_per_patient: int, start_event_s: float, seed: int
) -> Iterator[list[bytes]]:
    """Encoded readings, round by round: one of each patient, in the order of `patients`."""
    n = len(patients)
    rng = np.random.default_rng([seed, 2])
    boot = uuid.UUID(int=int(rng.integers(1 << 62))).hex[-12:]
    devices = [sensor_of(patient) for patient in patients]
    offset_s = np.sort(rng.uniform(0.0, INTERVAL_S, n))
    mean, swing, phase = rng.normal(140, 15, n), rng.uniform(15, 45, n), rng.uniform(0, 2 * np.pi, n)
    noise = NOISE_SD_MG_DL * rng.standard_normal(n)
    for k in range(readings_per_patient):
        at_s = start_event_s + offset_s + k * INTERVAL_S
        noise = NOISE_MEMORY * noise + NOISE_SD_MG_DL * np.sqrt(1 - NOISE_MEMORY**2) * rng.standard_normal(n)
        wave = mean + swing * np.sin(2 * np.pi * at_s / 86_400.0 * 4 + phase)
        values = np.clip(np.rint(wave + noise), 45.0, 395.0)
        yield [
            encode(
                Reading(
                    patient=patient,
                    device=device,
                    boot=boot,
                    sequence=k,
                    sent_at=instant(at),
                    samples=(Sample(quantity="glucose", value=value, unit="mg/dL", at=instant(at)),),
                )
            )
            for patient, device, at, value in zip(
                patients, devices, at_s.tolist(), values.tolist(), strict=True
            )
        ]


def pour(
    settings: Settings,
    patients: Sequence[str],
    readings_per_patient: int,
    start_event_s: float,
    seed: int = 0,
    *,
    rounds: Iterator[list[bytes]] | None = None,
) -> list[int]:
    """Send the readings at full speed; returns how many of each patient Kafka has confirmed.

    The last event time is `start_event_s + 300 readings_per_patient`: choose a start that keeps it behind the
    clock. `rounds` takes ready-made `encoded_rounds`, so that a benchmark need not pay for encoding. The same
    seed gives the same records, which a shard recognises as repeats.
    """
    kafka = settings.kafka
    topic = kafka.topic(READINGS.name)
    addresses = [(patient.encode(), partition_of(patient, kafka.partitions)) for patient in patients]
    client = producer(
        kafka,
        "dosetwin-load",
        linger_ms=20,
        batch_size=512 * 1024,
    )
    failures: list[BaseException] = []
    counts, underway = [0] * len(patients), 0
    source = encoded_rounds(patients, readings_per_patient, start_event_s, seed) if rounds is None else rounds
    try:
        for payloads in source:
            for i, payload in enumerate(payloads):
                key, partition = addresses[i]
                client.send(topic, value=payload, key=key, partition=partition).add_errback(failures.append)
                counts[i] += 1
            underway += len(payloads)
            if underway >= UNDERWAY_RECORDS:  # the client's own buffer has no bound
                client.flush(timeout=300)
                underway = 0
        client.flush(timeout=300)
    finally:
        client.close()
    if failures:
        raise BrokerError(f"{len(failures)} readings were not taken: {failures[0]!r}")
    return counts
