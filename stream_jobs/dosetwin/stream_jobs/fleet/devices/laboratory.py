"""A laboratory: drug levels and creatinine, measured in blood drawn at one time and told hours later.

    reported = true (1 + s v),   s = 5 % (drug, immunoassay), 3 % (creatinine)

Below its limit of quantification it reports only "< limit". Turnaround: log-normal, median 80 min.
"""

from __future__ import annotations

import math

import numpy as np

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Sample

ASSAY_CV = {"vancomycin": 0.05, "creatinine": 0.03}
LIMIT = {"vancomycin": 2.0, "creatinine": 0.2}
UNIT = {"vancomycin": "mg/L", "creatinine": "mg/dL"}
DECIMALS = {"vancomycin": 1, "creatinine": 2}
TURNAROUND_MEDIAN_S = 4800.0
TURNAROUND_LOG_SD = 0.35
TURNAROUND_RANGE_S = (1500.0, 14_400.0)


def turnaround_s(rng: np.random.Generator) -> float:
    """From drawing the blood to sending the result."""
    low, high = TURNAROUND_RANGE_S
    return float(
        np.clip(TURNAROUND_MEDIAN_S * math.exp(TURNAROUND_LOG_SD * rng.standard_normal()), low, high)
    )


def assay(quantity: str, true: float, noise_scale: float, rng: np.random.Generator) -> float:
    """What the machine measures."""
    return max(true * (1.0 + noise_scale * ASSAY_CV[quantity] * rng.standard_normal()), 0.0)


def result(quantity: str, measured: float, drawn_s: float) -> Sample:
    """The result that is sent; `at` is when the blood was drawn."""
    limit = LIMIT[quantity]
    return Sample(
        quantity=quantity,
        value=limit if measured < limit else round(measured, DECIMALS[quantity]),
        unit=UNIT[quantity],
        at=instant(drawn_s),
        censored="below" if measured < limit else None,
    )
