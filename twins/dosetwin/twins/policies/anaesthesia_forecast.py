"""Forecast of every candidate of both drugs on the ensemble, and what it costs.

A candidate is a pair of moves, one a drug: two rates, r1 for the next minute and r2 for the four after it,
that take the ensemble's mean effect-site concentration to a target after two minutes and keep it there at
five (target-controlled infusion on the twin's own kinetics). Kinetics are linear, so that a member's
concentrations under all candidates are one free response and one step response s, superposed:

    C(t) = C_free(t) + r1 (s(t) - s(t - 1)) + r2 s(t - 1).

Propofol's targets are multiples of the concentration that would put the index on its goal (geometric mean
over members, with that candidate's remifentanil); remifentanil's are absolute. "hold" keeps a pump as it
runs.

The chance of an index below 30 is a hard bound (`choose`): what a candidate risks if much of the stimulus
ends now (`RELIEVED` of it and nine tenths of the level stay) and propofol is stopped after its first rate:
what comes later can still be changed, and is in the cost.

Cost of a candidate, less is better; means over members (and over times in the horizon), then again at
equilibrium of the effect sites at the end of the horizon:

    huber((BIS - goal)/10), `TOO_LIGHT` times that above the goal,
        + w_m (sigmoid((MAP_low + 2.5 - MAP)/2) + 0.3 softplus((MAP_low - 3 - MAP)/4))
        + w_h softplus((HR_low - HR)/3)
        + w_t (1 - P(tolerates laryngoscopy)) + w_d drug + w_u moves.

The weights are our assumption (`WEIGHTS`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators.anaesthesia_filter import (
    Ensemble,
    index_of,
    of_both_drugs,
)
from dosetwin.twins.models import anaesthesia_circulation as circulation
from dosetwin.twins.models import anaesthesia_response as response
from dosetwin.twins.models import effect_site_kinetics as kinetics

STEP_MIN: Final = 1.0 / 3.0
STEPS: Final = 14
FIRST_MOVE: Final = 3
"""Steps of the first rate."""
AT: Final = (1, 3, 5, 7, 9, 11, 13)
"""Steps (from 0) at whose end effects are looked at."""
AT_S: Final = tuple((k + 1) * STEP_MIN * 60.0 for k in AT)
EARLY: Final = 5
"""The step at whose end a target is first to be met: two minutes."""
PROPOFOL: Final = (0.0, 0.5, 0.65, 0.75, 0.85, 0.9, 1.0, 1.1, 1.2, 1.3, 1.6)
REMIFENTANIL_NG_ML: Final = (0.0, 1.0, 2.0, 3.0, 4.5, 6.5, 2.5, 5.0)
GENTLE: Final = 6
"""The first so many of these are reached in five minutes with one rate, the others in two."""
LASTING: Final = 0.5
"""Share of a stimulus that equilibrium is judged with."""
RELIEVED: Final = 0.5
"""Share of it that is left where too deep an index is risked."""
STIRRED: Final = 0.8
"""Stimulus (before the opioid) by which every other member is stirred at equilibrium: surgery goes on."""
TOO_LIGHT: Final = 3.0
"""What an index above the goal costs against one below it: awareness, and stimuli only ever raise it."""
TERMS: Final = ("index", "pressure", "heart rate", "tolerance", "drug", "moves")


class Weights(NamedTuple):
    """Weights of the cost's terms in the order of `TERMS`: within the horizon, and at its equilibrium."""

    soon: tuple[float, float, float, float] = (1.5, 2.5, 0.3, 0.2)
    then: tuple[float, float, float, float] = (1.0, 2.5, 0.3, 0.8)
    drug: float = 0.05
    moves: float = 0.03


WEIGHTS: Final = Weights()

PerPatient = Float[Array, " patients"]


class Ask(NamedTuple):
    """What is known of each patient beside the ensemble; [patients].

    Rates per minute (mg, ug): running now, and highest. Ceilings: highest target of each drug (ug/mL, ng/mL).
    """

    running_p: PerPatient
    running_r: PerPatient
    highest_p: PerPatient
    highest_r: PerPatient
    ceiling_p: PerPatient
    ceiling_r: PerPatient
    goal: PerPatient
    low: PerPatient
    high: PerPatient
    pressure_low: PerPatient
    heart_rate_low: PerPatient
    increment_p: PerPatient
    increment_r: PerPatient
    risk_below_30: PerPatient
    coming: PerPatient
    """Strength of a stimulus that was announced for the next minutes."""
    blind: PerPatient
    """1 where the index has been missing for too long."""


class Forecasts(NamedTuple):
    """All candidates of a batch, [remifentanil moves, propofol moves, patients], terms and quantities first.

    `members`: trajectories of the best [quantity, time, member, patient], of BIS, MAP, HR and of propofol and
    remifentanil at their effect sites.
    """

    cost: Array
    terms: Array
    attainment: Array
    below_30: Array
    above_60: Array
    pressure_low: Array
    heart_rate_low: Array
    lowest: Array
    rate_p: Array
    rate_r: Array
    later_p: Array
    later_r: Array
    target_p: Array
    target_r: Array
    best: Array
    members: Array


class _Reach(NamedTuple):
    """Free and step responses of one drug for every member, at the effect sites of brain and circulation.

    [STEPS + 1, members, patients], the first entry is now.
    """

    free_E: Array
    free_M: Array
    step_E: Array
    step_M: Array


def _reach(x: kinetics.Kinetics, k: kinetics.RateConstants) -> _Reach:
    """Of several drugs at once, along the first axis of `x` and `k`; it comes second in the responses."""
    zero = jnp.zeros_like(x.c1)
    both = kinetics.Kinetics(*(jnp.stack([part, zero]) for part in x))
    u = jnp.stack([zero, zero + 1.0])

    def step(state: kinetics.Kinetics, _: None) -> tuple[kinetics.Kinetics, tuple[Array, Array]]:
        moved = kinetics.advance(state, u, jnp.float32(STEP_MIN), k)
        return moved, (moved.E, moved.M)

    _, (E, M) = jax.lax.scan(step, both, None, length=STEPS)
    E, M = jnp.concatenate([both.E[None], E]), jnp.concatenate([both.M[None], M])
    return _Reach(E[:, 0], M[:, 0], E[:, 1], M[:, 1])


class _Moves(NamedTuple):
    """Rates a minute [options, patients], concentrations [options, times, members, patients] at `AT`."""

    first: Array
    second: Array
    E: Array
    M: Array
    stopped: Array
    """The brain's, if nothing follows the first rate."""


def _moves(
    reach: _Reach,
    target: Array,
    running: PerPatient,
    highest: PerPatient,
    increment: PerPatient,
    *,
    gentle: int = 0,
) -> _Moves:
    """Option 0 holds the pump; the others go to `target` [options - 1, patients], `gentle` of them slowly."""
    late = STEPS
    early = EARLY + 1
    F1, F2 = reach.free_E[early].mean(0), reach.free_E[late].mean(0)
    s = reach.step_E.mean(1)
    G11, G12 = s[early] - s[early - FIRST_MOVE], s[early - FIRST_MOVE]
    G21, G22 = s[late] - s[late - FIRST_MOVE], s[late - FIRST_MOVE]
    det = G11 * G22 - G12 * G21
    first = ((target - F1) * G22 - (target - F2) * G12) / det
    if gentle:
        first = first.at[:gentle].set((target[:gentle] - F2) / (G21 + G22))
    first = jnp.clip(first, 0.0, highest)
    first = jnp.floor(first / increment + 1e-3) * increment
    second = jnp.clip((target - F2 - G21 * first) / G22, 0.0, highest)
    first = jnp.concatenate([running[None], first])
    second = jnp.concatenate([running[None], second])
    at = jnp.asarray(AT) + 1
    before = jnp.maximum(at - FIRST_MOVE, 0)

    def under(free: Array, step: Array) -> Array:
        a, b = step[at] - step[before], step[before]
        return free[at] + first[:, None, None] * a + second[:, None, None] * b

    stopped = reach.free_E[at] + first[:, None, None] * (reach.step_E[at] - reach.step_E[before])
    return _Moves(
        first, second, under(reach.free_E, reach.step_E), under(reach.free_M, reach.step_M), stopped
    )


def _needed(x: Ensemble, goal: PerPatient, C_r: Array) -> Array:
    """Effect-site propofol, ug/mL, that puts the index on `goal` beside remifentanil `C_r` [..., patients].

    The geometric mean over members.
    """
    still = (x[row.S] + x[row.SL]) * response.weakening(C_r[..., None, :], jnp.exp(x[row.C50S]))
    aim = jnp.minimum(goal, x[row.E0] - 5.0)
    U = jnp.exp(jnp.log(x[row.E0] / aim - 1.0) / jnp.exp(x[row.GAMMA]) + still)
    r = C_r[..., None, :] / jnp.exp(x[row.C50R])
    p = jnp.maximum((U - r) / (1.0 + jnp.exp(x[row.ALPHA]) * r), 0.05)
    return jnp.exp((jnp.log(p) + x[row.C50P]).mean(-2))


def _propofol_targets(x: Ensemble, ask: Ask, C_r: PerPatient) -> Array:
    """[options, patients] ug/mL; without an index not above both what is there and what is needed."""
    need = _needed(x, ask.goal, C_r)
    wish = jnp.minimum(need * jnp.asarray(PROPOFOL)[:, None], ask.ceiling_p)
    return jnp.where(ask.blind > 0.0, jnp.minimum(wish, jnp.maximum(need, x[row.PE].mean(0))), wish)


def choose(
    cost: Float[Array, "candidates patients"],
    below_30: Float[Array, "candidates patients"],
    accepted: PerPatient,
) -> Int[Array, " patients"]:
    """The cheapest candidate that risks no more than is accepted; where none does, the one of least risk.

    Of several that risk as little the cheapest: stopping a little earlier must not wake a patient for
    nothing.
    """
    bound = jnp.maximum(accepted, below_30.min(0))
    return jnp.where(below_30 <= bound, cost, jnp.inf).argmin(0)


def _huber(d: Array) -> Array:
    a = jnp.abs(d)
    return jnp.where(a < 1.0, 0.5 * a * a, a - 0.5) * jnp.where(d > 0.0, TOO_LIGHT, 1.0)


def _effects(
    x: Ensemble, P: Array, R: Array, P_M: Array, R_M: Array, lasting: Array, stirred: Array | float = 0.0
) -> tuple[Array, Array, Array]:
    """Index, MAP and HR [..., members, patients] of concentrations, with a share of the stimulus left."""
    s = (x[row.S] * lasting + x[row.SL] + stirred) * response.weakening(R, jnp.exp(x[row.C50S]))
    index = index_of(x, P, R, s)
    s = jnp.maximum(s, 0.0)
    left = circulation.pressure_factor(P_M, R_M, *(jnp.exp(x[r]) for r in (row.KP, row.KR, row.EP, row.ER)))
    drift = jnp.sqrt(lasting)
    pressure = left * jnp.exp(x[row.MAP0] + x[row.DM] * drift + x[row.A] * s)
    heart = circulation.heart_rate_factor(R_M, jnp.exp(x[row.KR]), jnp.exp(x[row.FR]))
    heart = heart * jnp.exp(x[row.HR0] + x[row.DH] * drift + x[row.B] * s)
    return index, pressure, jnp.broadcast_to(heart, index.shape)


def forecast(ensembles: Float[Array, "patients size"], ask: Ask, weights: Weights = WEIGHTS) -> Forecasts:
    """All candidates of a batch of patients."""
    members = ensembles.shape[1] // row.ROWS
    x = ensembles.T.reshape(row.ROWS, members, -1)
    n = x.shape[2]
    both = _reach(*of_both_drugs(x))
    hypnotic, opioid = (_Reach(*(part[:, which] for part in both)) for which in range(2))
    wish_r = jnp.minimum(jnp.asarray(REMIFENTANIL_NG_ML)[:, None], ask.ceiling_r)
    of_r = _moves(opioid, wish_r, ask.running_r, ask.highest_r, ask.increment_r, gentle=GENTLE)
    target_r = jnp.concatenate([of_r.E[:1, -1].mean(1), wish_r])
    fade = jnp.exp(-jnp.asarray(AT_S) / 60.0 / row.STIMULUS_TIME_MIN)[:, None, None]
    stirred = STIRRED * (1.0 + ask.coming) * (jnp.arange(members) % 2)[:, None]

    def beside(one: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, ...]:
        first_r, second_r, R, R_M, aim_r = one
        wish = _propofol_targets(x, ask, aim_r)
        of_p = _moves(hypnotic, wish, ask.running_p, ask.highest_p, ask.increment_p)
        P, P_M = of_p.E, of_p.M
        through = response.weakening(R, jnp.exp(x[row.C50S]))
        index, pressure, heart = _effects(x, P, R, P_M, R_M, fade)
        end_index, end_pressure, end_heart = _effects(
            x, P[:, -1], R[-1], P[:, -1], R[-1], jnp.float32(LASTING), stirred
        )

        def costs(b: Array, m: Array, h: Array, p: Array, r: Array) -> list[Array]:
            axes = tuple(range(1, b.ndim - 1))
            return [
                _huber((b - ask.goal) / 10.0).mean(axes),
                (
                    jax.nn.sigmoid((ask.pressure_low + 2.5 - m) / 2.0)
                    + 0.3 * jax.nn.softplus((ask.pressure_low - 3.0 - m) / 4.0)
                ).mean(axes),
                jax.nn.softplus((ask.heart_rate_low - h) / 3.0).mean(axes),
                (1.0 - response.tolerance_of_laryngoscopy(p, r)).mean(axes),
            ]

        soon = costs(index, pressure, heart, P, R)
        then = costs(end_index, end_pressure, end_heart, P[:, -1], R[-1])
        drug = of_p.second / ask.highest_p + second_r / ask.highest_r
        moved = jnp.abs(jnp.log((of_p.first + 0.02 * ask.highest_p) / (ask.running_p + 0.02 * ask.highest_p)))
        moved += jnp.abs(jnp.log((first_r + 0.02 * ask.highest_r) / (ask.running_r + 0.02 * ask.highest_r)))
        terms = jnp.stack(
            [v * a + w * b for v, w, a, b in zip(weights.soon, weights.then, soon, then, strict=True)]
            + [weights.drug * drug, weights.moves * moved]
        )
        least = jnp.stack([index.min(1), pressure.min(1), heart.min(1)])
        mean = least.mean(2)
        undone = index_of(x, of_p.stopped, R, (RELIEVED * x[row.S] + 0.9 * x[row.SL]) * through).min(1)
        lowest = mean - 1.645 * least.std(2)
        return (
            terms,
            ((index >= ask.low) & (index <= ask.high)).mean((1, 2)),
            (undone < 30.0).mean(1),
            (index[:, 2:] > ask.high).mean((1, 2)),
            (least[1] < ask.pressure_low).mean(1),
            (least[2] < 40.0).mean(1),
            lowest,
            of_p.first,
            jnp.broadcast_to(first_r, of_p.first.shape),
            of_p.second,
            jnp.broadcast_to(second_r, of_p.first.shape),
            jnp.concatenate([P[:1, -1].mean(1), wish]),
        )

    made = jax.lax.map(beside, (of_r.first, of_r.second, of_r.E, of_r.M, target_r))
    (
        terms,
        attainment,
        below,
        above,
        pressure_low,
        heart_low,
        lowest,
        rate_p,
        rate_r,
        later_p,
        later_r,
        target_p,
    ) = made
    terms, lowest = jnp.moveaxis(terms, 1, 0), jnp.moveaxis(lowest, 1, 0)
    cost = terms.sum(0)
    best = choose(cost.reshape(-1, n), below.reshape(-1, n), ask.risk_below_30)
    i, j = best // (len(PROPOFOL) + 1), best % (len(PROPOFOL) + 1)
    who = jnp.arange(n)

    def chosen(reach: _Reach, first: Array, second: Array) -> tuple[Array, Array]:
        at = jnp.asarray(AT) + 1
        before = jnp.maximum(at - FIRST_MOVE, 0)
        out = []
        for free, step in ((reach.free_E, reach.step_E), (reach.free_M, reach.step_M)):
            out.append(free[at] + first * (step[at] - step[before]) + second * step[before])
        return out[0], out[1]

    # the same moves once more for the best alone: cheaper than keeping all
    wish = _propofol_targets(x, ask, target_r[i, who])
    of_p = _moves(hypnotic, wish, ask.running_p, ask.highest_p, ask.increment_p)
    P, P_M = chosen(hypnotic, of_p.first[j, who], of_p.second[j, who])
    R, R_M = chosen(opioid, of_r.first[i, who], of_r.second[i, who])
    index, pressure, heart = _effects(x, P, R, P_M, R_M, fade)
    return Forecasts(
        cost,
        terms,
        attainment,
        below,
        above,
        pressure_low,
        heart_low,
        lowest,
        rate_p,
        rate_r,
        later_p,
        later_r,
        target_p,
        jnp.broadcast_to(target_r[:, None], rate_p.shape),
        best,
        jnp.stack([index, pressure, heart, P, R]),
    )


forecast_batch = jax.jit(forecast, static_argnames="weights")
"""`forecast`, compiled once for each batch size."""
