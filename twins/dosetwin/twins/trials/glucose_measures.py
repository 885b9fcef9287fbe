"""What is measured of glucose: shares of time in ranges, mean, variation, the management indicator.

Ranges: Battelino et al., Diabetes Care 2019;42:1593, doi:10.2337/dci19-0028 (70-180 mg/dL with both edges in
it). GMI % = 3.31 + 0.02392 x mean in mg/dL: Bergenstal et al., Diabetes Care 2018;41:2275,
doi:10.2337/dc18-1581. All of them are taken from plasma glucose, every 5 min, and not from the sensor: what
the patient lived through, not what the policy believed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosetwin.twins.trials.trial import Measure

Floats = npt.NDArray[np.float64]

VERY_LOW, LOW, HIGH, VERY_HIGH = 54.0, 70.0, 180.0, 250.0

MEASURES: tuple[Measure, ...] = (
    Measure("time_in_range_pct", "%", "higher", "Time in 70-180 mg/dL"),
    Measure("below_70_pct", "%", "lower", "Time below 70 mg/dL"),
    Measure("below_54_pct", "%", "lower", "Time below 54 mg/dL"),
    Measure("above_250_pct", "%", "lower", "Time above 250 mg/dL"),
    Measure("mean_glucose_mg_dL", "mg/dL", "lower", "Mean glucose"),
    Measure("cv_pct", "%", "lower", "Coefficient of variation"),
    Measure("gmi_pct", "%", "lower", "Glucose management indicator"),
)


def glucose_measures(glucose_mg_dL: Floats) -> dict[str, Floats]:
    """The measures [n] of glucose [n, T]; NaN is not known and does not count."""
    known = np.isfinite(glucose_mg_dL)
    count = np.where(known.any(axis=1), known.sum(axis=1), np.nan)

    def share(within: npt.NDArray[np.bool_]) -> Floats:
        return np.asarray(100.0 * (within & known).sum(axis=1) / count)

    g = np.where(known, glucose_mg_dL, 0.0)
    mean = g.sum(axis=1) / count
    spread = np.sqrt((np.where(known, g - mean[:, None], 0.0) ** 2).sum(axis=1) / count)
    return {
        "time_in_range_pct": share((g >= LOW) & (g <= HIGH)),
        "below_70_pct": share(g < LOW),
        "below_54_pct": share(g < VERY_LOW),
        "above_250_pct": share(g > VERY_HIGH),
        "mean_glucose_mg_dL": mean,
        "cv_pct": 100.0 * spread / mean,
        "gmi_pct": 3.31 + 0.02392 * mean,
    }
