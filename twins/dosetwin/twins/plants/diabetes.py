"""Type-1 diabetes: the UVA/Padova model of 2008 (13 states), one column a patient.

Source: Dalla Man, Rizza, Cobelli, IEEE Trans Biomed Eng 2007;54:1740 (doi:10.1109/TBME.2007.893506) for
glucose, insulin and the gut; Dalla Man, Raimondo, Rizza, Cobelli, J Diabetes Sci Technol 2007;1:323 for
the subcutaneous insulin of a patient without a pancreas; Kovatchev et al., J Diabetes Sci Technol
2009;3:44 for its use as the 2008 simulator. Sensitivity that changes over the day follows Dalla Man et
al., J Diabetes Sci Technol 2014;8:26 (the 2013 simulator): it multiplies `Vmx` and `kp3`.

    dQsto1 = D - kmax Qsto1
    dQsto2 = kmax Qsto1 - kgut Qsto2
    dQgut  = kgut Qsto2 - kabs Qgut             Ra = f kabs Qgut / BW
    dGp    = max(EGP, 0) + Ra - Fsnc - E - k1 Gp + k2 Gt
    dGt    = k1 Gp - k2 Gt - Uid
    dIp    = ka1 Isc1 + ka2 Isc2 - (m2 + m4) Ip + m1 Il
    dX     = p2u (I - Ib - X)
    dI1    = ki (I - I1)
    dXL    = ki (I1 - XL)
    dIl    = m2 Ip - (m1 + m30) Il
    dIsc1  = u - (ka1 + kd) Isc1
    dIsc2  = kd Isc1 - ka2 Isc2
    dGsc   = ksc (Gp - Gsc)
    EGP = kp1 - kp2 Gp - kp3 S XL,  Uid = (Vm0 + Vmx S X) Gt / (Km0 + Gt),  E = max(ke1 (Gp - ke2), 0)
    kgut = kmin + (kmax - kmin)/2 (tanh(a (Qsto - b Dm)) - tanh(c (Qsto - d Dm)) + 2),
           a = 5 / (2 Dm (1 - b)),  c = 5 / (2 Dm d)
    Dm   = what the stomach held when the meal began + what was eaten of it

Units: Q mg, G mg/kg, I* pmol/kg (I = Ip / Vi in pmol/L), u pmol/kg/min, time min. One unit of insulin is
6000 pmol.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dosetwin.twins.plants.diabetes_kernel import PMOL_PER_U, advance, prepare

DAWN_HOUR = 6.0
DAWN_WIDTH_H = 2.0
DRIFT_TIME_MIN = 24 * 60.0


class DiabetesParameters(NamedTuple):
    """One value a patient [n]. Basal quantities (`Gb`, `Ib`, `u_b`) hold at sensitivity 1."""

    BW: Float[Array, " n"]
    Gb: Float[Array, " n"]
    Ib: Float[Array, " n"]
    kabs: Float[Array, " n"]
    kmax: Float[Array, " n"]
    kmin: Float[Array, " n"]
    b: Float[Array, " n"]
    d: Float[Array, " n"]
    f: Float[Array, " n"]
    Vg: Float[Array, " n"]
    Vi: Float[Array, " n"]
    Vm0: Float[Array, " n"]
    Vmx: Float[Array, " n"]
    Km0: Float[Array, " n"]
    k1: Float[Array, " n"]
    k2: Float[Array, " n"]
    p2u: Float[Array, " n"]
    m1: Float[Array, " n"]
    m2: Float[Array, " n"]
    m4: Float[Array, " n"]
    m30: Float[Array, " n"]
    ki: Float[Array, " n"]
    kp1: Float[Array, " n"]
    kp2: Float[Array, " n"]
    kp3: Float[Array, " n"]
    kd: Float[Array, " n"]
    ksc: Float[Array, " n"]
    ka1: Float[Array, " n"]
    ka2: Float[Array, " n"]
    ke1: Float[Array, " n"]
    ke2: Float[Array, " n"]
    Fsnc: Float[Array, " n"]
    u_b: Float[Array, " n"]
    dawn: Float[Array, " n"]
    drift_sd: Float[Array, " n"]

    @property
    def basal_U_per_h(self) -> Float[Array, " n"]:
        """The pump rate that holds `Gb` while sensitivity is 1."""
        return self.u_b * self.BW * 60.0 / PMOL_PER_U


class DiabetesState(NamedTuple):
    """`x` [13, n] in the order of the equations; `Dm` mg [n]; `eating` [n]; `drift` log sensitivity [n]."""

    x: Float[Array, "13 n"]
    Dm: Float[Array, " n"]
    eating: Bool[Array, " n"]
    drift: Float[Array, " n"]


class DiabetesInputs(NamedTuple):
    """What happens during one step, at a constant rate; `noise` is standard normal [n]."""

    insulin_U_per_min: Float[Array, " n"]
    carbohydrate_g_per_min: Float[Array, " n"]
    hour: Float[Array, " n"]
    noise: Float[Array, " n"]


@jax.jit
def initial(parameters: DiabetesParameters) -> DiabetesState:
    """The basal steady state: `Gb` under the basal rate `u_b`, an empty stomach, sensitivity 1."""
    p = parameters
    nothing = jnp.zeros_like(p.BW)
    Gp = p.Gb * p.Vg
    Ip = p.Ib * p.Vi
    Gt = (p.Fsnc - (p.kp1 - p.kp2 * Gp - p.kp3 * p.Ib) + p.k1 * Gp) / p.k2
    Il = p.m2 * Ip / (p.m1 + p.m30)
    Isc1 = p.u_b / (p.ka1 + p.kd)
    Isc2 = p.kd * Isc1 / p.ka2
    x = jnp.stack([nothing, nothing, nothing, Gp, Gt, Ip, nothing, p.Ib, p.Ib, Il, Isc1, Isc2, Gp])
    return DiabetesState(x, nothing, jnp.zeros(p.BW.shape, bool), nothing)


def plasma_glucose_mg_dL(parameters: DiabetesParameters, state: DiabetesState) -> Float[Array, " n"]:
    """Plasma glucose, what a laboratory would find."""
    return state.x[3] / parameters.Vg


def interstitial_glucose_mg_dL(parameters: DiabetesParameters, state: DiabetesState) -> Float[Array, " n"]:
    """Subcutaneous glucose, what a continuous sensor sees: plasma with a lag of 1/ksc."""
    return state.x[12] / parameters.Vg


def derivative(
    p: DiabetesParameters,
    x: Float[Array, "13 n"],
    Dm: Float[Array, " n"],
    insulin_U_per_min: Float[Array, " n"],
    carbohydrate_g_per_min: Float[Array, " n"],
    S: Float[Array, " n"],
) -> Float[Array, "13 n"]:
    """dx/dt, per minute, at sensitivity `S`."""
    Qsto1, Qsto2, Qgut, Gp, Gt, Ip, X, I1, XL, Il, Isc1, Isc2, Gsc = x
    Qsto = Qsto1 + Qsto2
    meal = jnp.maximum(Dm, 1.0)
    a = 5.0 / (2.0 * meal * (1.0 - p.b))
    c = 5.0 / (2.0 * meal * p.d)
    shape = jnp.tanh(a * (Qsto - p.b * meal)) - jnp.tanh(c * (Qsto - p.d * meal)) + 2.0
    kgut = jnp.where(Dm > 0, p.kmin + (p.kmax - p.kmin) / 2.0 * shape, p.kmax)
    Ra = p.f * p.kabs * Qgut / p.BW
    EGP = jnp.maximum(p.kp1 - p.kp2 * Gp - p.kp3 * S * XL, 0.0)
    Uid = jnp.maximum(p.Vm0 + p.Vmx * S * X, 0.0) * Gt / (p.Km0 + Gt)
    E = jnp.maximum(p.ke1 * (Gp - p.ke2), 0.0)
    plasma_insulin = Ip / p.Vi
    u = insulin_U_per_min * PMOL_PER_U / p.BW
    return jnp.stack(
        [
            carbohydrate_g_per_min * 1000.0 - p.kmax * Qsto1,
            p.kmax * Qsto1 - kgut * Qsto2,
            kgut * Qsto2 - p.kabs * Qgut,
            EGP + Ra - p.Fsnc - E - p.k1 * Gp + p.k2 * Gt,
            p.k1 * Gp - p.k2 * Gt - Uid,
            p.ka1 * Isc1 + p.ka2 * Isc2 - (p.m2 + p.m4) * Ip + p.m1 * Il,
            p.p2u * (plasma_insulin - p.Ib - X),
            p.ki * (plasma_insulin - I1),
            p.ki * (I1 - XL),
            p.m2 * Ip - (p.m1 + p.m30) * Il,
            u - (p.ka1 + p.kd) * Isc1,
            p.kd * Isc1 - p.ka2 * Isc2,
            p.ksc * (Gp - Gsc),
        ]
    )


def sensitivity(
    parameters: DiabetesParameters, drift: Float[Array, " n"], hour: Float[Array, " n"]
) -> Float[Array, " n"]:
    """exp(drift) (1 - dawn exp(-((h - 6)/2)^2 / 2)), h the local hour; the dip is the dawn phenomenon."""
    shifted = hour - DAWN_HOUR + 12.0
    distance = (
        shifted - 24.0 * jnp.floor(shifted / 24.0) - 12.0
    )  # a remainder would be a library call a patient
    dip = parameters.dawn * jnp.exp(-0.5 * (distance / DAWN_WIDTH_H) ** 2)
    return jnp.exp(drift) * (1.0 - dip)


def drifted(
    parameters: DiabetesParameters,
    drift: Float[Array, " n"],
    noise: Float[Array, " n"],
    dt_min: float | Float[Array, ""],
) -> Float[Array, " n"]:
    """The log sensitivity `dt_min` later: an Ornstein-Uhlenbeck process with a time constant of a day."""
    keep = jnp.exp(-dt_min / DRIFT_TIME_MIN)
    return drift * keep + parameters.drift_sd * jnp.sqrt(1.0 - keep**2) * noise


def meal_size_mg(
    in_stomach_mg: Float[Array, " n"],
    Dm: Float[Array, " n"],
    eating: Bool[Array, " n"],
    carbohydrate_g_per_min: Float[Array, " n"],
    dt_min: float | Float[Array, ""],
) -> Float[Array, " n"]:
    """`Dm` of a step: what the stomach held when the meal began, and what is eaten until the step's end."""
    begins = (carbohydrate_g_per_min > 0) & ~eating
    return jnp.where(begins, in_stomach_mg, Dm) + carbohydrate_g_per_min * 1000.0 * dt_min


def step(
    parameters: DiabetesParameters,
    state: DiabetesState,
    inputs: DiabetesInputs,
    dt_min: float | Float[Array, ""],
) -> DiabetesState:
    """The state `dt_min` minutes later, by the fused kernel of `diabetes_kernel`; 1 minute is meant.

    While a meal is eaten its size is known a step at a time (as in simglucose, whose step is 1 min), so that
    another step length is a slightly different meal. For many steps of many patients take
    `diabetes_simulation.simulate`, which prepares the step once.
    """
    p, x = parameters, state.x
    drift = drifted(p, state.drift, inputs.noise, dt_min)
    S = sensitivity(p, drift, inputs.hour)
    eats = inputs.carbohydrate_g_per_min > 0
    Dm = meal_size_mg(x[0] + x[1], state.Dm, state.eating, inputs.carbohydrate_g_per_min, dt_min)
    propagator = prepare(p, dt_min)
    moved = advance(p, propagator, tuple(x), Dm, inputs.insulin_U_per_min, inputs.carbohydrate_g_per_min, S)
    return DiabetesState(jnp.stack(moved), Dm, eats, drift)
