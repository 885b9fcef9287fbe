"""The ward page."""

from __future__ import annotations

from dosetwin.dashboards.screens.live import live


def show() -> None:
    """All patients by urgency; the ward travels as changes, which the timer itself works out."""
    live("ward", lambda shared, snapshot: None)
