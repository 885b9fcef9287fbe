"""What a twin stores: the rows of its members with bounds, noise and gain, and its hypotheses after them.

An ensemble is `float32[ROWS, members]`; kernels add the patient as the last, contiguous axis. Amounts are per
kg of body weight, so that weight enters only where a dose or a meal does. After the members lie the numbers
of the unknown-input hypotheses (`ensemble_hypotheses`); SIZE is the length of it all.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.models import hovorka

MEMBERS: Final = 64

S1, S2, PLASMA, Y1, Y2, Y3, D1, D2, Q1, Q2, C, FLUX, BIAS, SITE, D0 = range(15)
"""States: insulin chain (mU/kg, mU/kg, mU/L, 3 x mU/L), gut (g/kg x 2), glucose (mmol/kg x 2), interstitial
glucose (mmol/L), unannounced flux (mmol/kg/min), persisting sensor error (in its standard deviations), share
of the delivery that arrives (1, less where an infusion site fails), announced carbohydrate not yet eaten
(g/kg)."""
LN_SIT, LN_SID, LN_SIE, LN_EGP0, LN_TI, LN_TG, LN_AG, LN_KA = range(15, 23)
"""Logarithms of S_IT, S_ID, S_IE, EGP_0, t_maxI, t_maxG, A_G, and of the factor on all three k_aj."""
DAY_C1, DAY_S1, DAY_C2, DAY_S2 = range(23, 27)
"""Time of day in the logarithm of all three sensitivities: coefficients of cos and sin of one and two turns a
day of event time."""
ROWS: Final = 27

T_MAX_I_RANGE_MIN: Final = (20.0, 140.0)
"""Times to peak of insulin absorption that a member may have, min. Our assumption."""
EATING_MIN = 8.0
"""Mean time that announced carbohydrate waits before it is in the gut, min (a third of it on average does
not wait at all: `ensemble_filter`). Our assumption: people announce within some minutes of eating."""
FLUX_SD = 0.0025
"""Standard deviation of the unannounced flux, mmol/kg/min (a sixth of EGP_0; what is larger is a hypothesis
of its own). Our assumption."""
FLUX_TIME_MIN = 90.0
"""Its time constant, min. Our assumption."""
EXERCISE_FLUX = 0.008
"""What announced exercise of intensity 1 takes away, mmol/kg/min (half of EGP_0). Our assumption."""
DRIFT_PER_SQRT_DAY: Final[dict[int, float]] = {
    LN_SIT: 0.20,
    LN_SID: 0.20,
    LN_SIE: 0.20,
    LN_EGP0: 0.08,
    LN_TI: 0.10,
    LN_TG: 0.15,
    LN_AG: 0.05,
    LN_KA: 0.05,
    DAY_C1: 0.03,
    DAY_S1: 0.03,
    DAY_C2: 0.02,
    DAY_S2: 0.02,
}
"""Random walk of the log-parameters, per square root of a day. Our assumption; sensitivity is known to vary
within the day (Visentin 2018, J Diabetes Sci Technol 12:273)."""
MEAL_ERROR_CV = 0.25
"""Log-scale standard deviation of announced carbohydrate (people estimate within about 20 %)."""

PARAMETER_ROWS: Final = tuple(DRIFT_PER_SQRT_DAY)


class Family(NamedTuple):
    """One kind of unknown input: `cells` possible starts, each `width_min` long, the newest first.

    Its size is half-normal with mean `mean` (grams a patient for meals, else in the unit of the row that it
    enters), and it begins `per_day` times a day.
    """

    name: str
    cells: int
    width_min: float
    mean: float
    per_day: float


FAMILIES: Final = (
    Family("meal", 8, 10.0, 40.0, 8.0),
    Family("exercise", 2, 30.0, 0.006, 0.3),
    Family("compression_low", 4, 5.0, 3.0, 0.5),
    Family("site_failure", 2, 60.0, 0.5, 0.1),
)
"""Means and rates are our assumption: eight meals and snacks of 40 g a day; a bout of exercise that takes
0.006 mmol/kg/min every third day; a compression low of 3 sensor standard deviations (30 mg/dL) every other
night; an infusion site that loses half of the delivery every tenth day."""
MEAL, EXERCISE, COMPRESSION, SITE_FAILURE = range(4)
CELLS: Final = sum(family.cells for family in FAMILIES)
FIRST: Final = tuple(int(v) for v in np.cumsum([0, *(family.cells for family in FAMILIES)])[:-1])
"""Number of each family's newest cell."""
AFFECTED: Final = (*range(S1, SITE + 1), LN_SIT, LN_SID, LN_SIE, LN_EGP0)
"""Rows that an unknown input moves: S1 to SITE, and what the filter has wrongly learnt from it."""
EFFECTS: Final = len(AFFECTED)
_HYPOTHESES: Final = CELLS * EFFECTS + CELLS * CELLS + CELLS + 1
STATES: Final = ROWS * MEMBERS
SIZE: Final = STATES + _HYPOTHESES


def stored_size(members: int) -> int:
    """Numbers that a twin of that many members stores."""
    return ROWS * members + _HYPOTHESES


def members_of(size: int) -> int:
    """Members of a twin that stores so many numbers."""
    return (size - _HYPOTHESES) // ROWS


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
    BIAS: (-6.0, 6.0),
    SITE: (0.0, 1.0),
    D0: (0.0, 30.0),
    LN_SIT: _around(float(np.log(hovorka.S_IT)), 4.0),
    LN_SID: _around(float(np.log(hovorka.S_ID)), 4.0),
    LN_SIE: _around(float(np.log(hovorka.S_IE)), 4.0),
    LN_EGP0: (float(np.log(1.1 * hovorka.F_01)), float(np.log(0.040))),
    LN_TI: (float(np.log(T_MAX_I_RANGE_MIN[0])), float(np.log(T_MAX_I_RANGE_MIN[1]))),
    LN_TG: (float(np.log(15.0)), float(np.log(120.0))),
    LN_AG: (float(np.log(0.3)), float(np.log(1.4))),
    LN_KA: _around(0.0, 1.5),
    DAY_C1: (-0.6, 0.6),
    DAY_S1: (-0.6, 0.6),
    DAY_C2: (-0.4, 0.4),
    DAY_S2: (-0.4, 0.4),
}
LOWER = _rows({row: low for row, (low, _) in _BOUNDS.items()}, -np.inf)
UPPER = _rows({row: high for row, (_, high) in _BOUNDS.items()}, np.inf)

KNOWN: Final = (S1, S2, PLASMA, Y1, Y2, Y3, SITE)
GAIN = _rows({**dict.fromkeys(KNOWN, 0.0), **dict.fromkeys(PARAMETER_ROWS, 0.2)}, 1.0)
"""Share of the ensemble's gain that a row takes. Insulin is known from what was delivered: correlations with
it from so few members are chance, so it is left alone. Parameters take a fifth, against chance correlations
too (our assumption, chosen with the relaxation below)."""
RELAXATION = _rows(dict.fromkeys(PARAMETER_ROWS, 0.3), 0.0)
"""Relaxation of the analysed to the forecast perturbations (Zhang, Snyder & Sun 2004), per row."""
