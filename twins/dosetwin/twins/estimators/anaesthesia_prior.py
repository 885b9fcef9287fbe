"""The prior of one patient before any drug: an ensemble drawn from the published populations.

Kinetics, effect-site rates and C50 of propofol: Eleveld 2018 with its variances; remifentanil: Eleveld 2017
with its variances. Steepness, C50 of remifentanil and their spread: Bouillon 2004 (`anaesthesia_response`).
Draws are cut at two standard deviations. Spread of what the circulation does, of a stimulus's share in it, of
the synergy term and of the monitor's delay: our assumption.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.models import anaesthesia_circulation as circulation
from dosetwin.twins.models import anaesthesia_response as response
from dosetwin.twins.models import propofol_eleveld as propofol
from dosetwin.twins.models import remifentanil_eleveld as remifentanil

Ensemble = npt.NDArray[np.float32]

_NAMES = ("CL", "V1", "V2", "V3", "Q2", "Q3", "ke0")
_PROPOFOL_ROWS = (row.CLP, row.V1P, row.V2P, row.V3P, row.Q2P, row.Q3P, row.KEP)
_REMIFENTANIL_ROWS = (row.CLR, row.V1R, row.V2R, row.V3R, row.Q2R, row.Q3R, row.KER)
CUT = 2.0
KE0, KE0_SD = 0.26, 0.6
"""Effect site of propofol, /min, and its log-SD: published models lie further apart than people do. The
geometric mean of Eleveld's 0.146 and Schnider's 0.456 (1999, doi:10.1097/00000542-199906000-00003)."""
SHORTEST_DELAY_S, LONGEST_DELAY_S = 30.0, 40.0
"""The delay of Eleveld 2018 grows from 18 s at 20 years to 90 s at 85. Monitors lag by half a minute and more
whatever the age (Pilge 2006, doi:10.1097/00000542-200603000-00016), and what is beyond 40 s is distribution
that is in the effect site: cut on both sides, our assumption."""

_FIXED: dict[int, tuple[float, float]] = {
    # row: (median, standard deviation), both on the scale of the row
    row.KMP: (
        float(np.log(0.10)),
        0.6,
    ),  # Su 2023: 0.072 /min; Jeleazcov 2015 (10.1093/bja/aeu553): 0.054-0.070
    row.KMR: (
        float(np.log(0.25)),
        0.7,
    ),  # Su 2023: 0.072 /min; Standing 2010 (10.1111/j.1460-9592.2009.03174.x): 0.81
    row.C50R: (
        float(np.log(response.BOUILLON_C50_R)),
        float(np.sqrt(np.log(1 + response.BOUILLON_CV[1] ** 2))),
    ),
    row.ALPHA: (float(np.log(0.5)), 0.8),
    row.GAMMA: (float(np.log(1.6)), float(np.sqrt(np.log(1 + response.BOUILLON_CV[2] ** 2)))),
    row.E0: (94.0, 3.0),
    row.MAP0: (float(np.log(90.0)), 0.14),
    row.EP: (float(np.log(circulation.E_P)), 0.30),
    row.KP: (float(np.log(circulation.K_P_UG_ML)), 0.35),
    row.ER: (float(np.log(circulation.E_R)), 0.30),
    row.KR: (float(np.log(circulation.K_R_NG_ML)), 0.45),
    row.HR0: (float(np.log(72.0)), 0.17),
    row.FR: (float(np.log(circulation.F_R)), 0.35),
    row.A: (0.4, 0.2),
    row.B: (0.3, 0.2),
    row.C50S: (float(np.log(1.2)), 0.5),  # Bouillon 2004: 1.07 x 1.05, CV 26 %
}


class Person(NamedTuple):
    """Covariates: years, kg, cm, 1 for men and 0 for women."""

    age_a: float
    weight_kg: float
    height_cm: float
    sex_male: float


def centre(person: Person) -> npt.NDArray[np.float32]:
    """[ROWS] typical values of the parameters (0 in the rows of states)."""
    return _centre_and_spread(person)[0].astype(np.float32)


def _centre_and_spread(person: Person) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    middle, spread = np.zeros(row.ROWS), np.zeros(row.ROWS)
    hypnotic = propofol.typical_disposition(*person)
    opioid = remifentanil.typical_disposition(*person)
    for name, of_p, of_r in zip(_NAMES, _PROPOFOL_ROWS, _REMIFENTANIL_ROWS, strict=True):
        middle[of_p], spread[of_p] = np.log(getattr(hypnotic, name)), np.sqrt(propofol.VARIANCES[name])
        middle[of_r], spread[of_r] = np.log(getattr(opioid, name)), np.sqrt(remifentanil.VARIANCES[name])
    middle[row.C50P] = np.log(propofol.half_maximal_ug_mL(person.age_a))
    middle[row.KEP], spread[row.KEP] = np.log(KE0), KE0_SD
    spread[row.C50P] = np.sqrt(propofol.VARIANCES["C50"])
    delay_s = np.clip(propofol.index_delay_s(person.age_a), SHORTEST_DELAY_S, LONGEST_DELAY_S)
    middle[row.TAU] = np.log(delay_s / 60.0)
    spread[row.TAU] = 0.4
    for at, (value, sd) in _FIXED.items():
        middle[at], spread[at] = value, sd
    return middle, spread


def prior_ensemble(rng: np.random.Generator, person: Person, members: int = row.MEMBERS) -> Ensemble:
    """`members` draws, float32[ROWS, members]: drug-free, awake, without a stimulus."""
    z = rng.standard_normal((row.ROWS, members))
    z = np.clip((z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True), -CUT, CUT)
    middle, spread = _centre_and_spread(person)
    x = middle[:, None] + spread[:, None] * z
    x[: row.FIRST_PARAMETER] = 0.0
    x[row.SL] = 0.5 * row.LEVEL_SD * z[row.SL]
    x[row.NB] = row.INDEX_ERROR_SD * z[row.NB]
    x[row.DM] = 0.5 * row.PRESSURE_DRIFT_SD * z[row.DM]
    x[row.DH] = 0.5 * row.HEART_RATE_DRIFT_SD * z[row.DH]
    x = np.clip(x, row.LOWER[:, None], row.UPPER[:, None])
    x[row.B1 : row.B3 + 1] = x[row.E0]
    drawn: Ensemble = x.astype(np.float32)
    return drawn
