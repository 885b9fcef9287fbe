"""What `dosetwin fit` does: read, choose the model, estimate, judge, write, and say how it went."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.data.nonmem import read_nonmem
from dosetwin.twins.data.subject import Dataset
from dosetwin.twins.diagnostics.fit_result import FitResult, individual_result, population_result
from dosetwin.twins.diagnostics.individual_estimates import individual_estimates
from dosetwin.twins.diagnostics.report import fit_report
from dosetwin.twins.diagnostics.report_page import number
from dosetwin.twins.diagnostics.report_plan import ReportPlan
from dosetwin.twins.diagnostics.tables import eta_table, prediction_table
from dosetwin.twins.inference.individuals import IndividualFits, estimate_individuals
from dosetwin.twins.model_choice import ChosenModel, chosen_model, used_covariates
from dosetwin.twins.therapies import population_models

if TYPE_CHECKING:
    from dosetwin.twins.inference.population_fit import Method, PopulationFit

METHODS = ("focei", "laplace", "saem")
SHOWN = 30
"""Subjects in the table on the terminal."""
OK, NOT_CONVERGED = 0, 3


class UsageError(DoseTwinError):
    """The command was called in a way that means nothing."""


@dataclass(frozen=True)
class FitPlan:
    """What was asked for on the command line."""

    data: Path
    model: str
    population: bool = False
    method: str | None = None
    out: Path | None = None
    report: bool = True
    seed: int = 0
    columns: str = ""
    categories: str = ""
    lloq: float | None = None
    replicates: int = 500
    as_json: bool = False


def fit(plan: FitPlan) -> int:
    """Run it; the exit status: 0, or 3 where something did not converge. Raises DoseTwinError."""
    _check(plan)
    console, aside = Console(highlight=False), Console(stderr=True, highlight=False)
    chosen = chosen_model(plan.model)
    with _steps(aside) as step:
        step("reading", 0.0)
        dataset = chosen.complete(_read(plan))
        _observed(dataset)
        history: list[float] = []
        population = None
        if plan.population:
            population = _population(plan, chosen, dataset, step, history)
            fits = population.individuals
            result = population_result(chosen.id, population)
        else:
            step("individual modes", 0.0)
            fits = estimate_individuals(chosen.model, dataset)
            result = individual_result(chosen.id, fits)
        folder = _folder(plan)
        if folder is not None:
            _write(plan, chosen, dataset, fits, population, result, history, folder, step)
    _show(console, result, fits, population)
    if folder is not None:
        name = "report.html" if plan.report else ""
        console.print(f"Written: {folder / name}")
    if plan.as_json:
        sys.stdout.flush()
        print(result.json_line(), flush=True)
    return OK if result.converged else NOT_CONVERGED


def list_models(console: Console | None = None) -> None:
    """Print the models that `--model` takes by id."""
    out = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "observes", "parameters", "covariates", "source"):
        table.add_column(heading, overflow="fold")
    for name in population_models():
        model = chosen_model(name).model
        table.add_row(
            name,
            ", ".join(f"{o.quantity} ({o.unit})" for o in model.outputs),
            ", ".join(p.name for p in model.parameters),
            ", ".join(used_covariates(model)) or "-",
            model.source,
        )
    out.print(table)
    out.print("A model of your own: --model path/to/file.py:NAME (a PopulationModel).")


def _check(plan: FitPlan) -> None:
    if plan.method is not None and not plan.population:
        raise UsageError(
            f"found --method {plan.method} without --population; individual estimates have one method, MAP",
            remedy="add --population, or leave --method out",
        )
    if plan.method is not None and plan.method not in METHODS:
        raise UsageError(f"found --method {plan.method}; expected one of {', '.join(METHODS)}")
    if not plan.data.is_file():
        raise UsageError(f"no file {plan.data}", remedy="give the path of a CSV file in NONMEM's format")
    if plan.out is not None and plan.out.exists() and not plan.out.is_dir():
        raise UsageError(f"found a file at {plan.out}; expected a folder, or nothing yet")


def _read(plan: FitPlan) -> Dataset:
    categories: dict[str, dict[str, float]] = {}
    for name, coded in _pairs(plan.categories, "--categories", "SEX:M=1,SEX:F=0"):
        column, colon, text = name.partition(":")
        value = _number(coded)
        if not colon or value is None:
            raise UsageError(f"found {name}={coded}; expected COLUMN:TEXT=NUMBER, such as SEX:M=1")
        categories.setdefault(column, {})[text] = value
    return read_nonmem(
        plan.data,
        columns=dict(_pairs(plan.columns, "--columns", "CONC=DV,WT=weight")) or None,
        categories=categories or None,
        lloq=plan.lloq,
    )


def _pairs(text: str, option: str, example: str) -> list[tuple[str, str]]:
    found = []
    for part in (part.strip() for part in text.split(",")):
        left, equals, right = (piece.strip() for piece in part.partition("="))
        if part and not (left and equals and right):
            raise UsageError(f"found {part!r} in {option}; expected pairs such as {example}")
        if part:
            found.append((left, right))
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _observed(dataset: Dataset) -> None:
    if not dataset.observations:
        raise UsageError(
            f"{dataset.source}: found no observation; expected a DV in at least one record of EVID 0",
            remedy="name the column of the levels: --columns THEIRS=DV",
        )


def _population(
    plan: FitPlan,
    chosen: ChosenModel,
    dataset: Dataset,
    step: Callable[[str, float | None], None],
    history: list[float],
) -> PopulationFit:
    from dosetwin.twins.inference.population_fit import fit_population

    method = cast("Method", plan.method or "focei")

    def progress(at: Any) -> None:
        known = np.isfinite(at.objective)
        if known:
            history.append(float(at.objective))
        words = f", objective {at.objective:.3f}" if known else ""
        step(f"{method}: iteration {at.iteration}{words}", at.iteration / at.limit)

    step(f"{method}: first modes", 0.0)
    return fit_population(chosen.model, dataset, method=method, seed=plan.seed, progress=progress)


def _folder(plan: FitPlan) -> Path | None:
    if plan.out is None and not plan.report:
        return None
    folder = plan.out or Path(f"fit-{plan.data.stem}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(
    plan: FitPlan,
    chosen: ChosenModel,
    dataset: Dataset,
    fits: IndividualFits,
    population: PopulationFit | None,
    result: FitResult,
    history: list[float],
    folder: Path,
    step: Callable[[str, float | None], None],
) -> None:
    """predictions.csv, etas.csv, parameters.csv, result.json, and report.html where it is wanted."""
    step("residuals and NPDE", 0.1)
    table = prediction_table(fits, replicates=plan.replicates, seed=plan.seed)
    table.to_csv(folder / "predictions.csv", index=False, na_rep=".")
    eta_table(fits).to_csv(folder / "etas.csv", na_rep=".")
    found = individual_estimates(fits)
    both = found.values.join(found.standard_errors.add_prefix("SE_")).rename_axis("ID")
    both.join(fits.summary).to_csv(folder / "parameters.csv", na_rep=".")
    if population is not None:
        estimates = pd.DataFrame(
            {"estimate": result.estimates, "standard_error": result.standard_errors}
        ).rename_axis("name")
        estimates.to_csv(folder / "estimates.csv", na_rep=".")
    (folder / "result.json").write_text(result.json_line() + "\n", encoding="utf-8")
    if plan.report:
        html = fit_report(
            fits,
            ReportPlan(result, dataset, chosen.code, plan.seed, plan.replicates, version("dosetwin")),
            population=population,
            history=history,
            table=table,
            progress=lambda words: step(f"report: {words}", None),
        )
        (folder / "report.html").write_text(html, encoding="utf-8")


def _show(
    console: Console, result: FitResult, fits: IndividualFits, population: PopulationFit | None
) -> None:
    method = "MAP of individuals" if population is None else f"population fit, {result.method.upper()}"
    console.print(
        f"[bold]{result.model}[/]: {method}; {result.subjects:,} subjects, "
        f"{result.observations:,} observations"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    if population is None:
        _individual_rows(table, result, fits)
    else:
        for heading in ("", "estimate", "standard error", "RSE %"):
            table.add_column(heading, justify="left" if not heading else "right")
        for name, value in result.estimates.items():
            se = result.standard_errors[name]
            share = 100 * se / abs(value) if value else np.nan
            table.add_row(name, number(value, 5), number(se, 3), number(share, 3))
    console.print(table)
    if population is None and result.subjects > SHOWN:
        console.print(f"... and {result.subjects - SHOWN:,} more subjects (parameters.csv has all)")
    console.print(f"objective {result.objective:.3f}   converged: {'yes' if result.converged else 'NO'}")
    if population is not None and not result.converged:
        console.print(f"[bold red]{population.message}[/]")
    for words, ids in (("did not converge", result.unsettled), ("have several modes", result.several)):
        if ids:
            more = f" and {len(ids) - 20} more" if len(ids) > 20 else ""
            console.print(f"[yellow]{len(ids)} subjects {words}: {', '.join(ids[:20])}{more}[/]")


def _individual_rows(table: Table, result: FitResult, fits: IndividualFits) -> None:
    errors = result.standard_errors
    names = [p.name for p in fits.model.parameters]
    varying = [n for n in names if any(np.isfinite(row[n]) for row in errors.values())]
    for heading in ("subject", "observations", *varying, "objective", ""):
        table.add_column(heading, justify="left" if heading in ("subject", "") else "right")
    summary = fits.summary
    for k, (name, row) in enumerate(result.estimates.items()):
        if k == SHOWN:
            break
        cells = [f"{number(row[n])} ± {number(errors[name][n], 2)}" for n in varying]
        state = "" if fits.converged[k] else "not converged"
        if fits.converged[k] and fits.basins[k] > 1:
            state = f"{fits.basins[k]} modes"
        count = int(summary["observations"].iloc[k])
        table.add_row(name, str(count), *cells, f"{fits.objective[k]:.3f}", state)


@contextmanager
def _steps(console: Console) -> Iterator[Callable[[str, float | None], None]]:
    """A bar on standard error: the returned function sets its words and, where known, the share done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def step(words: str, share: float | None) -> None:
            known = share is not None and share > 0
            progress.update(task, description=words, total=1.0 if known else None, completed=share or 0.0)

        yield step
