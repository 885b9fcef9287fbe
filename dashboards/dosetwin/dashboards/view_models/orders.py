"""An order in words, the same on every page and in every dialog."""

from __future__ import annotations

from collections.abc import Iterable

from dosetwin.dashboards.presentation import shown_unit, words
from dosetwin.dashboards.view_models.words import duration, number
from dosetwin.platform.contracts import Bolus, Infusion, MissedDose, Order, RateChange
from dosetwin.platform.contracts.dose import Administration


def order_words(order: Order) -> str:
    """`Insulin 0.45 U/h for 30 min, subcutaneous`."""
    dose = f"{words(order.drug)} {number(order.amount)} {shown_unit(order.unit)}"
    match order.kind:
        case "bolus":
            how = "at once"
        case "rate":
            how = f"for {duration(order.duration_s)}" if order.duration_s else "until changed"
        case "infusion":
            how = f"over {duration(order.duration_s)}"
        case "regimen":
            over = f"over {duration(order.duration_s)} " if order.duration_s else ""
            how = f"{over}every {duration(order.interval_s)}"
    return f"{dose} {how}, {order.route}"


def orders_words(orders: Iterable[Order]) -> str:
    """Several orders, all or none; `leave as it is` where there is none."""
    return "; ".join(order_words(order) for order in orders) or "leave as it is"


def administration_words(administration: Administration) -> str:
    """`Insulin 3.5 U bolus`, what a device reports to have given."""
    drug, unit = words(administration.drug), shown_unit(administration.unit)
    match administration:
        case Bolus(amount=amount):
            return f"{drug} {number(amount)} {unit} bolus"
        case Infusion(amount=amount, duration_s=duration_s):
            return f"{drug} {number(amount)} {unit} over {duration(duration_s)}"
        case RateChange(rate=rate):
            return f"{drug} {number(rate)} {unit} from now on"
        case MissedDose(amount=amount):
            return f"{drug} {number(amount)} {unit} missed"
