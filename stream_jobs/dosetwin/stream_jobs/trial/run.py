"""What `dosetwin trial` does: check, simulate what is not kept yet, judge, write, and say how it went."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from dosetwin.stream_jobs.trial.folder import RunFolder
from dosetwin.stream_jobs.trial.plan import TWIN_POLICY, Cell, TrialError, TrialPlan
from dosetwin.stream_jobs.trial.screen import watching
from dosetwin.stream_jobs.trial.simulate import joined
from dosetwin.stream_jobs.trial.source import absolute, code_fingerprint, find_trial
from dosetwin.stream_jobs.trial.tasks import Failure, one_thread
from dosetwin.twins.therapies import therapy_ids
from dosetwin.twins.trials.result import NONE, Setting, TrialResult, trial_result
from dosetwin.twins.trials.trial import Outcome, Trial

OK, FAILED, STOPPED = 0, 1, 130
ALL = "all"
Outcomes = dict[tuple[str, str], Outcome]


@dataclass(frozen=True)
class TrialRequest:
    """The command line. What is empty or None takes the trial's default."""

    source: str
    patients: int = 20
    days: float | None = None
    policies: tuple[str, ...] = ()
    seed: int = 0
    plant: str = ""
    group: str = ""
    challenges: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    first_patient: int = 0
    out: Path | None = None
    workers: int | None = None
    report: bool = True
    as_json: bool = False


def run_trial(request: TrialRequest) -> int:
    """Run it; the exit status: 0, 1 where a task failed, 130 where it was stopped. Raises DoseTwinError."""
    console, aside = Console(highlight=False), Console(stderr=True, highlight=False)
    if request.workers == 0:
        one_thread()
    trial = find_trial(request.source)
    plan = make_plan(request, trial, aside)
    code = code_fingerprint(plan.source)
    path = request.out or Path("out/trial") / f"{trial.therapy}-{plan.fingerprint(code)[:8]}"
    with RunFolder(path, plan, code) as folder:
        state = _simulate(plan, folder, _workers(request), aside)
        if state != OK:
            return state
        outcomes = _outcomes(plan, folder)
        setting = Setting(
            trial.therapy,
            plan.plant,
            plan.patients,
            plan.first_patient,
            plan.days,
            plan.seed,
            plan.policies,
            plan.group,
            plan.challenges,
            plan.options,
        )
        result = trial_result(setting, trial.measures, outcomes)
        _write(plan, trial, result, outcomes, folder, request.report, code)
    _show(console, result)
    console.print(f"Written: {path / ('report.html' if request.report else 'result.json')}", soft_wrap=True)
    if request.as_json:
        sys.stdout.flush()
        print(json.dumps(result.line(), allow_nan=False), flush=True)
    return OK


def make_plan(request: TrialRequest, trial: Trial, aside: Console | None = None) -> TrialPlan:
    """The request with the trial's defaults. Raises TrialError, naming what there is, for an unknown name."""
    has_twin = trial.therapy in therapy_ids()
    known = ((TWIN_POLICY,) if has_twin else ()) + tuple(trial.comparators)
    policies = tuple(dict.fromkeys(request.policies)) or known
    if not has_twin and not request.policies and aside is not None:
        aside.print(
            f"{trial.therapy} is no therapy with twins here: its comparators are tried, not {TWIN_POLICY}"
        )
    for policy in policies:
        _known("--policy", policy, known)
    plant = request.plant or next(iter(trial.plants))
    _known("--plant", plant, tuple(trial.plants))
    group = request.group or trial.groups[0]
    if group != trial.groups[0]:
        _known("--group", group, trial.groups)
    options = _options(request.options, trial)
    return TrialPlan(
        source=absolute(request.source),
        plant=plant,
        patients=request.patients,
        days=trial.default_days if request.days is None else request.days,
        seed=request.seed,
        policies=policies,
        first_patient=request.first_patient,
        group=group,
        challenges=_challenges(request.challenges, trial),
        options=options,
    )


def command(plan: TrialPlan) -> str:
    """The command that simulates the plan again."""
    words = ["dosetwin", "trial", plan.source, "--plant", plan.plant, "--patients", str(plan.patients)]
    words += ["--days", repr(plan.days).removesuffix(".0"), "--seed", str(plan.seed)]
    if plan.first_patient:
        words += ["--first-patient", str(plan.first_patient)]
    if plan.group:
        words += ["--group", plan.group]
    for policy in plan.policies:
        words += ["--policy", policy]
    if plan.challenges != ("",):
        for challenge in plan.challenges:
            words += ["--challenge", challenge or NONE]
    for name, value in plan.options.items():
        words += ["--option", f"{name}={value}"]
    return shlex.join(words)


def _known(option: str, found: str, known: Sequence[str]) -> None:
    if found not in known:
        raise TrialError(
            f"found {option} {found}; this trial has {', '.join(filter(None, known)) or 'none'}",
            remedy="dosetwin trial THERAPY --list says what each is",
        )


def _challenges(asked: Sequence[str], trial: Trial) -> tuple[str, ...]:
    if not asked:
        return ("",)
    found: list[str] = []
    for name in asked:
        if name == ALL:
            found += ["", *trial.challenges]
        elif name == NONE:
            found.append("")
        else:
            _known("--challenge", name, (NONE, ALL, *trial.challenges))
            found.append(name)
    return tuple(dict.fromkeys(found))


def _options(asked: Sequence[str], trial: Trial) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in asked:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise TrialError(f"found --option {text}; expected name=value")
        _known("--option", name, tuple(trial.options))
        found[name] = value
    return found


def _workers(request: TrialRequest) -> int:
    return len(os.sched_getaffinity(0)) if request.workers is None else request.workers


def _simulate(plan: TrialPlan, folder: RunFolder, workers: int, aside: Console) -> int:
    cells = plan.cells()
    waiting = [cell for cell in cells if not folder.finished(cell)]
    if len(waiting) < len(cells):
        aside.print(f"{folder.path}: {len(cells) - len(waiting)} of {len(cells)} chunks are kept from before")
    if not waiting:
        return OK
    failures: list[Path] = []
    kept = len(cells) - len(waiting)
    workers = min(workers, len(waiting))
    with _stopping() as stop, watching(plan, waiting, max(workers, 1), aside) as watcher:

        def done(cell: Cell, answer: Any) -> None:
            nonlocal kept
            if isinstance(answer, Failure):
                failures.append(folder.failed(cell, answer.traceback))
                watcher.end(cell, f"{answer.words} (traceback: {failures[-1]})")
                return
            folder.keep(cell, answer)
            kept += 1
            watcher.end(cell, "")

        if workers:
            from dosetwin.stream_jobs.trial.ray_run import run_cells

            run_cells(plan, waiting, workers=workers, stop=stop, done=done, lived=watcher.lived)
        else:
            from dosetwin.stream_jobs.trial.here import run_cells_here

            run_cells_here(plan, waiting, stop=stop, done=done, lived=watcher.lived)
        stopped = stop.is_set()
    if stopped and kept < len(cells):
        aside.print(
            f"stopped: {kept} of {len(cells)} chunks are kept in {folder.path}; "
            "the same command goes on from there"
        )
        return STOPPED
    if failures:
        aside.print(
            f"[bold red]{len(failures)} of {len(cells)} chunks failed[/]; {kept} are kept in {folder.path}. "
            "Nothing is compared on half the patients: correct the cause, and the same command does the rest."
        )
        return FAILED
    return OK


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Set by Ctrl-C or SIGTERM; a second one ends the process as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outcomes(plan: TrialPlan, folder: RunFolder) -> Outcomes:
    parts: dict[tuple[str, str], list[Outcome]] = {}
    for cell in plan.cells():
        parts.setdefault((cell.challenge, cell.policy), []).append(folder.outcome(cell))
    return {key: joined(outcomes) for key, outcomes in parts.items()}


def _write(
    plan: TrialPlan,
    trial: Trial,
    result: TrialResult,
    outcomes: Outcomes,
    folder: RunFolder,
    report: bool,
    code: str,
) -> None:
    folder.write("result.json", json.dumps(result.full(), indent=1, allow_nan=False) + "\n")
    folder.write("measures.csv", measures_csv(plan, trial, outcomes))
    if report:
        from dosetwin.twins.trials.report import Origin, trial_report

        origin = Origin(command(plan), version("dosetwin"), code)
        folder.write("report.html", trial_report(trial, result, outcomes, origin))


def measures_csv(plan: TrialPlan, trial: Trial, outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """One row a challenge, policy and patient: every measure; empty where it cannot be said."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["challenge", "policy", "patient", *(m.name for m in trial.measures)])
    for (challenge, policy), outcome in outcomes.items():
        for k, number in enumerate(plan.numbers):
            values = [float(outcome.measures[m.name][k]) for m in trial.measures]
            table.writerow([challenge or NONE, policy, number, *("" if v != v else repr(v) for v in values)])
    return stream.getvalue()


def _show(console: Console, result: TrialResult) -> None:
    from dosetwin.stream_jobs.trial.listing import result_table

    for challenge in result.setting.challenges:
        console.print(result_table(result, challenge))
