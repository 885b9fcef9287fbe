"""The safety supervisor: an independent judge between a decision and a command.

Narrow inputs on purpose: limits, the last acknowledged state, the age and quality of readings, the proposal
and the numbers of its forecast. It knows no policy and no model. It can pass, reduce or refuse; never raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.therapy import Bound


@dataclass(frozen=True)
class Situation:
    """What the supervisor may know when it judges; times are event Unix seconds.

    `given_24h`: canonical amount of the drug given in the 24 h before `now_s`. `on_board`: amount still to
    act. `lowest`: 5 % quantile of the smallest forecast value of the guarded quantity under the proposal.
    `flat_s`: how long the newest readings have been exactly equal. `observed` is the newest guarded value.
    `pending_command`: id of a command that is neither answered nor expired. `last_order_s`: when the last
    order that added drug was issued. `interval_hint_s` is the therapy's sampling interval.
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


@dataclass(frozen=True)
class Verdict:
    """The orders that may leave (none when refused) and what was cut, each with limit, value, bound."""

    orders: tuple[Order, ...]
    findings: tuple[Refusal, ...]
    refused: bool


def review(orders: tuple[Order, ...], situation: Situation, limits: Mapping[str, Bound]) -> Verdict:
    """Judge a proposal against the limits. Compound orders pass or fall together."""
    raise NotImplementedError
