"""What a virtual trial says in numbers: means, how sure they are, worst patients, differences of policies.

The interval is a bootstrap over patients: bias-corrected and accelerated (BCa: Efron 1987,
doi:10.2307/2289144), its tails widened so that few patients do not make it too short (Hesterberg 2015,
doi:10.1080/00031305.2015.1089789). It never leaves the range of the patients themselves, so a percentage
stays one. docs/trials.md has its coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

Values = npt.NDArray[np.float64]
CONFIDENCE = 0.95
RESAMPLES = 10_000
EXACT_UP_TO = 8
"""Patients up to which every resample there is gets its probability; none is drawn (6,435 for 8)."""
SAME = 1e-9
"""Two means of resamples closer than this, relative to the spread, are the same one, rounded differently."""


@dataclass(frozen=True)
class Summary:
    """One measure of one policy.

    `patients`: of how many it could be said. `mean` and `low` to `high`, its 95 % confidence interval (NaN
    with fewer than two patients); `worst` and who that was, a position in the values given (-1: nobody).
    """

    patients: int
    mean: float
    low: float
    high: float
    worst: float
    worst_index: int


@dataclass(frozen=True)
class Difference:
    """A policy less the reference in the same patients: mean and its 95 % confidence interval."""

    patients: int
    mean: float
    low: float
    high: float


def summarise(values: npt.ArrayLike, better: Literal["higher", "lower"], seed: int) -> Summary:
    """Mean, confidence interval and worst of `values` [n], a number a patient; NaN is left out."""
    given = np.asarray(values, np.float64)
    known = given[np.isfinite(given)]
    if not len(known):
        return Summary(0, math.nan, math.nan, math.nan, math.nan, -1)
    worst = int(np.nanargmin(given) if better == "higher" else np.nanargmax(given))
    low, high = mean_interval(known, seed)
    return Summary(len(known), float(known.mean()), low, high, float(given[worst]), worst)


def paired_difference(values: npt.ArrayLike, reference: npt.ArrayLike, seed: int) -> Difference:
    """`values` - `reference`, both [n] of the same patients in the same order; NaN in either leaves one out.

    Raises ValueError where they are not equally many.
    """
    a, b = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"found {a.shape} and {b.shape} values; a paired difference needs the same patients")
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        return Difference(0, math.nan, math.nan, math.nan)
    change = a[both] - b[both]
    low, high = mean_interval(change, seed)
    return Difference(int(both.sum()), float(change.mean()), low, high)


def mean_interval(values: npt.ArrayLike, seed: int) -> tuple[float, float]:
    """The 95 % confidence interval of the mean of `values` [n], all finite; (NaN, NaN) with fewer than two.

    With m* the mean of a resample of n patients with replacement, G its distribution, z0 = Phi^-1(G(mean))
    and a the acceleration (skewness of the jackknife means over 6), the ends are the quantiles of G at

        Phi(z0 + (z0 + z) / (1 - a (z0 + z))),    z = -+ sqrt(n / (n - 1)) t_{n-1, 0.975}

    G is exact for up to EXACT_UP_TO patients and else of RESAMPLES resamples drawn by `seed`. Equal values
    give an interval of no width: that says that nothing was seen to vary, not that nothing can.
    """
    x = np.sort(np.asarray(values, np.float64))
    n = len(x)
    if n < 2:
        return math.nan, math.nan
    spread = float(x[-1] - x[0])
    if spread == 0:
        return float(x[0]), float(x[0])
    mean = float(x.mean())
    means, weights = _resampled_means(x, seed)
    order = np.argsort(means, kind="stable")
    means, reached = means[order], np.cumsum(weights[order])
    near = np.abs(means - mean) <= SAME * spread
    below = float(weights[order][(means < mean) & ~near].sum() + weights[order][near].sum() / 2)
    z0 = float(special.ndtri(np.clip(below, 1e-6, 1 - 1e-6)))
    departures = x - mean  # jackknife: mean of the others, less its own mean, is departure / (1 - n)
    acceleration = float((departures**3).sum() / (6 * (departures**2).sum() ** 1.5))
    z = math.sqrt(n / (n - 1)) * float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    ends = [_corrected(sign * z, z0, acceleration) for sign in (-1, 1)]
    low, high = (float(means[min(int(np.searchsorted(reached, end)), len(means) - 1)]) for end in ends)
    # a mean of equal values may be rounded out of their range
    return max(min(low, mean), float(x[0])), min(max(high, mean), float(x[-1]))


def _corrected(z: float, z0: float, acceleration: float) -> float:
    """BCa's level for the normal deviate z."""
    room = 1 - acceleration * (z0 + z)
    if room <= 0:  # beyond the pole the level has reached its end
        return 1.0 if z > 0 else 0.0
    return float(special.ndtr(z0 + (z0 + z) / room))


def _resampled_means(x: Values, seed: int) -> tuple[Values, Values]:
    """Means of resamples of x [n] and their probabilities."""
    n = len(x)
    if n <= EXACT_UP_TO:
        counts, weights = _every_resample(n)
        return counts @ x / n, weights
    rng = np.random.default_rng([seed & (2**64 - 1), n])
    means = np.concatenate([x[rng.integers(0, n, (block, n))].mean(axis=1) for block in _blocks(n)])
    return means, np.full(len(means), 1 / len(means))


def _blocks(n: int) -> list[int]:
    """RESAMPLES in parts of at most about 4 million numbers."""
    size = max(1, min(RESAMPLES, 4_000_000 // n))
    return [min(size, RESAMPLES - start) for start in range(0, RESAMPLES, size)]


@lru_cache(maxsize=EXACT_UP_TO + 1)
def _every_resample(n: int) -> tuple[Values, Values]:
    """How often each of n is in a resample, [m, n], and the multinomial probability of that, [m]."""
    counts = np.array(
        [np.bincount(chosen, minlength=n) for chosen in combinations_with_replacement(range(n), n)],
        np.float64,
    )
    logs = special.gammaln(n + 1) - special.gammaln(counts + 1).sum(axis=1) - n * math.log(n)
    weights = np.exp(logs)
    return counts, weights / weights.sum()
