"""What other closed loops lock, one test each: how this supervisor answers the same situation.

Sources: openaps/oref0 0.7.1, nightscout/AndroidAPS, LoopKit/Loop, nightscout/Trio and their issue threads;
docs/safety.md has the table.
"""

from __future__ import annotations

from typing import Any

import pytest

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.safety import DrugState, GuardedReading, Situation, Verdict, Watch, review
from dosetwin.twins.therapy import Bound

from .situations import NOW, situation
from .test_supervisor import INSULIN, bolus, judged, only, rate, regimen

EXTRA = {
    "noise_above": Bound(10.0, "mg/dL", "test"),
    "unsteady_above": Bound(20.0, "%", "test"),
    "minimum_spacing": Bound(20.0, "s", "test"),
    "sensor_error_at": Bound(38.0, "mg/dL", "test"),
    "sensor_error_below": Bound(10.0, "mg/dL", "test"),
    "maximum_automatic_bolus": Bound(30.0, "min", "test"),
    "maximum_times_basal": Bound(4.0, "1", "test"),
    "maximum_increase": Bound(2.0, "U/h", "test"),
    "maximum_1h": Bound(4.0, "U", "test"),
    "maximum_4h": Bound(9.0, "U", "test"),
    "lock_out": Bound(2.0, "min", "test"),
    "delivery_stale_after": Bound(5.0, "min", "test"),
    "proposal_stale_after": Bound(10.0, "min", "test"),
    "maximum_given_since": Bound(20.0, "%", "test"),
    "contraindicated_above@creatinine": Bound(3.0, "mg/dL", "test"),
    "contraindicated_below@weight": Bound(20.0, "kg", "test"),
}


def beside(name: str, *orders: Order, **changes: Any) -> Verdict:
    """Judged with one more limit."""
    return judged(*orders, limits=INSULIN | {name: EXTRA[name]}, **changes)


# --- stale or bad sensor ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "shut", "opened"),
    [
        ("noise_above", {"noise": 10.1}, {"noise": 10.0}),
        ("minimum_spacing", {"spacing_s": 19.0}, {"spacing_s": 20.0}),
        ("sensor_error_at", {"value": 38.0}, {"value": 138.0}),
        ("sensor_error_below", {"value": 10.0}, {"value": 110.0}),
        ("unsteady_above", {"change": -29.0}, {"change": 28.0}),
        ("unsteady_above", {"change": None}, {"change": 0.0}),
        ("lock_out", {"failed_s": NOW - 119.0}, {"failed_s": NOW - 120.0}),
        ("delivery_stale_after", {"reported_s": NOW - 301.0}, {"reported_s": NOW - 300.0}),
        ("delivery_stale_after", {"reported_s": None}, {"reported_s": NOW}),
        ("proposal_stale_after", {"proposed_s": NOW - 601.0}, {"proposed_s": NOW - 600.0}),
        (
            "maximum_given_since",
            {"proposed_s": NOW - 60.0, "given_since_proposal": 0.11},
            {"proposed_s": NOW - 60.0, "given_since_proposal": 0.1},
        ),
        ("maximum_given_since", {"proposed_s": NOW - 60.0}, {"proposed_s": None}),
        (
            "contraindicated_above@creatinine",
            {"covariates": {"creatinine": 3.1}},
            {"covariates": {"creatinine": 3.0}},
        ),
        ("contraindicated_above@creatinine", {"covariates": {}}, {"covariates": {"creatinine": 1.0}}),
        ("contraindicated_below@weight", {"covariates": {"weight": 19.9}}, {"covariates": {"weight": 20.0}}),
        (
            "contraindicated_below@weight",
            {"covariates": {"weight": float("nan")}},
            {"covariates": {"weight": 20.0}},
        ),
        ("maximum_1h", {"given_1h": None}, {"given_1h": 3.5}),
        ("maximum_automatic_bolus", {"basal_rate": None}, {"basal_rate": 1.0}),
    ],
)
def test_gates_that_others_have_too(limit: str, shut: dict[str, Any], opened: dict[str, Any]) -> None:
    verdict = beside(limit, bolus(0.5), **shut)
    assert verdict.refused
    finding = only(verdict)
    assert (finding.limit, finding.effect) == (limit, "refused")
    assert (finding.bound, finding.unit, finding.source) == (EXTRA[limit].value, EXTRA[limit].unit, "test")
    assert beside(limit, bolus(0.5), **opened).findings == ()
    assert beside(limit, rate(0.0), **shut).orders == (rate(0.0),)


def test_a_code_of_the_sensor_is_no_low_reading() -> None:
    """oref0: 38 mg/dL is an error code, glucose of 38 is not: nobody knows whether it is low."""
    assert judged(rate(2.0), value=38.0).orders == (rate(0.0),)
    assert beside("sensor_error_at", rate(2.0), value=38.0).orders == ()
    assert beside("sensor_error_at", rate(2.0), value=39.0).orders == (rate(0.0),)


def test_a_jump_stops_boluses_that_nobody_asked_for_and_no_rates() -> None:
    """oref0: no micro-bolus when glucose changed by more than 20 %."""
    assert beside("unsteady_above", rate(2.0), change=60.0).findings == ()
    assert beside("unsteady_above", bolus(0.5), change=60.0, announced_s=NOW - 600.0).findings == ()


def test_a_signal_loss_of_a_second_quantity_is_seen_too() -> None:
    """A therapy guards two quantities; each has its own age."""
    limits = {
        **INSULIN,
        "suspend_below@pressure": Bound(65.0, "mm[Hg]", "test"),
        "stale_after@pressure": Bound(30.0, "s", "test"),
    }
    calm = situation()

    def with_pressure(**reading: Any) -> Verdict:
        readings = {**calm.readings, "pressure": GuardedReading(**reading)} if reading else calm.readings
        changed = Situation(NOW, readings, calm.lowest, calm.drugs)
        return review((rate(2.0),), changed, limits, "glucose")

    assert only(with_pressure()).limit == "stale_after@pressure"
    assert only(with_pressure(value=80.0, at_s=NOW - 31.0)).limit == "stale_after@pressure"
    assert only(with_pressure(value=80.0, at_s=NOW, suspect=True)).limit == "suspect_reading"
    assert with_pressure(value=64.9, at_s=NOW).orders == (rate(0.0),)
    assert with_pressure(value=80.0, at_s=NOW).findings == ()


# --- rate and amount -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "order", "changes", "left", "value"),
    [
        ("maximum_times_basal", rate(4.0), {}, 4.0, None),
        ("maximum_times_basal", rate(4.5), {}, 4.0, 4.5),
        ("maximum_times_basal", rate(3.0), {"basal_rate": 0.5}, 2.0, 6.0),
        ("maximum_increase", rate(2.9), {"current_rate": 1.0}, 2.9, None),
        ("maximum_increase", rate(4.0), {"current_rate": 1.5}, 3.5, 2.5),
        ("maximum_increase", rate(4.0), {}, 3.0, 3.0),
        ("maximum_increase", rate(4.0), {"basal_rate": None}, 2.0, 4.0),
        ("maximum_automatic_bolus", bolus(0.5), {}, 0.5, None),
        ("maximum_automatic_bolus", bolus(0.6), {}, 0.5, 36.0),
        ("maximum_automatic_bolus", bolus(6.0), {"announced_s": NOW - 60}, 6.0, None),
        ("maximum_automatic_bolus", bolus(6.0), {"announced_s": NOW - 3601}, 0.5, 360.0),
        ("maximum_1h", bolus(3.0), {}, 3.0, None),
        ("maximum_1h", bolus(3.5), {}, 3.0, 4.5),
        ("maximum_1h", rate(4.0, 7200.0), {"given_1h": 2.0}, 3.0, 5.0),
        ("maximum_4h", bolus(5.5), {}, 5.0, 9.5),
    ],
)
def test_amounts_that_others_bound_too(
    limit: str, order: Order, changes: dict[str, Any], left: float, value: float | None
) -> None:
    verdict = beside(limit, order, **changes)
    assert [allowed.amount for allowed in verdict.orders] == pytest.approx([left])
    found = {finding.limit: finding for finding in verdict.findings}
    assert (limit in found) is (value is not None)
    if value is not None:
        assert found[limit].value == pytest.approx(value)
        assert found[limit].effect == "reduced"


def test_a_basal_rate_that_nobody_knows_refuses() -> None:
    """A bound of so many times an unknown rate is no bound of 0: the rate is not cut to a suspension."""
    for limit, order in (("maximum_times_basal", rate(1.0)), ("maximum_automatic_bolus", bolus(0.5))):
        verdict = beside(limit, order, basal_rate=None)
        assert verdict.orders == ()
        assert (only(verdict).limit, only(verdict).value) == (limit, -1.0)
    in_units = INSULIN | {"maximum_automatic_bolus": Bound(0.25, "U", "test")}
    assert judged(bolus(0.5), limits=in_units, basal_rate=None).orders[0].amount == 0.25


def test_a_value_above_where_the_drug_may_be_given_suspends() -> None:
    limits = INSULIN | {"suspend_above": Bound(180.0, "mg/dL", "test")}
    assert judged(rate(2.0), limits=limits, value=180.0).findings == ()
    verdict = judged(rate(2.0), limits=limits, value=180.5)
    assert verdict.orders == (rate(0.0),)
    assert (only(verdict).limit, only(verdict).effect, only(verdict).value) == (
        *("suspend_above", "reduced"),
        180.5,
    )


@pytest.mark.parametrize("limit", ["stale_after", "suspend_below", "suspend_above"])
def test_each_limit_on_a_reading_needs_one(limit: str) -> None:
    amounts = {name: bound for name, bound in INSULIN.items() if name.startswith("maximum")}
    bound = INSULIN.get(limit, Bound(300.0, "mg/dL", "test"))
    verdict = judged(rate(1.0), limits={**amounts, limit: bound}, value=None)
    assert verdict.refused
    assert (only(verdict).limit, only(verdict).value) == (limit, -1.0)
    assert judged(rate(1.0), limits=amounts, value=None).findings == ()


def test_amount_on_board_that_nobody_knows_refuses() -> None:
    """oref0: maximum insulin on board is 0 until configured; Trio: refused when it is unknown."""
    assert only(judged(bolus(0.5), on_board=None)).limit == "maximum_on_board"
    assert only(judged(rate(0.5), on_board=None)).limit == "maximum_on_board"
    assert only(judged(bolus(0.5), given_24h=None)).limit == "maximum_24h"


def test_a_bound_that_grows_with_weight() -> None:
    limits = {
        **INSULIN,
        "maximum_rate": Bound(0.05, "U/kg/h", "test"),
        "maximum_bolus": Bound(0.1, "U/kg", "test"),
    }
    verdict = judged(rate(4.0), limits=limits, covariates={"weight": 60.0})
    assert verdict.orders[0].amount == pytest.approx(3.0)
    assert only(verdict).bound == pytest.approx(3.0)
    assert only(verdict).unit == "U/h"
    for unknown in ({}, {"weight": float("nan")}, {"weight": 0.0}, {"weight": float("inf")}):
        verdict = judged(bolus(0.1), limits=limits, covariates=unknown)
        assert verdict.refused
        assert {finding.limit for finding in verdict.findings} == {"unconfigured"}
    per_minute = INSULIN | {"maximum_rate": Bound(0.05, "U/min", "test")}
    assert judged(rate(4.0), limits=per_minute).orders[0].amount == pytest.approx(3.0)


# --- commands --------------------------------------------------------------------------------------------


def test_a_late_answer_never_doubles_a_bolus() -> None:
    """cgm-remote-monitor #7375; Loop: nothing new while a request is pending."""
    watch = Watch()
    watch.read("glucose", 140.0, NOW - 60.0)
    told: dict[str, Any] = {"lowest": {"glucose": 95.0}, "on_board": {"insulin": 1.0}}
    first = review((bolus(2.0),), watch.situation(NOW, **told), INSULIN, "glucose")
    assert first.findings == ()
    watch.ordered(first.orders, NOW)
    again = watch.situation(NOW + 60.0, pending_command="c-1", **told)
    assert {f.limit for f in review((bolus(2.0),), again, INSULIN, "glucose").findings} == {
        "pending_command",
        "minimum_interval",
    }


def test_a_meal_that_was_refused_takes_its_bolus_with_it() -> None:
    """Trio #1349: compound orders are atomic."""
    verdict = judged(rate(2.0), bolus(3.0, unit="mL"))
    assert verdict.orders == ()
    assert {finding.limit for finding in verdict.findings} == {"malformed", "compound"}


def test_carbohydrates_announced_from_afar_do_not_by_pass_limits() -> None:
    """Loop #1841: an announcement lifts the bound on automatic boluses and no other."""
    verdict = beside("maximum_automatic_bolus", bolus(12.0), announced_s=NOW, on_board=0.0)
    assert verdict.orders[0].amount == 7.0
    assert {finding.limit for finding in verdict.findings} == {"maximum_bolus", "maximum_on_board"}


def test_a_compression_low_does_not_stop_insulin_for_hours() -> None:
    """Trio #691, Loop #2120: a suspect reading suspends at most for the rate's own duration."""
    verdict = judged(rate(2.0, duration_s=1800.0), value=50.0, suspect=True)
    assert verdict.orders == (rate(0.0, duration_s=1800.0),)


# --- two drugs -------------------------------------------------------------------------------------------

PROPOFOL_REMIFENTANIL = {
    "maximum_rate@propofol": Bound(12.0, "mg/kg/h", "test"),
    "maximum_bolus@propofol": Bound(2.0, "mg/kg", "test"),
    "maximum_on_board@propofol": Bound(1000.0, "mg", "test"),
    "maximum_24h@propofol": Bound(10_000.0, "mg", "test"),
    "maximum_rate@remifentanil": Bound(0.5, "ug/kg/min", "test"),
    "maximum_24h@remifentanil": Bound(20_000.0, "ug", "test"),
    "interaction_above@remifentanil": Bound(1.5, "ug/kg", "test"),
    "interaction_bolus@propofol": Bound(1.0, "mg/kg", "test"),
    "interaction_rate@propofol": Bound(8.0, "mg/kg/h", "test"),
    "joint_full_rate@propofol": Bound(12.0, "mg/kg/h", "test"),
    "joint_full_rate@remifentanil": Bound(30.0, "ug/kg/h", "test"),
    "joint_rate": Bound(1.25, "1", "test"),
    "suspend_below@pressure": Bound(50.0, "mm[Hg]", "test"),
    "suspend_below@heart_rate@remifentanil": Bound(40.0, "/min", "test"),
}


def hypnotic(kind: Any, amount: float, duration_s: float = 60.0) -> Order:
    unit = "mg/h" if kind == "rate" else "mg"
    lasts_s = 0.0 if kind == "bolus" else duration_s
    return Order(
        drug="propofol", route="intravenous", kind=kind, amount=amount, unit=unit, duration_s=lasts_s
    )


def opioid(amount: float) -> Order:
    return Order(
        drug="remifentanil", route="intravenous", kind="rate", amount=amount, unit="ug/h", duration_s=60.0
    )


def theatre(*orders: Order, remifentanil_ug: float | None = 0.0, **changes: Any) -> Verdict:
    """A patient of 80 kg; readings are fresh and calm unless changed."""
    levels = {"pressure": 75.0, "heart_rate": 60.0} | changes.pop("levels", {})
    states = {
        "propofol": DrugState(0.0, 0.0, current_rate=changes.pop("propofol_rate", 480.0)),
        "remifentanil": DrugState(
            remifentanil_ug, 0.0, current_rate=changes.pop("remifentanil_rate", 1200.0)
        ),
    }
    readings = {name: GuardedReading(value, NOW - 5.0) for name, value in levels.items()}
    now = Situation(NOW, readings, {}, states, {"weight": 80.0}, **changes)
    return review(orders, now, PROPOFOL_REMIFENTANIL, "bis")


def test_a_bolus_beside_the_other_drug_is_smaller() -> None:
    assert theatre(hypnotic("bolus", 160.0), remifentanil_ug=120.0).findings == ()
    verdict = theatre(hypnotic("bolus", 160.0), remifentanil_ug=121.0)
    assert verdict.orders[0].amount == pytest.approx(80.0)
    assert only(verdict).limit == "interaction_bolus@propofol"
    assert theatre(hypnotic("rate", 700.0), remifentanil_ug=121.0).orders[0].amount == pytest.approx(640.0)


def test_the_other_drug_of_the_same_command_counts() -> None:
    verdict = theatre(hypnotic("bolus", 160.0), opioid(2400.0), remifentanil_ug=100.0, propofol_rate=0.0)
    assert [o.amount for o in verdict.orders] == pytest.approx([80.0, 2400.0]), "100 + 40 ug are above 120"


def test_no_drug_interacts_with_itself() -> None:
    limits = {
        **INSULIN,
        "interaction_above": Bound(0.5, "U", "test"),
        "interaction_bolus": Bound(1.0, "U", "test"),
    }
    assert judged(bolus(3.0), limits=limits).findings == ()


def test_an_interaction_that_nobody_can_judge_refuses() -> None:
    verdict = theatre(hypnotic("bolus", 10.0), remifentanil_ug=None)
    assert verdict.refused
    assert only(verdict).limit == "interaction_above@remifentanil"
    assert theatre(opioid(100.0), remifentanil_ug=None).findings == ()


def test_rates_add_up_across_drugs() -> None:
    """960 mg/h and 2,400 ug/h are each drug's full rate; both together may be 1.25 of one."""
    assert theatre(hypnotic("rate", 720.0)).findings == (), "720 / 960 + 1200 / 2400"
    verdict = theatre(hypnotic("rate", 960.0))
    assert verdict.orders[0].amount == pytest.approx(720.0)
    assert only(verdict).limit == "joint_rate"
    assert only(verdict).value == pytest.approx(1.5)
    both = theatre(hypnotic("rate", 960.0), opioid(2400.0))
    assert [o.amount for o in both.orders] == pytest.approx([960.0, 600.0]), "the first order goes first"
    assert theatre(hypnotic("rate", 960.0), opioid(0.0)).findings == ()


def test_a_low_of_one_quantity_stops_the_drugs_it_is_about() -> None:
    slow = theatre(hypnotic("rate", 480.0), opioid(1200.0), levels={"heart_rate": 39.0})
    assert [o.amount for o in slow.orders] == [480.0, 0.0]
    assert only(slow).limit == "suspend_below@heart_rate@remifentanil"
    shock = theatre(hypnotic("rate", 480.0), opioid(1200.0), levels={"pressure": 49.0})
    assert [o.amount for o in shock.orders] == [0.0, 0.0]


def test_a_drug_that_nobody_enrolled_is_refused() -> None:
    other = Order(drug="ketamine", route="intravenous", kind="bolus", amount=1.0, unit="mg")
    verdict = theatre(other, hypnotic("rate", 480.0))
    assert verdict.orders == ()
    assert "ketamine" in verdict.findings[0].reason
    assert {finding.limit for finding in verdict.findings} == {"unconfigured"}


# --- a contraindication by drug, a regimen ----------------------------------------------------------------


def test_a_contraindication_of_one_drug_is_read_from_what_was_measured_last() -> None:
    limits = {
        "maximum_amount": Bound(2000.0, "mg", "test"),
        "maximum_24h": Bound(4000.0, "mg", "test"),
        "contraindicated_above@creatinine@vancomycin": Bound(4.0, "mg/dL", "test"),
    }
    watch = Watch()
    told: dict[str, Any] = {"lowest": {}, "on_board": {"vancomycin": None}, "covariates": {"creatinine": 1.0}}
    assert review((regimen(1000.0),), watch.situation(NOW, **told), limits).findings == ()
    watch.give(TwinEvent(NOW - 60.0, "covariate", "creatinine", 4.5, 1))
    watch.give(TwinEvent(NOW - 600.0, "covariate", "creatinine", 2.0, 2))
    verdict = review((regimen(1000.0),), watch.situation(NOW, **told), limits)
    assert only(verdict).limit == "contraindicated_above@creatinine@vancomycin"
    assert (only(verdict).value, only(verdict).bound) == (4.5, 4.0)
