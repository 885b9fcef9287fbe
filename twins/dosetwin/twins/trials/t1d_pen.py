"""The virtual trial of `t1d-pen`: the patients of `t1d-insulin` with pens; see `pen_plant`.

dosetwin trial t1d-pen --patients 20 --days 3 --policy dosetwin --policy injections --seed 5001
"""

from __future__ import annotations

from dosetwin.platform.contracts import Order
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.glucose_basal_bolus import BasalBolus
from dosetwin.twins.trials.glucose_figures import figures
from dosetwin.twins.trials.glucose_measures import MEASURES
from dosetwin.twins.trials.glucose_options import CHALLENGES, OPTIONS
from dosetwin.twins.trials.glucose_patients import settings_of
from dosetwin.twins.trials.pen_plant import LONG, PEN_STEP_U, PenPlant
from dosetwin.twins.trials.trial import Comparator, Controller, Trial

EVENING_S = 22 * 3600.0


class Injections(BasalBolus):
    """The bolus calculator with the patient's own ratio, and the basal rate's amount at 22:00 every day."""

    def __init__(self, patients: tuple[Patient, ...]) -> None:
        super().__init__(patients)
        self._daily_U = [24.0 * settings_of(patient).basal_U_per_h for patient in patients]

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        """Each patient's orders now."""
        orders = [
            tuple(order for order in mine if order.amount >= PEN_STEP_U) for mine in super().decide(at_s)
        ]
        if at_s % 86_400.0 != EVENING_S:
            return orders
        return [
            (*mine, Order(drug=LONG, route="subcutaneous", kind="bolus", amount=round(daily, 1), unit="U"))
            for mine, daily in zip(orders, self._daily_U, strict=True)
        ]


def _injections(patients: tuple[Patient, ...], seed: int) -> Controller:
    return Injections(patients)


trial = Trial(
    therapy="t1d-pen",
    plants={"uva_padova_pens": PenPlant},
    comparators={
        "injections": Comparator(
            _injections, "Boluses by the own ratio with meals and corrections, a fixed long-acting dose"
        ),
    },
    measures=MEASURES,
    default_days=14.0,
    figures=figures,
    groups=("adult", "adolescent", "child"),
    challenges=CHALLENGES,
    options={**OPTIONS, "announced": "yes (default) | no: whether meals are told when they begin"},
)
