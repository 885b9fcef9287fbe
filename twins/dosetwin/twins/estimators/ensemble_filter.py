"""One step of the ensemble filter for a batch of patients: propagate to a fact, predict it, take it in.

Deterministic square-root update of Whitaker & Hamill 2002 (no perturbed observations, so no chance in it),
one scalar reading at a time, with four additions:

- a reading more than 3 predictive standard deviations away counts as if its variance were larger, so that
  its pull is bounded (Huber), a compression artefact cannot drag the twin away and a second one in a row
  still can;
- a reading below or above the sensor's range updates by the moments of the truncated predictive normal;
- partial gain and relaxation to prior perturbations for the parameters (`ensemble_layout`);
- hypotheses about inputs nobody announced run beside the ensemble (`ensemble_hypotheses`); the likelier one
  is, the less the parameters learn from what it may explain.

Arrays are [row, member, patient], float32, patient contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from dosetwin.twins.estimators import ensemble_hypotheses as hypotheses
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

    Propagate `h_min` minutes under `u` mU/kg/min to `minute` of the day with noise of `key`, then take in the
    reading (NaN: none, mg/dL; `censored` -1 below it, +1 above it), then a bolus (mU/kg), a meal (g/kg, error
    of `meal_key`), exercise (intensity) and a fresh infusion site (1 or 0). `meal_mean`: of a meal nobody
    announces, g/kg.
    """

    h_min: PerPatient
    u: PerPatient
    minute: PerPatient
    key: UInt32[Array, " patients"]
    reading: PerPatient
    censored: Int[Array, " patients"]
    bolus: PerPatient
    meal: PerPatient
    meal_key: UInt32[Array, " patients"]
    exercise: PerPatient
    fresh_site: PerPatient
    meal_mean: PerPatient


class Gain(NamedTuple):
    """What an update did: innovation (mg/dL), its variance, how much less it counted, and the mean's gain."""

    innovation: PerPatient
    variance: PerPatient
    pull: PerPatient
    gain: Float[Array, "rows patients"]


def _noise(key: UInt32[Array, " patients"], rows: tuple[int, ...], members: int) -> Float[Array, "..."]:
    """[len(rows), members, patients] standard normal numbers."""
    counter = (
        jnp.asarray(rows, jnp.uint32)[:, None] * jnp.uint32(members) + jnp.arange(members, dtype=jnp.uint32)
    ) * jnp.uint32(0x9E3779B9)
    return standard_normal(mix(counter[:, :, None] ^ key))


def day_factor(x: Ensemble, minute: PerPatient | float) -> Float[Array, "members patients"]:
    """What the time of day multiplies the sensitivities by: exp of two harmonics."""
    angle = jnp.asarray(minute) * np.float32(2.0 * np.pi / _MINUTES_PER_DAY)
    logarithm = (
        x[row.DAY_C1] * jnp.cos(angle)
        + x[row.DAY_S1] * jnp.sin(angle)
        + x[row.DAY_C2] * jnp.cos(2.0 * angle)
        + x[row.DAY_S2] * jnp.sin(2.0 * angle)
    )
    return jnp.exp(logarithm)


def propagate(
    x: Ensemble,
    h: PerPatient,
    u: PerPatient,
    key: UInt32[Array, " patients"],
    minute: PerPatient | float = 0.0,
) -> Ensemble:
    """The ensemble after `h` min (0 to 6) under a delivery of `u` mU/kg/min, with process noise."""
    noise = _noise(key, _NOISE_ROWS, x.shape[1])
    flux_keep = jnp.exp(-h / row.FLUX_TIME_MIN)
    flux = x[row.FLUX] * flux_keep + row.FLUX_SD * jnp.sqrt(1.0 - flux_keep * flux_keep) * noise[0]
    bias = sensor.error_after(x[row.BIAS], jnp.exp(-h / sensor.ERROR_TIME_MIN), noise[1])

    before = InsulinChain(*x[row.S1 : row.Y3 + 1])
    after = advance_insulin(
        before, u * x[row.SITE], insulin_step(h, jnp.exp(x[row.LN_TI]), jnp.exp(x[row.LN_KA]))
    )
    waiting = x[row.D0] * jnp.exp(-h / row.EATING_MIN)
    begun = Gut(x[row.D1] + (x[row.D0] - waiting), x[row.D2])
    gut, absorbed = advance_gut(begun, h, jnp.exp(x[row.LN_TG]))
    appearance = jnp.exp(x[row.LN_AG]) * MMOL_PER_G * absorbed / jnp.maximum(h, 1e-4)
    day = day_factor(x, minute)
    supply = (
        appearance
        + hovorka.production(
            jnp.exp(x[row.LN_EGP0]), jnp.exp(x[row.LN_SIE]) * day * (0.5 * (before.y3 + after.y3))
        )
        + 0.5 * (x[row.FLUX] + flux)
    )
    glucose = hovorka.advance_glucose(
        hovorka.Glucose(x[row.Q1], x[row.Q2]),
        h,
        jnp.exp(x[row.LN_SIT]) * day * (0.5 * (before.y1 + after.y1)),
        jnp.exp(x[row.LN_SID]) * day * (0.5 * (before.y2 + after.y2)),
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
    states = jnp.stack(
        [
            *after,
            gut.D1,
            gut.D2,
            glucose.Q1,
            glucose.Q2,
            interstitial,
            flux,
            bias,
            x[row.SITE],
            waiting,
        ]
    )
    drift = jnp.asarray(tuple(row.DRIFT_PER_SQRT_DAY.values()), jnp.float32)[:, None, None]
    parameters = x[row.LN_SIT :] + drift * jnp.sqrt(h / _MINUTES_PER_DAY) * noise[2:]
    moved = jnp.concatenate([states, parameters])
    return jnp.clip(moved, row.LOWER[:, None, None], row.UPPER[:, None, None])


def sensed(C_mmol_L: Array, bias: Array) -> Array:
    """What the sensor shows, without white noise, mg/dL."""
    clean = hovorka.MG_DL_PER_MMOL_L * C_mmol_L
    return clean + bias * (sensor.ERROR_SD_MG_DL + sensor.ERROR_CV * clean)


def predicted_readings(x: Ensemble) -> Float[Array, "members patients"]:
    """What the sensor would show for each member, without white noise, mg/dL."""
    return sensed(x[row.C], x[row.BIAS])


def update(
    x: Ensemble, reading: PerPatient, censored: Int[Array, " patients"]
) -> tuple[Ensemble, PerPatient, PerPatient]:
    """The ensemble given the reading (NaN leaves it), and the mean and deviation predicted for that."""
    x, mean, sd, _ = update_with_gain(x, reading, censored, 1.0)
    return x, mean, sd


def update_with_gain(
    x: Ensemble, reading: PerPatient, censored: Int[Array, " patients"], learning: PerPatient | float
) -> tuple[Ensemble, PerPatient, PerPatient, Gain]:
    """`update`; parameters take the share `learning` of their gain."""
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

    fixed = np.ones(row.ROWS, np.float32)
    fixed[row.LN_SIT :] = 0.0
    taken = row.GAIN[:, None] * (fixed[:, None] + (1.0 - fixed)[:, None] * learning)
    gain = ((x - x.mean(1, keepdims=True)) * dh).sum(1) / ((members - 1) * variance) * taken
    keep = (1.0 - row.RELAXATION)[:, None, None]
    moved = x + gain[:, None, :] * (shift - keep * (beta * dh))
    moved = jnp.clip(moved, row.LOWER[:, None, None], row.UPPER[:, None, None])
    return (
        jnp.where(known, moved, x),
        mean,
        sd,
        Gain(jnp.where(known, reading - mean, 0.0), variance, pull, gain),
    )


def linearised(before: Ensemble, after: Ensemble, minute: PerPatient) -> hypotheses.Mean:
    """The members' mean over a step."""
    day = day_factor(after, minute)

    def over(r: int) -> PerPatient:
        return 0.5 * (before[r].mean(0) + after[r].mean(0))

    return hypotheses.Mean(
        t_maxI=jnp.exp(after[row.LN_TI].mean(0)),
        quickness=jnp.exp(after[row.LN_KA].mean(0)),
        t_maxG=jnp.exp(after[row.LN_TG].mean(0)),
        A_G=jnp.exp(after[row.LN_AG].mean(0)),
        S=tuple((jnp.exp(after[r]) * day).mean(0) for r in (row.LN_SIT, row.LN_SID, row.LN_SIE)),  # type: ignore[arg-type]
        EGP0=jnp.exp(after[row.LN_EGP0].mean(0)),
        y=(over(row.Y1), over(row.Y2), over(row.Y3)),
        Q1=over(row.Q1),
        Q2=over(row.Q2),
        C=after[row.C].mean(0),
        bias_before=before[row.BIAS].mean(0),
        BIAS=after[row.BIAS].mean(0),
    )


def advance(
    stored: Float[Array, "patients size"], steps: Steps
) -> tuple[Float[Array, "patients size"], PerPatient, PerPatient]:
    """One round: twins as stored (a row a patient), and mean and standard deviation predicted (mg/dL)."""
    members = row.members_of(stored.shape[1])
    numbers = stored.T
    before = numbers[: row.ROWS * members].reshape(row.ROWS, members, -1)
    h = hypotheses.unpack(numbers[row.ROWS * members :])

    x = propagate(before, steps.h_min, steps.u, steps.key, steps.minute)
    along = linearised(before, x, steps.minute)
    h = h._replace(e=hypotheses.moved(h.e, along, steps.h_min, steps.u))
    g = hypotheses.seen(h.e, along)
    first = hypotheses.single(h, steps.meal_mean, steps.minute)
    learning = jnp.maximum(1.0 - 2.0 * first.probability.sum(0), 0.0)
    x, mean, sd, what = update_with_gain(x, steps.reading, steps.censored, learning)
    counts = jnp.isfinite(steps.reading) & (steps.censored == 0)
    h = hypotheses.taken_in(
        h, g, what.innovation, what.variance, what.gain, what.pull, counts, steps.meal_mean
    )
    # the reading as it is expected when what may have happened is counted in
    likely = first.probability * g
    shift = (likely * first.expected).sum(0)
    # a size's deviation is no more than that of a normal, nor than that of an exponential
    deviation = jnp.minimum(first.sd, first.expected)
    spread = (likely * g * (first.expected**2 + deviation**2)).sum(0) - shift**2
    mean, sd = mean + shift, jnp.sqrt(sd * sd + jnp.maximum(spread, 0.0))

    error = row.MEAL_ERROR_CV * _noise(steps.meal_key, (row.D1,), members)[0] - 0.5 * row.MEAL_ERROR_CV**2
    meal = steps.meal * jnp.exp(error)
    waits = jnp.minimum(1.5 * hypotheses.uniforms(steps.meal_key, members, 7), 1.0)
    effort = 0.5 + hypotheses.uniforms(steps.key, members, 9)
    x = x.at[row.S1].add(steps.bolus * x[row.SITE])
    x = x.at[row.D0].add(meal * waits)
    x = x.at[row.D1].add(meal * (1.0 - waits))
    x = x.at[row.FLUX].add(-row.EXERCISE_FLUX * steps.exercise * effort)
    x = x.at[row.SITE].set(jnp.where(steps.fresh_site > 0.0, 1.0, x[row.SITE]))
    failed = h.e[:, row.SITE]
    e = h.e.at[:, row.S1].add(steps.bolus * failed)
    announced = h.announced * jnp.exp(-steps.h_min / _MINUTES_PER_DAY) + jnp.where(steps.meal > 0.0, 1.0, 0.0)
    e = e.at[:, row.SITE].set(jnp.where(steps.fresh_site > 0.0, 0.0, failed))
    h = h._replace(e=e, announced=announced)
    x, h = _next_cells(x, h, steps)
    return jnp.concatenate([x.reshape(row.ROWS * members, -1), hypotheses.pack(h)]).T, mean, sd


def _next_cells(
    x: Ensemble, h: hypotheses.Hypotheses, steps: Steps
) -> tuple[Ensemble, hypotheses.Hypotheses]:
    """Where the step crossed a family's grid line: its oldest cell committed, the others moved on."""
    widths = np.array([family.width_min for family in row.FAMILIES], np.float32)[:, None]
    crossing = jnp.floor(steps.minute / widths) != jnp.floor((steps.minute - steps.h_min) / widths)

    def turn(both: tuple[Ensemble, hypotheses.Hypotheses]) -> tuple[Ensemble, hypotheses.Hypotheses]:
        x, h = hypotheses.committed(*both, crossing, steps.key, steps.meal_mean, steps.minute)
        return x, hypotheses.shifted(h, crossing)

    made: tuple[Ensemble, hypotheses.Hypotheses] = jax.lax.cond(
        crossing.any(), turn, lambda both: both, (x, h)
    )
    return made


advance_batch = jax.jit(advance)
"""`advance`, compiled once for each batch size."""


def read_out(
    stored: Float[Array, "patients size"],
    key: UInt32[Array, " patients"],
    meal_mean: PerPatient,
    minute: PerPatient,
) -> tuple[Float[Array, "patients size"], Float[Array, "families patients"], PerPatient]:
    """Twins with what may have happened drawn into their members.

    And the probability of each family, and the expected unannounced meal (g/kg).
    """
    members = row.members_of(stored.shape[1])
    numbers = stored.T
    x = numbers[: row.ROWS * members].reshape(row.ROWS, members, -1)
    made = hypotheses.explained(x, hypotheses.unpack(numbers[row.ROWS * members :]), key, meal_mean, minute)
    return made.x.reshape(row.ROWS * members, -1).T, made.probability, made.meal


read_out_batch = jax.jit(read_out)
"""`read_out`, compiled once for each batch size."""
