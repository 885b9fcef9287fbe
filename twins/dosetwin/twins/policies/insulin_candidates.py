"""The insulin candidates: what a pump could be ordered to do now.

Five basal rates for the next half hour (oref0 and Loop adjust the basal rate for 30 min at a time), and
boluses: four
small ones with the basal rate as programmed, and eight with the basal rate suspended, which give the
insulin of the
next hours at once and take it back where it turns out not to be needed (a super-bolus). Boluses are shares
of what a
bolus calculator would call for at most: correction to the goal, carbohydrate still in the gut, an hour of
basal
rate, less insulin on board. What any of them would do is judged on the ensemble, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order

FloatArray = npt.NDArray[np.float64]

MULTIPLIERS: Final = (0.0, 0.5, 1.0, 1.5, 2.0)
SHARES: Final = (0.04, 0.08, 0.14, 0.22, 0.33, 0.48, 0.7, 1.0)
"""Of the largest bolus worth a thought. Our assumption: steps of about a half, since another decision
follows."""
WITH_BASAL: Final = 4
"""The smallest of them are offered with the basal programme too."""
CANDIDATES: Final = (
    "suspend 30 min",
    "basal x 0.5",
    "basal",
    "basal x 1.5",
    "basal x 2",
    *(f"micro-bolus {100 * share:.0f} %" for share in SHARES[:WITH_BASAL]),
    *(f"bolus {100 * share:.0f} %, suspend" for share in SHARES),
)
BASAL: Final = CANDIDATES.index("basal")
FIRST_BOLUS: Final = len(MULTIPLIERS)
RATE_DURATION_S: Final = 1800.0
RENEW_BELOW_S: Final = 600.0
"""A running temporary rate that equals the wish is renewed when no more than this is left of it."""
BOLUS_INCREMENT_U: Final = 0.05
RATE_INCREMENT_U_PER_H: Final = 0.05
"""Increments that common pumps deliver in."""
GENEROUS: Final = 1.3
"""The largest bolus, in what the bolus calculator calls for: it does not know the members. Our assumption."""


def round_down(amount: FloatArray, increment: FloatArray | float) -> FloatArray:
    """`amount` rounded down to the pump's increment, never below zero (1e-6 of slack for float32)."""
    return np.maximum(np.floor(np.asarray(amount) / increment + 1e-6), 0.0) * increment


def rates(basal_U_per_h: FloatArray, increment_U_per_h: FloatArray | float) -> FloatArray:
    """[candidates, patients] U/h of each candidate, as the pump would run it; the programme stays exact."""
    of = (*MULTIPLIERS, *(1.0,) * WITH_BASAL, *(0.0,) * len(SHARES))
    multipliers = np.array(of)[:, None]
    return np.where(
        multipliers == 1.0, basal_U_per_h, round_down(multipliers * basal_U_per_h, increment_U_per_h)
    )


def boluses(
    correction_U: FloatArray,
    carbohydrate_U: FloatArray,
    on_board_U: FloatArray,
    basal_U_per_h: FloatArray,
    maximum_U: FloatArray,
    increment_U: FloatArray | float,
) -> FloatArray:
    """[candidates, patients] U of each candidate's bolus, rounded down to the pump's increment."""
    requirement = np.maximum(correction_U + carbohydrate_U - on_board_U, 0.0)
    largest = np.minimum(GENEROUS * requirement + basal_U_per_h, maximum_U)
    of = (*(0.0,) * len(MULTIPLIERS), *SHARES[:WITH_BASAL], *SHARES)
    return round_down(np.array(of)[:, None] * largest, increment_U)


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
                    amount=round((rate - 1) * _RESOLUTION, 4),
                    unit="U/h",
                    duration_s=RATE_DURATION_S,
                ),
            )
        if bolus > 0:
            amount = round(bolus * _RESOLUTION, 4)
            made = (
                *made,
                Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount, unit="U"),
            )
        self[code] = made
        return made


_CODES: Final = 1 << 20
"""Boluses are coded below this many of _RESOLUTION."""
_RESOLUTION: Final = 0.0005
"""U or U/h that a code counts in: every pump's increment is a multiple."""
ORDERS: Final[Mapping[int, tuple[Order, ...]]] = _Orders()
"""What a code of `order_codes` orders."""


def order_codes(
    rates_U_per_h: FloatArray,
    boluses_U: FloatArray,
    running_U_per_h: FloatArray,
    left_s: FloatArray,
    basal_U_per_h: FloatArray,
    increment_U_per_h: FloatArray | float = RATE_INCREMENT_U_PER_H,
) -> npt.NDArray[np.int64]:
    """[patient, candidate]: what a candidate would order of a pump that runs `running_U_per_h`, as a number.

    `rates_U_per_h`, `boluses_U` are [candidates, patients], the rest [patients]; `left_s` is what is left of
    a temporary rate. No rate is ordered where the pump does it already: the programmed rate, or an equal
    temporary one with more than `RENEW_BELOW_S` left. A pump that has not spoken yet (`running_U_per_h`
    NaN) is always
    told. A bolus of nothing is no order.
    """
    same = np.abs(rates_U_per_h - running_U_per_h) < increment_U_per_h
    programmed = np.abs(rates_U_per_h - basal_U_per_h) < increment_U_per_h
    leave = same & (programmed | (left_s > RENEW_BELOW_S))
    delivered = round_down(rates_U_per_h, increment_U_per_h)
    rate = np.where(leave, 0, 1 + _counted(delivered))
    codes: npt.NDArray[np.int64] = rate * _CODES + _counted(boluses_U)
    return np.ascontiguousarray(codes.T)


def _counted(amount: FloatArray) -> npt.NDArray[np.int64]:
    return np.rint(amount / _RESOLUTION).astype(np.int64)
