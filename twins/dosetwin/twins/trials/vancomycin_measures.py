"""What is measured of a patient on vancomycin: areas of whole days against a target, and levels drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosetwin.twins.trials.trial import FloatArray, Outcome

Values = npt.NDArray[np.float64]
LOW, HIGH = 400.0, 600.0
"""mg.h/L: Rybak 2020, doi:10.1093/ajhp/zxaa036."""
DAYS_REPORTED = (1, 2, 3)
DAY_H = 24.0


def outcome(
    areas: Values, course: Values, clearance: Values, first_result_h: Values, samples: Values, step_h: float
) -> Outcome:
    """Shares of days, counted from the beginning, and each of the first days on its own (100 or 0).

    areas [T+1, n]: mg.h/L from the beginning until every step of `step_h`; course, clearance [T, n] after
    each step; first_result_h [n]: when the first level was known (NaN: never). "After the level": the 24 h
    from the decision at which the first level was known.
    """
    n, per_day, hourly = areas.shape[1], round(DAY_H / step_h), round(1 / step_h)
    days = (len(areas) - 1) // per_day
    daily = np.diff(areas[::per_day][: days + 1], axis=0)
    inside, above = (daily >= LOW) & (daily <= HIGH), daily > HIGH
    measures: dict[str, FloatArray] = {
        "auc24_in_target_pct": 100 * inside.mean(axis=0),
        "auc24_above_pct": 100 * above.mean(axis=0),
    }
    for day in DAYS_REPORTED:
        blank = np.full(n, np.nan)
        reached = day <= days
        measures[f"auc24_in_target_{24 * day}h_pct"] = 100.0 * inside[day - 1] if reached else blank
        measures[f"auc24_above_{24 * day}h_pct"] = 100.0 * above[day - 1] if reached else blank
    after = np.full(n, np.nan)
    for i in np.flatnonzero(np.isfinite(first_result_h)):
        step = round(first_result_h[i] / step_h)
        if step + per_day < len(areas):
            after[i] = areas[step + per_day, i] - areas[step, i]
    known = np.isfinite(after)
    within = (after >= LOW) & (after <= HIGH)
    measures["auc24_in_target_after_level_pct"] = np.where(known, 100.0 * within, np.nan)
    measures["auc24_above_after_level_pct"] = np.where(known, 100.0 * (after > HIGH), np.nan)
    measures["samples"] = samples
    trailing = np.full(areas.shape, np.nan)
    trailing[per_day:] = areas[per_day:] - areas[:-per_day]
    level = np.concatenate([np.zeros((1, n)), course])
    cleared = np.concatenate([clearance[:1], clearance])
    return Outcome(
        measures=measures,
        time_s=np.arange(0, len(areas), hourly) * step_h * 3600.0,
        traces={
            "vancomycin": level[::hourly].T,
            "auc24": trailing[::hourly].T,
            "clearance": cleared[::hourly].T,
        },
    )
