"""The pure half of the control app: what should be on the topics and is not, at any moment."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.contracts import (
    AcknowledgeAlert,
    Acknowledgement,
    Act,
    Action,
    AlertAcknowledged,
    AlertCleared,
    AlertEscalated,
    AlertRaised,
    ApproveProposal,
    Bolus,
    ChangeMode,
    ClearAlert,
    Command,
    Dose,
    EnrolledDevice,
    Enrolment,
    Infusion,
    Measure,
    MissedDose,
    Precondition,
    Proposal,
    RefuseProposal,
)
from dosetwin.platform.contracts import (
    Order as DrugOrder,
)
from dosetwin.platform.identifiers import PLATFORM, identifier
from dosetwin.platform.settings import ControlSettings
from dosetwin.platform.signing import Signer, Verifier
from dosetwin.stream_jobs.control.actions import Unacceptable, obey
from dosetwin.stream_jobs.control.adherence import Adherence
from dosetwin.stream_jobs.control.commands import command_messages
from dosetwin.stream_jobs.control.escalation import escalations
from dosetwin.stream_jobs.control.silence import silences
from dosetwin.stream_jobs.control.state import ControlState, Message, Order
from dosetwin.stream_jobs.enrolment import fault_of

T0 = 1_760_000_000.0
CONTROL = ControlSettings()
ADA = "p-" + "a" * 20
BEA = "p-" + "b" * 20
SIGNER = Signer(bytes(range(32)))
VERIFIER = Verifier(SIGNER.public_key)
INTERVAL_S = 300.0


@pytest.fixture
def state() -> ControlState:
    return ControlState(PlatformClock(1.0, T0, T0))


def enrolment(patient: str = ADA, **changes: Any) -> Enrolment:
    made = Enrolment(
        patient=patient,
        version=1,
        therapy="t1d-insulin",
        mode="autonomous",
        at=instant(T0),
        ward="east",
        covariates={"weight": Measure(70.0, "kg"), "total_daily_dose": Measure(40.0, "U")},
        devices=(
            EnrolledDevice(device="cgm", kind="cgm"),
            EnrolledDevice(device="pump", kind="insulin_pump", commands=True),
        ),
    )
    return msgspec.structs.replace(made, **changes)


def raised(cause: str, at_s: float = T0, priority: Any = "high", kind: str = "predicted_low") -> AlertRaised:
    return AlertRaised(
        patient=ADA,
        alert=identifier(ADA, kind, cause),
        at=instant(at_s),
        kind=kind,
        priority=priority,
        message="low",
    )


def command(cause: str, at_s: float = T0, expires_in_s: float = 600.0, rate: float = 1.0) -> Order:
    message = Command(
        patient=ADA,
        id=identifier("command", cause),
        device="pump",
        orders=(drug_order(rate),),
        issued_at=instant(at_s),
        expires_at=instant(at_s + expires_in_s),
        precondition=Precondition(enrolment_version=1),
        decision_id=identifier("decision", cause),
        source="readings/0:0",
    )
    return Order(message, 0, int(at_s - T0), int(at_s * 1000))


def proposal(cause: str, at_s: float = T0) -> Order:
    message = Proposal(
        patient=ADA,
        id=identifier("proposal", cause),
        device="pump",
        orders=(drug_order(1.0),),
        proposed_at=instant(at_s),
        expires_at=instant(at_s + 900.0),
        enrolment_version=1,
        decision_id=identifier("decision", cause),
        source="readings/0:0",
    )
    return Order(message, 0, int(at_s - T0), int(at_s * 1000))


def drug_order(rate: float) -> DrugOrder:
    return DrugOrder(
        drug="insulin", route="subcutaneous", kind="rate", amount=rate, unit="U/h", duration_s=1800.0
    )


def answer(order: Order, status: Any, at_s: float, reason: str = "") -> Acknowledgement:
    return Acknowledgement(
        patient=ADA,
        device="pump",
        boot="b",
        sequence=0,
        sent_at=instant(at_s),
        command_id=order.message.id,
        status=status,
        at=instant(at_s),
        reason=reason,
    )


def act(what: Act, at_s: float = T0 + 10, patient: str = ADA, cause: str = "1") -> Action:
    return SIGNER.sign(
        Action(
            patient=patient,
            id=identifier("act", cause),
            person="Dr Ada",
            role="physician",
            at=instant(at_s),
            act=what,
            reason="seen",
        )
    )


def step(state: ControlState, known_until_s: float) -> list[Message]:
    messages, settled = command_messages(state, known_until_s, CONTROL)
    state.written(messages)
    for order in settled:
        state.settle(order)
    return messages


# --- commands -----------------------------------------------------------------------------------------


def test_an_answered_command_leaves_no_trace(state: ControlState) -> None:
    order = command("a")
    state.order(order)
    state.answer(answer(order, "delivered", T0 + 1))
    assert step(state, T0 + 2) == []
    assert state.orders
    state.answer(answer(order, "applied", T0 + 2))
    assert step(state, T0 + 9999) == []
    assert not state.orders


def test_an_unanswered_command_is_called_out_and_expires(state: ControlState) -> None:
    order = command("a")
    state.order(order)
    state.answer(answer(order, "delivered", T0 + 1))
    assert step(state, T0 + 119.9) == []
    (alert,) = step(state, T0 + 120)
    assert isinstance(alert, AlertRaised)
    assert (alert.kind, alert.priority, alert.at) == ("command_unanswered", "medium", instant(T0 + 120))
    assert alert.source == "commands/0:0"
    assert step(state, T0 + 604.9) == []
    (expired,) = step(state, T0 + 605)
    assert isinstance(expired, Acknowledgement)
    assert (expired.status, expired.device, expired.boot) == ("expired", "watchdog", "watchdog")
    assert expired.command_id == order.message.id
    assert state.running(ADA, "command_unanswered"), "the device is still not heard"

    later = command("b", T0 + 700)
    state.order(later)
    state.answer(answer(later, "applied", T0 + 701))
    (cleared,) = step(state, T0 + 702)
    assert isinstance(cleared, AlertCleared)
    assert cleared.alert == alert.alert


def test_a_suspension_that_is_not_answered_is_urgent(state: ControlState) -> None:
    state.order(command("a", rate=0.0))
    (alert,) = step(state, T0 + 120)
    assert isinstance(alert, AlertRaised)
    assert alert.priority == "high"


def test_many_unanswered_commands_of_a_patient_are_one_alert(state: ControlState) -> None:
    for number in range(5):
        state.order(command(str(number), T0 + number))
    messages = step(state, T0 + 700)
    assert sum(isinstance(message, AlertRaised) for message in messages) == 1
    assert sum(isinstance(message, Acknowledgement) for message in messages) == 5


def test_the_devices_own_answer_goes_before_the_watchdogs(state: ControlState) -> None:
    order = command("a")
    state.order(order)
    state.answer(answer(order, "applied", T0 + 599))
    assert step(state, T0 + 9999) == []
    watchdogs = msgspec.structs.replace(answer(order, "expired", T0 + 600), device="watchdog")
    state.answer(watchdogs)
    assert state.answers[order.message.id].device == "pump"


@pytest.mark.parametrize(
    ("reason", "priority"),
    [("hardware", "medium"), ("precondition", "medium"), ("expired", "low"), ("repeated", None)],
)
def test_a_refused_command(state: ControlState, reason: str, priority: str | None) -> None:
    order = command("a")
    state.order(order)
    state.answer(answer(order, "refused", T0 + 3, reason))
    messages = step(state, T0 + 4)
    assert not state.orders
    if priority is None:
        assert messages == []
        return
    (alert,) = messages
    assert isinstance(alert, AlertRaised)
    assert (alert.kind, alert.priority, alert.at) == ("command_refused", priority, instant(T0 + 3))
    assert reason in alert.message
    later = command("b", T0 + 100)
    state.order(later)
    state.answer(answer(later, "applied", T0 + 101))
    (cleared,) = step(state, T0 + 102)
    assert isinstance(cleared, AlertCleared)


@pytest.mark.parametrize("verdict", [ApproveProposal, RefuseProposal, None])
def test_advice_waits_until_a_person_decides_or_it_expires(state: ControlState, verdict: Any) -> None:
    order = proposal("a")
    state.order(order)
    (alert,) = step(state, T0 + 1)
    assert isinstance(alert, AlertRaised)
    assert (alert.kind, alert.priority) == ("advice_waiting", "low")
    assert step(state, T0 + 100) == []
    if verdict is not None:
        state.act(act(verdict(proposal_id=order.message.id), T0 + 200))
        (cleared,) = step(state, T0 + 201)
    else:
        assert step(state, T0 + 899) == []
        (cleared,) = step(state, T0 + 900)
    assert isinstance(cleared, AlertCleared)
    assert cleared.alert == alert.alert
    assert not state.orders
    assert step(state, T0 + 9999) == []


def test_the_fold_does_not_depend_on_order_or_repeats() -> None:
    answered, silent, waiting = command("a"), command("b"), proposal("c")
    alert = raised("x")
    facts: list[Any] = [
        ("order", answered),
        ("order", silent),
        ("order", waiting),
        ("answer", answer(answered, "delivered", T0 + 1)),
        ("answer", answer(answered, "refused", T0 + 2, "hardware")),
        ("act", act(ApproveProposal(proposal_id=waiting.message.id))),
        ("alert", alert),
        ("alert", AlertCleared(patient=ADA, alert=alert.alert, at=instant(T0 + 5))),
    ]
    outcomes = set()
    for seed in range(20):
        chance = random.Random(seed)
        shuffled = facts * 2
        chance.shuffle(shuffled)
        state = ControlState(PlatformClock())
        for kind, message in shuffled:
            getattr(state, kind)(message)
        messages = step(state, T0 + 2000) + escalations(state, T0 + 2000, CONTROL)
        outcomes.add(b"\n".join(sorted(msgspec.json.encode(message) for message in messages)))
    assert len(outcomes) == 1


def test_a_start_reads_from_the_oldest_open_order(state: ControlState) -> None:
    for number in (5, 3, 9):
        state.order(command(str(number), T0 + number))
    assert state.oldest_orders()[0].offset == 3
    state.settle(identifier("command", "3"))
    assert state.oldest_orders()[0].offset == 5


# --- alerts -------------------------------------------------------------------------------------------


def escalated(state: ControlState, known_until_s: float) -> list[tuple[int, str, float]]:
    messages = escalations(state, known_until_s, CONTROL)
    state.written(messages)
    return [
        (message.level, message.to, message.at.timestamp() - T0)
        for message in messages
        if isinstance(message, AlertEscalated)
    ]


def test_an_alert_is_passed_on_step_by_step(state: ControlState) -> None:
    state.alert(raised("a"))
    assert escalated(state, T0 + 119) == []
    assert escalated(state, T0 + 121) == [(1, "buddy nurse", 120.0)]
    assert escalated(state, T0 + 122) == []
    assert escalated(state, T0 + 300) == [(2, "charge nurse", 300.0)]
    assert escalated(state, T0 + 600) == [(3, "physician", 600.0)]
    assert escalated(state, T0 + 99_999) == []


def test_after_a_long_stop_only_the_highest_step_is_called(state: ControlState) -> None:
    state.alert(raised("a"))
    assert escalated(state, T0 + 5000) == [(3, "physician", 600.0)]


def test_low_priority_is_never_passed_on(state: ControlState) -> None:
    state.alert(raised("a", priority="low"))
    assert escalated(state, T0 + 5000) == []


def test_an_acknowledged_alert_is_quiet_until_it_runs_out(state: ControlState) -> None:
    alert = raised("a")
    state.alert(alert)
    (seen,) = obey(state, act(AcknowledgeAlert(alert=alert.alert), T0 + 10), VERIFIER, CONTROL)
    assert isinstance(seen, AlertAcknowledged)
    assert seen.until == instant(T0 + 10) + timedelta(seconds=CONTROL.acknowledged_high_s)
    state.alert(seen)
    assert obey(state, act(AcknowledgeAlert(alert=alert.alert), T0 + 10), VERIFIER, CONTROL) == []
    assert escalated(state, T0 + 900) == []
    assert escalated(state, T0 + 910 + 120) == [(1, "buddy nurse", 910.0 + 120.0)]


def test_an_act_that_is_not_carried_out_yet_stops_the_next_step(state: ControlState) -> None:
    alert = raised("a")
    state.alert(alert)
    state.act(act(AcknowledgeAlert(alert=alert.alert), T0 + 10))
    assert escalated(state, T0 + 500) == []


def test_a_cleared_alert_is_over_but_a_high_one_waits_for_a_person(state: ControlState) -> None:
    medium, high = raised("a", priority="medium"), raised("b")
    for alert in (medium, high):
        state.alert(alert)
        state.alert(AlertCleared(patient=ADA, alert=alert.alert, at=instant(T0 + 60)))
    assert [alert.alert for alert in state.open_alerts()] == [high.alert]
    assert escalated(state, T0 + 121) == [(1, "buddy nurse", 120.0)]
    for message in obey(state, act(AcknowledgeAlert(alert=high.alert), T0 + 130), VERIFIER, CONTROL):
        state.alert(message)  # type: ignore[arg-type]
    assert state.open_alerts() == []
    assert escalated(state, T0 + 99_999) == []


def test_a_person_clears_an_alert(state: ControlState) -> None:
    alert = raised("a")
    state.alert(alert)
    action = act(ClearAlert(alert=alert.alert), T0 + 10)
    (cleared,) = obey(state, action, VERIFIER, CONTROL)
    assert isinstance(cleared, AlertCleared)
    assert (cleared.by, cleared.reason) == ("Dr Ada", "seen")
    state.alert(cleared)
    assert obey(state, action, VERIFIER, CONTROL) == []
    assert state.open_alerts() == []


def reason_of(state: ControlState, action: Action) -> str:
    with pytest.raises(Unacceptable) as caught:
        obey(state, action, VERIFIER, CONTROL)
    return caught.value.reason


def test_acts_that_cannot_be_obeyed(state: ControlState) -> None:
    state.enrolment(enrolment(version=3), T0)
    unsigned = msgspec.structs.replace(act(ChangeMode(mode="shadow", seen_version=3)), reason="other")
    assert reason_of(state, unsigned) == "bad_signature"
    assert reason_of(state, act(AcknowledgeAlert(alert=identifier("?")))) == "unknown_subject"
    assert reason_of(state, act(ClearAlert(alert=identifier("?")))) == "unknown_subject"
    assert reason_of(state, act(ChangeMode(mode="shadow", seen_version=2))) == "stale_enrolment"
    assert reason_of(state, act(ChangeMode(mode="shadow", seen_version=9))) == "stale_enrolment"
    assert reason_of(state, act(ChangeMode(mode="shadow", seen_version=1), patient=BEA)) == "unknown_patient"


# --- enrolment ----------------------------------------------------------------------------------------


def test_a_change_of_mode_is_the_next_version_once(state: ControlState) -> None:
    before = enrolment()
    state.enrolment(before, T0)
    action = act(ChangeMode(mode="advisory", seen_version=1))
    (after,) = obey(state, action, VERIFIER, CONTROL)
    assert after == msgspec.structs.replace(before, version=2, mode="advisory")
    state.written([after])
    assert obey(state, action, VERIFIER, CONTROL) == []
    assert reason_of(state, act(ChangeMode(mode="shadow", seen_version=1), cause="2")) == "stale_enrolment"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"therapy": "leeches"}, "leeches"),
        ({"covariates": {}}, "needs covariate"),
        ({"covariates": {"weight": Measure(70.0, "cm"), "total_daily_dose": Measure(40.0, "U")}}, "cm"),
        ({"covariates": {"weight": Measure(9000.0, "kg"), "total_daily_dose": Measure(40.0, "U")}}, "9000"),
        ({"limits": {"maximum_fun": Measure(1.0, "U")}}, "maximum_fun"),
        ({"devices": ()}, "no device"),
        ({"devices": (EnrolledDevice(device="cgm", kind="cgm"),)}, "obeys"),
        (
            {
                "devices": (
                    EnrolledDevice(device="a", kind="cgm"),
                    EnrolledDevice(device="a", kind="insulin_pump"),
                )
            },
            "more than once",
        ),
    ],
)
def test_enrolments_that_cannot_be_kept(state: ControlState, changes: dict[str, Any], word: str) -> None:
    assert fault_of(enrolment()) == ""
    assert word in fault_of(enrolment(**changes))
    state.enrolment(enrolment(), T0)
    state.enrolment(enrolment(version=2, **changes), T0)
    assert state.enrolments[ADA].version == 1, "the one that could be kept stays in force"


# --- silence ------------------------------------------------------------------------------------------


def hushed(state: ControlState, known_until_s: float) -> list[Message]:
    messages = silences(state, known_until_s, CONTROL)
    state.written(messages)
    return messages


def test_a_silent_sensor_is_called_out_once_and_again_when_it_talks(state: ControlState) -> None:
    state.enrolment(enrolment(), T0)
    state.readings({(ADA, "cgm"): T0 + 100})
    limit_s = T0 + 100 + CONTROL.silent_factor * INTERVAL_S
    assert hushed(state, limit_s - 1) == []
    (alert,) = hushed(state, limit_s)
    assert isinstance(alert, AlertRaised)
    assert (alert.kind, alert.priority, alert.at) == ("silent_device", "high", instant(limit_s))
    assert hushed(state, limit_s + 1) == []
    state.readings({(ADA, "cgm"): limit_s + 5})
    (cleared,) = hushed(state, limit_s + 6)
    assert isinstance(cleared, AlertCleared)
    assert cleared.alert == alert.alert
    assert hushed(state, limit_s + 7) == []


def test_silence_is_known_again_after_a_restart(state: ControlState) -> None:
    state.enrolment(enrolment(), T0)
    state.readings({(ADA, "cgm"): T0 + 100})
    messages = hushed(state, T0 + 5000)
    fresh = ControlState(PlatformClock(1.0, T0, T0))
    fresh.listening_since_s = T0 + 3000
    fresh.enrolment(enrolment(), T0)
    fresh.written(messages)
    assert hushed(fresh, T0 + 6000) == [], "it is the same silence"
    fresh.readings({(ADA, "cgm"): T0 + 6001})
    assert isinstance(hushed(fresh, T0 + 6002)[0], AlertCleared)


def test_nobody_is_silent_for_what_was_not_read_yet(state: ControlState) -> None:
    state.enrolment(enrolment(), T0)
    state.listening_since_s = T0 + 10_000
    assert hushed(state, T0 + 10_001) == []


def test_a_device_that_never_spoke_is_silent_from_its_enrolment_on(state: ControlState) -> None:
    state.enrolment(enrolment(mode="advisory"), T0 + 50)
    assert hushed(state, T0 + 50 + 1199) == []
    (alert,) = hushed(state, T0 + 50 + 1200)
    assert isinstance(alert, AlertRaised)
    assert alert.priority == "medium"


def test_who_is_not_watched_is_not_silent(state: ControlState) -> None:
    state.enrolment(enrolment(), T0)
    (alert,) = hushed(state, T0 + 5000)
    state.enrolment(enrolment(version=2, active=False), T0)
    (cleared,) = hushed(state, T0 + 6000)
    assert isinstance(cleared, AlertCleared)
    assert cleared.alert == alert.alert  # type: ignore[union-attr]
    assert hushed(state, T0 + 99_999) == []


def test_a_ward_that_stops_is_one_alert(state: ControlState) -> None:
    patients = [f"p-{number:020x}" for number in range(1, 31)]
    for number, patient in enumerate(patients):
        state.enrolment(enrolment(patient), T0)
        state.readings({(patient, "cgm"): T0 + 10.0 * number})
    for later in range(0, 3000, 60):
        messages = hushed(state, T0 + later)
        if messages:
            break
    (alert,) = messages
    assert isinstance(alert, AlertRaised)
    assert (alert.patient, alert.evidence["devices"]) == (PLATFORM, 30.0)
    assert "east" in alert.message
    assert hushed(state, T0 + 4000) == []

    state.readings({(patient, "cgm"): T0 + 4001 for patient in patients[:28]})
    after = hushed(state, T0 + 4002)
    assert [message.alert for message in after if isinstance(message, AlertCleared)] == [alert.alert]
    alone = [message.patient for message in after if isinstance(message, AlertRaised)]
    assert alone == patients[28:], "two devices did not come back: now each has its own alert"


# --- adherence ----------------------------------------------------------------------------------------


def dose(sequence: int, *administrations: Any) -> Dose:
    return Dose(
        patient=ADA,
        device="pillbox",
        boot="b",
        sequence=sequence,
        sent_at=instant(T0),
        administrations=administrations,
    )


def test_missed_doses_are_counted_and_called_out(state: ControlState) -> None:
    adherence = Adherence()

    def taken(at_s: float) -> Bolus:
        return Bolus(drug="quinidine", route="oral", amount=200.0, unit="mg", at=instant(at_s))

    def missed(at_s: float) -> MissedDose:
        return MissedDose(drug="quinidine", route="oral", amount=200.0, unit="mg", at=instant(at_s))

    for number in range(3):
        assert adherence.take(dose(number, taken(T0 + number)), "doses/0:0", state) == []
    messages = adherence.take(dose(3, missed(T0 + 3)), "doses/0:3", state)
    (alert,) = messages
    assert isinstance(alert, AlertRaised)
    assert (alert.kind, alert.priority, alert.source) == ("missed_dose", "medium", "doses/0:3")
    assert alert.evidence == {"adherence": 0.75, "missed": 1.0, "planned": 4.0}
    state.written(messages)
    assert adherence.take(dose(3, missed(T0 + 3)), "doses/0:3", state) == [], "a repeat"

    restarted = Adherence()
    (second,) = restarted.take(dose(4, missed(T0 + 4)), "doses/0:4", state)
    assert isinstance(second, AlertRaised)
    assert second.evidence == {"adherence": 0.6, "missed": 2.0, "planned": 5.0}
    state.written([second])
    ended = restarted.take(dose(5, taken(T0 + 5)), "doses/0:5", state)
    assert {message.alert for message in ended if isinstance(message, AlertCleared)} == {
        alert.alert,
        second.alert,
    }


def test_infusions_count_as_taken(state: ControlState) -> None:
    infusion = Infusion(
        drug="vancomycin", route="intravenous", amount=1000.0, unit="mg", at=instant(T0), duration_s=3600.0
    )
    assert Adherence().take(dose(0, infusion), "doses/0:0", state) == []
