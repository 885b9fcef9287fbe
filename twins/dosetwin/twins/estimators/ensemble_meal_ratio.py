"""What is known of a patient's carbohydrate ratio, as an observation of the prior.

Members that agree on how much insulin holds a fasting glucose still differ by a factor of eight in how many
grams a unit covers, far more than people with one daily dose do. So the ratio that a clinic would start from,
or the patient's own where it is told, is taken as an observation of its logarithm h(z), where z are the
standard normal numbers that a member is made of:

    mean  m = g (ln ratio - h(m) + g.m) / (g.g + s^2) ,   g = dh/dz at m     (Gauss-Newton, MEAN_STEPS times)
    draws z <- z + m - a g (g.z) ,   a = (1 - s / sqrt(g.g + s^2)) / g.g      (square root of the posterior)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.models import hovorka
from dosetwin.twins.models.meal_absorption import MMOL_PER_G

ADULT_RATIO_G, RATIO_EXPONENT = 430.0, 0.27
"""Grams a unit times daily dose at 70 kg, and its power of weight below that. Adults: 2.6 times weight in lb
over the daily dose, 429 at 75 kg (Walsh 2011, J Diabetes Sci Technol 5:129). Children of about 25 kg: 211 at
breakfast, 434 at other meals, about 330 over a day (Hanas & Adolfsson 2017, J Diabetes Sci Technol 11:247).
The power in between is our assumption."""
RATIO_LOG_SD = 0.30
"""Its spread between people, on the log scale. Our assumption; the quartiles of Hanas & Adolfsson 2017,
301 and 496, are those of 0.37, what their clinic did not hit included."""
TOLD_LOG_SD = 0.15
"""By how much a ratio that is told may be wrong, on the log scale. Our assumption."""
MEAN_STEPS = 4
PROBE = 0.5
"""Half the width of the central difference that g is taken by, in standard deviations."""

FloatArray = npt.NDArray[np.float64]


class Ratio(NamedTuple):
    """Grams that a unit covers, and how well that is known (standard deviation of its logarithm)."""

    g_per_U: float
    log_sd: float


def known_ratio(weight_kg: float, total_daily_dose_U: float, told_g_per_U: float) -> Ratio:
    """The ratio that was told (0: none was), or the usual one of such a patient."""
    if told_g_per_U:
        return Ratio(told_g_per_U, TOLD_LOG_SD)
    usual = ADULT_RATIO_G * min(weight_kg / 70.0, 1.0) ** RATIO_EXPONENT
    return Ratio(usual / total_daily_dose_U, RATIO_LOG_SD)


def ratio_g_per_U(
    basal_mU_kg_min: FloatArray,
    glucose_mmol_L: FloatArray | float,
    EGP0: FloatArray,
    S: tuple[FloatArray, FloatArray, FloatArray],
    A_G: FloatArray,
) -> FloatArray:
    """Grams a unit covers: small amounts of both then leave the time integral of glucose as it was."""
    worth = hovorka.glucose_per_insulin(basal_mU_kg_min, glucose_mmol_L, EGP0, S)
    return 1000.0 * worth / (A_G * MMOL_PER_G)


def conditioned(
    z: FloatArray, rows: Sequence[int], log_ratio: Callable[[FloatArray], FloatArray], ratio: Ratio
) -> FloatArray:
    """Draws `z` [rows, members] given the ratio; `log_ratio` of such draws depends on these `rows`."""
    of = list(rows)
    mean = np.zeros((len(z), 1))
    for _ in range(MEAN_STEPS):
        probes = np.repeat(mean, 2 * len(of) + 1, axis=1)
        for k, r in enumerate(of):
            probes[r, 1 + 2 * k] += PROBE
            probes[r, 2 + 2 * k] -= PROBE
        h = log_ratio(probes)
        g = (h[1::2] - h[2::2]) / (2.0 * PROBE)
        size = float(g @ g)
        gap = math.log(ratio.g_per_U) - (h[0] - g @ mean[of, 0])
        mean[of, 0] = g * (gap / (size + ratio.log_sd**2))
    shrink = (1.0 - ratio.log_sd / math.sqrt(size + ratio.log_sd**2)) / size
    made = z.copy()
    made[of] += mean[of] - shrink * g[:, None] * (g @ z[of])
    return made
