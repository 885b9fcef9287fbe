"""Creatinine that lags behind kidney function: the clearance between two measurements.

Creatinine of a constant production P (mL/min mg/dL) is diluted in body water and cleared at CL:

    V dS/dt = P - CL S         S_2 = P/CL + (S_1 - P/CL) exp(-CL (t_2 - t_1)/V)

Cockcroft and Gault give P = (140 - age) W (0.85 if female) / 72, so that a steady S means CL = P/S. Two
measurements give the CL that leads from one to the other, and with it the creatinine that would be steady
at it, P/CL: what an equation for steady creatinine must be fed while it changes. This is the kinetic GFR of
Chen 2013, J Am Soc Nephrol 24:877, doi:10.1681/ASN.2012070653, which has the same balance with a straight
line in place of the exponential.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

WATER_L_PER_KG = 0.6
"""Creatinine's volume, total body water: Watson 1980, Am J Clin Nutr 33:27, rounded."""
EARLIEST_H = 12.0
"""Measurements closer than this say more about the assay than about the kidney (our assumption)."""
LATEST_H = 72.0
"""An older one says nothing about now: then the creatinine is taken as steady (our assumption)."""
FURTHEST = 2.0
"""The steady creatinine is at most so many times the measured one, or that fraction (our assumption)."""


def steady_creatinine(
    earlier: float, later: float, apart_h: float, production: float, weight_kg: float
) -> float:
    """The creatinine (mg/dL) that would be steady at the clearance that led from `earlier` to `later`.

    `production` in mL/min mg/dL. Bisection of S_2's equation in P/CL, to 1e-6 of the value.
    """
    volume_mL = WATER_L_PER_KG * 1000.0 * weight_kg
    low, high = later / FURTHEST, later * FURTHEST
    for _ in range(40):
        steady = math.sqrt(low * high)
        kept = math.exp(-production / steady * apart_h * 60.0 / volume_mL)
        # the higher the steady value, the higher the later one
        if steady + (earlier - steady) * kept < later:
            low = steady
        else:
            high = steady
    return math.sqrt(low * high)


def steady_series(
    times_h: Sequence[float],
    measured: Sequence[float],
    production: Sequence[float],
    weight_kg: Sequence[float],
) -> list[float]:
    """`steady_creatinine` of every measurement against the last one that is far enough before it."""
    found: list[float] = []
    for i, (t, value) in enumerate(zip(times_h, measured, strict=True)):
        before = [j for j in range(i) if EARLIEST_H <= t - times_h[j] <= LATEST_H]
        if not before:
            found.append(value)
            continue
        j = before[-1]
        found.append(steady_creatinine(measured[j], value, t - times_h[j], production[i], weight_kg[i]))
    return found
