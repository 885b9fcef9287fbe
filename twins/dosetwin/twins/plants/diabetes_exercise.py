"""What moving does to glucose: heart rate above rest raises its use at once, and sensitivity for hours.

    dY = (H - Y) / tau_HR                          H: heart rate above rest, /min
    dZ = f(Y) - (f(Y) / tau_in + 1 / tau_ex) Z     f(Y) = (Y / (a HR_b))^n / (1 + (Y / (a HR_b))^n)
    dW = H, set back to 0 when Z has faded         the effort so far, beats
    Uid = (Vm0 (1 + beta Y) + Vmx (1 + alpha Z W) (X + Ib) - Vmx Ib) Gt
          / (Km0 (1 - gamma Z W (X + Ib)) + Gt)

Source: Dalla Man, Breton, Cobelli, J Diabetes Sci Technol 2009;3:56, doi:10.1177/193229680900300107, its
model C, for the UVA/Padova model; after Breton, J Diabetes Sci Technol 2008;2:169. A resting heart rate of
60/min and Z < 0.05 as "faded" are our assumptions. No rise of glucose in hard, short efforts is in it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.plants.diabetes import DiabetesParameters

TAU_HR_MIN = 5.0
TAU_IN_MIN = 1.0
TAU_EX_MIN = 600.0
THRESHOLD_A = 0.1
STEEPNESS_N = 4
ALPHA = 3e-4
BETA_MIN = 0.01
GAMMA = 1e-7
RESTING_PER_MIN = 60.0
FADED_Z = 0.05


class ExerciseState(NamedTuple):
    """Y /min, Z, W beats; arrays [n]."""

    Y: Float[Array, " n"]
    Z: Float[Array, " n"]
    W: Float[Array, " n"]


def at_rest(n: int) -> ExerciseState:
    """Nobody has moved for days."""
    nothing = jnp.zeros(n)
    return ExerciseState(nothing, nothing, nothing)


def exercised(e: ExerciseState, heart_rate_rise_per_min: Float[Array, " n"], dt_min: float) -> ExerciseState:
    """The state `dt_min` later under a constant rise of the heart rate: Y exact, Z for Simpson's mean f."""
    H = heart_rate_rise_per_min
    keep = jnp.exp(-dt_min / TAU_HR_MIN)
    Y = H + (e.Y - H) * keep
    middle = H + (e.Y - H) * jnp.sqrt(keep)
    f = (_switch(e.Y) + 4.0 * _switch(middle) + _switch(Y)) / 6.0
    rate = f / TAU_IN_MIN + 1.0 / TAU_EX_MIN
    Z = f / rate + (e.Z - f / rate) * jnp.exp(-rate * dt_min)
    begins = (H > 0) & (e.Y < 1.0) & (e.Z < FADED_Z)
    return ExerciseState(Y, Z, jnp.where(begins, 0.0, e.W) + H * dt_min)


def _switch(Y: Float[Array, " n"]) -> Float[Array, " n"]:
    power = (Y / (THRESHOLD_A * RESTING_PER_MIN)) ** STEEPNESS_N
    return power / (1.0 + power)


def moving(p: DiabetesParameters, e: ExerciseState, X: Float[Array, " n"]) -> DiabetesParameters:
    """The parameters whose Uid at rest is the module's Uid, at insulin action `X` (pmol/L)."""
    effort = e.Z * e.W
    use: DiabetesParameters = p._replace(
        Vm0=p.Vm0 * (1.0 + BETA_MIN * e.Y) + p.Vmx * ALPHA * effort * p.Ib,
        Vmx=p.Vmx * (1.0 + ALPHA * effort),
        Km0=p.Km0 * (1.0 - jnp.clip(GAMMA * effort * (X + p.Ib), 0.0, 0.9)),
    )
    return use
