"""The room that the limits on amounts and rates leave for an order, and the cut to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.safety.finding import Parts, finding, malformed
from dosetwin.twins.safety.limit_table import SECONDS, Limit, LimitTable
from dosetwin.twins.safety.situation import DrugState

SECONDS_PER_HOUR = 3600.0
NEGLIGIBLE = 1e-9
"""Room for less than this part of an order is rounding and no room."""
WINDOWS_S = {"maximum_1h": 3600.0, "maximum_4h": 14_400.0, "maximum_24h": 86_400.0}


class Taken(msgspec.Struct):
    """What of one drug is taken already: by what was given, and by the orders of this command so far."""

    on_board: float
    given: dict[str, float]
    running: float
    """The rate that counts towards the joint rate: of the order so far, else what runs now."""
    basal: float
    current: float


class Judged(msgspec.Struct, frozen=True):
    """What the rules know of an order beside it."""

    order: Order
    taken: Taken
    everything: Mapping[str, Taken]
    automatic: bool
    strengthened: bool
    """Another drug is on board above its `interaction_above`."""
    table: LimitTable


Room = tuple[float, float]
"""The most an order's amount may be, and the limited value that its proposed amount would lead to."""


def fit(
    parts: Parts,
    table: LimitTable,
    drugs: Mapping[str, DrugState],
    covariates: Mapping[str, float],
    automatic: bool,
    findings: list[Refusal],
) -> None:
    """Cut each order, in turn, to its room, in place; an order that gets none becomes None.

    A rate takes room by its excess over the basal rate, what the device would give by itself; where there
    is no room at all it is cut to that rate. A regimen takes the room of its first dose beside what was
    given, or of its own doses in the window, whichever is more: as its doses enter, those before it leave.
    All amounts are canonical; a limit in another unit than the order's refuses.
    """
    everything = {drug: _taken(state) for drug, state in drugs.items()}
    proposed = [order for order in parts if order is not None]
    strengthened = _strengthened(proposed, table, everything, covariates)
    for each in proposed:  # a rate order replaces what runs; its own turn comes when it is judged
        if each.kind == "rate" and each.drug in everything:
            everything[each.drug].running = 0.0
    for index, order in enumerate(parts):
        if order is None or order.amount == 0:
            continue
        judged = Judged(
            order, everything[order.drug], everything, automatic, order.drug in strengthened, table
        )
        ceiling = _ceiling(judged, covariates, findings)
        if 0 < ceiling <= NEGLIGIBLE * order.amount:
            ceiling = 0.0
        if ceiling < 0 or (ceiling == 0 and order.kind != "rate"):
            parts[index] = None
            continue
        if ceiling < order.amount:
            parts[index] = order = msgspec.structs.replace(order, amount=ceiling)
        if index < len(parts) - 1:
            _take(order, judged.taken)


def _taken(state: DrugState) -> Taken:
    basal = state.basal_rate or 0.0
    current = state.current_rate if state.current_rate is not None else basal
    return Taken(
        on_board=max(state.on_board or 0.0, 0.0),
        given={
            "maximum_1h": max(state.given_1h or 0.0, 0.0),
            "maximum_4h": max(state.given_4h or 0.0, 0.0),
            "maximum_24h": max(state.given_24h or 0.0, 0.0),
        },
        running=current,
        basal=basal,
        current=current,
    )


def _strengthened(
    orders: list[Order],
    table: LimitTable,
    everything: Mapping[str, Taken],
    covariates: Mapping[str, float],
) -> set[str]:
    """Drugs beside which another one is, or would be by this command, above its `interaction_above`."""
    if not table.has("interaction_above"):
        return set()
    above = set()
    for drug, taken in everything.items():
        limit = table.of_drug(drug).get("interaction_above")
        if limit is None:
            continue
        proposed = sum(_added(order, taken.basal) for order in orders if order.drug == drug)
        if taken.on_board + proposed > limit.of(covariates):
            above.add(drug)
    return {order.drug for order in orders if above - {order.drug}}


def _ceiling(judged: Judged, covariates: Mapping[str, float], findings: list[Refusal]) -> float:
    """The most the order may be (below 0: it cannot be judged), with a finding for each limit it breaks."""
    order = judged.order
    rate = order.kind == "rate"
    drug = order.unit.removesuffix("/h") if rate else order.unit
    ceiling = order.amount
    for name, limit in judged.table.of_drug(order.drug).items():
        rule = ROOMS.get(name)
        if rule is None:
            continue
        bound = limit.of(covariates)
        room = rule(judged, bound, limit)
        if room is None:
            continue
        if limit.unit not in _units(name, drug) or (rate and drug == order.unit):
            reason = f"an order in {order.unit!r} cannot be held against {limit.key} in {limit.bound.unit!r}"
            findings.append(malformed(order.amount, reason))
            return -1.0
        most, value = room
        if order.amount > most:
            ceiling = min(ceiling, max(most, 0.0))
            kept = most > 0 or rate
            shown, unit = limit.shown(covariates)
            reason = (
                f"a {order.kind} of {order.amount:g} {order.unit} would make it {value:g} "
                f"of {bound:g} {limit.unit}: {f'cut to {max(most, 0.0):g}' if kept else 'no room'}"
            )
            findings.append(finding(limit, value, shown, unit, "reduced" if kept else "refused", reason))
    return min(ceiling, _joint(judged, covariates, findings))


def _joint(judged: Judged, covariates: Mapping[str, float], findings: list[Refusal]) -> float:
    """The joint rate: sum over drugs of rate / full rate <= bound (one drug alone may have it all)."""
    order, table = judged.order, judged.table
    limit = table.of_patient("joint_rate")
    own = table.of_drug(order.drug).get("joint_full_rate")
    if limit is None or own is None or (order.kind != "rate" and order.duration_s == 0):
        return order.amount
    others = 0.0
    for drug, taken in judged.everything.items():
        full = table.of_drug(drug).get("joint_full_rate")
        if full is None:
            continue
        others += _share(taken.running, full.of(covariates))
    hours = 1.0 if order.kind == "rate" else order.duration_s / SECONDS_PER_HOUR
    full_rate = own.of(covariates)
    value = others + _share(order.amount / hours, full_rate)
    most = (limit.value - others) * full_rate * hours
    if value <= limit.value:
        return order.amount
    rate = order.kind == "rate"
    kept = most > 0 or rate
    reason = (
        f"a {order.kind} of {order.amount:g} {order.unit} would make the joint rate {value:g} "
        f"of {limit.value:g}: {f'cut to {max(most, 0.0):g}' if kept else 'no room'}"
    )
    shown, unit = limit.shown(covariates)
    findings.append(finding(limit, value, shown, unit, "reduced" if kept else "refused", reason))
    return min(max(most, 0.0), order.amount)


def _share(rate: float, full: float) -> float:
    """Part of the full rate; a full rate of 0 allows none."""
    return rate / full if full > 0 else (0.0 if rate == 0 else 1e300)


def _added(order: Order, basal: float) -> float:
    """What the order gives beside the device's own programme (of a regimen: one dose)."""
    if order.kind == "rate":
        return max(order.amount - basal, 0.0) * order.duration_s / SECONDS_PER_HOUR
    return order.amount


def _part(order: Order, window_s: float) -> float:
    """The part of what an order gives that falls into a window."""
    return min(1.0, window_s / order.duration_s) if order.duration_s > 0 else 1.0


def _take(order: Order, taken: Taken) -> None:
    added = _added(order, taken.basal)
    taken.on_board += added
    for name, window_s in WINDOWS_S.items():
        taken.given[name] += added * _part(order, window_s)
    if order.kind == "rate":
        taken.running += order.amount
    elif order.duration_s > 0:
        taken.running += order.amount * SECONDS_PER_HOUR / order.duration_s


def _rate(judged: Judged, bound: float, limit: Limit) -> Room | None:
    order = judged.order
    if order.kind == "rate":
        return bound, order.amount
    if order.duration_s == 0:
        return None
    hours = order.duration_s / SECONDS_PER_HOUR
    return bound * hours, order.amount / hours


def _strengthened_rate(judged: Judged, bound: float, limit: Limit) -> Room | None:
    return _rate(judged, bound, limit) if judged.strengthened else None


def _strengthened_bolus(judged: Judged, bound: float, limit: Limit) -> Room | None:
    return _bolus(judged, bound, limit) if judged.strengthened else None


def _times_basal(judged: Judged, bound: float, limit: Limit) -> Room | None:
    if judged.order.kind != "rate":
        return None
    basal = judged.taken.basal
    return bound * basal, judged.order.amount / basal if basal > 0 else judged.order.amount


def _increase(judged: Judged, bound: float, limit: Limit) -> Room | None:
    if judged.order.kind != "rate":
        return None
    current = judged.taken.current
    return current + bound, judged.order.amount - current


def _bolus(judged: Judged, bound: float, limit: Limit) -> Room | None:
    return (bound, judged.order.amount) if judged.order.kind == "bolus" else None


def _automatic_bolus(judged: Judged, bound: float, limit: Limit) -> Room | None:
    order = judged.order
    if order.kind != "bolus" or not judged.automatic:
        return None
    if limit.unit in SECONDS:
        unit_s = SECONDS[limit.unit]
        basal_per_unit = judged.taken.basal * unit_s / SECONDS_PER_HOUR
        value = order.amount / basal_per_unit if basal_per_unit > 0 else order.amount
        return bound * basal_per_unit, value
    return bound, order.amount


def _amount(judged: Judged, bound: float, limit: Limit) -> Room | None:
    return None if judged.order.kind == "rate" else (bound, judged.order.amount)


def _on_board(judged: Judged, bound: float, limit: Limit) -> Room:
    return _beside(judged, bound, judged.taken.on_board, 1.0)


def _window(name: str) -> Callable[[Judged, float, Limit], Room]:
    window_s = WINDOWS_S[name]

    def rule(judged: Judged, bound: float, limit: Limit) -> Room:
        order = judged.order
        most, value = _beside(judged, bound, judged.taken.given[name], _part(order, window_s))
        if order.kind == "regimen":
            doses = max(window_s / order.interval_s, _part(order, window_s))
            return min(most, bound / doses), max(value, order.amount * doses)
        return most, value

    return rule


def _beside(judged: Judged, bound: float, taken: float, part: float) -> Room:
    order, basal = judged.order, judged.taken.basal
    free = max(bound - taken, 0.0) / part
    value = taken + _added(order, basal) * part
    if order.kind == "rate":
        return basal + free * SECONDS_PER_HOUR / order.duration_s, value
    return free, value


ROOMS: Mapping[str, Callable[[Judged, float, Limit], Room | None]] = {
    "maximum_rate": _rate,
    "maximum_times_basal": _times_basal,
    "maximum_increase": _increase,
    "maximum_bolus": _bolus,
    "maximum_automatic_bolus": _automatic_bolus,
    "maximum_amount": _amount,
    "interaction_rate": _strengthened_rate,
    "interaction_bolus": _strengthened_bolus,
    "maximum_on_board": _on_board,
    **{name: _window(name) for name in WINDOWS_S},
}


def _units(name: str, drug: str) -> tuple[str, ...]:
    if name in ("maximum_rate", "maximum_increase", "interaction_rate"):
        return (f"{drug}/h",)
    if name == "maximum_times_basal":
        return ("1",)
    if name == "maximum_automatic_bolus":
        return (drug, *SECONDS)
    return (drug, f"{drug}/d") if name == "maximum_24h" else (drug,)
