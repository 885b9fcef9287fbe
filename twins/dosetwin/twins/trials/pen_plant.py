"""The same virtual patients with pens: rapid-acting insulin when they inject, and a long-acting dose a day.

Long-acting insulin dissolves from its precipitate and is then absorbed, each at a constant rate:

    dA1 = -k1 A1,  dA2 = k1 A1 - k2 A2,  k1 = ln 2 / 24 h, k2 = ln 2 / 2 h
    k2 A2 reaches the rapid-acting depot

Not the twin's release (even over 24 h). A precipitate as the step that delays is the structure of Wong et
al., J Diabetes Sci Technol 2008;2:658; the half-lives are our assumption: a quarter is gone after about 12
h, in the order of what Owens et al., Diabetes Care 2000;23:813, measured. Before the trial the basal rate's
amount was injected at 22:00 every day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.plants.diabetes_settings import ClinicalSettings
from dosetwin.twins.trials.glucose_plant import RUN_IN_MIN, GlucosePlant
from dosetwin.twins.trials.glucose_pump import Devices, rounded_down
from dosetwin.twins.trials.trial import Cohort

Floats = npt.NDArray[np.float64]

LONG = "insulin-glargine"
PEN_STEP_U = 0.5
LARGEST_U = 60.0
K1_PER_MIN, K2_PER_MIN = math.log(2.0) / 1440.0, math.log(2.0) / 120.0
EVENING_MIN = -120
"""22:00 of the day before."""
DAYS_BEFORE = 15


class InsulinPens:
    """`precipitate_U`, `dissolved_U`, `waiting_U` [n] are their state."""

    def __init__(self, daily_U: Floats, from_min: float, delivered_share: float = 1.0) -> None:
        n = len(daily_U)
        self.rate_U_per_h = np.zeros(n)
        self.waiting_U = np.zeros(n)
        self._delivered_share = delivered_share
        ages = from_min - (EVENING_MIN - 1440.0 * np.arange(1, DAYS_BEFORE))
        left = np.exp(-K1_PER_MIN * ages)
        between = K1_PER_MIN / (K2_PER_MIN - K1_PER_MIN) * (left - np.exp(-K2_PER_MIN * ages))
        self.precipitate_U = daily_U * left.sum()
        self.dissolved_U = daily_U * between.sum()

    def take(self, patient: int, orders: Sequence[Order], at_min: float) -> list[tuple[str, str, float]]:
        """Inject; half units, rounded down. Raises DoseTwinError on an order no pen can give."""
        reports: list[tuple[str, str, float]] = []
        for order in orders:
            if order.kind != "bolus" or order.unit != "U" or order.drug not in ("insulin", LONG):
                raise DoseTwinError(
                    f"found an order of {order.drug} as {order.kind} in {order.unit}; a pen gives a bolus, U",
                    remedy=f"order a bolus of insulin or {LONG}",
                )
            amount = rounded_down(order.amount, PEN_STEP_U, LARGEST_U)
            if amount <= 0.0:
                continue
            arrives = self._delivered_share * amount
            if order.drug == LONG:
                self.precipitate_U[patient] += arrives
            else:
                self.waiting_U[patient] += arrives
            reports.append(("bolus", order.drug, amount))
        return reports

    def minute(self, at_min: float) -> tuple[Floats, npt.NDArray[np.intp]]:
        """What reaches the rapid-acting depot in the minute, U [n]: an injection at once, and the release."""
        before = self.precipitate_U + self.dissolved_U
        left = math.exp(-K1_PER_MIN)
        passed = K1_PER_MIN / (K2_PER_MIN - K1_PER_MIN) * (left - math.exp(-K2_PER_MIN))
        self.dissolved_U = self.dissolved_U * math.exp(-K2_PER_MIN) + self.precipitate_U * passed
        self.precipitate_U = self.precipitate_U * left
        bolus, self.waiting_U = self.waiting_U, np.zeros_like(self.waiting_U)
        return before - self.precipitate_U - self.dissolved_U + bolus, np.empty(0, np.intp)


class PenPlant(GlucosePlant):
    """Type-1 diabetes on the UVA/Padova model with pens: the people, days and sensor of the pump's plant.

    Meals are told unless the option `announced=no` says otherwise; a person injects what is advised.
    """

    def __init__(self, cohort: Cohort) -> None:
        told = {"announced": "yes", **cohort.options}
        super().__init__(
            Cohort(cohort.numbers, cohort.seed, cohort.days, cohort.group, cohort.challenge, told)
        )

    def _devices(self, settings: ClinicalSettings, delivered_share: float) -> Devices:
        self._daily_U = np.array(
            [rounded_down(24.0 * rate + 0.25, PEN_STEP_U, LARGEST_U) for rate in settings.basal_U_per_h]
        )
        return InsulinPens(self._daily_U, -float(RUN_IN_MIN), delivered_share)

    def _at_first(self, facts: list[list[TwinEvent]]) -> None:
        """Nothing is said when the run-in begins; the evening's dose comes within it."""

    def _live(self, facts: list[list[TwinEvent]]) -> None:
        if self._minute == EVENING_MIN:
            for i, amount in enumerate(self._daily_U):
                order = Order(drug=LONG, route="subcutaneous", kind="bolus", amount=float(amount), unit="U")
                for kind, drug, given in self._pumps.take(i, [order], self._minute):
                    facts[i].append(self._fact(i, kind, drug, given, self._minute))
        super()._live(facts)
