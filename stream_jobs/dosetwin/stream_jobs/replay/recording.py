"""What was recorded of patients: covariates, doses, levels, each with its time; and the checks on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.therapies import load_therapy


class RecordingError(DoseTwinError):
    """Recorded data cannot be replayed: a value is missing, malformed or impossible."""


@dataclass(frozen=True)
class RecordedDose:
    """At `at_h`: `amount` at once, or over `duration_h`; or, for kind "rate", `amount` per hour from then on.

    Amounts are in the drug's canonical unit.
    """

    at_h: float
    kind: Literal["bolus", "infusion", "rate"]
    amount: float
    duration_h: float = 0.0


@dataclass(frozen=True)
class RecordedLevel:
    """A concentration in the therapy's canonical unit; `censored` as in a reading's sample."""

    at_h: float
    value: float
    censored: Literal["below", "above"] | None = None


@dataclass
class RecordedPatient:
    """One patient; times are hours from the patient's own start. `covariates` hold from their time on."""

    local_id: str
    covariates: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    doses: list[RecordedDose] = field(default_factory=list)
    levels: list[RecordedLevel] = field(default_factory=list)

    @property
    def first_h(self) -> float:
        """When the first thing happens (a dose before the start may have been reconstructed)."""
        times = [c[0] for c in self.covariates] + [d.at_h for d in self.doses] + [x.at_h for x in self.levels]
        return min(times, default=0.0)

    @property
    def last_h(self) -> float:
        """When the last thing happens."""
        times = [c[0] for c in self.covariates] + [d.at_h for d in self.doses] + [x.at_h for x in self.levels]
        return max(times, default=0.0)

    def note(self, at_h: float, covariates: dict[str, float]) -> None:
        """Add covariates, where they differ from the last ones."""
        if not self.covariates or self.covariates[-1][1] != covariates:
            self.covariates.append((at_h, covariates))


@dataclass(frozen=True)
class DataSet:
    """A named set of recorded patients on one therapy; `remark` says what a reader must know of it."""

    name: str
    therapy: str
    patients: tuple[RecordedPatient, ...]
    remark: str = ""

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return sum(len(patient.levels) for patient in self.patients)

    def check(self) -> None:
        """Raise RecordingError unless every patient has what the therapy needs, within its bounds."""
        therapy = load_therapy(self.therapy)
        if not therapy.observed or (not therapy.monitoring and therapy.sensor != "sparse"):
            raise RecordingError(
                f"therapy {self.therapy} has a dense sensor; expected one with drug levels",
                remedy="replay works with vancomycin, remifentanil, quinidine and phenobarbital",
            )
        for patient in self.patients:
            if not patient.covariates:
                raise RecordingError(f"patient {patient.local_id} has no covariates at all")
            for at_h, given in patient.covariates:
                for need in therapy.covariates:
                    value = given.get(need.name, need.default)
                    if value is None or not need.low <= value <= need.high:
                        raise RecordingError(
                            f"patient {patient.local_id}, {at_h:g} h: {need.name} is {value}; "
                            f"expected {need.low:g} to {need.high:g} {need.unit}",
                            remedy="correct the column, or leave the patient out",
                        )
