"""The safety supervisor: an independent judge between a decision and a command.

Narrow inputs on purpose: limits, the last acknowledged state, the age and quality of readings, the proposal
and the numbers of its forecast. It knows no policy and no model. It can pass, reduce or refuse; never raise.
Each limit, what trips it and the hazard it answers: docs/safety.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import msgspec

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.safety.finding import UNKNOWN, Effect, Parts, always, finding, malformed
from dosetwin.twins.safety.gates import NEEDED, automatic, gates, sensor_error
from dosetwin.twins.safety.limit_table import Limit, LimitTable
from dosetwin.twins.safety.room import fit
from dosetwin.twins.safety.situation import Situation
from dosetwin.twins.therapy import Bound

NUMBERS = (float, int)


class Verdict(msgspec.Struct, frozen=True):
    """The orders that may leave (none when refused) and what was cut, each with limit, value, bound."""

    orders: tuple[Order, ...]
    findings: tuple[Refusal, ...]
    refused: bool


def review(
    orders: Sequence[Order],
    situation: Situation,
    limits: Mapping[str, Bound] | LimitTable,
    guarded: str = "",
) -> Verdict:
    """Judge a proposal against the limits. Compound orders pass or fall together.

    An order *suspends* when it is a rate or a regimen of amount 0; any other amount gives drug. What is
    known to be low turns rates into suspensions. Anything else that speaks against giving drug now
    refuses the whole command, except its suspensions: they stand, whatever the state of the sensor. What
    is left is cut to the room that the limits leave; one order without room takes the others with it.

    `guarded` is the quantity that unscoped limits on readings speak of. Whatever the input, it answers:
    what cannot be judged at all is refused as malformed.
    """
    try:
        return _review(tuple(orders), situation, limits, guarded)
    except Exception as error:
        found = f"the command cannot be judged: {type(error).__name__}: {error}"
        return _only_suspensions(orders, malformed(UNKNOWN, found))


def _review(
    orders: tuple[Order, ...], situation: Situation, limits: Mapping[str, Bound] | LimitTable, guarded: str
) -> Verdict:
    table = limits if isinstance(limits, LimitTable) else LimitTable(limits)
    findings: list[Refusal] = []
    parts: Parts = list(orders)
    for index, order in enumerate(orders):
        problem = _malformed(order)
        if problem:
            parts[index] = None
            findings.append(malformed(order.amount, problem))

    _suspend_when_low(parts, situation, table, guarded, findings)
    standing = {index for index, order in enumerate(parts) if order is not None and _suspends(order)}
    giving = [order for order in parts if order is not None and order.amount > 0]
    if giving:
        before = len(findings)
        gates(giving, situation, table, guarded, findings)
        if len(findings) > before:
            parts = [order if index in standing else None for index, order in enumerate(parts)]
        elif None not in parts:
            fit(parts, table, situation.drugs, situation.covariates, automatic(situation), findings)
    if None in parts:
        _fall_together(parts, standing, findings)

    pending = situation.pending_command
    left = [order for order in parts if order is not None]
    if pending is not None and situation.pending_suspends and left and not any(o.amount > 0 for o in left):
        reason = f"command {pending} suspends already and is not answered yet"
        findings.append(always("pending_command", 1.0, reason))
        left = []
    return Verdict(tuple(left), tuple(findings), refused=bool(orders) and not left)


def _only_suspensions(orders: Sequence[Order], found: Refusal) -> Verdict:
    """What is left where judging itself failed: of whatever this is, the orders that surely suspend."""
    try:
        left = tuple(o for o in orders if isinstance(o, Order) and not _malformed(o) and _suspends(o))
    except Exception:
        left = ()
    return Verdict(left, (found,), refused=not left)


def _suspends(order: Order) -> bool:
    return order.amount == 0 and order.kind in ("rate", "regimen")


def _malformed(order: Order) -> str:
    """Why an order cannot be judged, or nothing."""
    amount, duration_s, interval_s = order.amount, order.duration_s, order.interval_s
    numbers = (
        isinstance(amount, NUMBERS) and isinstance(duration_s, NUMBERS) and isinstance(interval_s, NUMBERS)
    )
    if not (numbers and 0 <= amount < inf and 0 <= duration_s < inf and 0 <= interval_s < inf):
        return (
            f"a {order.kind} of amount {amount}, duration {duration_s} s, interval {interval_s} s; "
            "expected numbers of at least 0"
        )
    if order.kind not in NEEDED:
        return f"an order of kind {order.kind!r}; expected {', '.join(NEEDED)}"
    if amount > 0:
        if order.kind in ("rate", "infusion") and duration_s == 0:
            return f"a {order.kind} without a duration; expected to know when it ends"
        if order.kind == "regimen" and interval_s == 0:
            return "a regimen without an interval; expected the time between two doses"
    return ""


def _suspend_when_low(
    parts: Parts, situation: Situation, table: LimitTable, guarded: str, findings: list[Refusal]
) -> None:
    """Known or foreseen low (or high, where that is the danger): rates become 0, other drug falls."""
    beyond = [
        found
        for quantity in table.watched(guarded)
        for found in _beyond(quantity, situation, table, guarded, parts)
    ]
    if not beyond:
        return
    for index, order in enumerate(parts):
        if order is None or order.amount == 0:
            continue
        rate = order.kind == "rate"
        tripped = False
        for drug, limit, value, words in beyond:
            if drug != order.drug:
                continue
            tripped = True
            outcome = "the rate becomes 0" if rate else f"no {order.kind} now"
            effect: Effect = "reduced" if rate else "refused"
            findings.append(
                finding(limit, value, limit.bound.value, limit.bound.unit, effect, f"{words}: {outcome}")
            )
        if tripped:
            parts[index] = msgspec.structs.replace(order, amount=0.0) if rate else None


def _beyond(
    quantity: str, situation: Situation, table: LimitTable, guarded: str, parts: Parts
) -> list[tuple[str, Limit, float, str]]:
    """(drug, limit, value, words) of what is beyond where a drug may be given; codes are no values."""
    reading, lowest = situation.readings.get(quantity), situation.lowest.get(quantity)
    value = None if reading is None or sensor_error(reading, table, quantity, guarded) else reading.value
    found = []
    for drug in dict.fromkeys(order.drug for order in parts if order is not None):
        limits = table.of_reading(quantity, guarded, drug)
        for name, number, verb, above in (
            ("suspend_below", value, "is", False),
            ("suspend_above", value, "is", True),
            ("suspend_predicted_below", lowest, "is foreseen to fall to", False),
        ):
            limit = limits.get(name)
            if limit is None or number is None:
                continue
            if number > limit.value if above else number < limit.value:
                side = "above" if above else "below"
                words = f"{quantity} {verb} {number:g}, {side} {limit.bound.value:g} {limit.bound.unit}"
                found.append((drug, limit, number, words))
    return found


def _fall_together(parts: Parts, standing: set[int], findings: list[Refusal]) -> None:
    for index, order in enumerate(parts):
        if order is not None and index not in standing:
            parts[index] = None
            reason = f"the {order.kind} of {order.amount:g} {order.unit} falls with the rest of its command"
            findings.append(always("compound", order.amount, reason))
