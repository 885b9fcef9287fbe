"""The report of a fit: one HTML file with everything that a reader needs to trust it, or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dosetwin.twins.data.subject import DOSE, RESET_AND_DOSE, Dataset
from dosetwin.twins.diagnostics import plots
from dosetwin.twins.diagnostics.fit_result import FitResult
from dosetwin.twins.diagnostics.individual_estimates import individual_estimates
from dosetwin.twins.diagnostics.npde import npde_tests
from dosetwin.twins.diagnostics.prediction_errors import forecasts, performance, prediction_errors
from dosetwin.twins.diagnostics.report_page import Page, number
from dosetwin.twins.diagnostics.tables import prediction_table, shrinkage
from dosetwin.twins.diagnostics.vpc import visual_predictive_check
from dosetwin.twins.inference.individuals import IndividualFits

if TYPE_CHECKING:
    from dosetwin.twins.inference.population_fit import PopulationFit

PAGES = 5
"""Pages of individual fits at most, and ROWS of a table of subjects."""
ROWS = 200
FORECASTS = 1500
"""Up to so many observations are each predicted from those before them."""
FEW_SUBJECTS, FEW_OBSERVATIONS = 8, 30
"""Below these a distribution or a predictive check says nothing, and is left out."""

CONSTANTS = {
    "map": "The objective of a subject is 2 J = eta' Omega^-1 eta + sum of [(y - f)^2 / V + log V] at the mode; "
    "the sum over subjects is given. Constants n log(2 pi) and log|Omega| are not in it. With censored values, "
    "categories or counts, -2 log of their probability takes the place of the bracket.",
    "population": "The objective is -2 log likelihood without n log(2 pi), as NONMEM prints it: the sum over "
    "subjects of 2 J + log|H|, H the Hessian of J in standard normal etas (so that log|Omega| is in it).",
}


@dataclass(frozen=True)
class ReportPlan:
    """What a report is made of, beside the fit. `replicates`: simulations for NPDE and the predictive check."""

    result: FitResult
    dataset: Dataset
    code: str = ""
    seed: int = 0
    replicates: int = 500
    version: str = ""


def fit_report(
    fits: IndividualFits,
    plan: ReportPlan,
    *,
    population: PopulationFit | None = None,
    history: list[float] | None = None,
    table: pd.DataFrame | None = None,
    progress: Callable[[str], None] | None = None,
) -> str:
    """The page as HTML. `history`: the objective by iteration. `table`: of `prediction_table`, where made.

    It is a function of its arguments: no date, the same input gives the same bytes.
    """
    say = progress or (lambda words: None)
    result, model = plan.result, fits.model
    what = f"Population fit, {result.method.upper()}" if population else "Individual fits, MAP"
    quantities = ", ".join(dict.fromkeys(o.quantity for o in model.outputs))
    page = Page(
        f"{result.model}: {what.lower()}", f"{quantities} from {plan.dataset.source or 'a data frame'}"
    )
    page.tiles(
        [
            (f"{result.subjects:,}", "subjects", True),
            (f"{result.observations:,}", "observations", True),
            (f"{result.objective:.3f}", "objective", True),
            ("yes" if result.converged else "NO", "converged", result.converged),
        ]
    )
    _searches(page, result, population)
    _estimates(page, fits, plan, population)
    _data(page, plan.dataset, fits)
    say("residuals and NPDE")
    if table is None:
        table = prediction_table(fits, replicates=plan.replicates, seed=plan.seed)
    _goodness(page, fits, table)
    say("individual curves")
    _individuals(page, fits)
    say("predictive check")
    _predictive(page, fits, plan)
    say("forecasts")
    _forecasts(page, fits, table, plan)
    _searching(page, fits, history)
    _model(page, fits, plan)
    footer = (
        f"dosetwin {plan.version}, seed {plan.seed}, {plan.replicates} simulations. Not a medical device."
    )
    return page.html(footer)


def _searches(page: Page, result: FitResult, population: PopulationFit | None) -> None:
    if population is not None and not result.converged:
        page.warning(f"The population fit did not converge: {population.message} Do not use its estimates.")
    if result.unsettled:
        page.warning(
            f"{len(result.unsettled)} of {result.subjects} individual searches did not converge; their numbers "
            f"are where the search ended: {_named(result.unsettled)}."
        )
    if result.several:
        page.warning(
            f"{len(result.several)} subjects have more than one mode; the best is used, and the covariance "
            f"describes that one alone: {_named(result.several)}."
        )


def _named(ids: tuple[str, ...]) -> str:
    shown = ", ".join(ids[:100])
    return f"{shown} and {len(ids) - 100} more" if len(ids) > 100 else shown


def _estimates(page: Page, fits: IndividualFits, plan: ReportPlan, population: PopulationFit | None) -> None:
    page.section("Estimates")
    if population is not None:
        _population_table(page, fits, plan.result)
        page.text(CONSTANTS["population"])
        return
    found = individual_estimates(fits)
    summary = fits.summary
    rows = pd.DataFrame({"subject": summary.index, "observations": summary["observations"].to_numpy()})
    varying = [name for name in found.values if found.standard_errors[name].notna().any()]
    units = {p.name: p.unit for p in fits.model.parameters}
    for name in varying:
        unit = f" ({units[name]})" if units[name] not in ("", "1") else ""
        rows[f"{name}{unit}"] = found.values[name].to_numpy()
        rows[f"SE {name}"] = found.standard_errors[name].to_numpy()
    rows["objective"] = summary["objective"].to_numpy()
    rows["search"] = [
        "not converged" if not ok else f"{count} modes" if count > 1 else "converged"
        for ok, count in zip(summary["converged"], summary["basins"], strict=True)
    ]
    flagged = [words != "converged" for words in rows["search"]]
    page.text(
        "Posterior modes given the population model, at each subject's last record; standard errors by the "
        "delta method from the Hessian at the mode."
    )
    page.table(rows.head(ROWS), flagged=flagged)
    if len(rows) > ROWS:
        page.text(f"The first {ROWS} of {len(rows):,} subjects; parameters.csv has all.")
    page.text(CONSTANTS["map"])


def _population_table(page: Page, fits: IndividualFits, result: FitResult) -> None:
    model = fits.model
    rows = []
    for name, value in result.estimates.items():
        se = result.standard_errors[name]
        unit, meaning = _meaning(fits, name, value)
        rows.append(
            {
                "name": name,
                "estimate": value,
                "standard error": se,
                "RSE (%)": 100 * se / abs(value) if value else np.nan,
                "95 % low": value - 1.96 * se,
                "95 % high": value + 1.96 * se,
                "unit": unit,
                "meaning": meaning,
            }
        )
    page.table(pd.DataFrame(rows))
    fixed = [p.name for p in model.parameters if p.name not in result.estimates]
    if fixed:
        page.text(f"Not estimated: {', '.join(fixed)}.")


def _meaning(fits: IndividualFits, name: str, value: float) -> tuple[str, str]:
    """Unit and words for an estimate's name, as `population_vector` writes it."""
    model = fits.model
    if name in model.by_name:
        return model.by_name[name].unit, "typical value"
    kind, _, rest = name.partition("_")
    if kind in ("omega2", "gamma2") and value >= 0:
        where = "between subjects" if kind == "omega2" else "between occasions"
        parameter = model.by_name.get(rest)
        varies = parameter and (parameter.variability if kind == "omega2" else parameter.occasion)
        words = f"variance {where}"
        if type(varies).__name__ == "LogNormal":
            words += f", CV {100 * np.sqrt(np.expm1(value)):.1f} %"
        return "1", words
    if kind == "residual":
        return "", "residual error, as standard deviation"
    return "1", "correlation" if "correlation" in name else ""


def _data(page: Page, dataset: Dataset, fits: IndividualFits) -> None:
    page.section("Data")
    doses = sum(int(np.isin(s.evid, (DOSE, RESET_AND_DOSE)).sum()) for s in dataset)
    last = max((float(s.time[-1]) for s in dataset if len(s)), default=0.0)
    page.text(
        f"{len(dataset):,} subjects, {dataset.observations:,} observations, {doses:,} dose records, up to "
        f"{last:g} {dataset.time_unit}. Source: {dataset.source or 'a data frame'}."
    )
    table = []
    values = [
        (s.dv[s.observed], s.censored[s.observed], _output(fits, i)) for i, s in enumerate(fits.subjects)
    ]
    for k, observed in enumerate(fits.model.outputs):
        dv = np.concatenate([v[o == k] for v, _, o in values]) if values else np.zeros(0)
        censored = np.concatenate([c[o == k] for _, c, o in values]) if values else np.zeros(0)
        measured = dv[censored == 0]
        table.append(
            {
                "observed": observed.quantity,
                "unit": observed.unit,
                "measured": len(measured),
                "below limit": int((censored < 0).sum()),
                "above limit": int((censored > 0).sum()),
                "minimum": float(measured.min()) if len(measured) else np.nan,
                "median": float(np.median(measured)) if len(measured) else np.nan,
                "maximum": float(measured.max()) if len(measured) else np.nan,
            }
        )
    page.table(pd.DataFrame(table))
    covariates = [
        (name, np.array([s.covariates[name][0] for s in dataset if name in s.covariates]))
        for name in dataset.covariates
    ]
    if covariates:
        page.heading("Covariates, at each subject's first record")
        page.table(
            pd.DataFrame(
                [(n, float(v.min()), float(np.median(v)), float(v.max())) for n, v in covariates],
                columns=["covariate", "minimum", "median", "maximum"],
            )
        )
    if dataset.notes:
        page.heading("What the reader noted")
        page.items(dataset.notes)


def _output(fits: IndividualFits, i: int) -> np.ndarray:
    from dosetwin.twins.diagnostics.linearisation import observed_outputs

    s = fits.subjects[i]
    found: np.ndarray = observed_outputs(fits.cohort)[i][np.isfinite(s.dv[s.evid == 0])]
    return found


def _goodness(page: Page, fits: IndividualFits, table: pd.DataFrame) -> None:
    page.section("Goodness of fit")
    model = fits.model
    for k, observed in enumerate(model.outputs):
        rows = table[(table["OUTPUT"] == k + 1) & table["DV"].notna()]
        if rows.empty or not observed.error.continuous:
            continue
        if len(model.outputs) > 1:
            page.heading(observed.quantity)
        page.figure(
            plots.observed_vs_predicted(table, model, output=k + 1),
            f"Observed {observed.quantity} against the typical subject's and the individual's prediction. Points "
            "should lie evenly about the line.",
        )
        page.figure(
            plots.residual_plots(table, model, output=k + 1),
            "Weighted residuals. Under the right model they are about N(0, 1) everywhere; the dotted lines hold "
            "95 %. The band about the quantiles is where 90 % of normal samples lie.",
        )
        if rows["NPDE"].notna().sum() >= FEW_OBSERVATIONS:
            page.figure(
                plots.npde_plots(table, model, output=k + 1),
                "Normalised prediction distribution errors, by simulation and decorrelated within subjects.",
            )
            tests = npde_tests(rows["NPDE"].to_numpy(np.float64))
            page.text(
                f"All three NPDE tests together: p = {tests['p_together']:.2g} "
                f"({'no sign' if tests['p_together'] > 0.05 else 'a sign'} that the model is wrong; with many "
                "observations a small p can go with a model that is good enough, see the plots)."
            )
    rows = shrinkage(fits).rename(columns={"population_sd": "population SD", "sd": "SD of estimates"})
    rows["shrinkage"] = [f"{100 * s:.0f} %" if np.isfinite(s) else "–" for s in rows["shrinkage"]]
    page.heading("Shrinkage")
    page.text(
        "Where an eta's shrinkage is above about 30 %, the data say little of the individual: plots of etas and "
        "of IPRED are then misleading (Savic & Karlsson 2009)."
    )
    page.table(rows)
    if len(fits.subjects) >= FEW_SUBJECTS and model.varying:
        page.figure(plots.eta_distributions(fits), "Individual etas and the population's distribution.")
        try:
            plot = plots.etas_vs_covariates(fits)
        except plots.ModelError:
            return
        page.figure(plot, "Etas against covariates: a trend is a covariate effect that the model lacks.")


def _individuals(page: Page, fits: IndividualFits) -> None:
    page.section("Individual fits")
    per_page = 12
    shown = [s.id for s in fits.subjects][: PAGES * per_page]
    for k, observed in enumerate(fits.model.outputs):
        for n, plot in enumerate(plots.individual_fits(fits, subjects=shown, output=k + 1), 1):
            page.figure(plot, f"{observed.quantity} by subject, page {n}.")
    if len(shown) < len(fits.subjects):
        page.text(f"The first {len(shown)} of {len(fits.subjects):,} subjects.")


def _predictive(page: Page, fits: IndividualFits, plan: ReportPlan) -> None:
    model = fits.model
    if len(fits.subjects) < FEW_SUBJECTS or plan.result.observations < FEW_OBSERVATIONS:
        return
    page.section("Predictive check")
    for k, observed in enumerate(model.outputs):
        if not observed.error.continuous:
            continue
        check = visual_predictive_check(
            model,
            fits.cohort,
            replicates=plan.replicates,
            seed=plan.seed,
            prediction_corrected=True,
            output=k + 1,
        )
        page.figure(
            plots.vpc_plot(check),
            f"Prediction-corrected visual predictive check of {observed.quantity}: the observed percentiles "
            f"should run inside the bands of {check.replicates} simulated trials ({len(check.bins)} bins of "
            "about equal numbers of observations).",
        )


def _forecasts(page: Page, fits: IndividualFits, table: pd.DataFrame, plan: ReportPlan) -> None:
    page.section("Prediction errors")
    page.text(
        "PE = 100 (observed - predicted) / predicted. MDPE is its median (bias, %), MDAPE the median of its "
        "size (inaccuracy, %); ME and RMSE are in the quantity's unit; coverage is that of the 90 % prediction "
        "interval. One step ahead: each observation from those of the subject before it."
    )
    measured = table[(table["CENS"] == 0) & table["DV"].notna()]
    parts = {"individual (sees the observation)": prediction_errors(measured["DV"], measured["IPRED"])}
    rows = pd.DataFrame(parts).T
    if plan.result.observations <= FORECASTS:
        rows = pd.concat([performance(forecasts(fits.model, fits.subjects, seed=plan.seed)), rows])
    else:
        before = prediction_errors(measured["DV"], measured["PRED"])
        rows = pd.concat([pd.DataFrame({"a priori": before}).T, rows])
        page.text(f"One step ahead is left out above {FORECASTS:,} observations.")
    rows.insert(0, "prediction", rows.index)
    rows["n"] = rows["n"].astype(int)
    page.table(rows, digits=3)
    if plan.result.method != "map":
        page.text("The parameters were estimated from these very observations: these are no outside figures.")


def _searching(page: Page, fits: IndividualFits, history: list[float] | None) -> None:
    page.section("Convergence")
    if history and len(history) > 1:
        page.figure(plots.convergence(history), "The objective by iteration.")
    summary = fits.summary
    indefinite = [
        str(name) for name, ok in zip(summary.index, summary["positive_definite"], strict=True) if not ok
    ]
    page.text(
        f"Individual modes: {int(summary['converged'].sum())} of {len(summary)} converged, "
        f"{int(summary['searches'].sum())} searches, at most {int(summary['iterations'].max())} iterations."
    )
    if indefinite:
        page.warning(f"The exact Hessian at the mode is not positive definite: {_named(tuple(indefinite))}.")
    page.figure(plots.search_plot(fits), "Iterations of each individual search.")


def _model(page: Page, fits: IndividualFits, plan: ReportPlan) -> None:
    page.section("Model")
    model = fits.model
    page.text(
        f"{plan.result.model}. Source: {model.source}. Covariates between records: {model.interpolation}."
    )
    rows = [
        {
            "parameter": p.name,
            "typical": p.typical,
            "unit": p.unit,
            "between subjects": _varies(p.variability),
            "between occasions": _varies(p.occasion),
            "covariates": "yes" if p.covariates is not None else "",
        }
        for p in model.parameters
    ]
    page.table(pd.DataFrame(rows))
    for observed in model.outputs:
        figures = ", ".join(f"{k} {number(v)}" for k, v in observed.error.coefficients.items())
        page.text(f"{observed.quantity} ({observed.unit}): {type(observed.error).__name__}, {figures}.")
    if plan.code:
        page.code(plan.code)


def _varies(variability: object) -> str:
    if variability is None:
        return ""
    return f"{type(variability).__name__}, variance {number(float(getattr(variability, 'variance')))}"
