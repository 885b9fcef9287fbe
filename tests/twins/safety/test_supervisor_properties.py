"""Whatever is proposed in whatever situation: the verdict against the slow oracle, and what never happens."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosetwin.platform.contracts import Order
from dosetwin.twins.safety import Situation, review
from dosetwin.twins.therapy import Bound

from .oracle import expected

KINDS: tuple[Literal["rate", "bolus", "infusion", "regimen"], ...] = ("rate", "bolus", "infusion", "regimen")
NOW = 1_760_000_000.0
amounts = st.one_of(st.just(0.0), st.floats(0.001, 30.0), st.sampled_from([1.0, 5.0, 10.0]))
spans_s = st.sampled_from([300.0, 1800.0, 3600.0, 43_200.0, 86_400.0, 172_800.0])


@st.composite
def proposals(draw: st.DrawFn) -> tuple[Order, ...]:
    orders = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(KINDS))
        orders.append(
            Order(
                drug="insulin",
                route="subcutaneous",
                kind=kind,
                amount=draw(amounts),
                unit="U/h" if kind == "rate" else "U",
                duration_s=0.0 if kind == "bolus" else draw(spans_s),
                interval_s=draw(spans_s) if kind == "regimen" else 0.0,
            )
        )
    return tuple(orders)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    pending = draw(st.sampled_from([None, None, None, None, "c-1"]))
    return Situation(
        now_s=NOW,
        observed=draw(st.one_of(st.floats(75.0, 300.0), st.sampled_from([None, 60.0, 70.0, 69.9]))),
        observed_at_s=draw(st.sampled_from([NOW, NOW - 60, NOW - 720, NOW - 721, NOW + 400])),
        lowest=draw(st.one_of(st.floats(62.0, 200.0), st.sampled_from([None, 60.0, 59.9, -5.0]))),
        on_board=draw(st.floats(0.0, 12.0)),
        given_24h=draw(st.floats(0.0, 90.0)),
        flat_s=draw(st.sampled_from([0.0, 0.0, 2700.0, 2701.0])),
        suspect=draw(st.sampled_from([False, False, False, True])),
        pending_command=pending,
        pending_suspends=pending is not None and draw(st.booleans()),
        last_order_s=draw(st.sampled_from([None, NOW - 3600, NOW - 180, NOW - 179])),
        basal_rate=draw(st.sampled_from([None, 0.0, 0.8, 2.0])),
    )


@st.composite
def limit_sets(draw: st.DrawFn) -> dict[str, Bound]:
    every = {
        "maximum_rate": Bound(draw(st.sampled_from([0.0, 2.0, 5.0])), "U/h", "test"),
        "maximum_bolus": Bound(draw(st.sampled_from([0.0, 4.0, 10.0])), "U", "test"),
        "maximum_amount": Bound(draw(st.sampled_from([3.0, 20.0])), "U", "test"),
        "maximum_on_board": Bound(draw(st.sampled_from([0.0, 7.0, 22.0])), "U", "test"),
        "maximum_24h": Bound(draw(st.sampled_from([40.0, 80.0])), "U/d", "test"),
        "suspend_below": Bound(70.0, "mg/dL", "test"),
        "suspend_predicted_below": Bound(60.0, "mg/dL", "test"),
        "stale_after": Bound(12.0, "min", "test"),
        "flat_after": Bound(2700.0, "s", "test"),
        "minimum_interval": Bound(0.05, "h", "test"),
    }
    missing = draw(st.sets(st.sampled_from(sorted(every)), max_size=draw(st.sampled_from([0, 0, 1, 4]))))
    return {name: bound for name, bound in every.items() if name not in missing}


@settings(max_examples=700, deadline=None)
@given(proposals(), situations(), limit_sets())
def test_the_verdict_is_the_oracles(
    orders: tuple[Order, ...], situation: Situation, limits: dict[str, Bound]
) -> None:
    verdict = review(orders, situation, limits)
    allowed = [(order.kind, order.amount) for order in verdict.orders]
    wanted = expected(orders, situation, limits)
    assert [kind for kind, _ in allowed] == [kind for kind, _ in wanted]
    assert [amount for _, amount in allowed] == pytest.approx([amount for _, amount in wanted], abs=1e-9)
    assert verdict.refused is (not allowed)


@settings(max_examples=700, deadline=None)
@given(proposals(), situations(), limit_sets())
def test_it_only_passes_reduces_or_refuses_and_says_so(
    orders: tuple[Order, ...], situation: Situation, limits: dict[str, Bound]
) -> None:
    verdict = review(orders, situation, limits)
    rest = list(orders)
    for allowed in verdict.orders:
        while rest and not _from(allowed, rest[0]):
            rest.pop(0)
        assert rest, f"{allowed} was never proposed, or is more than was"
        rest.pop(0)
    assert (verdict.orders == orders) is (not verdict.findings), "a cut without a finding, or the reverse"
    for finding in verdict.findings:
        assert finding.limit
        assert finding.reason
        assert finding.source

    given_24h = situation.given_24h
    on_board = situation.on_board
    for allowed in verdict.orders:
        if allowed.amount == 0:
            continue
        if allowed.kind == "rate":
            excess = max(0.0, allowed.amount - (situation.basal_rate or 0.0))
            added = excess * allowed.duration_s / 3600
            assert allowed.amount <= limits["maximum_rate"].value
        else:
            added = allowed.amount
            cap = "maximum_bolus" if allowed.kind == "bolus" else "maximum_amount"
            assert allowed.amount <= limits[cap].value
        given_24h += added
        on_board += added
        if added > 1e-9:
            assert given_24h <= limits["maximum_24h"].value + 1e-9
            if "maximum_on_board" in limits:
                assert on_board <= limits["maximum_on_board"].value + 1e-9


@given(situations(), limit_sets(), st.floats(60.0, 7200.0))
def test_a_suspension_always_passes(
    situation: Situation, limits: dict[str, Bound], duration_s: float
) -> None:
    order = Order(
        drug="insulin", route="subcutaneous", kind="rate", amount=0.0, unit="U/h", duration_s=duration_s
    )
    alone = dataclasses.replace(situation, pending_suspends=False)
    assert review((order,), alone, limits).orders == (order,)


@given(proposals(), situations(), limit_sets())
def test_reviewing_what_was_allowed_changes_nothing(
    orders: tuple[Order, ...], situation: Situation, limits: dict[str, Bound]
) -> None:
    once = review(orders, situation, limits)
    again = review(once.orders, situation, limits)
    assert [order.kind for order in again.orders] == [order.kind for order in once.orders]
    assert [order.amount for order in again.orders] == pytest.approx(
        [order.amount for order in once.orders], abs=1e-9
    )


def _from(allowed: Order, proposed: Order) -> bool:
    return allowed.amount <= proposed.amount and _equal_but_amount(allowed, proposed)


def _equal_but_amount(one: Order, other: Order) -> bool:
    fields = ("drug", "route", "kind", "unit", "duration_s", "interval_s")
    return all(getattr(one, name) == getattr(other, name) for name in fields)
