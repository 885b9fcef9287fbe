"""Scores of ensemble forecasts: rank histogram, coverage, continuous ranked probability score.

An ensemble x_1 ... x_M is calibrated where the observation y is one more draw from where its members came
from. Then the rank of y among them is uniform on 0 ... M (Anderson 1996, doi:10.1175/1520-0442(1996)009<1518:
AMFPAE>2.0.CO;2; Hamill 2001, doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2), central intervals cover
what they say, and

    CRPS = E|X - y| - E|X - X'| / 2        (Gneiting & Raftery 2007, doi:10.1198/016214506000001437, eq 21)

is least on average. The second expectation is taken over pairs of different members (fair score, Ferro 2014,
doi:10.1002/qj.2270), so that ensembles of different sizes can be compared. CRPS has the unit of y and is
|x - y| for a single number; smaller is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from dosetwin.platform.errors import DoseTwinError

Values = npt.NDArray[np.float64]
LEVELS = (0.5, 0.9, 0.95)


class ForecastScoreError(DoseTwinError):
    """Ensembles and observations that cannot be scored together."""


class RankHistogram(NamedTuple):
    """Counts of ranks in equal bins, and how likely such unevenness is where ranks are uniform.

    `p_value` is that of Pearson's chi-square with bins - 1 degrees of freedom. It takes the cases to be
    independent: thin what is serially dependent before.
    """

    counts: npt.NDArray[np.int64]
    chi_square: float
    p_value: float


def ranks(ensemble: npt.ArrayLike, observed: npt.ArrayLike, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """Rank 0 ... M of each of `observed` [n] in `ensemble` [n, M]; among equal values at random.

    Raises ForecastScoreError for shapes that do not fit or values that are not finite.
    """
    x, y = _checked(ensemble, observed)
    rng = np.random.default_rng(seed)
    below, equal = (x < y[:, None]).sum(1), (x == y[:, None]).sum(1)
    rank: npt.NDArray[np.int64] = below + rng.integers(0, equal + 1)
    return rank


def rank_histogram(
    ensemble: npt.ArrayLike, observed: npt.ArrayLike, *, bins: int | None = None, seed: int = 0
) -> RankHistogram:
    """Histogram of `ranks` in `bins` equal bins (M + 1, one a rank, where not given).

    Where M + 1 is not a multiple of `bins`, a rank is spread evenly over its share of [0, 1] first.
    """
    x, y = _checked(ensemble, observed)
    size = x.shape[1] + 1
    bins = size if bins is None else bins
    if not 2 <= bins <= size:
        raise ForecastScoreError(
            f"{bins} bins for ranks 0 to {size - 1}; expected 2 to {size}", remedy="ask for fewer bins"
        )
    rng = np.random.default_rng([seed, 1])
    place = (ranks(x, y, seed=seed) + rng.random(len(y))) / size
    counts = np.bincount(np.minimum((place * bins).astype(np.int64), bins - 1), minlength=bins)
    expected = len(y) / bins
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return RankHistogram(counts, chi_square, float(stats.chi2.sf(chi_square, bins - 1)))


def central_interval(ensemble: npt.ArrayLike, level: float) -> tuple[Values, Values]:
    """Ends [n] of the central interval, at positions q (M + 1) between ordered members (Weibull).

    One more draw falls into it with probability `level`, as far as the ensemble reaches: the widest interval
    of M members is that from the smallest to the largest, (M - 1) / (M + 1).
    """
    x = np.sort(np.asarray(ensemble, float), axis=1)
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(x, (tail, 1.0 - tail), axis=1, method="weibull")
    return low, high


def coverage(
    ensemble: npt.ArrayLike, observed: npt.ArrayLike, levels: Sequence[float] = LEVELS
) -> dict[float, float]:
    """Share of `observed` [n] within the central intervals of `ensemble` [n, M], for each level."""
    x, y = _checked(ensemble, observed)
    found = {}
    for level in levels:
        low, high = central_interval(x, level)
        found[level] = float(((low <= y) & (y <= high)).mean())
    return found


def crps_ensemble(ensemble: npt.ArrayLike, observed: npt.ArrayLike) -> Values:
    """Fair CRPS [n] of `ensemble` [n, M] for `observed` [n], in their unit.

    With sorted members sum_ij |x_i - x_j| = 2 sum_i (2 i - M + 1) x_i, i from 0, which costs a sort only.
    """
    x, y = _checked(ensemble, observed)
    size = x.shape[1]
    ordered = np.sort(x, axis=1)
    weights = 2.0 * np.arange(size) - size + 1.0
    spread = (ordered * weights).sum(1) / max(size * (size - 1), 1)
    score: Values = np.abs(x - y[:, None]).mean(1) - spread
    return score


def _checked(ensemble: npt.ArrayLike, observed: npt.ArrayLike) -> tuple[Values, Values]:
    x, y = np.asarray(ensemble, float), np.asarray(observed, float)
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.size:
        raise ForecastScoreError(
            f"ensemble of shape {x.shape} and observations of shape {y.shape}; expected [n, members] and [n]",
            remedy="give one row of members for each observation",
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ForecastScoreError(
            "values that are not finite; expected numbers", remedy="leave out forecasts that were not made"
        )
    return x, y
