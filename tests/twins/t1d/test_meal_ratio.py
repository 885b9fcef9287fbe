"""The carbohydrate ratio: against the kernel's own response to a little insulin and a little food."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators import ensemble_meal_ratio as meal_ratio
from dosetwin.twins.estimators.ensemble_filter import propagate
from dosetwin.twins.estimators.ensemble_prior import Settings, prior_ensemble
from dosetwin.twins.models.insulin_absorption import insulin_equilibrium

WEIGHT_KG, DAILY_U = 70.0, 40.0


def _ratios(ensemble: np.ndarray, basal_U_per_h: float, glucose_mmol_L: float = 7.2) -> np.ndarray:
    S_IT, S_ID, S_IE, EGP0, *_, A_G = np.exp(ensemble[row.LN_SIT : row.LN_AG + 1].astype(float))
    basal = basal_U_per_h * 1000.0 / 60.0 / WEIGHT_KG
    return meal_ratio.ratio_g_per_U(np.full_like(A_G, basal), glucose_mmol_L, EGP0, (S_IT, S_ID, S_IE), A_G)


def test_a_gram_for_each_ratio_of_a_unit_leaves_no_excursion() -> None:
    """The integral of what 0.2 U lowers over 30 h is that of what 0.2 U x ratio raises, in the kernel."""
    basal_U_per_h = 0.9
    u = basal_U_per_h * 1000.0 / 60.0 / WEIGHT_KG
    x = np.zeros((row.ROWS, 1, 3), np.float32)
    prior = prior_ensemble(np.random.default_rng(3), WEIGHT_KG, DAILY_U)
    x[row.LN_SIT : row.LN_KA + 1] = np.median(prior, axis=1)[row.LN_SIT : row.LN_KA + 1, None, None]
    x[row.LN_EGP0] = np.log(0.016)
    chain = insulin_equilibrium(jnp.float32(u), jnp.float32(np.exp(x[row.LN_TI, 0, 0])))
    x[row.S1 : row.Y3 + 1] = np.asarray(chain)[:, None, None]
    x[row.Q1], x[row.Q2], x[row.C], x[row.SITE] = 7.2 * 0.16, 1.0, 7.2, 1.0

    def step(x: jnp.ndarray) -> jnp.ndarray:
        moved = propagate(x, jnp.full(3, 5.0), jnp.full(3, u), jnp.zeros(3, jnp.uint32))
        for r in (row.FLUX, row.BIAS):
            moved = moved.at[r].set(0.0)
        return moved.at[row.LN_SIT :].set(x[row.LN_SIT :])

    at = jnp.asarray(x)
    for _ in range(400):
        at = step(at)
    ratio = _ratios(np.asarray(at)[:, :, 0], basal_U_per_h, float(at[row.Q1, 0, 0]) / 0.16)[0]
    given_U = 0.2
    at = at.at[row.S1, :, 1].add(given_U * 1000.0 / WEIGHT_KG)
    at = at.at[row.D1, :, 2].add(given_U * ratio / WEIGHT_KG)
    area = np.zeros(3)
    for _ in range(360):
        at = step(at)
        area += np.asarray(at[row.Q1, 0])
    lowered, raised = area[0] - area[1], area[2] - area[0]
    assert lowered > 1.0
    assert raised == pytest.approx(lowered, rel=0.05)


@pytest.mark.parametrize("told", [0.0, 6.0, 20.0])
def test_members_agree_with_what_is_known_of_the_ratio(told: float) -> None:
    known = Settings(WEIGHT_KG, DAILY_U, carbohydrate_ratio_g_per_U=told)
    ensemble = prior_ensemble(np.random.default_rng(1), WEIGHT_KG, DAILY_U, 512, settings=known)
    logs = np.log(_ratios(ensemble, known.basal_U_per_h))
    expected = meal_ratio.known_ratio(WEIGHT_KG, DAILY_U, told)
    assert np.median(logs) == pytest.approx(np.log(expected.g_per_U), abs=0.15)
    assert logs.std() < expected.log_sd + 0.15


def test_a_linear_observation_is_taken_as_kalman_would() -> None:
    rng = np.random.default_rng(0)
    z, g, sd = rng.standard_normal((5, 200_000)), np.array([0.8, -0.5, 0.0]), 0.3
    rows = (0, 2, 3)

    def log_ratio(draws: np.ndarray) -> np.ndarray:
        return np.asarray(1.0 + g @ draws[list(rows)])

    made = meal_ratio.conditioned(z, rows, log_ratio, meal_ratio.Ratio(float(np.exp(2.0)), sd))
    gain = g / (g @ g + sd**2)
    np.testing.assert_allclose(made[list(rows)].mean(1), gain, atol=0.01)
    np.testing.assert_allclose(np.cov(made[list(rows)]), np.eye(3) - np.outer(gain, g), atol=0.01)
    np.testing.assert_array_equal(made[[1, 4]], z[[1, 4]])
