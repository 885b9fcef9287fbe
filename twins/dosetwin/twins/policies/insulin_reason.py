"""The sentence that says why."""

from __future__ import annotations

from dosetwin.platform.contracts import Order


def reason(
    candidate: str,
    orders: tuple[Order, ...],
    *,
    feasible: bool,
    glucose_mg_dL: float,
    lowest_mg_dL: float,
    below_70: float,
    median_end_mg_dL: float,
    on_board_U: float,
    gut_g: float,
) -> str:
    """Why this candidate, for a clinician: what is ordered, what is expected, what it rests on."""
    what = "; ".join(
        f"{order.amount:g} {order.unit}"
        + (f" for {order.duration_s / 60:.0f} min" if order.duration_s else " now")
        for order in orders
    )
    basis = f"{on_board_U:.1f} U on board"
    if gut_g >= 1.0:
        basis += f", {gut_g:.0f} g carbohydrate still to come"
    expected = (
        f"glucose {glucose_mg_dL:.0f} mg/dL, expected {median_end_mg_dL:.0f} in 4 h; a 1 in 20 chance of "
        f"{lowest_mg_dL:.0f} or lower, {100 * below_70:.0f} % of below 70"
    )
    choice = f"{candidate} ({what})" if what else f"{candidate}, as the pump already does"
    if not feasible:
        choice += ": no option keeps the risk of low glucose within bounds, this has the least"
        return f"{choice}; {expected}; {basis}."
    return f"{choice}: {expected}; {basis}."
