"""What the terminal shows: the trials there are, what one offers, and the figures of a run."""

from __future__ import annotations

import pkgutil

from rich.console import Console
from rich.table import Table

from dosetwin.stream_jobs.trial.plan import TWIN_POLICY
from dosetwin.stream_jobs.trial.source import find_trial
from dosetwin.twins import trials
from dosetwin.twins.diagnostics.report_page import number
from dosetwin.twins.therapies import therapy_ids
from dosetwin.twins.trials.result import NONE, TrialResult, lifetime
from dosetwin.twins.trials.trial import Trial


def trial_ids() -> tuple[str, ...]:
    """The therapies that have a trial."""
    modules = {module.name.replace("_", "-") for module in pkgutil.iter_modules(trials.__path__)}
    return tuple(name for name in therapy_ids() if name in modules)


def list_trials(source: str | None, console: Console | None = None) -> None:
    """Print the trials there are, or what the one that `source` means offers."""
    out = console or Console(highlight=False)
    if source is not None:
        _describe(find_trial(source), out)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("therapy", "plants", "policies", "challenges", "lasts"):
        table.add_column(heading, overflow="fold")
    for name in trial_ids():
        trial = find_trial(name)
        policies = "\n".join((TWIN_POLICY, *trial.comparators))
        challenges = "\n".join(trial.challenges) or "-"
        table.add_row(
            name,
            "\n".join(trial.plants),
            policies,
            challenges,
            lifetime(trial.default_days),
            end_section=True,
        )
    out.print(table)
    out.print(
        "More of one: dosetwin trial THERAPY --list. One of your own: dosetwin trial path/to/file.py:NAME"
    )


def _describe(trial: Trial, out: Console) -> None:
    out.print(f"[bold]{trial.therapy}[/], {lifetime(trial.default_days)} unless --days says otherwise")
    groups = {name: "" for name in trial.groups if name}
    policies = {name: comparator.title for name, comparator in trial.comparators.items()}
    if trial.therapy in therapy_ids():
        policies = {TWIN_POLICY: "the twin's own closed loop, past the safety supervisor"} | policies
    measures = {m.name: f"{m.title} ({m.unit}; {m.better} is better)" for m in trial.measures}
    plants = {name: (maker.__doc__ or "").strip().split("\n")[0] for name, maker in trial.plants.items()}
    for heading, entries in (
        ("--plant", plants),
        ("--group", groups),
        ("--policy", policies),
        ("--challenge", trial.challenges),
        ("--option", trial.options),
        ("measures", measures),
    ):
        if not entries:
            continue
        table = Table(box=None, pad_edge=False, show_header=False, title=heading, title_justify="left")
        table.add_column(overflow="fold", no_wrap=True, min_width=24)
        table.add_column(overflow="fold")
        for name, words in entries.items():
            table.add_row(f"  {name}", words)
        out.print(table)


def result_table(result: TrialResult, challenge: str) -> Table:
    """Measures by policies: mean and its interval, and the worst patient."""
    setting = result.setting
    title = f"{setting.therapy} on {setting.plant}: {setting.patients} patients, {lifetime(setting.days)}, "
    title += f"seed {setting.seed}"
    if challenge or len(setting.challenges) > 1:
        title += f", challenge {challenge or NONE}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("mean (worst)\n95 % CI", no_wrap=True)
    for policy in setting.policies:
        table.add_column(policy, justify="right", overflow="fold")
    for measure in result.measures:
        cells = []
        for policy in setting.policies:
            found = result.summaries[challenge, policy][measure.name]
            interval = f"{number(found.low, 3)} to {number(found.high, 3)}"
            cells.append(f"[bold]{number(found.mean, 3)}[/] ({number(found.worst, 3)})\n{interval}")
        table.add_row(measure.name, *cells)
    return table
