"""The alerts page: open alerts by priority and time, and the history of those that are over."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dosetwin.dashboards.presentation import words as as_words
from dosetwin.dashboards.snapshot import PRIORITY_CODES, AlertLine, Snapshot
from dosetwin.dashboards.view_models.words import clock, number, short_id
from dosetwin.platform.clock import instant
from dosetwin.platform.identifiers import PLATFORM

SHOWN_OPEN = 200
SHOWN_OVER = 100


def alerts(snapshot: Snapshot) -> dict[str, Any]:
    """Open alerts (high before medium before low, unseen before seen, newest first) and the newest over."""
    now = instant(snapshot.event_s)
    lines = [line for line in snapshot.alerts.values() if line.raised is not None]
    opened = [line for line in lines if line.open_at(now)]
    over = [line for line in lines if not line.open_at(now)]
    opened.sort(key=lambda line: _urgency(line, now))
    over.sort(key=lambda line: (-_over_at(line).timestamp(), line.alert))
    counts = {"high": 0, "medium": 0, "low": 0}
    for line in opened:
        if line.raised is not None:
            counts[line.raised.priority] += 1
    return {
        "open": [row(snapshot, line, now) for line in opened[:SHOWN_OPEN]],
        "over": [row(snapshot, line, now) for line in over[:SHOWN_OVER]],
        "open_total": len(opened),
        "over_total": len(over),
        "counts": counts,
        "kinds": sorted({line.raised.kind for line in lines if line.raised is not None}),
    }


def row(snapshot: Snapshot, line: AlertLine, now: datetime) -> dict[str, Any]:
    """One alert as a row, with where it stands in words."""
    raised = line.raised
    if raised is None:
        raise ValueError(f"alert {line.alert} was never raised; only raised alerts have a row")
    record = snapshot.patients.get(line.patient)
    enrolment = record.enrolment if record is not None else None
    evidence = "; ".join(f"{as_words(name)} {number(value)}" for name, value in sorted(raised.evidence.items()))
    return {
        "id": line.alert,
        "patient": line.patient,
        "short": "platform" if line.patient == PLATFORM else short_id(line.patient),
        "ward": enrolment.ward if enrolment is not None else "",
        "kind": raised.kind,
        "title": as_words(raised.kind),
        "priority": raised.priority,
        "message": raised.message,
        "evidence": evidence,
        "raised": clock(raised.at),
        "raised_s": raised.at.timestamp(),
        "source": raised.source,
        "origin": raised.origin,
        "state": state_words(line, now),
        "seen": line.silenced_at(now),
        "pending": line.action is not None and line.acknowledged is None and line.cleared is None,
        "over": None if line.open_at(now) else clock(_over_at(line)),
    }


def state_words(line: AlertLine, now: datetime) -> str:
    """Where an alert stands: who saw it and until when, who is called, whether its cause is over."""
    parts = []
    if line.cleared is not None and line.raised is not None and line.cleared.at >= line.raised.at:
        by = "cause over" if line.cleared.by == "condition" else f"cleared by {line.cleared.by}"
        parts.append(f"{by} at {clock(line.cleared.at)}")
        if line.open_at(now):
            parts.append("stays until somebody acknowledges it")
    if line.acknowledged is not None:
        until = clock(line.acknowledged.until)
        parts.append(
            f"seen by {line.acknowledged.person}, silent until {until}"
            if line.silenced_at(now)
            else f"seen by {line.acknowledged.person}; that ended at {until}"
        )
    elif line.action is not None and line.cleared is None:
        parts.append(f"{line.action.person} acted at {clock(line.action.at)}; waiting for the control app")
    if line.escalated is not None and line.acknowledged is None and line.open_at(now):
        parts.append(f"passed on to the {line.escalated.to} (step {line.escalated.level})")
    return "; ".join(parts) or "nobody has acknowledged it yet"


def _urgency(line: AlertLine, now: datetime) -> tuple[int, bool, float, str]:
    if line.raised is None:
        return 0, True, 0.0, line.alert
    code = PRIORITY_CODES[line.raised.priority]
    return -code, line.silenced_at(now), -line.raised.at.timestamp(), line.alert


def _over_at(line: AlertLine) -> datetime:
    ends = [event.at for event in (line.cleared, line.acknowledged, line.raised) if event is not None]
    return max(ends)
