"""`dosetwin fleet` on a terminal: from its flags to a running fleet, its progress and its last line."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dosetwin.platform.metrics import FleetMetrics
from dosetwin.platform.settings import Settings, load_settings
from dosetwin.stream_jobs.fleet.fleet import Fleet
from dosetwin.stream_jobs.fleet.plan import FleetPlan


def effective_settings(bootstrap: str | None, speed: float | None, data_dir: Path | None) -> Settings:
    """The settings; a speed without anchors runs from now, so that event time begins as the present."""
    settings = load_settings(kafka={"bootstrap": bootstrap}, clock={"speed": speed}, data_dir=data_dir)
    if settings.clock.speed != 1.0 and settings.clock.wall_anchor_s == 0.0:
        now_s = float(round(time.time()))
        clock = {"speed": settings.clock.speed, "wall_anchor_s": now_s, "event_anchor_s": now_s}
        settings = load_settings(kafka={"bootstrap": bootstrap}, clock=clock, data_dir=data_dir)
        say = Console(stderr=True, highlight=False)
        say.print("The clock starts now. Give every other process (twins, control, dashboard) the same one:")
        for name, value in clock.items():
            say.print(f"  export DOSETWIN_CLOCK__{name.upper()}={value}")
    return settings


def run_fleet(settings: Settings, plan: FleetPlan, as_json: bool) -> None:
    """Run until the plan's time is over, Ctrl-C or SIGTERM; print the counters."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    console = Console(stderr=True, highlight=False)
    metrics = FleetMetrics("fleet")
    port = metrics.serve(settings.metrics.address, settings.metrics.fleet_port)
    console.print(f"{plan.patients} patients at {settings.clock.speed:g} times life; metrics on port {port}")
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("admitting patients", total=plan.for_s)
        began = time.monotonic()

        def show(counts: dict[str, int]) -> None:
            progress.update(
                task,
                completed=time.monotonic() - began,
                description=f"{counts.get('readings', 0):,} readings, {counts.get('doses', 0):,} doses",
            )

        result = Fleet(settings, plan, metrics=metrics, progress=show).run(stop)
    if as_json:
        print(json.dumps(result), flush=True)
        return
    table = Table("what", "count", title="The fleet")
    for name, value in result.items():
        table.add_row(name.replace("_", " "), json.dumps(value))
    Console(highlight=False).print(table)
