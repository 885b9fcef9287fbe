"""What a member of the ensemble holds: the rows of the state, their bounds, noise and gain.

An ensemble is `float32[ROWS, members]`; kernels add the patient as the last, contiguous axis. Amounts are per
kg of body weight, so that weight enters only where a dose or a meal does.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_response import T_MAX_I_RANGE_MIN

MEMBERS: Final = 32

S1, S2, PLASMA, Y1, Y2, Y3, D1, D2, Q1, Q2, C, FLUX, BIAS = range(13)
"""States: insulin chain (mU/kg, mU/kg, mU/L, 3 x mU/L), gut (g/kg x 2), glucose (mmol/kg x 2), interstitial
glucose (mmol/L), unannounced flux (mmol/kg/min), persisting relative sensor error."""
LN_SIT, LN_SID, LN_SIE, LN_EGP0, LN_TI, LN_TG, LN_AG = range(13, 20)
"""Logarithms of S_IT, S_ID, S_IE, EGP_0, t_maxI, t_maxG, A_G."""
ROWS: Final = 20
SIZE: Final = ROWS * MEMBERS

FLUX_SD = 0.004
"""Standard deviation of the unannounced flux, mmol/kg/min (a quarter of EGP_0). Our assumption."""
FLUX_TIME_MIN = 60.0
"""Its time constant, min. Our assumption."""
DRIFT_PER_SQRT_DAY: Final[dict[int, float]] = {
    LN_SIT: 0.20,
    LN_SID: 0.20,
    LN_SIE: 0.20,
    LN_EGP0: 0.08,
    LN_TI: 0.10,
    LN_TG: 0.15,
    LN_AG: 0.05,
}
"""Random walk of the log-parameters, per square root of a day. Our assumption; sensitivity is known to vary
within the day (Visentin 2018, J Diabetes Sci Technol 12:273)."""
MEAL_ERROR_CV = 0.20
"""Log-scale standard deviation of announced carbohydrate (people estimate within about 20 %)."""

PARAMETER_ROWS: Final = tuple(DRIFT_PER_SQRT_DAY)


def _rows(values: dict[int, float], default: float) -> npt.NDArray[np.float32]:
    out = np.full(ROWS, default, np.float32)
    for row, value in values.items():
        out[row] = value
    return out


def _around(log_value: float, spread: float) -> tuple[float, float]:
    return log_value - spread, log_value + spread


_BOUNDS: Final[dict[int, tuple[float, float]]] = {
    S1: (0.0, 2000.0),
    S2: (0.0, 2000.0),
    PLASMA: (0.0, 5000.0),
    Y1: (0.0, 5000.0),
    Y2: (0.0, 5000.0),
    Y3: (0.0, 5000.0),
    D1: (0.0, 30.0),
    D2: (0.0, 30.0),
    Q1: (0.05, 12.0),
    Q2: (0.0, 40.0),
    C: (0.3, 70.0),
    FLUX: (-0.03, 0.08),
    BIAS: (-0.4, 0.4),
    LN_SIT: _around(float(np.log(hovorka.S_IT)), 4.0),
    LN_SID: _around(float(np.log(hovorka.S_ID)), 4.0),
    LN_SIE: _around(float(np.log(hovorka.S_IE)), 4.0),
    LN_EGP0: (float(np.log(1.1 * hovorka.F_01)), float(np.log(0.040))),
    LN_TI: (float(np.log(T_MAX_I_RANGE_MIN[0])), float(np.log(T_MAX_I_RANGE_MIN[1]))),
    LN_TG: (float(np.log(15.0)), float(np.log(120.0))),
    LN_AG: (float(np.log(0.4)), float(np.log(1.4))),
}
LOWER = _rows({row: low for row, (low, _) in _BOUNDS.items()}, -np.inf)
UPPER = _rows({row: high for row, (_, high) in _BOUNDS.items()}, np.inf)

GAIN = _rows({S1: 0.0, S2: 0.0, PLASMA: 0.0, **dict.fromkeys(PARAMETER_ROWS, 0.25)}, 1.0)
"""Share of the ensemble's gain that a row takes. Insulin under the skin and in plasma is known from what was
delivered: correlations with it from 32 members are chance, so it is left alone. Parameters take a
quarter, against chance correlations too; with the relaxation below, this is the pair of values at which
prediction intervals cover what they say (tests/twins/t1d/test_calibration.py)."""
RELAXATION = _rows(dict.fromkeys(PARAMETER_ROWS, 0.5), 0.0)
"""Relaxation of the analysed to the forecast perturbations (Zhang, Snyder & Sun 2004), per row."""
