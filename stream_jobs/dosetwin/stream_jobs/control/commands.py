"""The life of a command: issued, delivered, then applied, refused or expired; and of a proposal.

Level-triggered: given what is known and the time up to which the topics are known, what should have been
written and is not there. Ids and times follow from the messages alone, so that saying it twice is saying it
once.
"""

from __future__ import annotations

from uuid import UUID

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import (
    Acknowledgement,
    AlertCleared,
    AlertRaised,
    ApproveProposal,
    Command,
    Priority,
    Proposal,
)
from dosetwin.platform.identifiers import identifier
from dosetwin.platform.settings import ControlSettings
from dosetwin.platform.topics import COMMANDS
from dosetwin.stream_jobs.control.state import ControlState, Message, Order

WATCHDOG = "watchdog"
GRACE_S = 5.0
"""After a command's expiry a device's own answer may still be under way; it goes before the watchdog's."""
HARMLESS = ("repeated",)
"""Reasons of a device's refusal that are the protocol doing its work."""
MILD = ("expired",)


def command_messages(
    state: ControlState, known_until_s: float, control: ControlSettings, grace_s: float = GRACE_S
) -> tuple[list[Message], list[str]]:
    """What is due about commands and proposals, and the ids of those whose life is over with it.

    `known_until_s`: everything that the broker took before this event time has been folded; no silence is
    judged beyond it. An order may be settled once the messages are written.
    """
    messages: list[Message] = []
    settled: list[str] = []
    unanswered: set[str] = set()
    for order in list(state.orders.values()):
        if isinstance(order.message, Proposal):
            over = _proposal(state, order.message, order, known_until_s, messages)
        else:
            over = _command(
                state, order.message, order, known_until_s, control, grace_s, messages, unanswered
            )
        if over:
            settled.append(order.message.id)
    return messages, settled


def _command(
    state: ControlState,
    command: Command,
    order: Order,
    known_until_s: float,
    control: ControlSettings,
    grace_s: float,
    messages: list[Message],
    unanswered: set[str],
) -> bool:
    answer = state.answers.get(command.id)
    expiry_s = command.expires_at.timestamp() + grace_s
    if answer is not None:
        _answered(state, command, order, answer, messages)
        return True
    late_s = min(command.issued_at.timestamp() + control.unanswered_s, expiry_s)
    silent = known_until_s >= late_s
    if (
        silent
        and command.patient not in unanswered
        and not state.running(command.patient, "command_unanswered")
    ):
        unanswered.add(command.patient)
        suspends = any(part.amount == 0 for part in command.orders)
        waited_s = late_s - command.issued_at.timestamp()
        messages.append(
            AlertRaised(
                patient=command.patient,
                alert=identifier(command.patient, "command_unanswered", command.id),
                at=instant(late_s),
                kind="command_unanswered",
                priority="high" if suspends else "medium",
                message=f"{command.device} has not answered a command for {waited_s:.0f} s",
                evidence={"waited_s": waited_s},
                source=f"{COMMANDS.name}/{order.partition}:{order.offset}",
                origin="control",
            )
        )
    if known_until_s < expiry_s:
        return False
    messages.append(
        Acknowledgement(
            patient=command.patient,
            device=WATCHDOG,
            boot=WATCHDOG,
            sequence=UUID(command.id).int >> 80,
            sent_at=instant(expiry_s),
            command_id=command.id,
            status="expired",
            at=command.expires_at,
            reason="unanswered",
            detail=f"no answer of {command.device} until {grace_s:.0f} s after the command's expiry",
        )
    )
    return True


def _answered(
    state: ControlState, command: Command, order: Order, answer: Acknowledgement, messages: list[Message]
) -> None:
    if answer.device == WATCHDOG:
        return
    for life in state.running(command.patient, "command_unanswered"):
        assert life.raised is not None
        messages.append(_cleared(life.raised, answer.at.timestamp(), f"{command.device} answers again"))
    refused = state.running(command.patient, "command_refused")
    if answer.status == "applied":
        for life in refused:
            assert life.raised is not None
            if life.raised.at <= answer.at:
                messages.append(_cleared(life.raised, answer.at.timestamp(), "a later command was applied"))
    elif answer.status == "refused" and answer.reason not in HARMLESS and not refused:
        priority: Priority = "low" if answer.reason in MILD else "medium"
        messages.append(
            AlertRaised(
                patient=command.patient,
                alert=identifier(command.patient, "command_refused", command.id),
                at=answer.at,
                kind="command_refused",
                priority=priority,
                message=f"{answer.device} refused a command: {answer.reason or 'no reason given'}"
                + (f" ({answer.detail})" if answer.detail else ""),
                source=f"{COMMANDS.name}/{order.partition}:{order.offset}",
                origin="control",
            )
        )


def _proposal(
    state: ControlState, proposal: Proposal, order: Order, known_until_s: float, messages: list[Message]
) -> bool:
    alert = identifier(proposal.patient, "advice_waiting", proposal.id)
    known = state.alert_of(alert)
    verdict = state.verdicts.get(proposal.id)
    expired = known_until_s >= proposal.expires_at.timestamp()
    raised = AlertRaised(
        patient=proposal.patient,
        alert=alert,
        at=proposal.proposed_at,
        kind="advice_waiting",
        priority="low",
        message=proposal.reason or f"a proposal for {proposal.device} waits for a person",
        evidence={"expires_s": proposal.expires_at.timestamp()},
        source=f"{COMMANDS.name}/{order.partition}:{order.offset}",
        origin="control",
    )
    if known.raised is None:
        if verdict is None and not expired:
            messages.append(raised)
            return False
        return True
    if verdict is not None:
        approved = isinstance(verdict.act, ApproveProposal)
        reason = f"{'approved' if approved else 'refused'} by {verdict.person}"
        messages.append(_cleared(raised, verdict.at.timestamp(), reason))
        return True
    if expired:
        messages.append(_cleared(raised, proposal.expires_at.timestamp(), "the proposal expired"))
        return True
    return False


def _cleared(raised: AlertRaised, at_s: float, reason: str) -> AlertCleared:
    return AlertCleared(
        patient=raised.patient,
        alert=raised.alert,
        at=instant(max(at_s, raised.at.timestamp())),
        by="condition",
        reason=reason,
    )
