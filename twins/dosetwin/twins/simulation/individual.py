"""From etas to the individual parameters of every row."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.simulation.event_program import Rows


def dimensions(model: PopulationModel, occasions: int) -> int:
    """How many standard normal numbers make one subject: K between, L for each occasion."""
    return len(model.varying) + occasions * len(model.occasion_varying)


def split_etas(
    model: PopulationModel, population: Population, z: Float[Array, " Z"]
) -> tuple[Float[Array, " K"], Float[Array, "O L"]]:
    """Eta = omega z between subjects, kappa = gamma z for each occasion."""
    K, L = len(model.varying), len(model.occasion_varying)
    eta = jnp.asarray(population.omega) @ z[:K]
    occasions = (z.shape[0] - K) // L if L else 0
    kappa = z[K:].reshape(occasions, L) @ jnp.asarray(population.gamma).T
    return eta, kappa


def individual_parameters(
    model: PopulationModel, population: Population, rows: Rows, z: Float[Array, " Z"]
) -> SimpleNamespace:
    """The subject's parameters, one array [E] an attribute, for standard normal z.

    parameter = variability(typical x covariate factor, eta + kappa_occasion); written from the first to the
    last, so that a function (c, p) sees those above it.
    """
    eta, kappa = split_etas(model, population, z)
    c = SimpleNamespace(**{name: jnp.asarray(values) for name, values in rows.covariates.items()})
    p = SimpleNamespace()
    E = rows.occasion.shape[0]
    for i, parameter in enumerate(model.parameters):
        value: Any = jnp.asarray(population.typical)[i]
        if parameter.covariates is not None:
            effect = _effect(model, i, c, p) if parameter.dependent else jnp.asarray(rows.effects)[:, i]
            value = effect if parameter.absolute else value * effect
        value = jnp.broadcast_to(value, (E,))
        change: Any = 0.0
        if parameter.variability:
            change = change + eta[model.varying.index(parameter.name)]
        if parameter.occasion:
            change = change + kappa[rows.occasion, model.occasion_varying.index(parameter.name)]
        varies = parameter.variability or parameter.occasion
        setattr(p, parameter.name, varies.apply(value, change) if varies else value)
    return p


@cache
def parameters(root: PopulationModel) -> Callable[..., dict[str, Array]]:
    """Compiled: (population, rows [B, ...], z [B, Z]) -> each parameter [B, E]; in double precision."""

    def one(population: Population, rows: Rows, z: Array) -> dict[str, Array]:
        return vars(individual_parameters(root, population, rows, z))

    return cast("Callable[..., dict[str, Array]]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0))))


def _effect(model: PopulationModel, i: int, c: SimpleNamespace, p: SimpleNamespace) -> Any:
    parameter = model.parameters[i]
    assert parameter.covariates is not None
    try:
        return parameter.covariates(c, p)
    except AttributeError as error:
        name = str(getattr(error, "name", error))
        close = get_close_matches(name, [*vars(c), *vars(p)], n=1)
        raise ModelError(
            f"{parameter.name} uses {name!r}, which is neither a covariate "
            f"({', '.join(vars(c)) or 'none'}) nor a parameter written above it "
            f"({', '.join(vars(p)) or 'none'})",
            remedy=f"did you mean {close[0]!r}?" if close else "add the column, or write it first",
        ) from error
