"""The insulin candidates: what a pump could be ordered to do for the next half hour.

Basal multipliers (oref0 and Loop adjust the basal rate for 30 min at a time) and three boluses with the
basal rate as programmed: a micro-bolus (oref0: at most half the requirement and 30 min of basal), half the
requirement, and the requirement. The requirement is the bolus calculator's: correction to target plus
carbohydrate still in the gut, less insulin on board. What it would do is judged on the ensemble, not here.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order

FloatArray = npt.NDArray[np.float64]

MULTIPLIERS: Final = (0.0, 0.5, 1.0, 1.5, 2.0)
CANDIDATES: Final = (
    "suspend 30 min",
    "basal x 0.5",
    "basal",
    "basal x 1.5",
    "basal x 2",
    "micro-bolus",
    "half bolus",
    "bolus",
)
BASAL: Final = CANDIDATES.index("basal")
FIRST_BOLUS: Final = len(MULTIPLIERS)
RATE_DURATION_S: Final = 1800.0
RENEW_BELOW_S: Final = 600.0
"""A running temporary rate that equals the wish is renewed when no more than this is left of it."""
BOLUS_INCREMENT_U: Final = 0.05
RATE_INCREMENT_U_PER_H: Final = 0.05
"""Increments that common pumps deliver in."""
CORRECTION_RULE: Final = 1800.0
"""mg/dL that 1 U lowers, times total daily dose (the 1800 rule for rapid-acting insulin)."""
CARBOHYDRATE_RULE: Final = 500.0
"""g that 1 U covers, times total daily dose (the 500 rule)."""


def round_down(amount: FloatArray, increment: float) -> FloatArray:
    """`amount` rounded down to the pump's increment, never below zero (1e-6 of slack for float32)."""
    return np.maximum(np.floor(np.asarray(amount) / increment + 1e-6), 0.0) * increment


def rates(basal_U_per_h: FloatArray) -> FloatArray:
    """[candidates, patients] U/h of each candidate, as the pump would run it; the programme stays exact."""
    multipliers = np.array((*MULTIPLIERS, *(1.0,) * (len(CANDIDATES) - FIRST_BOLUS)))[:, None]
    return np.where(
        multipliers == 1.0, basal_U_per_h, round_down(multipliers * basal_U_per_h, RATE_INCREMENT_U_PER_H)
    )


def boluses(
    glucose_mg_dL: FloatArray,
    goal_mg_dL: FloatArray,
    gut_g: FloatArray,
    on_board_U: FloatArray,
    total_daily_dose_U: FloatArray,
    basal_U_per_h: FloatArray,
    maximum_U: FloatArray,
) -> FloatArray:
    """[candidates, patients] U of each candidate's bolus, rounded down to the pump's increment."""
    requirement = (
        (glucose_mg_dL - goal_mg_dL) * total_daily_dose_U / CORRECTION_RULE
        + gut_g * total_daily_dose_U / CARBOHYDRATE_RULE
        - on_board_U
    )
    requirement = np.clip(requirement, 0.0, maximum_U)
    out = np.zeros((len(CANDIDATES), len(requirement)))
    out[FIRST_BOLUS] = np.minimum(0.5 * requirement, 0.5 * basal_U_per_h)
    out[FIRST_BOLUS + 1] = 0.5 * requirement
    out[FIRST_BOLUS + 2] = requirement
    return round_down(out, BOLUS_INCREMENT_U)


def _down(amount: float, increment: float) -> float:
    return round(math.floor(amount / increment + 1e-6) * increment, 4)


@lru_cache(maxsize=65_536)
def _rate_order(amount: float) -> Order:
    return Order(
        drug="insulin",
        route="subcutaneous",
        kind="rate",
        amount=amount,
        unit="U/h",
        duration_s=RATE_DURATION_S,
    )


@lru_cache(maxsize=65_536)
def _bolus_order(amount: float) -> Order:
    return Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount, unit="U")


def orders(
    rate_U_per_h: float, bolus_U: float, running_U_per_h: float, left_s: float, basal_U_per_h: float
) -> tuple[Order, ...]:
    """What a candidate would order of a pump that runs `running_U_per_h`, for another `left_s` where temporary.

    Nothing where the pump does it already: the programmed rate, or an equal temporary rate with more than
    `RENEW_BELOW_S` left. A bolus of nothing is no order.
    """
    same = abs(rate_U_per_h - running_U_per_h) < RATE_INCREMENT_U_PER_H
    programmed = abs(rate_U_per_h - basal_U_per_h) < RATE_INCREMENT_U_PER_H
    wanted: tuple[Order, ...] = ()
    if not (same and (programmed or left_s > RENEW_BELOW_S)):
        wanted = (_rate_order(_down(rate_U_per_h, RATE_INCREMENT_U_PER_H)),)
    if bolus_U > 0.0:
        wanted = (*wanted, _bolus_order(_down(bolus_U, BOLUS_INCREMENT_U)))
    return wanted
