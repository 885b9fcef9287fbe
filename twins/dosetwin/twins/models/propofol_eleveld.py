"""Propofol by Eleveld 2018: typical pharmacokinetics, effect site, effect on the bispectral index.

Eleveld, Colin, Absalom & Struys 2018, Br J Anaesth 120:942, doi:10.1016/j.bja.2018.01.018, Table 2
(arterial):

    V1 = 6.28 f(W)/f(70),  f(W) = W / (W + 33.6)          L
    V2 = 25.5 (W/70) e^{-0.0156 (age - 35)}                L
    V3 = 273 (FFM/FFM_ref) e^{-0.0138 age} (with opioids)  L
    CL = {1.79 men, 2.10 women} (W/70)^0.75 m(PMA)/m(PMA_ref) e^{-0.00286 age} (with opioids)   L/min
    Q2 = 1.75 (V2/25.5)^0.75 (1 + 1.30 (1 - q(age)))       L/min
    Q3 = 1.11 (V3/273)^0.75 q(age)/q(35)                   L/min
    ke0 = 0.146 (W/70)^-0.25 /min,   C50 = 3.08 e^{-0.00635 (age - 35)} ug/mL,   delay 15 + e^{0.0517 age} s

m is a Hill curve of post-menstrual age (weeks; 42.3, steepness 9.06), q(age) = (age_w + 40)/(age_w + 40 +
68.3) in weeks, FFM the fat-free mass of Al-Sallami 2015, of which the reference (35 a, 70 kg, 170 cm, male)
has FFM_ref.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from dosetwin.twins.models.body_size import fat_free_mass_al_sallami_kg

V1, V2, V3 = 6.28, 25.5, 273.0
CL_MALE, CL_FEMALE, Q2, Q3 = 1.79, 2.10, 1.75, 1.11
KE0_PER_MIN, C50_UG_ML = 0.146, 3.08
BASELINE_BIS = 93.0
STEEPNESS: Final = (1.47, 1.89)
"""Hill exponent above and below C50."""
VARIANCES: Final = {
    "V1": 0.610,
    "V2": 0.565,
    "V3": 0.597,
    "CL": 0.265,
    "Q2": 0.346,
    "Q3": 0.209,
    "ke0": 0.702,
    "C50": 0.242,
}
"""Variances of the log-normal differences between people (Eleveld 2018, Tables 2 and 3)."""
_WEEKS_PER_YEAR = 52.0
_TERM_WEEKS = 40.0


class Disposition(NamedTuple):
    """Volumes in L, clearances in L/min, ke0 in 1/min: what an effect-site simulation takes."""

    V1: float
    V2: float
    V3: float
    CL: float
    Q2: float
    Q3: float
    ke0: float


def _hill(x: float, half: float, steepness: float) -> float:
    return float(x**steepness / (x**steepness + half**steepness))


def typical_disposition(
    age_a: float, weight_kg: float, height_cm: float, sex_male: float, *, opioids: bool = True
) -> Disposition:
    """The typical patient of these covariates. Raises ModelError where no person has them."""
    fat_free = float(fat_free_mass_al_sallami_kg(age_a, weight_kg, height_cm, sex_male))
    reference = float(fat_free_mass_al_sallami_kg(35.0, 70.0, 170.0, 1.0))
    weeks, weeks_ref = (a * _WEEKS_PER_YEAR + _TERM_WEEKS for a in (age_a, 35.0))
    volume2 = V2 * weight_kg / 70.0 * np.exp(-0.0156 * (age_a - 35.0))
    volume3 = V3 * fat_free / reference * (np.exp(-0.0138 * age_a) if opioids else 1.0)
    central = weight_kg / (weight_kg + 33.6) / (70.0 / (70.0 + 33.6))
    clearance = CL_MALE if sex_male > 0.5 else CL_FEMALE
    matured, matured_ref = (_hill(w, 42.3, 9.06) for w in (weeks, weeks_ref))
    slow, slow_ref = (_hill(w, 68.3, 1.0) for w in (weeks, weeks_ref))
    return Disposition(
        V1=float(V1 * central),
        V2=float(volume2),
        V3=float(volume3),
        CL=float(
            clearance
            * (weight_kg / 70.0) ** 0.75
            * matured
            / matured_ref
            * (np.exp(-0.00286 * age_a) if opioids else 1.0)
        ),
        Q2=float(Q2 * (volume2 / V2) ** 0.75 * (1.0 + 1.30 * (1.0 - slow))),
        Q3=float(Q3 * (volume3 / V3) ** 0.75 * slow / slow_ref),
        ke0=float(KE0_PER_MIN * (weight_kg / 70.0) ** -0.25),
    )


def half_maximal_ug_mL(age_a: float) -> float:
    """Effect-site concentration of half the effect on the index, ug/mL."""
    return float(C50_UG_ML * np.exp(-0.00635 * (age_a - 35.0)))


def index_delay_s(age_a: float) -> float:
    """Time by which the index follows the effect, s: 15 + e^{0.0517 age}."""
    return float(15.0 + np.exp(0.0517 * age_a))
