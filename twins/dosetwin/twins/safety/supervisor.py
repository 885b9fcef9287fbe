"""The safety supervisor: an independent judge between a decision and a command.

Narrow inputs on purpose: limits, the last acknowledged state, the age and quality of readings, the proposal
and the numbers of its forecast. It knows no policy and no model. It can pass, reduce or refuse; never raise.
Each limit, what trips it and the hazard it answers: docs/safety.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

import msgspec

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.safety.room import fit
from dosetwin.twins.therapy import Bound

NO_BOUND = Bound(0.0, "1", "always on")
"""Stands for the bound of the checks that need none."""
UNKNOWN = -1.0
"""`Refusal.value` where there was nothing to compare: no reading, no forecast (JSON knows no NaN)."""
FUTURE_TOLERANCE_S = 300.0
"""A reading further ahead of now than this is no reading (oref0 0.7.1 and Loop: 5 min)."""
ROUNDING = 1e-9
"""Amounts this far below zero are a filter's rounding, not a malformed situation."""
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
NEEDED = {
    "rate": ("maximum_rate", "maximum_24h"),
    "bolus": ("maximum_bolus", "maximum_on_board", "maximum_24h"),
    "infusion": ("maximum_amount", "maximum_24h"),
    "regimen": ("maximum_amount", "maximum_24h"),
}
"""Limits without which an order that gives drug is refused: nothing is allowed until it is configured."""
TIMES = ("stale_after", "flat_after", "minimum_interval")
KNOWN = (
    *("maximum_rate", "maximum_bolus", "maximum_amount", "maximum_on_board", "maximum_24h"),
    *("suspend_below", "suspend_predicted_below"),
    *TIMES,
)
"""The limits the supervisor holds to; other names in the mapping are somebody else's business."""

Parts = list[Order | None]
"""The orders of a command while they are judged: as proposed, reduced, or None once refused."""
Effect = Literal["reduced", "refused"]


@dataclass(frozen=True)
class Situation:
    """What the supervisor may know when it judges; times are event Unix seconds.

    `given_24h`: canonical amount of the drug given in the 24 h before `now_s`. `on_board`: amount still to
    act. `lowest`: 5 % quantile of the smallest forecast value of the guarded quantity under the proposal.
    `flat_s`: how long the newest readings have been exactly equal. `observed` is the newest guarded value.
    `pending_command`: id of a command that is neither answered nor expired; `pending_suspends` says that it
    only suspends, so that a further suspension would repeat it. `last_order_s`: when the last order that
    added drug was issued. `basal_rate`: what the device runs by itself when no rate order holds.
    """

    now_s: float
    observed: float | None
    observed_at_s: float | None
    lowest: float | None
    on_board: float
    given_24h: float
    flat_s: float = 0.0
    suspect: bool = False
    pending_command: str | None = None
    last_order_s: float | None = None
    current_rate: float | None = None
    basal_rate: float | None = None
    pending_suspends: bool = False


@dataclass(frozen=True)
class Verdict:
    """The orders that may leave (none when refused) and what was cut, each with limit, value, bound."""

    orders: tuple[Order, ...]
    findings: tuple[Refusal, ...]
    refused: bool


def review(orders: tuple[Order, ...], situation: Situation, limits: Mapping[str, Bound]) -> Verdict:
    """Judge a proposal against the limits. Compound orders pass or fall together.

    An order *suspends* when it is a rate or a regimen of amount 0; any other amount gives drug. What is
    known to be low turns every rate into a suspension. Anything else that speaks against giving drug now
    refuses the whole command, except its suspensions: they stand, whatever the state of the sensor. What
    is left is cut to the room that the limits leave; one order without room takes the others with it.
    """
    findings: list[Refusal] = []
    parts: Parts = list(orders)
    for index, order in enumerate(orders):
        problem = _malformed(order)
        if problem:
            parts[index] = None
            findings.append(_finding("malformed", order.amount, NO_BOUND, "refused", problem))

    _suspend_when_low(parts, situation, limits, findings)
    standing = {index for index, order in enumerate(parts) if order is not None and _suspends(order)}
    if _gives_drug(parts):
        before = len(findings)
        _gates(parts, situation, limits, findings)
        if len(findings) > before:
            parts = [order if index in standing else None for index, order in enumerate(parts)]
        elif None not in parts:
            on_board, given_24h = max(situation.on_board, 0.0), max(situation.given_24h, 0.0)
            fit(parts, limits, on_board, given_24h, situation.basal_rate or 0.0, findings)
    if None in parts:
        _fall_together(parts, standing, findings)

    pending = situation.pending_command
    if pending is not None and situation.pending_suspends and any(parts) and not _gives_drug(parts):
        reason = f"command {pending} suspends already and is not answered yet"
        findings.append(_finding("pending_command", 1.0, NO_BOUND, "refused", reason))
        parts = []
    allowed = tuple(order for order in parts if order is not None)
    return Verdict(allowed, tuple(findings), refused=bool(orders) and not allowed)


def _suspends(order: Order) -> bool:
    return order.amount == 0 and order.kind in ("rate", "regimen")


def _gives_drug(parts: Parts) -> bool:
    return any(order is not None and order.amount > 0 for order in parts)


def _malformed(order: Order) -> str:
    """Why an order cannot be judged, or nothing."""
    amount, duration_s, interval_s = order.amount, order.duration_s, order.interval_s
    if not (0 <= amount < inf and 0 <= duration_s < inf and 0 <= interval_s < inf):
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
    parts: Parts, situation: Situation, limits: Mapping[str, Bound], findings: list[Refusal]
) -> None:
    """Known or foreseen low: rates become 0, other orders that give drug fall."""
    tripped = []
    for name, value, verb in (
        ("suspend_below", situation.observed, "is"),
        ("suspend_predicted_below", situation.lowest, "is foreseen to fall to"),
    ):
        bound = limits.get(name)
        if bound is not None and value is not None and value < bound.value:
            tripped.append((name, value, verb, bound))
    if not tripped:
        return
    for index, order in enumerate(parts):
        if order is None or order.amount == 0:
            continue
        rate = order.kind == "rate"
        outcome = "the rate becomes 0" if rate else f"no {order.kind} now"
        for name, value, verb, bound in tripped:
            reason = f"the guarded value {verb} {value:g}, below {bound.value:g} {bound.unit}: {outcome}"
            findings.append(_finding(name, value, bound, "reduced" if rate else "refused", reason))
        parts[index] = msgspec.structs.replace(order, amount=0.0) if rate else None


def _gates(parts: Parts, situation: Situation, limits: Mapping[str, Bound], findings: list[Refusal]) -> None:
    """What forbids giving drug at all, whatever the amount; each gate that is shut leaves a finding."""

    def shut(limit: str, value: float, bound: Bound, reason: str) -> None:
        findings.append(_finding(limit, value, bound, "refused", reason))

    problem = _malformed_situation(situation) or _malformed_limits(limits)
    if problem:
        shut("malformed", UNKNOWN, NO_BOUND, problem)
        return
    if situation.pending_command is not None:
        shut("pending_command", 1.0, NO_BOUND, f"command {situation.pending_command} is not answered yet")
    if situation.suspect:
        shut("suspect_reading", 1.0, NO_BOUND, "the newest reading is marked suspect")

    stale = limits.get("stale_after")
    if situation.observed is None or situation.observed_at_s is None:
        guard = stale or limits.get("suspend_below")
        if guard is not None:
            shut("stale_after", UNKNOWN, guard, "there is no reading of the guarded quantity")
    else:
        age_s = situation.now_s - situation.observed_at_s
        if stale is not None and age_s > stale.value * SECONDS[stale.unit]:
            shut(
                "stale_after", age_s / SECONDS[stale.unit], stale, f"the newest reading is {age_s:.0f} s old"
            )
        if age_s < -FUTURE_TOLERANCE_S:
            reason = f"the newest reading is {-age_s:.0f} s ahead of now; at most {FUTURE_TOLERANCE_S:.0f}"
            shut("malformed", age_s, NO_BOUND, reason)
    flat = limits.get("flat_after")
    if flat is not None and situation.flat_s > flat.value * SECONDS[flat.unit]:
        reason = f"the readings have been exactly equal for {situation.flat_s:.0f} s"
        shut("flat_after", situation.flat_s / SECONDS[flat.unit], flat, reason)
    foreseen = limits.get("suspend_predicted_below")
    if foreseen is not None and situation.lowest is None:
        shut("suspend_predicted_below", UNKNOWN, foreseen, "there is no forecast of the guarded quantity")

    interval = limits.get("minimum_interval")
    for order in parts:
        if order is None or order.amount == 0:
            continue
        for name in NEEDED[order.kind]:
            if name not in limits:
                reason = f"a {order.kind} needs the limit {name}; nothing is allowed until it is set"
                shut("unconfigured", order.amount, NO_BOUND, reason)
        if interval is not None and order.kind != "rate" and situation.last_order_s is not None:
            elapsed_s = situation.now_s - situation.last_order_s
            if elapsed_s < interval.value * SECONDS[interval.unit]:
                reason = f"the last order that gave drug is {elapsed_s:.0f} s old"
                shut("minimum_interval", elapsed_s / SECONDS[interval.unit], interval, reason)


def _malformed_situation(situation: Situation) -> str:
    s = situation
    for name, value in (
        ("now_s", s.now_s),
        ("observed", s.observed),
        ("observed_at_s", s.observed_at_s),
        ("lowest", s.lowest),
        ("last_order_s", s.last_order_s),
    ):
        if value is not None and not isfinite(value):
            return f"{name} is {value}; expected a number"
    for name, value in (
        ("on_board", s.on_board),
        ("given_24h", s.given_24h),
        ("flat_s", s.flat_s),
        ("current_rate", s.current_rate),
        ("basal_rate", s.basal_rate),
    ):
        if value is not None and not -ROUNDING <= value < inf:
            return f"{name} is {value}; expected a number of at least 0"
    return ""


def _malformed_limits(limits: Mapping[str, Bound]) -> str:
    for name in KNOWN:
        bound = limits.get(name)
        if bound is None:
            continue
        if not 0 <= bound.value < inf:
            return f"the limit {name} is {bound.value}; expected a number of at least 0"
        if name in TIMES and bound.unit not in SECONDS:
            return f"the limit {name} is in {bound.unit!r}; expected {', '.join(SECONDS)}"
    return ""


def _fall_together(parts: Parts, standing: set[int], findings: list[Refusal]) -> None:
    for index, order in enumerate(parts):
        if order is not None and index not in standing:
            parts[index] = None
            reason = f"the {order.kind} of {order.amount:g} {order.unit} falls with the rest of its command"
            findings.append(_finding("compound", order.amount, NO_BOUND, "refused", reason))


def _finding(limit: str, value: float, bound: Bound, effect: Effect, reason: str) -> Refusal:
    return Refusal(
        limit=limit,
        value=value if isfinite(value) else UNKNOWN,
        bound=bound.value if isfinite(bound.value) else UNKNOWN,
        unit=bound.unit,
        effect=effect,
        reason=reason,
        source=bound.source,
    )
