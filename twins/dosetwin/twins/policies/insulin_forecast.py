"""Forecast of a batch of twins under every insulin candidate, scored on all members.

A candidate is what is ordered now: a bolus, and a rate for half an hour. What follows is not left open: in
every member the delivery goes on under one law of feedback, as a loop that decides again will do,

    u = basal + (c (G_sensed - goal) - (S1 + S2 - basal 2 t_maxI)) / T ,      0 <= u <= basal ,

the bolus calculator's correction less insulin on board, spread over T = 90 min. G_sensed is the glucose that
the member's sensor shows (its persisting error decays as in `glucose_sensor`), where it falls an hour ahead
along its last step; the law knows neither the member's parameters nor its meals. So a bolus is judged by what
suspending afterwards could still avert, and by no more than that: a rollout of a base policy (Bertsekas 2005,
doi:10.3166/ejc.11.310-334).

Insulin acts in every member by a factor exp(ACTION_SD z) more than it has learned, z spread evenly over a
normal: what one dose differs from the next in the same person.

Steps of 10 min over 5 h; insulin and gut in closed form, glucose by the implicit midpoint, all as in the
filter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_filter import Ensemble, day_factor
from dosetwin.twins.estimators.ensemble_noise import mix, standard_normal
from dosetwin.twins.models import glucose_sensor as sensor
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.models.insulin_absorption import InsulinChain, advance_insulin, insulin_step
from dosetwin.twins.models.meal_absorption import MMOL_PER_G, Gut, advance_gut
from dosetwin.twins.policies import insulin_scores as worth

STEP_MIN = 10.0
STEPS_PER_POINT = 2
POINTS = 15
"""Forecast points after the present: every 20 min for 5 h."""
STEPS = POINTS * STEPS_PER_POINT
ORDER_STEPS = 3
"""Steps that an ordered rate lasts: 30 min."""
SOON_STEPS = 12
"""Steps of `lowest`: 2 h. What a supervisor can still avert by suspending lies there; later the law acts
too."""
LAW_MIN = 90.0
"""T of the law. Our assumption."""
LAW_HIGHEST = 1.0
"""Highest rate of the law, in basal rates: later decisions are trusted to hold insulin back, not to give what
is needed now. With 3 a choice put insulin off again and again, since the law would give it anyway."""
AHEAD_STEPS = 6.0
"""How far ahead the law looks where glucose falls, in steps: 1 h. Our assumption: a loop that decides every
5 min sees a fall coming."""
ACTION_SD = 0.1
"""Deviation of ln(action) from one dose to the next. Within one person the action of a dose has a coefficient
of variation of 15-25 % (Heinemann 2002, Diabetes Technol Ther 4:673); members differ already by what is not
known, so less is our assumption."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SHIFTS_MG_DL = tuple(float(d) for d in range(5, 65, 5))
"""By how much a different reading is tried, to say what would have changed the choice."""

_TO_MG_DL = MG_DL_PER_MMOL_L / V_G
PerPatient = Float[Array, " patients"]


class Outlook(NamedTuple):
    """What is asked; rates mU/kg/min, boluses mU/kg, glucose mg/dL.

    `infused`: what running infusions give in each step (one row where they do not change). `basal`: the
    programme. `rate` (for 30 min), `bolus`: of each candidate. `correction`: mU/kg for each mg/dL above
    `goal`. `low`, `high`: the target range. `bounds`: risk a candidate may add below 70 and below 54.
    `floor`: the supervisor suspends where the 5 % quantile of the smallest glucose is lower. `minute` of the
    day.
    """

    infused: Float[Array, "steps patients"]
    basal: PerPatient
    rate: Float[Array, "candidates patients"]
    bolus: Float[Array, "candidates patients"]
    correction: PerPatient
    goal: PerPatient
    low: PerPatient
    high: PerPatient
    bounds: Float[Array, "2 patients"]
    floor: PerPatient
    minute: PerPatient
    key: UInt32[Array, " patients"]


class Forecasts(NamedTuple):
    """Scores of every candidate, and the members under the best; glucose in mg/dL, insulin in mU/L.

    `lowest` is the 5 % quantile over the members of the smallest glucose of the next 2 h. `wanted` is the
    candidate of highest utility, feasible or not. `falls`: how much lower (mg/dL) glucose might be before
    `best` were no longer feasible; `rises`: how much higher for `wanted` to be feasible; NaN beyond
    SHIFTS_MG_DL. `glucose` and `insulin` start at the present and go on every 20 min.
    """

    utility: Float[Array, "candidates patients"]
    attainment: Float[Array, "candidates patients"]
    below_70: Float[Array, "candidates patients"]
    below_54: Float[Array, "candidates patients"]
    above_250: Float[Array, "candidates patients"]
    lowest: Float[Array, "candidates patients"]
    feasible: Bool[Array, "candidates patients"]
    best: Int[Array, " patients"]
    wanted: Int[Array, " patients"]
    falls: PerPatient
    rises: PerPatient
    glucose: Float[Array, "points members patients"]
    insulin: Float[Array, "points members patients"]


class _Scores(NamedTuple):
    """Of glucose at the present and after every step, [candidates, members, patients]; Q1 in mmol/kg."""

    smallest: Array
    soon: Array
    largest: Array
    inside: Array
    risk: Array


class _State(NamedTuple):
    """What moves: [candidates, members, patients]; `earlier` is Q1 a step ago."""

    chain: InsulinChain
    glucose: hovorka.Glucose
    earlier: Array


def forecast(x: Ensemble, outlook: Outlook) -> Forecasts:
    """Forecast and score; `x` is [row, member, patient] at the time decided for."""
    drive = stored(_drive(x, outlook))
    scores, _, _ = _rolled_out(x, outlook, drive, outlook.rate, outlook.bolus, False)
    smallest = scores.smallest * _TO_MG_DL
    utility = -scores.risk.mean(1) / STEPS
    below_70, below_54 = worth.chance_below(smallest)
    soon = scores.soon * _TO_MG_DL
    lowest = worth.low_quantile(soon, 0.05)
    feasible = worth.within_constraints(below_70, below_54, outlook.bounds, lowest, outlook.floor)
    best = worth.choose(utility, feasible, below_70, below_54)
    wanted = utility.argmax(0).astype(jnp.int32)
    falls, rises = _turning_points(smallest, soon, outlook, best, wanted)

    def of(values: Array, choice: Array) -> Array:
        return jnp.take_along_axis(values, choice[None], axis=0)

    _, glucose, insulin = _rolled_out(
        x, outlook, drive, of(outlook.rate, best), of(outlook.bolus, best), True
    )
    now = x[row.Q1][None], x[row.PLASMA][None]
    return Forecasts(
        utility=utility,
        attainment=scores.inside.mean(1) / (STEPS + 1),
        below_70=below_70,
        below_54=below_54,
        above_250=(scores.largest > worth.HIGH / _TO_MG_DL).astype(jnp.float32).mean(1),
        lowest=lowest,
        feasible=feasible,
        best=best,
        wanted=wanted,
        falls=falls,
        rises=rises,
        glucose=jnp.clip(jnp.concatenate([now[0], glucose]) * _TO_MG_DL, 1.0, 2000.0),
        insulin=jnp.maximum(jnp.concatenate([now[1], insulin]), 0.0),
    )


def stored(values: Any) -> Any:
    """The same values, computed once here and not again wherever they are read."""
    return jax.lax.optimization_barrier(values)  # type: ignore[no-untyped-call]


class _Drive(NamedTuple):
    """What no candidate changes, for every step: [steps, members, patients], all times half a step.

    `S1`, `S2`, `S3`: sensitivities by the time of day, halved (of the sum of an action before and after);
    `supply`: from gut and flux (mmol/kg); `error`: the sensor's, in mmol/kg of Q1; `slope`: what a mmol/kg
    shows, the part of that error which grows with it included.
    """

    S1: Array
    S2: Array
    S3: Array
    supply: Array
    error: Array
    slope: Array
    infused: Array


_Supply = tuple[Array, Array, Array, Array]


def _drive(x: Ensemble, outlook: Outlook) -> _Drive:
    members, patients = x.shape[1:]
    g = 0.5 * STEP_MIN
    number = jnp.arange(STEPS)
    days = jax.vmap(lambda k: day_factor(x, outlook.minute + (k + 0.5) * STEP_MIN))(number)
    acts = _action(members)
    S_IT, S_ID, S_IE = (0.5 * g * jnp.exp(x[r] + acts) for r in (row.LN_SIT, row.LN_SID, row.LN_SIE))
    S_IE = jnp.exp(x[row.LN_EGP0]) * S_IE
    kept = jnp.exp(-number * np.float32(STEP_MIN / sensor.ERROR_TIME_MIN))[:, None, None]
    error = sensor.error_after(x[row.BIAS], kept, 0.0)

    keep = float(np.exp(-STEP_MIN / row.FLUX_TIME_MIN))
    jump = row.FLUX_SD * float(np.sqrt(1.0 - keep**2))
    lane = jnp.arange(members, dtype=jnp.uint32)[:, None] * jnp.uint32(0x9E3779B9)
    turn = number.astype(jnp.uint32)[:, None, None] * jnp.uint32(0x85EBCA6B)
    noise = jump * standard_normal(mix(jnp.broadcast_to(lane ^ (outlook.key + turn), days.shape)))
    t_maxG = jnp.exp(x[row.LN_TG])
    waits = float(np.exp(-STEP_MIN / row.EATING_MIN))

    def one(state: _Supply, noise: Array) -> tuple[_Supply, tuple[Array, Array]]:
        D1, D2, waiting, flux = state
        after = waiting * waits
        gut, absorbed = advance_gut(Gut(D1 + (waiting - after), D2), jnp.float32(STEP_MIN), t_maxG)
        later = keep * flux + noise
        return (gut.D1, gut.D2, after, later), (absorbed, flux + later)

    start = x[row.D1], x[row.D2], x[row.D0], x[row.FLUX]
    _, (absorbed, flux) = jax.lax.scan(one, start, noise)
    supply = jnp.exp(x[row.LN_AG]) * (g * MMOL_PER_G / STEP_MIN) * absorbed + (0.5 * g) * flux
    return _Drive(
        S_IT * days,
        S_ID * days,
        S_IE * days,
        supply,
        error * (sensor.ERROR_SD_MG_DL / _TO_MG_DL),
        1.0 + sensor.ERROR_CV * error,
        jnp.broadcast_to(outlook.infused, (STEPS, patients)),
    )


def _action(members: int) -> Float[Array, "members 1"]:
    """ACTION_SD times normal quantiles, in an order that no other sequence over the members has."""
    place = (np.arange(members) * 37 + 11) % members
    return ACTION_SD * jax.scipy.special.ndtri(jnp.asarray((place + 0.5) / members, jnp.float32))[:, None]


def _rolled_out(
    x: Ensemble,
    outlook: Outlook,
    drive: _Drive,
    rate: Float[Array, "candidates patients"],
    bolus: Float[Array, "candidates patients"],
    keep: bool,
) -> tuple[_Scores, Array, Array]:
    """Scores of these first orders; with `keep` (one of them) glucose (mmol/kg) and insulin at the points."""
    members, patients = x.shape[1:]
    count = rate.shape[0]
    lanes = members * patients

    def flat(values: Array) -> Array:
        """[..., lanes]: of a member or a patient; one long last axis makes long inner loops."""
        shape = (*values.shape[:-1], members, patients)
        if values.ndim < 2 or values.shape[-2:] != (members, patients):
            values = jnp.broadcast_to(values[..., None, :], shape)
        return values.reshape(*values.shape[:-2], lanes)

    t_maxI = flat(jnp.exp(x[row.LN_TI]))
    g = 0.5 * STEP_MIN
    step = insulin_step(jnp.float32(STEP_MIN), t_maxI, flat(jnp.exp(x[row.LN_KA])))
    EGP0 = g * flat(jnp.exp(x[row.LN_EGP0]))
    basal, correction, goal, low, high = map(
        flat, (outlook.basal, outlook.correction, outlook.goal, outlook.low, outlook.high)
    )
    # the law's rate is gain Q1 + free - (S1 + S2) / T
    per_mmol = correction * (_TO_MG_DL / LAW_MIN)
    free = basal + (2.0 * basal * t_maxI - correction * goal) / LAW_MIN
    highest = LAW_HIGHEST * basal
    middle, half_width = (0.5 / _TO_MG_DL) * (low + high), (0.5 / _TO_MG_DL) * (high - low)
    rate, bolus = flat(rate), flat(bolus)
    drive = _Drive(*map(flat, drive))
    drive = drive._replace(infused=drive.infused * LAW_MIN)
    held = (step, EGP0, free, per_mmol, highest, middle, half_width, rate, drive)
    step, EGP0, free, per_mmol, highest, middle, half_width, rate, drive = stored(held)

    def within(Q1: Array) -> Array:
        return jnp.where(jnp.abs(Q1 - middle) <= half_width, 1.0, 0.0)

    # XLA stores what a division gives and computes again in every reader what is cheaper: hence the divisors
    T, ones = stored((jnp.full(lanes, LAW_MIN), jnp.ones(lanes)))
    free, rate = free * LAW_MIN, rate * LAW_MIN
    per_mmol, highest = per_mmol * LAW_MIN, highest * LAW_MIN

    def turn(
        carry: tuple[_State, _Scores], during: tuple[Array, _Drive]
    ) -> tuple[tuple[_State, _Scores], tuple[Array, ...]]:
        (chain, glucose, earlier), scores = carry
        k, now = during
        falls = jnp.minimum(glucose.Q1 - earlier, 0.0)
        shown = glucose.Q1 * now.slope + now.error + AHEAD_STEPS * falls
        law = jnp.clip(per_mmol * shown + free - (chain.S1 + chain.S2), 0.0, highest)
        u = (jnp.where(k < ORDER_STEPS, rate, law) + now.infused) / T
        after = advance_insulin(chain, u, step)
        after = after._replace(y1=after.y1 / ones, y2=after.y2 / ones, y3=after.y3 / ones)
        x1 = now.S1 * (chain.y1 + after.y1)
        x2 = now.S2 * (chain.y2 + after.y2)
        x3 = now.S3 * (chain.y3 + after.y3)
        moved = hovorka.half_step_twice(glucose, g, x1, x2, now.supply + jnp.maximum(EGP0 - x3, 0.0))
        Q1 = moved.Q1
        scores = _Scores(
            jnp.minimum(scores.smallest, Q1),
            jnp.where(k < SOON_STEPS, jnp.minimum(scores.soon, Q1), scores.soon),
            jnp.maximum(scores.largest, Q1),
            scores.inside + within(Q1),
            scores.risk + worth.risk(jnp.log(jnp.clip(Q1 * _TO_MG_DL, 20.0, 600.0))),
        )
        return (_State(after, moved, glucose.Q1), scores), (Q1[0], after.I[0]) if keep else ()

    wide = (count, lanes)
    Q1, Q2 = (jnp.broadcast_to(flat(x[r]), wide) for r in (row.Q1, row.Q2))
    chain = [jnp.broadcast_to(flat(x[r]), wide) for r in range(row.S1, row.Y3 + 1)]
    chain[0] = chain[0] + bolus
    begun = (
        _State(InsulinChain(*chain), hovorka.Glucose(Q1, Q2), Q1),
        _Scores(Q1, Q1, Q1, within(Q1), jnp.zeros(wide)),
    )
    (_, scores), points = jax.lax.scan(turn, begun, (jnp.arange(STEPS), drive))
    points = tuple(path[STEPS_PER_POINT - 1 :: STEPS_PER_POINT] for path in points)

    def apart(values: Array) -> Array:
        return values.reshape(*values.shape[:-1], members, patients)

    made: tuple[_Scores, Array, Array] = jax.tree.map(apart, (scores, *(points if keep else (Q1[0], Q1[0]))))
    return made


def _turning_points(
    smallest: Float[Array, "candidates members patients"],
    soon: Float[Array, "candidates members patients"],
    outlook: Outlook,
    best: Array,
    wanted: Array,
) -> tuple[PerPatient, PerPatient]:
    """`falls` and `rises` of Forecasts: every path shifted as a whole."""

    def of_two(values: Array, choice: Array) -> Array:
        return jnp.concatenate([values[:1], jnp.take_along_axis(values, choice[None, None], axis=0)])

    def feasible(choice: Array, shift: Array) -> Array:
        below = worth.chance_below(of_two(smallest, choice) + shift)
        low = worth.low_quantile(of_two(soon, choice), 0.05) + shift
        return worth.within_constraints(*below, outlook.bounds, low, outlook.floor)[1]

    shifts = jnp.asarray(SHIFTS_MG_DL)
    fallen = jax.vmap(lambda shift: feasible(best, -shift))(shifts)
    risen = jax.vmap(lambda shift: feasible(wanted, shift))(shifts)

    def first(found: Array) -> Array:
        return jnp.where(found.any(0), shifts[found.argmax(0)], jnp.nan)

    return first(~fallen), first(risen)


class Packed(NamedTuple):
    """`Forecasts` in three arrays: what leaves the device costs by the array, not by the number.

    `scores`: utility, attainment, below_70, below_54, above_250, lowest and feasible (1 or 0), in this order.
    `choice`: best, wanted, falls, rises. `members`: glucose at the points, then insulin at the points.
    """

    scores: Float[Array, "7 candidates patients"]
    choice: Float[Array, "4 patients"]
    members: Float[Array, "patients points2 members"]


TOGETHER = 16
"""Patients that the loop over time takes at once: what a step touches then fits the second-level cache."""


def forecast_stored(ensembles: Float[Array, "patients size"], outlook: Outlook) -> Packed:
    """`forecast` of members as `read_out` gives them, a row a patient; more than 16 in groups of 16."""
    if ensembles.shape[0] <= TOGETHER:
        return _packed(ensembles, outlook)
    groups = ensembles.shape[0] // TOGETHER

    def split(values: Array) -> Array:
        return jnp.moveaxis(values.reshape(*values.shape[:-1], groups, TOGETHER), -2, 0)

    def joined(values: Array) -> Array:
        values = jnp.moveaxis(values, 0, -2)
        return values.reshape(*values.shape[:-2], -1)

    parts = ensembles.reshape(groups, TOGETHER, -1), Outlook(*map(split, outlook))
    made = jax.lax.map(lambda part: _packed(part[0], part[1]), parts)
    return Packed(
        scores=joined(made.scores),
        choice=joined(made.choice),
        members=made.members.reshape(-1, *made.members.shape[2:]),
    )


def _packed(ensembles: Float[Array, "patients size"], outlook: Outlook) -> Packed:
    members = ensembles.shape[1] // row.ROWS
    made = forecast(ensembles.T.reshape(row.ROWS, members, -1), outlook)
    return Packed(
        scores=jnp.stack([*made[:6], made.feasible.astype(jnp.float32)]),
        choice=jnp.stack(
            [made.best.astype(jnp.float32), made.wanted.astype(jnp.float32), made.falls, made.rises]
        ),
        members=jnp.concatenate([made.glucose, made.insulin]).transpose(2, 0, 1),
    )


forecast_batch = jax.jit(forecast_stored, compiler_options={"xla_cpu_prefer_vector_width": 512})
