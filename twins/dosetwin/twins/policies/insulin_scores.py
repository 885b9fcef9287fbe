"""What a forecast of glucose is worth: risk, chance constraints, and the choice among candidates."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

LOW, VERY_LOW, HIGH = 70.0, 54.0, 250.0
"""mg/dL: level 1 and 2 hypoglycaemia and level 2 hyperglycaemia (ADA Standards of Care, section 6)."""
LOW_WEIGHT = 2.0
"""Weight of the low side of the risk function over the high side, on top of its own steepness there. Our
assumption: on 40 simulated days 1, 2 and 4 left 1.8, 1.7 and 0.9 % of the time below 70, 66, 65 and 63 % in
range."""
RISK_BELOW_70, RISK_BELOW_54 = 0.05, 0.02
"""Chance constraints: how much more probable than under 30 min without insulin a candidate may make it to be
ever below 70, 54 mg/dL within 4 h. Our assumption; targets `risk_below_70`, `risk_below_54` override them."""
ALWAYS_70, ALWAYS_54 = 0.25, 0.10
"""Probabilities above which a candidate may add nothing to them. Our assumption."""


def risk(log_glucose: Float[Array, "..."]) -> Float[Array, "..."]:
    """Blood glucose risk 10 f^2, f = 1.509 (ln(G)^1.084 - 5.381), G in mg/dL, low side times LOW_WEIGHT.

    Kovatchev et al. 1997, Diabetes Care 20:1655; used for in-silico cohorts by Magni et al. 2007, J Diabetes
    Sci Technol 1:804. ln(G)^1.084 is taken by its quadratic in ln G over 20-600 mg/dL (error of f below
    0.002).
    """
    a, b, c = _POWER
    f = 1.509 * ((a * log_glucose + b) * log_glucose + c - 5.381)
    return 10.0 * f * f * jnp.where(f < 0.0, LOW_WEIGHT, 1.0)


_GRID = np.linspace(np.log(20.0), np.log(600.0), 200)
_POWER = tuple(float(c) for c in np.polyfit(_GRID, _GRID**1.084, 2))


def within_constraints(
    below_70: Float[Array, "candidates patients"],
    below_54: Float[Array, "candidates patients"],
    bounds: Float[Array, "2 patients"],
) -> Bool[Array, "candidates patients"]:
    """Whether a candidate adds no more risk than `bounds` to what the first (no insulin for 30 min) leaves.

    Added risk, because what no insulin order can avert must not decide between orders; where the risk is
    above ALWAYS_70 or ALWAYS_54 nothing may be added.
    """
    added_70, added_54 = below_70 - below_70[:1], below_54 - below_54[:1]
    slack = 1e-6
    return jnp.logical_and(
        added_70 <= jnp.where(below_70 > ALWAYS_70, 0.0, bounds[0]) + slack,
        added_54 <= jnp.where(below_54 > ALWAYS_54, 0.0, bounds[1]) + slack,
    )


def choose(
    utility: Float[Array, "candidates patients"],
    feasible: Bool[Array, "candidates patients"],
    below_70: Float[Array, "candidates patients"],
    below_54: Float[Array, "candidates patients"],
) -> Int[Array, " patients"]:
    """The feasible candidate of highest utility; where none is, the one of least risk (54, then 70)."""
    allowed = jnp.where(feasible, utility, -jnp.inf).argmax(0)
    return jnp.where(feasible.any(0), allowed, (below_54 + 0.01 * below_70).argmin(0)).astype(jnp.int32)


def low_quantile(values: Float[Array, "candidates members patients"], q: float) -> Float[Array, "..."]:
    """A small quantile over the members at position q (M + 1), between the k-th and the next smallest.

    The smallest are taken off one value after another (ties counted), which for a small quantile is less
    work than a sort.
    """
    members = values.shape[1]
    position = max(q * (members + 1) - 1.0, 0.0)
    k = int(position)
    value = values.min(1)
    lower = upper = value
    for _ in range(k + 1):
        taken = (values <= value[:, None]).astype(jnp.float32).sum(1)
        value = jnp.where(values > value[:, None], values, jnp.inf).min(1)
        # `value` is the smallest of rank taken + 1, ..., so it fills what ranks are not reached yet
        lower = jnp.where(taken <= k, value, lower)
        upper = jnp.where(taken <= k + 1, value, upper)
    return lower + (position - k) * (upper - lower)
