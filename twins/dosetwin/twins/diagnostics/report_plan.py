"""What a report is made of, beside the fit, and how much of it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from dosetwin.twins.data.subject import Dataset
from dosetwin.twins.diagnostics.fit_result import FitResult

PAGES = 5
"""Pages of individual fits at most."""
ROWS = 200
"""Rows of a table of subjects at most."""
FORECASTS = 1500
"""Up to so many observations are each predicted from those before them."""
FEW_SUBJECTS, FEW_OBSERVATIONS = 8, 30
"""Below these a distribution or a predictive check says nothing, and is left out."""


@dataclass(frozen=True)
class ReportPlan:
    """The figures, the data as read, the model's source code, chance, how many simulations, our version."""

    result: FitResult
    dataset: Dataset
    code: str = ""
    seed: int = 0
    replicates: int = 500
    version: str = ""
