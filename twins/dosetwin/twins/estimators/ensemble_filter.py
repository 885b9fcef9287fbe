"""One step of the ensemble filter for a batch of patients: propagate to a fact, predict it, take it in.

Deterministic square-root update of Whitaker & Hamill 2002 (no perturbed observations, so no chance in it),
one scalar reading at a time, with three additions:

- a reading more than 3 predictive standard deviations away counts as if its variance were larger, so that
  its pull is bounded (Huber), a compression artefact cannot drag the twin away and a second one in a row
  still can;
- a reading below or above the sensor's range updates by the moments of the truncated predictive normal;
- partial gain and relaxation to prior perturbations for the parameters (`ensemble_layout`).

Arrays are [row, member, patient], float32, patient contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_noise import mix, standard_normal
from dosetwin.twins.models import glucose_sensor as sensor
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_absorption import InsulinChain, advance_insulin, insulin_step
from dosetwin.twins.models.meal_absorption import MMOL_PER_G, Gut, advance_gut

HUBER = 3.0
_MINUTES_PER_DAY = 1440.0
_NOISE_ROWS = (row.FLUX, row.BIAS, *row.PARAMETER_ROWS)

Ensemble = Float[Array, "rows members patients"]
PerPatient = Float[Array, " patients"]


class Steps(NamedTuple):
    """What one round asks of each patient; all [patients].

    Propagate `h_min` minutes under `u` mU/kg/min with noise of `key`, then take in the reading (NaN: none,
    mg/dL; `censored` -1 below it, +1 above it), then a bolus (mU/kg), then a meal (g/kg, error of
    `meal_key`).
    """

    h_min: PerPatient
    u: PerPatient
    key: UInt32[Array, " patients"]
    reading: PerPatient
    censored: Int[Array, " patients"]
    bolus: PerPatient
    meal: PerPatient
    meal_key: UInt32[Array, " patients"]


def _noise(key: UInt32[Array, " patients"], rows: tuple[int, ...], members: int) -> Float[Array, "..."]:
    """[len(rows), members, patients] standard normal numbers."""
    counter = (
        jnp.asarray(rows, jnp.uint32)[:, None] * jnp.uint32(members) + jnp.arange(members, dtype=jnp.uint32)
    ) * jnp.uint32(0x9E3779B9)
    return standard_normal(mix(counter[:, :, None] ^ key))


def propagate(x: Ensemble, h: PerPatient, u: PerPatient, key: UInt32[Array, " patients"]) -> Ensemble:
    """The ensemble after `h` min (0 to 6) under a delivery of `u` mU/kg/min, with process noise."""
    noise = _noise(key, _NOISE_ROWS, x.shape[1])
    flux_keep = jnp.exp(-h / row.FLUX_TIME_MIN)
    flux = x[row.FLUX] * flux_keep + row.FLUX_SD * jnp.sqrt(1.0 - flux_keep * flux_keep) * noise[0]
    bias_keep = jnp.exp(-h / sensor.ERROR_TIME_MIN)
    bias = x[row.BIAS] * bias_keep + sensor.ERROR_SD * jnp.sqrt(1.0 - bias_keep * bias_keep) * noise[1]

    before = InsulinChain(*x[row.S1 : row.Y3 + 1])
    after = advance_insulin(before, u, insulin_step(h, jnp.exp(x[row.LN_TI])))
    gut, absorbed = advance_gut(Gut(x[row.D1], x[row.D2]), h, jnp.exp(x[row.LN_TG]))
    appearance = jnp.exp(x[row.LN_AG]) * MMOL_PER_G * absorbed / jnp.maximum(h, 1e-4)
    supply = (
        appearance
        + hovorka.production(jnp.exp(x[row.LN_EGP0]), jnp.exp(x[row.LN_SIE]) * 0.5 * (before.y3 + after.y3))
        + 0.5 * (x[row.FLUX] + flux)
    )
    glucose = hovorka.advance_glucose(
        hovorka.Glucose(x[row.Q1], x[row.Q2]),
        h,
        jnp.exp(x[row.LN_SIT]) * 0.5 * (before.y1 + after.y1),
        jnp.exp(x[row.LN_SID]) * 0.5 * (before.y2 + after.y2),
        supply,
    )
    lag = jnp.maximum(h, 1e-4) / sensor.LAG_MIN
    lag_keep = jnp.exp(-lag)
    ratio = -jnp.expm1(-lag) / lag
    interstitial = (
        lag_keep * x[row.C]
        + (ratio - lag_keep) / hovorka.V_G * x[row.Q1]
        + (1.0 - ratio) / hovorka.V_G * glucose.Q1
    )
    states = jnp.stack([*after, gut.D1, gut.D2, glucose.Q1, glucose.Q2, interstitial, flux, bias])
    drift = jnp.asarray(tuple(row.DRIFT_PER_SQRT_DAY.values()), jnp.float32)[:, None, None]
    parameters = x[row.LN_SIT :] + drift * jnp.sqrt(h / _MINUTES_PER_DAY) * noise[2:]
    moved = jnp.concatenate([states, parameters])
    return jnp.clip(moved, row.LOWER[:, None, None], row.UPPER[:, None, None])


def predicted_readings(x: Ensemble) -> Float[Array, "members patients"]:
    """What the sensor would show for each member, without white noise, mg/dL."""
    return hovorka.MG_DL_PER_MMOL_L * x[row.C] * (1.0 + x[row.BIAS])


def update(
    x: Ensemble, reading: PerPatient, censored: Int[Array, " patients"]
) -> tuple[Ensemble, PerPatient, PerPatient]:
    """The ensemble given the reading (NaN leaves it), and the mean and deviation predicted for that."""
    members = x.shape[1]
    h = predicted_readings(x)
    mean = h.mean(0)
    dh = h - mean
    spread = (dh * dh).sum(0) / (members - 1)
    white = sensor.WHITE_SD_MG_DL**2 + (sensor.WHITE_CV * mean) ** 2
    variance = spread + white
    sd = jnp.sqrt(variance)

    z = (reading - mean) / sd
    pull = jnp.maximum(1.0, jnp.abs(z) / HUBER)
    side = jnp.where(censored < 0, 1.0, -1.0)
    edge = side * z
    mills = jnp.exp(jax.scipy.stats.norm.logpdf(edge) - jax.scipy.stats.norm.logcdf(edge))
    shift = jnp.where(censored == 0, z / pull, jnp.clip(-side * mills, -HUBER, HUBER))
    certainty = jnp.where(censored == 0, 1.0 / pull, jnp.clip(mills * (mills + edge), 0.0, 1.0))

    share = spread / variance
    beta = (1.0 - jnp.sqrt(jnp.maximum(1.0 - certainty * share, 0.0))) / jnp.maximum(share, 1e-12)
    known = jnp.isfinite(reading)
    shift = jnp.where(known, shift * sd, 0.0)
    beta = jnp.where(known, beta, 0.0)

    gain = ((x - x.mean(1, keepdims=True)) * dh).sum(1) / ((members - 1) * variance) * row.GAIN[:, None]
    keep = (1.0 - row.RELAXATION)[:, None, None]
    moved = x + gain[:, None, :] * (shift - keep * (beta * dh))
    moved = jnp.clip(moved, row.LOWER[:, None, None], row.UPPER[:, None, None])
    return jnp.where(known, moved, x), mean, sd


def advance(
    ensembles: Float[Array, "patients size"], steps: Steps
) -> tuple[Float[Array, "patients size"], PerPatient, PerPatient]:
    """One round: ensembles as stored (a row a patient), and mean and standard deviation predicted (mg/dL)."""
    members = ensembles.shape[1] // row.ROWS
    x = ensembles.T.reshape(row.ROWS, members, -1)
    x = propagate(x, steps.h_min, steps.u, steps.key)
    x, mean, sd = update(x, steps.reading, steps.censored)
    error = row.MEAL_ERROR_CV * _noise(steps.meal_key, (row.D1,), members)[0] - 0.5 * row.MEAL_ERROR_CV**2
    x = x.at[row.S1].add(steps.bolus)
    x = x.at[row.D1].add(steps.meal * jnp.exp(error))
    return x.reshape(ensembles.shape[1], -1).T, mean, sd


advance_batch = jax.jit(advance)
"""`advance`, compiled once for each batch size."""
