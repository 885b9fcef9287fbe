"""Forecasts of candidate regimens under a patient's posterior; jitted, one patient; vmap it.

All from closed forms: amounts now from the whole history, then each candidate's doses on top. The area under
the curve is a mass balance, AUC(a, b) = (what entered + amount(a) - amount(b)) / CL, exact for linear models.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.compartments import (
    Doses,
    Linear,
    Modes,
    State,
    modes,
    propagate,
)


class Present(NamedTuple):
    """Equally weighted samples of where a patient is now: parameters [S, P] and amounts."""

    theta: Float[Array, "S P"]
    state: State


class Ahead(NamedTuple):
    """Per sample s and candidate c: concentrations at the asked times (no residual error), and areas.

    concentration [S, C, T]; auc [S, C, A-1], the area under the curve between consecutive edges.
    """

    concentration: Float[Array, "S C T"]
    auc: Float[Array, "S C A-1"]


def ahead(
    structure: Linear,
    now: Present,
    now_h: Float[Array, ""],
    recent: Doses,
    future: Float[Array, "4 C M"],
    times_h: Float[Array, "C T"],
    edges_h: Float[Array, " A"],
) -> Ahead:
    """Every candidate (`future[:, c]` as Doses) on top of the `recent` doses that may still run.

    `times_h` [C, T] and `now_h` are on the clock of the history; `edges_h` [A] are hours from now.
    """

    def one(theta: Float[Array, " P"], state: State) -> tuple[Array, Array]:
        candidate = partial(_candidate, structure, modes(structure, theta), state, now_h, recent, edges_h)
        return jax.vmap(candidate, in_axes=(1, 0))(future, times_h)

    return Ahead(*jax.vmap(one)(now.theta, now.state))


def _candidate(
    structure: Linear,
    m: Modes,
    now: State,
    now_h: Float[Array, ""],
    recent: Doses,
    edges_h: Float[Array, " A"],
    future: Float[Array, "4 M"],
    times_h: Float[Array, " T"],
) -> tuple[Array, Array]:
    doses = Doses(*(jnp.concatenate(pair) for pair in zip(recent, tuple(future), strict=True)))
    asked = jnp.concatenate([times_h, now_h + edges_h])
    states = jax.vmap(lambda t: propagate(structure, m, now, doses, now_h, t))(asked)
    T = times_h.shape[0]
    held = states.x[T:].sum(axis=1) + states.depot[T:]
    came = jax.vmap(lambda dt: entered(structure, m, doses, now_h, now_h + dt))(edges_h)
    return states.x[:T, 0] / m.V1, (jnp.diff(came) - jnp.diff(held)) / m.CL


def entered(
    structure: Linear, m: Modes, doses: Doses, a_h: Float[Array, ""], b_h: Float[Array, ""]
) -> Float[Array, ""]:
    """What the doses bring into the body between a and b (a depot counts as body)."""
    if structure.absorption == "zero_order":
        absorbed = doses.amount > 0
        duration = jnp.where(absorbed, m.D, doses.duration_h)
        rate = jnp.where(absorbed, doses.amount / m.D, doses.rate)
        bolus = jnp.zeros_like(rate)
    else:
        duration, rate, bolus = doses.duration_h, doses.rate, doses.amount
    end = doses.start_h + duration
    infused = rate * (jnp.clip(end, a_h, b_h) - jnp.clip(doses.start_h, a_h, b_h))
    given = jnp.where((doses.start_h >= a_h) & (doses.start_h < b_h), bolus, 0.0)
    return m.F * (infused + given).sum()
