from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosetwin.platform.alert_state import RANK, URGENCY, AlertBook, AlertState, Status, fold
from dosetwin.platform.contracts import (
    Alert,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    Priority,
)

PATIENT = "p-" + "0" * 20
ALERT = str(uuid.UUID(int=1))
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def raised(minute: float, priority: Priority, alert: str = ALERT) -> AlertRaised:
    return AlertRaised(
        patient=PATIENT, alert=alert, at=at(minute), kind="predicted_low", priority=priority, message="low"
    )


def acknowledged(minute: float, until: float) -> AlertAcknowledged:
    return AlertAcknowledged(
        patient=PATIENT, alert=ALERT, at=at(minute), person="ada", until=at(until), action_id=ALERT
    )


def cleared(minute: float, by: str = "condition") -> AlertCleared:
    return AlertCleared(patient=PATIENT, alert=ALERT, at=at(minute), by=by)


def escalated(minute: float, level: int) -> AlertEscalated:
    return AlertEscalated(patient=PATIENT, alert=ALERT, at=at(minute), level=level, to="charge nurse")


minutes = st.integers(0, 12)
priorities: st.SearchStrategy[Priority] = st.sampled_from(list(RANK))
events: st.SearchStrategy[Alert] = st.one_of(
    st.builds(raised, minutes, priorities),
    st.builds(lambda m, d: acknowledged(m, m + d), minutes, st.integers(1, 12)),
    st.builds(cleared, minutes, st.sampled_from(["condition", "ada"])),
    st.builds(escalated, minutes, st.integers(1, 3)),
)
lives = st.lists(events, min_size=1, max_size=7)


def slow_status(life: list[Alert], now: datetime) -> Status:
    """The rules of the alert life cycle, read aloud, over plain lists: the oracle of the fold."""
    raises = [event for event in life if isinstance(event, AlertRaised)]
    acks = [event for event in life if isinstance(event, AlertAcknowledged)]
    clears = [event for event in life if isinstance(event, AlertCleared)]
    worst: Status = "unknown"
    for event in raises:
        over = False
        seen = False
        for clear in clears:
            if clear.at >= event.at:
                over = True
                seen = seen or clear.by != "condition"
        for ack in acks:
            seen = seen or ack.at >= event.at
        status: Status
        if over:
            status = "latched" if event.priority == "high" and not seen else "closed"
        else:
            status = "active"
            newest = sorted(acks, key=lambda ack: (ack.at, ack.until))[-1:]
            for ack in newest:
                saw_worse = any(r.at <= ack.at and RANK[r.priority] > RANK[event.priority] for r in raises)
                if now < ack.until and (ack.at >= event.at or saw_worse):
                    status = "acknowledged"
        if URGENCY.index(status) > URGENCY.index(worst):
            worst = status
    return worst


@given(lives, minutes)
def test_the_fold_says_what_the_rules_read_aloud_say(life: list[Alert], now: int) -> None:
    assert fold(life).status(at(now)) == slow_status(life, at(now))


@given(lives, st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(life: list[Alert], random: object) -> None:
    shuffled = life * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its Random as object
    assert fold(shuffled) == fold(life)


@given(st.lists(events, min_size=1, max_size=4))
def test_every_order_gives_the_same_state(life: list[Alert]) -> None:
    assert len({repr(fold(order)) for order in permutations(life)}) == 1


@given(lives, lives, minutes)
def test_a_book_told_in_pieces_equals_the_fold_of_all(
    left: list[Alert], right: list[Alert], now: int
) -> None:
    book = AlertBook(right)
    for event in left:
        book.add(event)
    assert book.get(ALERT) == fold(left + right)


@given(lives, priorities, minutes)
def test_a_raise_that_nobody_answered_is_never_hidden(
    life: list[Alert], priority: Priority, now: int
) -> None:
    """Whatever was said before it, a newest raise that is as bad as any is active, with its priority."""
    newest = raised(13, priority)
    state = fold([*life, newest])
    worse_was_seen = any(
        RANK[event.priority] > RANK[priority] for event in life if isinstance(event, AlertRaised)
    )
    if not worse_was_seen:
        assert state.status(at(now)) == "active"
        assert state.priority(at(now)) == priority or RANK[state.priority(at(now))] > RANK[priority]
    assert RANK[state.priority(at(now))] >= RANK[priority]


@given(lives, minutes)
def test_an_unseen_high_alert_is_never_closed(life: list[Alert], now: int) -> None:
    state = fold(life)
    for event in life:
        if isinstance(event, AlertRaised) and event.priority == "high":
            answered = any(
                (
                    isinstance(other, AlertAcknowledged)
                    or (isinstance(other, AlertCleared) and other.by == "ada")
                )
                and other.at >= event.at
                for other in life
            )
            if not answered:
                # an older acknowledgement of high priority cannot cover it either: it came before the raise
                assert state.is_open(at(now))
                assert state.priority(at(now)) == "high"


def test_a_high_alert_latches_and_the_others_end() -> None:
    for priority, expected in (("high", "latched"), ("medium", "closed"), ("low", "closed")):
        assert fold([raised(0, priority), cleared(5)]).status(at(6)) == expected  # type: ignore[arg-type]  # literals
    assert fold([raised(0, "high"), cleared(5), acknowledged(6, 20)]).status(at(7)) == "closed"
    assert fold([raised(0, "high"), cleared(5, by="ada")]).status(at(7)) == "closed"


def test_an_acknowledgement_expires_and_something_worse_ends_it_at_once() -> None:
    state = fold([raised(0, "medium"), acknowledged(1, 10)])
    assert state.status(at(9)) == "acknowledged"
    assert state.status(at(10)) == "active"
    worse = state.with_event(raised(2, "high"))
    assert (worse.status(at(3)), worse.priority(at(3))) == ("active", "high")
    lower = fold([raised(0, "high"), acknowledged(1, 10), raised(2, "medium")])
    assert (lower.status(at(3)), lower.priority(at(3))) == ("acknowledged", "high")


def test_events_before_their_raise_wait_for_it() -> None:
    early = fold([cleared(5), escalated(3, 2)])
    assert early.status(at(9)) == "unknown"
    assert not early.is_open(at(9))
    assert early.with_event(raised(0, "medium")).status(at(9)) == "closed"
    assert early.level == 2


def test_a_book_lists_what_wants_a_person_first() -> None:
    ids = [str(uuid.UUID(int=i)) for i in range(2, 6)]
    book = AlertBook([raised(0, "low", ids[0]), raised(1, "high", ids[1]), raised(2, "medium", ids[2])])
    book.add(
        AlertAcknowledged(patient=PATIENT, alert=ids[1], at=at(2), person="a", until=at(9), action_id=ids[1])
    )
    assert [state.alert for state in book.open_alerts(at(3))] == [ids[2], ids[0], ids[1]]
    assert [state.alert for state in book.open_alerts(at(9))] == [ids[1], ids[2], ids[0]]
    assert book.open_alerts(at(3), patient="p-" + "1" * 20) == []
    book.add(AlertCleared(patient=PATIENT, alert=ids[0], at=at(4)))
    assert book.forget_closed(at(9), older_than=at(5)) == 1
    assert (len(book), book.get(ids[0])) == (2, None)


def test_a_fold_is_of_one_alert() -> None:
    with pytest.raises(ValueError, match="two alerts"):
        fold([raised(0, "low"), raised(0, "low", str(uuid.UUID(int=9)))])
    with pytest.raises(ValueError, match="no events"):
        fold([])
    assert isinstance(fold([raised(0, "low")]), AlertState)
