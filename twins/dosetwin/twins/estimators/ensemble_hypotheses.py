"""Unknown inputs: an unannounced meal, exercise, a compression low, a failing infusion site.

Each hypothesis says that one input of unknown size a began in one cell of time in the recent past. Given the
cell, the ensemble filter that knows of no such input is wrong by a e, with e the error that a unit input
would have left: e runs through the model linearised at the ensemble's mean, and through the filter's gain,

    e <- F e,      g = H e (what a unit moves the reading by),      e <- e - K g / pull

(generalised likelihood ratio of Willsky & Jones 1976, IEEE Trans Automat Contr 21:108, with a prior instead
of a maximum). With innovations nu of variance S, A = sum g^2 / S and B = sum g nu / S over the cell's life,
and a half-normal prior of mean m on the size, that is of scale t = m sqrt(pi / 2), the posterior of a is a
normal of mean B / A' and variance 1 / A' cut at zero, A' = A + 1 / t^2, and the evidence against "nothing
happened" is

    L = ln 2 - ln(t sqrt(A')) + ln Phi(x) + x^2 / 2 ,      x = B / sqrt(A')

The prior that anything began in a cell is small (`ensemble_layout.FAMILIES`), so it is sparse: a spike at
nothing and a half-normal slab. `gram` holds sum g_i g_j / S for all pairs, so that a second input is sought
given the first. A cell that grows too old is committed: members take a draw from its posterior, and what
they took is subtracted from the evidence of the others. Nothing of this feeds back into the filter before
that.

Arrays are [cell, effect, patient], [cell, cell, patient], [cell, patient], float32.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_noise import mix
from dosetwin.twins.models import glucose_sensor as sensor
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_absorption import InsulinChain, advance_insulin, insulin_step
from dosetwin.twins.models.meal_absorption import MMOL_PER_G

TEMPER = 0.8
"""Power that the evidence is taken to: the model is not the patient, so innovations are no white noise even
when nothing happens. Our assumption; 1 finds meals that are none."""
NIGHT_HAZARD = 0.05
"""How often meals begin between 23 and 5 o'clock, against the day: one in eight nights. Our assumption."""
ROBUST = 3.0
"""An innovation that even the best hypothesis leaves further away (in standard deviations) counts less."""
COMMIT_ABOVE = 0.1
"""A cell less probable than this is forgotten, not committed."""
_LARGEST = jnp.asarray([3.0, 4.0, 3.0, 1.0], jnp.float32)
"""Most that an amount may be, in means of its family; a site cannot lose more than everything."""

PerPatient = Float[Array, " patients"]
PerCell = Float[Array, "cells patients"]

_FAMILY = np.repeat(np.arange(len(row.FAMILIES)), [family.cells for family in row.FAMILIES])


class Hypotheses(NamedTuple):
    """Error `e` that a unit input has left, information `gram` about sizes, and its vector `B`.

    `announced`: meals that were announced, each forgotten with a time constant of a day.
    """

    e: Float[Array, "cells effects patients"]
    gram: Float[Array, "cells cells patients"]
    B: PerCell
    announced: PerPatient


class Posterior(NamedTuple):
    """Of one input among the cells: probability of each, and the normal that its size is cut from."""

    probability: PerCell
    mean: PerCell
    sd: PerCell
    expected: PerCell


class Mean(NamedTuple):
    """What the error runs along: the members' mean over the step, [patients] each (C, BIAS: after it)."""

    t_maxI: PerPatient
    quickness: PerPatient
    t_maxG: PerPatient
    A_G: PerPatient
    S: tuple[PerPatient, PerPatient, PerPatient]
    EGP0: PerPatient
    y: tuple[PerPatient, PerPatient, PerPatient]
    Q1: PerPatient
    Q2: PerPatient
    C: PerPatient
    bias_before: PerPatient
    BIAS: PerPatient


def unpack(numbers: Float[Array, "size patients"]) -> Hypotheses:
    """From what is stored after the members."""
    K, R = row.CELLS, row.EFFECTS
    patients = numbers.shape[1]
    return Hypotheses(
        numbers[: K * R].reshape(K, R, patients),
        numbers[K * R : K * R + K * K].reshape(K, K, patients),
        numbers[K * R + K * K : -1],
        numbers[-1],
    )


def pack(h: Hypotheses) -> Float[Array, "size patients"]:
    """As it is stored."""
    patients = h.B.shape[1]
    numbers = h.e.reshape(-1, patients), h.gram.reshape(-1, patients), h.B, h.announced[None]
    return jnp.concatenate(numbers)


def moved(
    e: Float[Array, "cells effects patients"], m: Mean, h: PerPatient, u: PerPatient
) -> Float[Array, "cells effects patients"]:
    """The errors `h` min later under a delivery of `u` mU/kg/min."""
    rows = [e[:, r] for r in range(row.EFFECTS)]
    chain = InsulinChain(*rows[row.S1 : row.Y3 + 1])
    # one column for all cells: t_maxI is the patient's
    after = advance_insulin(chain, u * rows[row.SITE], insulin_step(h, m.t_maxI, m.quickness))
    y = [0.5 * (a + b) for a, b in zip(chain[3:], after[3:], strict=True)]

    hh = jnp.maximum(h, 1e-4)
    r = 1.0 / m.t_maxG
    E = jnp.exp(-h * r)
    D1, D2 = rows[row.D1] * E, (rows[row.D2] + rows[row.D1] * h * r) * E
    absorbed = rows[row.D1] + rows[row.D2] - D1 - D2
    keep = jnp.exp(-h / row.FLUX_TIME_MIN)
    flux = rows[row.FLUX] * keep
    ln_SIT, ln_SID, ln_SIE, ln_EGP0 = rows[row.SITE + 1 :]
    x1, x2, x3 = (S_j * y_j for S_j, y_j in zip(m.S, m.y, strict=True))
    dx1, dx2, dx3 = m.S[0] * y[0] + x1 * ln_SIT, m.S[1] * y[1] + x2 * ln_SID, m.S[2] * y[2] + x3 * ln_SIE
    produced = jnp.where(x3 < 1.0, m.EGP0, 0.0) * ((1.0 - x3) * ln_EGP0 - dx3)
    eased = hovorka.saturation(m.Q1)
    moves = dx1 * eased * m.Q1
    x1 = x1 * eased * hovorka.SATURATION / (hovorka.SATURATION + m.Q1)
    supply = m.A_G * MMOL_PER_G * absorbed / hh + 0.5 * (rows[row.FLUX] + flux) + produced - moves
    supply2 = moves - dx2 * m.Q2

    g = 0.5 * h
    low, high = m.Q1 < hovorka.CNS_SATURATION * hovorka.V_G, m.Q1 > hovorka.RENAL_THRESHOLD * hovorka.V_G
    slope = jnp.where(
        low,
        hovorka.F_01 / (hovorka.CNS_SATURATION * hovorka.V_G),
        jnp.where(high, hovorka.RENAL_CLEARANCE, 0.0),
    )
    p = 1.0 + g * (x1 + slope + hovorka.GLUCOSE_EFFECTIVENESS)
    q = 1.0 + g * (hovorka.K_12 + x2)
    k = g * hovorka.K_12
    r1, r2 = rows[row.Q1] + g * supply, rows[row.Q2] + g * supply2
    middle1 = (r1 * q + k * r2) / (p * q - k * g * x1)
    middle2 = (r2 + g * x1 * middle1) / q
    Q1, Q2 = 2.0 * middle1 - rows[row.Q1], 2.0 * middle2 - rows[row.Q2]

    lag = hh / sensor.LAG_MIN
    lag_keep = jnp.exp(-lag)
    ratio = -jnp.expm1(-lag) / lag
    C = (
        lag_keep * rows[row.C]
        + (ratio - lag_keep) / hovorka.V_G * rows[row.Q1]
        + (1.0 - ratio) / hovorka.V_G * Q1
    )
    bias = rows[row.BIAS] * sensor.error_kept(m.bias_before, jnp.exp(-h / sensor.ERROR_TIME_MIN))
    return jnp.stack([*after, D1, D2, Q1, Q2, C, flux, bias, *rows[row.SITE :]], axis=1)


def seen(e: Float[Array, "cells effects patients"], m: Mean) -> PerCell:
    """g: what a unit of each input moves the reading by, mg/dL."""
    of_C = hovorka.MG_DL_PER_MMOL_L * (1.0 + sensor.ERROR_CV * m.BIAS)
    of_bias = sensor.ERROR_SD_MG_DL + sensor.ERROR_CV * hovorka.MG_DL_PER_MMOL_L * m.C
    return of_C * e[:, row.C] + of_bias * e[:, row.BIAS]


def taken_in(
    h: Hypotheses,
    g: PerCell,
    innovation: PerPatient,
    variance: PerPatient,
    gain: Float[Array, "rows patients"],
    pull: PerPatient,
    counts: Bool[Array, " patients"],
    meal_mean: PerPatient,
) -> Hypotheses:
    """The hypotheses after a reading; `gain / pull` is what the filter moved its mean by for each mg/dL."""
    A = jnp.diagonal(h.gram, axis1=0, axis2=1).T
    mean = means(meal_mean)
    size = jnp.clip(h.B / (A + _precision(mean)), 0.0, mean * _LARGEST[_FAMILY][:, None])
    sd = jnp.sqrt(variance)
    unexplained = jnp.minimum(jnp.abs(innovation), jnp.abs(innovation - size * g).min(0)) / sd
    weight = jnp.where(counts, TEMPER / (variance * jnp.maximum(1.0, unexplained / ROBUST)), 0.0)
    nu = jnp.where(counts, innovation, 0.0)
    weighed = g * weight
    share = jnp.where(counts, 1.0 / pull, 0.0)
    return Hypotheses(
        h.e - gain[np.asarray(row.AFFECTED)][None] * (g * share)[:, None],
        h.gram + weighed[:, None] * g[None],
        h.B + weighed * nu,
        h.announced,
    )


def means(meal_mean: PerPatient) -> PerCell:
    """Prior mean of the size in every cell; `meal_mean` is a meal's, g/kg."""
    of_family = [jnp.full_like(meal_mean, family.mean) for family in row.FAMILIES]
    of_family[row.MEAL] = meal_mean
    return jnp.stack([of_family[f] for f in _FAMILY])


def _precision(mean: PerCell) -> PerCell:
    """1 / t^2 of the half-normal prior of that mean."""
    return 2.0 / (np.pi * mean * mean)


_LOG_HAZARD = np.log([row.FAMILIES[f].per_day * row.FAMILIES[f].width_min / 1440.0 for f in _FAMILY])
_MEAL_CELLS = _FAMILY == row.MEAL
_AGE_H = (
    (np.arange(row.CELLS) - np.asarray(row.FIRST)[_FAMILY])
    * np.asarray([family.width_min for family in row.FAMILIES])[_FAMILY]
    / 60.0
)


def prior_log_odds(minute: PerPatient, announced: PerPatient) -> PerCell:
    """Of each cell against nothing; meals by the time of day (`minute`, at the end of the newest cell).

    Who announces meals eats few that nobody announces: 1 / (1 + `announced`)^2 of them, one in four days
    after five in one day. Our assumption, of the order of the boluses that people with pumps forget (Burdick
    2004, Pediatrics 113:e221).
    """
    hour = jnp.mod(minute / 60.0 - jnp.asarray(_AGE_H, jnp.float32)[:, None], 24.0)
    night = _MEAL_CELLS[:, None] & ((hour > 23.0) | (hour < 5.0))
    told = jnp.where(_MEAL_CELLS[:, None], -2.0 * jnp.log1p(announced), 0.0)
    rare = jnp.where(night, np.float32(np.log(NIGHT_HAZARD)), 0.0)
    return jnp.asarray(_LOG_HAZARD, jnp.float32)[:, None] + told + rare


def posterior(B: PerCell, A: PerCell, mean: PerCell, log_odds: PerCell) -> Posterior:
    """Of one input, given information A and its vector B."""
    precision = _precision(mean)
    A = A + precision
    sd = 1.0 / jnp.sqrt(A)
    x = jnp.maximum(B * sd, -30.0)  # what single precision can tell
    log_cdf = jax.scipy.stats.norm.logcdf(x)
    evidence = np.log(2.0) + 0.5 * jnp.log(precision) + jnp.log(sd) + log_cdf + 0.5 * x * x
    logits = log_odds + evidence
    most = jnp.maximum(logits.max(0), 0.0)
    weights = jnp.exp(logits - most)
    probability = weights / (weights.sum(0) + jnp.exp(-most))
    expected = B * sd * sd + sd * jnp.exp(jax.scipy.stats.norm.logpdf(x) - log_cdf)
    largest = mean * _LARGEST[_FAMILY][:, None]
    return Posterior(probability, B * sd * sd, sd, jnp.clip(expected, 0.0, largest))


def single(h: Hypotheses, meal_mean: PerPatient, minute: PerPatient) -> Posterior:
    """Posterior of one input."""
    A = jnp.diagonal(h.gram, axis1=0, axis2=1).T
    return posterior(h.B, A, means(meal_mean), prior_log_odds(minute, h.announced))


def inferred(
    h: Hypotheses, meal_mean: PerPatient, minute: PerPatient
) -> tuple[Posterior, Posterior, PerCell]:
    """The first input, a second one given the likeliest first, and which cell that is (one-hot)."""
    A = jnp.diagonal(h.gram, axis1=0, axis2=1).T
    mean, odds = means(meal_mean), prior_log_odds(minute, h.announced)
    first = posterior(h.B, A, mean, odds)
    likeliest = (first.probability == first.probability.max(0)).astype(jnp.float32)
    likeliest = likeliest / likeliest.sum(0)
    taken = (likeliest * first.expected)[:, None] * h.gram
    second = posterior(h.B - taken.sum(0), A, mean, odds)
    some = first.probability.sum(0)
    second = second._replace(probability=second.probability * some * (1.0 - likeliest))
    return first, second, likeliest


def drawn(
    post: Posterior,
    mean: PerCell,
    uniform: Float[Array, "members patients"],
    size: Float[Array, "members patients"],
) -> Float[Array, "cells members patients"]:
    """Sizes of one input that each member draws: at most one cell of a member is not zero."""
    upto = jnp.cumsum(post.probability, axis=0)[:, None]
    chosen = jnp.where((uniform < upto) & (uniform >= upto - post.probability[:, None]), 1.0, 0.0)
    centre, sd = ((chosen * values[:, None]).sum(0) for values in (post.mean, post.sd))
    largest = (chosen * (mean * _LARGEST[_FAMILY][:, None])[:, None]).sum(0)
    return chosen * _cut_normal(centre, jnp.maximum(sd, 1e-9), size, largest)


def _cut_normal(centre: Array, sd: Array, uniform: Array, largest: Array | float) -> Array:
    """Quantiles of the normal cut at zero; far in its tail an exponential."""
    below = jax.scipy.special.ndtr(jnp.minimum(-centre / sd, 4.0))
    place = jnp.clip(below + uniform * (1.0 - below), 1e-6, 1.0 - 1e-6)
    normal = centre + sd * jax.scipy.special.ndtri(place)
    tail = -jnp.log1p(-jnp.minimum(uniform, 0.999)) * sd * sd / jnp.maximum(-centre, 1e-9)
    return jnp.clip(jnp.where(centre / sd < -3.0, tail, normal), 0.0, largest)


def uniforms(key: UInt32[Array, " patients"], members: int, salt: int) -> Float[Array, "members patients"]:
    """Numbers in [0, 1) that fill it evenly over the members: a golden-ratio sequence from `key`."""
    start = mix(key ^ jnp.uint32(salt)).astype(jnp.float32) * np.float32(2.0**-32)
    golden = jnp.asarray(
        np.mod(np.arange(members) * (0.6180339887 if salt % 2 else 0.7548776662), 1.0), jnp.float32
    )
    return jnp.mod(golden[:, None] + start, 1.0)


_OLDER = np.arange(row.CELLS) - 1
"""The cell whose content a cell takes when its family moves on (the newest one's begins anew)."""
_NEWEST = np.isin(np.arange(row.CELLS), row.FIRST)
_OLDEST = np.roll(_NEWEST, -1)
_KEPT = (~_NEWEST).astype(np.float32)


def _begun() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A unit input in each newest cell: a gram a kg in the gut, flux and error of -1, no delivery."""
    entries = {row.MEAL: (row.D1, 1.0), row.EXERCISE: (row.FLUX, -1.0), row.COMPRESSION: (row.BIAS, -1.0)}
    begun = np.zeros((row.CELLS, row.EFFECTS), np.float32)
    for f, first in enumerate(row.FIRST):
        where, unit = entries.get(f, (row.SITE, -1.0))
        begun[first, where] = unit
    return begun


def shifted(h: Hypotheses, crossing: Bool[Array, "families patients"]) -> Hypotheses:
    """Cells of the families that crossed their grid line one further into the past, new ones begun."""
    of_cell = crossing[_FAMILY]
    kept = _KEPT[:, None]
    e = h.e[_OLDER] * kept[:, None] + _begun()[:, :, None]
    rows = jnp.where(of_cell[:, None], h.gram[_OLDER] * kept[:, None], h.gram)
    gram = jnp.where(of_cell[None], rows[:, _OLDER] * kept[None], rows)
    B = jnp.where(of_cell, h.B[_OLDER] * kept, h.B)
    return h._replace(e=jnp.where(of_cell[:, None], e, h.e), gram=gram, B=B)


def committed(
    x: Float[Array, "rows members patients"],
    h: Hypotheses,
    crossing: Bool[Array, "families patients"],
    key: UInt32[Array, " patients"],
    meal_mean: PerPatient,
    minute: PerPatient,
) -> tuple[Float[Array, "rows members patients"], Hypotheses]:
    """Members take what the oldest cells that are about to be forgotten say."""
    members = x.shape[1]
    first = single(h, meal_mean, minute)
    leaves = crossing[_FAMILY] & _OLDEST[:, None] & (first.probability > COMMIT_ABOVE)
    first = first._replace(probability=jnp.where(leaves, first.probability, 0.0))
    sizes = drawn(first, means(meal_mean), uniforms(key, members, 101), uniforms(key, members, 102))
    x = _with(x, h, sizes, tuple(int(cell) for cell in np.flatnonzero(_OLDEST)))
    taken = sizes.mean(1)
    return x, h._replace(B=h.B - (h.gram * taken[None]).sum(1))


def _with(
    x: Float[Array, "rows members patients"],
    h: Hypotheses,
    sizes: Float[Array, "cells members patients"],
    cells: tuple[int, ...],
) -> Float[Array, "rows members patients"]:
    """The members with inputs of these sizes in them."""
    effect = sum(h.e[i][:, None] * sizes[i][None] for i in cells)
    moved_x = x.at[np.asarray(row.AFFECTED)].add(effect)
    return jnp.clip(moved_x, row.LOWER[:, None, None], row.UPPER[:, None, None])


class Explained(NamedTuple):
    """Members with a draw of the unknown inputs in them, and what was inferred.

    `probability` [families, patients] that such an input is under way (of the window's cells).
    """

    x: Float[Array, "rows members patients"]
    probability: Float[Array, "families patients"]
    meal: PerPatient


def explained(
    x: Float[Array, "rows members patients"],
    h: Hypotheses,
    key: UInt32[Array, " patients"],
    meal_mean: PerPatient,
    minute: PerPatient,
) -> Explained:
    """The posterior that decisions rest on: every member with its own draw of what may have happened."""
    members = x.shape[1]
    first, second, _ = inferred(h, meal_mean, minute)
    mean = means(meal_mean)
    sizes = drawn(first, mean, uniforms(key, members, 1), uniforms(key, members, 2))
    sizes = sizes + drawn(second, mean, uniforms(key, members, 3), uniforms(key, members, 4))
    probability = jnp.stack(
        [
            first.probability[start : start + family.cells].sum(0)
            for start, family in zip(row.FIRST, row.FAMILIES, strict=True)
        ]
    )
    meals = slice(row.FIRST[row.MEAL], row.FIRST[row.MEAL] + row.FAMILIES[row.MEAL].cells)
    return Explained(
        _with(x, h, sizes, tuple(range(row.CELLS))),
        probability,
        (first.probability * first.expected)[meals].sum(0),
    )
