"""What a candidate orders of the two pumps, and what it is called."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.twins.policies.anaesthesia_moves import GENTLE, PEAK_NG_ML, PROPOFOL, REMIFENTANIL_NG_ML
from dosetwin.twins.policies.anaesthesia_targets import (
    BURST,
    BURST_S,
    HOLD_S,
    PROPOFOL_INCREMENT_MG_H,
    REMIFENTANIL_INCREMENT_UG_H,
    RENEW_AFTER_S,
)

PROPOFOL_MOVES: Final = (
    "hold propofol",
    "stop propofol",
    *(
        f"propofol to {factor:.0%} of need" if factor != 1.0 else "propofol to need"
        for factor in PROPOFOL[1:]
    ),
)
REMIFENTANIL_MOVES: Final = (
    "hold remifentanil",
    "stop remifentanil",
    *(
        f"remifentanil {'' if k < GENTLE else 'quickly '}to {level:g} ng/mL"
        for k, level in enumerate(REMIFENTANIL_NG_ML[: -len(PEAK_NG_ML)])
        if k > 0
    ),
    *(f"remifentanil past {peak:g} ng/mL" for peak in PEAK_NG_ML),
)
CANDIDATES: Final = tuple(f"{p}, {r}" for r in REMIFENTANIL_MOVES for p in PROPOFOL_MOVES)
"""Every pair of moves, propofol's running fastest."""
_KEEP: Final = 0
_orders: dict[tuple[int, int], tuple[Order, ...]] = {}


def _rate(drug: str, unit: str, amount: float, burst: bool) -> Order:
    return Order(
        drug=drug,
        route="intravenous",
        kind="rate",
        amount=amount,
        unit=unit,
        duration_s=BURST_S if burst else HOLD_S,
    )


def orders(code_p: int, code_r: int) -> tuple[Order, ...]:
    """The orders of two codes (`order_codes`)."""
    made = _orders.get((code_p, code_r))
    if made is None:
        parts = []
        for code, drug, unit, increment in (
            (code_p, "propofol", "mg/h", PROPOFOL_INCREMENT_MG_H),
            (code_r, "remifentanil", "ug/h", REMIFENTANIL_INCREMENT_UG_H),
        ):
            if code != _KEEP:
                steps, burst = divmod(code - 1, 2)
                parts.append(_rate(drug, unit, steps * increment, bool(burst)))
        made = _orders[code_p, code_r] = tuple(parts)
    return made


def order_codes(
    first_per_h: npt.NDArray[np.floating],
    second_per_h: npt.NDArray[np.floating],
    running_per_h: npt.NDArray[np.floating],
    age_s: npt.NDArray[np.floating],
    increment: float,
) -> npt.NDArray[np.int64]:
    """Rates [candidates, patients] as numbers: 0 leaves the pump as it is, 1 + 2 k + burst is k increments.

    A pump that stands still is left so; one that runs at the wish is told again once its rate is
    `RENEW_AFTER_S` old.
    """
    steps = np.floor(first_per_h / increment + 1e-3).astype(np.int64)
    burst = first_per_h > BURST * second_per_h + increment
    now = np.rint(running_per_h / increment).astype(np.int64)
    keep = (steps == now) & ((now == 0) | (age_s < RENEW_AFTER_S))
    return np.where(keep, _KEEP, 1 + 2 * steps + burst)
