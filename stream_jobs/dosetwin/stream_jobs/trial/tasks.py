"""A cell of a trial as a Ray task, and the actor that hears how far each is. Nothing heavy at its top.

JAX reads its settings when it is imported: each worker gets one thread before that, so that workers do not
fight for the cores and numbers do not depend on how many workers there are.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dosetwin.platform.compilation_cache import keep_compilations
from dosetwin.platform.errors import DoseTwinError
from dosetwin.stream_jobs.trial.plan import Cell, TrialPlan

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TOLD_EVERY_S = 0.5


@dataclass(frozen=True)
class Failure:
    """Why a task gave no outcome: a line for the screen, and the traceback."""

    cell: Cell
    words: str
    traceback: str


class Hearing:
    """Days lived so far by the patients of each running cell."""

    def __init__(self) -> None:
        self._days: dict[str, float] = {}

    def lived(self, name: str, days: float) -> None:
        """A task says how far its patients are."""
        self._days[name] = days

    def read(self) -> dict[str, float]:
        """Cell name -> days."""
        return self._days


def one_thread() -> None:
    """Give this process's JAX and BLAS one thread each; call before they are imported."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "intra_op_parallelism_threads" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {ONE_THREAD}".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"
    for name in THREADS:
        os.environ[name] = "1"


def run_cell(plan: TrialPlan, cell: Cell, hearing: Any) -> Any:
    """The body of a Ray task: `attempt`, in a process of one thread, telling `hearing` how far it is."""
    one_thread()
    keep_compilations()
    told_s = time.monotonic()

    def progress(days: float) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TOLD_EVERY_S:
            told_s = time.monotonic()
            hearing.lived.remote(cell.name, days)

    return attempt(plan, cell, progress)


def attempt(plan: TrialPlan, cell: Cell, progress: Callable[[float], None]) -> Any:
    """The cell's Outcome, or a Failure; never an exception of the trial's own."""
    try:
        from dosetwin.stream_jobs.trial.simulate import simulate
        from dosetwin.stream_jobs.trial.source import find_trial

        return simulate(find_trial(plan.source), plan, cell, progress)
    except DoseTwinError as error:
        remedy = f" ({error.remedy})" if error.remedy else ""
        return Failure(cell, f"{error}{remedy}", traceback.format_exc())
    except Exception as error:
        return Failure(cell, f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
