"""The supervisor said again, slowly: is this amount acceptable? If not, bisect for the most that is.

Shares no code and no algebra with the supervisor. Works in exact rational arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from dosetwin.platform.contracts import Order
from dosetwin.twins.safety import Situation
from dosetwin.twins.therapy import Bound

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def expected(orders: tuple[Order, ...], s: Situation, limits: Mapping[str, Bound]) -> list[tuple[str, float]]:
    """(kind, amount) of the orders that may leave, for well-formed input in matching units."""
    zeros: list[tuple[str, float]] = [
        (o.kind, 0.0) for o in orders if o.amount == 0 and o.kind in ("rate", "regimen")
    ]
    if any("suspend" in why for why in _low(s, limits)):
        kept: list[tuple[str, float]] = []
        fell = False
        for o in orders:
            if o.amount > 0 and o.kind != "rate":
                fell = True
            elif o.kind == "rate" or o.amount == 0:
                kept.append((o.kind, 0.0))
        if fell:
            kept = [(kind, amount) for kind, amount in kept if kind in ("rate", "regimen")]
        return _unless_repeated(kept, s)
    if all(o.amount == 0 for o in orders):
        return _unless_repeated([(str(o.kind), 0.0) for o in orders], s)
    if _forbidden(orders, s, limits):
        return _unless_repeated(zeros, s)
    taken: list[Order] = []
    amounts: list[tuple[str, float]] = []
    for o in orders:
        if o.amount == 0:
            amounts.append((o.kind, 0.0))
            continue
        most = _most(o, taken, s, limits)
        if most <= 0 and o.kind != "rate":
            return _unless_repeated(zeros, s)
        amounts.append((o.kind, float(most)))
        taken.append(_with(o, most))
    return _unless_repeated(amounts, s)


def _low(s: Situation, limits: Mapping[str, Bound]) -> list[str]:
    found = []
    if "suspend_below" in limits and s.observed is not None and s.observed < limits["suspend_below"].value:
        found.append("suspend: low now")
    bound = limits.get("suspend_predicted_below")
    if bound is not None and s.lowest is not None and s.lowest < bound.value:
        found.append("suspend: low foreseen")
    return found


def _unless_repeated(kept: list[tuple[str, float]], s: Situation) -> list[tuple[str, float]]:
    gives = any(amount > 0 for _, amount in kept)
    return [] if s.pending_command and s.pending_suspends and not gives else kept


def _forbidden(orders: tuple[Order, ...], s: Situation, limits: Mapping[str, Bound]) -> bool:
    if s.pending_command is not None or s.suspect:
        return True
    if s.observed is None or s.observed_at_s is None:
        if "stale_after" in limits or "suspend_below" in limits:
            return True
    else:
        age = s.now_s - s.observed_at_s
        if age < -300 or ("stale_after" in limits and age > _span(limits["stale_after"])):
            return True
    if "flat_after" in limits and s.flat_s > _span(limits["flat_after"]):
        return True
    if "suspend_predicted_below" in limits and s.lowest is None:
        return True
    for o in orders:
        if o.amount == 0:
            continue
        need = {"rate": "maximum_rate", "bolus": "maximum_bolus"}.get(o.kind, "maximum_amount")
        if need not in limits or "maximum_24h" not in limits:
            return True
        if o.kind == "bolus" and "maximum_on_board" not in limits:
            return True
        if (
            o.kind != "rate"
            and "minimum_interval" in limits
            and s.last_order_s is not None
            and s.now_s - s.last_order_s < _span(limits["minimum_interval"])
        ):
            return True
    return False


def _span(bound: Bound) -> float:
    return bound.value * SECONDS[bound.unit]


def _most(o: Order, taken: list[Order], s: Situation, limits: Mapping[str, Bound]) -> Fraction:
    if _acceptable(o, Fraction(o.amount), taken, s, limits):
        return Fraction(o.amount)
    low, high = Fraction(0), Fraction(o.amount)
    for _ in range(60):
        middle = (low + high) / 2
        if _acceptable(o, middle, taken, s, limits):
            low = middle
        else:
            high = middle
    return low if low > Fraction(o.amount) / 10**12 else Fraction(0)


def _acceptable(
    o: Order, amount: Fraction, taken: list[Order], s: Situation, limits: Mapping[str, Bound]
) -> bool:
    basal = Fraction(s.basal_rate or 0)
    hours = Fraction(o.duration_s) / 3600

    def above(name: str, value: Fraction) -> bool:
        return name in limits and value > Fraction(limits[name].value)

    if above("maximum_rate", amount if o.kind == "rate" else amount / hours if hours else Fraction(0)):
        return False
    if o.kind == "bolus" and above("maximum_bolus", amount):
        return False
    if o.kind != "rate" and above("maximum_amount", amount):
        return False
    before = sum((_extra(t, Fraction(t.amount), basal) for t in taken), Fraction(0))
    extra = _extra(o, amount, basal)
    for name, start in (("maximum_on_board", s.on_board), ("maximum_24h", s.given_24h)):
        if extra > 0 and above(name, Fraction(start) + before + extra):
            return False
    return not (o.kind == "regimen" and above("maximum_24h", amount * 86400 / Fraction(o.interval_s)))


def _extra(o: Order, amount: Fraction, basal: Fraction) -> Fraction:
    if o.kind != "rate":
        return amount
    return max(amount - basal, Fraction(0)) * Fraction(o.duration_s) / 3600


def _with(o: Order, amount: Fraction) -> Order:
    return Order(
        drug=o.drug,
        route=o.route,
        kind=o.kind,
        amount=float(amount),
        unit=o.unit,
        duration_s=o.duration_s,
        interval_s=o.interval_s,
    )
