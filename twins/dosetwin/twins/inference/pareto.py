"""How far importance weights can be trusted: Pareto's k-hat, and weights smoothed by it.

The largest weights are fitted by a generalised Pareto distribution with shape k. Below 0.5 their variance is
finite; up to about 0.7 estimates from them still converge at a practical rate; above, they do not.
The M largest of S ratios make the tail, M = min(S/5, 3 sqrt(S)); then they are replaced by the expected order
statistics of the fitted distribution, capped at the largest that was drawn.

Sources: Vehtari, Simpson, Gelman, Yao & Gabry 2024, J Mach Learn Res 25(72), arXiv 1507.02646; the fit is
Zhang & Stephens 2009, Technometrics 51:316, doi:10.1198/tech.2009.08017, with Vehtari's weak prior on k.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
FEWEST = 5
"""A tail of fewer ratios says nothing of its shape."""
WORST = 0.7


class Smoothed(NamedTuple):
    """k-hat and normalised log weights [S]; k-hat -inf: a tail without spread; inf: one too short."""

    k_hat: float
    log_weight: Values


def smoothed(log_ratio: Values) -> Smoothed:
    """k-hat of log importance ratios [S] (not normalised, -inf allowed), and their smoothed log weights."""
    S = len(log_ratio)
    log_weight = log_ratio - np.max(log_ratio)
    M = math.ceil(min(S / 5, 3 * math.sqrt(S)))
    if M < FEWEST or S <= M or not np.isfinite(log_weight).any():
        return Smoothed(math.inf, _normalised(log_weight))
    order = np.argsort(log_weight, kind="stable")
    tail = order[S - M :]
    # the smallest normal number: a threshold of exactly 0 would leave nothing to exceed on the log scale
    cutoff = max(float(log_weight[order[S - M - 1]]), math.log(np.finfo(np.float64).tiny))
    exceeding = np.exp(log_weight[tail]) - math.exp(cutoff)
    if exceeding[-1] <= 0 or exceeding[-1] - exceeding[0] < 1e-12:
        return Smoothed(-math.inf, _normalised(log_weight))
    k, sigma = pareto_fit(np.maximum(exceeding, 0.0))
    share = (np.arange(M) + 0.5) / M
    expected = _pareto_quantile(share, k, sigma)
    new = log_weight.copy()
    new[tail] = np.minimum(np.log(expected + math.exp(cutoff)), 0.0)
    return Smoothed(k, _normalised(new))


def largest_trusted(samples: int) -> float:
    """k-hat up to which `samples` draws are enough: min(1 - 1/log10 S, 0.7)."""
    return min(1 - 1 / math.log10(max(samples, 11)), WORST)


def pareto_fit(x: Values) -> tuple[float, float]:
    """Shape k and scale sigma of exceedances x [M], ascending, >= 0.

    The density is (1/sigma) (1 + k x/sigma)^(-1/k - 1). Quadrature over the profile likelihood of
    b = -k/sigma, then k drawn towards 0.5 with the weight of ten observations.
    """
    M = len(x)
    points = 30 + int(math.sqrt(M))
    quartile = max(float(x[max(int(M / 4 + 0.5) - 1, 0)]), 1e-12 * float(x[-1]))
    b = 1 / x[-1] + (1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))) / (3 * quartile)
    shape = np.log1p(-b[:, None] * x[None, :]).mean(axis=1)
    profile = M * (np.log(-b / shape) - shape - 1)
    weight = np.exp(profile - profile.max())
    b_mean = float((weight * b).sum() / weight.sum())
    k = float(np.log1p(-b_mean * x).mean())
    sigma = -k / b_mean
    return (M * k + 10 * 0.5) / (M + 10), sigma


def _pareto_quantile(share: Values, k: float, sigma: float) -> Values:
    if abs(k) < 1e-12:
        return -sigma * np.log1p(-share)
    found: Values = sigma * np.expm1(-k * np.log1p(-share)) / k
    return found


def _normalised(log_weight: Values) -> Values:
    largest = np.max(log_weight)
    if not math.isfinite(largest):
        return np.full_like(log_weight, -math.log(len(log_weight)))
    found: Values = log_weight - largest - math.log(np.exp(log_weight - largest).sum())
    return found
