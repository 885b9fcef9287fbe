"""Means, covariances and quantiles of weighted samples; samples on the first axis, weights sum to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def weighted_mean(values: Values, weight: Values) -> Values:
    """sum_s w_s v_s, [S, ...] -> [...]; a sample of weight 0 may be anything."""
    used = weight > 0
    mean: Values = np.tensordot(weight[used], values[used], axes=1)
    return mean


def weighted_covariance(values: Values, weight: Values) -> Values:
    """sum_s w_s (v_s - m)(v_s - m)', [S, d] -> [d, d]."""
    used = weight > 0
    apart = values[used] - weighted_mean(values, weight)
    covariance: Values = (apart * weight[used, None]).T @ apart
    return covariance


def weighted_quantiles(values: Values, weight: Values, probabilities: Sequence[float]) -> Values:
    """Quantiles [Q, ...] of values [S, ...].

    The weighted distribution function is joined linearly through (sum of the weights before + w/2, value),
    which for equal weights is Hazen's rule (type 5 of Hyndman & Fan 1996,
    doi:10.1080/00031305.1996.10473566).
    """
    used = weight > 0
    flat = values[used].reshape(int(used.sum()), -1)
    w = weight[used]
    found = np.empty((len(probabilities), flat.shape[1]))
    for j in range(flat.shape[1]):
        order = np.argsort(flat[:, j], kind="stable")
        steps = np.cumsum(w[order]) - 0.5 * w[order]
        found[:, j] = np.interp(probabilities, steps, flat[order, j])
    shaped: Values = found.reshape(len(probabilities), *values.shape[1:])
    return shaped


def effective_size(weight: Values) -> float:
    """1 / sum w^2."""
    return float(1 / np.sum(weight**2))
