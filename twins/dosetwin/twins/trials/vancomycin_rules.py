"""Vancomycin as it is dosed without a model: what the twin is compared with. Each in the best form of itself.

`fixed`: 1 g every 12 h, the label's usual dose (2 g a day), and no levels.

`label`: by weight and renal function, guided by troughs: 25 mg/kg at first (at most 3 g), then 15 mg/kg
every 8, 12, 24 or 48 h for a creatinine clearance above 90, 50-90, 20-50 and below 20 mL/min; a trough
before the fourth dose and two days after every change, target 10-20 mg/L; outside it the daily dose is
changed in proportion to 15 mg/L, by no more than half up or down, and stays at 15-20 mg/kg a dose where it
can. Rybak 2009, Am J Health Syst Pharm 66:82, doi:10.2146/ajhp080434 (weights, troughs); the intervals by
clearance are our choice among those in use.

`nomogram`: the table that Thomson et al. made from the model that is this trial's default plant (J
Antimicrob Chemother 2009;63:1050, doi:10.1093/jac/dkp085), as the Scottish guideline has it: a loading dose
by weight and a maintenance dose by creatinine clearance; then the area from two levels of one interval
(Sawchuk & Zaske 1976, J Pharmacokinet Biopharm 4:183, doi:10.1007/BF01086153), the method of Rybak 2020,
doi:10.1093/ajhp/zxaa036, with the daily dose changed in proportion to an area of 500 mg.h/L, by a factor of
0.5-2; two levels again every two days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.models.kidney_function import cockcroft_gault_mL_min
from dosetwin.twins.patient import Patient

STEP_MG, RATE_MG_H, SHORTEST_H, LARGEST_MG = 250.0, 1000.0, 1.0, 2000.0
AGAIN_H = 48.0
SCOTTISH_LOADING = ((40.0, 750.0), (60.0, 1000.0), (90.0, 1500.0), (math.inf, 2000.0))
"""Below so many kg: mg."""
SCOTTISH_MAINTENANCE = (
    (20.0, 500.0, 48.0),
    (30.0, 500.0, 24.0),
    (40.0, 750.0, 24.0),
    (55.0, 500.0, 12.0),
    (75.0, 750.0, 12.0),
    (90.0, 1000.0, 12.0),
    (111.0, 1250.0, 12.0),
    (math.inf, 1500.0, 12.0),
)
"""Below so many mL/min: mg every so many hours."""
LABEL_INTERVALS = ((20.0, 48.0), (50.0, 24.0), (90.0, 12.0), (math.inf, 8.0))


@dataclass
class Course:
    """What is known of one patient: doses (start s, duration s, mg), levels (s, mg/L), the regimen."""

    patient: Patient
    creatinine: float
    doses: list[tuple[float, float, float]] = field(default_factory=list)
    levels: list[tuple[float, float]] = field(default_factory=list)
    amount: float = 0.0
    interval_h: float = 12.0
    changed_s: float = -math.inf
    used_s: float = -math.inf

    @property
    def weight_kg(self) -> float:
        """As enrolled."""
        return float(self.patient.given["weight_kg"])

    @property
    def clearance_mL_min(self) -> float:
        """Cockcroft and Gault, by actual weight."""
        given = self.patient.given
        male = 1.0 if given["sex"] == "male" else 0.0
        return float(cockcroft_gault_mL_min(float(given["age_years"]), self.weight_kg, male, self.creatinine))

    def take(self, fact: TwinEvent) -> None:
        """A fact about the patient."""
        if fact.kind == "infusion":
            self.doses.append((fact.at_s, fact.duration_s, fact.value))
        elif fact.kind == "observation":
            self.levels.append((fact.at_s, fact.value))
        elif fact.kind == "covariate" and fact.name == "creatinine":
            self.creatinine = fact.value

    @property
    def due_s(self) -> float:
        """When the next dose is due."""
        return self.doses[-1][0] + self.interval_h * 3600.0 if self.doses else math.inf

    def regimen(self, amount: float, interval_h: float, at_s: float) -> Order:
        """Order it from now on."""
        self.amount, self.interval_h, self.changed_s = amount, interval_h, at_s
        return order(amount, interval_h)

    def scaled(self, factor: float, at_s: float) -> Order:
        """The regimen with its daily dose multiplied; a dose too large or too small changes the interval."""
        daily = self.amount * 24.0 / self.interval_h * factor
        interval = self.interval_h
        if daily * interval / 24.0 > LARGEST_MG and interval > 8.0:
            interval = 12.0 if interval > 12.0 else 8.0
        if daily * interval / 24.0 < STEP_MG and interval < 24.0:
            interval = 24.0
        return self.regimen(rounded(daily * interval / 24.0), interval, at_s)


class Rules:
    """A `Controller` of n patients who are each dosed by rule; `next_sample_s` is when each wants a level."""

    def __init__(self, patients: tuple[Patient, ...], seed: int) -> None:
        self._courses = [Course(p, float(p.given["creatinine_mg_dL"])) for p in patients]
        self.next_sample_s = np.full(len(patients), np.nan)

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """Take what arrived."""
        for course, news in zip(self._courses, facts, strict=True):
            for fact in sorted(news, key=lambda fact: fact.at_s):
                course.take(fact)

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Orders of every patient; what is wanted of the laboratory is in `next_sample_s` afterwards."""
        orders = []
        for i, course in enumerate(self._courses):
            first = not course.amount
            orders.append(self.first(course, at_s) if first else self.adjust(course, at_s))
            self.next_sample_s[i] = self.next_level(course, at_s)
        return orders

    def first(self, course: Course, at_s: float) -> tuple[Order, ...]:
        """The orders before anything is known but the enrolment."""
        raise NotImplementedError

    def adjust(self, course: Course, at_s: float) -> tuple[Order, ...]:
        """What is changed; nothing goes on as before."""
        return ()

    def next_level(self, course: Course, at_s: float) -> float:
        """When a level is wanted, NaN for none."""
        return math.nan


class Fixed(Rules):
    """1 g every 12 h."""

    def first(self, course: Course, at_s: float) -> tuple[Order, ...]:
        """The same for everybody."""
        return (course.regimen(1000.0, 12.0, at_s),)


class TroughGuided(Rules):
    """By weight, clearance and troughs."""

    LOW, AIM, HIGH = 10.0, 15.0, 20.0
    FOURTH = 4

    def first(self, course: Course, at_s: float) -> tuple[Order, ...]:
        """25 mg/kg, then 15 mg/kg at an interval by clearance."""
        load = min(rounded(25.0 * course.weight_kg), 3000.0)
        interval = next(hours for below, hours in LABEL_INTERVALS if course.clearance_mL_min < below)
        amount = min(rounded(15.0 * course.weight_kg), LARGEST_MG)
        return infusion(load), course.regimen(amount, interval, at_s)

    def adjust(self, course: Course, at_s: float) -> tuple[Order, ...]:
        """In proportion to the trough, where it is outside the range."""
        news = [level for level in course.levels if level[0] > course.used_s]
        if not news:
            return ()
        course.used_s, trough = news[-1]
        if self.LOW <= trough <= self.HIGH:
            return ()
        factor = min(max(self.AIM / trough, 0.5), 1.5)
        return (course.scaled(factor, at_s),)

    def next_level(self, course: Course, at_s: float) -> float:
        """Before the fourth dose; then two days after the last one or the last change."""
        due = course.due_s - 900.0
        if not course.levels:
            return due if len(course.doses) >= self.FOURTH - 1 else math.nan
        since = max(course.levels[-1][0], course.changed_s)
        return due if due >= since + AGAIN_H * 3600.0 - 6 * 3600.0 else math.nan


class TwoLevels(Rules):
    """The Scottish table, then the area from two levels of one interval."""

    AIM = 500.0
    WAIT_S = 3600.0

    def first(self, course: Course, at_s: float) -> tuple[Order, ...]:
        """A loading dose by weight, a maintenance dose by clearance."""
        load = next(mg for below, mg in SCOTTISH_LOADING if course.weight_kg < below)
        clearance = course.clearance_mL_min
        amount, interval = next((mg, h) for below, mg, h in SCOTTISH_MAINTENANCE if clearance < below)
        return infusion(load), course.regimen(amount, interval, at_s)

    def adjust(self, course: Course, at_s: float) -> tuple[Order, ...]:
        """In proportion to the area, where two levels of one interval give one."""
        pair = self._pair(course)
        if pair is None:
            return ()
        area = area_24h(*pair, course.interval_h)
        course.used_s = pair[2][0]
        if 400.0 <= area <= 600.0:
            return ()
        return (course.scaled(min(max(self.AIM / area, 0.5), 2.0), at_s),)

    def _pair(
        self, course: Course
    ) -> tuple[tuple[float, float, float], tuple[float, float], tuple[float, float]] | None:
        """The dose and two levels after it, before the next one, not used yet."""
        new = [level for level in course.levels if level[0] > course.used_s]
        for dose in reversed(course.doses):
            later = [d[0] for d in course.doses if d[0] > dose[0]]
            until = min(later) if later else math.inf
            within = [level for level in new if dose[0] + dose[1] < level[0] <= until + 60.0]
            if len(within) >= 2 and within[0][1] > within[-1][1] * 1.02:
                return dose, within[0], within[-1]
        return None

    def next_level(self, course: Course, at_s: float) -> float:
        """An hour after the infusion of a dose that is not the first, and before the next one."""
        if len(course.doses) < 2:
            return math.nan
        since = max(course.used_s, course.changed_s)
        last = course.doses[-1]
        taken = [level for level in course.levels if level[0] > last[0] + last[1]]
        if not taken and since > -math.inf and course.levels and last[0] < since + (AGAIN_H - 12) * 3600.0:
            return math.nan
        if not taken:
            # the dose that is hung next, or the one that is hanging
            for start in (last[0], course.due_s):
                peak = start + max(last[1], SHORTEST_H * 3600.0) + self.WAIT_S
                if peak >= at_s:
                    return peak
            return math.nan
        if len(taken) == 1 and taken[0][0] > course.used_s:
            trough = course.due_s - 900.0
            return trough if trough >= at_s else math.nan
        return math.nan


def area_24h(
    dose: tuple[float, float, float], early: tuple[float, float], late: tuple[float, float], interval_h: float
) -> float:
    """AUC24 (mg.h/L) of a steady interval from two levels after a dose (start s, duration s, mg).

    k = log(C_1/C_2) / (t_2 - t_1); back to the end of the infusion and on to the next dose by it; a
    trapezoid while the infusion runs and (C_max - C_min)/k after it, times 24 h over the interval.
    """
    k = math.log(early[1] / late[1]) / ((late[0] - early[0]) / 3600.0)
    end_s, run_h = dose[0] + dose[1], dose[1] / 3600.0
    peak = early[1] * math.exp(k * (early[0] - end_s) / 3600.0)
    trough = peak * math.exp(-k * (interval_h - run_h))
    return ((peak + trough) / 2 * run_h + (peak - trough) / k) * 24.0 / interval_h


def rounded(amount: float) -> float:
    """To what can be drawn up; at least one step."""
    return max(round(amount / STEP_MG) * STEP_MG, STEP_MG)


def order(amount: float, interval_h: float) -> Order:
    """A regimen."""
    return Order(
        drug="vancomycin",
        route="intravenous",
        kind="regimen",
        amount=amount,
        unit="mg",
        duration_s=max(amount / RATE_MG_H, SHORTEST_H) * 3600.0,
        interval_s=interval_h * 3600.0,
    )


def infusion(amount: float) -> Order:
    """One dose now."""
    hours = max(amount / RATE_MG_H, SHORTEST_H)
    return Order(
        drug="vancomycin",
        route="intravenous",
        kind="infusion",
        amount=amount,
        unit="mg",
        duration_s=hours * 3600.0,
    )
