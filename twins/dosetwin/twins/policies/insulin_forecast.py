"""Forecast of a batch of twins under every insulin candidate, scored on all members.

What does not depend on the candidate is found for the whole horizon at once: insulin action by superposition
of tabulated unit responses (`insulin_response`, matrix products), the unannounced flux as a matrix product
with its noise, the gut in closed form. A candidate's action is then the baseline plus its extra rate times
the response to a unit rate over the order's half hour plus its bolus times the response to a unit bolus; only
the two glucose compartments are stepped for each. Steps of 5 min over 4 h.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Bool, Float, Int, UInt32

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_filter import Ensemble
from dosetwin.twins.estimators.ensemble_noise import mix, standard_normal
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.models.insulin_absorption import K_E, V_I, InsulinChain, advance_insulin, insulin_step
from dosetwin.twins.models.insulin_response import Responses, polynomials, responses
from dosetwin.twins.models.meal_absorption import MMOL_PER_G
from dosetwin.twins.policies.insulin_scores import (
    HIGH,
    LOW,
    VERY_LOW,
    choose,
    low_quantile,
    risk,
    within_constraints,
)

STEP_MIN = 5.0
STEPS_PER_POINT = 3
POINTS = 16
"""Forecast points after the present: every 15 min for 4 h."""
STEPS = POINTS * STEPS_PER_POINT
ORDER_STEPS = 6
"""Steps that an ordered rate lasts: 30 min."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_TO_MG_DL = MG_DL_PER_MMOL_L / V_G


class Outlook(NamedTuple):
    """What is asked; rates mU/kg/min, boluses mU/kg, targets mg/dL.

    `u`: delivery that is certain already, for each 5 min step (one row where it is steady). `extra_rate`,
    `bolus`: what each candidate adds to it. `low`, `high`: the target range. `bounds`: risk a candidate may
    add below 70 and below 54.
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
    glucose: Float[Array, "points members patients"]
    insulin: Float[Array, "points members patients"]


class _Action(NamedTuple):
    """Step means of S_j y_j: what goes on anyway, for a unit rate of 30 min, for a unit bolus.

    All [steps, members, patients].
    """

    base: Array
    of_rate: Array
    of_bolus: Array


class _Baseline(NamedTuple):
    """Insulin that goes on anyway, as its distance from the equilibrium with the first step's delivery.

    That equilibrium stays, so a constant delivery needs no integration. `action`, `plasma`: what a delivery
    that changes later adds (an infusion that ends), mU/L; None where it does not change.
    """

    T: Float[Array, "terms members patients"]
    chain: InsulinChain
    equilibrium: Float[Array, "members patients"]
    action: Float[Array, "3 steps members patients"] | None
    plasma: Float[Array, "steps1 members patients"] | None


class _Scores(NamedTuple):
    """Of glucose at the present and after every step, all [candidates, members, patients]; Q1 in mmol/kg."""

    smallest: Array
    largest: Array
    inside: Array


def forecast(x: Ensemble, outlook: Outlook, *, steady: bool = False) -> Forecasts:
    """Forecast and score; `x` is [row, member, patient] at the time decided for.

    `steady` says that `outlook.u` does not change over the horizon, which saves a chain's integration.
    """
    table = responses(STEP_MIN, STEPS, ORDER_STEPS)
    baseline = _baseline(x, outlook.u, steady)
    g = 0.5 * STEP_MIN
    # what a glucose step multiplies by half its length is so multiplied once, here
    EGP0 = g * jnp.exp(x[row.LN_EGP0])
    S = (g * jnp.exp(x[row.LN_SIT]), g * jnp.exp(x[row.LN_SID]), EGP0 * jnp.exp(x[row.LN_SIE]))
    actions = [_action(table, baseline, S[j], j) for j in range(3)]
    drive = tuple(
        array.reshape(POINTS, STEPS_PER_POINT, *array.shape[1:])
        for array in (*(part for action in actions for part in action), _supply(x, outlook.key, g))
    )
    extra, bolus = outlook.extra_rate[:, None, :], outlook.bolus[:, None, :]
    middle = 0.5 / _TO_MG_DL * (outlook.low + outlook.high)
    half_width = 0.5 / _TO_MG_DL * (outlook.high - outlook.low)

    def within(Q1: Array) -> Array:
        return jnp.where(jnp.abs(Q1 - middle) <= half_width, 1.0, 0.0)

    def point(carry: _Carry, during: tuple[Array, ...]) -> tuple[_Carry, Array]:
        glucose, scores = carry
        passed = []
        for k in range(STEPS_PER_POINT):
            now = [array[k] for array in during]
            x1, x2, x3 = (now[i] + extra * now[i + 1] + bolus * now[i + 2] for i in (0, 3, 6))
            supply = now[9] + jnp.maximum(EGP0 - x3, 0.0)
            glucose = hovorka.half_step_twice(glucose, g, x1, x2, supply)
            passed.append(glucose.Q1)
        scores = _Scores(
            functools.reduce(jnp.minimum, passed, scores.smallest),
            functools.reduce(jnp.maximum, passed, scores.largest),
            functools.reduce(jnp.add, map(within, passed), scores.inside),
        )
        return (glucose, scores), glucose.Q1

    wide = (outlook.bolus.shape[0], *x.shape[1:])
    Q1, Q2 = (jnp.broadcast_to(x[r], wide) for r in (row.Q1, row.Q2))
    begun = (hovorka.Glucose(Q1, Q2), _Scores(Q1, Q1, within(Q1)))
    (_, scores), points = jax.lax.scan(point, begun, drive)
    return _conclude(x, outlook, table, baseline, scores, points)


_Carry = tuple[hovorka.Glucose, _Scores]


def _baseline(x: Ensemble, u: Float[Array, "steps patients"], steady: bool) -> _Baseline:
    T, t_maxI = polynomials(x[row.LN_TI]), jnp.exp(x[row.LN_TI])
    depot, plasma = u[0] * t_maxI, u[0] * (1.0 / (K_E * V_I)) + jnp.zeros_like(t_maxI)
    chain = InsulinChain(
        x[row.S1] - depot, x[row.S2] - depot, *(x[r] - plasma for r in range(row.PLASMA, row.Y3 + 1))
    )
    if steady:
        return _Baseline(T, chain, plasma, None, None)
    step = insulin_step(jnp.float32(STEP_MIN), t_maxI)

    def turn(before: InsulinChain, u: Array) -> tuple[InsulinChain, tuple[Array, Array]]:
        after = advance_insulin(before, jnp.broadcast_to(u, t_maxI.shape), step)
        return after, (0.5 * (jnp.stack(before[3:]) + jnp.stack(after[3:])), after.I)

    nothing = jnp.zeros_like(t_maxI)
    _, (action, later) = jax.lax.scan(turn, InsulinChain(*(nothing,) * 6), u - u[0])
    return _Baseline(T, chain, plasma, action.swapaxes(0, 1), jnp.concatenate([nothing[None], later]))


def _action(table: Responses, baseline: _Baseline, S_j: Float[Array, "members patients"], j: int) -> _Action:
    chain = baseline.chain
    weights = jnp.concatenate(
        [
            baseline.T * (chain.S1 * S_j),
            baseline.T * (chain.S2 * S_j),
            jnp.stack([chain.I * S_j, chain[3 + j] * S_j, baseline.equilibrium * S_j]),
        ]
    )
    kinetics = np.concatenate(
        [
            table.of_S1[j],
            table.of_S2[j],
            np.stack([table.of_I[j], table.of_y[j], np.ones(STEPS, np.float32)], 1),
        ],
        axis=1,
    )
    scaled = baseline.T * S_j
    base = _product(kinetics, weights)
    return _Action(
        base=base if baseline.action is None else base + baseline.action[j] * S_j,
        of_rate=_product(table.of_rate[j], scaled),
        of_bolus=_product(table.of_S1[j], scaled),
    )


def _supply(x: Ensemble, key: UInt32[Array, " patients"], g: float) -> Float[Array, "steps members patients"]:
    """Glucose from the gut and from nobody knows where, mean over each step, g times mmol/kg/min."""
    members, patients = x.shape[1:]
    number = jnp.arange(STEPS, dtype=jnp.uint32)[:, None, None] * jnp.uint32(0x85EBCA6B)
    counter = jnp.arange(members, dtype=jnp.uint32)[:, None] * jnp.uint32(0x9E3779B9)
    bits = jnp.broadcast_to(counter ^ (key + number), (STEPS, members, patients))
    noise = standard_normal(mix(bits))
    flux = _product(np.float32(g) * _flux_means(), jnp.concatenate([x[row.FLUX][None], noise]))
    gut_rate = jnp.exp(-x[row.LN_TG])
    left = x[row.D1] + x[row.D2]

    def in_gut(t_min: Array) -> Array:
        return (left + x[row.D1] * (t_min * gut_rate)) * jnp.exp(-t_min * gut_rate)

    t_min = jnp.arange(STEPS + 1, dtype=jnp.float32)[:, None, None] * STEP_MIN
    remains = in_gut(t_min)
    absorbed = remains[:-1] - remains[1:]
    return flux + jnp.exp(x[row.LN_AG]) * (g * MMOL_PER_G / STEP_MIN) * jnp.maximum(absorbed, 0.0)


def _flux_means() -> npt.NDArray[np.float32]:
    """[steps, 1 + steps]: mean flux over each step from the present flux and the noise of every step."""
    keep = math.exp(-STEP_MIN / row.FLUX_TIME_MIN)
    jump = row.FLUX_SD * math.sqrt(1.0 - keep * keep)
    at = np.zeros((STEPS + 1, STEPS + 1))
    at[0, 0] = 1.0
    for k in range(STEPS):
        at[k + 1] = keep * at[k]
        at[k + 1, k + 1] = jump
    return (0.5 * (at[:-1] + at[1:])).astype(np.float32)


def _product(matrix: npt.NDArray[np.float32], columns: Array) -> Array:
    """Multiply a matrix [a, b] by columns [b, members, patients]."""
    flat = jnp.dot(matrix, columns.reshape(columns.shape[0], -1))
    return flat.reshape(-1, *columns.shape[1:])


def _conclude(
    x: Ensemble,
    outlook: Outlook,
    table: Responses,
    baseline: _Baseline,
    scores: _Scores,
    points: Float[Array, "points candidates members patients"],
) -> Forecasts:
    smallest = scores.smallest
    risks = (risk(jnp.log(jnp.clip(points[k] * _TO_MG_DL, 20.0, 600.0))) for k in range(POINTS))
    utility = -functools.reduce(jnp.add, risks).mean(1) / POINTS
    below_70 = (smallest < LOW / _TO_MG_DL).astype(jnp.float32).mean(1)
    below_54 = (smallest < VERY_LOW / _TO_MG_DL).astype(jnp.float32).mean(1)
    feasible = within_constraints(below_70, below_54, outlook.bounds)
    best = choose(utility, feasible, below_70, below_54)
    candidates = range(utility.shape[0])
    chosen = [(best == c).astype(jnp.float32) for c in candidates]
    extra_rate = functools.reduce(jnp.add, (chosen[c] * outlook.extra_rate[c] for c in candidates))
    bolus = functools.reduce(jnp.add, (chosen[c] * outlook.bolus[c] for c in candidates))
    members = functools.reduce(jnp.add, (chosen[c] * points[:, c] for c in candidates))
    glucose = jnp.clip(jnp.concatenate([x[row.Q1][None], members]) * _TO_MG_DL, 1.0, 2000.0)
    insulin = _plasma(table, baseline, extra_rate, bolus)
    return Forecasts(
        utility=utility,
        attainment=scores.inside.mean(1) / (STEPS + 1),
        below_70=below_70,
        below_54=below_54,
        above_250=(scores.largest > HIGH / _TO_MG_DL).astype(jnp.float32).mean(1),
        lowest=low_quantile(smallest, 0.05) * _TO_MG_DL,
        feasible=feasible,
        best=best,
        glucose=glucose,
        insulin=jnp.maximum(insulin, 0.0),
    )


def _plasma(
    table: Responses,
    baseline: _Baseline,
    extra_rate: Float[Array, " patients"],
    bolus: Float[Array, " patients"],
) -> Float[Array, "points1 members patients"]:
    """Plasma insulin at the forecast points, mU/L."""
    T, chain = baseline.T, baseline.chain
    at = slice(None, None, STEPS_PER_POINT)
    kinetics = np.concatenate(
        [
            table.plasma_of_S1[at],
            table.plasma_of_S2[at],
            table.plasma_of_rate[at],
            table.plasma_of_I[at, None],
        ],
        axis=1,
    )
    weights = jnp.concatenate([T * (chain.S1 + bolus), T * chain.S2, T * extra_rate, chain.I[None]])
    plasma = _product(kinetics, weights) + baseline.equilibrium
    return plasma if baseline.plasma is None else plasma + baseline.plasma[at]


class Packed(NamedTuple):
    """`Forecasts` in three arrays: what leaves the device costs by the array, not by the number.

    `scores`: utility, attainment, below_70, below_54, above_250, lowest and feasible (1 or 0), in this order.
    `members`: glucose at the points, then insulin at the points.
    """

    scores: Float[Array, "7 candidates patients"]
    best: Int[Array, " patients"]
    members: Float[Array, "patients points2 members"]


TOGETHER = 64
"""Patients that the loop over time takes at once: what a step touches then fits the second-level cache."""


def forecast_stored(
    ensembles: Float[Array, "patients size"], outlook: Outlook, *, steady: bool = False
) -> Packed:
    """`forecast` of ensembles as the bank stores them, a row a patient; more than 64 in groups of 64."""
    if ensembles.shape[0] <= TOGETHER:
        return _packed(ensembles, outlook, steady)
    groups = ensembles.shape[0] // TOGETHER

    def split(values: Array) -> Array:
        return jnp.moveaxis(values.reshape(*values.shape[:-1], groups, TOGETHER), -2, 0)

    def joined(values: Array) -> Array:
        values = jnp.moveaxis(values, 0, -2)
        return values.reshape(*values.shape[:-2], -1)

    parts = ensembles.reshape(groups, TOGETHER, -1), Outlook(*map(split, outlook))
    made = jax.lax.map(lambda part: _packed(part[0], part[1], steady), parts)
    return Packed(
        scores=joined(made.scores),
        best=made.best.reshape(-1),
        members=made.members.reshape(-1, *made.members.shape[2:]),
    )


def _packed(ensembles: Float[Array, "patients size"], outlook: Outlook, steady: bool) -> Packed:
    members = ensembles.shape[1] // row.ROWS
    made = forecast(ensembles.T.reshape(row.ROWS, members, -1), outlook, steady=steady)
    return Packed(
        scores=jnp.stack([*made[:6], made.feasible.astype(jnp.float32)]),
        best=made.best,
        members=jnp.concatenate([made.glucose, made.insulin]).transpose(2, 0, 1),
    )


forecast_batch = jax.jit(
    forecast_stored, static_argnames="steady", compiler_options={"xla_cpu_prefer_vector_width": 512}
)
