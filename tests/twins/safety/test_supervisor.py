"""Each limit of the supervisor, at and around its bound."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.safety import LimitTable, Verdict, review
from dosetwin.twins.therapy import Bound

from .situations import NOW, situation

INSULIN = {
    "maximum_rate": Bound(5.0, "U/h", "test"),
    "maximum_bolus": Bound(10.0, "U", "test"),
    "maximum_on_board": Bound(7.0, "U", "test"),
    "maximum_24h": Bound(80.0, "U", "test"),
    "suspend_below": Bound(70.0, "mg/dL", "test"),
    "suspend_predicted_below": Bound(60.0, "mg/dL", "test"),
    "stale_after": Bound(12.0, "min", "test"),
    "flat_after": Bound(45.0, "min", "test"),
    "minimum_interval": Bound(3.0, "min", "test"),
}
VANCOMYCIN = {
    "maximum_amount": Bound(2000.0, "mg", "test"),
    "maximum_24h": Bound(4000.0, "mg/d", "test"),
    "maximum_rate": Bound(1000.0, "mg/h", "test"),
    "minimum_interval": Bound(6.0, "h", "test"),
}


def rate(amount: float, duration_s: float = 1800.0) -> Order:
    return Order(
        drug="insulin", route="subcutaneous", kind="rate", amount=amount, unit="U/h", duration_s=duration_s
    )


def bolus(amount: float, unit: str = "U") -> Order:
    return Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount, unit=unit)


def regimen(amount: float, interval_h: float = 12.0, duration_h: float = 2.0) -> Order:
    return Order(
        drug="vancomycin",
        route="intravenous",
        kind="regimen",
        amount=amount,
        unit="mg",
        duration_s=duration_h * 3600,
        interval_s=interval_h * 3600,
    )


def infusion(amount: float) -> Order:
    return Order(
        drug="vancomycin", route="intravenous", kind="infusion", amount=amount, unit="mg", duration_s=7200.0
    )


def judged(*orders: Order, limits: dict[str, Bound] = INSULIN, **changes: Any) -> Verdict:
    drug = orders[0].drug if orders else "insulin"
    return review(orders, situation(drug, **changes), limits, "glucose")


def only(verdict: Verdict) -> Refusal:
    assert len(verdict.findings) == 1, verdict.findings
    return verdict.findings[0]


def test_what_breaks_no_limit_passes_unchanged() -> None:
    proposal = (rate(2.0), bolus(3.0))
    assert judged(*proposal) == Verdict(proposal, (), refused=False)
    assert judged() == Verdict((), (), refused=False)


# --- limits on amounts: at the bound passes, above it is cut to the bound -----------------------------


@pytest.mark.parametrize(
    ("limit", "order", "changes", "left", "value"),
    [
        ("maximum_rate", rate(5.0), {}, 5.0, None),
        ("maximum_rate", rate(5.01), {}, 5.0, 5.01),
        ("maximum_bolus", bolus(10.0), {"on_board": 0.0}, 7.0, None),
        ("maximum_on_board", bolus(6.0), {}, 6.0, None),
        ("maximum_on_board", bolus(6.01), {}, 6.0, 7.01),
        ("maximum_on_board", rate(3.0), {"on_board": 6.0}, 3.0, None),
        ("maximum_on_board", rate(3.2), {"on_board": 6.0}, 3.0, 7.1),
        ("maximum_24h", bolus(4.0), {"given_24h": 76.0}, 4.0, None),
        ("maximum_24h", bolus(4.5), {"given_24h": 76.0}, 4.0, 80.5),
        ("maximum_24h", rate(3.0), {"given_24h": 79.0}, 3.0, None),
        ("maximum_24h", rate(4.0), {"given_24h": 79.0}, 3.0, 80.5),
        ("maximum_24h", rate(4.0), {"given_24h": 90.0}, 1.0, 91.5),
    ],
)
def test_amounts(limit: str, order: Order, changes: dict[str, Any], left: float, value: float | None) -> None:
    verdict = judged(order, **changes)
    assert [allowed.amount for allowed in verdict.orders] == pytest.approx([left])
    assert not verdict.refused
    found = {finding.limit: finding for finding in verdict.findings}
    if value is None:
        assert limit not in found
    else:
        assert found[limit].value == pytest.approx(value)
        assert found[limit].bound == INSULIN[limit].value
        assert (found[limit].unit, found[limit].source) == (INSULIN[limit].unit, "test")
        assert found[limit].effect == "reduced"
        assert found[limit].reason


def test_a_bolus_above_its_own_maximum_is_cut() -> None:
    roomy = INSULIN | {"maximum_on_board": Bound(50.0, "U", "test")}
    assert judged(bolus(10.0), limits=roomy).findings == ()
    verdict = judged(bolus(10.5), limits=roomy)
    assert (verdict.orders[0].amount, only(verdict).limit, only(verdict).value) == (
        10.0,
        "maximum_bolus",
        10.5,
    )


def test_a_bolus_without_room_is_refused() -> None:
    verdict = judged(bolus(0.5), on_board=7.0)
    assert verdict.refused
    assert verdict.orders == ()
    assert (only(verdict).limit, only(verdict).effect) == ("maximum_on_board", "refused")


def test_a_rate_without_room_is_cut_to_the_basal_programme_or_to_nothing() -> None:
    assert judged(rate(2.0), on_board=9.0).orders[0].amount == 1.0
    assert judged(rate(2.0), on_board=9.0, basal_rate=None).orders[0].amount == 0.0


def test_orders_of_one_command_share_the_room() -> None:
    verdict = judged(bolus(4.0), bolus(4.0))
    assert [order.amount for order in verdict.orders] == [4.0, 2.0]
    assert only(verdict).value == 9.0
    same = bolus(4.0)
    assert [order.amount for order in judged(same, same).orders] == [4.0, 2.0]


@pytest.mark.parametrize(("window", "given"), [("given_24h", 74.0), ("given_4h", 14.0), ("given_1h", 4.0)])
def test_orders_of_one_command_share_every_window(window: str, given: float) -> None:
    limits = {
        **INSULIN,
        "maximum_on_board": Bound(50.0, "U", "test"),
        "maximum_1h": Bound(10.0, "U", "test"),
        "maximum_4h": Bound(20.0, "U", "test"),
    }
    verdict = judged(bolus(4.0), bolus(4.0), limits=limits, **{window: given})
    assert [order.amount for order in verdict.orders] == [4.0, 2.0]


def test_room_that_is_only_rounding_is_none() -> None:
    assert judged(bolus(1.0), on_board=7.0 - 1e-12).refused
    assert judged(rate(1.0, duration_s=3600.0), basal_rate=0.0, on_board=7.0 - 1e-12).orders[0].amount == 0.0


@pytest.mark.parametrize(
    ("order", "given", "left", "limits"),
    [
        (regimen(2000.0), 2000.0, 2000.0, []),
        (regimen(2100.0, duration_h=3.0), 0.0, 2000.0, ["maximum_24h", "maximum_amount"]),
        (regimen(1500.0, interval_h=8.0), 0.0, 4000 / 3, ["maximum_24h"]),
        (regimen(1000.0), 3500.0, 500.0, ["maximum_24h"]),
        (regimen(1000.0, duration_h=1.0), 0.0, 1000.0, []),
        (regimen(1000.0, duration_h=0.5), 0.0, 500.0, ["maximum_rate"]),
        (regimen(1000.0, interval_h=48.0), 3200.0, 800.0, ["maximum_24h"]),
        (regimen(500.0), 4000.0, None, ["maximum_24h"]),
    ],
)
def test_regimens(order: Order, given: float, left: float | None, limits: list[str]) -> None:
    verdict = judged(order, limits=VANCOMYCIN, given_24h=given, last_order_s=None)
    assert [allowed.amount for allowed in verdict.orders] == pytest.approx([] if left is None else [left])
    assert sorted(finding.limit for finding in verdict.findings) == limits
    assert verdict.refused is (left is None)


def test_an_infusion_is_held_to_amount_and_rate() -> None:
    verdict = judged(infusion(2500.0), limits=VANCOMYCIN, given_24h=0.0, last_order_s=None)
    assert verdict.orders[0].amount == 2000.0
    assert {finding.limit for finding in verdict.findings} == {"maximum_amount", "maximum_rate"}


def test_a_limit_in_another_unit_is_not_guessed_at() -> None:
    verdict = judged(bolus(1.0, unit="mL"))
    assert verdict.refused
    assert only(verdict).limit == "malformed"
    order = msgspec.structs.replace(rate(1.0), unit="U")
    assert judged(order).refused


# --- low: rates become 0, the rest falls --------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "changes"),
    [("suspend_below", {"value": 69.9}), ("suspend_predicted_below", {"lowest": 59.9})],
)
def test_low_suspends(limit: str, changes: dict[str, Any]) -> None:
    verdict = judged(rate(2.0), **changes)
    assert [order.amount for order in verdict.orders] == [0.0]
    assert verdict.orders[0].duration_s == 1800.0
    finding = only(verdict)
    assert (finding.limit, finding.effect) == (limit, "reduced")
    assert (finding.value, finding.bound) == (next(iter(changes.values())), INSULIN[limit].value)
    assert judged(rate(0.2), **changes).orders[0].amount == 0.0

    alone = judged(bolus(1.0), **changes)
    assert alone.refused
    assert only(alone).effect == "refused"

    compound = judged(rate(2.0), bolus(1.0), **changes)
    assert [(order.kind, order.amount) for order in compound.orders] == [("rate", 0.0)]


def test_low_at_its_bound_is_not_low() -> None:
    assert judged(rate(2.0), value=70.0, lowest=60.0).findings == ()


def test_no_forecast_gives_no_drug() -> None:
    verdict = judged(rate(2.0), lowest=None)
    assert verdict.refused
    assert only(verdict).limit == "suspend_predicted_below"


# --- gates: no drug at all, but a suspension always passes --------------------------------------------

GATES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("stale_after", {"at_s": NOW - 721.0}, {"at_s": NOW - 720.0}),
    ("stale_after", {"value": None}, {}),
    ("flat_after", {"flat_s": 2701.0}, {"flat_s": 2700.0}),
    ("minimum_interval", {"last_order_s": NOW - 179.0}, {"last_order_s": NOW - 180.0}),
    ("minimum_interval", {"last_order_s": NOW + 5.0}, {"last_order_s": None}),
    ("suspect_reading", {"suspect": True}, {"suspect": False}),
    ("pending_command", {"pending_command": "c-1"}, {"pending_command": None}),
    ("malformed", {"at_s": NOW + 301.0}, {"at_s": NOW + 300.0}),
    ("malformed", {"on_board": float("nan")}, {"on_board": 0.0}),
    ("malformed", {"on_board": -0.1}, {"on_board": -1e-12}),
    ("malformed", {"given_24h": float("inf")}, {}),
    ("malformed", {"given_24h": -1.0}, {}),
    ("malformed", {"value": float("nan")}, {}),
    ("malformed", {"lowest": float("nan")}, {}),
    ("malformed", {"lowest": float("inf")}, {}),
    ("malformed", {"now_s": float("nan")}, {}),
    ("malformed", {"basal_rate": -1.0}, {"basal_rate": None}),
]


@pytest.mark.parametrize(("limit", "shut", "opened"), GATES)
def test_gates(limit: str, shut: dict[str, Any], opened: dict[str, Any]) -> None:
    verdict = judged(bolus(1.0), **shut)
    assert verdict.refused
    assert verdict.orders == ()
    assert (only(verdict).limit, only(verdict).effect) == (limit, "refused")
    assert judged(bolus(1.0), **opened).findings == ()

    suspension = judged(rate(0.0), **shut)
    assert suspension == Verdict((rate(0.0),), (), refused=False)
    mixed = judged(rate(0.0), bolus(1.0), **shut)
    assert mixed.orders == (rate(0.0),), "the bolus falls, the suspension stands"
    if limit != "minimum_interval":
        assert judged(rate(1.0), **shut).refused


def test_every_finding_can_be_written_as_json_and_read_again() -> None:
    shapes = [judged(bolus(1.0), **shut) for _, shut, _ in GATES]
    shapes += [judged(bolus(float("nan"))), judged(bolus(float("inf"))), judged(bolus(-1.0))]
    shapes.append(judged(bolus(1.0), limits=INSULIN | {"maximum_24h": Bound(float("nan"), "U", "test")}))
    for verdict in shapes:
        text = msgspec.json.encode(verdict.findings)
        assert msgspec.json.decode(text, type=tuple[Refusal, ...]) == verdict.findings


def test_a_suspension_is_not_repeated_while_one_is_pending() -> None:
    verdict = judged(rate(0.0), pending_command="c-1", pending_suspends=True)
    assert verdict.refused
    assert only(verdict).limit == "pending_command"
    assert judged(rate(0.0), pending_command="c-1").orders == (rate(0.0),)


@pytest.mark.parametrize(
    ("order", "missing"),
    [
        (rate(0.5), "maximum_rate"),
        (rate(0.5), "maximum_24h"),
        (bolus(0.5), "maximum_bolus"),
        (bolus(0.5), "maximum_on_board"),
        (bolus(0.5), "maximum_24h"),
        (infusion(1.0), "maximum_amount"),
        (infusion(1.0), "maximum_24h"),
        (regimen(1.0), "maximum_amount"),
        (regimen(1.0), "maximum_24h"),
    ],
)
def test_nothing_is_allowed_until_it_is_configured(order: Order, missing: str) -> None:
    limits = INSULIN if order.kind in ("rate", "bolus") else INSULIN | VANCOMYCIN
    verdict = judged(order, limits={name: bound for name, bound in limits.items() if name != missing})
    assert verdict.refused
    assert "unconfigured" in {finding.limit for finding in verdict.findings}
    assert any(missing in finding.reason for finding in verdict.findings)
    assert judged(rate(0.0), limits={}).orders == (rate(0.0),)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -1.0])
def test_a_broken_bound_refuses(broken: float) -> None:
    for name, bound in INSULIN.items():
        verdict = judged(bolus(1.0), limits=INSULIN | {name: Bound(broken, bound.unit, "test")})
        assert verdict.orders == (), name
    for name, unit in (
        ("stale_after", "fortnights"),
        ("joint_rate", "%"),
        ("unsteady_above", "mg/dL"),
        ("contraindicated_above", "mg/dL"),
    ):
        finding = only(judged(bolus(1.0), limits=INSULIN | {name: Bound(1e9, unit, "test")}))
        assert finding.limit == "malformed"
        assert name in finding.reason
        assert "cannot be judged" not in finding.reason


# --- malformed orders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [
        bolus(float("nan")),
        bolus(float("inf")),
        bolus(-1.0),
        rate(float("nan")),
        rate(1.0, duration_s=0.0),
        rate(1.0, duration_s=float("inf")),
        rate(1.0, duration_s=-60.0),
        regimen(500.0, interval_h=0.0),
        msgspec.structs.replace(bolus(1.0), kind="drip"),
    ],
)
def test_malformed_orders_fall_and_take_the_command_with_them(order: Order) -> None:
    verdict = judged(order)
    assert verdict.refused
    assert only(verdict).limit == "malformed"
    assert "cannot be judged" not in only(verdict).reason, "by the check that is meant, not by an accident"
    both = judged(rate(0.0), bolus(100.0), order)
    assert both.orders == (rate(0.0),)
    assert {finding.limit for finding in both.findings} == {"malformed", "compound"}


def test_one_order_without_room_takes_the_others_with_it() -> None:
    verdict = judged(rate(2.0), bolus(3.0), on_board=7.5)
    assert verdict.refused
    assert [(finding.limit, finding.effect) for finding in verdict.findings] == [
        ("maximum_on_board", "reduced"),
        ("maximum_on_board", "refused"),
        ("compound", "refused"),
    ]


def test_it_is_lean_enough_for_the_hot_path() -> None:
    """Calls of Python functions, which do not depend on how fast the machine is: about 110 of them."""
    proposal, calm, table = (rate(2.0), bolus(3.0)), situation(), LimitTable(INSULIN)
    review(proposal, calm, table, "glucose")
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        review(proposal, calm, table, "glucose")
    finally:
        sys.setprofile(None)
    assert calls < 150
