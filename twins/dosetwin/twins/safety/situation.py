"""What the supervisor may know when it judges: readings, amounts, times. No policy, no model, no clock.

Times are event Unix seconds, amounts the canonical unit of their drug, rates that unit per hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

NOTHING: Mapping[str, float] = MappingProxyType({})


class GuardedReading(msgspec.Struct, frozen=True):
    """The newest reading of a quantity and what speaks for or against it.

    `flat_s`: how long the newest readings have been exactly equal. `suspect`: its source marked it so.
    `noise`: standard deviation of short-term differences (`WatchedReading`), in the quantity's unit.
    `change`: newest less the reading before. `spacing_s`: time between these two. None = not known.
    """

    value: float
    at_s: float
    flat_s: float = 0.0
    suspect: bool = False
    noise: float | None = None
    change: float | None = None
    spacing_s: float | None = None


class DrugState(msgspec.Struct, frozen=True):
    """What was given of a drug, and what the device does with it.

    `on_board`: amount still to act, None where nobody knows. `given_24h`, `given_4h`, `given_1h`: amount
    given in the time before now (an infusion counts whole as soon as it runs); None = not known.
    `current_rate`: what runs now. `basal_rate`: what the device runs by itself when no rate order holds.
    `last_order_s`: when the last order that added drug was issued. `reported_s`: when the device last
    said what it gave. `given_since_proposal`: amount given since the proposal was made.
    """

    on_board: float | None
    given_24h: float | None
    current_rate: float | None = None
    basal_rate: float | None = None
    last_order_s: float | None = None
    given_1h: float | None = None
    given_4h: float | None = None
    reported_s: float | None = None
    given_since_proposal: float | None = None


class Situation(msgspec.Struct, frozen=True):
    """One patient now.

    `readings`, `lowest`: by guarded quantity; `lowest` is the 5 % quantile of the smallest forecast value
    under the proposal. `drugs`: by drug; an order for any other drug is refused. `covariates`: what limits
    per weight and contraindications are resolved with. `pending_command`: id of a command that is neither
    answered nor expired; `pending_suspends`: it only suspends, so that a further suspension would repeat
    it. `failed_s`: when a device last refused a command or let one expire. `announced_s`: when a person
    last announced a meal (a bolus is automatic without one). `proposed_s`: when the proposal was made,
    None for now.
    """

    now_s: float
    readings: Mapping[str, GuardedReading]
    lowest: Mapping[str, float]
    drugs: Mapping[str, DrugState]
    covariates: Mapping[str, float] = NOTHING
    pending_command: str | None = None
    pending_suspends: bool = False
    failed_s: float | None = None
    announced_s: float | None = None
    proposed_s: float | None = None
