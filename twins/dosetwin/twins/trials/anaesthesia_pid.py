"""PID of the index by propofol, remifentanil in proportion: what most clinical closed loops are.

    e = BIS - 50     v = W (u_0 + K (e + I + T_d d)),   dI/dt = e / T_i + (u - v) / (W K T_t)
    u = min(max(v, 0), W u_max)     remifentanil = r u m

with W the weight, u in mg/h, I the integral, d the derivative of the filtered error (first order, T_d/5, of
the median of three readings). Anti-windup by back-calculation (T_t = T_i / 4): the integral follows what
the pump can really do. While no index is displayed the integral rests and the pumps go on at the last
unforced rate. A first bolus by age opens the induction (a PID alone needs either 5 minutes or a large
overshoot), after it the integral starts at rest. m in 0.3-1 takes remifentanil back while the pressure is
low. Two-drug PID with a fixed ratio: Merigo et al., Commun Nonlinear Sci Numer Simul 2019;72:194,
doi:10.1016/j.cnsns.2018.12.015; anti-windup: van Heusden et al., IFAC Proc 2014;47:6569,
doi:10.3182/20140824-6-ZA-1003.01930 (back-calculation does well).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.anaesthesia_chart import Chart, FloatArray, rates
from dosetwin.twins.trials.anaesthesia_plant import DECISION_S

SETPOINT = 50.0


@dataclass(frozen=True)
class Tuning:
    """What can be tuned; searched on development patients (numbers 0-39 of seed 2).

    gain mg/kg/h a point of the index, times in s, ratio in ug of remifentanil a mg of propofol, bolus mg/kg
    at 40 years (less by 1 % a year), ceiling and resting rate mg/kg/h, the pressure (mm[Hg]) below which it
    is spared.
    """

    gain: float = 0.13
    integral_s: float = 240.0
    derivative_s: float = 70.0
    ratio: float = 1.0
    bolus_mg_per_kg: float = 0.7
    resting_mg_per_kg_h: float = 5.0
    ceiling_mg_per_kg_h: float = 30.0
    low_pressure: float = 75.0
    least_opioid: float = 0.3


class PID:
    """A Controller. `windup`: leave the integral alone at the limits, to show what anti-windup is worth."""

    def __init__(
        self, patients: Sequence[Patient], tuning: Tuning | None = None, windup: bool = False
    ) -> None:
        self.chart, self.tuning, self.windup = Chart(patients), tuning or Tuning(), windup
        n = len(patients)
        self.integral = np.zeros(n)
        self.filtered = np.full(n, np.nan)
        self.begun = False

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """Readings; what the pump reports is not needed, the limits are known."""
        self.chart.note(facts)

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Both rates now, and the bolus at the first decision."""
        t = self.tuning
        seen = self.chart.index(at_s)
        error = seen - SETPOINT
        blind = np.isnan(error)
        keep = np.exp(-DECISION_S / max(t.derivative_s / 5.0, 1.0))
        before = np.where(np.isnan(self.filtered), error, self.filtered)
        filtered = np.where(blind, self.filtered, keep * before + (1 - keep) * error)
        change = np.where(blind | np.isnan(self.filtered), 0.0, (filtered - before) / DECISION_S)
        self.filtered = filtered
        wanted = t.resting_mg_per_kg_h + t.gain * np.where(
            blind, self.integral, error + self.integral + t.derivative_s * change
        )
        given = np.clip(wanted, 0.0, t.ceiling_mg_per_kg_h)
        held = np.zeros_like(given) if self.windup else 4.0 * (given - wanted) / t.gain
        step = DECISION_S / t.integral_s * (error + held)
        self.integral = np.where(blind, self.integral, self.integral + step)
        propofol = given * self.chart.weight_kg
        bolus: FloatArray | None = None
        if not self.begun:
            self.begun, self.integral = True, np.zeros_like(self.integral)
            aged = 1.0 - 0.01 * (self.chart.age_a - 40.0)
            bolus = t.bolus_mg_per_kg * aged * self.chart.weight_kg
        spared = np.clip(1.0 - 0.05 * (t.low_pressure - self.chart.pressure), t.least_opioid, 1.0)
        remifentanil = propofol * t.ratio * np.where(np.isnan(spared), 1.0, spared)
        return rates(propofol, remifentanil, bolus)
