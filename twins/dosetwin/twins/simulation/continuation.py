"""A subject's records with more put in: times at which to predict, doses that are planned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.subject import (
    DOSE,
    OBSERVATION,
    OTHER,
    RESET,
    RESET_AND_DOSE,
    Dose,
    RecordError,
    Subject,
)
from dosetwin.twins.population_model import PopulationModel

Values = npt.NDArray[np.float64]
Occasion = Literal["last", "new"] | int
"""Of records after the last one: the same occasion as it, one of its own, or one by its number."""


def with_records(
    model: PopulationModel,
    subject: Subject,
    *,
    times: Sequence[float] | Values = (),
    changes: Sequence[float] | Values = (),
    doses: Sequence[Dose] = (),
    output: int = 1,
    occasion: Occasion = "last",
    covariates: Mapping[str, float] | None = None,
) -> Subject:
    """`subject` with prediction records at `times`, other records (EVID 2) at `changes`, and `doses`.

    Inside the history a new record takes the covariates and the occasion that hold there anyway (of the next
    record, or of the one before, by the model's interpolation), so that nothing else changes. After the last
    record it takes the last ones, or `covariates` and `occasion`. At equal times predictions come first (a
    trough), then `changes`, then what there was, then `doses`. Times count from the subject's last reset that
    set the clock back. Raises RecordError for a time before that, or one that is not finite.
    """
    R = len(subject)
    back = np.flatnonzero(np.diff(subject.time) < 0)
    first = int(back[-1]) + 1 if len(back) else 0
    clock = subject.time[first:]
    new_occasion = _occasion(subject, occasion)
    known = set(subject.covariates)
    unknown = sorted(set(covariates or {}) - known)
    if unknown:
        raise RecordError(
            f"subject {subject.id}: found planned covariates {', '.join(unknown)}; expected those of its "
            f"records: {', '.join(sorted(known)) or 'none'}"
        )
    missing = sorted(known - set(covariates or {}))
    if not R and missing:
        raise RecordError(
            f"subject {subject.id} has no record: found no value of {', '.join(missing)}; expected one each",
            remedy="give covariates={...}, or the subject's covariates as (time, value) pairs",
        )
    rows: list[tuple[float, int, int, int, Any]] = []  # time, order at one time, place, EVID, what it is from
    for order, kind, moments in ((0, OBSERVATION, times), (1, OTHER, changes), (3, DOSE, doses)):
        for what in moments:
            at = what.time if isinstance(what, Dose) else float(what)
            if not math.isfinite(at) or (first > 0 and at < clock[0]):
                raise RecordError(
                    f"subject {subject.id}: found a record at {at}; expected a finite time"
                    + (f" from its last reset on ({clock[0]:g})" if first else "")
                )
            side: Literal["left", "right"] = "right" if kind == DOSE else "left"
            place = first + int(np.searchsorted(clock, at, side=side))
            rows.append((at, order, place, kind, what))
    rows.sort(key=lambda row: (row[2], row[0], row[1]))
    # a new row stands right before the old row of its place
    places = np.array([row[2] for row in rows], np.int64)
    position = np.concatenate([places, np.arange(R)])
    order_ = np.argsort(position, kind="stable")
    is_new = order_ < len(rows)
    new = np.flatnonzero(is_new)
    behind = is_new & (model.interpolation == "last_value_forward")
    held = np.clip(position[order_] - behind, 0, max(R - 1, 0))
    columns: dict[str, Any] = {}
    for f in fields(subject):
        if f.name in ("id", "covariates"):
            continue
        column = getattr(subject, f.name)
        blank = np.nan if f.name in ("dv", "lower") else 0
        columns[f.name] = np.where(is_new, blank, column[held] if R else blank).astype(column.dtype)
    after = places == R
    columns["occasion"][new] = np.where(
        after, new_occasion, subject.occasion[held[new]] if R else new_occasion
    )
    given = dict(covariates or {})
    courses = {}
    for name, values in subject.covariates.items():
        course = values[held] if R else np.full(len(rows), np.nan)
        if name in given:
            course[new[after]] = given[name]
        courses[name] = course
    for at_row, (at, _, _, kind, what) in zip(new, rows, strict=True):
        columns["time"][at_row] = at
        columns["evid"][at_row] = kind
        columns["output"][at_row] = output
        if isinstance(what, Dose):
            for name in ("amount", "rate", "duration", "interval"):
                columns[name][at_row] = getattr(what, name)
            for name in ("compartment", "steady_state", "additional"):
                columns[name][at_row] = getattr(what, name)
    return replace(subject, covariates=MappingProxyType(courses), **columns)


def without_doses_from(subject: Subject, start: float) -> Subject:
    """The subject without doses at `start` or later; additional doses (ADDL) end before it too.

    An infusion that runs at `start` runs on. Records keep their places: a dose becomes EVID 2 (a reset 3).
    """
    dosing = (subject.evid == DOSE) | (subject.evid == RESET_AND_DOSE)
    back = np.flatnonzero(np.diff(subject.time) < 0)
    last = np.arange(len(subject)) > (back[-1] if len(back) else -1)
    later = dosing & (subject.time >= start) & last
    interval = np.where(subject.interval > 0, subject.interval, np.inf)
    fits = np.ceil((start - subject.time) / interval * (1 - 1e-12)) - 1
    more = np.where(
        dosing & last & ~later, np.minimum(subject.additional, np.maximum(fits, 0)), subject.additional
    )
    return replace(
        subject,
        evid=np.where(later, np.where(subject.evid == DOSE, OTHER, RESET), subject.evid),
        amount=np.where(later, 0.0, subject.amount),
        rate=np.where(later, 0.0, subject.rate),
        duration=np.where(later, 0.0, subject.duration),
        steady_state=np.where(later, 0, subject.steady_state),
        additional=np.where(later, 0, more).astype(subject.additional.dtype),
    )


def _occasion(subject: Subject, occasion: Occasion) -> int:
    if isinstance(occasion, int):
        return occasion
    if occasion == "new":
        return int(subject.occasion.max()) + 1 if len(subject) else 1
    if occasion == "last":
        return int(subject.occasion[-1]) if len(subject) else 1
    raise RecordError(f"found occasion {occasion!r}; expected 'last', 'new' or a number")
