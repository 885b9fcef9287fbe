"""The report of a fit: one HTML file with everything that a reader needs to trust it, or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dosetwin.twins.diagnostics.fit_result import MAP, FitResult
from dosetwin.twins.diagnostics.report_estimates import data_section, estimates_section, model_section
from dosetwin.twins.diagnostics.report_page import Page
from dosetwin.twins.diagnostics.report_plan import ReportPlan
from dosetwin.twins.diagnostics.report_sections import (
    forecasts_section,
    goodness_section,
    individuals_section,
    named,
    predictive_section,
    searching_section,
)
from dosetwin.twins.diagnostics.tables import prediction_table
from dosetwin.twins.inference.individuals import IndividualFits

if TYPE_CHECKING:
    from dosetwin.twins.inference.population_fit import PopulationFit


def fit_report(
    fits: IndividualFits,
    plan: ReportPlan,
    *,
    population: PopulationFit | None = None,
    history: Sequence[float] = (),
    table: pd.DataFrame | None = None,
    progress: Callable[[str], None] | None = None,
) -> str:
    """The page as HTML.

    `history`: the objective by iteration, where known. `table`: of `prediction_table`, where made already.

    It is a function of its arguments: no date, the same input gives the same bytes.
    """
    say = progress or (lambda words: None)
    result, model = plan.result, fits.model
    what = "individual fits (MAP)" if result.method == MAP else f"population fit ({result.method.upper()})"
    quantities = ", ".join(dict.fromkeys(o.quantity for o in model.outputs))
    page = Page(f"{result.model}: {what}", f"{quantities} from {plan.dataset.source or 'a data frame'}")
    page.tiles(
        [
            (f"{result.subjects:,}", "subjects", True),
            (f"{result.observations:,}", "observations", True),
            (f"{result.objective:.3f}", "objective", True),
            ("yes" if result.converged else "NO", "converged", result.converged),
        ]
    )
    _warnings(page, result, population)
    estimates_section(page, fits, plan)
    data_section(page, plan.dataset, fits)
    say("residuals and NPDE")
    if table is None:
        table = prediction_table(fits, replicates=plan.replicates, seed=plan.seed)
    goodness_section(page, fits, table)
    say("individual curves")
    individuals_section(page, fits)
    say("predictive check")
    predictive_section(page, fits, plan)
    say("forecasts")
    forecasts_section(page, fits, table, plan)
    course = pd.DataFrame({"objective": list(history)})
    if population is not None and len(course) < len(population.trace):
        course = pd.DataFrame(population.trace, columns=list(population.names))
    searching_section(page, fits, course)
    model_section(page, fits, plan)
    footer = (
        f"dosetwin {plan.version}, seed {plan.seed}, {plan.replicates} simulations. Not a medical device."
    )
    return page.html(footer)


def _warnings(page: Page, result: FitResult, population: PopulationFit | None) -> None:
    if population is not None and not result.converged:
        page.warning(f"The population fit did not converge: {population.message} Do not use its estimates.")
    if result.unsettled:
        page.warning(
            f"{len(result.unsettled)} of {result.subjects} individual searches did not converge; their "
            f"numbers are where the search ended: {named(result.unsettled)}."
        )
    if result.several:
        page.warning(
            f"{len(result.several)} subjects have more than one mode; the best is used, and the covariance "
            f"describes that one alone: {named(result.several)}."
        )
