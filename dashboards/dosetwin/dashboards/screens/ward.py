"""The ward page."""

from __future__ import annotations

from dosetwin.dashboards.screens.live import live


def show() -> None:
    """All patients by urgency."""
    live("ward", lambda shared, snapshot, wall_s: {})
