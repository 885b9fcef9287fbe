"""Limits by name and scope: what a name means, in which units it may stand, which one holds for what.

A limit's key is `name`, `name@scope` or `name@scope@drug`. The scope is a drug, a guarded quantity or a
covariate, as the name asks. Unscoped, a limit on drugs holds for every drug and a limit on readings for the
therapy's guarded quantity; the narrower key goes first. Other names are somebody else's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import msgspec

from dosetwin.twins.therapy import Bound

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
PER = {"/kg": "weight", "/m2": "body_surface_area"}
"""A limit on a drug in such a unit grows with the covariate: 12 mg/kg/h at 70 kg is 840 mg/h."""

DRUG_LIMITS = frozenset(
    {
        "maximum_rate",
        "maximum_bolus",
        "maximum_amount",
        "maximum_on_board",
        "maximum_1h",
        "maximum_4h",
        "maximum_24h",
        "maximum_times_basal",
        "maximum_increase",
        "maximum_automatic_bolus",
        "minimum_interval",
        "delivery_stale_after",
        "maximum_given_since",
        "interaction_above",
        "interaction_bolus",
        "interaction_rate",
        "joint_full_rate",
    }
)
READING_LIMITS = frozenset(
    {
        "suspend_below",
        "suspend_above",
        "suspend_predicted_below",
        "stale_after",
        "flat_after",
        "noise_above",
        "unsteady_above",
        "minimum_spacing",
        "sensor_error_at",
        "sensor_error_below",
    }
)
COVARIATE_LIMITS = frozenset({"contraindicated_above", "contraindicated_below"})
PATIENT_LIMITS = frozenset({"lock_out", "proposal_stale_after", "joint_rate"})
KNOWN = DRUG_LIMITS | READING_LIMITS | COVARIATE_LIMITS | PATIENT_LIMITS
"""Every limit the supervisor holds to."""

KEPT = 256
"""Drugs and quantities whose limits a table keeps looked up."""
TIMES = frozenset(
    {
        "stale_after",
        "flat_after",
        "minimum_spacing",
        "minimum_interval",
        "delivery_stale_after",
        "lock_out",
        "proposal_stale_after",
    }
)
UNITS = {"maximum_times_basal": "1", "joint_rate": "1", "unsteady_above": "%", "maximum_given_since": "%"}
"""Limits whose unit is one and the same for every therapy."""
TIGHTER_UP = frozenset(
    {
        "suspend_below",
        "suspend_predicted_below",
        "minimum_spacing",
        "sensor_error_below",
        "contraindicated_below",
        "minimum_interval",
        "lock_out",
    }
)
"""Limits that become stricter as their bound grows; all others as it falls."""


class Limit(msgspec.Struct, frozen=True):
    """A bound in force under its key: `value` in `unit`, converted to s or /h, to be multiplied by `per`."""

    key: str
    value: float
    unit: str
    bound: Bound
    per: str = ""

    def of(self, covariates: Mapping[str, float]) -> float:
        """The bound for this patient; NaN where the covariate it grows with is not known."""
        return self.value * covariates.get(self.per, nan) if self.per else self.value

    def shown(self, covariates: Mapping[str, float]) -> tuple[float, str]:
        """The bound as people wrote it, or what it comes to for this patient where it grows with one."""
        return (self.of(covariates), self.unit) if self.per else (self.bound.value, self.bound.unit)


class LimitTable:
    """The limits of one therapy or enrolment, read once; `review` takes it in place of the mapping.

    `problems`: what cannot be held to, in words. While there is one, nothing that gives drug passes.
    """

    __slots__ = (
        *("_limits", "_of_drug", "_of_reading", "_watched"),
        *("contraindications", "problems", "quantities", "scaled"),
    )

    def __init__(self, limits: Mapping[str, Bound]) -> None:
        self._limits: dict[str, dict[str, Limit]] = {}
        self._of_drug: dict[str, dict[str, Limit]] = {}
        self._watched: dict[str, tuple[str, ...]] = {}
        self._of_reading: dict[tuple[str, bool, str], dict[str, Limit]] = {}
        self.problems: list[str] = []
        self.scaled: list[Limit] = []
        """Limits that grow with a covariate."""
        self.quantities: set[str] = set()
        """Quantities with a limit of their own; "" stands for the therapy's guarded one."""
        self.contraindications: list[tuple[Limit, bool, str, str]] = []
        """(limit, whether above is bad, covariate, drug or "" for every drug)."""
        for key, bound in limits.items():
            name, _, scope = key.partition("@")
            if name not in KNOWN:
                continue
            problem, limit = _limit(key, name, bound)
            if name in COVARIATE_LIMITS and not scope:
                problem = f"the limit {key} names no covariate; expected {key}@creatinine or the like"
            if limit is None or problem:
                self.problems.append(problem)
                continue
            if name in COVARIATE_LIMITS:
                covariate, _, drug = scope.partition("@")
                self.contraindications.append((limit, name == "contraindicated_above", covariate, drug))
                continue
            if limit.per:
                self.scaled.append(limit)
            if name in READING_LIMITS:
                self.quantities.add(scope.partition("@")[0])
            self._limits.setdefault(name, {})[scope] = limit

    def has(self, name: str) -> bool:
        """Whether any scope of that name is set."""
        return name in self._limits

    def of_drug(self, drug: str) -> Mapping[str, Limit]:
        """The limits on drugs that hold for one, by name."""
        found = self._of_drug.get(drug)
        if found is None:
            found = self._chosen(DRUG_LIMITS, self._of_drug, drug, (drug, ""))
        return found

    def of_reading(self, quantity: str, guarded: str, drug: str = "") -> Mapping[str, Limit]:
        """The limits on readings that hold for a quantity, by name; for `drug`, its narrower ones too."""
        key = (quantity, quantity == guarded, drug)
        found = self._of_reading.get(key)
        if found is None:
            scopes = (f"{quantity}@{drug}", quantity) if drug else (quantity,)
            scopes = (*scopes, "") if quantity == guarded else scopes
            found = self._chosen(READING_LIMITS, self._of_reading, key, scopes)
        return found

    def _chosen(
        self, names: frozenset[str], kept: dict[Any, dict[str, Limit]], key: Any, scopes: tuple[str, ...]
    ) -> dict[str, Limit]:
        """Of each name the limit of the narrowest scope; kept, as the same drugs come again and again."""
        found: dict[str, Limit] = {}
        for name, limits in self._limits.items():
            if name in names:
                limit = next((limits[scope] for scope in scopes if scope in limits), None)
                if limit is not None:
                    found[name] = limit
        if len(kept) >= KEPT:
            kept.clear()
        kept[key] = found
        return found

    def watched(self, guarded: str) -> tuple[str, ...]:
        """Every quantity that a limit speaks of, the guarded one first."""
        found = self._watched.get(guarded)
        if found is None:
            named = tuple(sorted(self.quantities - {"", guarded}))
            found = (guarded, *named) if guarded or "" in self.quantities else named
            self._watched[guarded] = found
        return found

    def of_patient(self, name: str) -> Limit | None:
        """A limit that knows no scope."""
        scopes = self._limits.get(name)
        return None if scopes is None else scopes.get("")


def _limit(key: str, name: str, bound: Bound) -> tuple[str, Limit | None]:
    """What is wrong with a bound, or nothing, and the limit it sets."""
    value, unit = bound.value, bound.unit
    if not (isinstance(value, int | float) and 0 <= value < inf):
        return f"the limit {key} is {value}; expected a number of at least 0", None
    if not isinstance(unit, str):
        return f"the limit {key} is in {unit!r}; expected a unit", None
    if name in TIMES:
        factor = SECONDS.get(unit)
        if factor is None:
            return f"the limit {key} is in {unit!r}; expected {', '.join(SECONDS)}", None
        return "", Limit(key, value * factor, "s", bound)
    if name in UNITS and unit != UNITS[name]:
        return f"the limit {key} is in {unit!r}; expected {UNITS[name]!r}", None
    per = ""
    if name in DRUG_LIMITS:
        for mark, covariate in PER.items():
            if mark in unit:
                per, unit = covariate, unit.replace(mark, "", 1)
                break
        if unit.endswith("/min"):
            value, unit = value * 60.0, unit.removesuffix("/min") + "/h"
    return "", Limit(key, float(value), unit, bound, per)
