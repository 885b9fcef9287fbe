"""The gateway on a real broker: what it obeys, what it refuses and why, and that it obeys once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Bolus, Command, Order, Precondition, Proposal, RateChange
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.topics import COMMANDS, ENROLMENTS

pytestmark = pytest.mark.broker

Make = Callable[..., Command]


def bolus(amount_U: float) -> Order:
    return Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount_U, unit="U")


def finals(bedside: Any) -> list[tuple[str, str, str]]:
    return [
        (each.command_id, each.status, each.reason)
        for each in bedside.acknowledgements()
        if each.status != "delivered"
    ]


def test_a_signed_command_is_delivered_applied_and_reported(bedside: Any, make_command: Make) -> None:
    rate = Order(
        drug="insulin", route="subcutaneous", kind="rate", amount=0.42, unit="U/h", duration_s=1800.0
    )
    order = make_command(bolus(1.27), rate)
    bedside.order(order)
    pump = bedside.serve(until_answers=1)

    answers = bedside.acknowledgements()
    assert [each.status for each in answers] == ["delivered", "applied"]
    assert {each.command_id for each in answers} == {order.id}
    assert answers[1].application_id
    (dose,) = bedside.doses()
    given = dose.administrations
    assert isinstance(given[0], Bolus)
    assert isinstance(given[1], RateChange)
    assert (given[0].amount, given[1].rate) == (1.25, 0.40), "rounded down to the pump's increment, never up"
    assert {each.command_id for each in given} == {order.id}
    start_s = given[1].at.timestamp()
    total_U, own = pump.deliver(start_s - 60.0, start_s + 7200.0)
    assert total_U == pytest.approx(1.25 + 1.0 * 60 / 3600 + 0.40 * 0.5 + 1.0 * 1.5)
    (fell_back,) = own
    assert isinstance(fell_back, RateChange)
    assert fell_back.rate == 1.0
    assert fell_back.at.timestamp() == pytest.approx(start_s + 1800.0, abs=1e-3)


def test_each_failed_check_is_a_refusal_with_its_name(bedside: Any, make_command: Make) -> None:
    now_s = bedside.settings.platform_clock.event_s()
    forged = msgspec.structs.replace(make_command(number=1), orders=(bolus(20.0),))
    late = make_command(number=2, expires_at=instant(now_s - 1))
    other_version = make_command(number=3, precondition=Precondition(enrolment_version=7))
    other_past = make_command(
        number=4, precondition=Precondition(enrolment_version=1, last_acknowledged=identifier("never"))
    )
    too_much = make_command(bolus(26.0), number=5)
    mixed = make_command(bolus(1.0), bolus(26.0), number=6)
    other_drug = make_command(
        Order(drug="vancomycin", route="intravenous", kind="bolus", amount=1, unit="mg"), number=7
    )
    for each in (forged, late, other_version, other_past, too_much, mixed, other_drug):
        bedside.order(each)
    pump = bedside.serve(until_answers=7)

    assert {command_id: reason for command_id, _, reason in finals(bedside)} == {
        forged.id: "signature",
        late.id: "expired",
        other_version.id: "precondition",
        other_past.id: "precondition",
        too_much.id: "hardware",
        mixed.id: "hardware",
        other_drug.id: "hardware",
    }
    assert bedside.doses() == []
    assert pump.memory.boluses == [], "orders of one command are applied all or none"


def test_a_repeated_command_is_refused_and_gives_nothing_more(bedside: Any, make_command: Make) -> None:
    order = make_command(bolus(2.0))
    bedside.order(order)
    bedside.order(order)
    pump = bedside.serve(until_answers=2)
    assert finals(bedside) == [(order.id, "applied", ""), (order.id, "refused", "repeated")]
    assert [amount for _, amount in pump.memory.boluses] == [2.0]
    # and after a restart, with the memory of the first life
    bedside.order(order)
    pump = bedside.serve(until_answers=1)
    assert finals(bedside)[-1] == (order.id, "refused", "repeated")
    assert [amount for _, amount in pump.memory.boluses] == [2.0]
    assert len(bedside.doses()) == 1


def test_a_forged_copy_does_not_block_the_true_command(bedside: Any, make_command: Make) -> None:
    order = make_command(bolus(2.0))
    bedside.order(msgspec.structs.replace(order, orders=(bolus(25.0),)))
    bedside.order(order)
    pump = bedside.serve(until_answers=2)
    assert finals(bedside) == [(order.id, "refused", "signature"), (order.id, "applied", "")]
    assert [amount for _, amount in pump.memory.boluses] == [2.0]


def test_the_last_applied_command_is_the_precondition(bedside: Any, make_command: Make) -> None:
    first = make_command(bolus(1.0), number=1)
    second = make_command(
        bolus(1.0),
        number=2,
        precondition=Precondition(enrolment_version=1, last_acknowledged=first.id),
    )
    stale = make_command(
        bolus(1.0),
        number=3,
        precondition=Precondition(enrolment_version=1, last_acknowledged=first.id),
    )
    for each in (first, second, stale):
        bedside.order(each)
    bedside.serve(until_answers=3)
    assert [(status, reason) for _, status, reason in finals(bedside)] == [
        ("applied", ""),
        ("applied", ""),
        ("refused", "precondition"),
    ]


def test_a_new_enrolment_version_makes_old_commands_fail(bedside: Any, make_command: Make) -> None:
    bedside.serve()
    enrolment = msgspec.json.decode(
        b'{"type":"enrolment","patient":"%s","version":2,"therapy":"t1d-insulin","mode":"shadow",'
        b'"at":"2026-01-01T00:00:00Z"}' % make_command().patient.encode()
    )
    bedside.send(ENROLMENTS, msgspec.json.encode(enrolment))
    old = make_command(number=1)
    new = make_command(number=2, precondition=Precondition(enrolment_version=2))
    bedside.order(new)
    bedside.order(old)
    bedside.serve(until_answers=2)
    assert {command_id: reason for command_id, _, reason in finals(bedside)} == {
        new.id: "",
        old.id: "precondition",
    }


def test_proposals_and_rubbish_move_nothing(bedside: Any, make_command: Make) -> None:
    order = make_command(bolus(1.0))
    proposal = Proposal(
        patient=order.patient,
        id=identifier("proposal"),
        device=order.device,
        orders=order.orders,
        proposed_at=order.issued_at,
        expires_at=order.expires_at,
        enrolment_version=1,
        decision_id=order.decision_id,
        source=order.source,
    )
    bedside.send(COMMANDS, proposal)
    bedside.send(COMMANDS, b"{not json")
    bedside.order(order)
    pump = bedside.serve(until_answers=1)
    assert finals(bedside) == [(order.id, "applied", "")]
    assert [amount for _, amount in pump.memory.boluses] == [1.0]


class KilledError(Exception):
    """The end of a process, at a named step."""


STEPS = ("before receiving", "received", "before deciding", "deciding", "decided", "sent")


@pytest.mark.parametrize("step", STEPS)
def test_a_gateway_killed_between_any_two_steps_applies_once(
    step: str, bedside: Any, make_command: Make
) -> None:
    bedside.serve()
    orders = [make_command(bolus(1.0 + number), number=number) for number in range(3)]
    for each in orders:
        bedside.order(each)
    armed = {"steps": 0}

    def kill(reached: str) -> None:
        # `open` settles once before anything is received: the second time is the one under test
        armed["steps"] += reached == step
        if reached == step and armed["steps"] >= (1 if step in ("before receiving", "received") else 2):
            raise KilledError(step)

    with pytest.raises(KilledError):
        bedside.serve(kill, until_answers=3)
    done = sum(each.status == "applied" for each in bedside.acknowledgements())
    pump = bedside.serve(until_answers=0 if step in ("decided", "sent") else 3 - done)
    assert sorted(amount for _, amount in pump.memory.boluses) == [1.0, 2.0, 3.0]
    answers = bedside.acknowledgements()
    for order in orders:
        mine = [each for each in answers if each.command_id == order.id]
        assert sorted(each.status for each in mine) == ["applied", "delivered"]
    assert len({each.application_id for each in answers if each.status == "applied"}) == 3
    given = [each for dose in bedside.doses() for each in dose.administrations]
    assert sorted(each.command_id for each in given) == sorted(order.id for order in orders)
    with sqlite3.connect(bedside.path) as memory:
        assert memory.execute("SELECT count(*) FROM outbox").fetchone() == (0,), "all letters confirmed"
