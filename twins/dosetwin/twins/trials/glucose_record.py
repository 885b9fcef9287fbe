"""What a pump's own controller remembers of one patient: readings, boluses on board, the insulin in plasma.

Insulin on board after t minutes of one unit, with the peak of its activity at t_p = 75 min and none left at
t_d = 360 min (the exponential model of Loop and oref0, LoopKit/Loop issue 388):

    tau = t_p (1 - t_p / t_d) / (1 - 2 t_p / t_d),  a = 2 tau / t_d,  S = 1 / (1 - a + (1 + a) e^(-t_d/tau))
    on board = 1 - S (1 - a) ((t^2 / (tau t_d (1 - a)) - t / tau - 1) e^(-t/tau) + 1)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from dosetwin.twins.events import TwinEvent

PEAK_MIN, DURATION_MIN = 75.0, 360.0
STALE_S = 900.0
SLOPE_S = 1200.0
LEAST_READINGS = 3


def on_board_share(minutes: float) -> float:
    """How much of a unit still has to act after `minutes`."""
    if minutes <= 0.0:
        return 1.0
    if minutes >= DURATION_MIN:
        return 0.0
    tau = PEAK_MIN * (1.0 - PEAK_MIN / DURATION_MIN) / (1.0 - 2.0 * PEAK_MIN / DURATION_MIN)
    a = 2.0 * tau / DURATION_MIN
    S = 1.0 / (1.0 - a + (1.0 + a) * math.exp(-DURATION_MIN / tau))
    t = minutes
    grown = (t**2 / (tau * DURATION_MIN * (1.0 - a)) - t / tau - 1.0) * math.exp(-t / tau) + 1.0
    return 1.0 - S * (1.0 - a) * grown


class PatientRecord:
    """Readings of the last half hour, boluses of six hours, the rate that runs, and meals just told."""

    def __init__(self, programme_U_per_h: float) -> None:
        self.readings: deque[tuple[float, float]] = deque(maxlen=8)
        self.boluses: deque[tuple[float, float]] = deque()
        self.meals_g: list[float] = []
        self.meal_s = -math.inf
        """When the last meal was told."""
        self.rate_U_per_h = programme_U_per_h

    def take(self, facts: Sequence[TwinEvent]) -> None:
        """Remember what arrived."""
        for fact in sorted(facts, key=lambda fact: fact.at_s):
            if fact.kind == "observation":
                self.readings.append((fact.at_s, fact.value))
            elif fact.kind == "bolus" and fact.name == "insulin":
                self.boluses.append((fact.at_s, fact.value))
            elif fact.kind == "rate":
                self.rate_U_per_h = fact.value
            elif fact.kind == "meal":
                self.meals_g.append(fact.value)
                self.meal_s = fact.at_s

    def announced_g(self) -> float:
        """Carbohydrate told since the last call."""
        total = sum(self.meals_g)
        self.meals_g.clear()
        return total

    def glucose_mg_dL(self, at_s: float) -> float | None:
        """The newest reading, where it is not older than 15 min."""
        if not self.readings or at_s - self.readings[-1][0] > STALE_S:
            return None
        return self.readings[-1][1]

    def slope_mg_dL_per_min(self, at_s: float) -> float:
        """Least squares through the readings of the last 20 min; 0 where there are fewer than three."""
        recent = [(t, g) for t, g in self.readings if at_s - t <= SLOPE_S]
        if len(recent) < LEAST_READINGS:
            return 0.0
        t, g = np.array(recent).T
        t = (t - t.mean()) / 60.0
        return float((t * (g - g.mean())).sum() / (t**2).sum())

    def bolus_on_board_U(self, at_s: float) -> float:
        """Of the boluses, by the module's curve."""
        while self.boluses and at_s - self.boluses[0][0] > 60.0 * DURATION_MIN:
            self.boluses.popleft()
        return sum(amount * on_board_share((at_s - t) / 60.0) for t, amount in self.boluses)

    def minutes_since_bolus(self, at_s: float) -> float:
        """Infinite where there was none within six hours."""
        return (at_s - self.boluses[-1][0]) / 60.0 if self.boluses else math.inf
