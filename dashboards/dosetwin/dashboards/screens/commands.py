"""The commands page."""

from __future__ import annotations

from dosetwin.dashboards.screens.live import live
from dosetwin.dashboards.view_models.commands import commands


def show() -> None:
    """Show them, live."""
    live("commands", lambda shared, snapshot: commands(snapshot))
