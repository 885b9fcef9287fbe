"""Where an order stands: one stage in words, and the steps of its life line."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from dosetwin.dashboards.snapshot import Lifeline
from dosetwin.dashboards.view_models.orders import orders_words
from dosetwin.dashboards.view_models.words import clock, short_id
from dosetwin.platform.contracts import ApproveProposal, Order

Stage = Literal["waiting", "approved", "turned down", "issued", "delivered", "applied", "refused", "expired"]
FINAL: tuple[Stage, ...] = ("turned down", "applied", "refused", "expired")
STATION = {"watchdog": "the watchdog"}


def stage(line: Lifeline, now: datetime) -> Stage:
    """The stage that an order has reached; what a device did outranks everything said before."""
    statuses = {each.status for each in line.acknowledgements}
    for final in ("applied", "refused", "expired"):
        if final in statuses:
            return final
    if "delivered" in statuses:
        return "delivered"
    if line.command is not None:
        return "expired" if line.command.expires_at <= now else "issued"
    if line.action is not None:
        if not isinstance(line.action.act, ApproveProposal):
            return "turned down"
        return "approved" if line.proposal is None or line.proposal.expires_at > now else "expired"
    if line.proposal is not None:
        return "expired" if line.proposal.expires_at <= now else "waiting"
    return "issued"


def orders_of(line: Lifeline) -> tuple[Order, ...]:
    """What was ordered; the command's orders where it left, else the proposal's."""
    if line.command is not None:
        return line.command.orders
    return line.proposal.orders if line.proposal is not None else ()


def steps(line: Lifeline, now: datetime) -> list[dict[str, str]]:
    """Each thing that happened to an order, in order: what, when, and by whom or why."""
    said: list[tuple[datetime, str, str]] = []
    if line.proposal is not None:
        said.append((line.proposal.proposed_at, "proposed", line.proposal.reason))
    if line.action is not None:
        verb = "approved" if isinstance(line.action.act, ApproveProposal) else "turned down"
        detail = f"{line.action.person}, {line.action.role}"
        said.append((line.action.at, verb, f"{detail}: {line.action.reason}" if line.action.reason else detail))
    if line.command is not None:
        said.append((line.command.issued_at, "issued", f"signed, to {line.command.device}"))
    for each in line.acknowledgements:
        why = " ".join(part for part in (each.reason, each.detail) if part)
        by = STATION.get(each.device, each.device)
        said.append((each.at, each.status, f"{by}: {why}" if why else by))
    order = {"proposed": 0, "approved": 1, "turned down": 1, "issued": 2, "delivered": 3}
    said.sort(key=lambda entry: (order.get(entry[1], 4), entry[0]))
    return [{"what": what, "at": clock(at), "detail": detail} for at, what, detail in said]


def lifeline_row(line: Lifeline, now: datetime) -> dict[str, Any]:
    """A life line as the commands page draws it."""
    reached = stage(line, now)
    source = line.command or line.proposal
    return {
        "id": line.id,
        "patient": line.patient,
        "short": short_id(line.patient),
        "stage": reached,
        "final": reached in FINAL,
        "order": orders_words(orders_of(line)) if source is not None else "order not retained",
        "device": source.device if source is not None else "",
        "started_s": line.started_at.timestamp() if line.started_at is not None else None,
        "expires_s": source.expires_at.timestamp() if source is not None else None,
        "steps": steps(line, now),
    }
