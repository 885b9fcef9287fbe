"""Tabulated unit responses against SciPy's matrix exponential and against the chain stepped finely."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from dosetwin.twins.models.insulin_absorption import (
    K_A,
    K_E,
    V_I,
    InsulinChain,
    advance_insulin,
    insulin_step,
)
from dosetwin.twins.models.insulin_response import exponential, polynomials, responses

STEP_MIN, STEPS, RATE_STEPS = 5.0, 48, 6


def test_exponential_is_scipys() -> None:
    rng = np.random.default_rng(1)
    matrices = rng.normal(size=(5, 6, 6)) * np.array([0.01, 0.3, 1.0, 5.0, 12.0])[:, None, None]
    for ours, matrix in zip(exponential(matrices), matrices, strict=False):
        np.testing.assert_allclose(ours, expm(matrix), rtol=1e-4, atol=1e-9 * np.abs(expm(matrix)).max())


def exact_means(t_maxI: float, start: np.ndarray, rate_min: float) -> np.ndarray:
    """[3, steps]: means of y_j over each step, by a fine grid of exact steps and Simpson's rule."""
    A = np.zeros((7, 7))
    A[0, 0] = A[1, 1] = -1.0 / t_maxI
    A[1, 0], A[2, 1], A[2, 2], A[0, 6] = 1.0 / t_maxI, 1.0 / (t_maxI * V_I), -K_E, 1.0
    for j, k_a in enumerate(K_A):
        A[3 + j, 2], A[3 + j, 3 + j] = k_a, -k_a
    fine = 10
    move = expm(A * STEP_MIN / fine)
    state, path = np.append(start, 0.0), [start[3:6]]
    for k in range(STEPS * fine):
        state[6] = 1.0 if k * STEP_MIN / fine < rate_min else 0.0
        state = move @ state
        path.append(state[3:6])
    y = np.array(path)
    weights = [1.0, *([4.0, 2.0] * (fine // 2))[:-1], 1.0]
    return np.array(
        [np.average(y[k * fine : (k + 1) * fine + 1], axis=0, weights=weights) for k in range(STEPS)]
    ).T


@pytest.mark.parametrize("t_maxI", [20.0, 21.3, 33.0, 55.0, 97.0, 140.0])
def test_tables_hold_between_their_nodes(t_maxI: float) -> None:
    table = responses(STEP_MIN, STEPS, RATE_STEPS)
    T = np.asarray(polynomials(jnp.log(jnp.float32(t_maxI))))
    for index, of in ((0, table.of_S1), (1, table.of_S2), (None, table.of_rate)):
        start = np.zeros(6)
        if index is not None:
            start[index] = 1.0
        expected = exact_means(t_maxI, start, 30.0 if index is None else 0.0)
        assert np.abs(of @ T - expected).max() < 2e-4 * np.abs(expected).max()


def test_what_does_not_depend_on_absorption_is_exact() -> None:
    table = responses(STEP_MIN, STEPS, RATE_STEPS)
    plasma = exact_means(55.0, np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), 0.0)
    np.testing.assert_allclose(table.of_I, plasma, rtol=1e-3, atol=1e-6)
    for j in range(3):
        start = np.zeros(6)
        start[3 + j] = 1.0
        np.testing.assert_allclose(table.of_y[j], exact_means(55.0, start, 0.0)[j], rtol=1e-3, atol=1e-6)


def test_plasma_insulin_is_that_of_the_stepped_chain() -> None:
    table = responses(STEP_MIN, STEPS, RATE_STEPS)
    t_maxI = jnp.array([37.0])
    T = np.asarray(polynomials(jnp.log(t_maxI)))[:, 0]
    zero = jnp.zeros(1)
    chain = InsulinChain(jnp.array([2.0]), jnp.array([3.0]), jnp.array([1.5]), zero, zero, zero)
    step = insulin_step(jnp.array([STEP_MIN]), t_maxI)
    for k in range(STEPS):
        got = 2.0 * table.plasma_of_S1[k] @ T + 3.0 * table.plasma_of_S2[k] @ T + 1.5 * table.plasma_of_I[k]
        got += 0.7 * table.plasma_of_rate[k] @ T
        assert got == pytest.approx(float(chain.I[0]), rel=2e-3, abs=2e-3)
        chain = advance_insulin(chain, jnp.array([0.7 if k < RATE_STEPS else 0.0]), step)
