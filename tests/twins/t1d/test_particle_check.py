"""The ensemble filter's posterior beside that of a bootstrap particle filter: same model, same readings."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_filter import propagate, update
from dosetwin.twins.estimators.ensemble_prior import basal_U_per_h, prior_ensemble
from dosetwin.twins.estimators.ensemble_simulated_patients import PriorPatients
from dosetwin.twins.estimators.particle_filter import Particles, particle_step, weighed_equally
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G

STEPS = 18
_MG_DL = MG_DL_PER_MMOL_L / V_G


@partial(jax.jit, donate_argnums=0)
def exact(
    particles: Particles, h: jax.Array, u: jax.Array, reading: jax.Array, key: jax.Array, offset: jax.Array
) -> Particles:
    return particle_step(particles, h, u, reading, key, offset)


@jax.jit
def filtered(x: jax.Array, h: jax.Array, u: jax.Array, reading: jax.Array, key: jax.Array) -> jax.Array:
    return update(propagate(x, h, u, key), reading, jnp.zeros(len(reading), jnp.int32))[0]


def posteriors(patients: int, particles: int, replicates: int) -> tuple[Particles, np.ndarray]:
    """After 90 min of readings with a meal: the particles, and `replicates` ensembles of every patient,
    float[replicates, rows, members, patients]."""
    rng = np.random.default_rng(8)
    people = PriorPatients(patients, seed=4)
    basal = basal_U_per_h(1.0) * people.total_daily_dose_U
    u = jnp.asarray(basal * 1000.0 / 60.0 / people.weight_kg, jnp.float32)
    who = list(zip(people.weight_kg, people.total_daily_dose_U, strict=True))
    prior = np.stack([prior_ensemble(rng, *one, particles) for one in who], 2)
    cloud = weighed_equally(jnp.asarray(prior))
    small = [np.stack([prior_ensemble(rng, *one) for one in who], 2) for _ in range(replicates)]
    x = jnp.asarray(np.concatenate(small, 2))
    h, h_all = jnp.full(patients, 5.0), jnp.full(patients * replicates, 5.0)
    for k in range(STEPS):
        people.live(basal, rng)
        reading = jnp.asarray(people.reading_mg_dL(rng), jnp.float32)
        keys = rng.integers(0, 2**32, (2, patients * replicates), dtype=np.uint32)
        cloud = exact(
            cloud, h, u, reading, keys[0, :patients], jnp.asarray(rng.random(patients), jnp.float32)
        )
        x = filtered(x, h_all, jnp.tile(u, replicates), jnp.tile(reading, replicates), keys[1])
        if k == 5:
            grams = rng.uniform(30.0, 60.0, patients)
            people.eat(grams)
            eaten = jnp.asarray(grams / people.weight_kg, jnp.float32)
            error = jnp.asarray(rng.normal(size=cloud.x.shape[1:]) * 0.2 - 0.02, jnp.float32)
            cloud = cloud._replace(x=cloud.x.at[row.D1].add(eaten * jnp.exp(error)))
            error = jnp.asarray(rng.normal(size=x.shape[1:]) * 0.2 - 0.02, jnp.float32)
            x = x.at[row.D1].add(jnp.tile(eaten, replicates) * jnp.exp(error))
    assert float(cloud.effective.min()) > 50.0, "too few particles are left for a truth"
    return cloud, np.asarray(x).reshape(row.ROWS, row.MEMBERS, replicates, patients).transpose(2, 0, 1, 3)


def compared(patients: int, particles: int, replicates: int) -> dict[str, tuple[float, float, float]]:
    """For each quantity: root mean square error of the ensemble's mean in particle standard deviations, its
    ratio of standard deviations, and the share of the exact posterior in its central 90 % interval."""
    cloud, small = posteriors(patients, particles, replicates)
    found = {}
    for name, r, scale in (
        ("glucose", row.Q1, _MG_DL),
        ("second compartment", row.Q2, 1.0),
        ("flux", row.FLUX, 1.0),
        ("sensor bias", row.BIAS, 1.0),
        ("ln S_IE", row.LN_SIE, 1.0),
    ):
        truth = cloud.x[r] * scale
        mean, sd = np.asarray(cloud.mean(truth)), np.asarray(cloud.sd(truth))
        values = small[:, r] * scale
        error = (values.mean(1) - mean) / sd
        ratio = values.std(1, ddof=1) / sd
        low, high = np.quantile(values, (0.05, 0.95), axis=1, method="weibull")
        held = [
            np.asarray(cloud.below(truth, jnp.asarray(b)) - cloud.below(truth, jnp.asarray(a)))
            for a, b in zip(low, high, strict=True)
        ]
        found[name] = (
            float(np.sqrt((error**2).mean())),
            float(np.exp(np.log(ratio).mean())),
            float(np.mean(held)),
        )
    return found


def judge(found: dict[str, tuple[float, float, float]]) -> None:
    for name in ("glucose", "second compartment", "flux", "sensor bias"):
        error, ratio, held = found[name]
        assert error < 0.8, name  # a mean of 32 draws alone is 0.18 off
        assert 0.8 < ratio < 1.3, name
        assert 0.8 < held < 0.96, name
    error, ratio, held = found["ln S_IE"]
    # parameters take a fifth of the gain on purpose: too wide, not too narrow
    assert error < 0.8
    assert 0.9 < ratio < 1.5
    assert held > 0.8


def test_posterior_is_that_of_many_particles() -> None:
    judge(compared(patients=6, particles=20_000, replicates=4))


@pytest.mark.slow
def test_posterior_is_that_of_very_many_particles() -> None:
    judge(compared(patients=16, particles=100_000, replicates=8))
