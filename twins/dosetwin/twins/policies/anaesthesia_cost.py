"""What a candidate of both drugs costs, and which is chosen.

Propofol is there for the index, remifentanil for all else: `index_kept` times by how much another move of
propofol would keep the index better is so dear that nothing outweighs it. Where propofol serves pressure and
tolerance too, the index is kept worse, and pressure no better (docs/models/propofol.md).

Cost, less is better; means over members (and over times in the horizon), then again at equilibrium of the
effect sites at the end of the horizon:

    huber((BIS - goal)/10), `TOO_LIGHT` times that above the goal,
        + w_m (sigmoid((MAP_low + 2.5 - MAP)/2) + 0.3 softplus((MAP_low - 3 - MAP)/4))
        + w_h softplus((HR_low - HR)/3)
        + w_t (1 - P(tolerates laryngoscopy)) + w_d drug + w_u moves
        + w_s softplus of the propofol that is needed below `LEAST_UG_ML`.

The weights are our assumption (`WEIGHTS`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dosetwin.twins.models import anaesthesia_response as response

PerPatient = Float[Array, " patients"]
TOO_LIGHT: Final = 1.5
"""What an index above the goal costs against one below it: awareness, and stimuli only ever raise it."""
TERMS: Final = (
    "index",
    "pressure",
    "heart rate",
    "tolerance",
    "drug",
    "moves",
    "reserve of propofol",
    "index kept by propofol",
)
LEAST_UG_ML: Final = 1.2
SHORT_WIDTH: Final = 0.25
"""Remifentanil that leaves less propofol than this to be needed, ug/mL (and over what width it counts): with
nothing left to stop, an index that is too low has to wait for the opioid. Our assumption."""
STILL: Final = 0.01
"""What a move counts, beside the index, where propofol is chosen."""


class Weights(NamedTuple):
    """Weights of the cost's terms in the order of `TERMS`: within the horizon, and at its equilibrium.

    Then of the terms that are there once.
    """

    soon: tuple[float, float, float, float] = (1.5, 2.5, 0.3, 0.2)
    then: tuple[float, float, float, float] = (1.0, 2.5, 0.3, 0.8)
    drug: float = 0.05
    moves: float = 0.03
    short: float = 1.0
    index_kept: float = 20.0


WEIGHTS: Final = Weights()


class Aims(NamedTuple):
    """Goal of the index, lowest pressure (mm[Hg]) and heart rate (/min); [patients]."""

    goal: PerPatient
    pressure_low: PerPatient
    heart_rate_low: PerPatient


def _huber(d: Array) -> Array:
    a = jnp.abs(d)
    return jnp.where(a < 1.0, 0.5 * a * a, a - 0.5) * jnp.where(d > 0.0, TOO_LIGHT, 1.0)


def costs(
    index: Array, pressure: Array, heart_rate: Array, propofol: Array, remifentanil: Array, aims: Aims
) -> list[Array]:
    """The first four of `TERMS`, unweighted: means over all axes but the first and the last (patients)."""
    axes = tuple(range(1, index.ndim - 1))
    return [
        _huber((index - aims.goal) / 10.0).mean(axes),
        (
            jax.nn.sigmoid((aims.pressure_low + 2.5 - pressure) / 2.0)
            + 0.3 * jax.nn.softplus((aims.pressure_low - 3.0 - pressure) / 4.0)
        ).mean(axes),
        jax.nn.softplus((aims.heart_rate_low - heart_rate) / 3.0).mean(axes),
        (1.0 - response.tolerance_of_laryngoscopy(propofol, remifentanil)).mean(axes),
    ]


def too_little(needed_ug_mL: PerPatient) -> PerPatient:
    """What remifentanil costs that leaves so little propofol to be needed; ug/mL."""
    return SHORT_WIDTH * jax.nn.softplus((LEAST_UG_ML - needed_ug_mL) / SHORT_WIDTH)


def choose(
    cost: Float[Array, "candidates patients"],
    below_30: Float[Array, "candidates patients"],
    accepted: PerPatient,
) -> Int[Array, " patients"]:
    """The cheapest candidate that risks no more than is accepted; where none does, the one of least risk.

    Of several that risk as little the cheapest: stopping a little earlier must not wake a patient for
    nothing.
    """
    bound = jnp.maximum(accepted, below_30.min(0))
    return jnp.where(below_30 <= bound, cost, jnp.inf).argmin(0)


def kept_worse(
    of_index: Float[Array, "opioid hypnotic patients"],
    below_30: Float[Array, "opioid hypnotic patients"],
    accepted: PerPatient,
) -> Float[Array, "opioid hypnotic patients"]:
    """By how much another move of propofol, allowed beside the same of remifentanil, keeps it better."""
    allowed = below_30 <= jnp.maximum(accepted, below_30.min((0, 1)))
    best = jnp.where(allowed, of_index, jnp.inf).min(1, keepdims=True)
    return of_index - jnp.where(jnp.isfinite(best), best, of_index.min(1, keepdims=True))
