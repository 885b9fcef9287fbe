"""A recorded data set as the messages its devices would have sent, anchored in the past, in event order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import (
    Administration,
    Bolus,
    Dose,
    EnrolledDevice,
    Enrolment,
    Infusion,
    Measure,
    RateChange,
    Reading,
    Sample,
)
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.stream_jobs.replay.recording import DataSet, RecordedDose, RecordedPatient
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import Drug, Therapy

MARGIN_S = 3600.0
"""How far before now the last recorded event is put."""
BOOT = "recording"
ROUTES = {"quinidine": "oral"}


@dataclass(frozen=True)
class Anchored:
    """A recorded patient under its pseudonym; `start_s` is the event time of its hour 0."""

    patient: str
    start_s: float
    recorded: RecordedPatient


def anchor(data_set: DataSet, key: bytes, now_s: float) -> list[Anchored]:
    """Pseudonyms, and one common hour 0 so far back that nothing lies in the future."""
    last_h = max((patient.last_h for patient in data_set.patients), default=0.0)
    start_s = float(int(now_s - MARGIN_S - last_h * 3600))
    return [Anchored(pseudonym(p.local_id, key), start_s, p) for p in data_set.patients]


def enrolments(data_set: DataSet, anchored: Anchored) -> Iterator[Enrolment]:
    """The enrolment, and a new version of it whenever covariates changed."""
    therapy = load_therapy(data_set.therapy)
    units = {need.name: need.unit for need in therapy.covariates}
    for version, (at_h, values) in enumerate(anchored.recorded.covariates, start=1):
        first_h = min(at_h, anchored.recorded.first_h) if version == 1 else at_h
        yield Enrolment(
            patient=anchored.patient,
            version=version,
            therapy=data_set.therapy,
            mode="shadow",
            at=instant(anchored.start_s + first_h * 3600),
            ward=f"replay of {data_set.name}",
            covariates={name: Measure(value, units[name]) for name, value in values.items() if name in units},
            devices=(
                EnrolledDevice(device=pump(anchored), kind="replay"),
                EnrolledDevice(device=laboratory(anchored), kind="replay"),
            ),
        )


def device_messages(data_set: DataSet, anchored: Anchored) -> list[Dose | Reading]:
    """Every dose and level as a message of its own, in event time; a level before a dose of the same time."""
    therapy = load_therapy(data_set.therapy)
    quantity = therapy.observed[0]
    timed: list[tuple[float, int, Dose | Reading]] = []
    for sequence, dose in enumerate(anchored.recorded.doses):
        at = instant(anchored.start_s + dose.at_h * 3600)
        message = Dose(
            patient=anchored.patient,
            device=pump(anchored),
            boot=BOOT,
            sequence=sequence,
            sent_at=at,
            administrations=(_administration(therapy, dose, at),),
        )
        timed.append((dose.at_h, 1, message))
    for sequence, level in enumerate(anchored.recorded.levels):
        at = instant(anchored.start_s + level.at_h * 3600)
        sample = Sample(
            quantity=quantity.name, value=level.value, unit=quantity.unit, at=at, censored=level.censored
        )
        reading = Reading(
            patient=anchored.patient,
            device=laboratory(anchored),
            boot=BOOT,
            sequence=sequence,
            sent_at=at,
            samples=(sample,),
        )
        timed.append((level.at_h, 0, reading))
    return [message for _, _, message in sorted(timed, key=lambda item: item[:2])]


def pump(anchored: Anchored) -> str:
    """The device that reports the doses."""
    return f"replay-pump-{anchored.patient[2:10]}"


def laboratory(anchored: Anchored) -> str:
    """The device that reports the levels."""
    return f"replay-laboratory-{anchored.patient[2:10]}"


def _administration(therapy: Therapy, dose: RecordedDose, at: datetime) -> Administration:
    drug: Drug = therapy.drugs[0]
    route = ROUTES.get(drug.name, "intravenous")
    if dose.kind == "rate":
        return RateChange(drug=drug.name, route=route, rate=dose.amount, unit=f"{drug.unit}/h", at=at)
    if dose.kind == "infusion":
        return Infusion(
            drug=drug.name,
            route=route,
            amount=dose.amount,
            unit=drug.unit,
            at=at,
            duration_s=dose.duration_h * 3600,
        )
    return Bolus(drug=drug.name, route=route, amount=dose.amount, unit=drug.unit, at=at)
