"""The room that the limits on amounts leave for an order, and the cut to it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.therapy import Bound

SECONDS_24H = 86_400.0


def fit(
    parts: list[Order | None],
    limits: Mapping[str, Bound],
    on_board: float,
    given_24h: float,
    basal_rate: float,
    findings: list[Refusal],
) -> None:
    """Cut each order, in turn, to its room, in place; an order that gets none becomes None.

    A rate takes room by its excess over `basal_rate`, what the device would give by itself; where there is
    no room at all it is cut to that rate. A regimen takes the room of its first dose beside what was given
    in the last 24 h, or of its own doses in 24 h, whichever is more: as its doses enter that window, the
    doses before it leave. All amounts are canonical; a limit in another unit than the order's refuses.
    """
    for index, order in enumerate(parts):
        if order is None or order.amount == 0:
            continue
        ceiling = order.amount
        for name, rule in ROOMS.items():
            bound = limits.get(name)
            room = None if bound is None else rule(order, bound.value, on_board, given_24h, basal_rate)
            if bound is None or room is None:
                continue
            drug = order.unit.removesuffix("/h") if order.kind == "rate" else order.unit
            if bound.unit not in _units(name, drug) or (order.kind == "rate" and drug == order.unit):
                ceiling = -1.0
                reason = f"an order in {order.unit!r} cannot be held against {name} in {bound.unit!r}"
                findings.append(_cut("malformed", order.amount, bound, "refused", reason))
                break
            most, value = room
            if order.amount > most:
                ceiling = min(ceiling, most)
                verdict = f"cut to {most:g}" if most > 0 or order.kind == "rate" else "no room"
                reason = (
                    f"a {order.kind} of {order.amount:g} {order.unit} would make it {value:g} "
                    f"of {bound.value:g} {bound.unit}: {verdict}"
                )
                effect = "reduced" if most > 0 or order.kind == "rate" else "refused"
                findings.append(_cut(name, value, bound, effect, reason))
        if ceiling < 0 or (ceiling == 0 and order.kind != "rate"):
            parts[index] = None
            continue
        if ceiling < order.amount:
            parts[index] = order = msgspec.structs.replace(order, amount=ceiling)
        added = _added(order, basal_rate)
        on_board += added
        given_24h += added


Room = tuple[float, float]
"""The most an order's amount may be, and the limited value that its proposed amount would lead to."""


def _added(order: Order, basal_rate: float) -> float:
    """What the order gives beside the device's own programme (of a regimen: one dose)."""
    if order.kind == "rate":
        return max(order.amount - basal_rate, 0.0) * order.duration_s / 3600.0
    return order.amount


def _rate(order: Order, bound: float, on_board: float, given_24h: float, basal_rate: float) -> Room | None:
    if order.kind == "rate":
        return bound, order.amount
    if order.duration_s == 0:
        return None
    hours = order.duration_s / 3600.0
    return bound * hours, order.amount / hours


def _bolus(order: Order, bound: float, on_board: float, given_24h: float, basal_rate: float) -> Room | None:
    return (bound, order.amount) if order.kind == "bolus" else None


def _amount(order: Order, bound: float, on_board: float, given_24h: float, basal_rate: float) -> Room | None:
    return None if order.kind == "rate" else (bound, order.amount)


def _on_board(order: Order, bound: float, on_board: float, given_24h: float, basal_rate: float) -> Room:
    return _beside(order, bound, on_board, basal_rate)


def _24h(order: Order, bound: float, on_board: float, given_24h: float, basal_rate: float) -> Room:
    most, value = _beside(order, bound, given_24h, basal_rate)
    if order.kind == "regimen":
        doses = max(SECONDS_24H / order.interval_s, 1.0)
        return min(most, bound / doses), max(value, order.amount * doses)
    return most, value


def _beside(order: Order, bound: float, taken: float, basal_rate: float) -> Room:
    free = max(bound - taken, 0.0)
    value = taken + _added(order, basal_rate)
    if order.kind == "rate":
        return basal_rate + free * 3600.0 / order.duration_s, value
    return free, value


ROOMS = {
    "maximum_rate": _rate,
    "maximum_bolus": _bolus,
    "maximum_amount": _amount,
    "maximum_on_board": _on_board,
    "maximum_24h": _24h,
}


def _units(name: str, drug: str) -> tuple[str, ...]:
    if name == "maximum_rate":
        return (f"{drug}/h",)
    return (drug, f"{drug}/d") if name == "maximum_24h" else (drug,)


def _cut(limit: str, value: float, bound: Bound, effect: str, reason: str) -> Refusal:
    return Refusal(
        limit=limit,
        value=value,
        bound=bound.value,
        unit=bound.unit,
        effect="reduced" if effect == "reduced" else "refused",
        reason=reason,
        source=bound.source,
    )
