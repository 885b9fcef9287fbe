"""Adults under anaesthesia, each a function of (seed, number) alone: body, kinetics, response, circulation.

Body. Age 18-85 years, even; height 175 (7) cm in men, 161 (7) in women (means: Fryar et al. 2021, Vital
Health Stat 3(46); spread our assumption); body mass index log-normal, median 26, log-SD 0.15, within 18.5-35
(our assumption; James's lean mass, which both kinetic models take, bends beyond).

Kinetics. Coefficients of variation as published: Schnider 1998 V1 4.04, V3 14.35, CL1 10.05, CL3 11.79 %
(V2 and CL2 1 %); Minto 1997 CL1 14, V1 26, CL2 36, V2 29, CL3 41, V3 66, ke0 68 %. ke0 of propofol 42 %
(not in the paper; the value of the simulator of Aubouin-Pairault 2023, doi:10.21105/joss.05480). Volunteers
vary less than patients: a further log-SD of 0.2 on the clearance of propofol brings the error of Schnider's
typical concentrations near the median of 20-25 % found in patients (Glen & Servin 2009, Br J Anaesth
102:626, doi:10.1093/bja/aep043).

Response. Bouillon 2004 (doi:10.1097/00000542-200406000-00006): C50 of propofol 4.47 ug/mL (CV 18.2 %), of
remifentanil 19.3 ng/mL (88.8 %), gamma 1.43 (30.4 %), E0 97.4; his volunteers were young, and C50 falls with
age as the concentration for loss of consciousness does, (2.9 - 0.022 age) ug/mL in Schnider 1999, relative to
30 years and held from 80 on. Transmission of a stimulus: C50 of remifentanil 1.07 x 1.05 ng/mL (CV 26 %).

Circulation. "volunteers": Su 2023 as published, doi:10.1016/j.bja.2023.04.043. SV_0 82.2 mL, HR_0 56.1
/min, TPR_0 0.0163 mm[Hg] min/mL, log-variances 0.0328, 0.0242, 0.0528, covariances SV-TPR -0.0244, TPR-HR
-0.0233; C_TPR 3.21 ug/mL (log-variance 0.44); E_r -1 (variance 0.449, not above 0: our assumption); s_HR
0.0327, s_SV 0.0581 mL/ng (variances 0.00382, 0.00868, covariance 0.00329); E_SV -0.154 e^{0.0333 (age -
35)}, held at 70 years beyond (the oldest volunteers); E_TPR -0.778, I_HR -0.119 mL/ng, FB 0.661.
"surgical": what the authors of doi:10.21105/joss.05480 re-identified (their documentation, "Disturbance
Modelling and Identification") in 54 surgical patients of VitalDB (Lee 2022,
doi:10.1038/s41597-022-01411-5), whose pressure falls less than that of volunteers: before induction SV 93.1
mL, HR 74.7 /min, MAP 102 mm[Hg] with the covariances below; E_TPR -0.03, I_HR -0.097, FB 0.50; the rest as
Su.

"difficult" people (see `harder`) respond more differently, with steeper curves, and have a slower, noisier
monitor than is usual. All normal draws are cut at two standard deviations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.plants.anaesthesia_circulation import EXCITED_HR, EXCITED_SV
from dosetwin.twins.plants.anaesthesia_kinetics import Kinetics, minto, schnider

FloatArray = npt.NDArray[np.float64]
TRUNCATION = 2.0
AGES = {"": (18.0, 85.0), "elderly": (65.0, 85.0)}
PROPOFOL_CV = Kinetics(*map(np.array, (0.0404, 0.01, 0.1435, 0.1005, 0.01, 0.1179, 0.42)))
REMIFENTANIL_CV = Kinetics(*map(np.array, (0.26, 0.29, 0.66, 0.14, 0.36, 0.41, 0.68)))
PATIENTS_CLEARANCE_SD = 0.2


class Circulation(NamedTuple):
    """Typical SV_0, HR_0, TPR_0, the covariance of their logarithms in the order SV, TPR, HR; the effects."""

    SV_0: float
    HR_0: float
    TPR_0: float
    covariance: tuple[tuple[float, float, float], ...]
    E_TPR: float
    I_HR: float
    FB: float


CIRCULATIONS = {
    "surgical": Circulation(
        SV_0=93.1 / (1 + EXCITED_SV),
        HR_0=74.7 / (1 + EXCITED_HR),
        TPR_0=102.0 / (93.1 * 74.7),
        covariance=((0.0926, -0.0725, -0.0004), (-0.0725, 0.0909, -0.0197), (-0.0004, -0.0197, 0.0232)),
        E_TPR=-0.03,
        I_HR=-0.097,
        FB=0.50,
    ),
    "volunteers": Circulation(
        SV_0=82.2,
        HR_0=56.1,
        TPR_0=0.0163,
        covariance=((0.0328, -0.0244, 0.0), (-0.0244, 0.0528, -0.0233), (0.0, -0.0233, 0.0242)),
        E_TPR=-0.778,
        I_HR=-0.119,
        FB=0.661,
    ),
}
SLOPE_COVARIANCE = np.array([[0.00382, 0.00329], [0.00329, 0.00868]])
"""Of s_HR, s_SV."""
C50_PROPOFOL, C50_REMIFENTANIL, GAMMA, E0 = 4.47, 19.3, 1.43, 97.4
CV_C50_PROPOFOL, CV_C50_REMIFENTANIL, CV_GAMMA = 0.182, 0.888, 0.304
C50_TRANSMISSION, CV_TRANSMISSION = 1.07 * 1.05, 0.26
DRAWS = 40


class Body(NamedTuple):
    """Age (years), weight (kg), height (cm), male (1 or 0) of n people, an array [n] each."""

    age_a: FloatArray
    weight_kg: FloatArray
    height_cm: FloatArray
    male: FloatArray


class Response(NamedTuple):
    """Index without drug, C50s (ug/mL, ng/mL), slope, C50 of transmission (ng/mL), an array [n] each."""

    E0: FloatArray
    C50_propofol: FloatArray
    C50_remifentanil: FloatArray
    gamma: FloatArray
    C50_transmission: FloatArray


class Monitor(NamedTuple):
    """Index: SD of its noise, transport delay and averaging (s); cuff: bias and SD (mm[Hg]); [n] each."""

    index_sd: FloatArray
    delay_s: FloatArray
    average_s: FloatArray
    cuff_bias: FloatArray
    cuff_sd: FloatArray


class People(NamedTuple):
    """n adults. `circulation`: the fields of CirculationParameters, [11, n]."""

    body: Body
    propofol: Kinetics
    remifentanil: Kinetics
    response: Response
    circulation: FloatArray
    monitor: Monitor


def people(numbers: range, seed: int, group: str = "", circulation: str = "surgical") -> People:
    """The adults of these numbers."""
    draws = np.array([_draws(seed, k) for k in numbers]).reshape(len(numbers), 2, DRAWS)
    u, z = draws[:, 0].T, draws[:, 1].T
    body = _body(u, z, AGES[group])
    propofol = _varied(schnider(*body), PROPOFOL_CV, z[4:11])
    propofol = propofol._replace(CL1=propofol.CL1 * np.exp(PATIENTS_CLEARANCE_SD * z[11]))
    return People(
        body=body,
        propofol=propofol,
        remifentanil=_varied(minto(*body), REMIFENTANIL_CV, z[12:19]),
        response=_response(body.age_a, z[19:23]),
        circulation=_circulation(CIRCULATIONS[circulation], body.age_a, z[23:30]),
        monitor=Monitor(
            index_sd=3.0 * np.exp(0.2 * z[30]),
            delay_s=np.floor(5.0 + 11.0 * u[2]),
            average_s=np.where(u[3] < 0.5, 15.0, 30.0),
            cuff_bias=3.0 * z[31],
            cuff_sd=4.0 * np.exp(0.2 * z[32]),
        ),
    )


def harder(given: People) -> People:
    """The same people, harder to control, for the robustness of policies and not as a likeness of anybody.

    The log-deviation of the propofol C50 doubled (then about the CV of 50 % of Eleveld 2018,
    doi:10.1016/j.bja.2018.01.018, in a broad population), slopes 1.5 times steeper (towards the 2.69 of
    Vanluchene 2004, doi:10.1097/00000542-200407000-00008), noise 1.5 times larger, 15 s more delay, the long
    averaging.
    """
    r, m = given.response, given.monitor
    typical = C50_PROPOFOL * age_factor(given.body.age_a)
    return given._replace(
        response=r._replace(C50_propofol=r.C50_propofol**2 / typical, gamma=1.5 * r.gamma),
        monitor=m._replace(
            index_sd=1.5 * m.index_sd, delay_s=m.delay_s + 15.0, average_s=np.full_like(m.average_s, 30.0)
        ),
    )


def age_factor(age_a: FloatArray) -> FloatArray:
    """The C50 of propofol relative to that at 30 years."""
    factor: FloatArray = (2.9 - 0.022 * np.minimum(age_a, 80.0)) / (2.9 - 0.022 * 30.0)
    return factor


def _draws(seed: int, number: int) -> FloatArray:
    rng = np.random.default_rng([seed, number, 1])
    return np.array([rng.uniform(size=DRAWS), np.clip(rng.normal(size=DRAWS), -TRUNCATION, TRUNCATION)])


def _body(u: FloatArray, z: FloatArray, ages: tuple[float, float]) -> Body:
    male = np.where(u[0] < 0.5, 1.0, 0.0)
    height = np.where(male > 0.5, 175.3, 161.3) + 7.0 * z[0]
    index = np.clip(26.0 * np.exp(0.15 * z[1]), 18.5, 35.0)
    return Body(ages[0] + (ages[1] - ages[0]) * u[1], index * (height / 100) ** 2, height, male)


def _varied(typical: Kinetics, cv: Kinetics, z: FloatArray) -> Kinetics:
    return Kinetics(
        *(
            value * np.exp(log_sd(float(spread)) * draw)
            for value, spread, draw in zip(typical, cv, z, strict=True)
        )
    )


def log_sd(cv: float) -> float:
    """The standard deviation of the logarithm for a coefficient of variation."""
    return float(np.sqrt(np.log1p(cv**2)))


def _response(age_a: FloatArray, z: FloatArray) -> Response:
    return Response(
        E0=np.full(age_a.shape, E0),
        C50_propofol=C50_PROPOFOL * age_factor(age_a) * np.exp(log_sd(CV_C50_PROPOFOL) * z[0]),
        C50_remifentanil=C50_REMIFENTANIL * np.exp(log_sd(CV_C50_REMIFENTANIL) * z[1]),
        gamma=GAMMA * np.exp(log_sd(CV_GAMMA) * z[2]),
        C50_transmission=C50_TRANSMISSION * np.exp(log_sd(CV_TRANSMISSION) * z[3]),
    )


def _circulation(typical: Circulation, age_a: FloatArray, z: FloatArray) -> FloatArray:
    log_SV, log_TPR, log_HR = np.linalg.cholesky(np.array(typical.covariance)) @ z[:3]
    of_HR, of_SV = np.linalg.cholesky(SLOPE_COVARIANCE) @ z[3:5]
    one = np.ones_like(age_a)
    return np.stack(
        [
            typical.SV_0 * np.exp(log_SV),
            typical.HR_0 * np.exp(log_HR),
            typical.TPR_0 * np.exp(log_TPR),
            -0.154 * np.exp(0.0333 * (np.minimum(age_a, 70.0) - 35.0)),
            3.21 * np.exp(np.sqrt(0.44) * z[5]),
            np.minimum(-1.0 + np.sqrt(0.449) * z[6], 0.0),
            0.0327 + of_HR,
            0.0581 + of_SV,
            typical.E_TPR * one,
            typical.I_HR * one,
            typical.FB * one,
        ]
    )
