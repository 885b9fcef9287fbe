"""Situations for the tests of the supervisor: one drug and one quantity by flat keywords."""

from __future__ import annotations

from typing import Any

from dosetwin.twins.safety import DrugState, GuardedReading, Situation

NOW = 1_760_000_000.0
CALM: dict[str, Any] = {
    "value": 140.0,
    "at_s": NOW - 60.0,
    "lowest": 95.0,
    "on_board": 1.0,
    "given_24h": 30.0,
    "given_4h": 4.0,
    "given_1h": 1.0,
    "last_order_s": NOW - 3600.0,
    "basal_rate": 1.0,
    "reported_s": NOW - 60.0,
}
READING = ("value", "at_s", "flat_s", "suspect", "noise", "change", "spacing_s")
STATE = (
    *("on_board", "given_24h", "given_4h", "given_1h", "current_rate", "basal_rate"),
    *("last_order_s", "reported_s", "given_since_proposal"),
)


def situation(drug: str = "insulin", quantity: str = "glucose", **changes: Any) -> Situation:
    """The calm situation with changes; `value=None` takes the reading away, `lowest=None` the forecast."""
    merged = {"now_s": NOW} | CALM | changes
    lowest = merged.pop("lowest")
    reading = {name: merged.pop(name) for name in READING if name in merged}
    state = {name: merged.pop(name) for name in STATE if name in merged}
    return Situation(
        readings={} if reading["value"] is None else {quantity: GuardedReading(**reading)},
        lowest={} if lowest is None else {quantity: lowest},
        drugs={drug: DrugState(**state)},
        **merged,
    )
