"""Remifentanil: typical pharmacokinetics and effect-site equilibration by Eleveld 2017.

Eleveld et al. 2017, Anesthesiology 126:1005, doi:10.1097/ALN.0000000000001634. S is the fat-free mass of
Al-Sallami 2015 over that of the reference (35 a, 70 kg, 170 cm, male), a(x) = e^{x (age - 35)}, K_sex = 1 for
men and 1 + 0.470 h(age; 12, 6) (1 - h(age; 45, 6)) for women, K_mat = h(W; 2.88, 2)/h(70; 2.88, 2), h a Hill
curve:

    V1 = 5.81 S a(-0.00554),  V2 = 8.82 S a(-0.00327) K_sex,  V3 = 5.03 S a(-0.0315) e^{-0.0260 (W - 70)}    L
    CL = 2.58 S^0.75 K_mat K_sex a(-0.00327),  Q2 = 1.72 (V2/8.82)^0.75 a(-0.00554) K_sex,
    Q3 = 0.124 (V3/5.03)^0.75 a(-0.00554)    L/min,       ke0 = 1.09 a(-0.0289) /min
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dosetwin.twins.models.body_size import fat_free_mass_al_sallami_kg
from dosetwin.twins.models.propofol_eleveld import Disposition

VARIANCES: Final = {
    "V1": 0.104,
    "V2": 0.115,
    "V3": 0.810,
    "CL": 0.0197,
    "Q2": 0.0547,
    "Q3": 0.285,
    "ke0": 1.26,
}
"""Variances of the log-normal differences between people (Eleveld 2017, Tables 2 and 3)."""


def _hill(x: float, half: float, steepness: float) -> float:
    return float(x**steepness / (x**steepness + half**steepness))


def typical_disposition(age_a: float, weight_kg: float, height_cm: float, sex_male: float) -> Disposition:
    """The typical patient of these covariates. Raises ModelError where no person has them."""
    size = float(fat_free_mass_al_sallami_kg(age_a, weight_kg, height_cm, sex_male)) / float(
        fat_free_mass_al_sallami_kg(35.0, 70.0, 170.0, 1.0)
    )
    women = 1.0 + 0.470 * _hill(age_a, 12.0, 6.0) * (1.0 - _hill(age_a, 45.0, 6.0))
    sex = 1.0 if sex_male > 0.5 else women
    mature = _hill(weight_kg, 2.88, 2.0) / _hill(70.0, 2.88, 2.0)

    def aged(slope: float) -> float:
        return float(np.exp(slope * (age_a - 35.0)))

    volume2 = size * aged(-0.00327) * sex
    volume3 = size * aged(-0.0315) * float(np.exp(-0.0260 * (weight_kg - 70.0)))
    return Disposition(
        V1=5.81 * size * aged(-0.00554),
        V2=8.82 * volume2,
        V3=5.03 * volume3,
        CL=2.58 * size**0.75 * mature * sex * aged(-0.00327),
        Q2=1.72 * volume2**0.75 * aged(-0.00554) * sex,
        Q3=0.124 * volume3**0.75 * aged(-0.00554),
        ke0=1.09 * aged(-0.0289),
    )
