"""The sensor's persisting error: the published distribution, its memory, and what it is worth at night."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import johnsonsu, kstest

from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.models import glucose_sensor as sensor

from .conftest import START_S, Make

PUBLISHED = johnsonsu(a=-0.5444, b=1.6898, loc=-5.471, scale=15.9574)
"""Breton & Kovatchev 2008, mg/dL."""
RISES_MG_DL = (105, 112, 122, 139, 159, 169, 162, 147, 135, 135)
"""What a plant's sensor showed in a night in which glucose went from 111 to 121 mg/dL."""


def test_the_error_has_the_published_distribution_and_its_memory_keeps_it() -> None:
    assert PUBLISHED.std() == pytest.approx(sensor.JOHNSON_SD_MG_DL, abs=0.005)
    rng = np.random.default_rng(5)
    b = sensor.persisting_error(jnp.asarray(rng.normal(size=4000)))
    keep = jnp.exp(-5.0 / sensor.ERROR_TIME_MIN)
    for _ in range(60):
        b = sensor.error_after(b, keep, jnp.asarray(rng.normal(size=4000)))
    assert kstest(np.asarray(b) * sensor.JOHNSON_SD_MG_DL, PUBLISHED.cdf).pvalue > 0.01
    assert kstest(np.asarray(b), "norm").pvalue < 1e-6


def test_without_noise_two_waits_are_one_and_differences_fade_as_the_derivative_says() -> None:
    b = jnp.linspace(-2.5, 5.0, 40)
    keep = jnp.float32(0.8)
    twice = sensor.error_after(sensor.error_after(b, keep, 0.0), keep, 0.0)
    np.testing.assert_allclose(twice, sensor.error_after(b, keep * keep, 0.0), rtol=1e-4, atol=1e-5)
    slope = jax.vmap(jax.grad(lambda v: sensor.error_after(v, keep, 0.0)))(b)
    np.testing.assert_allclose(sensor.error_kept(b, keep), slope, rtol=1e-4)


def test_a_sensor_that_wanders_at_night_is_not_surely_a_meal(event: Make) -> None:
    """With a normal error of the same deviation the twin was certain (0.99), and 9 U were given."""
    bank = EnsembleBank(1, seed=11)
    midnight_s = START_S - START_S % 86_400.0
    begins_min = (midnight_s - START_S) / 60.0
    bank.enrol("anna", at_s=midnight_s, covariates={"weight": 83.8, "total_daily_dose": 42.6}, targets={})
    believed = []
    for k, reading in enumerate([*np.linspace(106.0, 100.0, 24), *RISES_MG_DL]):
        at_min = begins_min + 5.0 * k
        bank.assimilate([("anna", event("observation", float(reading), at_min))])
        made = bank.decide(["anna"], [START_S + 60.0 * at_min])
        believed.append(float(made.evidence["probability_meal"][0]))
    assert max(believed) < 0.95
    assert believed[-1] < 0.1
