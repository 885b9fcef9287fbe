"""Predictive performance the field's way: bias, inaccuracy and coverage, a priori and one step ahead.

PE = 100 (observed - predicted) / predicted, in per cent (Varvel, Donoho & Shafer 1992,
J Pharmacokinet Biopharm 20:63); root mean square: Sheiner & Beal 1981, J Pharmacokinet Biopharm 9:503. A
censored value has no PE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from dosetwin.twins.data.subject import Subject
from dosetwin.twins.diagnostics.linearisation import observed_outputs
from dosetwin.twins.diagnostics.simulate import Around, simulated
from dosetwin.twins.inference.individuals import estimate_individuals
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.simulation.cohort import TOGETHER, cohort

Values = npt.NDArray[np.float64]


def prediction_errors(
    observed: npt.ArrayLike,
    predicted: npt.ArrayLike,
    low: npt.ArrayLike | None = None,
    high: npt.ArrayLike | None = None,
) -> pd.Series:
    """Bias and inaccuracy; pairs with a NaN, or with a prediction that is not above 0, are left out.

    n; MDPE median of PE (bias, %); MDAPE median of |PE| (inaccuracy, %); ME mean error and RMSE root mean
    square error, in the quantity's unit; rRMSE = sqrt(mean PE^2) (%); coverage: share of observations within
    low..high (NaN without them).
    """
    y, f = np.asarray(observed, np.float64).ravel(), np.asarray(predicted, np.float64).ravel()
    used = np.isfinite(y) & np.isfinite(f) & (f > 0)
    y, f = y[used], f[used]
    names = ("n", "MDPE", "MDAPE", "ME", "RMSE", "rRMSE", "coverage")
    if not len(y):
        return pd.Series(dict(zip(names, (0, *[np.nan] * 6), strict=True)))
    PE = 100 * (y - f) / f
    coverage = np.nan
    if low is not None and high is not None:
        bottom, top = (np.asarray(bound, np.float64).ravel()[used] for bound in (low, high))
        coverage = float(np.mean((y >= bottom) & (y <= top)))
    figures = (
        len(y),
        float(np.median(PE)),
        float(np.median(np.abs(PE))),
        float(np.mean(y - f)),
        float(np.sqrt(np.mean((y - f) ** 2))),
        float(np.sqrt(np.mean(PE**2))),
        coverage,
    )
    return pd.Series(dict(zip(names, figures, strict=True)))


def forecasts(
    model: PopulationModel,
    subjects: Iterable[Subject],
    *,
    level: float = 0.9,
    replicates: int = 300,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Every observation predicted before it is seen: a priori, and from the subject's earlier observations.

    Columns: ID, TIME, OUTPUT, DV (NaN for a censored one), PRIOR, PRIOR_LOW, PRIOR_HIGH (the population's
    prediction), AHEAD, AHEAD_LOW, AHEAD_HIGH (from the mode given the observations above it in the file). The
    point is the prediction at the typical subject or at the mode; the interval of `level` is from
    `replicates` draws of etas (prior, or Laplace's normal with the expected Hessian) and residual errors.
    """
    chosen = [s for s in subjects if s.observed.any()]
    cut: list[Subject] = []
    places: list[tuple[int, int]] = []
    for i, s in enumerate(chosen):
        for at in np.flatnonzero(s.observed):
            dv = np.where(np.arange(len(s)) < at, s.dv, np.nan)
            cut.append(replace(s, dv=dv, censored=np.where(np.isfinite(dv), s.censored, 0)))
            places.append((i, int(np.sum(s.evid[:at] == 0))))
    if not cut:
        return pd.DataFrame(columns=_COLUMNS)
    prior = cohort(model, chosen)
    tails = (50 * (1 - level), 100 - 50 * (1 - level))
    before = simulated(model, prior, replicates, seed)
    outputs = observed_outputs(prior)
    rows = []
    # in parts of one batch's size: the shapes are then those of the data, compiled already
    for begin in range(0, len(cut), TOGETHER):
        fits = estimate_individuals(model, cut[begin : begin + TOGETHER])
        around = [Around(z, _factor(H)) for z, H in zip(fits.z, fits.expected, strict=True)]
        ahead = simulated(model, fits.cohort, replicates, seed, around)
        for k, (i, place) in enumerate(places[begin : begin + TOGETHER]):
            s = chosen[i]
            at = np.flatnonzero(s.evid == 0)[place]
            rows.append(
                (
                    s.id,
                    s.time[at],
                    outputs[i][place] + 1,
                    s.dv[at] if s.censored[at] == 0 else np.nan,
                    fits.typical[k][place],
                    *np.nanpercentile(before[i].y[:, place], tails),
                    fits.prediction[k][place],
                    *np.nanpercentile(ahead[k].y[:, place], tails),
                )
            )
        if progress:
            progress(min(1.0, (begin + TOGETHER) / len(cut)))
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    *("ID", "TIME", "OUTPUT", "DV"),
    *("PRIOR", "PRIOR_LOW", "PRIOR_HIGH"),
    *("AHEAD", "AHEAD_LOW", "AHEAD_HIGH"),
]


def performance(table: pd.DataFrame) -> pd.DataFrame:
    """`prediction_errors` of a table of `forecasts`: rows "a priori" and "one step ahead"."""
    return pd.DataFrame(
        {
            words: prediction_errors(table["DV"], table[name], table[f"{name}_LOW"], table[f"{name}_HIGH"])
            for words, name in (("a priori", "PRIOR"), ("one step ahead", "AHEAD"))
        }
    ).T


def _factor(H: Values) -> Values:
    """F with F F' = H^-1."""
    inverse: Values = np.linalg.inv(np.linalg.cholesky(H)).T
    return inverse
