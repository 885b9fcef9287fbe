"""What a clinic would know of a virtual patient after some months: basal rate, ratios, total daily dose.

    carbohydrate ratio = 50 g / the bolus after which a meal of 50 g leaves glucose as it was 4 h later
    correction factor  = the greatest fall of glucose within 6 h after 1 U beside the basal rate
    total daily dose   = 24 h of the basal rate + 200 g / carbohydrate ratio

each found on the patient's own plant at sensitivity 1 (a clinic finds averages, not the morning's dip). The
third is exact for the thirty people of simglucose 0.2.11 (`Quest.csv`: TDI against u2ss, BW and CR). Over
their own ratios the first rule gives a median of 1.1 (adults), 1.0 (adolescents) and 1.0 (children), with the
ceiling of 25 g/U that their children's ratios have. The second gives 1.1, 1.2 and 1.8 of their correction
factors: a unit is much for a child, and the fall that we state is the one that happens.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.plants.diabetes import DiabetesParameters, initial
from dosetwin.twins.plants.diabetes_kernel import advance, prepare

MEAL_G = 50.0
EATING_MIN = 10
BACK_AFTER_MIN = 240
FALL_WITHIN_MIN = 360
DAILY_CARBOHYDRATE_G = 200.0
HIGHEST_RATIO_G_PER_U = 25.0
LOWEST_RATIO_G_PER_U = 1.0
RATIOS_TRIED = 24

Floats = npt.NDArray[np.float64]
Lived = tuple[tuple[Array, ...], Array]
"""The states, and the lowest glucose so far."""


class ClinicalSettings(NamedTuple):
    """One value a patient [n]."""

    weight_kg: Floats
    basal_U_per_h: Floats
    carbohydrate_ratio_g_per_U: Floats
    correction_factor_mg_dL_per_U: Floats
    total_daily_dose_U: Floats


def clinical_settings(parameters: DiabetesParameters) -> ClinicalSettings:
    """The settings of each patient, from the equations of the module."""
    ratios = np.geomspace(LOWEST_RATIO_G_PER_U, 2.0 * HIGHEST_RATIO_G_PER_U, RATIOS_TRIED)
    boluses = np.append(MEAL_G / ratios, 1.0)
    meals = np.append(np.full(RATIOS_TRIED, MEAL_G), 0.0)
    after, lowest = _responses(parameters, jnp.asarray(boluses), jnp.asarray(meals))
    back, Gb = np.asarray(after, float)[:-1], np.asarray(parameters.Gb, float)
    # the rise after 4 h grows with the ratio (less insulin), so that it can be looked up
    ratio = np.array([np.interp(Gb[i], back[:, i], ratios) for i in range(Gb.size)])
    ratio = np.minimum(ratio, HIGHEST_RATIO_G_PER_U)
    basal = np.asarray(parameters.basal_U_per_h, float)
    return ClinicalSettings(
        weight_kg=np.asarray(parameters.BW, float),
        basal_U_per_h=basal,
        carbohydrate_ratio_g_per_U=ratio,
        correction_factor_mg_dL_per_U=Gb - np.asarray(lowest, float)[-1],
        total_daily_dose_U=24.0 * basal + DAILY_CARBOHYDRATE_G / ratio,
    )


@jax.jit
def _responses(
    p: DiabetesParameters, boluses: Float[Array, " b"], meals: Float[Array, " b"]
) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    """Glucose 4 h after each bolus with its meal, and the lowest within 6 h, mg/dL."""
    propagator = prepare(p, 1.0)
    basal = p.basal_U_per_h / 60.0

    @partial(jax.vmap, in_axes=(0, 0))
    def respond(bolus_U: Float[Array, ""], meal_g: Float[Array, ""]) -> tuple[Array, Array]:
        def minute(carry: Lived, k: Array) -> tuple[Lived, Array]:
            x, lowest = carry
            insulin = basal + jnp.where(k == 0, bolus_U, 0.0)
            eaten = jnp.where(k < EATING_MIN, meal_g / EATING_MIN, 0.0) + jnp.zeros_like(basal)
            Dm = jnp.minimum(k + 1, EATING_MIN) * meal_g / EATING_MIN * 1000.0 + jnp.zeros_like(basal)
            x = advance(p, propagator, x, Dm, insulin, eaten, 1.0)
            glucose = x[3] / p.Vg
            return (x, jnp.minimum(lowest, glucose)), glucose

        start = (tuple(initial(p).x), p.Gb)
        (_, lowest), trace = jax.lax.scan(minute, start, jnp.arange(FALL_WITHIN_MIN))
        return trace[BACK_AFTER_MIN - 1], lowest

    after, lowest = respond(boluses, meals)
    return after, lowest
