"""Heart rate and blood pressure: a rhythm of the day, slow noise, and a response to low glucose and fever.

    HR  = HR_0 (1 + A_h c(h)) + 25 max(0, (70 - G)/30) + 10 (T - 37) + n_1
    SBP = SBP_0 (1 + A_p c(h)) + 8 max(0, (70 - G)/30) + n_2
    DBP = DBP_0 (1 + A_p c(h)) + n_3,       c(h) = cos(2 pi (h - 16)/24),  n_i Ornstein-Uhlenbeck

with G plasma glucose (mg/dL) and T temperature (degree Celsius). Rhythm: systolic pressure falls 10-20 %
at night (O'Brien et al., Lancet 1988;2:397); heart rate rises during insulin-induced hypoglycaemia (Fisher
et al., Diabetologia 1990;33:429, order of magnitude) and with fever by about 10 /min a degree
(Karjalainen & Viitasalo, Arch Intern Med 1986;146:1169: 8.5 /min a degree in adults; 10 is used here).
A plausible signal for the screen, not a model of the circulation.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

NOISE_TIME_MIN = 20.0
FEVER_PER_DEGREE = 10.0


class HaemodynamicParameters(NamedTuple):
    """Daily means (/min, mm[Hg]), amplitudes of the rhythm (fraction), noise SDs; one a patient [n]."""

    HR_0: Float[Array, " n"]
    SBP_0: Float[Array, " n"]
    DBP_0: Float[Array, " n"]
    A_h: Float[Array, " n"]
    A_p: Float[Array, " n"]
    noise_sd: Float[Array, "3 n"]


class HaemodynamicState(NamedTuple):
    """`noise` [3, n] (HR, SBP, DBP) and the resulting `vitals` [3, n] in /min, mm[Hg], mm[Hg]."""

    noise: Float[Array, "3 n"]
    vitals: Float[Array, "3 n"]


class HaemodynamicInputs(NamedTuple):
    """Plasma glucose mg/dL [n], body temperature degree C [n], local hour, standard normal noise [3, n]."""

    glucose_mg_dL: Float[Array, " n"]
    temperature_C: Float[Array, " n"]
    hour: Float[Array, " n"]
    noise: Float[Array, "3 n"]


@partial(jax.jit, static_argnames="n")
def sample_population(key: PRNGKeyArray, n: int) -> HaemodynamicParameters:
    """`n` adults."""
    normal = jnp.clip(jax.random.normal(key, (8, n)), -2.0, 2.0)
    SBP_0 = 124.0 + 12.0 * normal[1]
    return HaemodynamicParameters(
        HR_0=72.0 + 9.0 * normal[0],
        SBP_0=SBP_0,
        DBP_0=0.62 * SBP_0 + 4.0 * normal[2],
        A_h=0.08 + 0.02 * normal[3],
        A_p=0.06 + 0.015 * normal[4],
        noise_sd=jnp.stack([4.0 + normal[5], 5.0 + normal[6], 3.0 + 0.5 * normal[7]]),
    )


@jax.jit
def initial(parameters: HaemodynamicParameters) -> HaemodynamicState:
    """The daily means, without noise."""
    p = parameters
    return HaemodynamicState(jnp.zeros_like(p.noise_sd), jnp.stack([p.HR_0, p.SBP_0, p.DBP_0]))


def step(
    parameters: HaemodynamicParameters,
    state: HaemodynamicState,
    inputs: HaemodynamicInputs,
    dt_min: float | Float[Array, ""],
) -> HaemodynamicState:
    """The state `dt_min` minutes later (exact for the noise)."""
    p = parameters
    keep = jnp.exp(-dt_min / NOISE_TIME_MIN)
    noise = state.noise * keep + p.noise_sd * jnp.sqrt(1.0 - keep**2) * inputs.noise
    rhythm = jnp.cos(2.0 * jnp.pi * (inputs.hour - 16.0) / 24.0)
    low = jnp.maximum(0.0, (70.0 - inputs.glucose_mg_dL) / 30.0)
    fever = FEVER_PER_DEGREE * (inputs.temperature_C - 37.0)
    vitals = jnp.stack(
        [
            p.HR_0 * (1.0 + p.A_h * rhythm) + 25.0 * low + fever,
            p.SBP_0 * (1.0 + p.A_p * rhythm) + 8.0 * low,
            p.DBP_0 * (1.0 + p.A_p * rhythm),
        ]
    )
    return HaemodynamicState(noise, vitals + noise)
