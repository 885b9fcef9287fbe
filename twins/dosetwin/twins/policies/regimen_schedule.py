"""Dosing schedules: the regimen a patient is on, and the doses that a candidate regimen would mean.

A regimen order (amount over a duration, every interval) joins the schedule that is running: its first dose
is due one interval after the last dose began, and at once when that time has passed or nothing was given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosetwin.twins.models.compartments import Doses

Dose = tuple[float, float, float, float]
"""start, duration, amount, rate (per hour); times in one unit."""
COURSE_GAP_H = 72.0
"""A dose so long after the one before begins a new course of treatment (our assumption)."""
SAME_MOMENT_H = 1.0
SAME_AMOUNT = 0.02


@dataclass(frozen=True)
class Regimen:
    """`amount` over `duration_h` every `interval_h`."""

    amount: float
    duration_h: float
    interval_h: float


def running_regimen(doses_h: Sequence[Dose], now_h: float) -> Regimen | None:
    """What the patient is on: the last dose, repeated at the time between the last two.

    None where nothing was given, where a dose is more than two intervals overdue, or where a pump runs at a
    rate (which goes on by itself). One dose alone is taken to be meant every 12 h.
    """
    given = [dose for dose in doses_h if dose[0] <= now_h]
    if not given or any(np.isinf(duration) for _, duration, _, _ in given):
        return None
    start, duration, amount, rate = given[-1]
    earlier = [dose[0] for dose in given if dose[0] < start]
    interval = start - earlier[-1] if earlier else 12.0
    interval = min(max(interval, 4.0), 48.0)
    if now_h - start > 2 * interval:
        return None
    return Regimen(amount + rate * duration, duration, interval)


def certain(doses_h: Sequence[Dose], now_h: float) -> bool:
    """Whether the doses say without doubt what is running: nothing, or the last three even and not late.

    A dose that was missed, given late, or a first one says nothing of what the device will do next.
    """
    given = [dose for dose in doses_h if dose[0] <= now_h]
    if not given:
        return True
    if any(np.isinf(duration) for _, duration, _, _ in given):
        return True
    if len(given) < 3:
        return False
    starts = [dose[0] for dose in given[-3:]]
    amounts = [dose[2] + dose[3] * dose[1] for dose in given[-2:]]
    gap, before = starts[2] - starts[1], starts[1] - starts[0]
    even = abs(gap - before) <= SAME_MOMENT_H
    alike = abs(amounts[1] - amounts[0]) <= SAME_AMOUNT * max(amounts)
    return even and alike and now_h - starts[2] <= gap + SAME_MOMENT_H


def day_of_treatment(doses_h: Sequence[Dose], now_h: float) -> float:
    """When the patient's present day of treatment began: whole days after the course's first dose; or now."""
    starts = [dose[0] for dose in doses_h if dose[0] <= now_h]
    if not starts or now_h - starts[-1] > COURSE_GAP_H:
        return now_h
    first = starts[-1]
    for earlier, later in zip(starts[-2::-1], starts[:0:-1], strict=True):
        if later - earlier > COURSE_GAP_H:
            break
        first = earlier
    return first + 24.0 * math.floor((now_h - first) / 24.0 + 1e-9)


def entered_between(doses_h: Sequence[Dose], begin_h: float, end_h: float) -> float:
    """How much was given in [begin, end): doses at once, and the part of infusions that ran then."""
    total = 0.0
    for start, duration, amount, rate in doses_h:
        if begin_h <= start < end_h:
            total += amount
        if rate > 0:
            total += rate * max(min(start + duration, end_h) - max(start, begin_h), 0.0)
    return total


def future_doses(
    regimens: Sequence[Regimen | None], last_start_h: float, now_h: float, horizon_h: float, most: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Doses of each candidate within the horizon: ([4, C, most] as Doses, [C] time of the last trough)."""
    doses = np.zeros((4, len(regimens), most))
    doses[0] = now_h
    trough = np.full(len(regimens), now_h + horizon_h)
    for c, regimen in enumerate(regimens):
        if regimen is None:
            continue
        first = max(now_h, last_start_h + regimen.interval_h)
        starts = np.arange(first, now_h + horizon_h, regimen.interval_h)[:most]
        k = len(starts)
        doses[0, c, :k] = starts
        if regimen.duration_h > 0:
            doses[1, c, :k] = regimen.duration_h
            doses[3, c, :k] = regimen.amount / regimen.duration_h
        else:
            doses[2, c, :k] = regimen.amount
        trough[c] = starts[-1] if k else now_h + horizon_h
    return doses, trough


def recent_doses(doses_h: Sequence[Dose], now_h: float, most: int) -> Doses:
    """The last `most` doses begun by now, padded: those whose infusion or absorption may still run."""
    given = [dose for dose in doses_h if dose[0] <= now_h][-most:]
    padded = np.zeros((4, most))
    padded[0] = now_h - 1e4
    if given:
        padded[:, : len(given)] = np.array(given).T
    return Doses(*padded)
