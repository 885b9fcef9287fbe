"""What a plan of doses does to a linear model: concentrations and areas in closed form.

A plan is at most one extra dose now and a regimen (an amount over d hours every tau hours from a first time
on). In the mode of rate lambda the n doses begun by t leave, an age a = t - start of the last one after it
began,

    u = r [ e^{-lambda (a - min(a, d))} phi(min(a, d)) + e^{-lambda (a - d)} phi(d) q (1 - q^{n-1}) / (1 -
    q) ]

with phi(x) = (1 - e^{-lambda x}) / lambda, q = e^{-lambda tau}, r = amount / d (a dose at once: phi / d ->
1). The area is a mass balance, AUC(0, t) = (amount(0) + entered(0, t) - amount(t)) / CL. For a model with
absorption the doses are written out instead and superposed (models/compartments.py). Times are hours from
now. vmap these.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.compartments import Doses, Linear, Modes, State, modes, propagate
from dosetwin.twins.policies.regimen_forecast import entered

WRITTEN_OUT = 16
"""Doses of a regimen that are written out where there is absorption: 64 h of one every 4 h."""


class Plans(NamedTuple):
    """What is given from now on; any shape. `extra` over `extra_h` now, then `amount` over `duration_h`.

    The regimen's first dose is due `first_h` from now, the others every `interval_h`.
    """

    extra: Array
    extra_h: Array
    amount: Array
    duration_h: Array
    interval_h: Array
    first_h: Array


class Course(NamedTuple):
    """Concentrations [T] at the asked times, and the area from now to every edge [A]."""

    concentration: Float[Array, " T"]
    area: Float[Array, " A"]


def course(
    structure: Linear,
    theta: Float[Array, " P"],
    now: State,
    running: Doses,
    plan: Plans,
    times_h: Float[Array, " T"],
    edges_h: Float[Array, " A"],
) -> Course:
    """One sample under one plan, beside the doses that still `running` (begun before now)."""
    m = modes(structure, theta)
    base = undosed(structure, m, now, running, times_h, edges_h)
    added = answer(structure, m, plan, times_h, edges_h)
    return Course(base.concentration + added.concentration, base.area + added.area)


def undosed(
    structure: Linear,
    m: Modes,
    now: State,
    running: Doses,
    times_h: Float[Array, " T"],
    edges_h: Float[Array, " A"],
) -> Course:
    """What is there now and what still runs, without a further dose."""
    zero = jnp.zeros((), m.rate.dtype)
    T = times_h.shape[0]
    asked = jnp.concatenate([times_h, edges_h])
    states = jax.vmap(lambda t: propagate(structure, m, now, running, zero, t))(asked)
    came = jax.vmap(lambda t: entered(structure, m, running, zero, t))(edges_h)
    held = states.x[T:].sum(axis=1) + states.depot[T:]
    return Course(states.x[:T, 0] / m.V1, (now.x.sum() + now.depot + came - held) / m.CL)


def answer(
    structure: Linear, m: Modes, plan: Plans, times_h: Float[Array, " T"], edges_h: Float[Array, " A"]
) -> Course:
    """What a plan adds, linear in its amounts: a body that is empty but for it."""
    if structure.absorption != "none":
        nothing = State(jnp.zeros(structure.size, m.rate.dtype), jnp.zeros((), m.rate.dtype))
        return undosed(structure, m, nothing, _written(plan), times_h, edges_h)
    T = times_h.shape[0]
    left = jax.vmap(lambda t: _left(m, plan, t))(jnp.concatenate([times_h, edges_h])) * m.F
    came = m.F * jax.vmap(lambda t: _given(plan, t))(edges_h)
    # of a unit that enters compartment 1: the part of each mode that is there, and that is anywhere
    central, anywhere = m.projector[:, 0, 0], m.projector[:, :, 0].sum(axis=1)
    return Course(left[:T] @ central / m.V1, (came - left[T:] @ anywhere) / m.CL)


def _dose_left(rate: Array, age_h: Array, duration_h: Array) -> Array:
    """What a unit dose begun `age_h` ago has left in a mode; 0 before it begins."""
    begun = age_h > 0
    age = jnp.where(begun, age_h, 0.0)
    ran = jnp.minimum(age, duration_h)
    share = jnp.where(duration_h > 0, ran / jnp.where(duration_h > 0, duration_h, 1.0), 1.0)
    return jnp.where(begun, share * jnp.exp(-rate * (age - ran)) * _mean_decay(rate * ran), 0.0)


def _mean_decay(x: Array) -> Array:
    """(1 - e^{-x}) / x, 1 at 0."""
    safe = jnp.where(x < 1e-6, 1.0, x)
    return jnp.where(x < 1e-6, 1 - 0.5 * x, -jnp.expm1(-safe) / safe)


def _begun(plan: Plans, t_h: Array) -> Array:
    """How many doses of the regimen begin before t."""
    return jnp.maximum(jnp.ceil((t_h - plan.first_h) / plan.interval_h - 1e-9), 0.0)


def _left(m: Modes, plan: Plans, t_h: Array) -> Float[Array, " n"]:
    """What the plan has left in every mode at t."""
    n = _begun(plan, t_h)
    age = t_h - plan.first_h - (n - 1) * plan.interval_h
    last = jnp.where(n > 0, _dose_left(m.rate, age, plan.duration_h), 0.0)
    decay = m.rate * plan.interval_h
    earlier = jnp.exp(-decay) * jnp.expm1(-decay * jnp.maximum(n - 1, 0.0)) / jnp.expm1(-decay)
    whole = jnp.exp(-m.rate * (age - plan.duration_h)) * _mean_decay(m.rate * plan.duration_h)
    before = jnp.where(n > 1, whole * earlier, 0.0)
    return plan.amount * (last + before) + plan.extra * _dose_left(m.rate, t_h, plan.extra_h)


def _given(plan: Plans, t_h: Array) -> Array:
    """What the plan has let in by t."""

    def share(age_h: Array, duration_h: Array) -> Array:
        ran = jnp.clip(age_h / jnp.where(duration_h > 0, duration_h, 1.0), 0.0, 1.0)
        return jnp.where(duration_h > 0, ran, jnp.where(age_h > 0, 1.0, 0.0))

    n = _begun(plan, t_h)
    age = t_h - plan.first_h - (n - 1) * plan.interval_h
    of_regimen = jnp.where(n > 0, n - 1 + share(age, plan.duration_h), 0.0)
    return plan.amount * of_regimen + plan.extra * share(t_h, plan.extra_h)


def _written(plan: Plans) -> Doses:
    """The plan's doses one by one; an extra dose first."""
    start = jnp.concatenate([jnp.zeros(1), plan.first_h + plan.interval_h * jnp.arange(WRITTEN_OUT)])
    amount = jnp.concatenate([plan.extra[None], jnp.full(WRITTEN_OUT, plan.amount)])
    duration = jnp.concatenate([plan.extra_h[None], jnp.full(WRITTEN_OUT, plan.duration_h)])
    infused = duration > 0
    rate = jnp.where(infused, amount / jnp.where(infused, duration, 1.0), 0.0)
    return Doses(start, duration, jnp.where(infused, 0.0, amount), rate)
