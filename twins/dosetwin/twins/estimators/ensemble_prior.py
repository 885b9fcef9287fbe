"""The prior of one patient: an ensemble drawn from the published population, at its own basal equilibrium.

Every member draws its own parameters, its own basal glucose and its own basal need; the common scale of its
three insulin sensitivities is then what makes that basal delivery hold that glucose (a quadratic, `hovorka`).
So a total daily dose tells the twin how sensitive the patient is, as it tells a clinician; a known basal rate
tells it better. How many grams a unit covers, as told or as is usual, is then an observation of all draws
(`ensemble_meal_ratio`); a correction factor that is told sizes candidates and the law's corrections alone.

Sources. Medians: Hovorka 2004, Table 1. Coefficients of variation of S_IT, S_ID, S_IE, EGP_0 (63, 96, 59, 24
%) and of 1/t_maxI (25 %): the population that the group's simulator and its users draw from (Wilinska 2010;
Boiroux 2010), quoted from memory of these papers and to be checked against print; taken as log-normal, and
for the three sensitivities halved on the log scale, because half of that variation is between patients
and is already in the total daily dose (our assumption). The k_aj
vary by 75 to 100 % between people (Hovorka 2002, Am J Physiol 282:E992, Table 2), which is taken as one
factor of
0.45 on the log scale around 0.8, since taking insulin to act too soon is the costlier error (our
assumption). Spread of t_maxG, A_G, basal glucose, of the glucose
a twin is first met with, of the time of day, and of the share of the dose that is basal: our assumption.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_meal_ratio import conditioned, known_ratio, ratio_g_per_U
from dosetwin.twins.models import glucose_sensor as sensor
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_absorption import K_E, V_I

BASAL_SHARE = 0.50
"""Share of the total daily dose that is basal (clinical rule: 45-50 %)."""
BASAL_SHARE_LOG_SD = 0.15
"""Its spread between people, on the log scale; a basal rate that is given is as wrong as half of that."""
CORRECTION_RULE = 1800.0
"""mg/dL that 1 U lowers, times total daily dose (the 1800 rule for rapid-acting insulin)."""
LOG_SD = {
    row.LN_SIT: 0.29,
    row.LN_SID: 0.40,
    row.LN_SIE: 0.27,
    row.LN_EGP0: 0.20,
    row.LN_TI: 0.25,
    row.LN_TG: 0.3,
    row.LN_AG: 0.2,
    row.LN_KA: 0.45,
    row.DAY_C1: 0.10,
    row.DAY_S1: 0.10,
    row.DAY_C2: 0.06,
    row.DAY_S2: 0.06,
}
MEAL_TIME_MIN, MEAL_SHARE = 55.0, 0.6
"""Medians of t_maxG and A_G. Slower and less than Hovorka's 40 min and 0.8, with which a gram raises glucose
by far more than the 500 rule lets a unit cover (5 g/U, not 9, at 53 U a day and 75 kg). Our assumption."""
ADULT_KG, PRODUCTION_EXPONENT = 70.0, -0.5
"""Production of glucose per kg is higher in children: about 2.3 mg/kg/min in adults, 4 to 5 at 30 kg (Bier
1977, Diabetes 26:1016). The power of weight is our assumption."""
BASAL_GLUCOSE_MMOL_L, BASAL_GLUCOSE_LOG_SD = 7.2, 0.20
FIRST_GLUCOSE_MMOL_L, FIRST_GLUCOSE_LOG_SD = 8.0, 0.45
_MEDIANS = {
    row.LN_SIT: hovorka.S_IT,
    row.LN_SID: hovorka.S_ID,
    row.LN_SIE: hovorka.S_IE,
    row.LN_EGP0: hovorka.EGP_0,
    row.LN_TI: hovorka.T_MAX_I,
    row.LN_TG: MEAL_TIME_MIN,
    row.LN_AG: MEAL_SHARE,
    row.LN_KA: 0.8,
    row.DAY_C1: 1.0,
    row.DAY_S1: 1.0,
    row.DAY_C2: 1.0,
    row.DAY_S2: 1.0,
}

Ensemble = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


class Settings(NamedTuple):
    """What is known of a patient at enrolment; 0 is not known."""

    weight_kg: float
    total_daily_dose_U: float
    basal_rate_U_per_h: float = 0.0
    carbohydrate_ratio_g_per_U: float = 0.0
    correction_factor_mg_dL_per_U: float = 0.0

    @property
    def basal_U_per_h(self) -> float:
        """The basal programme: the pump's own where it is given, else the usual share of the daily dose."""
        return self.basal_rate_U_per_h or basal_U_per_h(self.total_daily_dose_U)

    @property
    def effective_daily_dose_U(self) -> float:
        """The total daily dose that stands for how sensitive the patient is.

        With a known correction factor the geometric mean of the dose and of what that says (the 1800 rule).
        """
        if not self.correction_factor_mg_dL_per_U:
            return self.total_daily_dose_U
        return math.sqrt(self.total_daily_dose_U * CORRECTION_RULE / self.correction_factor_mg_dL_per_U)


def basal_U_per_h(total_daily_dose_U: float) -> float:
    """The basal programme that a total daily dose stands for."""
    return BASAL_SHARE * total_daily_dose_U / 24.0


def prior_ensemble(
    rng: np.random.Generator,
    weight_kg: float,
    total_daily_dose_U: float,
    members: int = row.MEMBERS,
    *,
    settings: Settings | None = None,
) -> Ensemble:
    """`members` draws of state and parameters, float32[ROWS, members], at basal equilibrium of insulin."""
    known = settings or Settings(weight_kg, total_daily_dose_U)
    z = rng.standard_normal((row.ROWS, members))
    if members > 2:
        z -= np.add.reduce(z, 1, keepdims=True) / members
        z /= np.sqrt(np.einsum("rm,rm->r", z, z) / members)[:, None]
    ratio = known_ratio(weight_kg, known.total_daily_dose_U, known.carbohydrate_ratio_g_per_U)
    z = conditioned(z, _DECIDES_RATIO, lambda probes: np.log(_basal(probes, known).ratio_g_per_U), ratio)
    basal = _basal(z, known)
    x = np.zeros((row.ROWS, members))
    x[row.LN_SIT :] = basal.parameters
    programme = known.basal_U_per_h * 1000.0 / 60.0 / weight_kg
    t_maxI = np.exp(x[row.LN_TI])

    plasma = programme / (K_E * V_I)
    x[row.S1 : row.S2 + 1] = programme * t_maxI
    x[row.PLASMA : row.Y3 + 1] = plasma
    first = FIRST_GLUCOSE_MMOL_L * np.exp(FIRST_GLUCOSE_LOG_SD * z[row.Q1])
    x[row.Q1] = first * hovorka.V_G
    x1, x2 = np.exp(x[row.LN_SIT]) * plasma, np.exp(x[row.LN_SID]) * plasma
    x1 *= hovorka.saturation(x[row.Q1])
    x[row.Q2] = x1 * x[row.Q1] / (hovorka.K_12 + x2)
    x[row.C] = first * np.exp(0.05 * z[row.C])
    x[row.FLUX] = row.FLUX_SD * z[row.FLUX]
    x[row.BIAS] = sensor.persisting_error(z[row.BIAS])
    x[row.SITE] = 1.0
    return np.clip(x, _LOWER, _UPPER).astype(np.float32)


class _Basal(NamedTuple):
    """Log-parameters [LN_SIT to the last row, members] at which the basal need holds the fasting glucose."""

    parameters: FloatArray
    ratio_g_per_U: FloatArray


def _basal(z: FloatArray, known: Settings) -> _Basal:
    """Of standard normal draws `z` [rows, members]."""
    parameters = _LOG_SD * z[row.LN_SIT :] + _LOG_MEDIAN
    parameters[row.LN_EGP0 - row.LN_SIT] += PRODUCTION_EXPONENT * math.log(
        min(known.weight_kg / ADULT_KG, 1.0)
    )
    np.clip(parameters, _LOWER[row.LN_SIT :], _UPPER[row.LN_SIT :], out=parameters)
    share = (0.5 if known.basal_rate_U_per_h else 1.0) * BASAL_SHARE_LOG_SD
    need = known.basal_U_per_h * 1000.0 / 60.0 / known.weight_kg * np.exp(share * z[row.S1])
    fasting = BASAL_GLUCOSE_MMOL_L * np.exp(BASAL_GLUCOSE_LOG_SD * z[row.Q2])
    S_IT, S_ID, S_IE, EGP0 = np.exp(parameters[:4])
    scale = hovorka.sensitivity_scale(need, fasting, EGP0, (S_IT, S_ID, S_IE))
    parameters[:3] += np.log(scale)
    A_G = np.exp(parameters[row.LN_AG - row.LN_SIT])
    S = scale * S_IT, scale * S_ID, scale * S_IE
    return _Basal(parameters, ratio_g_per_U(need, fasting, EGP0, S, A_G))


_DECIDES_RATIO = (row.LN_SIT, row.LN_SID, row.LN_SIE, row.LN_EGP0, row.LN_AG, row.S1, row.Q2)
_LOG_SD = np.array([LOG_SD[r] for r in row.PARAMETER_ROWS])[:, None]
_LOG_MEDIAN = np.log([_MEDIANS[r] for r in row.PARAMETER_ROWS])[:, None]
_LOWER, _UPPER = row.LOWER[:, None].astype(float), row.UPPER[:, None].astype(float)


def sensitivity_centre(ensemble: Ensemble) -> float:
    """Mean over the members of the mean log-sensitivity: the a-priori value that a factor is relative to."""
    return float(ensemble[[row.LN_SIT, row.LN_SID, row.LN_SIE]].mean())
