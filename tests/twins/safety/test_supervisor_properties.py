"""Whatever happened and whatever is proposed: the invariants of docs/safety.md, and the slow oracle.

`make test-slow` holds all of them, together, to 100,000 cases (I18, which judges each case some twenty times,
to 20,000); the fast tests are a sample of the same.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dosetwin.platform.contracts import Order, Refusal
from dosetwin.twins.safety import DrugState, GuardedReading, Situation, Verdict, review
from dosetwin.twins.therapy import Bound

from .cases import BYTES, Case, Choices, cases
from .invariants import INVARIANTS, judge
from .oracle import expected


def many(examples: int) -> settings:
    """Many cases, none remembered: each run draws its own."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


def agrees_with_the_oracle(case: Case, verdict: Verdict) -> None:
    wanted = expected(case)
    assert [(o.drug, o.kind) for o in verdict.orders] == [
        (case.orders[index].drug, case.orders[index].kind) for index, _ in wanted
    ]
    for order, (_, amount) in zip(verdict.orders, wanted, strict=True):
        assert order.amount == pytest.approx(float(amount), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", INVARIANTS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases)
def test_invariant(name: str, case: Case) -> None:
    INVARIANTS[name](case, judge(case))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases)
def test_the_verdict_is_the_oracles(case: Case) -> None:
    agrees_with_the_oracle(case, judge(case))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@many(100_000)
@given(cases)
def test_every_invariant_and_the_oracle_in_100000_cases(case: Case) -> None:
    verdict = judge(case)
    for name, invariant in INVARIANTS.items():
        if name != "I18":
            invariant(case, verdict)
    agrees_with_the_oracle(case, verdict)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@many(20_000)
@given(cases)
def test_i18_in_20000_cases(case: Case) -> None:
    INVARIANTS["I18"](case, judge(case))


# --- I20: whatever it is given, it answers, and gives no drug where a number is no number ----------------

WILD: tuple[Any, ...] = (
    *(math.nan, math.inf, -math.inf, -1.0, -1e-12, 0.0, 1.0, 5e-324, 1e308, 10**400),
    *(None, "1", True, (), {}, b"x"),
)
NAMES: tuple[Any, ...] = ("insulin", "glucose", "", "morphine", None, 3, "a" * 500, "@", [])
KINDS: tuple[Any, ...] = ("rate", "bolus", "infusion", "regimen", "drip", "", None, 7)
UNIT_SPELLINGS: tuple[Any, ...] = ("U/h", "U", "mg", "U/min", "furlong", "", None, "h", "%", "U/kg/h", 5)
LIMIT_NAMES = (
    *("maximum_rate", "maximum_bolus", "maximum_amount", "maximum_on_board", "maximum_24h", "maximum_1h"),
    *("suspend_below", "suspend_predicted_below", "stale_after", "flat_after", "noise_above", "joint_rate"),
    *("unsteady_above", "minimum_interval", "lock_out", "contraindicated_above@age", "contraindicated_below"),
    *("maximum_rate@insulin", "suspend_below@glucose@insulin", "maximum_auc24", "@", "", "interaction_above"),
)


def wild(data: bytes) -> tuple[tuple[Any, ...], Situation, dict[str, Bound], Any]:
    """Well-formed by the first options, nonsense by the others; types are not kept to."""
    choose = Choices(data)

    def number(usual: float) -> Any:
        return usual if choose.byte() < 200 else choose.of(*WILD)

    def text(usual: str, others: tuple[Any, ...]) -> Any:
        return usual if choose.byte() < 215 else choose.of(*others)

    proposal = tuple(
        Order(
            drug=text("insulin", NAMES),
            route="r",
            kind=text("rate", KINDS),
            amount=number(1.0),
            unit=text("U/h", UNIT_SPELLINGS),
            duration_s=number(1800.0),
            interval_s=number(0.0),
        )
        if choose.byte() < 250
        else choose.of(None, 3, "order")
        for _ in range(choose.of(1, 2, 3))
    )
    reading = GuardedReading(
        value=number(120.0), at_s=number(0.0), flat_s=number(0.0), noise=number(1.0), change=number(2.0)
    )
    amounts = [number(value) for value in (1.0, 10.0, 1.0, 1.0, -3600.0, 1.0, 4.0, 0.0, 0.0)]
    state = DrugState(*amounts)
    situation = Situation(
        now_s=number(60.0),
        readings=choose.seldom({"glucose": reading}, None, {"glucose": None}, {}),
        lowest=choose.seldom({"glucose": number(90.0)}, None, {}),
        drugs=choose.seldom({"insulin": state}, None, {"insulin": None}, {}),
        covariates={"weight": number(70.0), "age": number(40.0)},
        pending_command=choose.seldom(None, "c", 4),
        failed_s=choose.seldom(None, math.nan, -1e9),
        proposed_s=choose.seldom(None, math.nan, 0.0),
    )
    limits = {
        "maximum_rate": Bound(number(5.0), text("U/h", UNIT_SPELLINGS), "s"),
        "maximum_24h": Bound(number(50.0), text("U", UNIT_SPELLINGS), "s"),
    }
    for _ in range(choose.of(0, 1, 2, 3)):
        limits[choose.of(*LIMIT_NAMES)] = Bound(number(1.0), choose.of(*UNIT_SPELLINGS), choose.of("s", ""))
    return proposal, situation, limits, text("glucose", NAMES)


def check_wild(data: bytes) -> None:
    proposal, situation, limits, guarded = wild(data)
    verdict = review(proposal, situation, limits, guarded)
    for finding in verdict.findings:
        written = msgspec.json.encode(finding)
        assert msgspec.json.decode(written, type=Refusal) == finding
    for order in verdict.orders:
        assert 0 <= order.amount < math.inf
        assert any(
            isinstance(o, Order) and msgspec.structs.replace(o, amount=order.amount) == order
            for o in proposal
        )
    if any(order.amount > 0 for order in verdict.orders):
        state = situation.drugs["insulin"]
        numbers = [situation.now_s, *(getattr(state, name) for name in state.__struct_fields__)]
        assert all(math.isfinite(value) for value in numbers if value is not None)
        for key in ("maximum_rate", "maximum_24h"):
            assert 0 <= limits[key].value < math.inf


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=BYTES, max_size=BYTES))
def test_i20_whatever_it_is_given_it_answers(data: bytes) -> None:
    check_wild(data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@many(100_000)
@given(st.binary(min_size=BYTES, max_size=BYTES))
def test_i20_in_100000_cases(data: bytes) -> None:
    check_wild(data)


def test_what_is_no_proposal_at_all_is_refused() -> None:
    nothing: Any = None
    unreadable: tuple[Any, ...] = (nothing, 3, [nothing])
    for orders in unreadable:
        verdict = review(orders, nothing, nothing)
        assert verdict.orders == ()
        assert verdict.findings[0].limit == "malformed"


def test_a_suspension_stands_even_where_nothing_can_be_judged() -> None:
    nothing: Any = None
    suspends = Order(drug="insulin", route="r", kind="rate", amount=0.0, unit="U/h", duration_s=1800.0)
    gives = msgspec.structs.replace(suspends, amount=1.0)
    assert review((gives, suspends), nothing, nothing).orders == (suspends,)
