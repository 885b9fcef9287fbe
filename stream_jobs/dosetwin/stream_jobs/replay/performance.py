"""Predictive performance in the field's way (Varvel 1992, J Pharmacokinet Biopharm 20:63).

Prediction error PE = 100 (observed - predicted) / predicted, in percent; MDPE its median (bias), MDAPE the
median of its absolute value (inaccuracy). A priori: the published model and covariates alone. One step
ahead: every earlier level of the patient used. Coverage: share of levels inside their 90 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dosetwin.platform.contracts import Prediction


@dataclass(frozen=True)
class Performance:
    """The figures of one data set, in percent."""

    observations: int
    mdpe_population_pct: float
    mdape_population_pct: float
    mdpe_pct: float
    mdape_pct: float
    coverage90_pct: float


def performance(predictions: Sequence[Prediction]) -> Performance:
    """The figures over all levels. Predictions of 0 (nothing was given yet) count in coverage only."""
    observed = np.array([p.observed for p in predictions])
    inside = [p.low <= p.observed <= p.high for p in predictions]
    a_priori = np.array([p.population if p.population is not None else np.nan for p in predictions])
    stepwise = np.array([p.median for p in predictions])
    mdpe_0, mdape_0 = _errors(observed, a_priori)
    mdpe_1, mdape_1 = _errors(observed, stepwise)
    return Performance(
        observations=len(predictions),
        mdpe_population_pct=mdpe_0,
        mdape_population_pct=mdape_0,
        mdpe_pct=mdpe_1,
        mdape_pct=mdape_1,
        coverage90_pct=100 * float(np.mean(inside)) if predictions else float("nan"),
    )


def _errors(observed: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    usable = np.isfinite(predicted) & (predicted > 0)
    if not usable.any():
        return float("nan"), float("nan")
    error = 100 * (observed[usable] - predicted[usable]) / predicted[usable]
    return float(np.median(error)), float(np.median(np.abs(error)))
