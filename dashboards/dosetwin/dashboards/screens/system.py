"""The system page."""

from __future__ import annotations

from dosetwin.dashboards.screens.live import live
from dosetwin.dashboards.view_models.system import system


def show() -> None:
    """How the platform is doing."""
    live("system", lambda shared, snapshot: system(snapshot, shared.prober.newest, shared.prober.before))
