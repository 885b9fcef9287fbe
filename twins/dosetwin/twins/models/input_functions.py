"""Input functions: a dose that enters over time along a density, superposed dose by dose.

A dose given at t_d enters at rate amount x u(t - t_d), the integral of u being 1; F scales the amount.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float


class InputFunction(Protocol):
    """A density over the age of a dose, and where the dose enters."""

    @property
    def compartment(self) -> str:
        """The compartment that the doses enter."""
        ...

    @property
    def smooth(self) -> bool:
        """Whether the density is finite at age 0; where not, equations use `share`."""
        ...

    def density(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """u(age), 1/time; 0 at ages <= 0."""
        ...

    def share(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The integral of u from 0 to age; 0 at ages <= 0."""
        ...


@dataclass(frozen=True)
class SavicTransit:
    """Absorption through n transit compartments, n not a whole number; the density of a gamma distribution.

    u(a) = k (k a)^n e^{-k a} / Gamma(n + 1), k = (n + 1) / MTT. Here with the exact Gamma function where the
    paper uses Stirling's formula. n >= 0. `stages`, `mean_transit_time`: the names of n and MTT.

    Source: Savic, Jonker, Kerbusch & Karlsson 2007, doi:10.1007/s10928-007-9066-0.
    """

    compartment: str = "depot"
    stages: str = "n"
    mean_transit_time: str = "MTT"

    @property
    def smooth(self) -> bool:
        """Finite at age 0, as n >= 0."""
        return True

    def density(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The gamma density."""
        n, mean = getattr(p, self.stages), getattr(p, self.mean_transit_time)
        k = (n + 1) / mean
        entered = age > 0
        z = k * jnp.where(entered, age, mean)
        return jnp.where(entered, k * jnp.exp(n * jnp.log(z) - z - gammaln(n + 1)), 0.0)

    def share(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The regularised incomplete Gamma function (its derivative in n is of first order only)."""
        from jax.scipy.special import gammainc

        n, mean = getattr(p, self.stages), getattr(p, self.mean_transit_time)
        entered = age > 0
        share: Array = gammainc(n + 1, (n + 1) / mean * jnp.where(entered, age, mean))
        return jnp.where(entered, share, 0.0)


@dataclass(frozen=True)
class Weibull:
    """Absorption along a Weibull density: u(a) = (b/T) (a/T)^{b-1} e^{-(a/T)^b}.

    Shape b > 0 (below 1 the density is infinite at 0, which the share 1 - e^{-(a/T)^b} is not), scale T (time
    by which 63 % has entered). `scale`, `shape`: the names of T and b.

    Source: Langenbucher 1972, doi:10.1111/j.2042-7158.1972.tb08930.x; Piotrovskii 1987,
    doi:10.1007/BF01068420 (in pharmacokinetics).
    """

    compartment: str = "depot"
    scale: str = "T_absorption"
    shape: str = "shape"

    @property
    def smooth(self) -> bool:
        """No: infinite at age 0 for shapes below 1."""
        return False

    def density(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The Weibull density."""
        T, b = getattr(p, self.scale), getattr(p, self.shape)
        entered = age > 0
        w = jnp.where(entered, age, T) / T
        return jnp.where(entered, b / T * w ** (b - 1) * jnp.exp(-(w**b)), 0.0)

    def share(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The Weibull distribution."""
        T, b = getattr(p, self.scale), getattr(p, self.shape)
        entered = age > 0
        return jnp.where(entered, -jnp.expm1(-((jnp.where(entered, age, T) / T) ** b)), 0.0)
