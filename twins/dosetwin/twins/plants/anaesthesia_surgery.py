"""What happens to one patient: intubation, incision, surgery, closure, bleeding, and a disturbed monitor.

The stimulus follows the profile of Struys et al., Anesthesiology 2004;100:640
(doi:10.1097/00000542-200403000-00026): intubation, a quiet time, incision, a level that surgery holds,
abrupt strong stimuli after low ones and abrupt relief, closure. Its times and strengths are drawn here,
since one fixed script would be learned by heart. Its unit is the level of surgery; strengths are such that
under 3 ng/mL of remifentanil the index moves as in that profile: up by 10 at the level of surgery, by 20-30
at the strong ones.

Monitor: electrocautery in bursts (index missing, or biased), muscle activity (biased upwards), electrode
checks (missing). That they occur: Dahaba, Anesth Analg 2005;101:765,
doi:10.1213/01.ane.0000167269.62966.af; how often is our assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
INTUBATION_MIN = (6.5, 9.5)
INCISION_AFTER_MIN = (8.0, 18.0)
CLOSURE_MIN = 12.0
BLEED_FRACTION = 0.22
"""Of blood volume, lost within BLEED_MIN; two thirds are replaced in the following REPLACE_MIN."""
BLEED_MIN, REPLACE_MIN = 15.0, 30.0


@dataclass(frozen=True)
class Surgery:
    """One patient's course by second. `announced`: (name, at_s, strength, duration_s).

    stimulus [T]; loss [T] of blood, a fraction; bias [T] of the displayed index, NaN where none is displayed.
    """

    announced: tuple[tuple[str, float, float, float], ...]
    stimulus: FloatArray
    loss: FloatArray
    bias: FloatArray
    pressure_fails: npt.NDArray[np.bool_]
    """By minute: a cuff measurement that gives nothing."""


def surgery(rng: np.random.Generator, seconds: int, *, bleeding: bool = False) -> Surgery:
    """One patient's course of `seconds` seconds; a function of `rng` alone."""
    intubated = 60.0 * rng.uniform(*INTUBATION_MIN)
    incised = intubated + 60.0 * rng.uniform(*INCISION_AFTER_MIN)
    stimulus, announced = _stimulus(rng, float(seconds), intubated, incised)
    bias = _bias(rng, seconds, incised)
    loss = np.zeros(seconds)
    begins = incised + (seconds - incised) * rng.uniform(0.25, 0.45)
    if bleeding:
        ends = begins + 60.0 * BLEED_MIN
        times = [0.0, begins, ends, ends + 60.0 * REPLACE_MIN]
        loss = np.interp(np.arange(seconds), times, [0.0, 0.0, BLEED_FRACTION, BLEED_FRACTION / 3])
    fails = rng.uniform(size=seconds // 60 + 1) < 0.03
    return Surgery(announced, stimulus, loss, bias, fails)


def _stimulus(
    rng: np.random.Generator, end: float, intubated: float, incised: float
) -> tuple[FloatArray, tuple[tuple[str, float, float, float], ...]]:
    """Linear between corners, and what a person in the room would announce."""
    tube, cut = 3.0 * np.exp(0.25 * _cut(rng)), 2.2 * np.exp(0.25 * _cut(rng))
    held, calm = rng.uniform(60.0, 120.0), 0.2
    corners = [(0.0, 0.0), (intubated, 0.0), (intubated + 15, tube), (intubated + held, tube)]
    corners += [(intubated + held + 90, calm), (incised, calm), (incised + 10, cut), (incised + 120, cut)]
    level = rng.uniform(0.7, 1.3)
    closing = max(end - 60.0 * CLOSURE_MIN, incised + 300.0)
    now = incised + 180.0
    corners.append((now, level))
    while True:
        now += 60.0 * (2.0 + rng.exponential(7.0))
        relief, lasts = rng.uniform() < 0.3, 60.0 * rng.uniform(1.0, 6.0)
        other = rng.uniform(0.0, 0.3) if relief else level + rng.uniform(0.8, 2.4)
        if now + lasts + 60.0 > closing:
            break
        corners += [(now, level), (now + 15, other), (now + lasts, other), (now + lasts + 15, level)]
        now += lasts + 15
        level = float(np.clip(level + rng.uniform(-0.3, 0.3), 0.5, 1.6))
        corners.append((now + 30, level))
        now += 30
    sewn = rng.uniform(0.8, 1.4)
    corners += [(closing, level), (closing + 20, sewn), (max(end, closing + 30), sewn)]
    x, y = np.array(corners).T
    announced = (("intubation", intubated, float(tube), held + 15), ("incision", incised, float(cut), 120.0))
    return np.interp(np.arange(int(end)), x, y), announced


def _bias(rng: np.random.Generator, seconds: int, incised: float) -> FloatArray:
    bias = np.zeros(seconds)
    hours = seconds / 3600.0
    for _ in range(rng.poisson(1.5 * hours)):
        at, lasts = rng.uniform(0, seconds), rng.uniform(20, 90)
        bias[int(at) : int(at + lasts)] += rng.uniform(4, 15)
    cautery = max(seconds - incised, 0.0)
    for _ in range(rng.poisson(12.0 * cautery / 3600.0)):
        at, lasts = incised + rng.uniform(0, cautery), rng.uniform(5, 40)
        seen, offset = rng.uniform() < 0.3, 10.0 + 12.0 * _cut(rng)
        bias[int(at) : int(at + lasts)] += offset if seen else np.nan
    for _ in range(rng.poisson(0.5 * hours)):
        at, lasts = rng.uniform(0, seconds), rng.uniform(20, 90)
        bias[int(at) : int(at + lasts)] = np.nan
    return bias


def _cut(rng: np.random.Generator) -> float:
    return float(np.clip(rng.normal(), -2.0, 2.0))
