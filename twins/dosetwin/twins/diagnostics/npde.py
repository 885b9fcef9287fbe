"""Normalised prediction distribution errors: where each observation lies in what the model predicts for it.

With K simulated replicates y^(k) of a subject's observations y [n], m and C = L L' their mean and covariance:

    y* = L^-1 (y - m), y*^(k) = L^-1 (y^(k) - m)                  decorrelated
    pde_j = share of k with y*_j^(k) < y*_j, held within 1/2K .. 1 - 1/2K;  npde = Phi^-1(pde)

Brendel et al. 2006, doi:10.1007/s11095-006-9067-5; Comets, Brendel & Mentre 2008, Comput
Methods Programs Biomed 90:154. npd is the same without decorrelation. Under the right model both are N(0, 1),
npde also independent.

Censored values (Nguyen, Comets & Mentre 2012, J Pharmacokinet Pharmacodyn 39:499, method "cdf"): with F the
simulated distribution of that record, a value below its limit gets pd ~ U(0, F(limit)), one above it
U(F(limit), 1), one between `lower` and the limit U(F(lower), F(limit)), and is then taken to be F^-1(pd).
Categories and counts get a randomised npd, pd ~ U(F(y-), F(y)), and no npde.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from dosetwin.twins.diagnostics.linearisation import observed_outputs
from dosetwin.twins.diagnostics.simulate import simulated
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.simulation.cohort import Cohort

Values = npt.NDArray[np.float64]
REPLICATES = 1000


class PredictionDistribution(NamedTuple):
    """npde and npd of all observation records, subject after subject; NaN where there is none."""

    npde: Values
    npd: Values


def prediction_distribution_errors(
    model: PopulationModel,
    prepared: Cohort,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> PredictionDistribution:
    """NPDE and NPD by simulation; see this module's equations. A function of the data and `seed`."""
    outputs = observed_outputs(prepared)
    continuous = np.array([o.error.continuous for o in model.outputs])
    npde, npd = [], []
    for i, drawn in enumerate(simulated(model, prepared, replicates, seed, progress=progress)):
        s = prepared.subjects[i]
        records = s.evid == 0
        rng = np.random.default_rng([seed, i])
        one = _of_subject(
            s.dv[records],
            s.censored[records],
            s.lower[records],
            continuous[outputs[i]],
            drawn.y[np.isfinite(drawn.y).all(axis=1)],
            rng,
        )
        npde.append(one.npde)
        npd.append(one.npd)
    if not npde:
        return PredictionDistribution(np.zeros(0), np.zeros(0))
    return PredictionDistribution(np.concatenate(npde), np.concatenate(npd))


def _of_subject(
    dv: Values,
    censored: npt.NDArray[np.int64],
    lower: Values,
    continuous: npt.NDArray[np.bool_],
    simulations: Values,
    rng: np.random.Generator,
) -> PredictionDistribution:
    K = len(simulations)
    found = PredictionDistribution(np.full(len(dv), np.nan), np.full(len(dv), np.nan))
    used = np.flatnonzero(np.isfinite(dv) & (simulations.std(axis=0) > 0)) if K > 1 else np.zeros(0, int)
    y = dv.copy()
    uniform = rng.random(len(dv))
    for j in used:
        column = simulations[:, j]
        below, upto = float(np.mean(column < dv[j])), float(np.mean(column <= dv[j]))
        share = below
        if not continuous[j]:
            share = below + uniform[j] * (upto - below)
        elif censored[j] < 0:
            floor = float(np.mean(column < lower[j])) if np.isfinite(lower[j]) else 0.0
            share = floor + uniform[j] * (below - floor)
        elif censored[j] > 0:
            share = below + uniform[j] * (1 - below)
        if censored[j]:
            y[j] = np.quantile(column, share)
        found.npd[j] = _normal(share, K)
    used = used[continuous[used]]
    if not len(used) or len(used) >= K:
        return found
    chosen = simulations[:, used]
    mean = chosen.mean(axis=0)
    covariance = np.atleast_2d(np.cov(chosen, rowvar=False))
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return found
    white = np.linalg.solve(factor, (chosen - mean).T)
    own = np.linalg.solve(factor, y[used] - mean)
    for j, place in enumerate(used):
        found.npde[place] = _normal(float(np.mean(white[j] < own[j])), K)
    return found


def _normal(share: float, K: int) -> float:
    return float(stats.norm.ppf(np.clip(share, 1 / (2 * K), 1 - 1 / (2 * K))))


def npde_tests(values: Values) -> pd.Series:
    """Whether `values` (NaN left out) look like N(0, 1): n, mean, variance, and p-values.

    mean: t-test; variance: chi-square of (n-1) var; normality: Shapiro-Wilk (of at most 5,000); together:
    three times the smallest, at most 1 (Comets 2008, sec. 2.4). Fewer than 3 values: NaN.
    """
    given = values[np.isfinite(values)]
    n = len(given)
    if n < 3:
        return pd.Series({"n": n, **dict.fromkeys(_TESTS[1:], np.nan)})
    variance = float(given.var(ddof=1))
    below = float(stats.chi2.cdf((n - 1) * variance, n - 1))
    p = (
        float(stats.ttest_1samp(given, 0.0).pvalue),
        2 * min(below, 1 - below),
        float(stats.shapiro(given[:5000]).pvalue),
    )
    row = (n, float(given.mean()), variance, *p, min(1.0, 3 * min(p)))
    return pd.Series(dict(zip(_TESTS, row, strict=True)))


_TESTS = ("n", "mean", "variance", "p_mean", "p_variance", "p_normality", "p_together")
