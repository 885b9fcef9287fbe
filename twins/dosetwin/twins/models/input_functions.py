"""Input functions: a dose that enters over time along a density, superposed dose by dose.

A dose given at t_d enters at rate amount x u(t - t_d), the integral of u being 1; F scales the amount.
Near age 0 both densities are a^(s - 1) times something regular: s is their `power`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
from jax.scipy.special import gammainc, gammaln
from jaxtyping import Array, Float


class InputFunction(Protocol):
    """A density over the age of a dose, and where the dose enters."""

    @property
    def compartment(self) -> str:
        """The compartment that the doses enter."""
        ...

    @property
    def required(self) -> tuple[str, ...]:
        """The names of its parameters."""
        ...

    @property
    def smooth(self) -> bool:
        """Whether the density is finite at age 0; where not, equations use `share`."""
        ...

    def power(self, p: Any) -> Any:
        """S > 0 in u(a) = a^(s - 1) v(a)."""
        ...

    def regular(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """v(age) for ages >= 0, finite everywhere."""
        ...

    def landmarks(self, p: Any) -> Float[Array, " L"]:
        """Ages between which the density is easy to integrate; beyond the last it is nothing."""
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
    def required(self) -> tuple[str, ...]:
        """The names of n and MTT."""
        return self.stages, self.mean_transit_time

    @property
    def smooth(self) -> bool:
        """Finite at age 0, as n >= 0."""
        return True

    def _rate(self, p: Any) -> tuple[Any, Any]:
        n = getattr(p, self.stages)
        return n, (n + 1) / getattr(p, self.mean_transit_time)

    def power(self, p: Any) -> Any:
        """N + 1."""
        return getattr(p, self.stages) + 1

    def regular(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """k^{n+1} e^{-k a} / Gamma(n + 1)."""
        n, k = self._rate(p)
        return jnp.exp((n + 1) * jnp.log(k) - k * age - gammaln(n + 1))

    def landmarks(self, p: Any) -> Float[Array, " L"]:
        """Mean and standard deviations about it: (n + 1 + d sqrt(n + 1)) / k."""
        n, k = self._rate(p)
        places = jnp.array([-6.0, -4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5, 6.5, 9.0, 13.0, 20.0, 40.0])
        marks: Array = (n + 1 + places * jnp.sqrt(n + 1)) / k
        return marks

    def density(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The gamma density."""
        n, k = self._rate(p)
        entered = age > 0
        z = k * jnp.where(entered, age, 1 / k)
        return jnp.where(entered, k * jnp.exp(n * jnp.log(z) - z - gammaln(n + 1)), 0.0)

    def share(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The regularised incomplete Gamma function (its derivative in n is of first order only)."""
        n, k = self._rate(p)
        entered = age > 0
        share: Array = gammainc(n + 1, k * jnp.where(entered, age, 1 / k))
        return jnp.where(entered, share, 0.0)


@dataclass(frozen=True)
class Weibull:
    """Absorption along a Weibull density: u(a) = (b/T) (a/T)^{b-1} e^{-(a/T)^b}.

    Shape b > 0 (below 1 the density is infinite at 0, which the share 1 - e^{-(a/T)^b} is not), scale T (time
    by which 63 % has entered). `scale`, `shape`: the names of T and b.

    Source: Piotrovskii 1987, doi:10.1007/BF01068420.
    """

    compartment: str = "depot"
    scale: str = "T_absorption"
    shape: str = "shape"

    @property
    def required(self) -> tuple[str, ...]:
        """The names of T and b."""
        return self.scale, self.shape

    @property
    def smooth(self) -> bool:
        """No: infinite at age 0 for shapes below 1."""
        return False

    def power(self, p: Any) -> Any:
        """The shape b."""
        return getattr(p, self.shape)

    def regular(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """B T^{-b} e^{-(a/T)^b}."""
        T, b = getattr(p, self.scale), getattr(p, self.shape)
        v: Array = b * T**-b * jnp.exp(-self._hazard(p, age))
        return v

    def _hazard(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        T, b = getattr(p, self.scale), getattr(p, self.shape)
        entered = age > 0
        return jnp.where(entered, (jnp.where(entered, age, T) / T) ** b, 0.0)

    def landmarks(self, p: Any) -> Float[Array, " L"]:
        """The ages by which e^{-w} is left, over the range of w."""
        T, b = getattr(p, self.scale), getattr(p, self.shape)
        w = jnp.array([1e-4, 3e-3, 0.03, 0.15, 0.4, 0.8, 1.4, 2.2, 4.0, 7.0, 12.0, 22.0, 40.0])
        marks: Array = T * w ** (1 / b)
        return marks

    def density(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The Weibull density."""
        T, b = getattr(p, self.scale), getattr(p, self.shape)
        entered = age > 0
        z = jnp.where(entered, age, T) / T
        return jnp.where(entered, b / T * z ** (b - 1) * jnp.exp(-(z**b)), 0.0)

    def share(self, p: Any, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """The Weibull distribution."""
        return -jnp.expm1(-self._hazard(p, age))
