"""By hand, as labels and textbooks say, with an eye on the monitor every minute.

Propofol: 1.5 mg/kg (1 mg/kg over 55 years: the lower half of the label, since remifentanil runs) in
portions of 40 mg every 10 s (20 mg), after 90 s a portion every half minute while BIS is above 60; then 10,
8 and 6 mg/kg/h for 10 minutes, 10 minutes and thereafter (Roberts et al., Anaesthesia 1988;43 Suppl:14;
label of Diprivan, FDA 2022; two thirds of it over 55 years). Adjusted by the minute: BIS above 60, 0.3
mg/kg and 1 mg/kg/h more; below 40, 1 mg/kg/h less, at most every two minutes. Remifentanil: 0.2 ug/kg/min
(label of Ultiva: 0.05-2; half over 65 years), less by a quarter while the pressure is below 65 or BIS below
35, more by a quarter where heart rate or pressure rise by a fifth above those before induction (not with a
BIS below 45), at most every two minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.anaesthesia_chart import Chart, rates
from dosetwin.twins.trials.anaesthesia_plant import DECISION_S

SCHEME_MG_PER_KG_H = ((600.0, 10.0), (1200.0, 8.0), (np.inf, 6.0))
LOOK_S, WAIT_S = 60.0, 120.0
INDUCTION_MG_PER_KG, ELDERLY_INDUCTION_MG_PER_KG = 1.5, 1.0
PATIENCE_S, MORE_EVERY_S = 90.0, 30.0
EXTRA_BOLUS_MG_PER_KG = 0.3


class ByHand:
    """A Controller."""

    def __init__(self, patients: Sequence[Patient]) -> None:
        self.chart = Chart(patients)
        c = self.chart
        n = len(c)
        self.old = c.age_a > 55.0
        self.scale = np.where(self.old, 2 / 3, 1.0)
        self.given_mg = np.zeros(n)
        self.began_at: float | None = None
        self.asleep_at = np.full(n, np.nan)
        self.shift = np.zeros(n)
        self.remifentanil = np.where(c.age_a > 65.0, 0.1, 0.2)
        self.before: tuple[np.ndarray, np.ndarray] | None = None
        self.waits = np.zeros((2, n))
        self.looked = -np.inf

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """Readings."""
        self.chart.note(facts)

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Rates and boluses now."""
        c = self.chart
        if self.before is None:
            self.before = c.pressure.copy(), c.heart_rate.copy()
        seen = c.index(at_s)
        self.began_at = at_s if self.began_at is None else self.began_at
        portion = np.where(self.old, 20.0, 40.0)
        due = (
            np.where(self.old, ELDERLY_INDUCTION_MG_PER_KG, INDUCTION_MG_PER_KG) * c.weight_kg - self.given_mg
        )
        waited = at_s - self.began_at >= PATIENCE_S
        self.asleep_at = np.where(
            np.isnan(self.asleep_at) & (due <= 0) & ((seen < 60.0) | (waited & np.isnan(seen))),
            at_s,
            self.asleep_at,
        )
        asleep = ~np.isnan(self.asleep_at)
        again = ~asleep & (due <= 0) & waited & ((at_s - self.began_at) % MORE_EVERY_S < DECISION_S)
        bolus = np.where(due > 0, np.minimum(portion, due), np.where(again, portion, 0.0))
        self.given_mg += bolus
        if at_s - self.looked >= LOOK_S:
            self.looked = at_s
            bolus = bolus + self._adjusted(at_s, seen, asleep)
        since = np.where(asleep, at_s - self.asleep_at, 0.0)
        base = np.select(
            [since < until for until, _ in SCHEME_MG_PER_KG_H], [r for _, r in SCHEME_MG_PER_KG_H]
        )
        propofol = np.where(asleep, np.clip(base * self.scale + self.shift, 0.0, 20.0), 0.0)
        return rates(propofol * c.weight_kg, self.remifentanil * 60.0 * c.weight_kg, bolus)

    def _adjusted(self, at_s: float, seen: np.ndarray, asleep: np.ndarray) -> np.ndarray:
        """Shift both rates where it is time; the extra bolus."""
        c = self.chart
        assert self.before is not None
        free = (self.waits[0] <= at_s) & asleep & (at_s - np.nan_to_num(self.asleep_at) > WAIT_S)
        light, deep = free & (seen > 60.0), free & (seen < 40.0)
        self.shift = np.clip(self.shift + np.where(light, 1.0, np.where(deep, -1.0, 0.0)), -9.0, 10.0)
        self.waits[0] = np.where(light | deep, at_s + WAIT_S, self.waits[0])
        ready = (self.waits[1] <= at_s) & asleep
        low = ready & ((c.pressure < 65.0) | (seen < 35.0))
        high = (
            ready
            & ~(seen < 45.0)
            & ((c.pressure > 1.2 * self.before[0]) | (c.heart_rate > 1.2 * self.before[1]))
        )
        self.remifentanil = np.clip(
            self.remifentanil * np.where(low, 0.75, np.where(high, 1.25, 1.0)), 0.05, 0.5
        )
        self.waits[1] = np.where(low | high, at_s + WAIT_S, self.waits[1])
        return np.where(light, EXTRA_BOLUS_MG_PER_KG * c.weight_kg, 0.0)
