"""A continuous glucose sensor's errors, in advance: noise with memory, drop-outs, lows of a body lying on it.

    e_j = 0.7 (e_(j-1) + v_j),  v standard normal, a value each 15 min
    noise_j = xi + lambda sinh((e_j - gamma) / delta) mg/dL, between them by a cubic that meets the slopes

Source: Breton & Kovatchev, J Diabetes Sci Technol 2008;2:853, doi:10.1177/193229680800200517, with the
values that simglucose 0.2.11 states for its three sensors (xi -5.47, lambda 15.9574, gamma -0.5444, delta
1.6898). The lag of the tissue is the plant's.

Drop-outs: 1 a day, of 20 min on average. Compression: while somebody sleeps on the sensor it reads too low,
to 20-50 % less for 15-60 min, in three nights of ten; after Baysal et al., J Diabetes Sci Technol
2014;8:1091 for their shape; both rates are our assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

INTERVAL_MIN = 5
MODEL_MIN = 15
MEMORY = 0.7
XI_MG_DL, LAMBDA_MG_DL, GAMMA, DELTA = -5.47, 15.9574, -0.5444, 1.6898
LOWEST_MG_DL, HIGHEST_MG_DL = 40.0, 400.0
DROPOUTS_PER_DAY, DROPOUT_MEAN_MIN = 1.0, 20.0
COMPRESSION_CHANCE = 0.3
COMPRESSION_MIN = (15.0, 60.0)
COMPRESSION_DEPTH = (0.2, 0.5)
NIGHT_FROM_MIN, NIGHT_TO_MIN = 0.0, 330.0
SLOPE_MIN = 10.0
PER_DAY = 1440 // INTERVAL_MIN


@dataclass(frozen=True)
class SensorErrors:
    """Of one patient, a value each 5 min [T]: added noise in mg/dL, is it heard, by what it is scaled."""

    noise_mg_dL: Floats
    heard: npt.NDArray[np.bool_]
    scale: Floats


def sensor_errors(seed: int, number: int, days: int) -> SensorErrors:
    """The errors of patient `number` in the first `days` days; longer trials begin with the same ones."""
    steps = days * PER_DAY
    return SensorErrors(
        johnson_noise(np.random.default_rng([seed, number, 0x5E1]), steps),
        _heard(np.random.default_rng([seed, number, 0x5E2]), days),
        _compressed(seed, number, days),
    )


def johnson_noise(rng: np.random.Generator, steps: int) -> Floats:
    """The noise each 5 min [steps], mg/dL."""
    every = MODEL_MIN // INTERVAL_MIN
    knots = steps // every + 4
    v = rng.standard_normal(knots)
    e = np.empty(knots)
    e[0] = v[0] * MEMORY / np.sqrt(1.0 - MEMORY**2)  # from its stationary distribution
    for j in range(1, knots):
        e[j] = MEMORY * (e[j - 1] + v[j])
    at_knots = XI_MG_DL + LAMBDA_MG_DL * np.sinh((e - GAMMA) / DELTA)
    knot, part = np.divmod(np.arange(steps), every)
    u = part / every
    before, here, there, after = (at_knots[knot + k] for k in range(4))
    slope, next_slope = 0.5 * (there - before), 0.5 * (after - here)
    return np.asarray(
        here * (1 + 2 * u) * (1 - u) ** 2
        + slope * u * (1 - u) ** 2
        + there * u**2 * (3 - 2 * u)
        - next_slope * u**2 * (1 - u)
    )


def shown_mg_dL(
    interstitial_mg_dL: Floats, noise_mg_dL: Floats, scale: Floats
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """What the display says [n], and -1 or 1 where it says only "below 40" or "above 400"."""
    value = np.rint(interstitial_mg_dL * scale + noise_mg_dL)
    beyond = (value > HIGHEST_MG_DL).astype(np.intp) - (value < LOWEST_MG_DL).astype(np.intp)
    return np.clip(value, LOWEST_MG_DL, HIGHEST_MG_DL), beyond


def _heard(rng: np.random.Generator, days: int) -> npt.NDArray[np.bool_]:
    heard = np.ones(days * PER_DAY, bool)
    for day in range(days):
        count = rng.poisson(DROPOUTS_PER_DAY)
        for begins, lasts in zip(
            rng.random(count) * 1440.0, rng.exponential(DROPOUT_MEAN_MIN, count), strict=True
        ):
            first = day * PER_DAY + int(begins / INTERVAL_MIN)
            heard[first : first + max(1, round(lasts / INTERVAL_MIN))] = False
    return heard


def _compressed(seed: int, number: int, days: int) -> Floats:
    scale = np.ones(days * PER_DAY)
    minutes = np.arange(PER_DAY) * float(INTERVAL_MIN)
    for day in range(days):
        rng = np.random.default_rng([seed, number, 0x5E3, day])
        chance, begins, lasts, depth = rng.random(4)
        if chance >= COMPRESSION_CHANCE:
            continue
        shortest, longest = COMPRESSION_MIN
        start = NIGHT_FROM_MIN + (NIGHT_TO_MIN - NIGHT_FROM_MIN) * begins
        end = start + shortest + (longest - shortest) * lasts
        shallow, deep = COMPRESSION_DEPTH
        ramp = np.clip(np.minimum(minutes - start, end + SLOPE_MIN - minutes) / SLOPE_MIN, 0.0, 1.0)
        scale[day * PER_DAY : (day + 1) * PER_DAY] = 1.0 - (shallow + (deep - shallow) * depth) * ramp
    return scale
