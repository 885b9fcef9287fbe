"""Vancomycin in an infected adult: Thomson 2009, with renal function that drifts and a creatinine that lags.

Source: Thomson et al., J Antimicrob Chemother 2009;63:1050 (doi:10.1093/jac/dkp085), 398 patients; two
compartments. The twin uses Goti 2018, so plant and twin differ in structure of covariates and variability.

    CL = 2.99 (1 + 0.0154 (CLcr - 66)) e^eta  L/h     V1 = 0.675 WT e^eta  L
    V2 = 0.732 WT e^eta  L                            Q  = 2.28 e^eta      L/h
    between-subject CV: CL 27 %, V1 15 %, V2 130 %, Q 49 %

    dA1 = R - (CL/V1 + Q/V1) A1 + Q/V2 A2        dA2 = Q/V1 A1 - Q/V2 A2            (mg)
    CLcr = CLcr_0 e^drift (mL/min), drift an Ornstein-Uhlenbeck process with a trend
    V_cr dC/dt = P - CLcr C                      creatinine, mg/dL

P, the production of creatinine, is what Cockcroft and Gault imply at steady state,
P = (140 - age) WT (0.85 if female) / 72 (in mL/min mg/dL), so that a steady creatinine gives back the
true clearance; V_cr is total body water, 0.6 WT L (Watson 1980, rounded). V2's log-SD is cut to 0.5 and its
CV of 130 % therefore understated: the tail gives volumes of hundreds of litres.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

DRIFT_TIME_H = 48.0
MINIMUM_CLCR = 10.0
LOG_SD = (0.27, 0.15, 0.5, 0.45)
"""Of CL, V1, V2, Q."""


class InfectionParameters(NamedTuple):
    """One value a patient [n]: demography, true random effects, renal function and its drift."""

    age_a: Float[Array, " n"]
    weight_kg: Float[Array, " n"]
    height_cm: Float[Array, " n"]
    male: Float[Array, " n"]
    eta: Float[Array, "4 n"]
    CLcr_0: Float[Array, " n"]
    drift_sd: Float[Array, " n"]
    trend_per_h: Float[Array, " n"]


class InfectionState(NamedTuple):
    """Amounts mg [2, n], AUC so far mg.h/L [n], creatinine mg/dL [n], log drift of CLcr [n]."""

    A: Float[Array, "2 n"]
    auc: Float[Array, " n"]
    creatinine: Float[Array, " n"]
    drift: Float[Array, " n"]


class InfectionInputs(NamedTuple):
    """Vancomycin infused during the step, mg/h [n]; standard normal noise [n]."""

    vancomycin_mg_per_h: Float[Array, " n"]
    noise: Float[Array, " n"]


@partial(jax.jit, static_argnames="n")
def sample_population(key: PRNGKeyArray, n: int) -> InfectionParameters:
    """`n` adults like those of the paper: age 16-97 (median 66), weight 40-159 kg (median 72), CLcr 66."""
    keys = jax.random.split(key, 6)
    normal = jnp.clip(jax.random.normal(keys[0], (8, n)), -2.0, 2.0)
    male = jax.random.bernoulli(keys[1], 0.6, (n,)).astype(normal.dtype)
    age = jnp.clip(64.0 + 14.0 * normal[0], 18.0, 95.0)
    height = 163.0 + 13.0 * male + 6.0 * normal[1]
    weight = jnp.clip(height**2 * 1e-4 * 25.5 * jnp.exp(0.16 * normal[2]), 42.0, 150.0)
    ideal = (140.0 - age) * weight * (0.85 + 0.15 * male) / 72.0
    # the steady creatinine is what is drawn; the clearance is what it implies by Cockcroft-Gault
    creatinine = 0.95 * jnp.exp(0.32 * normal[3])
    return InfectionParameters(
        age_a=age,
        weight_kg=weight,
        height_cm=height,
        male=male,
        eta=jnp.asarray(LOG_SD)[:, None] * normal[4:8],
        CLcr_0=jnp.clip(ideal / creatinine, 15.0, 150.0),
        drift_sd=0.12 * jnp.ones((n,)),
        trend_per_h=0.25 / 96.0 * jnp.clip(jax.random.normal(keys[2], (n,)), -2.0, 2.0),
    )


def production(parameters: InfectionParameters) -> Float[Array, " n"]:
    """Creatinine production in mL/min mg/dL, as Cockcroft and Gault imply it."""
    p = parameters
    return (140.0 - p.age_a) * p.weight_kg * (0.85 + 0.15 * p.male) / 72.0


@jax.jit
def initial(parameters: InfectionParameters) -> InfectionState:
    """Before the first dose: no drug, creatinine steady at the initial clearance."""
    nothing = jnp.zeros_like(parameters.age_a)
    creatinine = production(parameters) / parameters.CLcr_0
    return InfectionState(jnp.zeros((2, *nothing.shape)), nothing, creatinine, nothing)


def creatinine_clearance_mL_min(parameters: InfectionParameters, state: InfectionState) -> Float[Array, " n"]:
    """True clearance now; the creatinine follows it with a lag of a day or more."""
    return jnp.maximum(parameters.CLcr_0 * jnp.exp(state.drift), MINIMUM_CLCR)


def kinetics(parameters: InfectionParameters, CLcr: Float[Array, " n"]) -> Float[Array, "4 n"]:
    """CL, V1, V2, Q (L/h, L, L, L/h) at a creatinine clearance (mL/min)."""
    p = parameters
    e = jnp.exp(p.eta)
    return jnp.stack(
        [
            2.99 * (1.0 + 0.0154 * (CLcr - 66.0)) * e[0],
            0.675 * p.weight_kg * e[1],
            0.732 * p.weight_kg * e[2],
            2.28 * e[3],
        ]
    )


Kinetics = Callable[[InfectionParameters, Float[Array, " n"]], Float[Array, "4 n"]]
"""CL, V1, V2, Q of the patients at a creatinine clearance (mL/min)."""


def concentration_mg_L(parameters: InfectionParameters, state: InfectionState) -> Float[Array, " n"]:
    """Vancomycin in plasma."""
    return state.A[0] / (0.675 * parameters.weight_kg * jnp.exp(parameters.eta[1]))


def step(
    parameters: InfectionParameters,
    state: InfectionState,
    inputs: InfectionInputs,
    dt_h: float | Float[Array, ""],
    kinetics: Kinetics = kinetics,
) -> InfectionState:
    """The state `dt_h` hours later: one Runge-Kutta step for the drug, exact relaxation for creatinine.

    The fastest rate is about 0.3 /h, so that steps up to an hour are accurate. `kinetics`: another model's
    CL, V1, V2 and Q in the same patient.
    """
    p = parameters
    keep = jnp.exp(-dt_h / DRIFT_TIME_H)
    drift = state.drift * keep + p.drift_sd * jnp.sqrt(1.0 - keep**2) * inputs.noise + p.trend_per_h * dt_h
    CLcr = jnp.maximum(p.CLcr_0 * jnp.exp(drift), MINIMUM_CLCR)
    CL, V1, V2, Q = kinetics(p, CLcr)

    def slope(y: Float[Array, "3 n"]) -> Float[Array, "3 n"]:
        A1, A2 = y[0], y[1]
        return jnp.stack(
            [
                inputs.vancomycin_mg_per_h - (CL + Q) / V1 * A1 + Q / V2 * A2,
                Q / V1 * A1 - Q / V2 * A2,
                A1 / V1,
            ]
        )

    y = jnp.concatenate([state.A, state.auc[None]])
    k_1 = slope(y)
    k_2 = slope(y + 0.5 * dt_h * k_1)
    k_3 = slope(y + 0.5 * dt_h * k_2)
    k_4 = slope(y + dt_h * k_3)
    y = y + dt_h / 6.0 * (k_1 + 2.0 * k_2 + 2.0 * k_3 + k_4)
    # mL/min -> dL/h is 0.6; water is 6 dL a kg
    rate = 0.6 * CLcr / (6.0 * p.weight_kg)
    steady = production(p) / CLcr
    creatinine = steady + (state.creatinine - steady) * jnp.exp(-rate * dt_h)
    return InfectionState(y[:2], y[2], creatinine, drift)
