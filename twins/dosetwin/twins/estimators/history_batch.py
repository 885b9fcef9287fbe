"""Histories of many patients as event programs, padded to a few shapes so that compilations stay few."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.subject import DOSE, OBSERVATION, OTHER, Subject
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.event_program import Program, Shape
from dosetwin.twins.simulation.program_writer import stack, write_program

Values = npt.NDArray[np.float64]
BATCHES = (8,)
EVENTS = (64, 256, 2048)
LEVELS = (16, 64, 512)
STRETCHES = (16, 128, 1024)
"""A compilation takes seconds and is needed for each combination that occurs: few and coarse steps."""
TOGETHER = 64
"""Up to so many patients take the largest shape among them: cheaper than a compilation for each shape."""


def padded(n: int, steps: tuple[int, ...]) -> int:
    """The smallest step that holds n (all are powers of two)."""
    for step in steps:
        if n <= step:
            return step
    return 1 << (n - 1).bit_length()


@dataclass(frozen=True)
class Batch:
    """`count` patients whose programs have one shape, padded with copies of the first to a known batch size.

    Of each patient's observation records number `asked[row]` is the one that was asked for, [B]; or those,
    [B, A].
    """

    index: list[int]
    count: int
    program: Program
    asked: npt.NDArray[np.int64]

    @property
    def padding(self) -> npt.NDArray[np.int64]:
        """Position in `index` of every row of the arrays: padding rows repeat the first."""
        rows = np.zeros(len(self.asked), np.int64)
        rows[: self.count] = np.arange(self.count)
        return rows

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The patient of every row of the arrays."""
        return np.array(self.index)[self.padding]


def batches(
    model: PopulationModel,
    patients: Sequence[Arrays],
    ask_h: Sequence[Any],
    drift: Drift | None = None,
) -> Iterable[Batch]:
    """The patients' programs with a record more at every time of `ask_h`, grouped by padded shape.

    With one time a patient `Batch.asked` is [B], with a sequence of times (of one length A) it is [B, A].
    """
    with double_precision():
        subjects = [records(arrays, at, drift) for arrays, at in zip(patients, ask_h, strict=True)]
        written = [write_program(model, subject) for subject, _ in subjects]
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for i, made in enumerate(written):
        events, rows, levels, _ = made.shape.tuple
        shape = (padded(events, EVENTS), padded(rows, STRETCHES), padded(levels, LEVELS))
        shapes.setdefault(shape, []).append(i)
    if len(patients) <= TOGETHER and shapes:
        E, R, N = (max(sizes) for sizes in zip(*shapes, strict=True))
        shapes = {(E, R, N): list(range(len(patients)))}
    for (E, R, N), members in sorted(shapes.items()):
        for rows_, count in filled(len(members)):
            index = [members[row] for row in rows_[:count]]
            chosen = index + [index[0]] * (len(rows_) - count)
            program = stack([written[i] for i in chosen], Shape(E, R, N, 0))
            yield Batch(index, count, program, np.array([subjects[i][1] for i in chosen]))


def records(
    arrays: Arrays, ask_h: float | Sequence[float], drift: Drift | None = None
) -> tuple[Subject, npt.NDArray[np.int64]]:
    """A patient's facts as records with one more at every `ask_h`, and which observations those are.

    At equal times covariates and steps of a drift come first, then levels (a trough drawn when the dose is
    hung is a trough), the records that ask, and doses. A pump's rate that still runs goes on beyond the
    last record.
    """
    asks = np.atleast_1d(np.asarray(ask_h, np.float64))
    end = max([*asks.tolist(), *(dose[0] for dose in arrays.doses), *(level[0] for level in arrays.levels)])
    rows: list[tuple[float, int, int]] = [(start, 0, k) for k, (start, _) in enumerate(arrays.stretches)]
    rows += [(level[0], 1, k) for k, level in enumerate(arrays.levels)]
    rows += [(float(ask), 2, k) for k, ask in enumerate(asks)]
    rows += [(dose[0], 3, k) for k, dose in enumerate(arrays.doses)]
    # the first stretch holds from the beginning, however early a dose is
    rows = [(max(row[0], -1.0) if row[1] == 0 else row[0], *row[1:]) for row in rows]
    if drift is not None:
        # back from what is asked and measured: a dose still to come must not move the steps before it
        now = max([*asks.tolist(), *(level[0] for level in arrays.levels)])
        begins = drift.begins(now, min(-1.0, min(row[0] for row in rows)))
        rows += [(float(start), -1, k) for k, start in enumerate(begins)]
    rows.sort()
    R = len(rows)
    numbers: dict[str, Any] = {name: np.zeros(R) for name in ("amount", "rate", "duration", "interval")}
    numbers |= {name: np.full(R, np.nan) for name in ("dv", "lower")}
    codes: dict[str, Any] = {
        name: np.zeros(R, np.int64)
        for name in ("evid", "compartment", "censored", "steady_state", "additional", "output", "occasion")
    }
    stretch = np.zeros(R, np.int64)
    asked = np.zeros(len(asks), np.int64)
    level = current = step = 0
    for i, (time, kind, k) in enumerate(rows):
        if kind <= 0:
            codes["evid"][i] = OTHER
            current, step = (k, step) if kind == 0 else (current, k)
        elif kind == 3:
            _, duration, amount, rate = arrays.doses[k]
            codes["evid"][i] = DOSE
            span = duration if math.isfinite(duration) else end - time + 1.0
            numbers["amount"][i] = amount + rate * span
            numbers["rate"][i] = rate
        else:
            codes["evid"][i] = OBSERVATION
            if kind == 1:
                _, numbers["dv"][i], codes["censored"][i] = arrays.levels[k]
            else:
                asked[k] = level
            level += 1
        stretch[i], codes["occasion"][i] = current, step
    names = arrays.stretches[0][1]
    covariates = {
        name: np.array([values[name] for _, values in arrays.stretches], np.float64)[stretch]
        for name in names
    }
    times = np.array([time for time, _, _ in rows])
    row = np.arange(1, R + 1)
    subject = Subject(id="", time=times, row=row, covariates=covariates, **numbers, **codes)
    return subject, asked if np.ndim(ask_h) else asked[0]


def filled(n: int) -> Iterable[tuple[npt.NDArray[np.int64], int]]:
    """Runs over n patients in batches of known sizes: (row numbers, how many of them are real).

    A size but the smallest is padded only where more than half of it is filled; else the next smaller one
    is taken.
    """
    start = 0
    while start < n:
        left = n - start
        above = padded(left, BATCHES)
        fits = above in BATCHES and (2 * left > above or above == BATCHES[0])
        size = above if fits else max(b for b in BATCHES if b <= left)
        count = min(left, size)
        rows = np.full(size, start)
        rows[:count] = np.arange(start, start + count)
        yield rows, count
        start += count
