"""Minutes of many virtual patients with diabetes: the plant, what drifts in it, and exercise, in one call."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dosetwin.twins.plants.diabetes import (
    DiabetesParameters,
    DiabetesState,
    drifted,
    initial,
    meal_size_mg,
    sensitivity,
)
from dosetwin.twins.plants.diabetes_exercise import ExerciseState, at_rest, exercised, moving
from dosetwin.twins.plants.diabetes_kernel import advance, prepare

CHANCE_FROM = 2**20
"""Number of the draw of minute 0: number 0 is the beginning's, and a run-in has minutes below 0."""


class LifeState(NamedTuple):
    """The plant and what moving left behind."""

    plant: DiabetesState
    exercise: ExerciseState


class Minutes(NamedTuple):
    """What happens in M minutes to n patients, at a constant rate within each; `heart_rate_rise` in /min."""

    insulin_U_per_min: Float[Array, "M n"]
    carbohydrate_g_per_min: Float[Array, "M n"]
    heart_rate_rise_per_min: Float[Array, "M n"]


def begin(p: DiabetesParameters, keys: PRNGKeyArray) -> LifeState:
    """The basal steady state, with a log sensitivity out of its stationary distribution; a key a patient."""
    z = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 0)))(keys)
    return LifeState(initial(p)._replace(drift=p.drift_sd * z), at_rest(p.BW.shape[0]))


@jax.jit
def live(
    p: DiabetesParameters,
    state: LifeState,
    keys: PRNGKeyArray,
    from_min: Int[Array, ""] | int,
    sensitivity_factor: Float[Array, " n"],
    minutes: Minutes,
) -> tuple[LifeState, Float[Array, "M n"], Float[Array, "M n"]]:
    """Live M minutes from minute `from_min` (0 is a midnight).

    Returns the state and, after each minute, plasma and interstitial glucose in mg/dL. Chance comes from each
    patient's key and the minute alone. `sensitivity_factor` multiplies `Vmx` and `kp3`, as all sensitivity.
    """
    propagator = prepare(p, 1.0)

    def minute(carry: LifeState, now: tuple[Array, Minutes]) -> tuple[LifeState, tuple[Array, Array]]:
        at, happens = now
        plant = carry.plant
        noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, at)))(keys)
        drift = drifted(p, plant.drift, noise, 1.0)
        hour = jnp.full_like(p.BW, jnp.mod(at - CHANCE_FROM, 1440) / 60.0)
        S = sensitivity(p, drift, hour) * sensitivity_factor
        exercise = exercised(carry.exercise, happens.heart_rate_rise_per_min, 1.0)
        eats = happens.carbohydrate_g_per_min
        Dm = meal_size_mg(plant.x[0] + plant.x[1], plant.Dm, plant.eating, eats, 1.0)
        x = advance(
            moving(p, exercise, plant.x[6]),
            propagator,
            tuple(plant.x),
            Dm,
            happens.insulin_U_per_min,
            eats,
            S,
        )
        lived = LifeState(DiabetesState(jnp.stack(x), Dm, eats > 0, drift), exercise)
        return lived, (x[3] / p.Vg, x[12] / p.Vg)

    M = minutes.insulin_U_per_min.shape[0]

    steps = jnp.arange(M) + from_min + CHANCE_FROM
    state, (plasma, interstitial) = jax.lax.scan(minute, state, (steps, minutes))
    return state, plasma, interstitial
