"""Forecast of a batch of twins under every insulin candidate, scored on all members.

The insulin chain is linear, so a candidate is a superposition: the chain under what is already going on, plus
its extra basal rate times the response to a unit rate over the order's half hour, plus its bolus times the
response to a unit bolus. Three chains serve all candidates; only the two glucose compartments are stepped for
each. Steps of 5 min over 4 h.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_filter import Ensemble
from dosetwin.twins.estimators.ensemble_noise import mix, standard_normal
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.models.insulin_absorption import InsulinChain, advance_insulin, insulin_step
from dosetwin.twins.models.meal_absorption import MMOL_PER_G

STEP_MIN = 5.0
STEPS_PER_POINT = 3
POINTS = 16
"""Forecast points after the present: every 15 min for 4 h."""
ORDER_STEPS = 6
"""Steps that an ordered rate lasts: 30 min."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LOW, VERY_LOW, HIGH = 70.0, 54.0, 250.0
"""mg/dL: level 1 and 2 hypoglycaemia and level 2 hyperglycaemia (ADA Standards of Care, section 6)."""
LOW_WEIGHT = 4.0
"""Weight of the low side of the risk function over the high side. Our assumption."""


class Outlook(NamedTuple):
    """What is asked: all [patients] or as given. Rates mU/kg/min, boluses mU/kg, targets mg/dL.

    `u`: delivery already certain, for each 5 min step [steps, patients]. `extra_rate`, `bolus`: of each candidate
    [candidates, patients].
    """

    u: Float[Array, "steps patients"]
    extra_rate: Float[Array, "candidates patients"]
    bolus: Float[Array, "candidates patients"]
    low: Float[Array, " patients"]
    high: Float[Array, " patients"]
    key: UInt32[Array, " patients"]


class Forecasts(NamedTuple):
    """Scores [candidates, patients] and trajectories; glucose in mg/dL, insulin in mU/L."""

    utility: Float[Array, "candidates patients"]
    attainment: Float[Array, "candidates patients"]
    below_70: Float[Array, "candidates patients"]
    below_54: Float[Array, "candidates patients"]
    above_250: Float[Array, "candidates patients"]
    lowest: Float[Array, "candidates members patients"]
    glucose: Float[Array, "points candidates members patients"]
    insulin: Float[Array, "points chains members patients"]


def risk(log_glucose: Float[Array, "..."]) -> Float[Array, "..."]:
    """Blood glucose risk 10 f^2, f = 1.509 (ln(G)^1.084 - 5.381), G in mg/dL, low side times LOW_WEIGHT.

    Kovatchev et al. 1997, Diabetes Care 20:1655; used for in-silico cohorts by Magni et al. 2007, J Diabetes Sci
    Technol 1:804. ln(G)^1.084 is taken by its quadratic in ln G over 20-600 mg/dL (error of f below 0.002).
    """
    a, b, c = _POWER
    f = 1.509 * ((a * log_glucose + b) * log_glucose + c - 5.381)
    return 10.0 * f * f * jnp.where(f < 0.0, LOW_WEIGHT, 1.0)


_GRID = np.linspace(np.log(20.0), np.log(600.0), 200)
_POWER = tuple(float(c) for c in np.polyfit(_GRID, _GRID**1.084, 2))


def forecast(x: Ensemble, outlook: Outlook) -> Forecasts:
    """Forecast and score; `x` is [row, member, patient] at the time decided for."""
    members = x.shape[1]
    h = jnp.float32(STEP_MIN)
    step = insulin_step(h, jnp.exp(x[row.LN_TI]))
    zero = jnp.zeros_like(x[row.S1])
    one = jnp.ones_like(zero)
    chains = InsulinChain(
        *(jnp.stack([x[row.S1 + k], zero, one if k == 0 else zero]) for k in range(len(InsulinChain._fields)))
    )
    S1, S2, S3 = (jnp.exp(x[r]) for r in (row.LN_SIT, row.LN_SID, row.LN_SIE))
    EGP0 = jnp.exp(x[row.LN_EGP0])
    r = jnp.exp(-x[row.LN_TG])
    E_G = jnp.exp(-h * r)
    bioavailable = jnp.exp(x[row.LN_AG]) * (MMOL_PER_G / STEP_MIN)
    keep = jnp.exp(-h / row.FLUX_TIME_MIN)
    jump = row.FLUX_SD * jnp.sqrt(1.0 - keep * keep)
    candidates = outlook.bolus.shape[0]
    extra = outlook.extra_rate[:, None, :]
    bolus = outlook.bolus[:, None, :]
    counter = jnp.arange(members, dtype=jnp.uint32)[:, None] * jnp.uint32(0x9E3779B9)

    start = (
        jnp.broadcast_to(x[row.Q1], (candidates, *zero.shape)),
        jnp.broadcast_to(x[row.Q2], (candidates, *zero.shape)),
    )
    low, high = (bound * (V_G / MG_DL_PER_MMOL_L) for bound in (outlook.low, outlook.high))

    def point(carry, inputs):  # type: ignore[no-untyped-def]  # scan's carry: a tuple of arrays
        chains, D1, D2, flux, Q1, Q2, smallest, largest, inside = carry
        us, numbers = inputs
        for k in range(STEPS_PER_POINT):
            number = numbers[k]
            unit = jnp.where(number < ORDER_STEPS, 1.0, 0.0).astype(jnp.float32)
            u = jnp.stack([us[k], jnp.full_like(us[k], unit), jnp.zeros_like(us[k])])[:, None, :]
            after = advance_insulin(chains, u, step)
            y1, y2, y3 = (0.5 * (old + new) for old, new in zip(chains[3:], after[3:], strict=True))
            chains = after
            E1 = D1 * E_G
            E2 = (D2 + D1 * h * r) * E_G
            appearance = bioavailable * (D1 + D2 - E1 - E2)
            D1, D2 = E1, E2
            noise = standard_normal(
                mix(counter ^ (outlook.key + number.astype(jnp.uint32) * jnp.uint32(0x85EBCA6B)))
            )
            moved = flux * keep + jump * noise
            supply = appearance + 0.5 * (flux + moved)
            flux = moved

            x1 = S1 * (y1[0] + extra * y1[1] + bolus * y1[2])
            x2 = S2 * (y2[0] + extra * y2[1] + bolus * y2[2])
            x3 = S3 * (y3[0] + extra * y3[1] + bolus * y3[2])
            Q1, Q2 = hovorka.advance_glucose(
                hovorka.Glucose(Q1, Q2),
                h,
                jnp.maximum(x1, 0.0),
                jnp.maximum(x2, 0.0),
                supply + hovorka.production(EGP0, x3),
            )
            smallest = jnp.minimum(smallest, Q1)
            largest = jnp.maximum(largest, Q1)
            inside = inside + jnp.where((Q1 >= low) & (Q1 <= high), 1.0, 0.0)
        glucose = jnp.maximum(Q1 * (MG_DL_PER_MMOL_L / V_G), 1.0)
        insulin = chains.I
        return (chains, D1, D2, flux, Q1, Q2, smallest, largest, inside), (glucose, insulin)

    initial = (
        chains,
        x[row.D1],
        x[row.D2],
        x[row.FLUX],
        *start,
        start[0],
        start[0],
        jnp.zeros_like(start[0]),
    )
    steps = POINTS * STEPS_PER_POINT
    numbers = jnp.arange(steps, dtype=jnp.int32).reshape(POINTS, STEPS_PER_POINT)
    us = outlook.u.reshape(POINTS, STEPS_PER_POINT, -1)
    final, (glucose, insulin) = jax.lax.scan(point, initial, (us, numbers))
    smallest, largest, inside = (final[k] for k in (6, 7, 8))
    to_mg_dL = MG_DL_PER_MMOL_L / V_G
    smallest, largest = smallest * to_mg_dL, largest * to_mg_dL
    cost = risk(jnp.log(jnp.clip(glucose, 20.0, 600.0))).mean((0, 2))
    return Forecasts(
        utility=-cost,
        attainment=inside.mean(1) / steps,
        below_70=(smallest < LOW).astype(jnp.float32).mean(1),
        below_54=(smallest < VERY_LOW).astype(jnp.float32).mean(1),
        above_250=(largest > HIGH).astype(jnp.float32).mean(1),
        lowest=smallest,
        glucose=glucose,
        insulin=insulin,
    )


def forecast_stored(ensembles: Float[Array, "patients size"], outlook: Outlook) -> Forecasts:
    """`forecast` of ensembles as the bank stores them, a row a patient."""
    members = ensembles.shape[1] // row.ROWS
    return forecast(ensembles.T.reshape(row.ROWS, members, -1), outlook)


forecast_batch = jax.jit(forecast_stored)
