"""The glucose sensor: interstitial lag, and an error that remembers itself.

    dC/dt = (G - C) / t_s                 C interstitial glucose, mmol/L; t_s = 1 / 0.073 min
    reading = C' + b s(C') + e            C' = 18.016 C, mg/dL; s(C') = 7 + 0.03 C'
    e ~ N(0, 2^2 + (0.02 C')^2)
    b = (xi + lambda sinh((n - gamma) / delta)) / (12.06 mg/dL)
    n: first-order autoregressive, standard normal, time constant 42 min

The lag is k_a,int of Wilinska et al. 2010, J Diabetes Sci Technol 4:132. n and Johnson's transform are Breton
& Kovatchev 2008, J Diabetes Sci Technol 2:853 (coefficient 0.7 for 15 min, hence 42 min; xi -5.471 and lambda
15.9574 mg/dL, gamma -0.5444, delta 1.6898; standard deviation 12.06 mg/dL). b is so skewed that it is above
50 mg/dL for 0.3 % of the time, a normal of the same deviation for 0.002 %. Their error does not depend on
glucose; that part of it is proportional, and the sizes (9 mg/dL at 70, 11 at 120, 13 at 200; white 2 mg/dL
and 2 %), are our assumption.
"""

from __future__ import annotations

from typing import Final

import jax.numpy as jnp
from jaxtyping import Array, Float

LAG_MIN = 1.0 / 0.073
"""Time constant of interstitial glucose, min."""
ERROR_SD_MG_DL = 7.0
"""Standard deviation of the error that persists, part that does not depend on glucose."""
ERROR_CV = 0.03
"""Part of it that is proportional to glucose."""
ERROR_TIME_MIN = 42.0
"""Time constant of n, min: 15 / -ln 0.7."""
JOHNSON_SD_MG_DL: Final = 12.06
JOHNSON_XI, JOHNSON_LAMBDA = -5.471 / JOHNSON_SD_MG_DL, 15.9574 / JOHNSON_SD_MG_DL
"""Location and scale of b, in its standard deviations."""
JOHNSON_GAMMA, JOHNSON_DELTA = -0.5444, 1.6898
WHITE_SD_MG_DL = 2.0
"""White noise, part that does not depend on the reading."""
WHITE_CV = 0.02
"""White noise, part proportional to the reading."""


def persisting_error(n: Float[Array, "..."]) -> Float[Array, "..."]:
    """The error b of a standard normal n."""
    return JOHNSON_XI + JOHNSON_LAMBDA * jnp.sinh((n - JOHNSON_GAMMA) / JOHNSON_DELTA)


def error_after(
    b: Float[Array, "..."], keep: Float[Array, "..."], noise: Float[Array, "..."] | float
) -> Float[Array, "..."]:
    """The error after a time in which n keeps the share `keep`; `noise` standard normal (0: the median)."""
    n = JOHNSON_GAMMA + JOHNSON_DELTA * jnp.arcsinh((b - JOHNSON_XI) / JOHNSON_LAMBDA)
    return persisting_error(keep * n + jnp.sqrt(1.0 - keep * keep) * noise)


def error_kept(b: Float[Array, "..."], keep: Float[Array, "..."]) -> Float[Array, "..."]:
    """Share of a small difference of b that is left then: the derivative of `error_after` without noise."""
    before = (b - JOHNSON_XI) / JOHNSON_LAMBDA
    after = (error_after(b, keep, 0.0) - JOHNSON_XI) / JOHNSON_LAMBDA
    return keep * jnp.sqrt((1.0 + after * after) / (1.0 + before * before))
