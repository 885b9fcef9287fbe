"""An infusion site that fails: less and less of what the pump gives arrives, until the set is changed.

    delivered fraction = exp(-(t - t_fail) / 3 h) after the failure, 1 before

A set lies for three days and is changed in the morning; one in seven fails before (order of magnitude of
Patel et al., Diabetes Technol Ther 2014;16:15, where a third of the sets of a week had failed by the fourth
day; the decay and the chance are our assumptions). A person changes it when the sensor has shown more than
300 mg/dL for two hours of the day.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SET_LASTS_DAYS = 3
CHANGE_MIN = 480.0
FAILURE_CHANCE = 1.0 / 7.0
DECAY_MIN = 180.0
NOTICED_ABOVE_MG_DL = 300.0
NOTICED_AFTER_MIN = 120.0
AWAKE_FROM_MIN, AWAKE_TO_MIN = 420.0, 1380.0


def failure_min(seed: int, number: int, set_number: int) -> float:
    """Minutes from a set's beginning to its failure; infinite for most."""
    rng = np.random.default_rng([seed, number, 0x517E, set_number])
    chance, at = rng.random(2)
    return float(at * SET_LASTS_DAYS * 1440.0) if chance < FAILURE_CHANCE else float("inf")


def delivered_fraction(lies_min: Floats, fails_min: Floats) -> Floats:
    """What arrives of what the pump gives, of sets that lie for `lies_min` and fail after `fails_min` [n]."""
    since = np.maximum(lies_min - fails_min, 0.0)
    return np.asarray(np.exp(-np.where(np.isfinite(since), since, 0.0) / DECAY_MIN))
