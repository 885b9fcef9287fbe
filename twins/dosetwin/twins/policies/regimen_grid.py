"""All plans of a grid scored at once: what is linear in the dose is added up, not simulated again.

The model is linear, so under one sample the exposure of (extra dose x, amount a every tau) is

    E = E_0 + x E_extra + a E_tau

with E_0 what happens without further doses and E_extra, E_tau the answers to one unit. The infusion time of
the units is the shortest one; the plans that are kept are simulated exactly afterwards
(`regimen_response.course`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.compartments import Doses, Linear, State
from dosetwin.twins.policies.regimen_aims import Aim, Exposure, judge, utility
from dosetwin.twins.policies.regimen_response import Plans, course


class Standing(NamedTuple):
    """A patient now: parameters ahead [S, P], amounts, doses still running, and of today what is past.

    past_area [S]: the area of today until now; left_h: how much of today is left.
    """

    theta: Float[Array, "S P"]
    state: State
    running: Doses
    past_area: Float[Array, " S"]
    left_h: Float[Array, ""]


class GridScores(NamedTuple):
    """Of every (extra, interval, amount): utility, chance of above and of harm ahead [X, I, A]."""

    utility: Float[Array, "X I A"]
    above: Float[Array, "X I A"]
    harm: Float[Array, "X I A"]


def day_edges(left_h: Any) -> Array:
    """Hours from now at which areas are cut: end of today, 24 h, end of tomorrow, the day after."""
    left = jnp.asarray(left_h)
    return jnp.stack([left, jnp.full_like(left, 24.0), left + 24.0, left + 48.0])


def day_times(plan: Plans, left_h: Any) -> Array:
    """Hours from now [6]: trough, then end of infusion, of the last dose of each of the days.

    The last dose of a day is the first one due within the last interval before the day's end.
    """
    ends = jnp.asarray(left_h) + jnp.array([0.0, 24.0, 48.0])
    n = jnp.maximum(jnp.ceil((ends - plan.interval_h - plan.first_h) / plan.interval_h - 1e-9), 0.0)
    due = plan.first_h + n * plan.interval_h
    return jnp.concatenate([due, due + plan.duration_h])


def windows(past_area: Any, area: Any) -> Array:
    """Areas of today, tomorrow, the day after and the next 24 h [..., 4], from areas until `day_edges`."""
    today, ahead, tomorrow, after = (area[..., k] for k in range(4))
    return jnp.stack([past_area + today, tomorrow - today, after - tomorrow, ahead], axis=-1)


def score_grid(
    structure: Linear,
    aims: Sequence[Aim],
    standing: Standing,
    edges: Float[Array, "aims 3"],
    extras: Float[Array, " X"],
    amounts: Float[Array, " A"],
    intervals_h: Float[Array, " I"],
    first_h: Float[Array, "I 2"],
    duration_h: Float[Array, ""],
) -> GridScores:
    """One patient. `first_h`: when each interval's first dose is due without and with an extra dose now."""
    cuts = day_edges(standing.left_h)
    zero = jnp.zeros(())
    levels = any(aim.measure != "auc24" for aim in aims)

    def units(theta: Array, state: State, with_extra: bool) -> tuple[Any, Any, Any]:
        def of_interval(interval: Array, firsts: Array) -> tuple[Any, Any, Any]:
            unit = Plans(zero, duration_h, zero + 1.0, duration_h, interval, firsts[int(with_extra)])
            times = day_times(unit, standing.left_h) if levels else jnp.zeros(0)
            none = jax.tree.map(jnp.zeros_like, standing.running)
            empty = jax.tree.map(jnp.zeros_like, state)
            base = course(structure, theta, state, standing.running, unit._replace(amount=zero), times, cuts)
            each = course(structure, theta, empty, none, unit, times, cuts)
            once = course(
                structure, theta, empty, none, unit._replace(amount=zero, extra=zero + 1), times, cuts
            )
            return base, each, once

        return jax.vmap(of_interval)(intervals_h, first_h)

    def scores(with_extra: bool, sizes: Array) -> tuple[Array, Array, Array]:
        base, each, once = jax.vmap(partial(units, with_extra=with_extra))(standing.theta, standing.state)

        def mixed(leaf: str) -> Array:
            b, e, o = (getattr(part, leaf)[:, None, :, None, :] for part in (base, each, once))
            total = b + sizes[None, :, None, None, None] * o + amounts[None, None, None, :, None] * e
            # single precision: half the memory, and chances need no more
            single: Array = total.astype(jnp.float32)
            return single

        past = standing.past_area.astype(jnp.float32)[:, None, None, None]
        area = windows(past, mixed("area"))
        level = mixed("concentration") if levels else jnp.zeros((*area.shape[:-1], 6))
        found = judge(aims, Exposure(area, level[..., :3], level[..., 3:]), edges)
        return utility(found).mean(0), found.ahead_above.mean(0), found.ahead_harm.mean(0)

    parts = [scores(False, jnp.zeros(1))]
    if extras.shape[0] > 1:
        parts.append(scores(True, extras[1:]))
    return GridScores(*(jnp.concatenate(both) for both in zip(*parts, strict=True)))


class Simulated(NamedTuple):
    """Of every sample and plan: areas [S, C, 4], troughs and peaks [S, C, 3]."""

    area: Float[Array, "S C 4"]
    trough: Float[Array, "S C 3"]
    peak: Float[Array, "S C 3"]


def simulate_plans(structure: Linear, standing: Standing, plans: Plans) -> Simulated:
    """One patient, C plans exactly."""

    def one(theta: Array, state: State, plan: Plans) -> tuple[Array, Array]:
        times = day_times(plan, standing.left_h)
        found = course(structure, theta, state, standing.running, plan, times, day_edges(standing.left_h))
        return found.concentration, found.area

    of_sample = jax.vmap(one, in_axes=(None, None, 0))
    level, area = jax.vmap(of_sample, in_axes=(0, 0, None))(standing.theta, standing.state, plans)
    return Simulated(windows(standing.past_area[:, None], area), level[..., :3], level[..., 3:])


def follow_plan(
    structure: Linear, standing: Standing, plan: Plans, times_h: Float[Array, " T"]
) -> Float[Array, "S T"]:
    """Concentrations of one patient under one plan."""

    def one(theta: Array, state: State) -> Array:
        return course(structure, theta, state, standing.running, plan, times_h, jnp.zeros(1)).concentration

    found: Array = jax.vmap(one)(standing.theta, standing.state)
    return found


class Kernels(NamedTuple):
    """Compiled over patients: grid, simulate, follow."""

    grid: Callable[..., GridScores]
    simulate: Callable[..., Simulated]
    follow: Callable[..., Array]


@cache
def kernels(structure: Linear, aims: tuple[Aim, ...]) -> Kernels:
    """One set a structure and aims; call them in double precision."""
    grid = jax.vmap(partial(score_grid, structure, aims), in_axes=(0, 0, None, None, None, 0, None))
    follow = jax.vmap(partial(follow_plan, structure), in_axes=(0, 0, None))
    return Kernels(jax.jit(grid), jax.jit(jax.vmap(partial(simulate_plans, structure))), jax.jit(follow))
