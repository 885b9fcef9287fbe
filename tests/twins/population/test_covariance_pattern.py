"""Free elements of covariance matrices."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from dosetwin.twins.inference.covariance_pattern import CovariancePattern
from dosetwin.twins.precision import double_precision

RANDOM = np.random.default_rng(3)
BAND = CovariancePattern(("a", "b", "c"), (False, False, False), ((1, 0), (2, 1)))


def covariance(pattern: CovariancePattern) -> np.ndarray:
    """Some matrix of the pattern: weak correlations, so that it is positive definite."""
    K = len(pattern.names)
    correlation = np.eye(K)
    for i, j in pattern.pairs:
        correlation[i, j] = correlation[j, i] = RANDOM.uniform(-0.4, 0.4)
    sd = RANDOM.uniform(0.2, 0.6, K)
    return correlation * np.outer(sd, sd)


@pytest.mark.parametrize(
    "pattern",
    [
        CovariancePattern(("a", "b"), (False, False), ()),
        CovariancePattern(("a", "b", "c"), (False,) * 3, ((1, 0), (2, 0), (2, 1))),
        BAND,
        CovariancePattern(("a", "b", "c", "d"), (False,) * 4, ((2, 0), (3, 1))),
        CovariancePattern(("a", "b", "c"), (False, True, True), ((1, 0), (2, 1))),
        CovariancePattern(("a", "b", "c"), (True,) * 3, ((1, 0),)),
    ],
)
def test_a_matrix_comes_back_and_keeps_what_is_not_free(pattern: CovariancePattern) -> None:
    start = covariance(pattern)
    with double_precision():
        x = pattern.vector(start)
        assert len(x) == pattern.size
        np.testing.assert_allclose(
            np.asarray(jax.jit(pattern.covariance)(x, start)), start, rtol=1e-12, atol=1e-15
        )
        moved = np.asarray(jax.jit(pattern.covariance)(x + RANDOM.normal(0, 0.7, len(x)), start))
    assert np.linalg.eigvalsh(moved).min() > 0
    K = len(pattern.names)
    for i in range(K):
        for j in range(i):
            if (i, j) not in pattern.pairs:
                assert moved[i, j] == 0
            elif pattern.fixed[i] and pattern.fixed[j]:
                assert moved[i, j] == pytest.approx(start[i, j], rel=1e-12)
        assert moved[i, i] == pytest.approx(start[i, i]) or not pattern.fixed[i]


def test_a_complete_block_takes_its_moments() -> None:
    pattern = CovariancePattern(("a", "b", "c"), (False,) * 3, ((1, 0),))
    moment = np.cov(RANDOM.normal(size=(3, 50)))
    found = pattern.nearest(moment, np.eye(3))
    np.testing.assert_allclose(found[:2, :2], moment[:2, :2])
    assert found[2, 2] == moment[2, 2]
    assert found[2, 0] == found[2, 1] == 0


def test_a_banded_pattern_takes_the_likeliest_matrix() -> None:
    """Against a direct search over its five elements."""
    moment = np.cov(
        RANDOM.multivariate_normal(np.zeros(3), [[1, 0.5, 0.1], [0.5, 1, 0.4], [0.1, 0.4, 1]], 80).T
    )

    def full(v: np.ndarray) -> np.ndarray:
        return np.array([[v[0], v[3], 0], [v[3], v[1], v[4]], [0, v[4], v[2]]])

    def deviance(matrix: np.ndarray) -> float:
        if np.linalg.eigvalsh(matrix).min() <= 0:
            return 1e9
        return float(np.linalg.slogdet(matrix)[1] + np.trace(np.linalg.solve(matrix, moment)))

    def away(v: np.ndarray) -> float:
        return deviance(full(v))

    options: Any = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 8000, "maxfev": 8000}
    best = minimize(
        away,
        np.array([1.0, 1.0, 1.0, 0.1, 0.1]),
        method="Nelder-Mead",
        options=options,
    )
    found = BAND.nearest(moment, np.eye(3))
    np.testing.assert_allclose(found, full(best.x), atol=1e-4)
    assert deviance(found) <= best.fun + 1e-8
