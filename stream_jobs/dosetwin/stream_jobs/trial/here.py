"""Runs a trial's cells one after another in this process, without Ray: for a debugger, a busy machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from dosetwin.stream_jobs.trial.plan import Cell, TrialPlan
from dosetwin.stream_jobs.trial.tasks import TOLD_EVERY_S, attempt


class StoppedError(BaseException):
    """Leaves a cell in its middle; no `except Exception` of a plant or policy may hold it up."""


def run_cells_here(
    plan: TrialPlan,
    cells: Sequence[Cell],
    *,
    stop: threading.Event,
    done: Callable[[Cell, Any], None],
    lived: Callable[[dict[str, float]], None],
) -> None:
    """As `ray_run.run_cells`, and with the same numbers."""
    for cell in cells:
        told_s = 0.0

        def progress(days: float, name: str = cell.name) -> None:
            nonlocal told_s
            if stop.is_set():
                raise StoppedError
            if time.monotonic() - told_s >= TOLD_EVERY_S:
                told_s = time.monotonic()
                lived({name: days})

        try:
            answer = attempt(plan, cell, progress)
        except StoppedError:
            return
        done(cell, answer)
        if stop.is_set():
            return
