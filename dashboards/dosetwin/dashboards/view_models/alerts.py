"""The alerts page: open alerts by priority and time, and the history of those that are over."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dosetwin.dashboards.presentation import words as as_words
from dosetwin.dashboards.snapshot import AlertLine, Snapshot
from dosetwin.dashboards.view_models.words import clock, evidence_words, short_id
from dosetwin.platform.alert_state import RANK, AlertState
from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import AlertRaised
from dosetwin.platform.identifiers import PLATFORM

SHOWN_OPEN = 200
SHOWN_OVER = 100


def alerts(snapshot: Snapshot) -> dict[str, Any]:
    """Open alerts (unseen before seen, high before medium before low, newest first) and the newest over."""
    now = instant(snapshot.event_s)
    opened: list[tuple[AlertLine, AlertRaised]] = []
    over: list[tuple[AlertLine, AlertRaised]] = []
    for line in snapshot.alerts.values():
        if line.state.raised is not None:
            (opened if line.state.is_open(now) else over).append((line, line.state.raised))
    opened.sort(key=lambda entry: _urgency(entry[0], entry[1], now))
    over.sort(key=lambda entry: _ended(entry[0].state, entry[1]), reverse=True)
    return {
        "open": [_row(snapshot, line, raised, now) for line, raised in opened[:SHOWN_OPEN]],
        "over": [_row(snapshot, line, raised, now) for line, raised in over[:SHOWN_OVER]],
        "open_total": len(opened),
        "over_total": len(over),
        "counts": dict(snapshot.open_alerts),
        "kinds": sorted({raised.kind for _, raised in (*opened, *over)}),
    }


def state_words(line: AlertLine, now: datetime) -> str:
    """Where an alert stands: who saw it and until when, who is called, whether its cause is over."""
    state, parts = line.state, []
    status, cleared, acknowledged = state.status(now), state.cleared, state.acknowledged
    if cleared is not None and status in ("closed", "latched"):
        by = "cause over" if cleared.by == "condition" else f"cleared by {cleared.by}"
        why = f" ({cleared.reason})" if cleared.reason else ""
        parts.append(f"{by} at {clock(cleared.at)}{why}")
    if status == "latched":
        parts.append("stays until somebody acknowledges it")
    if acknowledged is not None:
        until = clock(acknowledged.until)
        parts.append(
            f"seen by {acknowledged.person}, silent until {until}"
            if status == "acknowledged"
            else f"seen by {acknowledged.person} at {clock(acknowledged.at)}"
        )
    if line.action is not None:
        parts.append(f"{line.action.person} acted at {clock(line.action.at)}; waiting for the control app")
    if state.level and state.wants_a_person(now):
        parts.append(f"passed on to the {state.escalations[-1].to} (step {state.level})")
    return "; ".join(parts) or "nobody has acknowledged it yet"


def _row(snapshot: Snapshot, line: AlertLine, raised: AlertRaised, now: datetime) -> dict[str, Any]:
    record = snapshot.patients.get(line.patient)
    enrolment = record.enrolment if record is not None else None
    status = line.state.status(now)
    return {
        "id": line.state.alert,
        "patient": line.patient,
        "short": "platform" if line.patient == PLATFORM else short_id(line.patient),
        "ward": enrolment.ward if enrolment is not None else "",
        "kind": raised.kind,
        "title": as_words(raised.kind),
        "priority": line.state.priority(now),
        "message": raised.message,
        "evidence": "; ".join(f"{name} {value}" for name, value in evidence_words(raised.evidence)),
        "raised": clock(raised.at),
        "raised_s": raised.at.timestamp(),
        "source": raised.source,
        "origin": raised.origin,
        "state": state_words(line, now),
        "seen": status == "acknowledged",
        "pending": line.action is not None,
        "over": clock(_ended(line.state, raised)[0]) if status == "closed" else None,
    }


def _urgency(line: AlertLine, raised: AlertRaised, now: datetime) -> tuple[bool, int, float, str]:
    seen = not line.state.wants_a_person(now)
    return seen, -RANK[line.state.priority(now)], -raised.at.timestamp(), line.state.alert


def _ended(state: AlertState, raised: AlertRaised) -> tuple[datetime, str]:
    return (state.cleared.at if state.cleared is not None else raised.at), state.alert
