"""Who a shard looks after: patients by pseudonym, their banks by therapy, their chunks by partition."""

from __future__ import annotations

from collections.abc import Iterable

from dosetwin.platform.clock import PlatformClock
from dosetwin.platform.contracts import Enrolment
from dosetwin.platform.errors import DoseTwinError
from dosetwin.stream_jobs.shard.intake import Record, Refused
from dosetwin.stream_jobs.shard.patient import Patient, PatientState, SequenceWindow
from dosetwin.stream_jobs.shard.snapshots import Chunk, ChunkContent, PatientEntry
from dosetwin.twins.bank import Bank
from dosetwin.twins.therapies import load_therapy

SEED = 0
"""Every bank's random keys start here; with the patient's and the fact's ids they are the same anywhere."""


class Roster:
    """Patients, banks and chunks of the partitions that a shard owns."""

    def __init__(self, clock: PlatformClock, chunk_patients: int) -> None:
        self.patients: dict[str, Patient] = {}
        self.banks: dict[str, Bank] = {}
        self.chunks: dict[int, dict[int, Chunk]] = {}
        self._clock = clock
        self._chunk_patients = chunk_patients

    def bank(self, therapy: str) -> Bank:
        """The bank of a therapy, made when it is first needed."""
        bank = self.banks.get(therapy)
        if bank is None:
            bank = self.banks[therapy] = load_therapy(therapy).make_bank(64, SEED)
        return bank

    def enrol(self, enrolment: Enrolment, record: Record) -> Patient | None:
        """Take an enrolment: a new patient, a newer version of one, or a withdrawal.

        Returns the patient it is now active for, None for a withdrawal. Raises Refused when the enrolment
        does not hold (`bad_enrolment`) or is no newer than the one known (`stale_enrolment`).
        """
        patient = self.patients.get(enrolment.patient)
        if patient is not None and enrolment.version <= patient.state.enrolment.version:
            raise Refused(
                "stale_enrolment",
                f"version {enrolment.version}; version {patient.state.enrolment.version} is in force",
            )
        try:
            if patient is None:
                state = PatientState(enrolment, record.appended_ms, 0)
                patient = Patient(state, record.partition)
                state.chunk = self._place(enrolment.patient, record.partition)
                self.patients[enrolment.patient] = patient
            else:
                previous = patient.therapy.id
                patient.adopt(enrolment)
                if previous != patient.therapy.id:
                    self.banks[previous].withdraw(enrolment.patient)
        except DoseTwinError as error:
            raise Refused("bad_enrolment", str(error)) from error
        self.chunks[record.partition][patient.state.chunk].dirty = True
        bank = self.bank(patient.therapy.id)
        if not enrolment.active:
            if enrolment.patient in bank:
                bank.withdraw(enrolment.patient)
            return None
        self._admit(patient)
        return patient

    def restore(self, partition: int, number: int, content: ChunkContent, written_s: float) -> list[str]:
        """Take a chunk out of a snapshot; returns its patients."""
        chunk = Chunk(partition, number)
        chunk.written_s = written_s
        self.chunks.setdefault(partition, {})[number] = chunk
        for patient_id, entry in content.patients.items():
            patient = Patient(entry.state, partition)
            patient.windows = {name: SequenceWindow.unpacked(*w) for name, w in entry.windows.items()}
            self.patients[patient_id] = patient
            chunk.patients.append(patient_id)
        for therapy, payload in content.twins.items():
            self.bank(therapy).restore(payload)
        return chunk.patients

    def release(self, partition: int) -> None:
        """Forget a partition that another shard owns now."""
        for chunk in self.chunks.pop(partition, {}).values():
            for patient_id in chunk.patients:
                patient = self.patients.pop(patient_id, None)
                if patient is not None and patient_id in self.banks.get(patient.therapy.id, ()):
                    self.banks[patient.therapy.id].withdraw(patient_id)

    def entries(self, chunk: Chunk) -> dict[str, PatientEntry]:
        """A chunk's patients as a snapshot holds them."""
        return {
            patient_id: PatientEntry(
                self.patients[patient_id].state,
                {name: window.packed() for name, window in self.patients[patient_id].windows.items()},
            )
            for patient_id in chunk.patients
        }

    def mark(self, patients: Iterable[str]) -> None:
        """Note that these patients changed since their chunk was written."""
        for patient_id in patients:
            patient = self.patients[patient_id]
            self.chunks[patient.partition][patient.state.chunk].dirty = True

    def _admit(self, patient: Patient) -> None:
        enrolment = patient.state.enrolment
        self.bank(patient.therapy.id).enrol(
            enrolment.patient,
            at_s=enrolment.at.timestamp(),
            covariates=patient.covariates,
            # a policy may know the limits and plan within them; the supervisor holds to them all the same
            targets={name: bound.value for name, bound in (patient.limits | patient.targets).items()},
        )

    def _place(self, patient_id: str, partition: int) -> int:
        chunks = self.chunks.setdefault(partition, {})
        for number, chunk in reversed(chunks.items()):
            if len(chunk.patients) < self._chunk_patients:
                chunk.patients.append(patient_id)
                return number
        number = max(chunks, default=-1) + 1
        chunks[number] = Chunk(partition, number)
        chunks[number].patients.append(patient_id)
        return number
