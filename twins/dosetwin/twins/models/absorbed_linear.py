"""A linear model whose doses enter along an input function, by quadrature of the convolution.

What pulses with density u have brought into the amounts between `start` and `end` is

    sum_d amount_d integral over ages a in [lo_d, hi_d] of G(hi_d - a) u(a) da,

hi_d = end - t_d, lo_d = max(start - t_d, 0), G(tau) the amounts tau after a unit dose into the compartment
that the doses enter (in closed form). The ages are cut into panels that shrink geometrically towards both
ends (the density is singular at 0, G falls fast at hi) and at landmarks of the density, with Gauss and
Legendre's nodes on each. In the first panel the variable is a^s, s the power of the singularity, which makes
any integrable one regular (shapes of Weibull below 1, stages of Savic's function that are no whole number).
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
from dosetwin.twins.models.equations import Frozen, Named, check_names
from dosetwin.twins.models.input_functions import InputFunction
from dosetwin.twins.models.linear_system import LinearSystem
from dosetwin.twins.models.structure import Input, Parameters, Prepared, Pulses

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_TOWARDS_AN_END = 4.0 ** -np.arange(1, 11)


class _Both(NamedTuple):
    """What the linear model prepared, and the parameters of the input function."""

    linear: Prepared
    function: dict[str, Float[Array, ""]]


@dataclass(frozen=True)
class AbsorbedLinear:
    """`model` (a `Linear`, or any `LinearSystem` that is empty without doses) with an input function.

    AbsorbedLinear(one_compartment("first_order"), SavicTransit()) is Savic's model: n, MTT, ka, CL, V1.
    A dose with a RATE is an ordinary infusion; one into another compartment enters plainly.
    """

    model: Linear | LinearSystem
    function: InputFunction

    def __post_init__(self) -> None:
        check_names(
            self.model.compartments, (self.function.compartment,), "compartment of the input function"
        )

    @property
    def compartments(self) -> tuple[str, ...]:
        """Those of the linear model."""
        return self.model.compartments

    @property
    def required(self) -> tuple[str, ...]:
        """Those of the linear model and of the input function."""
        known = self.model.required
        return (*known, *(name for name in self.function.required if name not in known))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those of the linear model."""
        return self.model.outputs

    @property
    def inputs(self) -> Mapping[str, tuple[Input, ...]]:
        """Those of the linear model, but for the compartment that the function fills."""
        target = self.function.compartment
        plain = self.model.inputs[target][0]
        unfolded = Input(target, plain.fraction, plain.lag, plain.duration, plain.rate, function=True)
        return Frozen({**self.model.inputs, target: (unfolded,)})

    @property
    def dose_compartment(self) -> str:
        """Where the function enters."""
        return self.function.compartment

    @property
    def linear(self) -> bool:
        """Whether amounts superpose: as the linear model."""
        return self.model.linear

    def prepare(self, p: Parameters) -> _Both:
        """Both parts."""
        function = {name: getattr(p, name) for name in self.function.required}
        return _Both(self.model.prepare(p), function)

    def initial(self, q: _Both) -> Float[Array, " n"]:
        """Those of the linear model."""
        return self.model.initial(q.linear)

    def advance(
        self,
        q: _Both,
        x: Float[Array, " n"],
        rate: Float[Array, " n"],
        pulses: Pulses,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """The linear model's amounts, and the convolution of the pulses."""
        carried = self.model.advance(q.linear, x, rate, pulses, start, elapsed)
        if not pulses.start.shape[0]:
            return carried
        p = Named(**q.function)
        unit = jnp.zeros_like(x).at[self.compartments.index(self.function.compartment)].set(1.0)
        nothing = Pulses(jnp.zeros(0, x.dtype), jnp.zeros(0, x.dtype))

        def response(tau: Array) -> Array:
            return self.model.advance(q.linear, unit, jnp.zeros_like(x), nothing, start, tau)

        def entered(begun: Array, amount: Array) -> Array:
            lo, hi = jnp.maximum(start - begun, 0.0), jnp.maximum(start + elapsed - begun, 0.0)
            counts = (hi > lo) & (amount != 0)
            ages, weights = quadrature(
                self.function, p, jnp.where(counts, lo, 0.0), jnp.where(counts, hi, 1.0)
            )
            end = jnp.where(counts, hi, 1.0)
            brought = (weights[:, None] * jax.vmap(response)(jnp.maximum(end - ages, 0.0))).sum(axis=0)
            return jnp.where(counts, amount * brought, 0.0)

        total: Array = carried + jax.vmap(entered)(pulses.start, pulses.amount).sum(axis=0)
        return total

    def observe(self, q: _Both, x: Float[Array, " n"], t: Float[Array, ""]) -> Float[Array, " outputs"]:
        """Those of the linear model."""
        return self.model.observe(q.linear, x, t)


def quadrature(
    function: InputFunction, p: SimpleNamespace | Any, lo: Float[Array, ""], hi: Float[Array, ""]
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Ages in [lo, hi], and weights with the density in them: the integral of f u is sum(weights f(ages))."""
    length = hi - lo
    # where panels end is a choice and no function of the parameters: only lo and hi are differentiated
    marks = jax.lax.stop_gradient((function.landmarks(p) - lo) / length)
    towards = jnp.asarray(_TOWARDS_AN_END, lo.dtype)
    inner = jnp.clip(jnp.concatenate([towards, 1 - towards, marks]), towards[-1], 1.0)
    edges = jnp.sort(jnp.concatenate([inner, jnp.ones(1, lo.dtype)]))
    nodes, weights = (jnp.asarray(values, lo.dtype) for values in (_NODES, _WEIGHTS))

    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    ages = lo + length * (middle[:, None] + half[:, None] * nodes[None, :]).ravel()
    regular = length * (half[:, None] * weights[None, :]).ravel() * function.density(p, ages)

    s = function.power(p)
    first = lo + length * edges[0]
    begun = lo > 0
    below = jnp.where(begun, (jnp.where(begun, lo, first) / first) ** s, 0.0)
    v = below + (1 - below) * (nodes + 1) / 2
    early = first * v ** (1 / s)
    singular = first**s / s * (1 - below) / 2 * weights * function.regular(p, early)
    return jnp.concatenate([early, ages]), jnp.concatenate([singular, regular])
