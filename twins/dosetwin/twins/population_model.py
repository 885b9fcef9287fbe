"""A population model: structure, parameters with covariates and variability, observations, its source."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.structure import Structure
from dosetwin.twins.residual_error import (
    Additive,
    Combined,
    Count,
    ErrorModel,
    LogError,
    Ordinal,
    Power,
    Proportional,
    StudentT,
)
from dosetwin.twins.variability import BoxCox, LogitNormal, LogNormal, Normal, Variability

__all__ = [
    "Additive",
    "BoxCox",
    "Combined",
    "Count",
    "Covariates",
    "LogError",
    "LogNormal",
    "LogitNormal",
    "Normal",
    "Observed",
    "Ordinal",
    "Parameter",
    "Population",
    "PopulationModel",
    "Power",
    "Proportional",
    "StudentT",
]

Values = npt.NDArray[np.float64]
Covariates = Any
"""A namespace: one attribute a covariate (an array of any shape), named as in the data."""
Interpolation = Literal["next_value_backward", "last_value_forward"]


@dataclass(frozen=True)
class Parameter:
    """One parameter: typical value in `unit`, changed by covariates, varying between and within subjects.

    `covariates` is a function of the covariates, `c -> factor`, computed once with NumPy or jax.numpy; or of
    the covariates and of the individual parameters written above this one, `(c, p) -> factor`, computed with
    jax.numpy inside the compiled model (p.x is an estimated coefficient, or another parameter). With
    `absolute` the function returns the value itself instead of a factor of `typical`.
    `between`/`occasion`: see `dosetwin.twins.variability`. `low`, `high`: bounds on the typical value in a
    population fit, which leaves `fixed` ones alone. A parameter that the structure does not know is there for
    others to use.
    """

    name: str
    typical: float
    unit: str
    variability: Variability | None = None
    covariates: Callable[..., Any] | None = None
    absolute: bool = False
    occasion: Variability | None = None
    fixed: bool = False
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not (math.isfinite(self.typical) and self.low <= self.typical <= self.high):
            raise ModelError(
                f"found {self.name} = {self.typical}; expected a finite number within {self.low}..{self.high}"
            )
        if not self.name.isidentifier():
            raise ModelError(f"found parameter name {self.name!r}; expected a name that Python can write")

    @property
    def dependent(self) -> bool:
        """Whether its function also takes the individual parameters before it."""
        return self.covariates is not None and len(inspect.signature(self.covariates).parameters) > 1

    @property
    def positive(self) -> bool:
        """Whether its typical value must stay above 0."""
        return isinstance(self.variability or self.occasion, LogNormal | BoxCox) or (
            self.low >= 0 and self.typical > 0
        )


@dataclass(frozen=True)
class Observed:
    """One observed quantity: what of the model it is, and its residual error.

    `output`: the name of one of the structure's outputs (default: its first), or a function `(p, y) -> value`
    of the individual parameters and the outputs, written with jax.numpy (a direct effect). `compartment`: an
    observation record with this CMT (1-based) means this quantity, where the data have no DVID.
    """

    quantity: str
    unit: str
    error: ErrorModel
    output: str | Callable[..., Any] = ""
    compartment: int = 0


class Population(NamedTuple):
    """The numbers of a population, as arrays: what a fit changes and a compiled function takes.

    typical [P], in the order of the model's parameters; omega [K, K], the lower Cholesky factor of the
    covariance of the etas between subjects; gamma [L, L], that between occasions; residual: one array a
    observed quantity, in the order of its error's coefficients.
    """

    typical: Any
    omega: Any
    gamma: Any
    residual: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class PopulationModel:
    """Everything an estimator needs to know of a population.

    `correlations` maps pairs of parameter names to the correlation of their etas; `occasion_correlations`
    likewise between occasions. `interpolation`: which record's covariates (and occasion) hold between two
    records: the later one's (NONMEM's way) or the earlier one's. `advancing` names covariates in years that
    grow with time by themselves (age) in the stream, and the step in seconds at which parameters are
    evaluated anew. Amounts and volumes must make `observed.unit`: mg and L make mg/L.
    """

    structure: Structure
    parameters: tuple[Parameter, ...]
    observed: Observed | tuple[Observed, ...]
    source: str
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)
    occasion_correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)
    advancing: Mapping[str, float] = field(default_factory=dict)
    interpolation: Interpolation = "next_value_backward"
    time_unit: str = "h"
    name: str = ""
    origin: PopulationModel | None = field(default=None, repr=False)
    """The model of the same form whose compiled functions serve this one too."""

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        missing = [name for name in self.structure.required if name not in names]
        if missing or len(set(names)) != len(names):
            raise ModelError(
                f"found parameters {', '.join(names)}; expected each once, with those of the structure: "
                f"{', '.join(self.structure.required)}"
                + (f"; missing {', '.join(missing)}" if missing else ""),
                remedy="name the parameters as the structure does; convert your own with an extra parameter, "
                "absolute=True and covariates=lambda c, p: ...",
            )
        for parameter in self.parameters:
            physical = self.structure.linear and parameter.name in self.structure.required
            if (parameter.positive or physical) and not parameter.typical > 0:
                raise ModelError(f"found {parameter.name} = {parameter.typical}; expected a number above 0")
        if not self.outputs:
            raise ModelError("the model observes nothing", remedy="give at least one Observed")
        for observed in self.outputs:
            if isinstance(observed.output, str) and observed.output not in ("", *self.structure.outputs):
                raise ModelError(
                    f"found output {observed.output!r} of {observed.quantity}; expected one of "
                    f"{', '.join(self.structure.outputs)}, or a function (p, y) -> value"
                )
        for pairs, varying, where in (
            (self.correlations, self.varying, "variability"),
            (self.occasion_correlations, self.occasion_varying, "inter-occasion variability"),
        ):
            unvaried = sorted({name for pair in pairs for name in pair} - set(varying))
            if unvaried:
                raise ModelError(f"found a correlation of {', '.join(unvaried)}, which has no {where}")
        if self.interpolation not in ("next_value_backward", "last_value_forward"):
            raise ModelError(
                f"found interpolation {self.interpolation!r}; expected next_value_backward (NONMEM's) or "
                "last_value_forward"
            )
        if not self.source:
            raise ModelError("the model names no source", remedy="cite the paper and its table")
        for covariance in (self.omega, self.gamma):
            try:
                np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError as error:
                raise ModelError("the correlations of the etas make no positive definite matrix") from error

    @property
    def root(self) -> PopulationModel:
        """The first model of this form: what compiled functions are kept for."""
        return self.origin or self

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """The parameters by name."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def outputs(self) -> tuple[Observed, ...]:
        """What is observed, always as a tuple."""
        return self.observed if isinstance(self.observed, tuple) else (self.observed,)

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """The parameters that vary between people, in the order of the etas."""
        return tuple(p.name for p in self.parameters if p.variability)

    @cached_property
    def occasion_varying(self) -> tuple[str, ...]:
        """The parameters that vary between occasions, in the order of those etas."""
        return tuple(p.name for p in self.parameters if p.occasion)

    @cached_property
    def omega(self) -> Values:
        """Covariance of the etas between subjects [K, K]."""
        variances = [p.variability.variance for p in self.parameters if p.variability]
        return _covariance(self.varying, variances, self.correlations)

    @cached_property
    def gamma(self) -> Values:
        """Covariance of the etas between occasions [L, L]."""
        variances = [p.occasion.variance for p in self.parameters if p.occasion]
        return _covariance(self.occasion_varying, variances, self.occasion_correlations)

    @cached_property
    def population(self) -> Population:
        """The model's own numbers as arrays."""
        return Population(
            np.array([p.typical for p in self.parameters]),
            np.linalg.cholesky(self.omega),
            np.linalg.cholesky(self.gamma),
            tuple(np.array(list(o.error.coefficients.values())) for o in self.outputs),
        )

    def with_population(self, population: Population, source: str) -> PopulationModel:
        """The model with other numbers (a fit's); correlations come from the factors."""
        omega = np.asarray(population.omega) @ np.asarray(population.omega).T
        gamma = np.asarray(population.gamma) @ np.asarray(population.gamma).T
        parameters = []
        for i, p in enumerate(self.parameters):
            between, occasion = p.variability, p.occasion
            if between:
                k = self.varying.index(p.name)
                between = replace(between, variance=float(omega[k, k]))
            if occasion:
                k = self.occasion_varying.index(p.name)
                occasion = replace(occasion, variance=float(gamma[k, k]))
            typical = float(population.typical[i])
            parameters.append(replace(p, typical=typical, variability=between, occasion=occasion))
        outputs = tuple(
            replace(observed, error=_with_coefficients(observed.error, np.asarray(values).tolist()))
            for observed, values in zip(self.outputs, population.residual, strict=True)
        )
        return replace(
            self,
            parameters=tuple(parameters),
            observed=outputs,
            source=source,
            correlations=_correlations(self.varying, omega),
            occasion_correlations=_correlations(self.occasion_varying, gamma),
            origin=self.root,
        )


def _covariance(
    names: Sequence[str], variances: Sequence[float], correlations: Mapping[tuple[str, str], float]
) -> Values:
    sd = np.sqrt(np.array(variances, np.float64))
    correlation = np.eye(len(sd))
    for (a, b), rho in correlations.items():
        i, j = names.index(a), names.index(b)
        correlation[i, j] = correlation[j, i] = rho
    covariance: Values = correlation * np.outer(sd, sd)
    return covariance


def _correlations(names: Sequence[str], covariance: Values) -> dict[tuple[str, str], float]:
    sd = np.sqrt(np.diag(covariance))
    return {
        (names[i], names[j]): float(covariance[i, j] / (sd[i] * sd[j]))
        for i in range(len(names))
        for j in range(i)
        if covariance[i, j] != 0
    }


def _with_coefficients(error: ErrorModel, values: Sequence[float]) -> ErrorModel:
    if isinstance(error, StudentT):
        base = _with_coefficients(error.base, values)
        return replace(error, base=base)  # type: ignore[arg-type] # of the same class as it was
    if isinstance(error, Ordinal):
        return replace(error, steps=tuple(values))
    named = dict(zip(error.coefficients, values, strict=True))
    return replace(error, **named)  # type: ignore[type-var] # every error is a dataclass
