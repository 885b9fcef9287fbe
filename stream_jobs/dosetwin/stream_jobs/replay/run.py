"""`dosetwin replay`: broker and shard where none is given, the stream, figures, pictures."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dosetwin.platform.broker import Broker
from dosetwin.platform.settings import Settings, load_settings
from dosetwin.platform.topic_admin import declare_topics
from dosetwin.stream_jobs.replay.messages import anchor
from dosetwin.stream_jobs.replay.nonmem_csv import read_csv
from dosetwin.stream_jobs.replay.performance import Performance, performance
from dosetwin.stream_jobs.replay.plots import draw_plots
from dosetwin.stream_jobs.replay.recorded_sets import RECORDED
from dosetwin.stream_jobs.replay.recording import DataSet
from dosetwin.stream_jobs.replay.stream import predict_streamed

HEADINGS = (
    ("mdpe_population_pct", "MDPE a priori"),
    ("mdape_population_pct", "MDAPE a priori"),
    ("mdpe_pct", "MDPE one step ahead"),
    ("mdape_pct", "MDAPE one step ahead"),
    ("coverage90_pct", "90 % interval covers"),
)


@dataclass(frozen=True)
class ReplayPlan:
    """What to replay, and how."""

    source: str
    therapy: str | None
    output: Path
    speed: float | None
    bootstrap: str | None
    as_json: bool
    most_patients: int | None


def load_source(source: str, therapy: str | None) -> DataSet:
    """The recorded data set of that name, or a user's own CSV file."""
    if source in RECORDED:
        return RECORDED[source]()
    return read_csv(Path(source), therapy)


def run_replay(plan: ReplayPlan) -> None:
    """Replay, print, draw; the last line of standard output is JSON where the plan asks for it."""
    console = Console(stderr=plan.as_json, highlight=False)
    data_set = load_source(plan.source, plan.therapy)
    if plan.most_patients is not None:
        kept = data_set.patients[: plan.most_patients]
        data_set = DataSet(data_set.name, data_set.therapy, kept, data_set.remark)
    data_set.check()
    console.print(
        f"[bold]{data_set.name}[/]: {len(data_set.patients)} patients, {data_set.levels} levels, "
        f"therapy {data_set.therapy}" + (f"; {data_set.remark}" if data_set.remark else "")
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        settings = stack.enter_context(_platform(plan.bootstrap, console))
        people = anchor(data_set, settings.pseudonym_key(), settings.platform_clock.event_s())
        bar = stack.enter_context(Progress(*columns, console=console))
        tasks: dict[str, int] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)  # type: ignore[arg-type]  # TaskID is an int

        started_s = time.monotonic()
        found = predict_streamed(data_set, people, settings.kafka, speed=plan.speed, progress=progress)
        elapsed_s = time.monotonic() - started_s
    figures = performance([p for predictions in found.values() for p in predictions])
    names = {person.patient: person.recorded.local_id for person in people}
    plots = draw_plots(data_set, {names[p]: predictions for p, predictions in found.items()}, plan.output)
    report(data_set, figures, plots, elapsed_s, console)
    if plan.as_json:
        print(json.dumps(summary(data_set, figures, plots)))


def summary(data_set: DataSet, figures: Performance, plots: list[Path]) -> dict[str, object]:
    """The figures under the names that the command promises."""
    return {
        "data_set": data_set.name,
        "patients": len(data_set.patients),
        "observations": figures.observations,
        **{name: round(getattr(figures, name), 2) for name, _ in HEADINGS},
        "plots": [str(path) for path in plots],
    }


def report(
    data_set: DataSet, figures: Performance, plots: list[Path], elapsed_s: float, console: Console
) -> None:
    """The figures for a person."""
    console.print(f"{figures.observations} levels predicted before they were seen, in {elapsed_s:.0f} s")
    for name, heading in HEADINGS:
        console.print(f"  {heading:<22}{getattr(figures, name):8.1f} %")
    for path in plots:
        console.print(f"  {path}")


@contextmanager
def _platform(bootstrap: str | None, console: Console) -> Iterator[Settings]:
    """Settings of a running platform: the one at `bootstrap`, or a broker and a shard of our own."""
    if bootstrap is not None:
        settings = load_settings(kafka={"bootstrap": bootstrap})
        declare_topics(settings.kafka)
        yield settings
        return
    base = load_settings()
    with tempfile.TemporaryDirectory(prefix="dosetwin-replay-") as folder, ExitStack() as stack:
        console.print("starting a broker and a shard of its own ...")
        broker = stack.enter_context(Broker(Path(folder) / "broker", port=0))
        settings = load_settings(
            data_dir=Path(folder) / "data",
            kafka={"bootstrap": broker.bootstrap, "partitions": 4},
            metrics={"shard_port": 0},
        )
        declare_topics(settings.kafka)
        cache = str((base.data_dir / "jax-cache").resolve())  # compiled programs are kept between replays
        stack.enter_context(_shard(settings, os.environ.get("DOSETWIN_JAX_CACHE", cache)))
        yield settings


@contextmanager
def _shard(settings: Settings, cache: str) -> Iterator[None]:
    """One shard in a child process, ended in order."""
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(settings, cache), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join(timeout=15)
        if process.is_alive():
            process.kill()
            process.join()


def _work(settings: Settings, cache: str) -> None:
    os.environ["DOSETWIN_JAX_CACHE"] = cache
    from dosetwin.stream_jobs.shard.process import run_shard

    run_shard(settings, 0)
