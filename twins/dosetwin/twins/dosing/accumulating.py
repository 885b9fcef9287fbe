"""A structural model that also accumulates what its observed quantity c(t) does in a window of time.

Between two events c(t) is smooth. The engine's step from one event to the next is the place to integrate it:
there every lag, infusion end and reset of the individual is known. On the part of the step inside the window,
[a, b], c is evaluated at the seven Gauss-Lobatto-Kronrod nodes, both ends among them:

    area   = (b - a)/2 sum_i w_i c_i, its error bounded by the difference from the four-point Lobatto rule
    levels = the interpolating polynomial at 33 equal points; an extreme is that of the parabola through the
             three nearest, its error bounded by what the parabola adds; times above a threshold are linear
             between two points, their error bounded by the difference from every second point

Where elimination is linear and from the central compartment, the area follows from the mass balance exactly:
area = (amount at a + entered - amount at b) / CL.

Source: Gander & Gautschi 2000, BIT 40:84, doi:10.1023/A:1022318402393 (nodes and weights).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.models.structure import Input, Parameters, Prepared, Pulses, Structure
from dosetwin.twins.population_model import Observed
from dosetwin.twins.simulation.steady_state import periodic_state

NODES = np.array([-1, -np.sqrt(2 / 3), -np.sqrt(1 / 5), 0, np.sqrt(1 / 5), np.sqrt(2 / 3), 1])
KRONROD = np.array([77, 432, 625, 672, 625, 432, 77]) / 1470
LOBATTO = np.array([1, 0, 5, 0, 5, 0, 1]) / 6
POINTS = 33
BIG = 1e300
WINDOW = ("window_begin", "window_end", "threshold_low", "threshold_high")
"""Parameters that the caller adds to the individual ones."""
ACCUMULATED = (
    "area",
    "area_error",
    "highest",
    "lowest",
    "level_error",
    "above_low",
    "above_high",
    "time_error",
)


def _interpolation() -> np.ndarray[Any, np.dtype[np.float64]]:
    """The polynomial through the nodes at POINTS equal points, [POINTS, 7]."""
    at = np.linspace(-1, 1, POINTS)
    basis = np.ones((POINTS, 7))
    for i in range(7):
        for j in range(7):
            if i != j:
                basis[:, i] *= (at - NODES[j]) / (NODES[i] - NODES[j])
    return basis


INTERPOLATION = _interpolation()


class Watched(NamedTuple):
    """What the base structure prepared, and the individual parameters by name."""

    base: Prepared
    p: dict[str, Float[Array, ""]]


@dataclass(frozen=True)
class Accumulating:
    """`base` with ACCUMULATED as further compartments that no dose can enter.

    `levels`: whether highest, lowest and the times above thresholds are wanted too; else only the area.
    Its outputs are those of `base`, and last the watched quantity.
    """

    base: Structure
    observed: Observed
    levels: bool

    @property
    def compartments(self) -> tuple[str, ...]:
        """Those of `base`, then the accumulated."""
        return (*self.base.compartments, *(f"accumulated_{name}" for name in ACCUMULATED))

    @property
    def required(self) -> tuple[str, ...]:
        """Those of `base`."""
        return self.base.required

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those of `base`, then the watched quantity."""
        return (*self.base.outputs, "accumulated_quantity")

    @property
    def inputs(self) -> Mapping[str, tuple[Input, ...]]:
        """Those of `base`."""
        return self.base.inputs

    @property
    def dose_compartment(self) -> str:
        """That of `base`."""
        return self.base.dose_compartment

    @property
    def linear(self) -> bool:
        """No: what is accumulated does not superpose."""
        return False

    @property
    def balanced(self) -> bool:
        """Whether the area follows from the mass balance."""
        return isinstance(self.base, Linear) and self.observed.output in ("", "central")

    def prepare(self, p: Parameters) -> Watched:
        """Of `base`."""
        return Watched(self.base.prepare(p), dict(vars(p)))

    def initial(self, q: Watched) -> Float[Array, " n"]:
        """Nothing accumulated."""
        x = self.base.initial(q.base)
        return jnp.concatenate([x, jnp.array([0.0, 0.0, -BIG, BIG, 0.0, 0.0, 0.0, 0.0], x.dtype)])

    def periodic_state(self, q: Watched, into: Array, *dose: Array) -> tuple[Array, Array]:
        """That of `base`, with nothing accumulated."""
        n = len(self.base.compartments)
        x, running = periodic_state(self.base, q.base, into[:n], *dose)
        return jnp.concatenate([x, self.initial(q)[n:]]), jnp.pad(running, (0, len(ACCUMULATED)))

    def advance(
        self,
        q: Watched,
        x: Float[Array, " n"],
        rate: Float[Array, " n"],
        pulses: Pulses,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """Amounts as `base` says, and what the part of the step in the window adds."""
        n = len(self.base.compartments)
        amounts = self.base.advance(q.base, x[:n], rate[:n], pulses, start, elapsed)
        a = jnp.clip(q.p["window_begin"] - start, 0.0, elapsed)
        b = jnp.clip(q.p["window_end"] - start, 0.0, elapsed)

        def add(kept: Array) -> Array:
            return self._added(q, x[:n], rate[:n], pulses, start, a, b, kept)

        # outside the window nothing is evaluated, as long as all samples share their events
        return jnp.concatenate([amounts, jax.lax.cond(b > a, add, lambda kept: kept, x[n:])])

    def observe(self, q: Watched, x: Float[Array, " n"], t: Float[Array, ""]) -> Float[Array, " outputs"]:
        """The outputs of `base`, and the watched quantity."""
        y = self.base.observe(q.base, x[: len(self.base.compartments)], t)
        return jnp.append(y, self._quantity(q, y))

    def _quantity(self, q: Watched, y: Float[Array, " outputs"]) -> Float[Array, ""]:
        output = self.observed.output
        if callable(output):
            named = dict(zip(self.base.outputs, y, strict=True))
            value: Array = output(SimpleNamespace(**q.p), SimpleNamespace(**named))
            return value
        return y[self.base.outputs.index(output) if output else 0]

    def _added(
        self,
        q: Watched,
        x: Array,
        rate: Array,
        pulses: Pulses,
        start: Array,
        a: Array,
        b: Array,
        kept: Array,
    ) -> Array:
        at = a + 0.5 * (b - a) * (1 + jnp.asarray(NODES, x.dtype))
        if self.balanced and not self.levels:
            at = at[jnp.array([0, 6])]
        states = self._states(q, x, rate, pulses, start, at)
        area, area_error, highest, lowest, level_error, above_low, above_high, time_error = kept
        if self.balanced:
            entered = rate.sum() * (b - a)
            area = area + (states[0].sum() + entered - states[-1].sum()) / q.p["CL"]
        if not self.balanced or self.levels:
            c = jax.vmap(lambda s, t: self._quantity(q, self.base.observe(q.base, s, start + t)))(states, at)
        if not self.balanced:
            fine = 0.5 * (b - a) * (jnp.asarray(KRONROD, x.dtype) @ c)
            area = area + fine
            area_error = area_error + jnp.abs(fine - 0.5 * (b - a) * (jnp.asarray(LOBATTO, x.dtype) @ c))
        if self.levels:
            dense = jnp.asarray(INTERPOLATION, x.dtype) @ c
            top, bottom = _vertex(dense), -_vertex(-dense)
            highest, lowest = jnp.maximum(highest, top), jnp.minimum(lowest, bottom)
            level_error = jnp.maximum(level_error, jnp.maximum(top - dense.max(), dense.min() - bottom))
            low, high = q.p["threshold_low"], q.p["threshold_high"]
            shares = _share_above(dense, low), _share_above(dense, high)
            coarse = _share_above(dense[::2], low), _share_above(dense[::2], high)
            above_low, above_high = above_low + (b - a) * shares[0], above_high + (b - a) * shares[1]
            apart = jnp.abs(shares[0] - coarse[0]) + jnp.abs(shares[1] - coarse[1])
            time_error = time_error + (b - a) * apart
        return jnp.stack(
            [area, area_error, highest, lowest, level_error, above_low, above_high, time_error]
        ).astype(kept.dtype)

    def _states(
        self, q: Watched, x: Array, rate: Array, pulses: Pulses, start: Array, at: Float[Array, " m"]
    ) -> Float[Array, "m n"]:
        """Amounts at start + at: side by side for closed forms, from one to the next for equations."""
        if self.base.linear:
            return jax.vmap(lambda s: self.base.advance(q.base, x, rate, pulses, start, s))(at)

        def on(carry: tuple[Array, Array], s: Array) -> tuple[tuple[Array, Array], Array]:
            state, now = carry
            new = self.base.advance(q.base, state, rate, pulses, start + now, s - now)
            return (new, s), new

        _, states = jax.lax.scan(on, (x, jnp.zeros_like(at[0])), at)
        return states


def _vertex(c: Float[Array, " m"]) -> Float[Array, ""]:
    """The maximum of points on a smooth curve, by the parabola through the highest one and its neighbours."""
    k = jnp.argmax(c)
    inside = (k > 0) & (k < c.shape[0] - 1)
    left, middle, right = c[jnp.maximum(k - 1, 0)], c[k], c[jnp.minimum(k + 1, c.shape[0] - 1)]
    bend = 2 * middle - left - right
    rise = (right - left) ** 2 / (8 * jnp.where(bend > 0, bend, 1.0))
    return middle + jnp.where(inside & (bend > 0), rise, 0.0)


def _share_above(c: Float[Array, " m"], threshold: Float[Array, ""]) -> Float[Array, ""]:
    """Share of the interval in which the broken line through c is above the threshold."""
    apart = c - threshold
    left, right = apart[:-1], apart[1:]
    up, down = jnp.maximum(left, 0) + jnp.maximum(right, 0), jnp.maximum(-left, 0) + jnp.maximum(-right, 0)
    # of a crossing the longer side is in proportion to its height; a line at the threshold is not above it
    share: Array = jnp.where(up > 0, up / jnp.where(up + down > 0, up + down, 1.0), 0.0)
    return share.mean()
