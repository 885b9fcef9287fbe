"""The commands page: proposals that wait for a person, and the newest life lines."""

from __future__ import annotations

from typing import Any

from dosetwin.dashboards.snapshot import Lifeline, Snapshot
from dosetwin.dashboards.view_models.lifelines import FINAL, lifeline_row, stage
from dosetwin.dashboards.view_models.orders import order_words
from dosetwin.dashboards.view_models.words import number
from dosetwin.dashboards.presentation import scale_of, shown_unit, therapy_view
from dosetwin.platform.clock import instant

SHOWN = 60


def commands(snapshot: Snapshot) -> dict[str, Any]:
    """Waiting proposals (soonest to expire first), life lines (newest first), counts by stage."""
    now = instant(snapshot.event_s)
    lines = list(snapshot.lifelines.values())
    counts: dict[str, int] = {}
    waiting: list[Lifeline] = []
    for line in lines:
        reached = stage(line, now)
        counts[reached] = counts.get(reached, 0) + 1
        if reached == "waiting":
            waiting.append(line)
    waiting.sort(key=lambda line: (line.proposal.expires_at if line.proposal else now, line.id))
    newest = sorted(lines, key=_started, reverse=True)[:SHOWN]
    return {
        "waiting": [waiting_row(snapshot, line) for line in waiting[:SHOWN]],
        "waiting_total": len(waiting),
        "lines": [lifeline_row(line, now) for line in newest],
        "counts": counts,
        "total": len(lines),
        "open": sum(count for reached, count in counts.items() if reached not in FINAL),
    }


def waiting_row(snapshot: Snapshot, line: Lifeline) -> dict[str, Any]:
    """A proposal with everything a person must see before saying yes: patient, dose, reason, version seen."""
    row = lifeline_row(line, instant(snapshot.event_s))
    proposal = line.proposal
    record = snapshot.patients.get(line.patient)
    enrolment = record.enrolment if record is not None else None
    if proposal is not None:
        row["orders"] = [order_words(order) for order in proposal.orders]
        row["reason"] = proposal.reason
        row["version"] = proposal.enrolment_version
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


def _started(line: Lifeline) -> tuple[float, str]:
    if line.started_at is not None:
        return line.started_at.timestamp(), line.id
    return (line.acknowledgements[0].at.timestamp() if line.acknowledgements else 0.0), line.id
