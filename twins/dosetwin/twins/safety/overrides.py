"""Overrides: a person moves a limit for a time, no further than the therapy lets that person's role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

import msgspec

from dosetwin.platform.contracts import Refusal
from dosetwin.twins.safety.finding import ALWAYS_ON, UNKNOWN
from dosetwin.twins.safety.limit_table import KNOWN, TIGHTER_UP
from dosetwin.twins.therapy import Bound, Ceiling


class Override(msgspec.Struct, frozen=True):
    """`person`, in a `role`, holds `limit` (its key) at `value` from `from_s` until just before `until_s`."""

    limit: str
    value: float
    unit: str
    person: str
    role: str
    from_s: float
    until_s: float
    reason: str


class Effective(msgspec.Struct, frozen=True):
    """The limits in force now, the overrides that made them so, and what of the others does not hold."""

    limits: dict[str, Bound]
    in_force: tuple[Override, ...]
    refused: tuple[Refusal, ...]


def effective_limits(
    limits: Mapping[str, Bound],
    overrides: Iterable[Override],
    now_s: float,
    ceilings: Mapping[str, Mapping[str, Ceiling]],
) -> Effective:
    """The limits at event time `now_s`: of each, the strictest override in force, else the limit itself.

    `ceilings`: role -> limit key -> how far that role may move it. An override that goes further, lasts
    longer, is in another unit, or gives no person or reason does not hold at all; it is not cut to fit. One
    of a check that has no limit (malformed, pending_command, suspect_reading, unconfigured, compound) never
    does. It ends by itself. Never raises.
    """
    found = dict(limits)
    in_force: dict[str, Override] = {}
    refused: list[Refusal] = []
    for override in overrides:
        problem = _problem(override, limits, ceilings)
        if problem:
            refused.append(_refusal(override, problem))
        elif override.from_s <= now_s < override.until_s:
            other = in_force.get(override.limit)
            if other is None or _stricter(override.limit, override.value, other.value):
                in_force[override.limit] = override
    for key, override in in_force.items():
        source = f"{override.person} ({override.role}), until {override.until_s:.0f} s: {override.reason}"
        found[key] = Bound(override.value, override.unit, source)
    return Effective(found, tuple(in_force.values()), tuple(refused))


def _stricter(key: str, value: float, other: float) -> bool:
    return value > other if key.partition("@")[0] in TIGHTER_UP else value < other


def _problem(
    override: Override, limits: Mapping[str, Bound], ceilings: Mapping[str, Mapping[str, Ceiling]]
) -> str:
    """Why an override does not hold, or nothing."""
    key, value, unit = override.limit, override.value, override.unit
    bound = limits.get(key)
    if bound is None or key.partition("@")[0] not in KNOWN:
        return f"{key} is no limit that can be overridden"
    if not override.person or not override.reason:
        return "an override needs a person and a reason"
    if not (isinstance(value, int | float) and isfinite(value) and value >= 0):
        return f"{key} at {value}; expected a number of at least 0"
    ceiling = ceilings.get(override.role, {}).get(key)
    if ceiling is None:
        return f"{override.role} may not override {key}"
    if unit != bound.unit or unit != ceiling.loosest.unit:
        return f"{key} in {unit}; expected {bound.unit}"
    if not 0 < override.until_s - override.from_s <= ceiling.longest_s:
        return (
            f"an override of {override.until_s - override.from_s:g} s; "
            f"{override.role} may override {key} for at most {ceiling.longest_s:g} s"
        )
    if _stricter(key, ceiling.loosest.value, value):
        return f"{key} at {value:g} {unit}; {override.role} may loosen it to {ceiling.loosest.value:g}"
    tightest = ceiling.tightest
    if tightest is not None and (unit != tightest.unit or _stricter(key, value, tightest.value)):
        return (
            f"{key} at {value:g} {unit}; {override.role} may tighten it to {tightest.value:g} {tightest.unit}"
        )
    return ""


def _refusal(override: Override, reason: str) -> Refusal:
    value = override.value
    known = isinstance(value, int | float) and isfinite(value)
    return Refusal(
        limit="override",
        value=value if known else UNKNOWN,
        bound=0.0,
        unit=override.unit or "1",
        effect="refused",
        reason=f"{override.person} ({override.role}): {reason}",
        source=ALWAYS_ON,
    )
