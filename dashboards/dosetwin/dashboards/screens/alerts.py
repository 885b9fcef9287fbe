"""The alerts page."""

from __future__ import annotations

from dosetwin.dashboards.screens.live import live
from dosetwin.dashboards.view_models.alerts import alerts


def show() -> None:
    """Show them, live."""
    live("alerts", lambda shared, snapshot: alerts(snapshot))
