"""Three compartments and two effect sites of one drug, advanced by a Taylor series of the matrix exponential.

    dc1/dt = -(k10 + k12 + k13) c1 + k12 c2 + k13 c3 + u / V1,        k10 = CL/V1, k12 = Q2/V1, k13 = Q3/V1
    dc2/dt = Q2/V2 (c1 - c2),    dc3/dt = Q3/V3 (c1 - c3)
    dce/dt = ke0 (c1 - ce),      dcm/dt = km (c1 - cm)

in concentrations (all mg/L, or all ug/L), u a constant infusion (mg/min, ug/min), times in min. The system is
linear, so that over a step of h minutes x(h) = sum_n h^n M^n x / n! exactly; `ORDER` terms of the sum leave a
relative error below 2e-4 for k h <= 1.5, where k is the fastest rate constant. That is what
`LONGEST_STEP_MIN` is for: members of a twin stay below 5 per minute (`anaesthesia_layout`). No transcendental
function is needed, which is what makes thousands of members a microsecond each.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

ORDER = 8
LONGEST_STEP_MIN = 1.0 / 3.0

Values = Float[Array, "*batch"]


class Kinetics(NamedTuple):
    """Concentrations of compartments and of the effect sites of brain (E) and circulation (M)."""

    c1: Values
    c2: Values
    c3: Values
    E: Values
    M: Values


class RateConstants(NamedTuple):
    """All per minute, but `V1` (L)."""

    k10: Values
    k12: Values
    k13: Values
    k21: Values
    k31: Values
    ke0: Values
    km: Values
    V1: Values


def rate_constants(
    V1: Values, V2: Values, V3: Values, CL: Values, Q2: Values, Q3: Values, ke0: Values, km: Values
) -> RateConstants:
    """From volumes (L) and clearances (L/min)."""
    return RateConstants(CL / V1, Q2 / V1, Q3 / V1, Q2 / V2, Q3 / V3, ke0, km, V1)


def slope(x: Kinetics, k: RateConstants) -> Kinetics:
    """dx/dt without input."""
    return Kinetics(
        k.k12 * (x.c2 - x.c1) + k.k13 * (x.c3 - x.c1) - k.k10 * x.c1,
        k.k21 * (x.c1 - x.c2),
        k.k31 * (x.c1 - x.c3),
        k.ke0 * (x.c1 - x.E),
        k.km * (x.c1 - x.M),
    )


def advance(x: Kinetics, u: Values, h: Values, k: RateConstants) -> Kinetics:
    """The state after `h` min (at most `LONGEST_STEP_MIN`) under an infusion of `u` mg/min (ug/min)."""
    term = slope(x, k)
    term = term._replace(c1=term.c1 + u / k.V1)
    total = x
    for n in range(1, ORDER + 1):
        term = Kinetics(*(part * (h / n) for part in term))
        total = Kinetics(*(a + b for a, b in zip(total, term, strict=True)))
        if n < ORDER:
            term = slope(term, k)
    return Kinetics(*(jnp.maximum(part, 0.0) for part in total))


def after_bolus(x: Kinetics, amount: Values, k: RateConstants) -> Kinetics:
    """The state after `amount` (mg or ug) at once."""
    return x._replace(c1=x.c1 + amount / k.V1)
