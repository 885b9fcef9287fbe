"""All plans of a grid scored at once: what is linear in the dose is added up, not simulated again.

The model is linear, so under one sample the exposure of (extra dose x, amount a every tau) is

    E = E_0 + x E_extra(d_x) + a E_tau(d_a)

with E_0 what happens without further doses and E_extra, E_tau the answers to one unit over the infusion time
d that the amount takes: exact, and of each only as many as there are infusion times. Answers are compiled,
sums are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.models.compartments import Doses, Linear, State, modes
from dosetwin.twins.policies.regimen_aims import Aim, Exposure, judge, utility
from dosetwin.twins.policies.regimen_plans import NEVER_H, Plan, Products
from dosetwin.twins.policies.regimen_response import Plans, answer, course, undosed

Values = npt.NDArray[np.float64]


class Standing(NamedTuple):
    """A patient now: parameters ahead [S, P], amounts, doses still running, and of today what is past.

    past_area [S]: the area of today until now; left_h: how much of today is left.
    """

    theta: Float[Array, "S P"]
    state: State
    running: Doses
    past_area: Float[Array, " S"]
    left_h: Float[Array, ""]


class Answers(NamedTuple):
    """Of every sample: areas until `day_edges` without doses [S, 4], of units [S, U, 4], of extras [S, X, 4].

    Levels at the times of every unit (`day_times`): [S, U, 6], its own [S, U, 6], those of an extra dose
    [S, X, U, 6]; no times (0 in place of 6) where no aim is a level.
    """

    base_area: Any
    unit_area: Any
    extra_area: Any
    base_level: Any
    unit_level: Any
    extra_level: Any


def day_edges(left_h: Any) -> Array:
    """Hours from now at which areas are cut: end of today, 24 h, end of tomorrow, the day after."""
    left = jnp.asarray(left_h)
    return jnp.stack([left, jnp.full_like(left, 24.0), left + 24.0, left + 48.0])


def day_times(plan: Plans, left_h: Any, xp: Any = jnp) -> Any:
    """Hours from now [..., 6]: trough, then end of infusion, of the last dose of each of the days.

    The last dose of a day is the first one due within the last interval before the day's end. `xp`: NumPy
    or JAX's.
    """
    first, interval, duration = (
        xp.asarray(leaf)[..., None] for leaf in (plan.first_h, plan.interval_h, plan.duration_h)
    )
    ends = xp.asarray(left_h)[..., None] + xp.array([0.0, 24.0, 48.0])
    due = first + xp.maximum(xp.ceil((ends - interval - first) / interval - 1e-9), 0.0) * interval
    return xp.concatenate([due, due + duration], axis=-1)


def windows(past_area: Any, area: Any) -> Any:
    """Areas of today, tomorrow, the day after and the next 24 h [..., 4], from areas until `day_edges`."""
    today, ahead, tomorrow, after = (area[..., k] for k in range(4))
    return np.stack([past_area + today, tomorrow - today, after - tomorrow, ahead], axis=-1)


def answers(structure: Linear, levels: bool, standing: Standing, units: Plans, extras: Plans) -> Answers:
    """One patient. `units` [U]: one unit a dose; `extras` [X]: one unit now and no more."""
    cuts = day_edges(standing.left_h)
    times = day_times(units, standing.left_h)[:, : 6 if levels else 0]
    U, T = times.shape

    def one(theta: Array, state: State) -> Answers:
        m = modes(structure, theta)
        base = undosed(structure, m, state, standing.running, times.ravel(), cuts)
        each = jax.vmap(lambda plan, at: answer(structure, m, plan, at, cuts))(units, times)
        once = jax.vmap(lambda plan: answer(structure, m, plan, times.ravel(), cuts))(extras)
        return Answers(
            base.area,
            each.area,
            once.area,
            base.concentration.reshape(U, T),
            each.concentration,
            once.concentration.reshape(extras.extra.shape[0], U, T),
        )

    found: Answers = jax.vmap(one)(standing.theta, standing.state)
    return found


def follow_plan(
    structure: Linear, standing: Standing, plan: Plans, times_h: Float[Array, " T"]
) -> Float[Array, "S T"]:
    """Concentrations of one patient under one plan."""

    def one(theta: Array, state: State) -> Array:
        return course(structure, theta, state, standing.running, plan, times_h, jnp.zeros(1)).concentration

    found: Array = jax.vmap(one)(standing.theta, standing.state)
    return found


class Kernels(NamedTuple):
    """Compiled over patients: answers, follow."""

    answers: Callable[..., Answers]
    follow: Callable[..., Array]


@cache
def kernels(structure: Linear, levels: bool) -> Kernels:
    """One set a structure; call them in double precision."""
    return Kernels(
        jax.jit(jax.vmap(partial(answers, structure, levels))),
        jax.jit(jax.vmap(partial(follow_plan, structure))),
    )


class Grid:
    """Every plan of `products`, (extra, interval, amount) [X, I, A], extra 0 first, made of unit answers."""

    def __init__(self, products: Products, aims: Sequence[Aim]) -> None:
        self.products, self.aims = products, tuple(aims)
        self.levels = any(aim.measure != "auc24" for aim in aims)
        self.extras, self.amounts = np.array([0.0, *products.extras]), np.array(products.amounts)
        self.intervals = np.array(products.intervals_h)
        self._unit_h, self._of_amount = np.unique(
            [products.infusion_h(a) for a in products.amounts], return_inverse=True
        )
        self._extra_h, self._of_extra = np.unique(
            [products.infusion_h(x) for x in products.extras] or [0.0], return_inverse=True
        )

    def units(self, first_h: Values, running: Sequence[Plan]) -> tuple[Plans, Plans]:
        """The units of n patients [n, U], and of an extra dose [n, X'].

        `first_h` [n, T, 2] without and with an extra dose; one unit more is the regimen that is `running`.
        """
        n, T, D = len(first_h), len(self.intervals), len(self._unit_h)
        first = np.broadcast_to(np.moveaxis(first_h, 2, 1)[..., None], (n, 2, T, D)).reshape(n, -1)
        interval = np.broadcast_to(self.intervals[:, None], (n, 2, T, D)).reshape(n, -1)
        duration = np.broadcast_to(self._unit_h, (n, 2, T, D)).reshape(n, -1)
        table = [np.zeros_like(first), np.ones_like(first), np.ones_like(first), duration, interval, first]
        own: Any = np.array([plan.numbers(self.products) for plan in running]).T[:, :, None]
        own[2] = 1.0
        shape = (n, len(self._extra_h))
        none = [np.zeros(shape), np.ones(shape), np.full(shape, 24.0), np.full(shape, NEVER_H)]
        once: list[Any] = [np.ones(shape), np.broadcast_to(self._extra_h, shape), *none]
        each: list[Any] = [np.concatenate(both, axis=1) for both in zip(table, own, strict=True)]
        return Plans(*each), Plans(*once)

    def exposure(self, seen: Answers, past_area: Values, x: Any, k: Any, a: Any) -> Exposure:
        """Of one patient under the plans at places (x, k, a) of the grid, indices that broadcast."""
        unit = ((np.asarray(x) > 0) * len(self.intervals) + k) * len(self._unit_h) + self._of_amount[a]
        return self._mixed(seen, past_area, np.asarray(x), unit, self.amounts[a])

    def kept(self, seen: Answers, past_area: Values, amount: float) -> Exposure:
        """Of one patient under what is running (0: nothing), [S, 1]."""
        return self._mixed(seen, past_area, np.zeros(1, int), np.array([-1]), np.array([amount]))

    def _mixed(self, seen: Answers, past_area: Values, x: Any, unit: Any, amount: Any) -> Exposure:
        # single precision: half the memory, and chances need no more
        single = [np.asarray(leaf, np.float32) for leaf in seen]
        base, each, once, base_level, unit_level, extra_level = single
        which = self._of_extra[np.maximum(x - 1, 0)]
        size, dose = self.extras[x].astype(np.float32)[..., None], amount.astype(np.float32)[..., None]
        shape = (len(base), *(1,) * np.ndim(dose[..., 0]), 4)
        area = base.reshape(shape) + size * once[:, which] + dose * each[:, unit]
        past = np.asarray(past_area, np.float32).reshape(shape[:-1])
        if not self.levels:
            blank = np.zeros((*area.shape[:-1], 3), np.float32)
            return Exposure(windows(past, area), blank, blank)
        level = base_level[:, unit] + size * extra_level[:, which, unit] + dose * unit_level[:, unit]
        return Exposure(windows(past, area), level[..., :3], level[..., 3:])

    def scores(self, seen: Answers, past_area: Values, edges: Values) -> tuple[Values, Values, Values]:
        """Utility, chance of above and of harm ahead of one patient [X, I, A]."""
        x, k, a = np.ogrid[: len(self.extras), : len(self.intervals), : len(self.amounts)]
        found = judge(self.aims, self.exposure(seen, past_area, x, k, a), edges.astype(np.float32))
        return utility(found).mean(axis=0), found.ahead_above.mean(axis=0), found.ahead_harm.mean(axis=0)
