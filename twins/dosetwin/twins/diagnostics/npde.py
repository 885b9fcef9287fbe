"""Normalised prediction distribution errors: where each observation lies in what the model predicts for it.

With K simulated replicates y^(k) of a subject's observations y [n], m and C = L L' their mean and covariance:

    y* = L^-1 (y - m), y*^(k) = L^-1 (y^(k) - m)                  decorrelated
    pde_j = share of k with y*_j^(k) < y*_j, held within 1/2K .. 1 - 1/2K;  npde = Phi^-1(pde)

Brendel et al. 2006, doi:10.1007/s11095-006-9067-5; Comets, Brendel & Mentre 2008, Comput
Methods Programs Biomed 90:154. npd is the same without decorrelation. Under the right model both are N(0, 1),
npde also independent.

Censored values (after Nguyen, Comets & Mentre 2012, J Pharmacokinet Pharmacodyn 39:499, method "cdf"): with F
the simulated distribution of that record, a value below its limit gets pd ~ U(0, F(limit)), one above it
U(F(limit), 1), one between `lower` and the limit U(F(lower), F(limit)), and is then taken to be F^-1(pd).
Simulated values beyond the limit are drawn anew in the same way, so that both stay alike under the right
model although the draws know nothing of the subject's other values. The limit of a measured value is the
highest (above: the lowest) among the censored ones of its quantity; none where it lies beyond that itself.
Categories and counts get a randomised npd, pd ~ U(F(y-), F(y)), and no npde.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    low, high = _limits(prepared, outputs, len(model.outputs))
    npde, npd = [], []
    for i, drawn in enumerate(simulated(model, prepared, replicates, seed, progress=progress)):
        s = prepared.subjects[i]
        records = s.evid == 0
        rng = np.random.default_rng([seed, i])
        one = _of_subject(
            _Records(
                s.dv[records],
                s.censored[records],
                s.lower[records],
                low[outputs[i]],
                high[outputs[i]],
                continuous[outputs[i]],
            ),
            drawn.y[np.isfinite(drawn.y).all(axis=1)],
            rng,
        )
        npde.append(one.npde)
        npd.append(one.npd)
    if not npde:
        return PredictionDistribution(np.zeros(0), np.zeros(0))
    return PredictionDistribution(np.concatenate(npde), np.concatenate(npd))


class _Records(NamedTuple):
    """A subject's observation records [N]; `low`, `high`: the limits of quantification of their quantity."""

    dv: Values
    censored: npt.NDArray[np.int64]
    lower: Values
    low: Values
    high: Values
    continuous: npt.NDArray[np.bool_]


def _limits(prepared: Cohort, outputs: Sequence[npt.NDArray[np.int64]], count: int) -> tuple[Values, Values]:
    """The highest limit below and the lowest above of each quantity; infinite where nothing is censored."""
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    for s, o in zip(prepared.subjects, outputs, strict=True):
        records = s.evid == 0
        dv, censored = s.dv[records], s.censored[records]
        np.maximum.at(low, o[censored < 0], dv[censored < 0])
        np.minimum.at(high, o[censored > 0], dv[censored > 0])
    return low, high


def _of_subject(r: _Records, simulations: Values, rng: np.random.Generator) -> PredictionDistribution:
    K, N = len(simulations), len(r.dv)
    found = PredictionDistribution(np.full(N, np.nan), np.full(N, np.nan))
    used = np.flatnonzero(np.isfinite(r.dv) & (simulations.std(axis=0) > 0)) if K > 1 else np.zeros(0, int)
    y, trials = r.dv.copy(), simulations.copy()
    uniform = rng.random(N)
    for j in used:
        column = simulations[:, j]
        below, upto = float(np.mean(column < y[j])), float(np.mean(column <= y[j]))
        share = below
        if not r.continuous[j]:
            share = below + uniform[j] * (upto - below)
        elif r.censored[j] < 0:
            floor = float(np.mean(column < r.lower[j])) if np.isfinite(r.lower[j]) else 0.0
            share = floor + uniform[j] * (below - floor)
        elif r.censored[j] > 0:
            share = below + uniform[j] * (1 - below)
        if r.censored[j]:
            y[j] = np.quantile(column, share)
        found.npd[j] = _normal(share, K)
        if r.continuous[j]:
            trials[:, j] = _redrawn(column, *_own_limits(r, int(j)), rng)
    used = used[r.continuous[used]]
    if not len(used) or len(used) >= K:
        return found
    chosen = trials[:, used]
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


def _own_limits(r: _Records, j: int) -> tuple[float, float]:
    """Between which values record j is measured."""
    dv = float(r.dv[j])
    if r.censored[j]:
        return (dv, np.inf) if r.censored[j] < 0 else (-np.inf, dv)
    low, high = float(r.low[j]), float(r.high[j])
    return (low if dv >= low else -np.inf), (high if dv <= high else np.inf)


def _redrawn(column: Values, low: float, high: float, rng: np.random.Generator) -> Values:
    """Simulated values, those beyond the limits drawn anew from their own distribution there."""
    below, above = column < low, column > high
    if not (below.any() or above.any()):
        return column
    found = column.copy()
    found[below] = np.quantile(column, rng.random(int(below.sum())) * float(below.mean()))
    found[above] = np.quantile(column, 1 - rng.random(int(above.sum())) * float(above.mean()))
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
