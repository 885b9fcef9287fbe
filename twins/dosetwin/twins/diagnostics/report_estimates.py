"""Sections of a report: estimates, data, model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dosetwin.twins.data.subject import DOSE, RESET_AND_DOSE, Dataset
from dosetwin.twins.diagnostics.fit_result import MAP, FitResult
from dosetwin.twins.diagnostics.individual_estimates import individual_estimates
from dosetwin.twins.diagnostics.linearisation import observed_outputs
from dosetwin.twins.diagnostics.report_page import Page, number
from dosetwin.twins.diagnostics.report_plan import ROWS, ReportPlan
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.variability import LogNormal, Variability

INDIVIDUAL_CONSTANTS = (
    "The objective of a subject is 2 J = eta' Omega^-1 eta + sum of [(y - f)^2 / V + log V] at the mode; the "
    "sum over subjects is given. The constants n log(2 pi) and log|Omega| are not in it. For a censored "
    "value, a category or a count, -2 log of its probability takes the place of the bracket."
)
POPULATION_CONSTANTS = (
    "The objective is -2 log likelihood without n log(2 pi), as NONMEM prints it: the sum over subjects of "
    "2 J + log|H|, H the Hessian of J in standard normal etas (so that log|Omega| is in it)."
)


def estimates_section(page: Page, fits: IndividualFits, plan: ReportPlan) -> None:
    """Estimates with their standard errors, and the objective's constants."""
    page.section("Estimates")
    if plan.result.method != MAP:
        _population_table(page, fits, plan.result)
        page.text(POPULATION_CONSTANTS)
        return
    found = individual_estimates(fits)
    summary = fits.summary
    rows = pd.DataFrame({"subject": summary.index, "observations": summary["observations"].to_numpy()})
    varying = [str(name) for name in found.values if found.standard_errors[name].notna().any()]
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
    page.text(INDIVIDUAL_CONSTANTS)


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
        if isinstance(varies, LogNormal):
            words += f", CV {100 * np.sqrt(np.expm1(value)):.1f} %"
        return "1", words
    if kind == "residual":
        return "", "residual error, as standard deviation"
    return "1", "correlation" if "correlation" in name else ""


def data_section(page: Page, dataset: Dataset, fits: IndividualFits) -> None:
    """What was read: subjects, doses, observations, covariates, and what the reader noted."""
    page.section("Data")
    doses = sum(int(np.isin(s.evid, (DOSE, RESET_AND_DOSE)).sum()) for s in dataset)
    last = max((float(s.time[-1]) for s in dataset if len(s)), default=0.0)
    page.text(
        f"{len(dataset):,} subjects, {dataset.observations:,} observations, {doses:,} dose records, up to "
        f"{last:g} {dataset.time_unit}. Source: {dataset.source or 'a data frame'}."
    )
    table = []
    outputs = [
        o[np.isfinite(s.dv[s.evid == 0])]
        for s, o in zip(fits.subjects, observed_outputs(fits.cohort), strict=True)
    ]
    values = [(s.dv[s.observed], s.censored[s.observed], outputs[i]) for i, s in enumerate(fits.subjects)]
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


def model_section(page: Page, fits: IndividualFits, plan: ReportPlan) -> None:
    """The model's numbers, its source, and the code that says it."""
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


def _varies(variability: Variability | None) -> str:
    if variability is None:
        return ""
    return f"{type(variability).__name__}, variance {number(variability.variance)}"
