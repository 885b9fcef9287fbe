"""Topic `forecasts`: quantile bands, target attainment, risks, and the decision they led to."""

from __future__ import annotations

from typing import Literal

import msgspec

from dosetwin.platform.contracts.command import CommandId, Order
from dosetwin.platform.contracts.event import Event, Instant, Name, Unit


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles of one quantity over time: `values[q][t]` at `start + t * step_s`."""

    quantity: Name
    unit: Unit
    start: Instant
    step_s: float
    quantiles: tuple[float, ...]
    values: list[list[float]]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Posterior median and 90 % interval of a parameter or amount."""

    median: float
    low: float
    high: float
    unit: Unit


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What was predicted for a measured value before it was assimilated.

    `population` is the a-priori median (published model and covariates alone); `median`, `low`, `high`
    are the one-step-ahead median and 90 % prediction interval (residual error included).
    """

    quantity: Name
    unit: Unit
    at: Instant
    observed: float
    median: float
    low: float
    high: float
    population: float | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor cut: the limit, the value found, the bound, where the bound comes from."""

    limit: Name
    value: float
    bound: float
    unit: str
    effect: Literal["reduced", "refused"]
    reason: str
    source: str = ""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One scored dose policy; `risks` are probabilities by name, `attainment` that of the target."""

    name: Name
    orders: tuple[Order, ...]
    utility: float
    attainment: float
    risks: dict[str, float]
    feasible: bool = True


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate chosen, or a refusal, with reason and evidence.

    `outcome`: "command" (left signed), "proposal" (waits for a person), "shadow" (would have left),
    "refused" (the supervisor stopped it), "none" (nothing to change). `would_change` says what would have
    led to another choice.
    """

    id: CommandId
    at: Instant
    outcome: Literal["command", "proposal", "shadow", "refused", "none"]
    chosen: str
    orders: tuple[Order, ...]
    reason: str
    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...] = ()
    evidence: dict[str, float] = {}
    would_change: str = ""


class Forecast(Event, frozen=True, kw_only=True, tag="forecast", tag_field="type"):
    """One patient's twin after an update: where it stands and where it is going.

    `at` is the twin's event time. `risks` are probabilities over the horizon under what will be done;
    `time_to_event_s` is the time until the most urgent risk is more likely than not, None if never.
    """

    therapy: Name
    model: str
    at: Instant
    source: str
    bands: tuple[Band, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    estimates: dict[str, Estimate] = {}
    risks: dict[str, float] = {}
    attainment: float | None = None
    time_to_event_s: float | None = None
    decision: Decision | None = None
