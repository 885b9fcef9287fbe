"""Forecast of every candidate of both drugs on the ensemble, and what it costs.

A candidate is a pair of moves, one a drug (`anaesthesia_moves`); propofol's targets are by the geometric mean
over members of what is needed beside that candidate's remifentanil. The level of
stimulation is expected to go on, what came lately to pass slowly, and what was announced to come and end
(`anaesthesia_expected`): who hopes that all of it fades makes every forecast too deep, and stays too light.

The chance of an index below 30 is a hard bound: with a chance of `RELIEF` the stimulus ends now, otherwise it
goes on, and propofol is stopped after its first rate: what comes later can still be changed, and is in the
cost (`anaesthesia_cost`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators.anaesthesia_filter import (
    Ensemble,
    index_of,
    of_both_drugs,
)
from dosetwin.twins.models import anaesthesia_circulation as circulation
from dosetwin.twins.models import anaesthesia_response as response
from dosetwin.twins.policies.anaesthesia_cost import (
    STILL,
    WEIGHTS,
    Aims,
    Weights,
    choose,
    costs,
    kept_worse,
    too_little,
)
from dosetwin.twins.policies.anaesthesia_expected import Announced, expected_stimulus
from dosetwin.twins.policies.anaesthesia_moves import (
    AT_S,
    GENTLE,
    PEAK_NG_ML,
    PROPOFOL,
    REMIFENTANIL_NG_ML,
    Reach,
    moves_to,
    reach_of,
    superposed,
)

STIRRED: Final = 0.8
"""Stimulus (before the opioid) by which every other member is stirred at equilibrium: surgery goes on."""
DEEP: Final = 30.0
RELIEF: Final = 0.2
"""Chance that the stimulus ends at once: one jump in 8 min (`anaesthesia_layout`), half of them down, over
the three minutes in which stopping propofol does not yet tell."""
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
    blind: PerPatient
    """1 where the index has been missing for too long."""
    announced: Announced


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


def _effects(
    x: Ensemble, P: Array, R: Array, P_M: Array, R_M: Array, stimulus: Array, drift: Array
) -> tuple[Array, Array, Array]:
    """Index, MAP and HR [..., members, patients] of concentrations, with a share of the drifts left."""
    s = stimulus * response.weakening(R, jnp.exp(x[row.C50S]))
    index = index_of(x, P, R, s)
    s = jnp.maximum(s, 0.0)
    left = circulation.pressure_factor(P_M, R_M, *(jnp.exp(x[r]) for r in (row.KP, row.KR, row.EP, row.ER)))
    pressure = left * jnp.exp(x[row.MAP0] + x[row.DM] * drift + x[row.A] * s)
    heart = circulation.heart_rate_factor(R_M, jnp.exp(x[row.KR]), jnp.exp(x[row.FR]))
    heart = heart * jnp.exp(x[row.HR0] + x[row.DH] * drift + x[row.B] * s)
    return index, pressure, jnp.broadcast_to(heart, index.shape)


def forecast(ensembles: Float[Array, "patients size"], ask: Ask, weights: Weights = WEIGHTS) -> Forecasts:
    """All candidates of a batch of patients."""
    members = ensembles.shape[1] // row.ROWS
    x = ensembles.T.reshape(row.ROWS, members, -1)
    n = x.shape[2]
    both = reach_of(*of_both_drugs(x))
    hypnotic, opioid = (Reach(*(part[:, which] for part in both)) for which in range(2))
    wish_r = jnp.minimum(jnp.asarray(REMIFENTANIL_NG_ML)[:, None], ask.ceiling_r)
    peaks = jnp.asarray(REMIFENTANIL_NG_ML[: -len(PEAK_NG_ML)] + PEAK_NG_ML)[:, None]
    of_r = moves_to(
        opioid,
        wish_r,
        ask.running_r,
        ask.highest_r,
        ask.increment_r,
        gentle=GENTLE,
        peak=jnp.minimum(peaks, ask.ceiling_r),
    )
    target_r = jnp.concatenate([of_r.E[:1, -1].mean(1), wish_r])
    drift = jnp.exp(-jnp.asarray(AT_S) / 60.0 / row.CIRCULATION_DRIFT_TIME_MIN)[:, None, None]
    stimulus, lasting, relieved = expected_stimulus(x, jnp.asarray(AT_S) / 60.0, ask.announced)
    stirred = lasting + STIRRED * (jnp.arange(members) % 2)[:, None]

    aims = Aims(ask.goal, ask.pressure_low, ask.heart_rate_low)

    def beside(one: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, ...]:
        first_r, second_r, R, R_M, aim_r = one
        wish = _propofol_targets(x, ask, aim_r)
        of_p = moves_to(hypnotic, wish, ask.running_p, ask.highest_p, ask.increment_p)
        P, P_M = of_p.E, of_p.M
        through = response.weakening(R, jnp.exp(x[row.C50S]))
        index, pressure, heart = _effects(x, P, R, P_M, R_M, stimulus, drift)
        end_index, end_pressure, end_heart = _effects(x, P[:, -1], R[-1], P[:, -1], R[-1], stirred, drift[-1])

        soon = costs(index, pressure, heart, P, R, aims)
        then = costs(end_index, end_pressure, end_heart, P[:, -1], R[-1], aims)
        drug = of_p.second / ask.highest_p + second_r / ask.highest_r
        moved = jnp.abs(jnp.log((of_p.first + 0.02 * ask.highest_p) / (ask.running_p + 0.02 * ask.highest_p)))
        moved += jnp.abs(jnp.log((first_r + 0.02 * ask.highest_r) / (ask.running_r + 0.02 * ask.highest_r)))
        short = too_little(_needed(x, ask.goal, aim_r))
        short = jnp.broadcast_to(short, drug.shape)
        terms = jnp.stack(
            [v * a + w * b for v, w, a, b in zip(weights.soon, weights.then, soon, then, strict=True)]
            + [weights.drug * drug, weights.moves * moved, weights.short * short]
        )
        least = jnp.stack([index.min(1), pressure.min(1), heart.min(1)])
        mean = least.mean(2)
        deepest = (index_of(x, of_p.stopped, R, s * through).min(1) for s in (stimulus, relieved))
        kept, ended = ((index < DEEP).mean(1) for index in deepest)
        lowest = mean - 1.645 * least.std(2)
        return (
            terms,
            ((index >= ask.low) & (index <= ask.high)).mean((1, 2)),
            (1.0 - RELIEF) * kept + RELIEF * ended,
            (index[:, 2:] > ask.high).mean((1, 2)),
            (least[1] < ask.pressure_low).mean(1),
            (least[2] < 40.0).mean(1),
            lowest,
            of_p.first,
            jnp.broadcast_to(first_r, of_p.first.shape),
            of_p.second,
            jnp.broadcast_to(second_r, of_p.first.shape),
            jnp.concatenate([P[:1, -1].mean(1), wish]),
            soon[0] + STILL * moved,
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
        of_index,
    ) = made
    terms, lowest = jnp.moveaxis(terms, 1, 0), jnp.moveaxis(lowest, 1, 0)
    worse = weights.index_kept * kept_worse(of_index, below, ask.risk_below_30)
    terms = jnp.concatenate([terms, worse[None]])
    cost = terms.sum(0)
    best = choose(cost.reshape(-1, n), below.reshape(-1, n), ask.risk_below_30)
    i, j = best // (len(PROPOFOL) + 1), best % (len(PROPOFOL) + 1)
    who = jnp.arange(n)

    # the same moves once more for the best alone: cheaper than keeping all
    wish = _propofol_targets(x, ask, target_r[i, who])
    of_p = moves_to(hypnotic, wish, ask.running_p, ask.highest_p, ask.increment_p)
    P, P_M = superposed(hypnotic, of_p.first[j, who], of_p.second[j, who])
    R, R_M = superposed(opioid, of_r.first[i, who], of_r.second[i, who])
    index, pressure, heart = _effects(x, P, R, P_M, R_M, stimulus, drift)
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
