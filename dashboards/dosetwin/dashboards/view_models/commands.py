"""The commands page: proposals that wait for a person, and the newest life lines."""

from __future__ import annotations

from typing import Any

from dosetwin.dashboards.presentation import scale_of, shown_unit, therapy_view
from dosetwin.dashboards.snapshot import Snapshot
from dosetwin.dashboards.view_models.lifelines import FINAL, lifeline_row, stage, started_at
from dosetwin.dashboards.view_models.orders import order_words
from dosetwin.dashboards.view_models.words import number
from dosetwin.platform.clock import instant
from dosetwin.platform.command_state import CommandLife

SHOWN = 60


def commands(snapshot: Snapshot) -> dict[str, Any]:
    """Waiting proposals (soonest to expire first), life lines (newest first), counts by stage."""
    now = instant(snapshot.event_s)
    lines = list(snapshot.lives.values())
    counts: dict[str, int] = {}
    waiting: list[CommandLife] = []
    newest_of = newest_waiting(snapshot)
    for line in lines:
        reached = stage(line, now)
        counts[reached] = counts.get(reached, 0) + 1
        if reached == "waiting":
            waiting.append(line)
    waiting.sort(key=lambda line: (line.expires_at or now, line.id))
    newest = sorted(lines, key=_started, reverse=True)[:SHOWN]
    return {
        "waiting": [waiting_row(snapshot, line, newest_of) for line in waiting[:SHOWN]],
        "waiting_total": len(waiting),
        "lines": [lifeline_row(line, now) for line in newest],
        "counts": counts,
        "total": len(lines),
        "open": sum(count for reached, count in counts.items() if reached not in FINAL),
    }


def newest_waiting(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    """The newest waiting proposal of each patient and device; older ones are overtaken by it."""
    now = instant(snapshot.event_s)
    newest: dict[tuple[str, str], tuple[float, str]] = {}
    for life in snapshot.lives.values():
        proposal = life.proposal
        if proposal is not None and stage(life, now) == "waiting":
            key, value = (life.patient, proposal.device), (proposal.proposed_at.timestamp(), proposal.id)
            newest[key] = max(newest.get(key, value), value)
    return {key: proposal_id for key, (_, proposal_id) in newest.items()}


def waiting_row(
    snapshot: Snapshot, life: CommandLife, newest_of: dict[tuple[str, str], str]
) -> dict[str, Any]:
    """A proposal with everything a person must see before saying yes: patient, dose, reason, version seen."""
    row = lifeline_row(life, instant(snapshot.event_s))
    proposal = life.proposal
    record = snapshot.patients.get(life.patient)
    enrolment = record.enrolment if record is not None else None
    if proposal is not None:
        row["orders"] = [order_words(order) for order in proposal.orders]
        row["reason"] = proposal.reason
        row["version"] = proposal.enrolment_version
        row["overtaken"] = newest_of.get((life.patient, proposal.device)) != proposal.id
    if enrolment is not None and record is not None:
        view = therapy_view(enrolment.therapy)
        scale = scale_of(view.quantity)
        rows = record.readings.get(view.quantity)
        row["therapy"] = view.title
        row["mode"] = enrolment.mode
        row["ward"] = enrolment.ward
        row["enrolment_version"] = enrolment.version
        if rows is not None and len(rows.rows):
            newest = rows.rows[rows.rows[:, 0].argmax()]
            row["value"] = f"{number(float(newest[1]), scale.decimals)} {shown_unit(scale.unit)}"
            row["value_at_s"] = float(newest[0])
    return row


def _started(life: CommandLife) -> tuple[float, str]:
    at = started_at(life)
    return (at.timestamp() if at is not None else 0.0), life.id
