"""When a person with pens is advised, and of what: a bolus with a meal, a correction, the long-acting dose.

An advice is for a moment at which a person would inject: when a meal was told and not yet covered, or when
glucose is high three hours after the last bolus and two after the last meal, or when the last long-acting
dose is a day old. Sizes are shares of the bolus calculator's (500 and 1800 rules less what is on board),
rounded down to the pen's step; what each would do is judged on the ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent

Floats = npt.NDArray[np.float64]

RAPID, LONG = "insulin", "insulin-glargine"
SHARES = (0.0, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5)
CANDIDATES = ("no bolus", *(f"{share:.0%} of the calculator's bolus" for share in SHARES[1:]))
CORRECTION_RULE, CARBOHYDRATE_RULE, GOAL_MG_DL = 1800.0, 500.0, 115.0
MEAL_OPEN_S = 1800.0
COVERS_BEFORE_S = 900.0
CORRECT_ABOVE_MG_DL = 180.0
AFTER_BOLUS_S, AFTER_MEAL_S = 10_800.0, 7200.0
LONG_EVERY_S = 85_800.0
"""23 h 50 min: a decision that comes a little early still finds the dose due."""
KEPT_S = 180_000.0


class Diary(msgspec.Struct):
    """What one patient reported, each as (at_s, uid, amount); covariates that only the advice needs."""

    weight_kg: float
    daily_dose_U: float
    step_U: float
    evening_hour: float
    newest_s: float = float("-inf")
    boluses: list[tuple[float, int, float]] = msgspec.field(default_factory=list)
    meals: list[tuple[float, int, float]] = msgspec.field(default_factory=list)
    long_acting: list[tuple[float, int, float]] = msgspec.field(default_factory=list)

    def take(self, fact: TwinEvent) -> None:
        """Write a fact down, once; what is older than two days is forgotten."""
        self.newest_s = max(self.newest_s, fact.at_s)
        page = None
        if fact.kind == "bolus":
            page = self.long_acting if fact.name == LONG else self.boluses
        elif fact.kind == "meal":
            page = self.meals
        if page is None:
            return
        entry = (fact.at_s, fact.uid, fact.value)
        if entry not in page:
            page.append(entry)
            page.sort()
            while page[0][0] < self.newest_s - KEPT_S:
                page.pop(0)

    def long_doses(self) -> tuple[tuple[float, float], ...]:
        """(at_s, U) of the long-acting doses."""
        return tuple((at_s, amount) for at_s, _, amount in self.long_acting)

    def open_meal_g(self, at_s: float) -> float:
        """Carbohydrate told within the last half hour and not covered by a bolus."""
        last = max((t for t, _, _ in self.boluses if t <= at_s), default=float("-inf"))
        return sum(
            grams
            for t, _, grams in self.meals
            if 0.0 <= at_s - t <= MEAL_OPEN_S and last < t - COVERS_BEFORE_S
        )

    def may_correct(self, at_s: float, glucose_mg_dL: float) -> bool:
        """Whether a correction without a meal is for now."""
        last = max((t for t, _, _ in self.boluses), default=float("-inf"))
        ate = max((t for t, _, _ in self.meals), default=float("-inf"))
        high = glucose_mg_dL > CORRECT_ABOVE_MG_DL
        return high and at_s - last >= AFTER_BOLUS_S and at_s - ate >= AFTER_MEAL_S

    def long_acting_due(self, at_s: float) -> bool:
        """A day after the last dose; in the evening where none is known."""
        if self.long_acting:
            return at_s - self.long_acting[-1][0] >= LONG_EVERY_S
        return at_s / 3600.0 % 24.0 >= self.evening_hour


def calculator_U(
    glucose_mg_dL: float, gut_g: float, on_board_U: float, daily_dose_U: float, maximum_U: float
) -> float:
    """The bolus calculator's requirement: correction and carbohydrate to come, less what is on board."""
    needed = (glucose_mg_dL - GOAL_MG_DL) * daily_dose_U / CORRECTION_RULE
    needed += gut_g * daily_dose_U / CARBOHYDRATE_RULE - on_board_U
    return min(max(needed, 0.0), maximum_U)


def sizes_U(requirement_U: float, step_U: float) -> Floats:
    """The candidates' boluses [C], multiples of the pen's step."""
    return np.asarray(np.floor(np.array(SHARES) * requirement_U / step_U + 1e-6) * step_U)


def injection(drug: str, amount_U: float) -> tuple[Order, ...]:
    """An order to inject; nothing for nothing."""
    if amount_U <= 0.0:
        return ()
    return (Order(drug=drug, route="subcutaneous", kind="bolus", amount=round(float(amount_U), 2), unit="U"),)


def sentence(orders: Sequence[Order], meal_g: float, glucose: float, lowest: float, below_70: float) -> str:
    """What is advised and why."""
    seen = f"glucose {glucose:.0f} mg/dL"
    if not orders:
        return f"nothing to inject now: {seen}"
    order = orders[0]
    if order.drug == LONG:
        return f"{order.amount:g} U long-acting for the coming day, by what holds a fasting glucose; {seen}"
    why = f"for the meal of {meal_g:.0f} g" if meal_g > 0.0 else "as a correction"
    return (
        f"{order.amount:g} U {why}: {seen}, 5 % of futures below {lowest:.0f} mg/dL, "
        f"chance of less than 70 within 5 h {below_70:.0%}"
    )
