"""The figures of a fit as one record, the same for individuals and for a population."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from dosetwin.twins.diagnostics.individual_estimates import IndividualEstimates, individual_estimates
from dosetwin.twins.inference.individuals import IndividualFits

if TYPE_CHECKING:
    from dosetwin.twins.inference.population_fit import PopulationFit

MAP = "map"
FIELDS = (
    *("model", "method", "subjects", "observations"),
    *("objective", "estimates", "standard_errors", "converged"),
)
"""What a line of JSON holds."""


@dataclass(frozen=True)
class FitResult:
    """What was fitted and what came out.

    method "map" (individuals): `estimates` and `standard_errors` are by subject, then by parameter;
    `objective` is the sum of the subjects' 2 J; `converged`: all of them. Otherwise (a population) they are
    by name and `objective` is the population's. `unsettled`: subjects whose search did not converge;
    `several`: those with more than one mode.
    """

    model: str
    method: str
    subjects: int
    observations: int
    objective: float
    estimates: dict[str, Any]
    standard_errors: dict[str, Any]
    converged: bool
    unsettled: tuple[str, ...]
    several: tuple[str, ...]

    def json_line(self) -> str:
        """One line of JSON: the fields up to `converged`; what is not a number is null."""
        return json.dumps({name: _plain(getattr(self, name)) for name in FIELDS}, allow_nan=False)


def individual_result(
    model_id: str, fits: IndividualFits, estimates: IndividualEstimates | None = None
) -> FitResult:
    """The record of individual (MAP) estimates."""
    found = estimates or individual_estimates(fits)
    return FitResult(
        model_id,
        MAP,
        len(fits.subjects),
        int(sum(s.observed.sum() for s in fits.subjects)),
        float(fits.objective.sum()),
        _by_row(found.values),
        _by_row(found.standard_errors),
        bool(fits.converged.all()),
        *_searches(fits),
    )


def population_result(model_id: str, fit: PopulationFit) -> FitResult:
    """The record of a population fit."""
    fits = fit.individuals
    return FitResult(
        model_id,
        fit.method,
        len(fits.subjects),
        int(sum(s.observed.sum() for s in fits.subjects)),
        float(fit.objective),
        dict(fit.estimates),
        {name: fit.standard_errors.get(name, math.nan) for name in fit.estimates},
        bool(fit.converged),
        *_searches(fits),
    )


def _searches(fits: IndividualFits) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ids = [s.id for s in fits.subjects]
    unsettled = tuple(name for name, ok in zip(ids, fits.converged, strict=True) if not ok)
    several = tuple(name for name, count in zip(ids, fits.basins, strict=True) if count > 1)
    return unsettled, several


def _by_row(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    return {str(name): {str(k): float(v) for k, v in row.items()} for name, row in table.iterrows()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, bool | str | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
