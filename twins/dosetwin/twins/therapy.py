"""A therapy in one place: drug, model, observed quantities, targets, limits, policies, devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dosetwin.twins.bank import Bank


@dataclass(frozen=True)
class Quantity:
    """A quantity that is observed, in the unit the twin works in; outside low-high it is impossible."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Drug:
    """A drug, the unit its amounts are kept in; rates are that unit per hour."""

    name: str
    unit: str
    maximum_amount: float
    """More than this in one administration is an impossible value (a reporting error)."""


@dataclass(frozen=True)
class CovariateNeed:
    """A covariate an enrolment must give (or may, when it has a default)."""

    name: str
    unit: str
    low: float
    high: float
    default: float | None = None


@dataclass(frozen=True)
class Bound:
    """A number the supervisor or a policy holds to, with its unit and where it comes from."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Ceiling:
    """How far a role may move a limit, for `longest_s`: from `tightest` (None: any) to `loosest`."""

    loosest: Bound
    longest_s: float
    tightest: Bound | None = None


@dataclass(frozen=True)
class AlertRule:
    """When an alert of `kind` begins and ends, judged at every decision.

    `measure`: "observed" (newest guarded value), "attainment" (of the best candidate), or the name of a
    risk (its probability under the best candidate). It begins beyond `begins` and ends beyond `ends`, which
    lies on the other side so that it does not flicker; `above` says which side is bad.
    `message` may use {value}.
    """

    kind: str
    priority: Literal["high", "medium", "low"]
    measure: str
    begins: float
    ends: float
    message: str
    above: bool = True


@dataclass(frozen=True)
class Therapy:
    """Everything that makes one therapy; a stranger adds a drug by writing one of these in one file.

    `make_bank(capacity, seed)` builds the estimator. `limits` and `targets` are overridden by name in an
    enrolment. `decision_interval_s`: a decision is due when the newest used observation or dose is that
    much newer than the one last decided on. `sampling_interval_s`: what silence is measured against.
    `monitoring` therapies never propose orders. `guarded` is the quantity that unscoped limits speak of.
    `announcements`: what somebody may announce -> what its number means. `basal_rates(covariates)`: what the
    device gives of each drug by itself, in canonical units an hour.
    """

    id: str
    title: str
    drugs: tuple[Drug, ...]
    observed: tuple[Quantity, ...]
    covariates: tuple[CovariateNeed, ...]
    targets: Mapping[str, Bound]
    limits: Mapping[str, Bound]
    sensor: Literal["dense", "sparse"]
    decision_interval_s: float
    sampling_interval_s: float
    stale_after_s: float
    command_expires_s: float
    horizon_s: float
    make_bank: Callable[[int, int], Bank]
    source: str
    guarded: str = ""
    alerts: tuple[AlertRule, ...] = ()
    monitoring: bool = False
    announcements: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    basal_rates: Callable[[Mapping[str, float]], Mapping[str, float]] | None = None
    ceilings: Mapping[str, Mapping[str, Ceiling]] = field(default_factory=lambda: MappingProxyType({}))
    """Role -> limit -> how far that role may override it for a time; what is not here nobody overrides."""
    context: tuple[Quantity, ...] = ()
    """Quantities that travel for people to see (heart rate, reservoir) but do not move the twin."""
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
