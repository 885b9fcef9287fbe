"""Open-loop target-controlled infusion: the pump that hospitals have, at its usual targets.

Each decision takes the largest rate after which the effect site of the typical patient (Schnider, Minto;
the covariates as enrolled) would not pass its target: with free response f(h) and unit response g(h) of the
effect site, u = min over h of (target - f(h)) / g(h), within the pump's limits (Shafer & Gregg, J
Pharmacokinet Biopharm 1992;20:147, doi:10.1007/BF01071000). Targets: propofol 4 ug/mL
at 40 years, changing by 1.1 % of it a year as the C50 for loss of consciousness does (Schnider 1999), and
remifentanil 3 ng/mL; both are usual; 4 was taken of 3.5, 4 and 4.5 on development patients (0-39 of seed
2: 63, 67 and 68 % of maintenance in range, 0.9, 3.6 and 7.1 % of all time below 30).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.plants.anaesthesia_kinetics import Kinetics, minto, propagator, schnider
from dosetwin.twins.trials.anaesthesia_chart import Chart, FloatArray, rates
from dosetwin.twins.trials.anaesthesia_plant import DECISION_S
from dosetwin.twins.trials.anaesthesia_pump import MOST_ML_PER_H, PER_ML

PROPOFOL_TARGET, REMIFENTANIL_TARGET = 4.0, 3.0
AHEAD = 30
"""Steps of DECISION_S: the effect site of a bolus peaks within two minutes."""


class Infusion:
    """One drug's model, its predicted state, and the responses of the effect site over AHEAD steps."""

    def __init__(self, kinetics: Kinetics, most_per_h: float) -> None:
        self.most_per_min = most_per_h / 60.0
        self.D, self.g = propagator(kinetics, DECISION_S)
        self.x = np.zeros(self.g.shape)
        row = at_once = np.zeros_like(self.g)
        at_once[3] = 1.0
        rows = []
        for _ in range(AHEAD):
            row = (row[:, None] * self.D).sum(0)
            rows.append(row)
        self.free = np.stack(rows)
        before = np.concatenate([at_once[None], self.free[:-1]])
        self.unit = (before * self.g).sum(1)

    def rate_per_h(self, target: FloatArray) -> FloatArray:
        """The rate for the coming step; the predicted state goes on with it."""
        room = (target - (self.free * self.x).sum(1)) / self.unit
        rate = np.clip(room.min(axis=0), 0.0, self.most_per_min)
        self.x = (self.D * self.x[None]).sum(1) + self.g * rate
        per_h: FloatArray = rate * 60.0
        return per_h


class TargetControlled:
    """A Controller that never looks at a reading."""

    def __init__(self, patients: Sequence[Patient]) -> None:
        self.chart = Chart(patients)
        c = self.chart
        body = (c.age_a, c.weight_kg, c.height_cm, c.male)
        self.propofol = Infusion(schnider(*body), PER_ML[0] * MOST_ML_PER_H)
        self.remifentanil = Infusion(minto(*body), PER_ML[1] * MOST_ML_PER_H)
        self.propofol_target = PROPOFOL_TARGET * (1.0 - 0.011 * (c.age_a - 40.0))
        self.remifentanil_target = np.full(len(c), REMIFENTANIL_TARGET)

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """Nothing is needed."""

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Both rates of the next step."""
        return rates(
            self.propofol.rate_per_h(self.propofol_target),
            self.remifentanil.rate_per_h(self.remifentanil_target),
        )
