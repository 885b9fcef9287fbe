"""Glucose kinetics of Hovorka et al. 2004, Physiol. Meas. 25:905, doi:10.1088/0967-3334/25/4/010 (eqs 1-3).

    dQ1/dt = -(F01c / (V_G G) + x1) Q1 + k12 Q2 - F_R + U_G + EGP_0 (1 - x3) - S_GZ V_G (G - G_r) + d
    dQ2/dt = x1 Q1 - (k12 + x2) Q2 ,     G = Q1 / V_G
    F01c = F01 min(1, G / 4.5) ;  F_R = 0.003 max(0, G - 9) V_G ;  x_j = S_j y_j

Q1, Q2 in mmol/kg, G in mmol/L, fluxes in mmol/kg/min, S_IT and S_ID in 1/min per mU/L, S_IE in 1/(mU/L), y_j
in mU/L. EGP is not let below zero (not in the paper; needed when x3 > 1 after a large bolus). `d` is a flux
nobody announced (exercise, an unannounced meal, a hormone); the paper has none.

The term with S_GZ is not the paper's either: glucose lowers itself, by its own mass action and by suppressing
its production, also where insulin does not change (glucose effectiveness at zero insulin). Without it a bolus
acts for much longer than in people, since nothing but insulin and the kidney answers a changed glucose.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.models.insulin_absorption import K_E, V_I

V_G = 0.16
"""Volume of distribution of glucose, L/kg (Table 1)."""
K_12 = 0.066
"""Transfer from the non-accessible to the accessible compartment, 1/min (Table 1)."""
F_01 = 0.0097
"""Flux that does not depend on insulin, mmol/kg/min (Table 1)."""
EGP_0 = 0.0161
"""Endogenous production at zero insulin, mmol/kg/min (Table 1)."""
S_IT, S_ID, S_IE = 51.2e-4, 8.2e-4, 520e-4
"""Insulin sensitivities: transport, disposal (1/min per mU/L), production (per mU/L) (Table 1)."""
T_MAX_I = 55.0
"""Time to peak of insulin absorption, min (Table 1)."""
RENAL_THRESHOLD, RENAL_CLEARANCE = 9.0, 0.003
"""Renal threshold (mmol/L) and clearance above it (1/min) (eq 3)."""
GLUCOSE_EFFECTIVENESS = 0.005
"""S_GZ, 1/min. Between k_p2 of Dalla Man 2007 (IEEE Trans Biomed Eng 54:1740: 0.0021, production alone) and
the minimal model's effectiveness at zero insulin (about 0.01). Our assumption."""
SATURATION = 1.8
"""K_Q, mmol/kg: uptake by the tissues saturates, x1 Q1 (K_Q + V_G G_r) / (K_Q + Q1). 1.56 times the amount at
G_r, as K_m0 = 225 mg/kg is of tissue glucose in Dalla Man 2007, Table I."""
GLUCOSE_REFERENCE = 7.2
"""G_r, mmol/L: where EGP_0 is the production at zero insulin. Our assumption (a usual fasting glucose)."""
CNS_SATURATION = 4.5
"""Glucose (mmol/L) above which F01c no longer depends on it (eq 2)."""
MG_DL_PER_MMOL_L = 18.016
"""Glucose, mg/dL in a mmol/L."""


Number = TypeVar("Number", Array, npt.NDArray[np.float64])


class Glucose(NamedTuple):
    """The two glucose compartments, mmol/kg."""

    Q1: Float[Array, "..."]
    Q2: Float[Array, "..."]


def advance_glucose(
    glucose: Glucose,
    h: Float[Array, "..."],
    x1: Float[Array, "..."],
    x2: Float[Array, "..."],
    supply: Float[Array, "..."],
) -> Glucose:
    """One implicit-midpoint step of `h` min (A-stable, second order, one division, no branch).

    `x1`, `x2` (1/min) and `supply` = U_G + EGP + d (mmol/kg/min) are means over the step. F01c and F_R are
    linear in Q1 on each side of their kinks; the side is the one that the step starts on, and saturation is
    taken as linear around there.
    """
    g = 0.5 * h
    return half_step_twice(glucose, g, g * x1, g * x2, g * supply)


def half_step_twice(
    glucose: Glucose,
    g: Float[Array, "..."] | float,
    gx1: Float[Array, "..."],
    gx2: Float[Array, "..."],
    gsupply: Float[Array, "..."],
) -> Glucose:
    """`advance_glucose` of h = 2 g with everything multiplied by g already, for those who can do it once."""
    Q1, Q2 = glucose
    low = Q1 < CNS_SATURATION * V_G
    high = Q1 > RENAL_THRESHOLD * V_G
    slope = jnp.where(low, g * (F_01 / (CNS_SATURATION * V_G)), jnp.where(high, g * RENAL_CLEARANCE, 0.0))
    offset = jnp.where(
        low, 0.0, jnp.where(high, g * (RENAL_CLEARANCE * RENAL_THRESHOLD * V_G - F_01), g * -F_01)
    )
    # uptake as a line in Q1 around where the step starts: s Q1 + o
    share = SATURATION / (SATURATION + Q1)
    uptake = gx1 * saturation(Q1)
    o = uptake * (1.0 - share) * Q1
    s = uptake * share
    p = 1.0 + s + (slope + g * GLUCOSE_EFFECTIVENESS)
    q = (1.0 + g * K_12) + gx2
    r1 = (Q1 - o) + (gsupply + (offset + g * (GLUCOSE_EFFECTIVENESS * GLUCOSE_REFERENCE * V_G)))
    determinant = p * q - (g * K_12) * s
    # 2 mid1 - Q1; the second from its own equation, so that a kernel for it need not solve both again. Both
    # end in their division: XLA stores what a division gives and does not fuse it into what reads it
    after1 = jnp.maximum(2.0 * (r1 * q + (g * K_12) * (Q2 + o)) - determinant * Q1, 0.0) / determinant
    after2 = jnp.maximum(s * (after1 + Q1) + 2.0 * o + (2.0 - q) * Q2, 0.0) / q
    return Glucose(after1, after2)


def saturation(Q1: Number) -> Number:
    """What x1 is multiplied by at an amount of Q1 mmol/kg; 1 at G_r."""
    return (SATURATION + V_G * GLUCOSE_REFERENCE) / (SATURATION + Q1)


def production(EGP0: Float[Array, "..."], x3: Float[Array, "..."]) -> Float[Array, "..."]:
    """Endogenous glucose production, mmol/kg/min."""
    return EGP0 * jnp.maximum(1.0 - x3, 0.0)


FloatArray = npt.NDArray[np.float64]


def sensitivity_scale(
    basal_mU_kg_min: FloatArray, glucose_mmol_L: FloatArray, EGP0: FloatArray, S: tuple[FloatArray, ...]
) -> FloatArray:
    """The factor s on all three sensitivities S for which the basal rate holds that glucose.

    Steady state of eqs 1-2 with x_j = s c_j, c_j = S_j I_b (c_1 times the saturation at that glucose) and
    I_b = u / (k_e V_I) is a quadratic in s:
    (E(1 - c3 s) - F)(k12 + c2 s) - c1 c2 Q1 s^2 = 0 with one positive root when E > F = F01c + F_R.
    """
    I_b = basal_mU_kg_min / (K_E * V_I)
    c1, c2, c3 = (S_j * I_b for S_j in S)
    F = losses(glucose_mmol_L)
    Q1 = glucose_mmol_L * V_G
    c1 = c1 * saturation(Q1)
    a = -EGP0 * c3 * c2 - c1 * c2 * Q1
    b = EGP0 * (c2 - c3 * K_12) - F * c2
    c = np.maximum(EGP0 - F, 0.05 * EGP0) * K_12
    return (-b - np.sqrt(b * b - 4.0 * a * c)) / (2.0 * a)


def glucose_per_insulin(
    basal_mU_kg_min: FloatArray,
    glucose_mmol_L: FloatArray | float,
    EGP0: FloatArray,
    S: tuple[FloatArray, FloatArray, FloatArray],
) -> FloatArray:
    """How much glucose a little more insulin disposes of where that basal rate holds that glucose, mmol/mU.

    In steady state what insulin holds back and disposes of is R = E S_IE I + x1 Q1 x2 / (k12 + x2), with
    I = u / (k_e V_I), x1 = S_IT I (times the saturation) and x2 = S_ID I; this is dR/du at constant glucose.
    What a bolus does in all is what a rate does in steady state, since the chain is linear.
    """
    I_b = basal_mU_kg_min / (K_E * V_I)
    Q1 = np.asarray(glucose_mmol_L * V_G, dtype=np.float64)
    x1, x2, x3 = (S_j * I_b for S_j in S)
    x1 = x1 * saturation(Q1)
    away = K_12 + x2
    per_rate: FloatArray = (EGP0 * x3 + x1 * Q1 * x2 * (1.0 / away + K_12 / away**2)) / basal_mU_kg_min
    return per_rate


def losses(glucose_mmol_L: FloatArray) -> FloatArray:
    """F01c + F_R + S_GZ V_G (G - G_r) at that glucose, mmol/kg/min."""
    return (
        F_01 * np.minimum(1.0, glucose_mmol_L / CNS_SATURATION)
        + RENAL_CLEARANCE * V_G * np.maximum(0.0, glucose_mmol_L - RENAL_THRESHOLD)
        + GLUCOSE_EFFECTIVENESS * V_G * (glucose_mmol_L - GLUCOSE_REFERENCE)
    )
