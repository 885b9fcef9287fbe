"""Bootstrap particle filter of the dense-sensor model: the slow truth for the ensemble filter.

Same prior, same propagation and process noise, same sensor model; but weights in place of a linear update, so
with enough particles it goes to the exact posterior (Gordon, Salmond & Smith 1993,
doi:10.1049/ip-f-2.1993.0015).

    w_i <- w_i N(reading; h(x_i), 2^2 + (0.02 h(x_i))^2);   systematic resampling where 1 / sum w^2 < N / 2

Not for use on a stream: a twin would take some 10,000 particles.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from dosetwin.twins.estimators.ensemble_filter import Ensemble, PerPatient, predicted_readings, propagate
from dosetwin.twins.models import glucose_sensor as sensor


class Particles(NamedTuple):
    """States and log-weights (normalised) of every patient's particles."""

    x: Ensemble
    log_weight: Float[Array, "members patients"]

    @property
    def effective(self) -> PerPatient:
        """Effective number of particles, 1 / sum w^2."""
        return 1.0 / jnp.exp(2.0 * self.log_weight).sum(0)

    def mean(self, values: Float[Array, "members patients"]) -> PerPatient:
        """Weighted mean of something a particle has."""
        return (jnp.exp(self.log_weight) * values).sum(0)

    def sd(self, values: Float[Array, "members patients"]) -> PerPatient:
        """Weighted standard deviation."""
        return jnp.sqrt(jnp.maximum(self.mean(values**2) - self.mean(values) ** 2, 0.0))

    def below(self, values: Float[Array, "members patients"], bounds: PerPatient) -> PerPatient:
        """Weight of the particles whose value lies below `bounds`."""
        return (jnp.exp(self.log_weight) * (values < bounds)).sum(0)


def weighed_equally(x: Ensemble) -> Particles:
    """Particles of a prior."""
    return Particles(x, jnp.full(x.shape[1:], -jnp.log(float(x.shape[1]))))


def particle_step(
    particles: Particles,
    h_min: PerPatient,
    u: PerPatient,
    reading: PerPatient,
    key: UInt32[Array, " patients"],
    offset: PerPatient,
) -> Particles:
    """Propagate `h_min` min under `u` mU/kg/min, then weigh by the reading (mg/dL).

    `key` makes the process noise, `offset` in [0, 1) the resampling.
    """
    x, log_weight = jax.lax.cond(
        (particles.effective < 0.5 * particles.x.shape[1]).any(), _resampled, _as_they_are, particles, offset
    )
    x = propagate(x, h_min, u, key)
    shown = predicted_readings(x)
    variance = sensor.WHITE_SD_MG_DL**2 + (sensor.WHITE_CV * shown) ** 2
    log_weight = log_weight - 0.5 * ((reading - shown) ** 2 / variance + jnp.log(variance))
    return Particles(x, log_weight - jax.scipy.special.logsumexp(log_weight, axis=0))


def _resampled(particles: Particles, offset: PerPatient) -> tuple[Ensemble, Array]:
    size = particles.x.shape[1]
    index = jax.vmap(_systematic, in_axes=(1, 0), out_axes=1)(jnp.exp(particles.log_weight), offset)
    return jnp.take_along_axis(particles.x, index[None], axis=1), jnp.full_like(
        particles.log_weight, -jnp.log(float(size))
    )


def _systematic(weight: Float[Array, " members"], offset: Float[Array, ""]) -> Int[Array, " members"]:
    size = weight.shape[0]
    place = (jnp.arange(size) + offset) / size
    return jnp.minimum(jnp.searchsorted(jnp.cumsum(weight), place), size - 1)


def _as_they_are(particles: Particles, offset: PerPatient) -> tuple[Ensemble, Array]:
    return particles.x, particles.log_weight
