"""How far a trial is, on standard error: a bar with the time left, or lines without a screen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from dosetwin.stream_jobs.trial.plan import Cell, TrialPlan


class Course:
    """Patient-days done, and a forecast of what is left from how long each policy's patient-days took.

    Policies differ a hundredfold in what a day costs, so one rate for all would be wrong most of the time.
    """

    def __init__(self, plan: TrialPlan, cells: Sequence[Cell], workers: int) -> None:
        self._days = plan.days
        self._workers = workers
        self._left = {cell.name: cell for cell in cells}
        self._lived: dict[str, float] = {}
        self._begun_s: dict[str, float] = {}
        self._spent_s: dict[str, float] = {}
        self._spent_days: dict[str, float] = {}
        self.total = sum(cell.count for cell in cells) * plan.days
        self.cells = len(cells)
        self.finished = 0

    def lived(self, days: dict[str, float], now_s: float) -> None:
        """What the running cells say of themselves."""
        for name, lived in days.items():
            if name in self._left:
                self._begun_s.setdefault(name, now_s)
                self._lived[name] = lived

    def end(self, cell: Cell, now_s: float) -> None:
        """A cell is done, one way or the other."""
        begun_s = self._begun_s.pop(cell.name, None)
        if begun_s is not None:
            self._spent_s[cell.policy] = self._spent_s.get(cell.policy, 0.0) + now_s - begun_s
            days = cell.count * self._days
            self._spent_days[cell.policy] = self._spent_days.get(cell.policy, 0.0) + days
        self._left.pop(cell.name, None)
        self._lived.pop(cell.name, None)
        self.finished += 1

    @property
    def done(self) -> float:
        """Patient-days behind us."""
        left = sum(
            cell.count * (self._days - self._lived.get(name, 0.0)) for name, cell in self._left.items()
        )
        return self.total - left

    def remaining_s(self, now_s: float) -> float | None:
        """Seconds still to go; None where nothing is known yet."""
        rates = self._rates(now_s)
        if not rates:
            return None
        usual = sum(rates.values()) / len(rates)
        work = sum(
            cell.count * (self._days - self._lived.get(name, 0.0)) * rates.get(cell.policy, usual)
            for name, cell in self._left.items()
        )
        longest = max(
            (
                cell.count * (self._days - self._lived.get(name, 0.0)) * rates.get(cell.policy, usual)
                for name, cell in self._left.items()
            ),
            default=0.0,
        )
        return max(work / self._workers, longest)

    def running(self) -> str:
        """What runs, in words."""
        policies = dict.fromkeys(self._left[name].policy for name in self._lived if name in self._left)
        return ", ".join(policies)

    def _rates(self, now_s: float) -> dict[str, float]:
        """Seconds a patient-day, by policy."""
        spent_s, days = dict(self._spent_s), dict(self._spent_days)
        for name, lived in self._lived.items():
            cell = self._left.get(name)
            if cell is not None and lived > 0 and name in self._begun_s:
                spent_s[cell.policy] = spent_s.get(cell.policy, 0.0) + now_s - self._begun_s[name]
                days[cell.policy] = days.get(cell.policy, 0.0) + cell.count * lived
        return {policy: spent_s[policy] / days[policy] for policy in spent_s if spent_s[policy] > 0}


class Watcher:
    """Shows a course; `lived` and `end` are called as the run goes on."""

    def __init__(self, course: Course, console: Console, progress: Progress) -> None:
        self._course = course
        self._console = console
        self._progress = progress
        self._task = progress.add_task("starting", total=course.total or 1.0, left="")

    def lived(self, days: dict[str, float]) -> None:
        """What the running cells say."""
        self._course.lived(days, time.monotonic())
        self._show()

    def end(self, cell: Cell, words: str) -> None:
        """A cell is done; `words` is empty, or what went wrong with it."""
        self._course.end(cell, time.monotonic())
        if words:
            self._console.print(f"[bold red]{cell.name}[/]: {words}", highlight=False)
        elif not self._console.is_terminal:
            self._console.print(f"{self._course.finished}/{self._course.cells} {cell.name}", highlight=False)
        self._show()

    def _show(self) -> None:
        course = self._course
        left_s = course.remaining_s(time.monotonic())
        self._progress.update(
            self._task,
            completed=course.done,
            description=course.running() or "starting",
            left="" if left_s is None else f"{clock(left_s)} left",
        )


@contextmanager
def watching(plan: TrialPlan, cells: Sequence[Cell], workers: int, console: Console) -> Iterator[Watcher]:
    """A bar while the run lasts."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("of {task.total:,.6g} patient-days"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Watcher(Course(plan, cells, workers), console, progress)


def clock(seconds: float) -> str:
    """A duration as h:mm:ss, or m:ss below an hour."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
