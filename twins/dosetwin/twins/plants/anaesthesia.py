"""Adults under propofol and remifentanil, second by second: drug, hypnosis, arousal, circulation, monitor.

    U = (Cp_e/C50_p + Cr_e/C50_r) / (1 + a)         BIS = E0 / (1 + U^g) + w
    a' = (stimulus / (1 + (Cr_e/C_t)^0.97) - a) / 20 s

The surface is Bouillon's of 2004 (doi:10.1097/00000542-200406000-00006): additive, one slope. An opioid keeps
a noxious stimulus from being transmitted (the first stage of his hierarchical model); what arrives raises the
concentrations that are needed (our form: the index cannot leave its range, and a stimulus shows only where it
is not covered). Kinetics, circulation and people are in the modules `anaesthesia_*`. log C50_p and log
resistance wander (Ornstein-Uhlenbeck, SD 0.08 with 40 min and 0.05 with 10 min), and so does the index at
constant drug (w, SD 3 with 1 min): our assumptions.

The monitor shows the mean of the last 15 or 30 s (its two settings) of the index 5-15 s ago, with noise of SD
3 that is correlated over 12 s (our assumption), and artefacts from `anaesthesia_surgery`; it lags by half a
minute and more while the index moves (Pilge et al., Anesthesiology 2006;104:488,
doi:10.1097/00000542-200603000-00016).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dosetwin.twins.plants.anaesthesia_circulation import (
    CirculationParameters,
    CirculationState,
    Drive,
    advanced,
    pressure_and_rate,
    rested,
)
from dosetwin.twins.plants.anaesthesia_kinetics import COMPARTMENTS, STEP_S, propagator
from dosetwin.twins.plants.anaesthesia_people import People

AROUSAL_S = 20.0
TRANSMISSION_SLOPE = 0.97
C50_DRIFT_SD, C50_DRIFT_S = 0.08, 2400.0
TONE_DRIFT_SD, TONE_DRIFT_S = 0.05, 600.0
INDEX_WANDER_SD, INDEX_WANDER_S = 3.0, 60.0
INDEX_NOISE_S = 12.0
HEART_RATE_SD, HEART_RATE_NOISE_S = 1.5, 20.0
LINE_SD = 1.5
"""Of an arterial line's pressure, mm[Hg]."""
HISTORY_S = 64
"""Longest delay (30 s) and averaging (30 s), and some."""
CHANNELS = 7


class AnaesthesiaParameters(NamedTuple):
    """n adults, the drugs in the order propofol, remifentanil.

    D [2, 5, 5, n], g [2, 5, n]: exact one-second propagators. V1, C50 [2, n]. Response, monitor and
    circulation [n] each, and a random key each.
    """

    D: Float[Array, "2 5 5 n"]
    g: Float[Array, "2 5 n"]
    V1: Float[Array, "2 n"]
    E0: Float[Array, " n"]
    C50: Float[Array, "2 n"]
    gamma: Float[Array, " n"]
    C50_transmission: Float[Array, " n"]
    circulation: CirculationParameters
    index_sd: Float[Array, " n"]
    delay_s: Int[Array, " n"]
    average_s: Int[Array, " n"]
    cuff_bias: Float[Array, " n"]
    cuff_sd: Float[Array, " n"]
    keys: PRNGKeyArray


class AnaesthesiaState(NamedTuple):
    """What lives on from second to second.

    x [2, 5, n]: the states of `anaesthesia_kinetics` a drug (mg, ug). drift [3, n]: log C50, log resistance,
    index. noise [2, n]: of the displayed index and heart rate. history [64, n]: the true index, newest last.
    """

    x: Float[Array, "2 5 n"]
    arousal: Float[Array, " n"]
    circulation: CirculationState
    drift: Float[Array, "3 n"]
    noise: Float[Array, "2 n"]
    history: Float[Array, "64 n"]


class AnaesthesiaInputs(NamedTuple):
    """S seconds: rates [S, 2, n] in mg/min and ug/min, stimulus, fraction of lost blood [S, n]."""

    rates_per_min: Float[Array, "S 2 n"]
    stimulus: Float[Array, "S n"]
    loss: Float[Array, "S n"]


class AnaesthesiaTrace(NamedTuple):
    """After each second, [S, n]: the true state, and what devices show (artefacts apart).

    True: index `bis`, pressure (mm[Hg]), heart rate (/min), effect-site and plasma concentrations [S, 2, n]
    (ug/mL, ng/mL), arousal, and the factors of C50 and of resistance that wander [S, 2, n]. Shown: the
    index and the heart rate of the monitors, the pressure of a cuff and of an arterial line.
    """

    bis: Float[Array, "S n"]
    pressure: Float[Array, "S n"]
    heart_rate: Float[Array, "S n"]
    effect_site: Float[Array, "S 2 n"]
    plasma: Float[Array, "S 2 n"]
    arousal: Float[Array, "S n"]
    wandering: Float[Array, "S 2 n"]
    shown_bis: Float[Array, "S n"]
    shown_heart_rate: Float[Array, "S n"]
    cuff: Float[Array, "S n"]
    line: Float[Array, "S n"]


def parameters(people: People, numbers: range, seed: int) -> AnaesthesiaParameters:
    """What the steps need of these people; float32."""
    pairs = [propagator(people.propofol), propagator(people.remifentanil)]
    r, m = people.response, people.monitor

    def single(values: npt.ArrayLike) -> Array:
        return jnp.asarray(np.asarray(values, np.float32))

    root = jax.random.key(seed)
    return AnaesthesiaParameters(
        D=single([pair[0] for pair in pairs]),
        g=single([pair[1] for pair in pairs]),
        V1=single([people.propofol.V1, people.remifentanil.V1]),
        E0=single(r.E0),
        C50=single([r.C50_propofol, r.C50_remifentanil]),
        gamma=single(r.gamma),
        C50_transmission=single(r.C50_transmission),
        circulation=CirculationParameters(*map(single, people.circulation)),
        index_sd=single(m.index_sd),
        delay_s=jnp.asarray(m.delay_s.astype(np.int32)),
        average_s=jnp.asarray(m.average_s.astype(np.int32)),
        cuff_bias=single(m.cuff_bias),
        cuff_sd=single(m.cuff_sd),
        keys=jax.vmap(jax.random.fold_in, (None, 0))(root, jnp.asarray(numbers, dtype=jnp.uint32)),
    )


def initial(p: AnaesthesiaParameters) -> AnaesthesiaState:
    """Awake, without a drug."""
    nothing = jnp.zeros_like(p.E0)
    return AnaesthesiaState(
        x=jnp.zeros((2, COMPARTMENTS, len(p.E0)), p.E0.dtype),
        arousal=nothing,
        circulation=rested(p.circulation),
        drift=jnp.stack([nothing, nothing, nothing]),
        noise=jnp.stack([nothing, nothing]),
        history=jnp.tile(p.E0, (HISTORY_S, 1)),
    )


def index(
    E0: Float[Array, " n"],
    C50: Float[Array, "2 n"],
    gamma: Float[Array, " n"],
    effect_site: Float[Array, "2 n"],
    arousal: Float[Array, " n"],
) -> Float[Array, " n"]:
    """The hypnotic index (0-100) at effect-site concentrations and arousal."""
    U = (effect_site / C50).sum(0) / (1.0 + arousal)
    power = jnp.maximum(U, 1e-6) ** gamma
    return E0 / (1.0 + power)


def transmitted(
    stimulus: Float[Array, " n"], remifentanil_ng_mL: Float[Array, " n"], C50: Float[Array, " n"]
) -> Float[Array, " n"]:
    """What an opioid lets through of a noxious stimulus."""
    return stimulus / (1.0 + (jnp.maximum(remifentanil_ng_mL, 1e-6) / C50) ** TRANSMISSION_SLOPE)


def _relaxed(x: Array, towards: Array | float, time_s: float) -> Array:
    keep = float(np.exp(-STEP_S / time_s))
    return towards + keep * (x - towards)


def _wandered(x: Array, sd: Array | float, time_s: float, normal: Array) -> Array:
    keep = float(np.exp(-STEP_S / time_s))
    return keep * x + sd * float(np.sqrt(1.0 - keep**2)) * normal


@jax.jit
def advance(
    p: AnaesthesiaParameters, state: AnaesthesiaState, inputs: AnaesthesiaInputs, block: Int[Array, ""] | int
) -> tuple[AnaesthesiaState, AnaesthesiaTrace]:
    """S seconds from `state`; the chance of a call is a function of `block` and of each patient's key."""
    seconds = inputs.stimulus.shape[0]
    keys = jax.vmap(jax.random.fold_in, (0, None))(p.keys, block)
    normals = jax.vmap(lambda key: jax.random.normal(key, (seconds, CHANNELS)))(keys)
    normals = jnp.transpose(normals, (1, 2, 0))

    def second(
        state: AnaesthesiaState, now: tuple[Array, Array, Array, Array]
    ) -> tuple[AnaesthesiaState, tuple[Array, ...]]:
        rates, stimulus, loss, z = now
        x = (p.D * state.x[:, None]).sum(2) + p.g * rates[:, None]
        effect_site, plasma = x[:, 3], x[:, 0] / p.V1
        arrives = transmitted(stimulus, effect_site[1], p.C50_transmission)
        arousal = _relaxed(state.arousal, arrives, AROUSAL_S)
        drift = jnp.stack(
            [
                _wandered(state.drift[0], C50_DRIFT_SD, C50_DRIFT_S, z[0]),
                _wandered(state.drift[1], TONE_DRIFT_SD, TONE_DRIFT_S, z[1]),
                _wandered(state.drift[2], INDEX_WANDER_SD, INDEX_WANDER_S, z[6]),
            ]
        )
        noise = jnp.stack(
            [
                _wandered(state.noise[0], p.index_sd, INDEX_NOISE_S, z[2]),
                _wandered(state.noise[1], HEART_RATE_SD, HEART_RATE_NOISE_S, z[3]),
            ]
        )
        C50 = p.C50.at[0].multiply(jnp.exp(drift[0]))
        BIS = jnp.clip(index(p.E0, C50, p.gamma, effect_site, arousal) + drift[2], 0.0, 100.0)
        drive = Drive(plasma[0], plasma[1], arousal, loss, jnp.exp(drift[1]))
        circulation = advanced(p.circulation, state.circulation, drive, STEP_S)
        MAP, HR = pressure_and_rate(p.circulation, circulation, arousal)
        moved = AnaesthesiaState(x, arousal, circulation, drift, noise, state.history)
        cuff = MAP + p.cuff_bias + p.cuff_sd * z[4]
        shown = (HR + noise[1], cuff, MAP + LINE_SD * z[5], noise[0])
        return moved, (BIS, MAP, HR, effect_site, plasma, arousal, jnp.exp(drift[:2]), *shown)

    steps = (inputs.rates_per_min, inputs.stimulus, inputs.loss, normals)
    last, (BIS, MAP, HR, effect_site, plasma, arousal, wandering, rate, cuff, line, noise) = jax.lax.scan(
        second, state, steps
    )
    history = jnp.concatenate([state.history, BIS])
    shown_bis = _averaged(history, p.delay_s, p.average_s, seconds) + noise
    true = (BIS, MAP, HR, effect_site, plasma, arousal, wandering)
    trace = AnaesthesiaTrace(*true, shown_bis, rate, cuff, line)
    return last._replace(history=history[-HISTORY_S:]), trace


def _averaged(
    history: Float[Array, "H n"], delay_s: Int[Array, " n"], average_s: Int[Array, " n"], seconds: int
) -> Float[Array, "S n"]:
    """The mean of the `average_s` seconds that ended `delay_s` ago, for each of the last `seconds`."""
    sums = jnp.concatenate([jnp.zeros_like(history[:1]), jnp.cumsum(history, axis=0)])
    ends = HISTORY_S + 1 + jnp.arange(seconds)[:, None] - delay_s
    from_start = jnp.take_along_axis(sums, ends, axis=0) - jnp.take_along_axis(sums, ends - average_s, axis=0)
    return from_start / average_s
