"""Absorption of carbohydrate from the gut (Hovorka 2004, eq 4).

    dD1/dt = meal - D1 / t_maxG ,  dD2/dt = (D1 - D2) / t_maxG      g/kg
    U_G = A_G D2 / t_maxG * 1000 / 180.16                            mmol/kg/min

Closed form for a step without a meal inside it; meals are added to D1 between steps. What leaves the gut in
a step is (D1 + D2) before less (D1 + D2) after, so that no carbohydrate is lost or made by rounding in time.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

MMOL_PER_G = 1000.0 / 180.16
"""Glucose, mmol in a gram."""


class Gut(NamedTuple):
    """Carbohydrate in the two compartments, g/kg."""

    D1: Float[Array, "..."]
    D2: Float[Array, "..."]


def advance_gut(
    gut: Gut, h: Float[Array, "..."], t_maxG: Float[Array, "..."]
) -> tuple[Gut, Float[Array, "..."]]:
    """The gut after `h` min, and the carbohydrate that left it meanwhile (g/kg, before bioavailability)."""
    r = 1.0 / t_maxG
    E = jnp.exp(-h * r)
    after = Gut(D1=gut.D1 * E, D2=(gut.D2 + gut.D1 * h * r) * E)
    return after, jnp.maximum(gut.D1 + gut.D2 - after.D1 - after.D2, 0.0)
