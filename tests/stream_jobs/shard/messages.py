"""Real messages for the tests of the shard."""

from __future__ import annotations

from typing import Any

from dosetwin.platform.clock import instant
from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import Dose, EnrolledDevice, Enrolment, Measure, Mode, Reading, Sample
from dosetwin.platform.pseudonym import pseudonym
from dosetwin.platform.topics import DOSES, ENROLMENTS, READINGS, partition_of
from dosetwin.stream_jobs.shard.intake import Record

START_S = 1_760_000_000.0
KEY = b"a key for tests"


def patient_id(number: int) -> str:
    """The pseudonym of a test patient."""
    return pseudonym(f"patient-{number}", KEY)


def enrolment(
    number: int,
    *,
    therapy: str = "t1d-insulin",
    mode: Mode = "autonomous",
    version: int = 1,
    limits: dict[str, Measure] | None = None,
) -> Enrolment:
    """A patient with a pump."""
    covariates = {"weight": Measure(75.0, "kg"), "total_daily_dose": Measure(42.0, "U")}
    if therapy == "vancomycin":
        covariates = {
            "weight": Measure(80.0, "kg"),
            "age": Measure(60.0, "a"),
            "height": Measure(175.0, "cm"),
            "sex": Measure(1.0, "1"),
            "creatinine": Measure(88.4, "umol/L"),
        }
    kind = "insulin_pump" if therapy == "t1d-insulin" else "infusion_pump"
    return Enrolment(
        patient=patient_id(number),
        version=version,
        therapy=therapy,
        mode=mode,
        at=instant(START_S),
        covariates=covariates,
        limits=limits or {},
        devices=(EnrolledDevice(device=f"pump-{number}", kind=kind, commands=True),),
    )


def reading(number: int, sequence: int, *samples: Sample, boot: str = "b1", sent_s: float = 0.0) -> Reading:
    """A message of a patient's sensor."""
    at = instant(sent_s) if sent_s else max(sample.at for sample in samples)
    return Reading(
        patient=patient_id(number),
        device=f"cgm-{number}",
        boot=boot,
        sequence=sequence,
        sent_at=at,
        samples=samples,
    )


def glucose(value: float, at_s: float, unit: str = "mg/dL") -> Sample:
    """A sample of a continuous glucose monitor."""
    return Sample(quantity="glucose", value=value, unit=unit, at=instant(at_s))


def dose(number: int, sequence: int, *administrations: Any, sent_s: float) -> Dose:
    """A report of a patient's pump."""
    return Dose(
        patient=patient_id(number),
        device=f"pump-{number}",
        boot="b1",
        sequence=sequence,
        sent_at=instant(sent_s),
        administrations=administrations,
    )


def record(message: Any, offset: int, *, partitions: int = 4, appended_s: float = 0.0) -> Record:
    """The message as the shard polls it; `appended_s` defaults to when it was sent."""
    topics: dict[Any, str] = {Enrolment: ENROLMENTS.name, Reading: READINGS.name, Dose: DOSES.name}
    topic = topics[type(message)]
    if not appended_s:
        appended_s = START_S if isinstance(message, Enrolment) else message.sent_at.timestamp()
    return Record(
        topic,
        partition_of(message.patient, partitions),
        offset,
        int(appended_s * 1000),
        message.patient.encode(),
        encode(message),
    )
