"""What a person with a pump and a bolus calculator does, and the pump that suspends before a low.

    meal:        carbohydrate / ratio + (glucose - target) / correction factor - insulin on board
    otherwise:   (glucose - target) / correction factor - insulin on board, above 180 mg/dL, each 2 h at most
    within 6 h of a meal that was told, half of (glucose - target) / correction factor

Insulin on board reduces the correction and never the meal's part; a reading below the target reduces the
meal's (the usual calculator: Walsh & Roberts, Pumping Insulin; Schmidt & Norgaard, J Diabetes Sci Technol
2014;8:1035). The basal rate is the pump's own programme. Ratio and factor are the patient's own. The half was
chosen on our virtual patients with seeds below 1000: with all of it they were lower and no longer in range.

Suspension: off for 30 min when the straight line through the readings of 20 min meets 80 mg/dL within 30
min, or below 70 mg/dL, unless glucose rises (after Forlenza et al., Diabetes Care 2018;41:2155,
doi:10.2337/dc18-0771).
"""

from __future__ import annotations

from collections.abc import Sequence

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.glucose_patients import settings_of
from dosetwin.twins.trials.glucose_record import PatientRecord

TARGET_MG_DL = 120.0
CORRECT_ABOVE_MG_DL = 180.0
CORRECT_EVERY_MIN = 120.0
SUSPEND_PREDICTED_BELOW_MG_DL, SUSPEND_BELOW_MG_DL = 80.0, 70.0
LOOK_AHEAD_MIN = 30.0
SUSPEND_S = 1800.0
LEAST_U = 0.05
AFTER_MEAL_S, AFTER_MEAL_SHARE = 21_600.0, 0.5


class BasalBolus:
    """A `trial.Controller`. `suspends`: the pump stops before a low; `doses`: somebody gives boluses."""

    def __init__(self, patients: Sequence[Patient], *, doses: bool = True, suspends: bool = False) -> None:
        self._settings = [settings_of(patient) for patient in patients]
        self._records = [PatientRecord(settings.basal_U_per_h) for settings in self._settings]
        self._doses, self._suspends = doses, suspends

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """What arrived since the last call, a sequence a patient."""
        for record, news in zip(self._records, facts, strict=True):
            record.take(news)

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Each patient's orders now."""
        return [self._orders(i, at_s) for i in range(len(self._records))]

    def _orders(self, i: int, at_s: float) -> tuple[Order, ...]:
        record = self._records[i]
        orders: list[Order] = []
        amount_U = self._bolus_U(i, at_s)
        if self._doses and amount_U >= LEAST_U:
            orders.append(
                Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount_U, unit="U")
            )
        glucose = record.glucose_mg_dL(at_s)
        if self._suspends and glucose is not None:
            slope = record.slope_mg_dL_per_min(at_s)
            falls = slope <= 0.0 and (
                glucose < SUSPEND_BELOW_MG_DL
                or glucose + LOOK_AHEAD_MIN * slope < SUSPEND_PREDICTED_BELOW_MG_DL
            )
            stopped = record.rate_U_per_h == 0.0
            programme = self._settings[i].basal_U_per_h
            if falls:
                orders.append(_rate(0.0, SUSPEND_S))
            elif stopped and slope > 0.0:
                orders.append(_rate(programme, 0.0))
        return tuple(orders)

    def _bolus_U(self, i: int, at_s: float) -> float:
        settings, record = self._settings[i], self._records[i]
        carbohydrate_g, glucose = record.announced_g(), record.glucose_mg_dL(at_s)
        needed = 0.0
        if glucose is not None:
            needed = (glucose - TARGET_MG_DL) / settings.correction_factor_mg_dL_per_U
        if at_s - record.meal_s < AFTER_MEAL_S:
            needed *= AFTER_MEAL_SHARE
        correction = max(needed - record.bolus_on_board_U(at_s), 0.0) if needed > 0.0 else needed
        if carbohydrate_g > 0.0:
            return carbohydrate_g / settings.carbohydrate_ratio_g_per_U + correction
        waited = record.minutes_since_bolus(at_s) >= CORRECT_EVERY_MIN
        return correction if waited and glucose is not None and glucose > CORRECT_ABOVE_MG_DL else 0.0


def _rate(amount_U_per_h: float, duration_s: float) -> Order:
    return Order(
        drug="insulin",
        route="subcutaneous",
        kind="rate",
        amount=amount_U_per_h,
        unit="U/h",
        duration_s=duration_s,
    )
