"""The platform's sub-commands: broker, topics, contracts, inspect, doctor."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the platform's commands to `app`."""
