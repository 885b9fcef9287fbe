"""Equations that turn what is measured of a patient into what models are written in. NumPy, any shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def cockcroft_gault_mL_min(
    age_a: Values, weight_kg: Values, sex_male: Values, creatinine_mg_dL: Values
) -> Values:
    """Creatinine clearance, mL/min: (140 - age) weight / (72 creatinine), times 0.85 for women.

    Cockcroft & Gault 1976, Nephron 16:31, doi:10.1159/000180580. Above 139 years it is held at 1 year left.
    """
    clearance = np.maximum(140 - age_a, 1) * weight_kg / (72 * creatinine_mg_dL)
    return np.where(sex_male > 0.5, clearance, 0.85 * clearance)


def lean_body_mass_james_kg(weight_kg: Values, height_cm: Values, sex_male: Values) -> Values:
    """Lean body mass, kg: 1.1 W - 128 (W/H)^2 for men, 1.07 W - 148 (W/H)^2 for women.

    James 1976 (DHSS/MRC report on obesity), the form that Minto 1997 used. It falls again in great obesity.
    """
    ratio = (weight_kg / height_cm) ** 2
    return np.where(sex_male > 0.5, 1.1 * weight_kg - 128 * ratio, 1.07 * weight_kg - 148 * ratio)


def fat_free_mass_al_sallami_kg(
    age_a: Values, weight_kg: Values, height_cm: Values, sex_male: Values
) -> Values:
    """Fat-free mass, kg, from birth to old age: Janmahasatian's equation times a maturation in age.

    men   (0.88 + 0.12 / (1 + (age/13.4)^-12.7)) 9270 W / (6680 + 216 BMI)
    women (1.11 - 0.11 / (1 + (age/7.1)^-1.1))  9270 W / (8780 + 244 BMI)

    Al-Sallami 2015, Clin Pharmacokinet 54:1169, doi:10.1007/s40262-015-0277-z.
    """
    body_mass_index = weight_kg / (height_cm / 100) ** 2
    age = np.maximum(age_a, 1e-3)
    men = (0.88 + 0.12 / (1 + (age / 13.4) ** -12.7)) * 9270 * weight_kg / (6680 + 216 * body_mass_index)
    women = (1.11 - 0.11 / (1 + (age / 7.1) ** -1.1)) * 9270 * weight_kg / (8780 + 244 * body_mass_index)
    return np.where(sex_male > 0.5, men, women)
