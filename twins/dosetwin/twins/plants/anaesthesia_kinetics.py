"""Propofol by Schnider 1998 and remifentanil by Minto 1997: three compartments, an effect site, exact steps.

    dT = u - T / 20 s
    dA1 = T / 20 s - (CL1 + CL2 + CL3)/V1 A1 + CL2/V2 A2 + CL3/V3 A3
    dA2 = CL2 (A1/V1 - A2/V2)      dA3 = CL3 (A1/V1 - A3/V3)      dCe = ke0 (A1/V1 - Ce)

Propofol (mg, L, L/min), age a in years, weight W kg, height H cm, lean body mass L kg (James 1976):
    V1 = 4.27   V2 = 18.9 - 0.391 (a - 53)   V3 = 238
    CL1 = 1.89 + 0.0456 (W - 77) - 0.0681 (L - 59) + 0.0264 (H - 177)
    CL2 = 1.29 - 0.024 (a - 53)   CL3 = 0.836   ke0 = 0.456 /min
Remifentanil (ug, L, L/min):
    V1 = 5.1 - 0.0201 (a - 40) + 0.072 (L - 55)   V2 = 9.82 - 0.0811 (a - 40) + 0.108 (L - 55)   V3 = 5.42
    CL1 = 2.6 - 0.0162 (a - 40) + 0.0191 (L - 55)   CL2 = 2.05 - 0.0301 (a - 40)
    CL3 = 0.076 - 0.00113 (a - 40)   ke0 = 0.595 - 0.007 (a - 40) /min

T is on its way from the vein to the heart, lungs and brain (about 20-30 s in an adult; first order with a
mean of 20 s is our assumption): without it the papers' instantaneous mixing puts people to sleep too soon.

Sources: Schnider et al., Anesthesiology 1998;88:1170, doi:10.1097/00000542-199805000-00006 (24 volunteers of
26-81 years) and 1999;90:1502, doi:10.1097/00000542-199906000-00003 (ke0); Minto et al., Anesthesiology
1997;86:10, doi:10.1097/00000542-199701000-00004 (65 volunteers of 20-85 years).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm

FloatArray = npt.NDArray[np.float64]
STEP_S = 1.0
COMPARTMENTS = 5
"""Central, rapid, slow (amounts), effect site (concentration), on the way (amount)."""
TRANSIT_MIN = 20.0 / 60.0


class Kinetics(NamedTuple):
    """One drug's V1, V2, V3 (L), CL1, CL2, CL3 (L/min), ke0 (/min) of n people, an array [n] each."""

    V1: FloatArray
    V2: FloatArray
    V3: FloatArray
    CL1: FloatArray
    CL2: FloatArray
    CL3: FloatArray
    ke0: FloatArray


def lean_body_mass_kg(weight_kg: FloatArray, height_cm: FloatArray, male: FloatArray) -> FloatArray:
    """James 1976: 1.1 W - 128 (W/H)^2 in men, 1.07 W - 148 (W/H)^2 in women; arrays [n].

    It falls again beyond a BMI of 43 (men) and 36 (women), where neither model was studied.
    """
    ratio = (weight_kg / height_cm) ** 2
    lean: FloatArray = np.where(male > 0.5, 1.1 * weight_kg - 128 * ratio, 1.07 * weight_kg - 148 * ratio)
    return lean


def schnider(age_a: FloatArray, weight_kg: FloatArray, height_cm: FloatArray, male: FloatArray) -> Kinetics:
    """Propofol in typical people of these covariates [n]."""
    a, one = age_a - 53, np.ones_like(age_a)
    L = lean_body_mass_kg(weight_kg, height_cm, male)
    CL1 = 1.89 + 0.0456 * (weight_kg - 77) - 0.0681 * (L - 59) + 0.0264 * (height_cm - 177)
    return Kinetics(
        V1=4.27 * one,
        V2=18.9 - 0.391 * a,
        V3=238 * one,
        CL1=CL1,
        CL2=1.29 - 0.024 * a,
        CL3=0.836 * one,
        ke0=0.456 * one,
    )


def minto(age_a: FloatArray, weight_kg: FloatArray, height_cm: FloatArray, male: FloatArray) -> Kinetics:
    """Remifentanil in typical people of these covariates [n]."""
    a, one = age_a - 40, np.ones_like(age_a)
    L = lean_body_mass_kg(weight_kg, height_cm, male) - 55
    return Kinetics(
        V1=5.1 - 0.0201 * a + 0.072 * L,
        V2=9.82 - 0.0811 * a + 0.108 * L,
        V3=5.42 * one,
        CL1=2.6 - 0.0162 * a + 0.0191 * L,
        CL2=2.05 - 0.0301 * a,
        CL3=0.076 - 0.00113 * a,
        ke0=0.595 - 0.007 * a,
    )


def rate_matrix(k: Kinetics) -> FloatArray:
    """The system of `Kinetics` per minute, [n, 6, 6]: five states and a constant input (amount a minute)."""
    M = np.zeros((len(k.V1), COMPARTMENTS + 1, COMPARTMENTS + 1))
    M[:, 0, 0] = -(k.CL1 + k.CL2 + k.CL3) / k.V1
    M[:, 0, 1], M[:, 0, 2], M[:, 0, 4] = k.CL2 / k.V2, k.CL3 / k.V3, 1.0 / TRANSIT_MIN
    M[:, 4, 4], M[:, 4, 5] = -1.0 / TRANSIT_MIN, 1.0
    M[:, 1, 0], M[:, 1, 1] = k.CL2 / k.V1, -k.CL2 / k.V2
    M[:, 2, 0], M[:, 2, 2] = k.CL3 / k.V1, -k.CL3 / k.V3
    M[:, 3, 0], M[:, 3, 3] = k.ke0 / k.V1, -k.ke0
    return M


def propagator(k: Kinetics, step_s: float = STEP_S) -> tuple[FloatArray, FloatArray]:
    """x1 = D x0 + g u exactly, for a rate u (amount a minute) that is constant over the step.

    D [5, 5, n] and g [5, n]: the people are the last axis, as everywhere in the plant.
    """
    E = expm(rate_matrix(k) * (step_s / 60.0))
    return np.moveaxis(E[:, :-1, :-1], 0, -1), np.moveaxis(E[:, :-1, -1], 0, -1)


def steady_rate_per_min(k: Kinetics, concentration: FloatArray) -> FloatArray:
    """What holds a concentration for ever: CL1 C, amount a minute [n]."""
    rate: FloatArray = k.CL1 * concentration
    return rate
