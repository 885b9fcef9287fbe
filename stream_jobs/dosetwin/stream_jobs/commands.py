"""The sub-commands of stream_jobs."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of stream_jobs to `app`."""
