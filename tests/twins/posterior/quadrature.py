"""The slow truth in two dimensions: a posterior on a grid, with densities from SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

Values = npt.NDArray[np.float64]


class Truth(NamedTuple):
    mean: Values
    covariance: Values
    log_evidence: float
    z: Values
    weight: Values


def grid_posterior(
    log_likelihood: Callable[[Values], Values], dimensions: int, points: int = 401, reach: float = 7.0
) -> Truth:
    """Posterior of standard normal z [P, d] by the trapezoidal rule on a box."""
    line = np.linspace(-reach, reach, points)
    z = np.stack(np.meshgrid(*[line] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    log_prior = -0.5 * (z**2).sum(axis=1) - 0.5 * dimensions * np.log(2 * np.pi)
    log_joint = log_likelihood(z) + log_prior
    total = float(logsumexp(log_joint))
    weight = np.exp(log_joint - total)
    mean = weight @ z
    apart = z - mean
    evidence = total + dimensions * float(np.log(line[1] - line[0]))
    return Truth(mean, (apart * weight[:, None]).T @ apart, evidence, z, weight)
