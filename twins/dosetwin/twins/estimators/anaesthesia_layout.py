"""What a member of an anaesthesia twin holds: rows, bounds, drift, and what each sensor may move.

An ensemble is `float32[ROWS, members]`; kernels add the patient as the last, contiguous axis. Concentrations
of propofol are in ug/mL, of remifentanil in ng/mL, times in min, volumes in L.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

MEMBERS: Final = 48

P1, P2, P3, PE, PM = range(5)
"""Propofol: three compartments, effect sites of the brain and of the circulation."""
R1, R2, R3, RE, RM = range(5, 10)
"""Remifentanil, the same."""
B1, B2, B3 = range(10, 13)
"""The index on its way through the monitor (`anaesthesia_filter`)."""
S, SL, NB, DM, DH = range(13, 18)
"""Noxious stimulus that comes and goes, and the level that surgery holds (log of the factor by which more
drug is needed, without opioid); persisting error of the index, slow log-drift of MAP and HR."""
CLP, V1P, V2P, V3P, Q2P, Q3P, KEP, KMP = range(18, 26)
CLR, V1R, V2R, V3R, Q2R, Q3R, KER, KMR = range(26, 34)
"""Logarithms of the kinetics of propofol and remifentanil (L/min, L, 1/min)."""
C50P, C50R, ALPHA, GAMMA, TAU = range(34, 39)
"""Logarithms of what makes the index, and of its delay (min)."""
E0: Final = 39
"""Index awake (not a logarithm)."""
MAP0, EP, KP, ER, KR = range(40, 45)
HR0, FR = range(45, 47)
"""Logarithms of awake pressure and heart rate, and of what the drugs do to them."""
A, B = 47, 48
"""Logarithmic rise of MAP and of HR for each unit of stimulus past the opioid (not logarithms themselves)."""
C50S: Final = 49
"""Logarithm of the remifentanil that lets half of a stimulus through."""
ROWS: Final = 50
SIZE: Final = ROWS * MEMBERS
FIRST_PARAMETER: Final = CLP

STIMULUS_TIME_MIN, STIMULUS_SD = 8.0, 0.8
"""A stimulus settles into the level with this time constant; between jumps it wanders as if with this SD.

A monitor that averages shows a jump as a slope, which no single reading makes likely: wandering follows it.
"""
PASSES_MIN = 8.0
"""And with this one it passes, upwards or downwards: what came lately is about as likely to go as to stay."""
LEVEL_TIME_MIN, LEVEL_SD = 60.0, 0.8
"""The same of the level that surgery holds."""
JUMP_SD, LEVEL_JUMP_SD, JUMPS_PER_MIN = 0.35, 0.2, 1.0 / 8.0
"""Sizes (past the opioid) and hazard of a jump of both that nobody announced."""
INDEX_ERROR_SD, INDEX_ERROR_TIME_MIN, INDEX_WHITE_SD = 3.0, 0.5, 2.5
ARTEFACT_PROBABILITY = 0.005
PRESSURE_DRIFT_SD, HEART_RATE_DRIFT_SD, CIRCULATION_DRIFT_TIME_MIN = 0.07, 0.07, 15.0
PRESSURE_WHITE_SD, HEART_RATE_WHITE_SD = 4.0, 3.0
"""All of these are our assumption; the sizes of stimuli are those of Struys 2004 (10-30 points for minutes,
doi:10.1097/00000542-200403000-00026)."""
MOST_STIMULUS, MOST_LEVEL = 1.5, 1.0
"""Bounds of S and of SL, up and down: no stimulus asks for more than e^1.5, and no surgery for more than e^1
times the drug. What is missing beyond that is the patient, who is then learned. Our assumption; laryngoscopy
asks for 1.9 times the C50 of the index (Bouillon 2004: 8.04 x 1.05 by 4.47 ug/mL)."""
DRIFT_PER_SQRT_HOUR: Final[dict[int, float]] = {
    C50P: 0.12,
    C50R: 0.10,
    GAMMA: 0.05,
    CLP: 0.08,
    MAP0: 0.05,
    HR0: 0.05,
}
"""Random walk of log-parameters. Our assumption."""


def _rows(values: dict[int, float], default: float) -> npt.NDArray[np.float32]:
    out = np.full(ROWS, default, np.float32)
    for row, value in values.items():
        out[row] = value
    return out


def _log(low: float, high: float) -> tuple[float, float]:
    return float(np.log(low)), float(np.log(high))


_BOUNDS: Final[dict[int, tuple[float, float]]] = {
    **dict.fromkeys((P1, P2, P3, PE, PM), (0.0, 60.0)),
    **dict.fromkeys((R1, R2, R3, RE, RM), (0.0, 300.0)),
    **dict.fromkeys((B1, B2, B3), (0.0, 100.0)),
    S: (-MOST_STIMULUS, MOST_STIMULUS),
    SL: (-MOST_LEVEL, MOST_LEVEL),
    NB: (-15.0, 15.0),
    DM: (-0.4, 0.4),
    DH: (-0.4, 0.4),
    CLP: _log(0.3, 6.0),
    V1P: _log(1.5, 25.0),
    V2P: _log(3.0, 150.0),
    V3P: _log(20.0, 1500.0),
    Q2P: _log(0.2, 4.0),
    Q3P: _log(0.1, 4.0),
    KEP: _log(0.05, 2.0),
    KMP: _log(0.03, 1.0),
    CLR: _log(0.8, 6.0),
    V1R: _log(2.0, 20.0),
    V2R: _log(2.0, 40.0),
    V3R: _log(0.3, 60.0),
    Q2R: _log(0.4, 4.0),
    Q3R: _log(0.02, 1.0),
    KER: _log(0.1, 4.0),
    KMR: _log(0.05, 3.0),
    C50P: _log(1.0, 9.0),
    C50R: _log(4.0, 120.0),
    ALPHA: _log(0.02, 6.0),
    GAMMA: _log(0.8, 4.5),
    TAU: _log(0.1, 2.5),
    E0: (84.0, 100.0),
    MAP0: _log(55.0, 140.0),
    EP: _log(0.08, 0.75),
    KP: _log(1.0, 9.0),
    ER: _log(0.08, 0.75),
    KR: _log(1.0, 20.0),
    HR0: _log(38.0, 130.0),
    FR: _log(0.05, 0.7),
    A: (0.0, 1.2),
    B: (0.0, 1.2),
    C50S: _log(0.5, 30.0),
}
LOWER = _rows({row: low for row, (low, _) in _BOUNDS.items()}, -np.inf)
UPPER = _rows({row: high for row, (_, high) in _BOUNDS.items()}, np.inf)

_INDEX = (*range(P1, P3 + 1), PE, PM, B1, B2, B3, S, SL, NB)
_INDEX_PARAMETERS = (CLP, V1P, V2P, V3P, Q2P, Q3P, KEP, C50P, C50R, ALPHA, GAMMA, TAU, E0)
_PRESSURE_PARAMETERS = (MAP0, EP, KP, ER, KR, KMP, KMR, A)
_HEART_RATE_PARAMETERS = (HR0, FR, KMR, B)
GAIN_INDEX = _rows({**dict.fromkeys(_INDEX, 1.0), **dict.fromkeys(_INDEX_PARAMETERS, 0.5)}, 0.0)
GAIN_PRESSURE = _rows(
    {**dict.fromkeys((PM, RM, DM), 1.0), S: 0.5, **dict.fromkeys(_PRESSURE_PARAMETERS, 0.5)}, 0.0
)
GAIN_HEART_RATE = _rows(
    {**dict.fromkeys((RM, DH), 1.0), S: 0.5, **dict.fromkeys(_HEART_RATE_PARAMETERS, 0.5)}, 0.0
)
"""Share of the ensemble's gain that a row takes from a reading of the index, of MAP, of HR. A sensor moves
what it can know about (correlations of 48 members with the rest are chance), parameters by half."""
RELAXATION = _rows(dict.fromkeys(range(FIRST_PARAMETER, ROWS), 0.5), 0.0)
"""Relaxation of the analysed to the forecast perturbations (Zhang, Snyder & Sun 2004), per row."""
