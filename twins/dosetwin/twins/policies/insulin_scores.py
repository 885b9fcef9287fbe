"""What a forecast of glucose is worth: risk, chance constraints, and the choice among candidates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

LOW, VERY_LOW, HIGH = 70.0, 54.0, 250.0
"""mg/dL: level 1 and 2 hypoglycaemia and level 2 hyperglycaemia (ADA Standards of Care, section 6)."""
ZONE = 1.1
"""Glucose from the risk function's zero (112.5 mg/dL) to this many times it costs nothing, and what is higher
as much as if it were lower by this factor: where nothing is at stake no insulin is given for it (zone
control: Gondhalekar 2016, Automatica 71:237). Our assumption."""
LOW_WEIGHT, HIGH_WEIGHT = 3.0, 1.5
"""Weights of the low and the high side of the risk function, on top of its own steepness on the low side. Our
assumption; these, the zone and the bounds below were chosen on development patients: docs/closed-loop.md."""
SOFT_MG_DL = 3.0
"""Scale of the step that counts a member as low. Our assumption."""
CERTAIN = 0.5
"""Where glucose below 70 is likelier than this even without insulin, nothing but that is feasible."""


def risk(log_glucose: Float[Array, "..."]) -> Float[Array, "..."]:
    """Blood glucose risk 10 f^2, f = 1.509 (ln(G)^1.084 - 5.381), G in mg/dL, each side with its weight.

    Above the function's zero G counts as G / ZONE, but no lower than the zero.

    Kovatchev et al. 1997, Diabetes Care 20:1655; used for in-silico cohorts by Magni et al. 2007, J Diabetes
    Sci Technol 1:804. ln(G)^1.084 is taken by its quadratic in ln G over 20-600 mg/dL (error of f below
    0.002).
    """
    a, b, c = _POWER
    eased = jnp.maximum(log_glucose - np.float32(np.log(ZONE)), _CENTRE)
    log_glucose = jnp.where(log_glucose > _CENTRE, eased, log_glucose)
    f = 1.509 * ((a * log_glucose + b) * log_glucose + c - 5.381)
    return 10.0 * f * f * jnp.where(f < 0.0, LOW_WEIGHT, HIGH_WEIGHT)


_CENTRE = np.float32(np.log(112.5))
_GRID = np.linspace(np.log(20.0), np.log(600.0), 200)
_POWER = tuple(float(c) for c in np.polyfit(_GRID, _GRID**1.084, 2))


def chance_below(
    smallest: Float[Array, "candidates members patients"],
) -> tuple[Float[Array, "candidates patients"], Float[Array, "candidates patients"]]:
    """Probabilities that the smallest glucose (mg/dL) is below 70 and below 54.

    Each member counts by a logistic step of SOFT_MG_DL instead of a sharp one: 32 members alone would know no
    probability between 0 and 3 %.
    """
    below_70, below_54 = (
        jax.nn.sigmoid((level - smallest) * (1.0 / SOFT_MG_DL)).mean(1) for level in (LOW, VERY_LOW)
    )
    return below_70, below_54


def within_constraints(
    below_70: Float[Array, "candidates patients"],
    below_54: Float[Array, "candidates patients"],
    bounds: Float[Array, "2 patients"],
    lowest: Float[Array, "candidates patients"] | None = None,
    floor: Float[Array, " patients"] | None = None,
) -> Bool[Array, "candidates patients"]:
    """Whether a candidate keeps the risks within `bounds`, or at what the first leaves where that is more.

    The first is no insulin for 30 min: what no order can avert must not decide between orders, and nothing
    may be added to it. And `lowest` must not fall below `floor`, where the supervisor would suspend, unless
    it is as low without insulin (where both are given).
    """
    slack = 1e-3
    within = jnp.logical_and(
        below_70 <= jnp.maximum(bounds[0], below_70[:1]) + slack,
        below_54 <= jnp.maximum(bounds[1], below_54[:1]) + slack,
    )
    if lowest is None or floor is None:
        return within
    first = jnp.arange(below_70.shape[0])[:, None] == 0
    within = jnp.logical_and(within, jnp.logical_or(first, below_70[:1] <= CERTAIN))
    return jnp.logical_and(within, lowest >= jnp.minimum(floor, lowest[:1] - 0.1))


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
