"""One patient gathered from the topics: enrolment, twin, history, commands, alerts."""

from __future__ import annotations

from dataclasses import dataclass, field

from dosetwin.platform.alert_state import AlertBook
from dosetwin.platform.command_state import CommandBook
from dosetwin.platform.contracts import (
    Acknowledgement,
    Action,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    Command,
    DeadLetter,
    Dose,
    Enrolment,
    Forecast,
    Proposal,
    Reading,
)
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topic_reader import read_to_end
from dosetwin.platform.topics import (
    ACKNOWLEDGEMENTS,
    ACTIONS,
    ALERTS,
    COMMANDS,
    DEAD_LETTERS,
    DOSES,
    ENROLMENTS,
    FORECASTS,
    READINGS,
    partition_of,
)


@dataclass
class PatientRecord:
    """What the topics say of one patient; readings and doses in the order of arrival."""

    patient: str
    enrolment: Enrolment | None = None
    forecast: Forecast | None = None
    readings: list[Reading] = field(default_factory=list)
    doses: list[Dose] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    commands: CommandBook = field(default_factory=CommandBook)
    alerts: AlertBook = field(default_factory=AlertBook)

    @property
    def is_empty(self) -> bool:
        """Whether no topic mentions the patient."""
        return self.enrolment is None and not (
            self.readings or self.doses or self.forecast or self.dead_letters
        )


def gather(kafka: KafkaSettings, patient: str) -> PatientRecord:
    """Read the patient's partition of every topic to its present end. Raises like `read_to_end`."""
    record = PatientRecord(patient)
    sources = (
        ENROLMENTS,
        FORECASTS,
        READINGS,
        DOSES,
        COMMANDS,
        ACKNOWLEDGEMENTS,
        ACTIONS,
        ALERTS,
        DEAD_LETTERS,
    )
    place = [partition_of(patient, kafka.partitions)]
    for item in read_to_end(kafka, sources, place, containing=patient.encode()):
        message = item.message
        if getattr(message, "patient", None) != patient:
            continue
        match message:
            case Enrolment():
                if record.enrolment is None or message.version >= record.enrolment.version:
                    record.enrolment = message
            case Forecast():
                record.forecast = message
            case Reading():
                record.readings.append(message)
            case Dose():
                record.doses.append(message)
            case Command() | Proposal() | Acknowledgement():
                record.commands.add(message)
            case Action():
                record.commands.add(message)
                record.actions.append(message)
            case AlertRaised() | AlertEscalated() | AlertAcknowledged() | AlertCleared():
                record.alerts.add(message)
            case DeadLetter():
                record.dead_letters.append(message)
    return record


def enrolled(kafka: KafkaSettings) -> list[Enrolment]:
    """The newest enrolment of every patient, by pseudonym."""
    newest: dict[str, Enrolment] = {}
    for item in read_to_end(kafka, [ENROLMENTS]):
        message = item.message
        if isinstance(message, Enrolment):
            before = newest.get(message.patient)
            if before is None or message.version >= before.version:
                newest[message.patient] = message
    return sorted(newest.values(), key=lambda enrolment: enrolment.patient)
