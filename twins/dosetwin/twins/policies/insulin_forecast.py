"""Forecast of a batch of twins under every insulin candidate, scored on all members.

The insulin chain is linear, so a candidate is a superposition: the chain under what is already going on, plus
its extra basal rate times the response to a unit rate over the order's half hour, plus its bolus times the
response to a unit bolus. Three chains serve all candidates; only the two glucose compartments are stepped for
each. Steps of 5 min over 4 h.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

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
STEPS = POINTS * STEPS_PER_POINT
ORDER_STEPS = 6
"""Steps that an ordered rate lasts: 30 min."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LOW, VERY_LOW, HIGH = 70.0, 54.0, 250.0
"""mg/dL: level 1 and 2 hypoglycaemia and level 2 hyperglycaemia (ADA Standards of Care, section 6)."""
LOW_WEIGHT = 2.0
"""Weight of the low side of the risk function over the high side, on top of its own steepness there. Our
assumption: on 40 simulated days 1, 2 and 4 left 1.8, 1.7 and 0.9 % of the time below 70, 66, 65 and 63 % in
range."""
RISK_BELOW_70, RISK_BELOW_54 = 0.05, 0.02
"""Chance constraints: how much more probable than under 30 min without insulin a candidate may make it to be
ever below 70, 54 mg/dL within 4 h. Our assumption; targets `risk_below_70`, `risk_below_54` override them."""
ALWAYS_70, ALWAYS_54 = 0.25, 0.10
"""Probabilities above which a candidate may add nothing to them. Our assumption."""


class Outlook(NamedTuple):
    """What is asked; rates mU/kg/min, boluses mU/kg, targets mg/dL.

    `u`: delivery that is certain already, for each 5 min step. `extra_rate`, `bolus`: what each candidate
    adds to it. `low`, `high`: the target range. `bounds`: risk a candidate may add below 70 and below 54.
    """

    u: Float[Array, "steps patients"]
    extra_rate: Float[Array, "candidates patients"]
    bolus: Float[Array, "candidates patients"]
    low: Float[Array, " patients"]
    high: Float[Array, " patients"]
    bounds: Float[Array, "2 patients"]
    key: UInt32[Array, " patients"]


class Forecasts(NamedTuple):
    """Scores of every candidate, and the members under the best; glucose in mg/dL, insulin in mU/L.

    `lowest` is the 5 % quantile over the members of the smallest glucose of the horizon. `glucose` and
    `insulin` start at the present and go on every 15 min.
    """

    utility: Float[Array, "candidates patients"]
    attainment: Float[Array, "candidates patients"]
    below_70: Float[Array, "candidates patients"]
    below_54: Float[Array, "candidates patients"]
    above_250: Float[Array, "candidates patients"]
    lowest: Float[Array, "candidates patients"]
    feasible: Bool[Array, "candidates patients"]
    best: Int[Array, " patients"]
    glucose: Float[Array, "patients points members"]
    insulin: Float[Array, "patients points members"]


def risk(log_glucose: Float[Array, "..."]) -> Float[Array, "..."]:
    """Blood glucose risk 10 f^2, f = 1.509 (ln(G)^1.084 - 5.381), G in mg/dL, low side times LOW_WEIGHT.

    Kovatchev et al. 1997, Diabetes Care 20:1655; used for in-silico cohorts by Magni et al. 2007, J Diabetes
    Sci Technol 1:804. ln(G)^1.084 is taken by its quadratic in ln G over 20-600 mg/dL (error of f below
    0.002).
    """
    a, b, c = _POWER
    f = 1.509 * ((a * log_glucose + b) * log_glucose + c - 5.381)
    return 10.0 * f * f * jnp.where(f < 0.0, LOW_WEIGHT, 1.0)


_GRID = np.linspace(np.log(20.0), np.log(600.0), 200)
_POWER = tuple(float(c) for c in np.polyfit(_GRID, _GRID**1.084, 2))


class _Drive(NamedTuple):
    """What moves glucose and is the same for every candidate: insulin chains, gut, unannounced flux."""

    chains: InsulinChain
    """Each field [3, members, patients]: what goes on anyway, unit rate for 30 min, unit bolus."""
    D1: Float[Array, "members patients"]
    D2: Float[Array, "members patients"]
    flux: Float[Array, "members patients"]


class _Scores(NamedTuple):
    smallest: Float[Array, "candidates members patients"]
    largest: Float[Array, "candidates members patients"]
    inside: Float[Array, "candidates members patients"]


def forecast(x: Ensemble, outlook: Outlook) -> Forecasts:
    """Forecast and score; `x` is [row, member, patient] at the time decided for.

    The loop is a pipeline: each turn moves glucose with the action that the turn before left in the carry,
    while it computes the next action. What a turn reads from its carry XLA does not fuse into the candidates'
    kernel, which therefore stays one vectorised pass over [candidates, members, patients] (measured: 5 times
    faster than slicing precomputed actions inside it).
    """
    members = x.shape[1]
    h = jnp.float32(STEP_MIN)
    step = insulin_step(h, jnp.exp(x[row.LN_TI]))
    S = jnp.exp(x[row.LN_SIT : row.LN_SIE + 1])
    EGP0 = jnp.exp(x[row.LN_EGP0])
    gut_rate = jnp.exp(-x[row.LN_TG])
    gut_keep = jnp.exp(-h * gut_rate)
    bioavailable = jnp.exp(x[row.LN_AG]) * (MMOL_PER_G / STEP_MIN)
    flux_keep = math.exp(-STEP_MIN / row.FLUX_TIME_MIN)
    flux_jump = row.FLUX_SD * math.sqrt(1.0 - flux_keep * flux_keep)
    counter = jnp.arange(members, dtype=jnp.uint32)[:, None] * jnp.uint32(0x9E3779B9)
    extra, bolus = outlook.extra_rate[:, None, :], outlook.bolus[:, None, :]
    low, high = (bound / _TO_MG_DL for bound in (outlook.low, outlook.high))

    def drive(before: _Drive, number: Int[Array, ""], u: Float[Array, " patients"]) -> tuple[_Drive, Array]:
        unit = jnp.broadcast_to(jnp.where(number < ORDER_STEPS, 1.0, 0.0).astype(u.dtype), u.shape)
        chains = advance_insulin(before.chains, jnp.stack([u, unit, jnp.zeros_like(u)])[:, None, :], step)
        actions = [S[j] * (0.5 * (before.chains[3 + j] + chains[3 + j])) for j in range(3)]
        D1 = before.D1 * gut_keep
        D2 = (before.D2 + before.D1 * h * gut_rate) * gut_keep
        appearance = bioavailable * (before.D1 + before.D2 - D1 - D2)
        bits = mix(counter ^ (outlook.key + number.astype(jnp.uint32) * jnp.uint32(0x85EBCA6B)))
        flux = before.flux * flux_keep + flux_jump * standard_normal(bits)
        supply = appearance + 0.5 * (before.flux + flux)
        return _Drive(chains, D1, D2, flux), jnp.concatenate([*actions, supply[None]])

    def score(scores: _Scores, Q1: Array) -> _Scores:
        return _Scores(
            jnp.minimum(scores.smallest, Q1),
            jnp.maximum(scores.largest, Q1),
            scores.inside + jnp.where(jnp.logical_and(low <= Q1, high >= Q1), 1.0, 0.0),
        )

    def turn(carry: _Carry, inputs: tuple[Array, Array]) -> tuple[_Carry, Array]:
        now, action, glucose, scores = carry
        x1, x2, x3 = (action[k] + extra * action[k + 1] + bolus * action[k + 2] for k in (0, 3, 6))
        moved = hovorka.advance_glucose(
            glucose, h, jnp.maximum(x1, 0.0), jnp.maximum(x2, 0.0), action[9] + hovorka.production(EGP0, x3)
        )
        return (*drive(now, *inputs), moved, score(scores, glucose.Q1)), now.chains.I

    def point(carry: _Carry, inputs: tuple[Array, Array]) -> tuple[_Carry, tuple[Array, Array]]:
        carry, plasma = jax.lax.scan(turn, carry, inputs)
        return carry, (carry[2].Q1, plasma[-1])

    zero = jnp.zeros_like(x[0])
    started = [jnp.stack([x[row.S1 + k], zero, zero + (k == 0)]) for k in range(6)]
    initial = _Drive(InsulinChain(*started), x[row.D1], x[row.D2], x[row.FLUX])
    wide = (outlook.bolus.shape[0], *zero.shape)
    Q1, Q2 = (jnp.broadcast_to(x[r], wide) for r in (row.Q1, row.Q2))
    numbers = jnp.arange(1, STEPS + 1, dtype=jnp.int32).reshape(POINTS, STEPS_PER_POINT)
    later = jnp.concatenate([outlook.u[1:], outlook.u[-1:]]).reshape(POINTS, STEPS_PER_POINT, -1)
    begun = drive(initial, jnp.int32(0), outlook.u[0])
    empty = _Scores(Q1, Q1, jnp.zeros(wide, Q1.dtype))
    carry, (trajectory, plasma) = jax.lax.scan(
        point, (*begun, hovorka.Glucose(Q1, Q2), empty), (numbers, later)
    )
    plasma = jnp.concatenate([initial.chains.I[None], plasma])
    return _conclude(x, outlook, score(carry[3], carry[2].Q1), trajectory, plasma)


_Carry = tuple[_Drive, Array, hovorka.Glucose, _Scores]
_TO_MG_DL = MG_DL_PER_MMOL_L / V_G


def _conclude(
    x: Ensemble,
    outlook: Outlook,
    scores: _Scores,
    trajectory: Float[Array, "points candidates members patients"],
    plasma: Float[Array, "points1 chains members patients"],
) -> Forecasts:
    smallest, largest = scores.smallest * _TO_MG_DL, scores.largest * _TO_MG_DL
    glucose = jnp.clip(trajectory * _TO_MG_DL, 1.0, 2000.0)
    utility = -risk(jnp.log(jnp.clip(glucose, 20.0, 600.0))).mean((0, 2))
    below_70 = (smallest < LOW).astype(jnp.float32).mean(1)
    below_54 = (smallest < VERY_LOW).astype(jnp.float32).mean(1)
    feasible = within_constraints(below_70, below_54, outlook.bounds)
    best = choose(utility, feasible, below_70, below_54)
    chosen = (jnp.arange(utility.shape[0])[:, None] == best).astype(glucose.dtype)
    extra = (chosen * outlook.extra_rate).sum(0)
    bolus = (chosen * outlook.bolus).sum(0)
    insulin = plasma[:, 0] + extra * plasma[:, 1] + bolus * plasma[:, 2]
    present = x[row.Q1] * _TO_MG_DL
    members = jnp.concatenate([present[None], (glucose * chosen[:, None, :]).sum(1)])
    return Forecasts(
        utility=utility,
        attainment=scores.inside.mean(1) / (STEPS + 1),
        below_70=below_70,
        below_54=below_54,
        above_250=(largest > HIGH).astype(jnp.float32).mean(1),
        lowest=_fifth_percentile(smallest),
        feasible=feasible,
        best=best,
        glucose=members.transpose(2, 0, 1),
        insulin=jnp.maximum(insulin, 0.0).transpose(2, 0, 1),
    )


def within_constraints(
    below_70: Float[Array, "candidates patients"],
    below_54: Float[Array, "candidates patients"],
    bounds: Float[Array, "2 patients"],
) -> Bool[Array, "candidates patients"]:
    """Whether a candidate adds no more risk than `bounds` to what the first (no insulin for 30 min) leaves.

    Added risk, because what no insulin order can avert must not decide between orders; where the risk is
    above ALWAYS_70 or ALWAYS_54 nothing may be added.
    """
    added_70, added_54 = below_70 - below_70[:1], below_54 - below_54[:1]
    slack = 1e-6
    return jnp.logical_and(
        added_70 <= jnp.where(below_70 > ALWAYS_70, 0.0, bounds[0]) + slack,
        added_54 <= jnp.where(below_54 > ALWAYS_54, 0.0, bounds[1]) + slack,
    )


def choose(
    utility: Float[Array, "candidates patients"],
    feasible: Bool[Array, "candidates patients"],
    below_70: Float[Array, "candidates patients"],
    below_54: Float[Array, "candidates patients"],
) -> Int[Array, " patients"]:
    """The feasible candidate of highest utility; where none is, the one of least risk (54, then 70)."""
    allowed = jnp.where(feasible, utility, -jnp.inf).argmax(0)
    return jnp.where(feasible.any(0), allowed, (below_54 + 0.01 * below_70).argmin(0)).astype(jnp.int32)


def _fifth_percentile(values: Float[Array, "candidates members patients"]) -> Float[Array, "..."]:
    """5 % quantile over the members (position q (M + 1)), its two neighbours found by rank."""
    count = values.shape[1]
    position = 0.05 * (count + 1) - 1.0
    k = int(position)
    index = jnp.arange(count)
    first = index[:, None, None] < index[:, None]
    mine, other = values[:, None], values[:, :, None]
    ahead = jnp.where(first, other <= mine, other < mine)
    rank = ahead.astype(jnp.int32).sum(1)
    lower, upper = (jnp.where(rank == k + j, values, 0.0).sum(1) for j in (0, 1))
    return lower + (position - k) * (upper - lower)


def forecast_stored(ensembles: Float[Array, "patients size"], outlook: Outlook) -> Forecasts:
    """`forecast` of ensembles as the bank stores them, a row a patient."""
    members = ensembles.shape[1] // row.ROWS
    return forecast(ensembles.T.reshape(row.ROWS, members, -1), outlook)


forecast_batch = jax.jit(forecast_stored)
