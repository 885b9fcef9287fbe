"""Subjects and datasets: what happened to each patient, in rows that mean what NONMEM's mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

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


class Problem(NamedTuple):
    """One thing wrong in a table of records."""

    row: int
    """1-based, of the data rows (without header and comments); 0: the table as a whole."""
    line: int
    """1-based line of the file; 0: not from a file."""
    column: str
    """As the table writes it; empty: the whole row."""
    found: str
    expected: str
    remedy: str


class RecordError(DoseTwinError):
    """A record that cannot mean anything: names row, column, what was found and what was expected.

    `problems`: from a reader all that it found, in the order of the rows (the first 20).
    """

    def __init__(self, message: str, *, remedy: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = tuple(problems)


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
    """Row each record came from (1-based, without header and comments), for messages."""
    covariates: Mapping[str, Values] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.time)

    @property
    def observed(self) -> npt.NDArray[np.bool_]:
        """Which records carry an observation to be fitted."""
        carried: npt.NDArray[np.bool_] = (self.evid == OBSERVATION) & np.isfinite(self.dv)
        return carried


@dataclass(frozen=True)
class Dataset:
    """Subjects with the same columns. `time_unit` is a label ("h", "d"): parameters must be in it.

    `notes`: what a reader left out, filled in or took in a way that the table does not spell out.
    """

    subjects: tuple[Subject, ...]
    time_unit: str = "h"
    source: str = ""
    notes: tuple[str, ...] = ()

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
        first = self.subjects[0].covariates if self.subjects else ()
        return tuple(name for name in first if all(name in subject.covariates for subject in self.subjects))

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
    id: str,
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
    for name, course in courses.items():
        if not course or not all(math.isfinite(value) and not math.isnan(at) for at, value in course):
            raise RecordError(
                f"subject {id}: found covariate {name} = {given[name]}; expected a finite number, "
                "or (time, value) pairs, at least one"
            )
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
        if isinstance(what, Observation):
            _check_observation(id, what)
    R = len(rows)
    arrays: dict[str, Any] = {
        name: np.zeros(R) for name in ("amount", "rate", "duration", "dv", "lower", "interval")
    }
    arrays["dv"][:] = np.nan
    arrays["lower"][:] = np.nan
    codes: dict[str, Any] = {
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
    times = np.array([entry[0] for entry in rows], np.float64)
    columns = {}
    for name, course in courses.items():
        starts = np.array([t for t, _ in course])
        place = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)
        columns[name] = np.array([v for _, v in course], np.float64)[place]
    return Subject(
        id=id, time=times, row=np.arange(1, R + 1), covariates=MappingProxyType(columns), **arrays, **codes
    )


def _check_dose(id: str, dose: Dose) -> None:
    if not (math.isfinite(dose.amount) and dose.amount >= 0):
        raise RecordError(f"subject {id}: found dose {dose.amount}; expected a number of 0 or more")
    if not (math.isfinite(dose.rate) and (dose.rate >= 0 or dose.rate in (RATE_MODELLED, DURATION_MODELLED))):
        raise RecordError(
            f"subject {id}: found rate {dose.rate}; expected 0 or more, -1 (rate by the model) or "
            "-2 (duration by the model)"
        )
    if not (math.isfinite(dose.duration) and dose.duration >= 0):
        raise RecordError(f"subject {id}: found duration {dose.duration}; expected a number of 0 or more")
    if dose.rate != 0 and dose.duration > 0:
        raise RecordError(f"subject {id}: found both a rate and a duration of a dose; expected one of them")
    if dose.additional < 0 or dose.compartment < 0 or dose.interval < 0:
        raise RecordError(f"subject {id}: found {dose}; expected compartment, interval, additional 0 or more")
    if dose.additional and dose.interval <= 0:
        raise RecordError(f"subject {id}: found {dose.additional} additional doses without an interval")
    if dose.steady_state not in (0, 1, 2):
        raise RecordError(f"subject {id}: found steady_state {dose.steady_state}; expected 0, 1 or 2")
    for_ever = dose.amount == 0 and dose.rate > 0 and not dose.interval
    if dose.steady_state and not (dose.interval > 0 or for_ever):
        raise RecordError(
            f"subject {id}: found a steady-state dose without an interval; expected an interval above 0, or "
            "an infusion without end (amount 0, a rate above 0, interval 0)"
        )


def _check_observation(id: str, observation: Observation) -> None:
    value = observation.value
    if observation.censored not in (BELOW, MEASURED, ABOVE) or (observation.censored and value is None):
        raise RecordError(
            f"subject {id}: found censored {observation.censored} with value {value}; expected -1 (below the "
            "value), 0 or 1 (above it), and a value where it is not 0"
        )
    if value is not None and math.isinf(value):
        raise RecordError(f"subject {id}: found value {value}; expected a finite number, or None")
