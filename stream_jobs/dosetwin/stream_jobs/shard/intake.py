"""From a Kafka record to checked facts, or to a dead letter that says why not.

Everything that is judged here is judged from the log alone (the record, its offset, its log-append time),
so that a replay after a crash comes to the same verdicts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.codec import decoder
from dosetwin.platform.contracts import (
    CONTRACT_VERSION,
    Administration,
    Bolus,
    DeadLetter,
    DeadLetterReason,
    DeviceEvent,
    Dose,
    Infusion,
    MissedDose,
    RateChange,
    Reading,
    Sample,
)
from dosetwin.platform.errors import UnitError, UnknownUnitError
from dosetwin.platform.topics import MAXIMUM_RECORD_BYTES, READINGS, partition_of
from dosetwin.platform.units import conversion
from dosetwin.stream_jobs.shard.patient import Patient, SequenceWindow
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.therapy import Quantity

VITAL_SIGNS: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("heart_rate", "/min", 10, 350),
        Quantity("systolic_pressure", "mm[Hg]", 20, 350),
        Quantity("diastolic_pressure", "mm[Hg]", 5, 250),
        Quantity("spo2", "%", 10, 100),
        Quantity("battery", "%", 0, 100),
        Quantity("reservoir", "U", 0, 1000),
        Quantity("carbohydrate", "g", 0, 500),
        Quantity("creatinine", "mg/dL", 0.05, 40),
    )
}
"""Quantities any patient's devices may report; they are checked and shown, whatever the therapy uses."""

UNIT_FREE = {"reservoir"}


@dataclass(frozen=True)
class Record:
    """A Kafka record as the shard takes it."""

    topic: str
    partition: int
    offset: int
    appended_ms: int
    key: bytes
    value: bytes

    @property
    def source(self) -> str:
        """The record as `topic/partition:offset`."""
        return f"{self.topic}/{self.partition}:{self.offset}"


@dataclass
class Refused(Exception):  # noqa: N818 - a verdict on a record, not an error of ours
    """A record, or a part of it, that becomes a dead letter."""

    reason: DeadLetterReason
    detail: str


@dataclass
class Intake:
    """Checks records; `patients` is the shard's roster.

    `facts` collect by therapy, aligned with `origins` (record and index within it) so that a fact which
    the twin finds too late can still become a dead letter.
    """

    clock: PlatformClock
    partitions: int
    future_tolerance_s: float
    patients: dict[str, Patient]
    facts: dict[str, list[tuple[str, TwinEvent]]] = field(default_factory=dict)
    origins: dict[str, list[tuple[Record, int]]] = field(default_factory=dict)
    touched: dict[str, Record] = field(default_factory=dict)
    dead_letters: list[tuple[DeadLetter, int]] = field(default_factory=list)
    samples: int = 0
    unknown: list[Record] = field(default_factory=list)
    sent_s: dict[str, float] = field(default_factory=dict)
    """Event time at which the device sent the newest record of a patient in this turn."""
    contained: dict[str, dict[str, int]] = field(default_factory=dict)
    """On recovery: by patient and topic, the offset before which its snapshot holds everything."""

    def clear(self) -> None:
        """Forget what the last turn collected."""
        self.facts = {}
        self.origins = {}
        self.touched = {}
        self.dead_letters = []
        self.samples = 0
        self.unknown = []
        self.sent_s = {}

    def refuse(self, record: Record, refused: Refused, index: int | None = None, patient: str = "") -> None:
        """Turn a record, or part `index` of it, into a dead letter."""
        letter = DeadLetter(
            reason=refused.reason,
            detail=refused.detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            at=instant(self.clock.event_s(record.appended_ms / 1000)),
            payload=record.value,
            key=record.key,
            index=index,
            patient=patient,
        )
        self.dead_letters.append((letter, record.partition))

    def decode(self, record: Record, contract: Any) -> Any:
        """The message of a record.

        Raises Refused for what is too large, malformed, of another contract version, or on a partition
        that is not its patient's.
        """
        if len(record.value) > MAXIMUM_RECORD_BYTES:
            raise Refused("too_large", f"{len(record.value)} bytes; at most {MAXIMUM_RECORD_BYTES} are taken")
        try:
            message = decoder(contract).decode(record.value)
        except msgspec.DecodeError as error:
            version = _contract_version(record.value)
            if version is not None and version != CONTRACT_VERSION:
                raise Refused(
                    "contract_version", f"contract {version}; this shard speaks {CONTRACT_VERSION}"
                ) from error
            raise Refused("malformed", str(error)) from error
        if message.contract != CONTRACT_VERSION:
            raise Refused(
                "contract_version", f"contract {message.contract}; this shard speaks {CONTRACT_VERSION}"
            )
        expected = partition_of(message.patient, self.partitions)
        if expected != record.partition:
            raise Refused(
                "wrong_partition",
                f"patient {message.patient} belongs to partition {expected}; found on {record.partition}",
            )
        return message

    def device_record(self, record: Record, *, final: bool = False) -> None:
        """Take a record of `readings` or `doses`: facts, or dead letters. Never raises for bad input.

        A record of a patient who is not enrolled is set aside in `unknown`, unless this is its `final`
        chance: its enrolment may have been written before it and not have been polled yet.
        """
        patient_id = ""
        try:
            message: DeviceEvent = self.decode(record, Reading if record.topic == READINGS.name else Dose)
            patient_id = message.patient
            patient = self.known(patient_id, record)
            if record.offset < self.contained.get(patient_id, {}).get(record.topic, 0):
                return
            self._first_time(patient, message, record)
            received_s = self.clock.event_s(record.appended_ms / 1000)
            latest_s = received_s + self.future_tolerance_s
            if message.sent_at.timestamp() > latest_s:
                raise Refused(
                    "future_time",
                    f"sent_at is {message.sent_at.timestamp() - received_s:.0f} s ahead of the platform's "
                    f"clock; at most {self.future_tolerance_s:.0f} s is taken",
                )
        except Refused as refused:
            if refused.reason == "unknown_patient" and not final:
                self.unknown.append(record)
            else:
                self.refuse(record, refused, patient=patient_id)
            return
        self.sent_s[patient_id] = message.sent_at.timestamp()
        parts: tuple[Sample, ...] | tuple[Administration, ...]
        parts = message.samples if isinstance(message, Reading) else message.administrations  # type: ignore[attr-defined]
        for index, part in enumerate(parts):
            try:
                at_s = part.at.timestamp()
                if at_s > latest_s:
                    raise Refused(
                        "future_time",
                        f"at is {at_s - received_s:.0f} s ahead of the platform's clock; "
                        f"at most {self.future_tolerance_s:.0f} s is taken",
                    )
                fact = (
                    self._observe(patient, part, at_s, record, message, index)
                    if isinstance(part, Sample)
                    else self._administer(patient, part, at_s, record, message, index)
                )
            except Refused as refused:
                self.refuse(record, refused, index, patient_id)
                continue
            self.samples += 1
            if fact is not None:
                self._add(patient, fact, record, index)

    def known(self, patient_id: str, record: Record) -> Patient:
        """The enrolled patient; Refused when there is none, or was none when the record was appended."""
        patient = self.patients.get(patient_id)
        if patient is None or not patient.state.enrolment.active:
            raise Refused("unknown_patient", f"{patient_id} is not enrolled")
        if record.appended_ms < patient.state.enrolled_ms:
            raise Refused("unknown_patient", f"{patient_id} was not yet enrolled when this was sent")
        return patient

    def _add(self, patient: Patient, fact: TwinEvent, record: Record, index: int) -> None:
        therapy = patient.therapy.id
        self.facts.setdefault(therapy, []).append((patient.state.enrolment.patient, fact))
        self.origins.setdefault(therapy, []).append((record, index))
        self.touched[patient.state.enrolment.patient] = record
        if fact.at_s > patient.state.newest_s:
            patient.state.newest_s = fact.at_s

    def _first_time(self, patient: Patient, message: DeviceEvent, record: Record) -> None:
        name = f"{record.topic}|{message.device}|{message.boot}"
        window = patient.windows.get(name)
        if window is None:
            window = patient.windows[name] = SequenceWindow()
            if len(patient.windows) > 64:
                del patient.windows[next(iter(patient.windows))]
        verdict = window.admit(message.sequence)
        if verdict == "duplicate":
            raise Refused(
                "duplicate", f"{message.device} boot {message.boot} sequence {message.sequence} came before"
            )
        if verdict == "too_late":
            raise Refused(
                "too_late",
                f"sequence {message.sequence} of {message.device} is {window.highest - message.sequence} "
                "messages behind; repeats can no longer be recognised",
            )

    def _observe(
        self, patient: Patient, sample: Sample, at_s: float, record: Record, message: DeviceEvent, index: int
    ) -> TwinEvent | None:
        quantity, moves = _quantity(patient, sample.quantity)
        value = _converted(sample.quantity, sample.value, sample.unit, quantity.unit)
        if not quantity.low <= value <= quantity.high:
            raise Refused(
                "impossible_value",
                f"{sample.quantity} is {sample.value:g} {sample.unit}; possible is "
                f"{quantity.low:g} to {quantity.high:g} {quantity.unit}",
            )
        if not moves:
            return None
        therapy = patient.therapy
        uid = fact_uid(record.topic, message, index)
        if quantity.name == "carbohydrate":
            return self._watched(patient, TwinEvent(at_s, "meal", "carbohydrate", value, uid))
        if quantity.name in {need.name for need in therapy.covariates}:
            return self._watched(patient, TwinEvent(at_s, "covariate", quantity.name, value, uid))
        patient.state.watch.read(quantity.name, value, at_s, suspect=sample.quality == "suspect")
        censored = 0 if sample.censored is None else -1 if sample.censored == "below" else 1
        return TwinEvent(at_s, "observation", quantity.name, value, uid, 0.0, censored)

    def _administer(
        self,
        patient: Patient,
        administration: Administration,
        at_s: float,
        record: Record,
        message: DeviceEvent,
        index: int,
    ) -> TwinEvent | None:
        if isinstance(administration, MissedDose):
            return None
        drug = next((drug for drug in patient.therapy.drugs if drug.name == administration.drug), None)
        if drug is None:
            known = ", ".join(drug.name for drug in patient.therapy.drugs)
            raise Refused(
                "unknown_drug",
                f"{administration.drug} is no drug of {patient.therapy.id}, which has {known}",
            )
        uid = fact_uid(record.topic, message, index)
        if isinstance(administration, RateChange):
            rate = _converted(drug.name, administration.rate, administration.unit, f"{drug.unit}/h")
            if rate > drug.maximum_amount:
                raise Refused(
                    "impossible_value",
                    f"{rate:g} {drug.unit}/h of {drug.name}; possible is up to {drug.maximum_amount:g}",
                )
            return self._watched(patient, TwinEvent(at_s, "rate", drug.name, rate, uid))
        amount = _converted(drug.name, administration.amount, administration.unit, drug.unit)
        if amount > drug.maximum_amount:
            raise Refused(
                "impossible_value",
                f"{amount:g} {drug.unit} of {drug.name} at once; possible is up to {drug.maximum_amount:g}",
            )
        if isinstance(administration, Infusion):
            infusion = TwinEvent(at_s, "infusion", drug.name, amount, uid, administration.duration_s)
            return self._watched(patient, infusion)
        assert isinstance(administration, Bolus)
        return self._watched(patient, TwinEvent(at_s, "bolus", drug.name, amount, uid))

    @staticmethod
    def _watched(patient: Patient, fact: TwinEvent) -> TwinEvent:
        """The fact, of which the safety supervisor knows from now on too."""
        patient.state.watch.give(fact)
        return fact


def records(batch: dict[Any, list[Any]], prefix: str) -> Iterator[Record]:
    """The records of a poll, topic names without the cluster's prefix."""
    for topic_partition, found in batch.items():
        topic = topic_partition.topic.removeprefix(prefix)
        for record in found:
            yield Record(
                topic,
                record.partition,
                record.offset,
                record.timestamp,
                record.key or b"",
                record.value or b"",
            )


def _quantity(patient: Patient, name: str) -> tuple[Quantity, bool]:
    """The quantity of that name, and whether it moves this patient's twin."""
    therapy = patient.therapy
    for quantity in therapy.observed:
        if quantity.name == name:
            return quantity, True
    for quantity in therapy.context:
        if quantity.name == name:
            return quantity, False
    vital = VITAL_SIGNS.get(name)
    if vital is not None:
        moves = any(need.name == name for need in therapy.covariates) or (
            name == "carbohydrate" and therapy.sensor == "dense" and not therapy.monitoring
        )
        return vital, moves
    raise Refused("unknown_quantity", f"{name} is observed neither by {therapy.id} nor by any device kind")


def _converted(name: str, value: float, unit: str, canonical: str) -> float:
    if unit == canonical or name in UNIT_FREE:
        converted = value
    else:
        try:
            factor, offset = conversion(name, unit, canonical)
        except UnknownUnitError as error:
            raise Refused("unknown_unit", str(error)) from error
        except UnitError as error:
            raise Refused("wrong_dimension", str(error)) from error
        converted = value * factor + offset
    if not math.isfinite(converted):
        raise Refused("impossible_value", f"{name} is {value}")
    return converted


def fact_uid(topic: str, message: DeviceEvent, index: int = 0) -> int:
    """Identify part `index` of a message: a function of topic, device, boot and sequence alone."""
    text = f"{topic}|{message.device}|{message.boot}|{message.sequence}|{index}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _contract_version(payload: bytes) -> int | None:
    try:
        found = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return None
    version = found.get("contract") if isinstance(found, dict) else None
    return version if isinstance(version, int) else None
