"""Overrides: a person moves a limit for a time, within the therapy's ceiling for the role."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.safety import Override, effective_limits
from dosetwin.twins.therapy import Bound, Ceiling

LIMITS = {
    "maximum_bolus": Bound(10.0, "U", "therapy"),
    "suspend_below": Bound(70.0, "mg/dL", "therapy"),
    "maximum_rate@insulin": Bound(5.0, "U/h", "therapy"),
    "maximum_auc24": Bound(700.0, "mg.h/L", "therapy"),
}
CEILINGS = {
    "clinician": {
        "maximum_bolus": Ceiling(Bound(25.0, "U", "AndroidAPS"), 86_400.0),
        "suspend_below": Ceiling(Bound(60.0, "mg/dL", "a"), 14_400.0, Bound(120.0, "mg/dL", "a")),
        "maximum_auc24": Ceiling(Bound(900.0, "mg.h/L", "a"), 86_400.0),
        "pending_command": Ceiling(Bound(1.0, "1", "a"), 86_400.0),
    },
    "patient": {"maximum_bolus": Ceiling(Bound(12.0, "U", "ours"), 7_200.0, Bound(2.0, "U", "ours"))},
}
MEAL = Override("maximum_bolus", 15.0, "U", "dr-a", "clinician", 1000.0, 4600.0, "a feast")


def in_force(*overrides: Override, now_s: float = 2000.0) -> dict[str, Bound]:
    return effective_limits(LIMITS, overrides, now_s, CEILINGS).limits


def changed(override: Override = MEAL, **changes: Any) -> Override:
    return msgspec.structs.replace(override, **changes)


def test_an_override_holds_from_its_beginning_until_it_ends_by_itself() -> None:
    assert in_force(MEAL, now_s=999.9) == LIMITS
    assert in_force(MEAL, now_s=1000.0)["maximum_bolus"].value == 15.0
    assert in_force(MEAL, now_s=4599.9)["maximum_bolus"].value == 15.0
    assert in_force(MEAL, now_s=4600.0) == LIMITS
    source = in_force(MEAL)["maximum_bolus"].source
    assert "dr-a" in source
    assert "clinician" in source
    assert "a feast" in source


@pytest.mark.parametrize(
    ("override", "word"),
    [
        (changed(value=25.1), "may loosen it to 25"),
        (changed(role="patient"), "may loosen it to 12"),
        (changed(role="patient", value=1.9), "may tighten it to 2"),
        (changed(role="caregiver", value=11.0), "may not override"),
        (changed(limit="maximum_rate@insulin", unit="U/h"), "may not override"),
        (changed(limit="suspend_below", value=59.0, unit="mg/dL"), "may loosen it to 60"),
        (changed(limit="suspend_below", value=121.0, unit="mg/dL"), "may tighten it to 120"),
        (changed(limit="suspend_below", value=65.0, unit="mg/dL", until_s=15_401.0), "at most 14400 s"),
        (changed(until_s=1000.0), "at most"),
        (changed(until_s=900.0), "at most"),
        (changed(until_s=float("nan")), "at most"),
        (changed(until_s=float("inf")), "at most"),
        (changed(unit="mg"), "expected U"),
        (changed(value=float("nan")), "expected a number"),
        (changed(value=-1.0), "expected a number"),
        (changed(person=""), "a person and a reason"),
        (changed(reason=""), "a person and a reason"),
        (changed(limit="pending_command", unit="1", value=1.0), "no limit that can be overridden"),
        (changed(limit="maximum_auc24", unit="mg.h/L", value=800.0), "no limit that can be overridden"),
    ],
)
def test_what_goes_further_than_the_role_may_does_not_hold_at_all(override: Override, word: str) -> None:
    found = effective_limits(LIMITS, [override], 2000.0, CEILINGS)
    assert found.limits == LIMITS
    assert found.in_force == ()
    assert [refusal.limit for refusal in found.refused] == ["override"]
    assert word in found.refused[0].reason
    assert msgspec.json.decode(msgspec.json.encode(found.refused[0]))["effect"] == "refused"


def test_of_several_the_strictest_holds() -> None:
    careful = changed(value=8.0, person="dr-b", reason="dialysis")
    for pair in ((MEAL, careful), (careful, MEAL)):
        assert in_force(*pair)["maximum_bolus"].value == 8.0
    high, low = (
        changed(limit="suspend_below", value=value, unit="mg/dL", reason="sport") for value in (90.0, 65.0)
    )
    assert in_force(low, high)["suspend_below"].value == 90.0
    assert in_force(low)["suspend_below"].value == 65.0


OVERRIDES = st.builds(
    Override,
    limit=st.sampled_from([*LIMITS, "pending_command", "malformed", "other"]),
    value=st.one_of(st.floats(), st.sampled_from([2.0, 12.0, 25.0, 60.0, 120.0])),
    unit=st.sampled_from(["U", "mg/dL", "U/h", ""]),
    person=st.sampled_from(["a", ""]),
    role=st.sampled_from(["clinician", "patient", "caregiver", ""]),
    from_s=st.one_of(st.floats(), st.sampled_from([0.0, 1000.0])),
    until_s=st.one_of(st.floats(), st.sampled_from([2000.0, 5000.0])),
    reason=st.sampled_from(["b", ""]),
)


def check_overrides(overrides: list[Override], now_s: float) -> None:
    """I21: never beyond the ceiling of the role that asked, never outside its time, never a new limit."""
    found = effective_limits(LIMITS, overrides, now_s, CEILINGS)
    assert set(found.limits) == set(LIMITS)
    assert len(found.in_force) + len(found.refused) <= len(overrides)
    for key, bound in found.limits.items():
        if bound == LIMITS[key]:
            continue
        asked = [
            o
            for o in overrides
            if (o.limit, o.value, o.unit) == (key, bound.value, bound.unit) and o.from_s <= now_s < o.until_s
        ]
        ceilings = [CEILINGS[o.role][key] for o in asked if key in CEILINGS.get(o.role, {})]
        sign = -1.0 if key.startswith("suspend_below") else 1.0
        assert any(sign * bound.value <= sign * ceiling.loosest.value for ceiling in ceilings)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OVERRIDES, max_size=4), st.one_of(st.floats(), st.sampled_from([999.0, 1500.0])))
def test_i21_overrides(overrides: list[Override], now_s: float) -> None:
    check_overrides(overrides, now_s)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=20_000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OVERRIDES, max_size=4), st.one_of(st.floats(), st.sampled_from([999.0, 1500.0])))
def test_i21_in_20000_cases(overrides: list[Override], now_s: float) -> None:
    check_overrides(overrides, now_s)
