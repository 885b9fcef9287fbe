"""Sections of a report: how well the model describes and predicts the data, and how the searches went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dosetwin.twins.diagnostics import plots
from dosetwin.twins.diagnostics.fit_result import MAP
from dosetwin.twins.diagnostics.npde import npde_tests
from dosetwin.twins.diagnostics.prediction_errors import forecasts, performance, prediction_errors
from dosetwin.twins.diagnostics.report_page import Page
from dosetwin.twins.diagnostics.report_plan import (
    FEW_OBSERVATIONS,
    FEW_SUBJECTS,
    FORECASTS,
    PAGES,
    ReportPlan,
)
from dosetwin.twins.diagnostics.tables import shrinkage
from dosetwin.twins.diagnostics.vpc import visual_predictive_check
from dosetwin.twins.inference.individuals import IndividualFits


def goodness_section(page: Page, fits: IndividualFits, table: pd.DataFrame) -> None:
    """Predictions, residuals, NPDE, shrinkage, etas."""
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
            f"Observed {observed.quantity} against the typical subject's and the individual's prediction. "
            "Points should lie evenly about the line.",
        )
        page.figure(
            plots.residual_plots(table, model, output=k + 1),
            "Weighted residuals. Under the right model they are about N(0, 1) everywhere; the dotted lines "
            "hold 95 %. The band about the quantiles is where 90 % of normal samples lie.",
        )
        if rows["NPDE"].notna().sum() >= FEW_OBSERVATIONS:
            page.figure(
                plots.npde_plots(table, model, output=k + 1),
                "Normalised prediction distribution errors, by simulation and decorrelated within subjects.",
            )
            tests = npde_tests(rows["NPDE"].to_numpy(np.float64))
            page.text(
                f"All three NPDE tests together: p = {tests['p_together']:.2g} "
                f"({'no sign' if tests['p_together'] > 0.05 else 'a sign'} that the model is wrong; with "
                "many observations a small p can go with a model that is good enough, see the plots)."
            )
    rows = shrinkage(fits).rename(columns={"population_sd": "population SD", "sd": "SD of estimates"})
    rows["shrinkage"] = [f"{100 * s:.0f} %" if np.isfinite(s) else "–" for s in rows["shrinkage"]]
    page.heading("Shrinkage")
    page.text(
        "Where an eta's shrinkage is above about 30 %, the data say little of the individual: plots of etas "
        "and of IPRED are then misleading (Savic & Karlsson 2009)."
    )
    page.table(rows)
    if len(fits.subjects) >= FEW_SUBJECTS and model.varying:
        page.figure(plots.eta_distributions(fits), "Individual etas and the population's distribution.")
        if plots.differing_covariates(fits):
            plot = plots.etas_vs_covariates(fits)
            page.figure(plot, "Etas against covariates: a trend is an effect that the model lacks.")


def individuals_section(page: Page, fits: IndividualFits) -> None:
    """Pages of individual fits."""
    page.section("Individual fits")
    per_page = 12
    shown = [s.id for s in fits.subjects][: PAGES * per_page]
    for k, observed in enumerate(fits.model.outputs):
        for n, plot in enumerate(plots.individual_fits(fits, subjects=shown, output=k + 1), 1):
            page.figure(plot, f"{observed.quantity} by subject, page {n}.")
    if len(shown) < len(fits.subjects):
        page.text(f"The first {len(shown)} of {len(fits.subjects):,} subjects.")


def predictive_section(page: Page, fits: IndividualFits, plan: ReportPlan) -> None:
    """The prediction-corrected predictive check of every quantity."""
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


def forecasts_section(page: Page, fits: IndividualFits, table: pd.DataFrame, plan: ReportPlan) -> None:
    """Prediction errors: a priori, one step ahead, and of the fit itself."""
    page.section("Prediction errors")
    page.text(
        "PE = 100 (observed - predicted) / predicted. MDPE is its median (bias, %), MDAPE the median of its "
        "size (inaccuracy, %); ME and RMSE are in the quantity's unit; coverage is that of the 90 % "
        "prediction interval. One step ahead: each observation from those of the subject before it."
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
    if plan.result.method != MAP:
        page.text("The parameters were estimated from these very observations: these are no outside figures.")


def searching_section(page: Page, fits: IndividualFits, course: pd.DataFrame) -> None:
    """How the searches went; `course`: the objective, or the free numbers, by iteration."""
    page.section("Convergence")
    if len(course) > 1:
        words = "The objective" if len(course.columns) == 1 else "The free numbers (unconstrained)"
        page.figure(plots.convergence(course), f"{words} by iteration.")
    summary = fits.summary
    indefinite = [
        str(name) for name, ok in zip(summary.index, summary["positive_definite"], strict=True) if not ok
    ]
    page.text(
        f"Individual modes: {int(summary['converged'].sum())} of {len(summary)} converged, "
        f"{int(summary['searches'].sum())} searches, at most {int(summary['iterations'].max())} iterations."
    )
    if indefinite:
        page.warning(f"The exact Hessian at the mode is not positive definite: {named(indefinite)}.")
    page.figure(plots.search_plot(fits), "Iterations of each individual search.")


def named(ids: Sequence[str]) -> str:
    """Up to 100 of them, and how many more."""
    shown = ", ".join(ids[:100])
    return f"{shown} and {len(ids) - 100} more" if len(ids) > 100 else shown
