"""The header of every page: how fresh this view is, in words, and how many alerts are open."""

from __future__ import annotations

from typing import Any

from dosetwin.dashboards.snapshot import Snapshot
from dosetwin.dashboards.urgency import is_stale

STALE_AFTER_S = 10.0
"""Wall seconds behind the broker from which a page must not look calm."""


def header(snapshot: Snapshot, wall_s: float, person: str, role: str) -> dict[str, Any]:
    """What the header shows, as of `wall_s`; the browser counts on from there by itself.

    `trouble` is the sentence of a page that must not look calm, empty when it may.
    """
    newest = snapshot.flows["readings"].newest_wall_s if "readings" in snapshot.flows else None
    reader = snapshot.reader
    heard_s = min(reader.heard_s, snapshot.taken_wall_s + 1.0)
    return {
        "wall_s": round(wall_s, 3),
        "event_s": round(snapshot.event_s + (wall_s - snapshot.taken_wall_s) * snapshot.speed, 3),
        "speed": snapshot.speed,
        "connection": reader.connection,
        "heard_age_s": round(max(0.0, wall_s - heard_s), 2),
        "behind_s": round(reader.behind_s, 2),
        "reading_age_s": None if newest is None else round(max(0.0, wall_s - newest), 2),
        "silent_after_s": round(reader.silent_after_s, 1),
        "stale_after_s": STALE_AFTER_S,
        "reconnections": reader.reconnections,
        "connected_age_s": round(wall_s - reader.since_s, 1),
        "error": reader.error,
        "patients": len(snapshot.ward),
        "not_shown": reader.not_shown,
        "stale": int(is_stale(snapshot.ward, snapshot.event_s).sum()),
        "waiting": int(snapshot.ward.waiting.sum()),
        "alerts": dict(snapshot.open_alerts),
        "person": person,
        "role": role,
    }


def trouble(head: dict[str, Any]) -> str:
    """Why a page with this header must not look calm; empty when it may.

    The browser applies the same rule to its own, later time; this one guards what people do.
    """
    limit = head["stale_after_s"]
    if head["connection"] == "connecting":
        return "Not connected to the broker yet"
    if head["heard_age_s"] > limit:
        return f"The broker has not answered for {head['heard_age_s']:.0f} s"
    if head["behind_s"] > limit:
        return f"This view is {head['behind_s']:.0f} s behind the devices"
    age_s = head["reading_age_s"]
    if age_s is not None and age_s > head["silent_after_s"]:
        return f"No reading from any device for {age_s:.0f} s"
    return ""
