"""The insulin candidates: what a pump could be ordered to do for the next half hour.

Basal multipliers (oref0 and Loop adjust the basal rate for 30 min at a time) and three boluses with the
basal rate as programmed: a micro-bolus (oref0: at most half the requirement and 30 min of basal), half the
requirement, and the requirement. The requirement is the bolus calculator's: correction to target plus
carbohydrate still in the gut, less insulin on board. What it would do is judged on the ensemble, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
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


class _Orders(dict[int, tuple[Order, ...]]):
    """Orders by `order_codes`, made once each."""

    def __missing__(self, code: int) -> tuple[Order, ...]:
        rate, bolus = divmod(code, _CODES)
        made: tuple[Order, ...] = ()
        if rate > 0:
            made = (
                Order(
                    drug="insulin",
                    route="subcutaneous",
                    kind="rate",
                    amount=round((rate - 1) * RATE_INCREMENT_U_PER_H, 4),
                    unit="U/h",
                    duration_s=RATE_DURATION_S,
                ),
            )
        if bolus > 0:
            amount = round(bolus * BOLUS_INCREMENT_U, 4)
            made = (
                *made,
                Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount, unit="U"),
            )
        self[code] = made
        return made


_CODES: Final = 1 << 20
"""Boluses are coded below this many increments."""
ORDERS: Final[Mapping[int, tuple[Order, ...]]] = _Orders()
"""What a code of `order_codes` orders."""


def order_codes(
    rates_U_per_h: FloatArray,
    boluses_U: FloatArray,
    running_U_per_h: FloatArray,
    left_s: FloatArray,
    basal_U_per_h: FloatArray,
) -> npt.NDArray[np.int64]:
    """[patient, candidate]: what a candidate would order of a pump that runs `running_U_per_h`, as a number.

    `rates_U_per_h`, `boluses_U` are [candidates, patients], the rest [patients]; `left_s` is what is left of
    a temporary rate. No rate is ordered where the pump does it already: the programmed rate, or an equal
    temporary one with more than `RENEW_BELOW_S` left. A bolus of nothing is no order.
    """
    near = RATE_INCREMENT_U_PER_H
    same = np.abs(rates_U_per_h - running_U_per_h) < near
    programmed = np.abs(rates_U_per_h - basal_U_per_h) < near
    leave = same & (programmed | (left_s > RENEW_BELOW_S))
    rate = np.where(leave, 0, 1 + _increments(rates_U_per_h, RATE_INCREMENT_U_PER_H))
    codes: npt.NDArray[np.int64] = rate * _CODES + _increments(boluses_U, BOLUS_INCREMENT_U)
    return np.ascontiguousarray(codes.T)


def _increments(amount: FloatArray, increment: float) -> npt.NDArray[np.int64]:
    return np.floor(amount / increment + 1e-6).astype(np.int64)
