"""Subcutaneous insulin absorption, plasma insulin and remote insulin action (Hovorka 2004, eqs 5-8).

    dS1/dt = u - S1 / t_maxI                    mU/kg, depot
    dS2/dt = (S1 - S2) / t_maxI                 mU/kg
    dI/dt  = S2 / (t_maxI V_I) - k_e I          mU/L, plasma insulin
    dy_j/dt = k_aj (I - y_j)                    mU/L, insulin at its place of action, j = 1, 2, 3

The paper writes the action as x_j with dx_j/dt = k_bj I - k_aj x_j; with S_j = k_bj / k_aj constant,
x_j = S_j y_j. In this form nothing above depends on a sensitivity, the whole chain is linear in its state
and in the delivery u, and one chain serves every sensitivity. All amounts are per kg of body weight.

S1, S2 and I are advanced in closed form (u constant over the step). For y_j, I is taken linear between the
two ends of the step, each end moved by h/6 dI/dt, which makes the integral of I right to fourth order
(Euler-Maclaurin); an independent solver puts y_j within 0.2 % of its peak for steps of 5 min
(tests/twins/t1d).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

K_E = 0.138
"""Elimination rate of plasma insulin, 1/min (Hovorka 2004, Table 1)."""
V_I = 0.12
"""Volume of distribution of insulin, L/kg (Hovorka 2004, Table 1)."""
K_A = (0.006, 0.06, 0.011)
"""Deactivation rates of insulin action on transport, disposal and EGP, 1/min: Hovorka 2004, Table 1, but for
the last. Hovorka has 0.03 there, Dalla Man 2007 (IEEE Trans Biomed Eng 54:1740) two delays of 127 min,
together a rate of 0.004; models lie further apart than people, so their geometric mean is taken. With 0.03
forecasts made three to five hours after a meal were 15-20 mg/dL too high on the UVA/Padova plant."""


class InsulinChain(NamedTuple):
    """State of the chain; every field has the same shape. S1, S2: mU/kg; I, y1, y2, y3: mU/L."""

    S1: Float[Array, "..."]
    S2: Float[Array, "..."]
    I: Float[Array, "..."]  # noqa: E741 - the paper's letter
    y1: Float[Array, "..."]
    y2: Float[Array, "..."]
    y3: Float[Array, "..."]


class InsulinStep(NamedTuple):
    """Coefficients of one exact step of `h` min, from `insulin_step`."""

    E: Float[Array, "..."]
    S2_of_S1: Float[Array, "..."]
    S1_of_u: Float[Array, "..."]
    S2_of_u: Float[Array, "..."]
    I_of_I: Float[Array, "..."]
    I_of_S1: Float[Array, "..."]
    I_of_S2: Float[Array, "..."]
    I_of_u: Float[Array, "..."]
    value: Float[Array, "..."]
    value_end: Float[Array, "..."]
    slope: Float[Array, "..."]
    decay: tuple[Float[Array, "..."], ...]
    of_start: tuple[Float[Array, "..."], ...]
    of_end: tuple[Float[Array, "..."], ...]


def insulin_step(
    h: Float[Array, "..."], t_maxI: Float[Array, "..."], quickness: Float[Array, "..."] | float = 1.0
) -> InsulinStep:
    """Coefficients of a step of `h` min for time-to-peak `t_maxI` min (all broadcast; h may be 0).

    `quickness` multiplies the three k_aj.

    With a = k_e - 1/t_maxI > 0 (t_maxI > 7.3 min), E = exp(-h/t_maxI), K = exp(-k_e h):
    int exp(-k_e(h-s)) exp(-s/t) ds = (E - K) / a, and with s/t inside (h E / a - (E - K) / a^2) / t.
    """
    h = jnp.asarray(h)
    r = 1.0 / t_maxI
    E = jnp.exp(-h * r)
    K = jnp.exp(-K_E * h)
    a = K_E - r
    first = (E - K) / a
    second = (h * E - first) / a * r
    constant = (1.0 - K) / K_E
    into_plasma = r / V_I
    decay, of_start, of_end = [], [], []
    for k_a in K_A:
        z = k_a * quickness * jnp.maximum(h, 1e-4)
        e = jnp.exp(-z)
        ratio = -jnp.expm1(-z) / z
        decay.append(e)
        of_start.append(ratio - e)
        of_end.append(1.0 - ratio)
    return InsulinStep(
        E=E,
        S2_of_S1=E * h * r,
        S1_of_u=t_maxI * (1.0 - E),
        S2_of_u=t_maxI * (1.0 - E * (1.0 + h * r)),
        I_of_I=K,
        I_of_S1=into_plasma * second,
        I_of_S2=into_plasma * first,
        I_of_u=(constant - first - second) / V_I,
        value=1.0 - K_E * h / 6.0,
        value_end=1.0 + K_E * h / 6.0,
        slope=into_plasma * h / 6.0,
        decay=tuple(decay),
        of_start=tuple(of_start),
        of_end=tuple(of_end),
    )


def advance_insulin(chain: InsulinChain, u: Float[Array, "..."], step: InsulinStep) -> InsulinChain:
    """The chain after the step, under a constant delivery of `u` mU/kg/min."""
    I = step.I_of_I * chain.I + step.I_of_S1 * chain.S1 + step.I_of_S2 * chain.S2 + step.I_of_u * u  # noqa: E741
    S2 = step.E * chain.S2 + step.S2_of_S1 * chain.S1 + step.S2_of_u * u
    start = step.value * chain.I + step.slope * chain.S2
    end = step.value_end * I - step.slope * S2
    y = [
        step.decay[j] * y_j + step.of_start[j] * start + step.of_end[j] * end
        for j, y_j in enumerate((chain.y1, chain.y2, chain.y3))
    ]
    return InsulinChain(
        S1=step.E * chain.S1 + step.S1_of_u * u,
        S2=S2,
        I=I,
        y1=y[0],
        y2=y[1],
        y3=y[2],
    )


def insulin_equilibrium(u: Float[Array, "..."], t_maxI: Float[Array, "..."]) -> InsulinChain:
    """The chain that a constant delivery of `u` mU/kg/min holds: S1 = S2 = u t_maxI, I = u / (k_e V_I)."""
    depot = u * t_maxI
    plasma = u / (K_E * V_I) + 0.0 * t_maxI
    return InsulinChain(depot, depot, plasma, plasma, plasma, plasma)
