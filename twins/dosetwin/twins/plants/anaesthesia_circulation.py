"""Blood pressure and heart rate under propofol and remifentanil: Su 2023, turnover with feedback.

    DSV = SV* + A_SV    DHR = HR* + A_HR    SV = DSV (1 - HR_SV ln(DHR / HR_a)) (1 + 0.35 n)
    HR = DHR (1 + 0.35 n)    MAP = SV HR TPR (1 + 0.15 n)    R = MAP / MAP_a    n = a / (a + 0.5)
    dSV* = k (SV_0 R^-FB (1 + e_SV) - SV* (1 - r_SV))
    dHR* = k (HR_0 R^-FB - HR* (1 - r_HR))
    dTPR = k (TPR_0 R^-FB (1 + e_TPR) - TPR (1 - r_TPR))
    dA = -k_a A,   A_SV(0) = 0.0899 SV_0,  A_HR(0) = 0.121 HR_0   (excitement that wears off; "_a": with it)
    e_SV  = E_SV Cp/(Cp + 0.44)
    e_TPR = (E_TPR + Cr/(Cr + 4.59)) Cp^1.83/(Cp^1.83 + C_TPR^1.83)
    r_TPR = E_r Cr/(Cr + 4.59)
    r_SV  = (s_SV - 0.212 Cp/(Cp + 0.44)) Cr
    r_HR  = (s_HR + I_HR Cp/(Cp + 0.196)) Cr

with Cp, Cr in plasma (ug/mL, ng/mL), k = 0.072 /min, k_a = 0.067 /min, HR_SV = 0.312, SV mL, HR /min, TPR
mm[Hg] min/mL. Source: Su et al., Br J Anaesth 2023;131:222, doi:10.1016/j.bja.2023.04.043 (36 volunteers of
18-70 years); people in `anaesthesia_people`.

Arousal a by a noxious stimulus acts at once on rate, stroke volume and resistance, and through R slowly
against itself. Size: in 54 surgical patients under both drugs (VitalDB, identified by the authors of
doi:10.21105/joss.05480 in their documentation) surgery raises the three by 13, 15 and 6 %, which is a = 0.3
here; its bound (n) is our assumption. Lost blood takes filling away, SV_0 (1 - 1.5 loss), and resistance
wanders: our assumptions.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

K_PER_S = 0.072 / 60.0
K_EXCITEMENT_PER_S = 0.067 / 60.0
HR_SV = 0.312
EXCITED_SV, EXCITED_HR = 0.0899, 0.121
C50_SV = 0.44
GAMMA_TPR, INTERACTION_TPR, C50_TPR_REMI = 1.83, 1.0, 4.59
INTERACTION_SV = -0.212
C50_INTERACTION_HR = 0.196
AROUSED_SV, AROUSED_HR, AROUSED_TPR, HALF_AROUSED = 0.35, 0.35, 0.15, 0.5
FILLING = 1.5
MOST_DISSIPATION_LOST = 0.3
"""Our bound on r: the paper's lines are straight in Cr and their slopes spread widely, so that outside of the
concentrations studied a few people's pressure would explode."""


class CirculationParameters(NamedTuple):
    """One value a person [n]: undisturbed SV_0, HR_0, TPR_0, and the effects of the docstring."""

    SV_0: Float[Array, " n"]
    HR_0: Float[Array, " n"]
    TPR_0: Float[Array, " n"]
    E_SV: Float[Array, " n"]
    C_TPR: Float[Array, " n"]
    E_r: Float[Array, " n"]
    s_HR: Float[Array, " n"]
    s_SV: Float[Array, " n"]
    E_TPR: Float[Array, " n"]
    I_HR: Float[Array, " n"]
    FB: Float[Array, " n"]


class CirculationState(NamedTuple):
    """SV*, HR*, TPR and the two excitements, [n] each."""

    SV: Float[Array, " n"]
    HR: Float[Array, " n"]
    TPR: Float[Array, " n"]
    A_SV: Float[Array, " n"]
    A_HR: Float[Array, " n"]


class Drive(NamedTuple):
    """What acts on the circulation during a step, [n] each.

    Plasma concentrations (ug/mL, ng/mL), arousal, lost blood as a fraction, a slow factor on built-up
    resistance.
    """

    Cp: Float[Array, " n"]
    Cr: Float[Array, " n"]
    arousal: Float[Array, " n"]
    loss: Float[Array, " n"]
    tone: Float[Array, " n"]


def rested(p: CirculationParameters) -> CirculationState:
    """Before any drug, excited."""
    return CirculationState(p.SV_0, p.HR_0, p.TPR_0, EXCITED_SV * p.SV_0, EXCITED_HR * p.HR_0)


def pressure_and_rate(
    p: CirculationParameters, state: CirculationState, arousal: Float[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Mean arterial pressure (mm[Hg]) and heart rate (/min), [n] each."""
    HR = state.HR + state.A_HR
    SV = (state.SV + state.A_SV) * (1.0 - HR_SV * jnp.log(HR / (p.HR_0 * (1.0 + EXCITED_HR))))
    felt = arousal / (arousal + HALF_AROUSED)
    HR = HR * (1.0 + AROUSED_HR * felt)
    return SV * (1.0 + AROUSED_SV * felt) * HR * state.TPR * (1.0 + AROUSED_TPR * felt), HR


def slope(p: CirculationParameters, state: CirculationState, drive: Drive) -> CirculationState:
    """The time derivative, per second."""
    Cp, Cr = jnp.maximum(drive.Cp, 0.0), jnp.maximum(drive.Cr, 0.0)
    MAP, _ = pressure_and_rate(p, state, drive.arousal)
    MAP_a = p.SV_0 * (1.0 + EXCITED_SV) * p.HR_0 * (1.0 + EXCITED_HR) * p.TPR_0
    feedback = (MAP / MAP_a) ** -p.FB
    opioid = Cr / (Cr + C50_TPR_REMI)
    on_SV = Cp / (Cp + C50_SV)
    e_SV = p.E_SV * on_SV
    power = Cp**GAMMA_TPR
    e_TPR = (p.E_TPR + INTERACTION_TPR * opioid) * power / (power + p.C_TPR**GAMMA_TPR)
    r_SV = jnp.minimum((p.s_SV + INTERACTION_SV * on_SV) * Cr, MOST_DISSIPATION_LOST)
    r_HR = (p.s_HR + p.I_HR * Cp / (Cp + C50_INTERACTION_HR)) * Cr
    r_HR = jnp.minimum(r_HR, MOST_DISSIPATION_LOST)
    r_TPR = jnp.minimum(p.E_r * opioid, MOST_DISSIPATION_LOST)
    filling = 1.0 - FILLING * drive.loss
    return CirculationState(
        K_PER_S * (p.SV_0 * filling * feedback * (1.0 + e_SV) - state.SV * (1.0 - r_SV)),
        K_PER_S * (p.HR_0 * feedback - state.HR * (1.0 - r_HR)),
        K_PER_S * (p.TPR_0 * drive.tone * feedback * (1.0 + e_TPR) - state.TPR * (1.0 - r_TPR)),
        -K_EXCITEMENT_PER_S * state.A_SV,
        -K_EXCITEMENT_PER_S * state.A_HR,
    )


def advanced(
    p: CirculationParameters, state: CirculationState, drive: Drive, step_s: float
) -> CirculationState:
    """The state `step_s` seconds later under a constant drive (Heun; the rates are about 1/1000 s)."""
    first = slope(p, state, drive)
    there = jax.tree.map(lambda x, dx: x + step_s * dx, state, first)
    second = slope(p, there, drive)
    moved: CirculationState = jax.tree.map(
        lambda x, one, two: x + 0.5 * step_s * (one + two), state, first, second
    )
    return moved
