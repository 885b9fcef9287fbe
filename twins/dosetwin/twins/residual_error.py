"""What an observation is around its prediction: residual errors, censoring, categories, counts.

Every error gives, for observation y with prediction f and coefficients s (standard deviations and the like,
in the order of `coefficients`):

    half_deviance = -log p(y | f) without constants, so that for a measured normal y with variance V(f)
                    2 half_deviance = (y - f)^2 / V + log V                         (NONMEM's contribution)
    information   = the expected second derivative of half_deviance in f; normal: 1/V + (V'/V)^2 / 2

Censoring: with u = (y - f)/sqrt(V), a value below y has -log Phi(u), above y -log Phi(-u), between `lower`
and y -log(Phi(u) - Phi(u_lower)) (Beal 2001, J Pharmacokinet Pharmacodyn 28:481, method M3; his M1 is to drop
those rows, see `dosetwin.twins.data.nonmem`). Correlated residuals are out of scope. All functions are
elementwise over arrays of one shape; they differentiate in f and s. `censored` and `lower` may be None:
nothing is censored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jax.scipy.stats import norm
from jaxtyping import Array

from dosetwin.twins.models.errors import ModelError

Maybe = Array | None
SMALLEST = 1e-9
"""Predictions are held above this on a log scale, and standard deviations above it everywhere."""


def _positive(owner: str, values: Mapping[str, float]) -> None:
    wrong = {name: value for name, value in values.items() if not (math.isfinite(value) and value > 0)}
    if wrong:
        raise ModelError(f"found {owner} with {wrong}; expected numbers above 0")


class ErrorModel:
    """The base of all errors: a normal error on a scale (`scale` is the identity or the logarithm)."""

    fixed: tuple[str, ...] = ()

    @property
    def coefficients(self) -> dict[str, float]:
        """Its numbers by name, in the order of `s`."""
        raise NotImplementedError

    @property
    def continuous(self) -> bool:
        """Whether it has a mean and a variance on the scale (False for categories)."""
        return True

    def scale(self, value: Array) -> Array:
        """A value on the scale on which the error is normal."""
        return value

    def unscale(self, value: Array) -> Array:
        """The inverse of `scale`."""
        return value

    def sd(self, f: Array, s: Array) -> Array:
        """The standard deviation on the scale at prediction f."""
        raise NotImplementedError

    def half_deviance(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """-log p(y | f) without constants; see this module's equations."""
        sd = self.sd(f, s)
        mean = self.scale(f)
        u = (self.scale(y) - mean) / sd
        measured = 0.5 * u**2 + jnp.log(sd)
        if censored is None:
            return measured
        side = jnp.where(censored < 0, u, -u)
        tail = -norm.logcdf(jnp.where(censored == 0, 0.0, side))
        floor_given = jnp.full_like(y, jnp.nan) if lower is None else lower
        bounded = jnp.isfinite(floor_given) & (censored < 0)
        floor = (self.scale(jnp.where(bounded, floor_given, y)) - mean) / sd
        # log(Phi(u) - Phi(v)) = log Phi(u) + log(1 - Phi(v)/Phi(u))
        share = jnp.exp(norm.logcdf(jnp.where(bounded, floor, -40.0)) + tail)
        tail = tail - jnp.where(bounded, jnp.log1p(-jnp.minimum(share, 1 - 1e-12)), 0.0)
        return jnp.where(censored == 0, measured, tail)

    def information(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """Expected second derivative of `half_deviance` in f; of a censored one the actual, at least 0."""

        def normal(value: Array) -> tuple[Array, Array]:
            return self.scale(value), self.sd(value, s)

        (_, sd), (slope, sd_slope) = jax.jvp(normal, (f,), (jnp.ones_like(f),))
        measured: Array = (slope / sd) ** 2 + 2 * (sd_slope / sd) ** 2
        if censored is None:
            return measured

        def first(value: Array) -> Array:
            slope: Array = jax.jvp(
                lambda v: self.half_deviance(y, v, censored, lower, s), (value,), (jnp.ones_like(value),)
            )[1]
            return slope

        bend = jax.jvp(first, (f,), (jnp.ones_like(f),))[1]
        return jnp.where(censored == 0, measured, jnp.maximum(bend, 0.0))

    def draw(self, key: Array, f: Array, s: Array) -> Array:
        """An observation at prediction f."""
        return self.unscale(self.scale(f) + self.sd(f, s) * jax.random.normal(key, f.shape, f.dtype))


@dataclass(frozen=True)
class Combined(ErrorModel):
    """Additive and proportional error on the natural scale.

    form "variance": V = additive^2 + (proportional f)^2 (Monolix's combined2, NONMEM's two EPS);
    form "sd": V = (additive + proportional f)^2 (combined1). `fixed` names what is not estimated.
    """

    additive: float = 0.0
    proportional: float = 0.0
    form: Literal["variance", "sd"] = "variance"
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.additive < 0 or self.proportional < 0 or self.additive + self.proportional == 0:
            raise ModelError(
                f"found residual error additive {self.additive}, proportional {self.proportional}; "
                "expected neither below 0 and at least one above it"
            )
        if self.form not in ("variance", "sd"):
            raise ModelError(f"found form {self.form!r} of a combined error; expected 'variance' or 'sd'")

    @property
    def coefficients(self) -> dict[str, float]:
        """`additive` and `proportional`, those above 0."""
        both = {"additive": self.additive, "proportional": self.proportional}
        return {name: value for name, value in both.items() if value > 0}

    def sd(self, f: Array, s: Array) -> Array:
        """By `form`; f counts by its size."""
        given = dict(zip(self.coefficients, s, strict=True))
        a, b = given.get("additive", 0.0), given.get("proportional", 0.0)
        size = jnp.abs(f)
        if self.form == "sd":
            return jnp.asarray(a + b * size + SMALLEST)
        # a proportional error alone would vanish where nothing was given yet
        return jnp.sqrt(a**2 + (b * size) ** 2 + SMALLEST**2)


def Additive(sd: float, *, fixed: bool = False) -> Combined:
    """V = sd^2."""
    return Combined(additive=sd, fixed=("additive",) if fixed else ())


def Proportional(sd: float, *, fixed: bool = False) -> Combined:
    """V = (sd f)^2."""
    return Combined(proportional=sd, fixed=("proportional",) if fixed else ())


@dataclass(frozen=True)
class LogError(ErrorModel):
    """Log-normal error: log y = log f + N(0, sd^2).

    The deviance is that of log y, as NONMEM reports it for log-transformed data (no Jacobian).
    """

    sd_log: float
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _positive("a log-normal error", self.coefficients)

    @property
    def coefficients(self) -> dict[str, float]:
        """`sd_log`."""
        return {"sd_log": self.sd_log}

    def scale(self, value: Array) -> Array:
        """The logarithm."""
        return jnp.log(jnp.maximum(value, SMALLEST))

    def unscale(self, value: Array) -> Array:
        """The exponential."""
        return jnp.exp(value)

    def sd(self, f: Array, s: Array) -> Array:
        """Constant on the log scale."""
        return jnp.broadcast_to(s[0], f.shape)


@dataclass(frozen=True)
class Power(ErrorModel):
    """V = (sd f^power)^2."""

    sd_at_1: float
    power: float
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _positive("a power error", self.coefficients)

    @property
    def coefficients(self) -> dict[str, float]:
        """`sd_at_1`, `power`."""
        return {"sd_at_1": self.sd_at_1, "power": self.power}

    def sd(self, f: Array, s: Array) -> Array:
        """s_1 |f|^s_2."""
        return s[0] * jnp.maximum(jnp.abs(f), SMALLEST) ** s[1] + SMALLEST


@dataclass(frozen=True)
class StudentT(ErrorModel):
    """`base` with Student's t instead of the normal: an outlier pulls with bounded force.

    half_deviance = (nu + 1)/2 log(1 + u^2/nu) + log sd, u standardised as in `base`, which near u = 0 is the
    normal one's. The weight that remains to an observation, (nu + 1)/(nu + u^2) up to 1, is what a user is
    shown (`weight`). Lange, Little & Taylor 1989, J Am Stat Assoc 84:881, doi:10.1080/01621459.1989.10478852.
    """

    base: Combined | LogError | Power
    freedom: float = 4.0

    def __post_init__(self) -> None:
        if not self.freedom > 2:
            raise ModelError(f"found {self.freedom} degrees of freedom; expected more than 2")

    @property
    def coefficients(self) -> dict[str, float]:
        """Those of `base`."""
        return self.base.coefficients

    def scale(self, value: Array) -> Array:
        """That of `base`."""
        return self.base.scale(value)

    def unscale(self, value: Array) -> Array:
        """That of `base`."""
        return self.base.unscale(value)

    def sd(self, f: Array, s: Array) -> Array:
        """That of `base`: the t's scale, not its standard deviation."""
        return self.base.sd(f, s)

    def half_deviance(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """The t's for a measured value, the normal's for a censored one."""
        nu, sd = self.freedom, self.sd(f, s)
        u = (self.scale(y) - self.scale(f)) / sd
        measured = 0.5 * (nu + 1) * jnp.log1p(u**2 / nu) + jnp.log(sd)
        if censored is None:
            return measured
        return jnp.where(censored == 0, measured, self.base.half_deviance(y, f, censored, lower, s))

    def information(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """The normal's, times the expected weight (nu + 1)/(nu + 3) of a t."""
        expected = self.base.information(y, f, censored, lower, s)
        shrunk = expected * (self.freedom + 1) / (self.freedom + 3)
        return shrunk if censored is None else jnp.where(censored == 0, shrunk, expected)

    def weight(self, y: Array, f: Array, s: Array) -> Array:
        """How much of its normal weight an observation keeps: 1 near its prediction, towards 0 far off."""
        u = (self.scale(y) - self.scale(f)) / self.sd(f, s)
        return jnp.minimum((self.freedom + 1) / (self.freedom + u**2), 1.0)

    def draw(self, key: Array, f: Array, s: Array) -> Array:
        """An observation at prediction f."""
        t = jax.random.t(key, self.freedom, f.shape, f.dtype)
        return self.unscale(self.scale(f) + self.sd(f, s) * t)


@dataclass(frozen=True)
class Ordinal(ErrorModel):
    """Categories 0..C: P(y >= k) = expit(f + b_1 + ... + b_k), f the model's prediction on the logit scale.

    `steps` are b_1..b_C with b_2.. below 0 (proportional odds); leave b_1 at 0 where f has an intercept.
    """

    steps: tuple[float, ...]
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.steps or any(step >= 0 for step in self.steps[1:]):
            raise ModelError(f"found steps {self.steps} of an ordinal observation; expected b_2.. below 0")

    @property
    def coefficients(self) -> dict[str, float]:
        """step_1..step_C."""
        return {f"step_{k + 1}": step for k, step in enumerate(self.steps)}

    @property
    def continuous(self) -> bool:
        """No."""
        return False

    def half_deviance(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """-log P(y)."""
        return -jnp.log(jnp.maximum(self._probability(y, f, s), 1e-300))

    def _at_least(self, f: Array, s: Array) -> list[Array]:
        steps = jnp.cumsum(jnp.asarray(s))
        inner = [jax.nn.sigmoid(f + steps[k]) for k in range(len(self.steps))]
        return [jnp.ones_like(f), *inner, jnp.zeros_like(f)]

    def _probability(self, y: Array, f: Array, s: Array) -> Array:
        at_least = self._at_least(f, s)
        found = jnp.zeros_like(f)
        for k in range(len(self.steps) + 1):
            found = jnp.where(jnp.round(y) == k, at_least[k] - at_least[k + 1], found)
        return found

    def information(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """sum_k P_k'^2 / P_k."""
        at_least = self._at_least(f, s)
        slopes = [a * (1 - a) for a in at_least]
        total = jnp.zeros_like(f)
        for k in range(len(self.steps) + 1):
            p = jnp.maximum(at_least[k] - at_least[k + 1], 1e-12)
            total = total + (slopes[k] - slopes[k + 1]) ** 2 / p
        return total

    def draw(self, key: Array, f: Array, s: Array) -> Array:
        """A category."""
        u = jax.random.uniform(key, f.shape, f.dtype)
        found: Any = sum((u < a).astype(f.dtype) for a in self._at_least(f, s)[1:-1])
        drawn: Array = found
        return drawn


@dataclass(frozen=True)
class Count(ErrorModel):
    """Counts with mean f: Poisson, or negative binomial with variance f + overdispersion f^2."""

    overdispersion: float = 0.0
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.overdispersion < 0:
            raise ModelError(f"found overdispersion {self.overdispersion}; expected 0 or more")

    @property
    def coefficients(self) -> dict[str, float]:
        """`overdispersion`, where there is one."""
        return {"overdispersion": self.overdispersion} if self.overdispersion > 0 else {}

    @property
    def continuous(self) -> bool:
        """No."""
        return False

    def half_deviance(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """-log P(y), constants in y included."""
        mean = jnp.maximum(f, SMALLEST)
        if not self.coefficients:
            return mean - y * jnp.log(mean) + gammaln(y + 1)
        r = 1 / s[0]
        return (
            -gammaln(y + r)
            + gammaln(r)
            + gammaln(y + 1)
            + r * jnp.log1p(mean / r)
            - y * (jnp.log(mean) - jnp.log(r + mean))
        )

    def information(self, y: Array, f: Array, censored: Maybe, lower: Maybe, s: Array) -> Array:
        """1 / variance."""
        mean = jnp.maximum(f, SMALLEST)
        return 1 / (mean + (s[0] * mean**2 if self.coefficients else 0.0))

    def draw(self, key: Array, f: Array, s: Array) -> Array:
        """A count."""
        mean = jnp.maximum(f, SMALLEST)
        if not self.coefficients:
            return jax.random.poisson(key, mean).astype(f.dtype)
        first, second = jax.random.split(key)
        gamma = jax.random.gamma(first, 1 / s[0], f.shape, f.dtype) * s[0] * mean
        return jax.random.poisson(second, gamma).astype(f.dtype)
