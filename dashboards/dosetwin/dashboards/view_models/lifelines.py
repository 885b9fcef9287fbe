"""Where an order stands: one stage in words, and the steps of its life line."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from dosetwin.dashboards.view_models.orders import orders_words
from dosetwin.dashboards.view_models.words import clock, short_id
from dosetwin.platform.command_state import WATCHDOG, CommandLife
from dosetwin.platform.contracts import Action, Command, Proposal

Stage = Literal[
    "waiting", "approved", "turned down", "issued", "delivered", "applied", "refused", "expired", "unknown"
]
FINAL: tuple[Stage, ...] = ("turned down", "applied", "refused", "expired")


def stage(life: CommandLife, now: datetime) -> Stage:
    """The stage that an order has reached.

    A proposal that nobody answered in time is expired by itself; a command is not, until its device or the
    watchdog says so.
    """
    said = life.stage
    if said in ("proposed", "approved") and life.proposal is not None and life.proposal.expires_at <= now:
        return "expired"
    return "waiting" if said == "proposed" else said


def holder(life: CommandLife) -> Command | Proposal | None:
    """The command where it left, else the proposal."""
    return life.command or life.proposal


def started_at(life: CommandLife) -> datetime | None:
    """When it was proposed or issued."""
    if life.proposal is not None:
        return life.proposal.proposed_at
    return life.command.issued_at if life.command is not None else None


def steps(life: CommandLife) -> list[dict[str, str]]:
    """Each thing that happened to an order, in order: what, when, and by whom or why."""
    said: list[tuple[int, datetime, str, str]] = []
    if life.proposal is not None:
        said.append((0, life.proposal.proposed_at, "proposed", life.proposal.reason))
    said += [(1, each.at, "approved", _person(each)) for each in life.approvals[:1]]
    said += [(1, each.at, "turned down", _person(each)) for each in life.refusals[:1]]
    if life.command is not None:
        said.append((2, life.command.issued_at, "issued", f"signed, to {life.command.device}"))
    for each in life.acknowledgements:
        why = " ".join(part for part in (each.reason, each.detail) if part)
        by = "the watchdog" if each.device == WATCHDOG else each.device
        said.append(
            (3 if each.status == "delivered" else 4, each.at, each.status, f"{by}: {why}" if why else by)
        )
    said.sort(key=lambda entry: entry[:2])
    return [{"what": what, "at": clock(at), "detail": detail} for _, at, what, detail in said]


def lifeline_row(life: CommandLife, now: datetime) -> dict[str, Any]:
    """A life line as the commands page draws it."""
    reached, source, started = stage(life, now), holder(life), started_at(life)
    return {
        "id": life.proposal.id if life.proposal is not None else life.id,
        "patient": life.patient,
        "short": short_id(life.patient),
        "stage": reached,
        "final": reached in FINAL,
        "order": orders_words(source.orders) if source is not None else "order not retained",
        "device": source.device if source is not None else "",
        "started_s": started.timestamp() if started is not None else None,
        "expires_s": source.expires_at.timestamp() if source is not None else None,
        "steps": steps(life),
    }


def _person(action: Action) -> str:
    who = f"{action.person}, {action.role}"
    return f"{who}: {action.reason}" if action.reason else who
