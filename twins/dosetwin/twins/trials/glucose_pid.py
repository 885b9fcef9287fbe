"""Proportional-integral-derivative control with insulin feedback, as in the closed loops of Steil.

    P = K_p (G - target),  dI/dt = K_p / T_i (G - target),  D = K_p T_d dG/dt
    rate = (1 + gamma) (P + I + D) - gamma I_p        I_p: two compartments of what was delivered, U/h

Source: Steil et al., Diabetes 2006;55:3344, doi:10.2337/db06-0419 (the law, gain from the daily dose,
integral times by day and night, limits of the integral) and J Clin Endocrinol Metab 2011;96:1402,
doi:10.1210/jc.2010-2578 (insulin feedback). The gain a unit of daily dose, the derivative time, gamma and
the target were chosen on our virtual patients with seeds below 1000. A meal that is announced gets a share
of its bolus at once.

Anti-windup: the integral stays within 0 and three basal rates and does not move further in a direction in
which the rate is cut already. Without it a long rise that the pump cannot follow would be paid back with a
low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.glucose_patients import PumpSettings, settings_of
from dosetwin.twins.trials.glucose_record import PatientRecord

STEP_MIN = 5.0
TEMPORARY_S = 1800.0
NIGHT_UNTIL_H = 6.0
HIGHEST_INTEGRAL_BASALS = 3.0
RATE_INCREMENT_U_PER_H = 0.05


@dataclass(frozen=True)
class Tuning:
    """K_p = `gain_per_h` x daily dose / 1800, in U/h per mg/dL; the maximum is a share of the daily dose.

    `meal_share`: of an announced meal's bolus, at once.
    """

    target_mg_dL: float = 120.0
    gain_per_h: float = 0.3
    integral_day_min: float = 450.0
    integral_night_min: float = 150.0
    derivative_min: float = 120.0
    gamma: float = 3.0
    plasma_min: float = 55.0
    meal_share: float = 0.75
    maximum_share_per_h: float = 0.2
    anti_windup: bool = True


class ProportionalIntegralDerivative:
    """A `trial.Controller`: a temporary rate for 30 min at every decision."""

    def __init__(self, patients: Sequence[Patient], tuning: Tuning | None = None) -> None:
        tuning = tuning or Tuning()
        self._loops = [
            _Loop(settings_of(patient), float(patient.given["total_daily_dose_U"]), tuning)
            for patient in patients
        ]

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """What arrived since the last call, a sequence a patient."""
        for loop, news in zip(self._loops, facts, strict=True):
            loop.record.take(news)

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Each patient's orders now."""
        return [loop.orders(at_s) for loop in self._loops]


class _Loop:
    """One patient's integral, what is in plasma, and what rounding left over."""

    def __init__(self, settings: PumpSettings, daily_dose_U: float, tuning: Tuning) -> None:
        self.record = PatientRecord(settings.basal_U_per_h)
        self._settings, self._tuning = settings, tuning
        self._gain = tuning.gain_per_h * daily_dose_U / 1800.0
        self._maximum = tuning.maximum_share_per_h * daily_dose_U
        self.integral_U_per_h = settings.basal_U_per_h
        self._plasma = [settings.basal_U_per_h, settings.basal_U_per_h]
        self._remainder = 0.0
        self._before_s: float | None = None

    def orders(self, at_s: float) -> tuple[Order, ...]:
        tuning, record = self._tuning, self.record
        announced_g = record.announced_g()
        self._move_plasma(at_s)
        glucose = record.glucose_mg_dL(at_s)
        if glucose is None:  # the temporary rate runs out, and the programme goes on
            return self._meal(announced_g)
        error = glucose - tuning.target_mg_dL
        slope = record.slope_mg_dL_per_min(at_s)
        steady = self._gain * (error + tuning.derivative_min * slope)
        wanted = (1.0 + tuning.gamma) * (steady + self.integral_U_per_h) - tuning.gamma * self._plasma[1]
        rate = min(max(wanted, 0.0), self._maximum)
        self._integrate(error, wanted, rate, at_s)
        exact = rate + self._remainder
        given = math.floor(exact / RATE_INCREMENT_U_PER_H + 1e-9) * RATE_INCREMENT_U_PER_H
        self._remainder = exact - given
        order = Order(
            drug="insulin",
            route="subcutaneous",
            kind="rate",
            amount=given,
            unit="U/h",
            duration_s=TEMPORARY_S,
        )
        return (order, *self._meal(announced_g))

    def _integrate(self, error: float, wanted: float, rate: float, at_s: float) -> None:
        tuning = self._tuning
        night = at_s / 3600.0 % 24.0 < NIGHT_UNTIL_H
        time_min = tuning.integral_night_min if night else tuning.integral_day_min
        step = self._gain * error * STEP_MIN / time_min
        if tuning.anti_windup and (wanted - rate) * step > 0.0:
            return
        self.integral_U_per_h += step
        if tuning.anti_windup:
            highest = HIGHEST_INTEGRAL_BASALS * self._settings.basal_U_per_h
            self.integral_U_per_h = min(max(self.integral_U_per_h, 0.0), highest)

    def _move_plasma(self, at_s: float) -> None:
        """The two compartments from the last decision to this one; boluses as if at this interval's rate."""
        if self._before_s is not None:
            minutes = (at_s - self._before_s) / 60.0
            bolus = sum(a for t, a in self.record.boluses if self._before_s <= t < at_s)
            inflow = self.record.rate_U_per_h + 60.0 * bolus / minutes
            keep = math.exp(-minutes / self._tuning.plasma_min)
            first = inflow + (self._plasma[0] - inflow) * keep
            mean = 0.5 * (self._plasma[0] + first)
            self._plasma = [first, mean + (self._plasma[1] - mean) * keep]
        self._before_s = at_s

    def _meal(self, announced_g: float) -> tuple[Order, ...]:
        amount = self._tuning.meal_share * announced_g / self._settings.carbohydrate_ratio_g_per_U
        if amount <= 0.0:
            return ()
        return (Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount, unit="U"),)
