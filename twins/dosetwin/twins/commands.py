"""The sub-commands of twins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of twins to `app`."""
    app.command()(fit)


def fit(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA.csv", help="Records in NONMEM's format.", show_default=False),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A model's id (see --list), or path/to/file.py:NAME of your own.")
    ] = "",
    population: Annotated[
        bool, typer.Option("--population", help="Estimate the population, not only each subject.")
    ] = False,
    method: Annotated[
        str | None, typer.Option(help="Of a population fit: focei (default), laplace or saem.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for tables and report (default: fit-DATA).", show_default=False),
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    seed: Annotated[int, typer.Option(help="Chance: simulations of the diagnostics, SAEM.")] = 0,
    columns: Annotated[
        str, typer.Option(help="Columns that have other names, THEIRS=OURS: CONC=DV,WT=weight")
    ] = "",
    categories: Annotated[
        str, typer.Option(help="Text in columns, COLUMN:TEXT=NUMBER: sex:M=1,sex:F=0")
    ] = "",
    lloq: Annotated[
        float | None, typer.Option(help="Limit of quantification: values below it are censored (M3).")
    ] = None,
    replicates: Annotated[
        int, typer.Option(min=100, help="Simulations for NPDE and the predictive check.")
    ] = 500,
    as_json: Annotated[
        bool, typer.Option("--json", help="Last line of standard output: one JSON object with the figures.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the models there are, and stop.")] = False,
) -> None:
    """Fit a model to a data set: every subject (MAP), or with --population the population itself.

    DATA.csv holds one record a row: ID, TIME, AMT (doses), DV (levels), and optionally RATE, EVID, MDV, CMT,
    II, ADDL, SS, CENS, OCC; every other column is a covariate. Amounts and volumes must make the observed
    unit (mg and L make mg/L). --out gets predictions.csv (PRED, IPRED, CWRES, NPDE, ...), parameters.csv,
    etas.csv, result.json and report.html. Exit status 3 where a search did not converge, 2 for bad input.

    Examples: dosetwin fit levels.csv --model vancomycin --columns WT=weight,SCR=creatinine

    dosetwin fit newborns.csv --model phenobarbital --population --json

    dosetwin fit study.csv --model my_drug.py:MODEL --population --method saem --seed 7
    """
    from dosetwin.twins.fit_command import FitPlan, list_models
    from dosetwin.twins.fit_command import fit as run_fit

    if list_:
        list_models()
        return
    if data is None or not model:
        raise typer.BadParameter("expected DATA.csv and --model (dosetwin fit --list shows the models)")
    plan = FitPlan(
        data=data,
        model=model,
        population=population,
        method=method,
        out=out,
        report=report,
        seed=seed,
        columns=columns,
        categories=categories,
        lloq=lloq,
        replicates=replicates,
        as_json=as_json,
    )
    raise typer.Exit(run_fit(plan))
