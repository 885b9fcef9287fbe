"""Estimate a population from its data: FOCEI, Laplace or SAEM, with standard errors and individuals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.subject import Dataset, RecordError, Subject
from dosetwin.twins.inference.focei import ITERATIONS, Objective, Progress, Step, minimise
from dosetwin.twins.inference.individuals import IndividualFits, estimate_individuals
from dosetwin.twins.inference.population_vector import PopulationVector, numbers, population_vector
from dosetwin.twins.inference.saem import EXPLORING, SMOOTHING, importance_likelihood, saem
from dosetwin.twins.inference.standard_errors import Matrix, Uncertainty, uncertainty
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.simulation.cohort import Cohort, cohort

Values = npt.NDArray[np.float64]
Method = Literal["focei", "laplace", "saem"]

SETTLED = 0.1
"""SAEM has settled where its last means differ by less than this many standard errors."""


@dataclass(frozen=True)
class PopulationFit:
    """The estimates of a population.

    model: with the estimates as its numbers. objective: -2 log likelihood on NONMEM's scale, without
    n log(2 pi): by the approximation of `method`, of SAEM by importance sampling. estimates and
    standard_errors: by name on the natural scale (`inference.population_vector` has the names), those that
    are free; NaN where there is no standard error. uncertainty: their covariance and how it was made.
    trace [iterations, P] of `names`' free numbers (unconstrained). shrinkage: 1 - sd(eta)/omega by parameter.
    """

    model: PopulationModel
    method: Method
    objective: float
    estimates: Mapping[str, float]
    standard_errors: Mapping[str, float]
    uncertainty: Uncertainty
    converged: bool
    iterations: int
    message: str
    shrinkage: Mapping[str, float]
    individuals: IndividualFits
    trace: Values

    @property
    def names(self) -> tuple[str, ...]:
        """The free numbers, in the order of the covariance."""
        return self.uncertainty.names

    @property
    def covariance(self) -> Values:
        """Covariance of the estimates [P, P]."""
        return self.uncertainty.covariance

    @property
    def relative_standard_errors(self) -> dict[str, float]:
        """RSE in percent by name."""
        return dict(zip(self.names, self.uncertainty.relative_percent.tolist(), strict=True))


def fit_population(
    model: PopulationModel,
    dataset: Dataset | Iterable[Subject] | Cohort,
    method: Method = "focei",
    *,
    seed: int = 0,
    progress: Progress | None = None,
    iterations: int = ITERATIONS,
    exploring: int = EXPLORING,
    smoothing: int = SMOOTHING,
    matrix: Matrix = "sandwich",
) -> PopulationFit:
    """Estimate everything of `model` that is not fixed; its own numbers are the start.

    `seed` and `exploring`, `smoothing` (iterations) are SAEM's, `iterations` the most of the others. Standard
    errors of SAEM come from the FOCEI objective at its estimates. Raises ModelError where nothing is free or
    the objective is not finite at the start, RecordError where nothing was observed or a record has no
    meaning. A search that fails gives a fit with converged False and a message, never an error.
    """
    if method not in ("focei", "laplace", "saem"):
        raise ModelError(f"found method {method!r}; expected focei, laplace or saem")
    layout = population_vector(model)
    prepared = dataset if isinstance(dataset, Cohort) else cohort(model, list(dataset))
    if not sum(int(subject.observed.sum()) for subject in prepared.subjects):
        raise RecordError(
            f"found no observation in {len(prepared)} subjects; expected values to fit",
            remedy="check the DV, EVID and MDV columns",
        )
    objective = Objective(model, prepared, layout, "laplace" if method == "laplace" else "focei")
    start = layout.pack(model.population)
    _check_start(objective, start)
    if method == "saem":
        found = saem(
            model,
            prepared,
            layout,
            seed=seed,
            exploring=exploring,
            smoothing=smoothing,
            progress=progress,
        )
        x, trace, converged, message = found.x, found.trace, True, ""
        objective.look_for_modes(x)
    else:
        steps: list[Values] = []

        def follow(step: Step) -> None:
            steps.append(step.x)
            if progress:
                progress(step)

        least = minimise(objective, start, iterations=iterations, progress=follow)
        x, trace, converged, message = least.x, np.array(steps), least.converged, least.message
    sure = uncertainty(objective, x, matrix)
    fitted = model.with_population(
        numbers(layout, x, model.population), f"{method} of {len(prepared)} subjects, from: {model.source}"
    )
    fits = estimate_individuals(fitted, prepared)
    if method == "saem":
        likelihood = importance_likelihood(fits, seed=seed)
        value = likelihood.objective
        converged, message = _settled(layout, found.trace, found.exploring, sure)
        message = f"{message}; Monte-Carlo error of the objective {likelihood.standard_error:.2g}"
    else:
        value = least.objective
    message = "; ".join(part for part in (message, sure.message, _collapsed(fitted)) if part)
    return PopulationFit(
        fitted,
        method,
        value,
        dict(zip(sure.names, sure.estimate.tolist(), strict=True)),
        dict(zip(sure.names, sure.standard_error.tolist(), strict=True)),
        sure,
        converged,
        len(trace),
        message,
        shrinkage(fits),
        fits,
        trace,
    )


def _check_start(objective: Objective, start: Values) -> None:
    objective.look_for_modes(start)
    value, _, _ = objective.individual(start)
    wrong = np.flatnonzero(~np.isfinite(value))
    if wrong.size:
        ids = ", ".join(objective.cohort.subjects[i].id for i in wrong[:10])
        raise ModelError(
            f"the objective is not finite at the start for {wrong.size} of {len(value)} subjects: {ids}; "
            "expected finite numbers",
            remedy="start from other typical values, wider variances or a larger residual error; estimate "
            "these subjects alone to see why",
        )


def _settled(layout: PopulationVector, trace: Values, exploring: int, sure: Uncertainty) -> tuple[bool, str]:
    """Whether the last two thirds of SAEM's smoothing have one mean."""
    smooth = trace[exploring + (len(trace) - exploring) // 3 :]
    half = len(smooth) // 2
    if half < 10:
        return False, "too few iterations to judge whether SAEM has settled"
    drift = np.abs(smooth[:half].mean(axis=0) - smooth[half:].mean(axis=0))
    try:
        unit = np.sqrt(np.diag(np.linalg.inv(sure.hessian)))
    except np.linalg.LinAlgError:
        unit = np.full(drift.size, np.nan)
    unit = np.where(np.isfinite(unit), unit, 0.1)
    worst = int(np.argmax(drift / unit))
    share = float(drift[worst] / unit[worst])
    name = layout.names[worst]
    if share < SETTLED:
        return True, f"settled: {name} moved most, by {share:.2g} standard errors"
    return False, f"not settled: {name} still moved by {share:.2g} standard errors; give more iterations"


def _collapsed(model: PopulationModel) -> str:
    gone = [p.name for p in model.parameters if p.variability and p.variability.variance < 1e-6]
    return f"the variance of {', '.join(gone)} went to 0: leave its variability out" if gone else ""


def shrinkage(fits: IndividualFits) -> dict[str, float]:
    """1 - sd(eta)/omega by parameter (Savic & Karlsson 2009, doi:10.1208/s12248-009-9133-0)."""
    if len(fits.subjects) < 2:
        return dict.fromkeys(fits.model.varying, math.nan)
    omega = np.sqrt(np.diag(fits.model.omega))
    share = 1 - fits.etas.to_numpy().std(axis=0, ddof=1) / omega
    return dict(zip(fits.model.varying, share.tolist(), strict=True))
