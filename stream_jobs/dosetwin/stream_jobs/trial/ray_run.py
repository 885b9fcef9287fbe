"""Runs the cells of a trial over Ray: as many at a time as there are workers, each outcome kept as it comes.

The driver owns the files and the screen; a task is a pure function of plan and cell, so Ray may try it again
when its process dies, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from dosetwin.stream_jobs.ray_driver import start_ray
from dosetwin.stream_jobs.trial.plan import Cell, TrialError, TrialPlan
from dosetwin.stream_jobs.trial.tasks import Failure, Hearing, run_cell

LOOK_EVERY_S = 0.25
STARTS = 3
TRIES_AGAIN = 1
"""How often a task whose process died is begun again, before that is a failure."""


def run_cells(
    plan: TrialPlan,
    cells: Sequence[Cell],
    *,
    workers: int,
    stop: threading.Event,
    done: Callable[[Cell, Any], None],
    lived: Callable[[dict[str, float]], None],
) -> None:
    """Simulate `cells`, at most `workers` at a time.

    `done` is called, here, with each cell's Outcome or Failure; `lived`, a few times a second, with the days
    that the patients of running cells have behind them. Ends early where `stop` is set: what runs is lost.
    """
    with _ray(workers):
        task = ray.remote(num_cpus=1, max_retries=TRIES_AGAIN)(run_cell)
        hearing: Any = ray.remote(num_cpus=0)(Hearing).remote()
        waiting = list(reversed(cells))
        running: dict[Any, Cell] = {}
        asked: Any = None
        while (waiting or running) and not stop.is_set():
            while waiting and len(running) < workers:
                cell = waiting.pop()
                running[task.remote(plan, cell, hearing)] = cell
            ready, _ = ray.wait(list(running), timeout=LOOK_EVERY_S)
            for reference in ready:
                cell = running.pop(reference)
                done(cell, _answer(reference, cell))
            asked = asked or hearing.read.remote()
            if ray.wait([asked], timeout=0)[0]:
                lived(ray.get(asked))
                asked = None
        for reference in running:
            ray.cancel(reference, force=True)
        ray.kill(hearing)


def _answer(reference: Any, cell: Cell) -> Any:
    try:
        return ray.get(reference)
    except RayError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Failure(cell, f"its process died {TRIES_AGAIN + 1} times: {first}", str(error))


def _begin(options: dict[str, Any]) -> None:
    """Start Ray, again where a busy machine let it run out of its fixed 30 s."""
    for left in reversed(range(STARTS)):
        try:
            start_ray(options)
            return
        except Exception as error:  # Ray raises a bare Exception here
            ray.shutdown()
            if not left:
                raise TrialError(
                    f"Ray did not start in {STARTS} tries: {error}",
                    remedy="wait until the machine is less busy, or do without Ray: --workers 0",
                ) from error


@contextmanager
def _ray(workers: int) -> Iterator[None]:
    """A local Ray of that many workers, or the cluster in RAY_ADDRESS; one that runs already is used."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": 256 * 1024 * 1024,
        }
    _begin(options)
    try:
        yield
    finally:
        ray.shutdown()
