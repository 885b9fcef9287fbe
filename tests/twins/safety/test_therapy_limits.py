"""The limits that therapies set: each can be held to, in its drug's unit, with a source."""

from __future__ import annotations

import pytest

from dosetwin.platform.contracts import Order
from dosetwin.twins.safety import LimitTable, Override, Situation, effective_limits, review
from dosetwin.twins.safety.limit_table import DRUG_LIMITS, KNOWN, READING_LIMITS, TIGHTER_UP
from dosetwin.twins.therapies import load_therapy, therapy_ids
from dosetwin.twins.therapy import Therapy

CLOSED = [load_therapy(name) for name in therapy_ids() if not load_therapy(name).monitoring]
SOMEBODY_ELSES = {"maximum_auc24", "maximum_trough"}
"""Limits that policies hold themselves to and the supervisor does not read."""


@pytest.fixture(params=CLOSED, ids=lambda therapy: therapy.id)
def therapy(request: pytest.FixtureRequest) -> Therapy:
    found: Therapy = request.param
    return found


def test_every_limit_is_known_can_be_held_to_and_has_a_source(therapy: Therapy) -> None:
    table = LimitTable(therapy.limits)
    assert table.problems == []
    drugs = {drug.name for drug in therapy.drugs}
    quantities = {quantity.name for quantity in therapy.observed}
    for key, bound in therapy.limits.items():
        name, *scopes = key.split("@")
        assert name in KNOWN | SOMEBODY_ELSES, key
        assert bound.source, key
        if name in DRUG_LIMITS:
            assert set(scopes) <= drugs, key
        if name in READING_LIMITS:
            assert set(scopes[:1]) <= quantities, key
            assert set(scopes[1:]) <= drugs, key
            assert scopes or therapy.guarded in quantities, key


def test_every_drug_has_the_limits_that_any_order_of_it_needs(therapy: Therapy) -> None:
    table = LimitTable(therapy.limits)
    for drug in therapy.drugs:
        limits = table.of_drug(drug.name)
        assert "maximum_24h" in limits
        assert {"maximum_rate", "maximum_bolus", "maximum_amount"} & set(limits)
        for name in ("maximum_rate", "maximum_bolus", "maximum_amount", "maximum_on_board", "maximum_24h"):
            if name in limits:
                assert limits[name].unit.split("/")[0] == drug.unit, f"{name} of {drug.name}"


def test_ceilings_are_about_limits_of_the_therapy_in_their_unit(therapy: Therapy) -> None:
    for role, ceilings in therapy.ceilings.items():
        for key, ceiling in ceilings.items():
            bound, loosest = therapy.limits[key], ceiling.loosest
            assert key.partition("@")[0] in KNOWN
            assert loosest.unit == bound.unit
            assert loosest.source
            sign = -1.0 if key.partition("@")[0] in TIGHTER_UP else 1.0
            assert sign * bound.value <= sign * loosest.value, (
                "nobody may be kept from the therapy's own limit"
            )
            asked = Override(key, loosest.value, loosest.unit, "a", role, 0.0, ceiling.longest_s, "b")
            assert effective_limits(therapy.limits, [asked], 1.0, therapy.ceilings).refused == ()


def test_a_patient_of_whom_nothing_is_known_gets_nothing(therapy: Therapy) -> None:
    for drug in therapy.drugs:
        for kind in ("rate", "bolus", "infusion", "regimen"):
            order = Order(
                drug=drug.name,
                route="intravenous",
                kind=kind,
                amount=1e-3,
                unit=f"{drug.unit}/h" if kind == "rate" else drug.unit,
                duration_s=0.0 if kind == "bolus" else 600.0,
                interval_s=43_200.0 if kind == "regimen" else 0.0,
            )
            assert review((order,), Situation(0.0, {}, {}, {}), therapy.limits, therapy.guarded).refused
