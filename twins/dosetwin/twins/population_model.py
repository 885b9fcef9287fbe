"""A population model: structure, parameters with covariates and variability, residual error, its source."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dosetwin.twins.models.compartments import Linear, ModelError

Values = npt.NDArray[np.float64]
Covariates = Any
"""A namespace: one attribute a covariate (an array of any shape), named as in the therapy."""


@dataclass(frozen=True)
class LogNormal:
    """Between-subject variability: parameter = typical x exp(eta), eta ~ N(0, variance)."""

    variance: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise ModelError(
                f"found variance {self.variance} of a log-normal parameter; expected a number above 0",
                remedy="leave variability out for a parameter that does not vary between people",
            )

    @classmethod
    def from_cv(cls, cv: float) -> LogNormal:
        """From a coefficient of variation: omega^2 = log(1 + cv^2)."""
        return cls(math.log1p(cv**2))


@dataclass(frozen=True)
class Parameter:
    """One structural parameter: typical value in `unit`, times what covariates do to it.

    `covariates` takes a namespace of arrays and returns the factor; with `absolute` it returns the value.
    """

    name: str
    typical: float
    unit: str
    variability: LogNormal | None = None
    covariates: Callable[[Covariates], Values] | None = None
    absolute: bool = False

    def values(self, c: Covariates, shape: tuple[int, ...]) -> Values:
        """The typical value under these covariates, in `shape`."""
        if self.covariates is None:
            return np.full(shape, self.typical)
        effect = self.covariates(c)
        return np.broadcast_to(effect if self.absolute else self.typical * effect, shape)


@dataclass(frozen=True)
class Combined:
    """Residual error on the natural scale: sd^2 = additive^2 + (proportional x prediction)^2."""

    additive: float = 0.0
    proportional: float = 0.0
    kind: Literal["natural"] = "natural"

    def __post_init__(self) -> None:
        if self.additive < 0 or self.proportional < 0 or self.additive + self.proportional == 0:
            raise ModelError(
                f"found residual error additive {self.additive}, proportional {self.proportional}; "
                "expected neither below 0 and at least one above it"
            )


@dataclass(frozen=True)
class LogError:
    """Residual error on the log scale: log y = log prediction + N(0, sd^2)."""

    sd: float
    kind: Literal["log"] = "log"

    def __post_init__(self) -> None:
        if not self.sd > 0:
            raise ModelError(f"found residual sd {self.sd} on the log scale; expected a number above 0")


@dataclass(frozen=True)
class Observed:
    """The quantity that the model's central concentration is seen as, with its residual error."""

    quantity: str
    unit: str
    error: Combined | LogError


@dataclass(frozen=True)
class PopulationModel:
    """Everything a history-based estimator needs to know of a population.

    `correlations` maps pairs of parameter names to the correlation of their etas. `advancing` names
    covariates in years that grow with time by themselves (age), and the step in seconds at which the
    parameters are evaluated anew. Amounts and volumes must make `observed.unit`: mg and L make mg/L.
    """

    structure: Linear
    parameters: tuple[Parameter, ...]
    observed: Observed
    source: str
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)
    advancing: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        needed = self.structure.parameters
        unknown = sorted(set(names) - set(needed))
        missing = [name for name in needed if name not in names and name != "F"]
        if unknown or missing or len(set(names)) != len(names):
            raise ModelError(
                f"found parameters {', '.join(names)}; expected each once: {', '.join(needed)} (F may be "
                f"left out)" + (f"; missing {', '.join(missing)}" if missing else ""),
                remedy="name the parameters as the structure does: CL, V1, Q2, V2, Q3, V3, ka, D, F",
            )
        if not any(parameter.variability for parameter in self.parameters):
            raise ModelError("no parameter varies between people; expected variability on at least one")
        for parameter in self.parameters:
            if not (math.isfinite(parameter.typical) and parameter.typical > 0):
                raise ModelError(f"found {parameter.name} = {parameter.typical}; expected a number above 0")
        unvaried = sorted({name for pair in self.correlations for name in pair} - set(self.varying))
        if unvaried:
            raise ModelError(f"found a correlation of {', '.join(unvaried)}, which has no variability")
        if not self.source:
            raise ModelError("the model names no source", remedy="cite the paper and its table")
        try:
            np.linalg.cholesky(self.omega)
        except np.linalg.LinAlgError as error:
            raise ModelError("the correlations of the etas make no positive definite matrix") from error

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """The parameters that vary between people, in the order of the etas."""
        by_name = {parameter.name: parameter for parameter in self.parameters}
        return tuple(
            name for name in self.structure.parameters if name in by_name and by_name[name].variability
        )

    @cached_property
    def omega(self) -> Values:
        """Covariance of the etas [K, K]."""
        by_name = {parameter.name: parameter for parameter in self.parameters}
        sd = np.array([math.sqrt(_variance(by_name[name])) for name in self.varying])
        correlation = np.eye(len(sd))
        for (a, b), rho in self.correlations.items():
            i, j = self.varying.index(a), self.varying.index(b)
            correlation[i, j] = correlation[j, i] = rho
        omega: Values = correlation * np.outer(sd, sd)
        return omega

    @cached_property
    def loading(self) -> Values:
        """Maps standard normal z [K] to the log-change of every parameter [P]: rows of cholesky(omega)."""
        factor = np.linalg.cholesky(self.omega)
        loading = np.zeros((len(self.structure.parameters), len(self.varying)))
        for k, name in enumerate(self.varying):
            loading[self.structure.parameters.index(name)] = factor[k]
        return loading

    def typical(self, covariates: Mapping[str, Values]) -> Values:
        """Typical parameters [..., P] for covariate arrays [...], in the order of the structure.

        Raises ModelError where one is not a positive number, naming the covariates that made it so.
        """
        shape = next(iter(covariates.values())).shape if covariates else ()
        by_name = {parameter.name: parameter for parameter in self.parameters}
        c = SimpleNamespace(**covariates)
        columns = [
            by_name[name].values(c, shape) if name in by_name else np.ones(shape)
            for name in self.structure.parameters
        ]
        theta: Values = np.stack(columns, axis=-1)
        wrong = ~(np.isfinite(theta) & (theta > 0))
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0])
            given = ", ".join(f"{name}={np.asarray(v)[where[:-1]]:.4g}" for name, v in covariates.items())
            raise ModelError(
                f"{self.structure.parameters[where[-1]]} becomes {theta[where]:.4g} with {given}; "
                "expected a number above 0",
                remedy="these covariates lie outside what the model was made for; check their units",
            )
        return theta


def _variance(parameter: Parameter) -> float:
    return parameter.variability.variance if parameter.variability else 0.0
