"""One round of the anaesthesia twins' ensemble filter: propagate to a time, take in what was read then.

The index is the response surface of the effect sites under what a noxious stimulus, weakened by the opioid,
asks for more, s = (S + SL) w(R_E), behind three equal lags (an Erlang delay of mean TAU, as monitors
average over 15-30 s and lag behind), plus a persisting and a white error:

    reading = B3 + NB + white.

S is an unknown input with a sparse prior: it wanders and jumps, and passes or settles into the level SL, what
surgery holds and what the surface is wrong by. So S is what came lately, up or down, and about nothing on the
average: no steady error is left to it, and forecasts are not too deep because it fades. What was announced
does not settle; it passes after its end (in three members of four). Whether a reading speaks for a
jump, for an artefact (diathermy, muscle) or for neither is a question of three densities of the innovation
z of variance V:

    p_0 N(z; 0, V),  p_J N(z; 0, V + J^2),  p_A / 100,    p_J = 1 - exp(-hazard x time since the last round)

and S is given the variance of a jump times its posterior probability before the update, which trusts the
reading as far as it is no artefact (moment matching of the mixture, as in the generalised pseudo-Bayes
filter of first order; Bar-Shalom, Li & Kirubarajan 2001, section 11.6). A jump that is seen happened about
one lag ago, so that the lags have moved with it by `ARRIVED`. What was announced makes a jump likely before
it is seen.

The update is the deterministic square root of Whitaker & Hamill 2002
(doi:10.1175/1520-0493(2002)130<1913:EDAWPO>2.0.CO;2), one scalar reading after the other, innovations
bounded at `HUBER` standard deviations. The gain of a row is shrunk where its correlation with the reading
is no larger than chance makes it among so few members, rho^2 / (rho^2 + k (1 - rho^2)^2 / (M - 1)), after
Anderson 2012, doi:10.1175/MWR-D-11-00013.1. Arrays are [row, member, patient].
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators.ensemble_noise import mix, standard_normal
from dosetwin.twins.models import anaesthesia_circulation as circulation
from dosetwin.twins.models import anaesthesia_response as response
from dosetwin.twins.models import effect_site_kinetics as kinetics

HUBER = 3.0
SPURIOUS = 2.0
"""The k of the shrunken gain."""
ANNOUNCED = 0.8
"""Mean size of an announced stimulus of intensity 1, before the opioid."""
EASES_MIN = 1.5
"""Time constant by which what was announced fades once it has ended."""
ARRIVED = (1.0, 0.85, 0.6)
"""Share of a jump that has reached each of the three lags when it is seen."""
JUMP_POINTS = 14.0
"""What a jump does to the index, in points. All of these are our assumption."""
_ARTEFACT_DENSITY = 1.0 / 100.0
_DRIFTING = tuple(row.DRIFT_PER_SQRT_HOUR)
_NOISE_ROWS = (row.S, row.SL, row.NB, row.DM, row.DH, *_DRIFTING)

Ensemble = Float[Array, "rows members patients"]
Members = Float[Array, "members patients"]
PerPatient = Float[Array, " patients"]


class Round(NamedTuple):
    """What one round asks of each patient; all [patients], NaN for a reading that there is not.

    Propagate `h_min` (0 to 1/3) under `propofol` mg/min and `remifentanil` ug/min after boluses (mg, ug) at
    the start, with noise of `key`, in a phase of what was announced (`anaesthesia_stimuli.Stimuli.phase`);
    then a stimulus of `stimulus` (1 = an incision) that was announced; then
    the readings. `since_min`: time since the last round with readings.
    """

    h_min: PerPatient
    propofol: PerPatient
    remifentanil: PerPatient
    propofol_bolus: PerPatient
    remifentanil_bolus: PerPatient
    stimulus: PerPatient
    phase: PerPatient
    since_min: PerPatient
    bis: PerPatient
    pressure: PerPatient
    heart_rate: PerPatient
    key: UInt32[Array, " patients"]


def _noise(key: UInt32[Array, " patients"], rows: tuple[int, ...], members: int) -> Float[Array, "..."]:
    """[len(rows), members, patients] standard normal numbers."""
    counter = (
        jnp.asarray(rows, jnp.uint32)[:, None] * jnp.uint32(members) + jnp.arange(members, dtype=jnp.uint32)
    ) * jnp.uint32(0x9E3779B9)
    return standard_normal(mix(counter[:, :, None] ^ key))


_OF_BOTH = tuple(
    np.array(rows)
    for rows in zip(
        (row.V1P, row.V2P, row.V3P, row.CLP, row.Q2P, row.Q3P, row.KEP, row.KMP),
        (row.V1R, row.V2R, row.V3R, row.CLR, row.Q2R, row.Q3R, row.KER, row.KMR),
        strict=True,
    )
)


def of_both_drugs(x: Ensemble) -> tuple[kinetics.Kinetics, kinetics.RateConstants]:
    """State and rate constants of every member, [propofol or remifentanil, members, patients]."""
    state = kinetics.Kinetics(*(jnp.stack([x[k], x[k + row.R1]]) for k in range(row.P1, row.PM + 1)))
    return state, kinetics.rate_constants(*(jnp.exp(x[rows]) for rows in _OF_BOTH))


def index_of(x: Ensemble, propofol: Members, remifentanil: Members, felt: Members | float) -> Members:
    """The index that effect-site concentrations and a stimulus make, before the monitor's delay."""
    return response.index(
        propofol,
        remifentanil,
        jnp.exp(x[row.C50P]),
        jnp.exp(x[row.C50R]),
        jnp.exp(x[row.ALPHA]),
        jnp.exp(x[row.GAMMA]),
        x[row.E0],
        felt,
    )


def felt(x: Ensemble) -> Members:
    """What of the stimulus gets past the opioid, as the logarithm of the concentrations it takes more."""
    return (x[row.S] + x[row.SL]) * response.weakening(x[row.RE], jnp.exp(x[row.C50S]))


def propagate(x: Ensemble, ask: Round) -> Ensemble:
    """The ensemble at the end of the round, before anything is read."""
    h = ask.h_min
    state, k = of_both_drugs(x)
    bolus = jnp.stack([ask.propofol_bolus, ask.remifentanil_bolus])[:, None]
    rate = jnp.stack([ask.propofol, ask.remifentanil])[:, None]
    state = kinetics.advance(kinetics.after_bolus(state, bolus, k), rate, h, k)
    propofol, remifentanil = (kinetics.Kinetics(*(part[which] for part in state)) for which in range(2))
    drive = index_of(x, 0.5 * (x[row.PE] + propofol.E), 0.5 * (x[row.RE] + remifentanil.E), felt(x))
    # three equal lags under a constant drive, exactly: y = h / (TAU / 3)
    y = 3.0 * h / jnp.exp(x[row.TAU])
    keep = jnp.exp(-y)
    d1, d2, d3 = x[row.B1] - drive, x[row.B2] - drive, x[row.B3] - drive
    lags = [
        drive + keep * d1,
        drive + keep * (d2 + y * d1),
        drive + keep * (d3 + y * d2 + 0.5 * y * y * d1),
    ]
    noise = _noise(ask.key, _NOISE_ROWS, x.shape[1])
    # what was said to pass does not settle
    settles = jnp.where(ask.phase > 0.0, 0.0, 1.0 - jnp.exp(-h / row.STIMULUS_TIME_MIN))
    wandering = []
    for n, (r, sd, time) in enumerate(
        (
            (row.S, row.STIMULUS_SD, row.STIMULUS_TIME_MIN),
            (row.SL, row.LEVEL_SD, row.LEVEL_TIME_MIN),
            (row.NB, row.INDEX_ERROR_SD, row.INDEX_ERROR_TIME_MIN),
            (row.DM, row.PRESSURE_DRIFT_SD, row.CIRCULATION_DRIFT_TIME_MIN),
            (row.DH, row.HEART_RATE_DRIFT_SD, row.CIRCULATION_DRIFT_TIME_MIN),
        )
    ):
        stays = jnp.exp(-h / time)
        kept = x[r] * (
            stays
            if r != row.S
            else (1.0 - settles) * jnp.exp(-h / row.PASSES_MIN) * eased(h * (ask.phase == 2.0), x.shape[1])
        )
        if r == row.SL:
            kept += settles * x[row.S]
        wandering.append(kept + sd * jnp.sqrt(1.0 - stays * stays) * noise[n])
    moved = jnp.concatenate(
        [jnp.stack([*propofol, *remifentanil, *lags, *wandering]), x[row.FIRST_PARAMETER :]]
    )
    drift = jnp.asarray(tuple(row.DRIFT_PER_SQRT_HOUR.values()), jnp.float32)[:, None, None]
    moved = moved.at[jnp.asarray(_DRIFTING)].add(drift * jnp.sqrt(h / 60.0) * noise[5:])
    return _bounded(moved)


def eased(min_after_end: Array, members: int) -> Array:
    """[..., members, patients] what is left of an announced stimulus; one member in four holds it."""
    fades = (jnp.arange(members) % 4 > 0)[:, None]
    return jnp.where(fades, jnp.exp(-min_after_end / EASES_MIN)[..., None, :], 1.0)


def announced(x: Ensemble, stimulus: PerPatient, key: UInt32[Array, " patients"]) -> Ensemble:
    """Three members in four feel a stimulus of `ANNOUNCED` (exponential) times its intensity: ours."""
    noise = _noise(key, (row.A, row.B), x.shape[1])
    size = ANNOUNCED * -jnp.log(jnp.clip(jax.scipy.stats.norm.cdf(noise[0]), 0.02, 0.98))
    jumped = jnp.where(jax.scipy.stats.norm.cdf(noise[1]) < 0.75, size, 0.0) * stimulus
    return x.at[row.S].set(jnp.maximum(x[row.S], jnp.where(stimulus > 0.0, jumped, -jnp.inf)))


def predicted_pressure(x: Ensemble) -> Members:
    """Mean arterial pressure of every member, mm[Hg]."""
    left = circulation.pressure_factor(
        x[row.PM], x[row.RM], *(jnp.exp(x[r]) for r in (row.KP, row.KR, row.EP, row.ER))
    )
    return left * jnp.exp(x[row.MAP0] + x[row.DM] + x[row.A] * jnp.maximum(felt(x), 0.0))


def predicted_heart_rate(x: Ensemble) -> Members:
    """Heart rate of every member, /min."""
    left = circulation.heart_rate_factor(x[row.RM], jnp.exp(x[row.KR]), jnp.exp(x[row.FR]))
    return left * jnp.exp(x[row.HR0] + x[row.DH] + x[row.B] * jnp.maximum(felt(x), 0.0))


def predicted_index(x: Ensemble) -> Members:
    """What the monitor would show for each member, without white noise."""
    return x[row.B3] + x[row.NB]


class Expected(NamedTuple):
    """Mean and standard deviation predicted for the three readings; all [patients]."""

    bis: PerPatient
    bis_sd: PerPatient
    pressure: PerPatient
    pressure_sd: PerPatient
    heart_rate: PerPatient
    heart_rate_sd: PerPatient


def _bounded(x: Ensemble) -> Ensemble:
    return jnp.clip(x, row.LOWER[:, None, None], row.UPPER[:, None, None])


def _updated(
    x: Ensemble,
    h: Members,
    reading: PerPatient,
    white_sd: float,
    gains: np.ndarray,
    certainty: PerPatient,
) -> Ensemble:
    """The ensemble given a reading that `h` predicts; NaN leaves it."""
    members = x.shape[1]
    mean = h.mean(0)
    dh = h - mean
    spread = (dh * dh).sum(0) / (members - 1)
    variance = spread + white_sd**2
    z = jnp.where(jnp.isfinite(reading), reading - mean, 0.0)
    pull = jnp.maximum(1.0, jnp.abs(z) / (HUBER * jnp.sqrt(variance)))
    certainty = jnp.where(jnp.isfinite(reading), certainty / pull, 0.0)
    share = spread / variance
    beta = (1.0 - jnp.sqrt(jnp.maximum(1.0 - certainty * share, 0.0))) / jnp.maximum(share, 1e-12)
    dx = x - x.mean(1, keepdims=True)
    covariance = (dx * dh).sum(1) / (members - 1)
    rho2 = covariance**2 / jnp.maximum((dx * dx).sum(1) / (members - 1) * spread, 1e-12)
    sure = rho2 / (rho2 + SPURIOUS * (1.0 - rho2) ** 2 / (members - 1) + 1e-9)
    gain = covariance / variance * gains[:, None] * sure
    keep = (1.0 - row.RELAXATION)[:, None, None]
    return _bounded(x + gain[:, None, :] * (certainty * z - keep * (beta * dh)))


def _moments(h: Members, white_sd: float) -> tuple[PerPatient, PerPatient]:
    mean = h.mean(0)
    return mean, jnp.sqrt(((h - mean) ** 2).sum(0) / (h.shape[0] - 1) + white_sd**2)


def _density(z: PerPatient, variance: PerPatient) -> PerPatient:
    return jnp.exp(-0.5 * z * z / variance) / jnp.sqrt(2.0 * jnp.pi * variance)


def update(x: Ensemble, ask: Round) -> tuple[Ensemble, Expected]:
    """The ensemble given the readings of a round, and what was predicted for them."""
    members = x.shape[1]
    pressure, pressure_sd = _moments(predicted_pressure(x), row.PRESSURE_WHITE_SD)
    heart_rate, heart_rate_sd = _moments(predicted_heart_rate(x), row.HEART_RATE_WHITE_SD)
    bis, bis_sd = _moments(predicted_index(x), row.INDEX_WHITE_SD)

    read = jnp.isfinite(ask.bis)
    z = jnp.where(read, ask.bis - bis, 0.0)
    jump = 1.0 - jnp.exp(-row.JUMPS_PER_MIN * jnp.clip(ask.since_min, 0.0, 5.0))
    calm = _density(z, bis_sd**2) * (1.0 - jump - row.ARTEFACT_PROBABILITY)
    jumped = _density(z, bis_sd**2 + JUMP_POINTS**2) * jump
    artefact = _ARTEFACT_DENSITY * row.ARTEFACT_PROBABILITY
    total = calm + jumped + artefact
    xi = _noise(ask.key, (row.C50S, row.E0), members)
    xi = (xi - xi.mean(1, keepdims=True)) * jnp.where(read, jnp.sqrt(jumped / total), 0.0)
    through = response.weakening(x[row.RE], jnp.exp(x[row.C50S])).mean(0)
    before = index_of(x, x[row.PE], x[row.RE], felt(x))
    x = x.at[row.S].add(row.JUMP_SD * xi[0] / through)
    x = x.at[row.SL].add(row.LEVEL_JUMP_SD * xi[1] / through)
    x = _bounded(x)
    rise = index_of(x, x[row.PE], x[row.RE], felt(x)) - before
    for r, part in zip((row.B1, row.B2, row.B3), ARRIVED, strict=True):
        x = x.at[r].add(part * rise)
    one = jnp.ones_like(z)
    x = _updated(x, predicted_index(x), ask.bis, row.INDEX_WHITE_SD, row.GAIN_INDEX, 1.0 - artefact / total)
    x = _updated(x, predicted_pressure(x), ask.pressure, row.PRESSURE_WHITE_SD, row.GAIN_PRESSURE, one)
    x = _updated(
        x, predicted_heart_rate(x), ask.heart_rate, row.HEART_RATE_WHITE_SD, row.GAIN_HEART_RATE, one
    )
    return x, Expected(bis, bis_sd, pressure, pressure_sd, heart_rate, heart_rate_sd)


def advance(
    ensembles: Float[Array, "patients size"], ask: Round
) -> tuple[Float[Array, "patients size"], Expected]:
    """One round: ensembles as stored (a row a patient), and what was predicted for the readings."""
    members = ensembles.shape[1] // row.ROWS
    x = ensembles.T.reshape(row.ROWS, members, -1)
    x = propagate(x, ask)
    x = announced(x, ask.stimulus, ask.key)
    x, expected = update(x, ask)
    return x.reshape(ensembles.shape[1], -1).T, expected


advance_batch = jax.jit(advance)
"""`advance`, compiled once for each batch size."""
