"""Subjects and datasets: what happened to each patient, in rows that mean what NONMEM's mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dosetwin.platform.errors import DoseTwinError

Values = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

OBSERVATION, DOSE, OTHER, RESET, RESET_AND_DOSE = 0, 1, 2, 3, 4
"""EVID."""
RATE_MODELLED, DURATION_MODELLED = -1.0, -2.0
"""RATE."""
BELOW, MEASURED, ABOVE = -1, 0, 1
"""`Subject.censored`: the true value is below `dv`, is `dv`, is above `dv`."""


class RecordError(DoseTwinError):
    """A record that cannot mean anything: names row, column, what was found and what was expected."""


@dataclass(frozen=True)
class Subject:
    """One patient's records in file order; R rows, times ascending between resets. All arrays [R].

    time: in the dataset's time unit. evid: 0 observation, 1 dose, 2 other, 3 reset, 4 reset and dose.
    amount, rate (> 0 given, -1 rate modelled, -2 duration modelled), duration (> 0 given instead of a rate).
    compartment: 1-based, 0 = the structure's default. dv: the observed value (NaN where there is none; for
    a censored one the limit). censored: -1 below dv, +1 above. lower: for dv censored below, the value it
    cannot be under (NaN: none). steady_state: 0, 1, 2. interval, additional: II and ADDL. output: 1-based
    index into the model's `observed`, 0 = by compartment, else the first. occasion: any integers, used for
    inter-occasion variability. covariates: name -> [R].
    """

    id: str
    time: Values
    evid: Codes
    amount: Values
    rate: Values
    duration: Values
    compartment: Codes
    dv: Values
    censored: Codes
    lower: Values
    steady_state: Codes
    interval: Values
    additional: Codes
    output: Codes
    occasion: Codes
    row: Codes
    """Row of the file each record came from (1-based, without the header), for messages."""
    covariates: Mapping[str, Values] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.time)

    @property
    def observed(self) -> npt.NDArray[np.bool_]:
        """Which records carry an observation to be fitted."""
        return (self.evid == OBSERVATION) & np.isfinite(self.dv)


@dataclass(frozen=True)
class Dataset:
    """Subjects with the same columns. `time_unit` is a label ("h", "d"): parameters must be in it."""

    subjects: tuple[Subject, ...]
    time_unit: str = "h"
    source: str = ""

    def __len__(self) -> int:
        return len(self.subjects)

    def __iter__(self) -> Iterator[Subject]:
        return iter(self.subjects)

    def __getitem__(self, key: int | str) -> Subject:
        if isinstance(key, int):
            return self.subjects[key]
        for subject in self.subjects:
            if subject.id == key:
                return subject
        raise KeyError(key)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates that every subject has."""
        return tuple(self.subjects[0].covariates) if self.subjects else ()

    @property
    def observations(self) -> int:
        """How many observations are to be fitted."""
        return int(sum(subject.observed.sum() for subject in self.subjects))


@dataclass(frozen=True)
class Dose:
    """A dose for `Subject` built by hand: `amount` at `time`, as a bolus or over `duration` or at `rate`."""

    time: float
    amount: float
    rate: float = 0.0
    duration: float = 0.0
    compartment: int = 0
    interval: float = 0.0
    additional: int = 0
    steady_state: int = 0
    occasion: int = 1


@dataclass(frozen=True)
class Observation:
    """An observation for a `Subject` built by hand; `value` None asks for a prediction at `time`.

    censored: -1 the true value is below `value`, +1 above. `output`: 1-based index into `observed`.
    """

    time: float
    value: float | None = None
    censored: int = MEASURED
    output: int = 1
    occasion: int = 1


def subject(
    id: str,  # noqa: A002 - the column's name in every dataset
    doses: Sequence[Dose],
    observations: Sequence[Observation],
    covariates: Mapping[str, float | Sequence[tuple[float, float]]] | None = None,
) -> Subject:
    """A subject from doses and observations; a covariate is one number or (time, value) pairs.

    A pair's value holds from its time on; the first also before it. At equal times covariates come first,
    then observations (a trough), then doses. Raises RecordError where a time or an amount is impossible.
    """
    rows: list[tuple[float, int, Any]] = [(o.time, 1, o) for o in observations]
    rows += [(d.time, 2, d) for d in doses]
    given = dict(covariates or {})
    courses = {
        name: sorted(value) if isinstance(value, Sequence) else [(-math.inf, float(value))]
        for name, value in given.items()
    }
    known = {time for time, _, _ in rows}
    rows += [
        (time, 0, None)
        for time in sorted({t for course in courses.values() for t, _ in course if math.isfinite(t)})
        if time not in known
    ]
    rows.sort(key=lambda entry: entry[:2])
    for time, _, what in rows:
        if not math.isfinite(time):
            raise RecordError(f"subject {id}: found time {time} of {what}; expected a finite number")
    R = len(rows)
    arrays: dict[str, Any] = {
        name: np.zeros(R) for name in ("amount", "rate", "duration", "dv", "lower", "interval")
    }
    arrays["dv"][:] = np.nan
    arrays["lower"][:] = np.nan
    codes = {
        name: np.zeros(R, np.int64)
        for name in ("evid", "compartment", "censored", "steady_state", "additional", "output", "occasion")
    }
    codes["occasion"][:] = 1
    for k, (_, _, what) in enumerate(rows):
        if isinstance(what, Dose):
            _check_dose(id, what)
            codes["evid"][k] = DOSE
            for name in ("amount", "rate", "duration", "interval"):
                arrays[name][k] = getattr(what, name)
            for name in ("compartment", "steady_state", "additional", "occasion"):
                codes[name][k] = getattr(what, name)
        elif isinstance(what, Observation):
            codes["evid"][k] = OBSERVATION
            arrays["dv"][k] = np.nan if what.value is None else what.value
            for name in ("censored", "output", "occasion"):
                codes[name][k] = getattr(what, name)
        else:
            codes["evid"][k] = OTHER
            codes["occasion"][k] = codes["occasion"][k - 1] if k else 1
    time = np.array([entry[0] for entry in rows], np.float64)
    columns = {}
    for name, course in courses.items():
        starts = np.array([t for t, _ in course])
        place = np.maximum(np.searchsorted(starts, time, side="right") - 1, 0)
        columns[name] = np.array([v for _, v in course], np.float64)[place]
    return Subject(
        id=id, time=time, row=np.arange(1, R + 1), covariates=MappingProxyType(columns), **arrays, **codes
    )


def _check_dose(id: str, dose: Dose) -> None:  # noqa: A002
    if not (math.isfinite(dose.amount) and dose.amount >= 0):
        raise RecordError(f"subject {id}: found dose {dose.amount}; expected a number of 0 or more")
    if dose.rate > 0 and dose.duration > 0:
        raise RecordError(f"subject {id}: found both a rate and a duration of a dose; expected one of them")
    if dose.additional and dose.interval <= 0:
        raise RecordError(f"subject {id}: found {dose.additional} additional doses without an interval")
