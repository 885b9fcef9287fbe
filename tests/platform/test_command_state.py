from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from dosetwin.platform.command_state import CommandBook, Message
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    Acknowledgement,
    Action,
    ApproveProposal,
    Command,
    Order,
    Precondition,
    Proposal,
    RefuseProposal,
)

PATIENT = "p-" + "0" * 20
START = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = Order(drug="insulin", route="subcutaneous", kind="bolus", amount=1.0, unit="U")
P, C = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def proposal() -> Proposal:
    return Proposal(
        patient=PATIENT,
        id=P,
        device="pump",
        orders=(ORDER,),
        proposed_at=at(0),
        expires_at=at(30),
        enrolment_version=1,
        decision_id=P,
        source="readings/0:1",
    )


def command(proposal_id: str | None = P) -> Command:
    return Command(
        patient=PATIENT,
        id=C,
        device="pump",
        orders=(ORDER,),
        issued_at=at(2),
        expires_at=at(12),
        precondition=Precondition(enrolment_version=1),
        decision_id=P,
        source="readings/0:1",
        proposal_id=proposal_id,
    )


def acknowledgement(
    status: Literal["delivered", "applied", "refused", "expired"],
    minute: float = 3,
    application: str = "",
    reason: str = "",
) -> Acknowledgement:
    return Acknowledgement(
        patient=PATIENT,
        device="pump",
        boot="b",
        sequence=int(minute),
        sent_at=at(minute),
        command_id=C,
        status=status,
        at=at(minute),
        application_id=application,
        reason=reason,
    )


def action(act: ApproveProposal | RefuseProposal | AcknowledgeAlert, minute: float = 1) -> Action:
    return Action(patient=PATIENT, id=C, person="ada", role="nurse", at=at(minute), act=act)


ALL: list[Message] = [
    proposal(),
    action(ApproveProposal(proposal_id=P)),
    action(RefuseProposal(proposal_id=P)),
    command(),
    acknowledgement("delivered"),
    acknowledgement("applied", 4, "a1"),
    acknowledgement("applied", 5, "a2"),
    acknowledgement("refused", 6, reason="repeated"),
    acknowledgement("expired", 13),
]


@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(messages: list[Message], random: object) -> None:
    shuffled = messages * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its Random as object
    one, other = CommandBook(messages), CommandBook(shuffled)
    assert one.get(P) == other.get(P)
    assert one.get(C) == other.get(C)
    assert len(one) == len(other)


def test_the_way_from_proposal_to_application() -> None:
    book = CommandBook()
    stages = []
    for message in (*ALL[:2], *ALL[3:6]):
        life = book.add(message)
        assert life is not None
        stages.append(life.stage)
    assert stages == ["proposed", "approved", "issued", "delivered", "applied"]
    assert len(book) == 1
    assert book.get(C) is book.get(P)


def test_what_the_device_did_outranks_what_others_believe() -> None:
    applied, refused, expired = (
        acknowledgement("applied", 9, "a1"),
        acknowledgement("refused", 4),
        acknowledgement("expired", 3),
    )
    assert _stage(command(), expired) == "expired"
    assert _stage(command(), expired, refused) == "refused"
    assert _stage(command(), expired, refused, applied) == "applied"
    assert _stage(proposal(), action(RefuseProposal(proposal_id=P))) == "turned down"
    # a person refused, but the command had left: what was sent is what counts
    assert _stage(proposal(), action(RefuseProposal(proposal_id=P)), command()) == "issued"


def test_a_doubled_application_shows_and_a_repeated_acknowledgement_does_not() -> None:
    once = CommandBook([command(), acknowledgement("applied", 4, "a1"), acknowledgement("applied", 4, "a1")])
    twice = CommandBook([command(), acknowledgement("applied", 4, "a1"), acknowledgement("applied", 5, "a2")])
    assert [life.applications for life in (*once, *twice)] == [1, 2]


def test_a_proposal_ends_at_its_expiry_and_a_command_does_not() -> None:
    waiting, sent = CommandBook([proposal()]), CommandBook([command(None)])
    assert [len(waiting.open_lives(at(minute))) for minute in (29, 30)] == [1, 0]
    assert [len(sent.open_lives(at(minute))) for minute in (11, 99)] == [1, 1]
    sent.add(acknowledgement("expired", 13))
    assert sent.open_lives(at(99)) == []
    assert sent.forget_final(older_than=at(12)) == 0
    assert sent.forget_final(older_than=at(13)) == 1
    assert len(sent) == 0


def test_other_actions_are_no_part_of_a_command() -> None:
    assert CommandBook().add(action(AcknowledgeAlert(alert=P))) is None


def _stage(*messages: Message) -> str:
    life = CommandBook(messages).get(P)
    assert life is not None
    return life.stage
