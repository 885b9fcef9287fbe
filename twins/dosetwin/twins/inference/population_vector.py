"""The free numbers of a population model as an unconstrained vector, and their names on the natural scale.

    typical value with both bounds    logit((v - low)/(high - low))
    with a lower bound                log(v - low)      (0 for a log-normal or Box-Cox parameter, and for
                                                         what a linear structure itself needs)
    with an upper bound               -log(high - v)
    without                           v
    Omega, Gamma                      see `dosetwin.twins.inference.covariance_pattern`
    residual coefficients             log; an ordinal model's first step itself, the others log(-step)

Fixed typical values, those of `absolute` parameters, fixed variances and coefficients are not in the vector:
they come from `base`. Names: those of the parameters, `omega2_CL`, `correlation_CL_V1`, `gamma2_CL` and
`occasion_correlation_CL_V1` (between occasions), `residual_proportional`; with several outputs
`residual_proportional_<quantity>`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.inference.covariance_pattern import CovariancePattern, between_pattern, occasion_pattern
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Parameter, Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.residual_error import ErrorModel, Ordinal, StudentT
from dosetwin.twins.variability import BoxCox, LogitNormal, LogNormal

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """One scalar element: where it is in its array, and its bounds (infinite: none)."""

    place: int
    name: str
    low: float
    high: float

    def free(self, value: float) -> float:
        """Natural to unconstrained."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return math.log((value - self.low) / (self.high - value))
        if math.isfinite(self.low):
            return math.log(value - self.low)
        return -math.log(self.high - value) if math.isfinite(self.high) else value

    def natural(self, x: Any) -> Any:
        """Unconstrained to natural."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return self.low + (self.high - self.low) * jax.nn.sigmoid(x)
        if math.isfinite(self.low):
            return self.low + jnp.exp(x)
        return self.high - jnp.exp(-x) if math.isfinite(self.high) else x

    @property
    def bounded(self) -> bool:
        """Whether it is transformed."""
        return math.isfinite(self.low) or math.isfinite(self.high)


@dataclass(frozen=True)
class PopulationVector:
    """The layout of the vector: typical values, Omega, Gamma, residual coefficients of each output."""

    typical: tuple[Scale, ...]
    between: CovariancePattern
    occasion: CovariancePattern
    residual: tuple[tuple[Scale, ...], ...]

    @property
    def size(self) -> int:
        """How many free numbers."""
        return (
            len(self.typical)
            + self.between.size
            + self.occasion.size
            + sum(len(part) for part in self.residual)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free numbers on the natural scale, in the vector's order."""
        return (
            *(scale.name for scale in self.typical),
            *_covariance_names(self.between, "omega2", "correlation"),
            *_covariance_names(self.occasion, "gamma2", "occasion_correlation"),
            *(scale.name for part in self.residual for scale in part),
        )

    @property
    def relative(self) -> tuple[bool, ...]:
        """Whether a unit step of each number is a relative change (logarithms and the like)."""
        return (
            *(scale.bounded for scale in self.typical),
            *(True for _ in range(self.between.size + self.occasion.size)),
            *(scale.bounded for part in self.residual for scale in part),
        )

    def pack(self, population: Population) -> Values:
        """The vector of a population's numbers (NumPy)."""
        omega, gamma = np.asarray(population.omega), np.asarray(population.gamma)
        parts = [
            [scale.free(float(population.typical[scale.place])) for scale in self.typical],
            self.between.vector(omega @ omega.T) if self.between.size else [],
            self.occasion.vector(gamma @ gamma.T) if self.occasion.size else [],
            *(
                [scale.free(float(values[scale.place])) for scale in part]
                for part, values in zip(self.residual, population.residual, strict=True)
            ),
        ]
        return np.concatenate([np.asarray(part, np.float64) for part in parts])

    def unpack(self, x: Float[Array, " free"], base: Population) -> Population:
        """The population of a vector; what is not free comes from `base`. Pure JAX."""
        typical, at = _filled(jnp.asarray(base.typical), self.typical, x, 0)
        omega, at = _factor(self.between, x, base.omega, at)
        gamma, at = _factor(self.occasion, x, base.gamma, at)
        residual = []
        for part, values in zip(self.residual, base.residual, strict=True):
            filled, at = _filled(jnp.asarray(values), part, x, at)
            residual.append(filled)
        return Population(typical, omega, gamma, tuple(residual))

    def natural(self, x: Float[Array, " free"], base: Population) -> Float[Array, " free"]:
        """The free numbers on the natural scale, as named: variances, correlations. Pure JAX."""
        population = self.unpack(x, base)
        parts = [
            *(population.typical[scale.place] for scale in self.typical),
            *_covariance_values(self.between, population.omega),
            *_covariance_values(self.occasion, population.gamma),
            *(population.residual[k][scale.place] for k, part in enumerate(self.residual) for scale in part),
        ]
        return jnp.stack(parts) if parts else jnp.zeros(0)


@cache
def _unpacker(layout: PopulationVector) -> Callable[..., Population]:
    return cast("Callable[..., Population]", jax.jit(layout.unpack))


@cache
def _naturaliser(layout: PopulationVector) -> Callable[..., tuple[Array, Array]]:
    def both(x: Array, base: Population) -> tuple[Array, Array]:
        def twice(x: Array) -> tuple[Array, Array]:
            values = layout.natural(x, base)
            return values, values

        jacobian, values = jax.jacfwd(twice, has_aux=True)(x)
        return values, jacobian

    return cast("Callable[..., tuple[Array, Array]]", jax.jit(both))


def numbers(layout: PopulationVector, x: Values, base: Population) -> Population:
    """`PopulationVector.unpack` as NumPy arrays, compiled once a layout."""
    with double_precision():
        return cast("Population", jax.tree.map(np.asarray, _unpacker(layout)(x, base)))


def natural_scale(layout: PopulationVector, x: Values, base: Population) -> tuple[Values, Values]:
    """The free numbers as named, [P], and their Jacobian in x, [P, P]."""
    with double_precision():
        values, jacobian = _naturaliser(layout)(x, base)
    return np.asarray(values), np.asarray(jacobian)


def _filled(values: Array, scales: tuple[Scale, ...], x: Any, at: int) -> tuple[Array, int]:
    for scale in scales:
        values = values.at[scale.place].set(scale.natural(x[at]))
        at += 1
    return values, at


def _factor(pattern: CovariancePattern, x: Any, factor: Any, at: int) -> tuple[Any, int]:
    if pattern.size == 0:
        return jnp.asarray(factor), at
    start = jnp.asarray(factor) @ jnp.asarray(factor).T
    covariance = pattern.covariance(x[at : at + pattern.size], start)
    return jnp.linalg.cholesky(covariance), at + pattern.size


def _covariance_names(pattern: CovariancePattern, variance: str, correlation: str) -> list[str]:
    return [
        *(f"{variance}_{pattern.names[k]}" for k in pattern.free_variances),
        *(f"{correlation}_{pattern.names[j]}_{pattern.names[i]}" for i, j in pattern.free_pairs),
    ]


def _covariance_values(pattern: CovariancePattern, factor: Any) -> list[Any]:
    omega = factor @ factor.T
    return [
        *(omega[k, k] for k in pattern.free_variances),
        *(omega[i, j] / jnp.sqrt(omega[i, i] * omega[j, j]) for i, j in pattern.free_pairs),
    ]


def population_vector(model: PopulationModel) -> PopulationVector:
    """What of a model is free. Raises ModelError where nothing is, or where a start lies on its bound."""
    typical = tuple(
        _typical(model, i, p) for i, p in enumerate(model.parameters) if not (p.fixed or p.absolute)
    )
    residual = tuple(
        _residual(observed.error, f"_{observed.quantity}" if len(model.outputs) > 1 else "")
        for observed in model.outputs
    )
    layout = PopulationVector(typical, between_pattern(model), occasion_pattern(model), residual)
    if layout.size == 0:
        raise ModelError(
            "found no free number in the model; expected a typical value, variance or residual coefficient "
            "that is not fixed",
            remedy="leave `fixed` out of at least one, or estimate individuals only",
        )
    starts = [(scale, model.parameters[scale.place].typical) for scale in typical]
    for part, observed in zip(residual, model.outputs, strict=True):
        values = list(observed.error.coefficients.values())
        starts += [(scale, values[scale.place]) for scale in part]
    for scale, value in starts:
        if not scale.low < value < scale.high:
            raise ModelError(
                f"found the start {scale.name} = {value} on its bound {scale.low}..{scale.high}; "
                "expected it inside",
                remedy="start inside the bounds, or fix it there",
            )
    return layout


def _typical(model: PopulationModel, place: int, parameter: Parameter) -> Scale:
    low, high = parameter.low, parameter.high
    if model.structure.linear and parameter.name in model.structure.required and parameter.typical > 0:
        # clearances, volumes, rate constants
        low = max(low, 0.0)
    for variability in (parameter.variability, parameter.occasion):
        if isinstance(variability, LogNormal | BoxCox):
            low = max(low, 0.0)
        if isinstance(variability, LogitNormal) and parameter.covariates is None:
            low, high = max(low, variability.low), min(high, variability.high)
    return Scale(place, parameter.name, low, high)


def _residual(error: ErrorModel, suffix: str) -> tuple[Scale, ...]:
    fixed = error.base.fixed if isinstance(error, StudentT) else error.fixed
    scales = []
    for place, name in enumerate(error.coefficients):
        if name in fixed:
            continue
        low, high = 0.0, math.inf
        if isinstance(error, Ordinal):
            low, high = -math.inf, math.inf if place == 0 else 0.0
        scales.append(Scale(place, f"residual_{name}{suffix}", low, high))
    return tuple(scales)
