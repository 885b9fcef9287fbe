"""How a parameter varies: between subjects, and within one between occasions.

With v the value that is typical under the covariates and eta ~ N(0, variance):

    LogNormal   v exp(eta)                              always positive
    Normal      v + eta
    LogitNormal low + (high - low) expit(logit((v - low)/(high - low)) + eta)
    BoxCox      v exp(((e^eta)^shape - 1)/shape)        Petersson 2009, doi:10.1007/s11095-009-9931-1

Between-subject and inter-occasion etas of one parameter add before the transformation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dosetwin.twins.models.errors import ModelError


@dataclass(frozen=True)
class Variability:
    """The base: the variance of eta, and whether a population fit leaves it alone."""

    variance: float
    fixed: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise ModelError(
                f"found variance {self.variance} of a {type(self).__name__} parameter; expected above 0",
                remedy="leave variability out for a parameter that does not vary between people",
            )

    def apply(self, value: Any, eta: Any) -> Any:
        """The individual value; elementwise."""
        raise NotImplementedError


@dataclass(frozen=True)
class LogNormal(Variability):
    """parameter = typical x exp(eta), eta ~ N(0, variance)."""

    @classmethod
    def from_cv(cls, cv: float) -> LogNormal:
        """From a coefficient of variation: omega^2 = log(1 + cv^2)."""
        return cls(math.log1p(cv**2))

    def apply(self, value: Any, eta: Any) -> Any:
        """See the module."""
        return value * jnp.exp(eta)


@dataclass(frozen=True)
class Normal(Variability):
    """parameter = typical + eta; the variance is in the parameter's unit squared."""

    def apply(self, value: Any, eta: Any) -> Any:
        """See the module."""
        return value + eta


@dataclass(frozen=True)
class LogitNormal(Variability):
    """Between `low` and `high`, normal on the logit scale."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise ModelError(f"found a logit-normal between {self.low} and {self.high}; expected low < high")

    def apply(self, value: Any, eta: Any) -> Any:
        """See the module."""
        share = (value - self.low) / (self.high - self.low)
        share = jnp.clip(share, 1e-12, 1 - 1e-12)
        return self.low + (self.high - self.low) * jax.nn.sigmoid(jnp.log(share / (1 - share)) + eta)


@dataclass(frozen=True)
class BoxCox(Variability):
    """Skewed log-normal; `shape` 0 would be the log-normal itself."""

    shape: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape == 0:
            raise ModelError("found shape 0 of a Box-Cox parameter", remedy="use LogNormal")

    def apply(self, value: Any, eta: Any) -> Any:
        """See the module."""
        return value * jnp.exp(jnp.expm1(self.shape * eta) / self.shape)
