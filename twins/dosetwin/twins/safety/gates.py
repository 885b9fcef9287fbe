"""What forbids giving drug at all, whatever the amount; each gate that is shut leaves a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.safety.finding import UNKNOWN, always, finding, malformed
from dosetwin.twins.safety.limit_table import SECONDS, Limit, LimitTable
from dosetwin.twins.safety.situation import DrugState, GuardedReading, Situation

FUTURE_TOLERANCE_S = 300.0
"""A reading further ahead of now than this is no reading (oref0 0.7.1 and Loop: 5 min)."""
ANNOUNCEMENT_HOLDS_S = 3600.0
"""How far from now an announced meal may be for a bolus to count as asked for (our assumption)."""
ROUNDING = 1e-9
"""Amounts this far below zero are a filter's rounding, not a malformed situation."""
NEEDED = {
    "rate": ("maximum_rate", "maximum_24h"),
    "bolus": ("maximum_bolus", "maximum_on_board", "maximum_24h"),
    "infusion": ("maximum_amount", "maximum_24h"),
    "regimen": ("maximum_amount", "maximum_24h"),
}
"""Limits without which an order that gives drug is refused: nothing is allowed until it is configured."""


def automatic(situation: Situation) -> bool:
    """Whether nobody announced a meal about now, so that a bolus is the platform's own idea."""
    announced_s = situation.announced_s
    return announced_s is None or not abs(situation.now_s - announced_s) <= ANNOUNCEMENT_HOLDS_S


def sensor_error(
    reading: GuardedReading, table: LimitTable, quantity: str, guarded: str
) -> tuple[Limit, str] | None:
    """The limit that says that a value is a code of the sensor and no measurement, and why."""
    limits = table.of_reading(quantity, guarded)
    at = limits.get("sensor_error_at")
    if at is not None and abs(reading.value - at.value) <= ROUNDING:
        return at, f"{quantity} reads {reading.value:g}, a sensor's code and no measurement"
    below = limits.get("sensor_error_below")
    if below is not None and reading.value <= below.value:
        return below, f"{quantity} reads {reading.value:g}, which no measurement does"
    return None


def gates(
    orders: list[Order], situation: Situation, table: LimitTable, guarded: str, findings: list[Refusal]
) -> None:
    """Judge whether drug may be given at all; `orders` are those of the command that would give some."""
    quantities = table.watched(guarded)
    problem = _malformed_situation(situation, quantities) or next(iter(table.problems), "")
    if problem:
        findings.append(malformed(UNKNOWN, problem))
        return
    _command_gates(situation, table, findings)
    own_idea = any(order.kind == "bolus" for order in orders) and automatic(situation)
    for quantity in quantities:
        _reading_gates(quantity, situation, table, guarded, findings)
        _forecast_gate(quantity, orders, situation, table, guarded, findings)
        if own_idea:
            _steady(quantity, situation, table, guarded, findings)
    for order in orders:
        state = situation.drugs.get(order.drug)
        if state is None:
            reason = (
                f"nothing is known of {order.drug}; expected one of {', '.join(situation.drugs) or 'none'}"
            )
            findings.append(always("unconfigured", order.amount, reason))
            continue
        limits = table.of_drug(order.drug)
        for name in NEEDED[order.kind]:
            if name not in limits:
                reason = f"a {order.kind} of {order.drug} needs the limit {name}: nothing before it is set"
                findings.append(always("unconfigured", order.amount, reason))
        _drug_gates(order, state, situation, limits, findings)
        if "interaction_bolus" in limits or "interaction_rate" in limits:
            _interaction_gate(order.drug, situation, table, findings)
    for limit in table.scaled:
        bound = limit.of(situation.covariates)
        if not 0 < bound < inf and limit.value > 0:
            reason = f"the limit {limit.key} in {limit.bound.unit} needs {limit.per}, which is not known"
            findings.append(always("unconfigured", UNKNOWN, reason))
    _contraindications({order.drug for order in orders}, situation.covariates, table, findings)


def _command_gates(situation: Situation, table: LimitTable, findings: list[Refusal]) -> None:
    if situation.pending_command is not None:
        reason = f"command {situation.pending_command} is not answered yet"
        findings.append(always("pending_command", 1.0, reason))
    lock = table.of_patient("lock_out")
    if lock is not None and situation.failed_s is not None:
        elapsed_s = situation.now_s - situation.failed_s
        if elapsed_s < lock.value:
            _shut(findings, lock, elapsed_s, f"a command failed {elapsed_s:.0f} s ago")
    if situation.proposed_s is not None:
        age_s = situation.now_s - situation.proposed_s
        stale = table.of_patient("proposal_stale_after")
        if stale is not None and age_s > stale.value:
            _shut(findings, stale, age_s, f"the proposal is {age_s:.0f} s old")
        if age_s < -FUTURE_TOLERANCE_S:
            findings.append(malformed(age_s, f"the proposal was made {-age_s:.0f} s ahead of now"))


def _reading_gates(
    quantity: str, situation: Situation, table: LimitTable, guarded: str, findings: list[Refusal]
) -> None:
    bound = table.of_reading(quantity, guarded).get
    reading = situation.readings.get(quantity)
    stale = bound("stale_after")
    if reading is None:
        guard = stale or bound("suspend_below") or bound("suspend_above")
        if guard is not None:
            _shut(findings, guard, UNKNOWN, f"there is no reading of {quantity or 'a guarded quantity'}")
    else:
        if reading.suspect:
            findings.append(
                always("suspect_reading", 1.0, f"the newest reading of {quantity} is marked suspect")
            )
        age_s = situation.now_s - reading.at_s
        if stale is not None and age_s > stale.value:
            _shut(findings, stale, age_s, f"the newest reading of {quantity} is {age_s:.0f} s old")
        if age_s < -FUTURE_TOLERANCE_S:
            reason = (
                f"the newest reading of {quantity} is {-age_s:.0f} s ahead of now; "
                f"at most {FUTURE_TOLERANCE_S:.0f}"
            )
            findings.append(malformed(age_s, reason))
        error = sensor_error(reading, table, quantity, guarded)
        if error is not None:
            _shut(findings, error[0], reading.value, error[1])
        flat = bound("flat_after")
        if flat is not None and reading.flat_s > flat.value:
            reason = f"the readings of {quantity} have been exactly equal for {reading.flat_s:.0f} s"
            _shut(findings, flat, reading.flat_s, reason)
        noise = bound("noise_above")
        if noise is not None and reading.noise is not None and reading.noise > noise.value:
            reason = f"the readings of {quantity} scatter by {reading.noise:.3g}"
            _shut(findings, noise, reading.noise, reason)
        spacing = bound("minimum_spacing")
        if spacing is not None and reading.spacing_s is not None and reading.spacing_s < spacing.value:
            reason = f"the two newest readings of {quantity} are {reading.spacing_s:.0f} s apart"
            _shut(findings, spacing, reading.spacing_s, reason)


def _forecast_gate(
    quantity: str,
    orders: list[Order],
    situation: Situation,
    table: LimitTable,
    guarded: str,
    findings: list[Refusal],
) -> None:
    """Without a forecast nobody knows whether it would fall below the bound."""
    if situation.lowest.get(quantity) is not None:
        return
    for order in orders:
        foreseen = table.of_reading(quantity, guarded, order.drug).get("suspend_predicted_below")
        if foreseen is not None:
            _shut(findings, foreseen, UNKNOWN, f"there is no forecast of {quantity or 'a guarded quantity'}")
            return


def _steady(
    quantity: str, situation: Situation, table: LimitTable, guarded: str, findings: list[Refusal]
) -> None:
    """No automatic bolus on a jump: |newest - previous| <= bound % of the newest."""
    limit = table.of_reading(quantity, guarded).get("unsteady_above")
    reading = situation.readings.get(quantity)
    if limit is None or reading is None:
        return
    if reading.change is None:
        _shut(findings, limit, UNKNOWN, f"how {quantity} changes is not known yet: no automatic bolus")
    elif abs(reading.change) * 100 > limit.value * abs(reading.value):
        per_cent = abs(reading.change) * 100 / abs(reading.value) if reading.value else inf
        reason = f"{quantity} changed by {per_cent:.0f} % since the reading before: no automatic bolus"
        _shut(findings, limit, per_cent, reason)


def _drug_gates(
    order: Order,
    state: DrugState,
    situation: Situation,
    limits: Mapping[str, Limit],
    findings: list[Refusal],
) -> None:
    drug = order.drug
    for name, known, what in (
        ("maximum_on_board", state.on_board, "on board"),
        ("maximum_1h", state.given_1h, "given in 1 h"),
        ("maximum_4h", state.given_4h, "given in 4 h"),
        ("maximum_24h", state.given_24h, "given in 24 h"),
    ):
        if known is None and name in limits:
            _shut(findings, limits[name], UNKNOWN, f"the amount of {drug} {what} is not known")
    if state.basal_rate is None:
        by_basal = limits.get("maximum_times_basal") if order.kind == "rate" else None
        if order.kind == "bolus" and automatic(situation):
            by_basal = limits.get("maximum_automatic_bolus")
            by_basal = by_basal if by_basal is not None and by_basal.unit in SECONDS else None
        if by_basal is not None:
            _shut(findings, by_basal, UNKNOWN, f"the basal rate of {drug} is not known")
    delivery = limits.get("delivery_stale_after")
    if delivery is not None:
        if state.reported_s is None:
            _shut(findings, delivery, UNKNOWN, f"no device has reported what it gave of {drug}")
        elif situation.now_s - state.reported_s > delivery.value:
            age_s = situation.now_s - state.reported_s
            _shut(findings, delivery, age_s, f"the newest report of {drug} given is {age_s:.0f} s old")
    if order.kind == "rate":
        return
    interval = limits.get("minimum_interval")
    if interval is not None and state.last_order_s is not None:
        elapsed_s = situation.now_s - state.last_order_s
        if elapsed_s < interval.value:
            _shut(findings, interval, elapsed_s, f"the last order that gave {drug} is {elapsed_s:.0f} s old")
    since = limits.get("maximum_given_since")
    if since is not None and situation.proposed_s is not None:
        given = state.given_since_proposal
        if given is None:
            _shut(findings, since, UNKNOWN, f"what was given of {drug} since the proposal is not known")
        elif given * 100 > since.value * order.amount:
            reason = f"{given:g} {order.unit} of {drug} were given since {order.amount:g} were proposed"
            _shut(findings, since, given * 100 / order.amount, reason)


def _interaction_gate(drug: str, situation: Situation, table: LimitTable, findings: list[Refusal]) -> None:
    """A drug whose limits hang on another's amount on board needs that amount known."""
    for other, state in situation.drugs.items():
        threshold = table.of_drug(other).get("interaction_above")
        if other != drug and threshold is not None and state.on_board is None:
            _shut(findings, threshold, UNKNOWN, f"the amount of {other} on board is not known")


def _contraindications(
    drugs: set[str], covariates: Mapping[str, float], table: LimitTable, findings: list[Refusal]
) -> None:
    for limit, above, covariate, drug in table.contraindications:
        if drug and drug not in drugs:
            continue
        value = covariates.get(covariate)
        if value is None or not isfinite(value):
            _shut(findings, limit, UNKNOWN, f"{covariate} is not known")
        elif value > limit.value if above else value < limit.value:
            word = "above" if above else "below"
            _shut(
                findings, limit, value, f"{covariate} is {value:g}, {word} {limit.bound.value:g} {limit.unit}"
            )


def _shut(findings: list[Refusal], limit: Limit, value: float, reason: str) -> None:
    """Refuse by a limit; `value` in seconds for a limit on times, and shown in the limit's unit."""
    factor = SECONDS[limit.bound.unit] if limit.unit == "s" else 1.0
    shown = value if value == UNKNOWN else value / factor
    findings.append(finding(limit, shown, limit.bound.value, limit.bound.unit, "refused", reason))


def _malformed_situation(situation: Situation, quantities: Sequence[str]) -> str:
    """What is no number, or negative where nothing can be, in words; empty in nearly every call."""
    s = situation
    numbers: list[float | None] = [s.now_s, s.failed_s, s.announced_s, s.proposed_s]
    amounts: list[float | None] = []
    for quantity in quantities:
        reading = s.readings.get(quantity)
        if reading is not None:
            numbers += (reading.value, reading.at_s, reading.change)
            amounts += (reading.flat_s, reading.noise, reading.spacing_s)
        numbers.append(s.lowest.get(quantity))
    for state in s.drugs.values():
        numbers += (state.last_order_s, state.reported_s)
        amounts += (
            *(state.on_board, state.given_24h, state.given_4h, state.given_1h),
            *(state.given_since_proposal, state.current_rate, state.basal_rate),
        )
    known = [amount for amount in amounts if amount is not None]
    total = sum([number for number in numbers if number is not None]) + sum(known)
    if isfinite(total) and min(known, default=0.0) >= -ROUNDING:
        return ""
    return _what_is_malformed(situation, quantities)


def _what_is_malformed(situation: Situation, quantities: Sequence[str]) -> str:
    structures: list[tuple[str, Any]] = [("the situation", situation)]
    structures += [
        (f"the reading of {quantity}", situation.readings.get(quantity)) for quantity in quantities
    ]
    structures += [(f"the state of {drug}", state) for drug, state in situation.drugs.items()]
    found = [
        (f"{field} of {name}", value)
        for name, structure in structures
        if structure is not None
        for field in structure.__struct_fields__
        if isinstance(value := getattr(structure, field), float | int)
    ]
    found += [(f"the lowest {quantity}", situation.lowest.get(quantity, 0.0)) for quantity in quantities]
    for name, value in found:
        if not isfinite(value):
            return f"{name} is {value}; expected a number"
    for name, value in found:
        if value < 0:
            return f"{name} is {value}; expected a number of at least 0"
    return "the numbers of the situation are too large to be judged"
