"""Individual parameters with their standard errors.

The parameters p of a subject's last record are a function of z; with H the Hessian of J at the mode,

    cov(p) = (dp/dz) H^-1 (dp/dz)'

(delta method; H exact, or the expected one where the exact is not positive definite).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array

from dosetwin.twins.diagnostics.linearisation import Values, padded_z
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import individual_parameters


class IndividualEstimates(NamedTuple):
    """One row a subject (index: id), one column a parameter; NaN: this one does not vary in the model."""

    values: pd.DataFrame
    standard_errors: pd.DataFrame


@cache
def _last(root: PopulationModel) -> Callable[..., tuple[Array, Array]]:
    """Parameters [P] of the last record's row, and their derivatives in z [P, Z]."""

    def one(population: Population, program: Program, z: Array) -> tuple[Array, Array]:
        row = jnp.max(jnp.where(program.events.record, program.events.row, 0))

        def twice(z: Array) -> tuple[Array, Array]:
            p = individual_parameters(root, population, program.rows, z)
            values = jnp.stack([value[row] for value in vars(p).values()])
            return values, values

        jacobian, values = jax.jacfwd(twice, has_aux=True)(z)
        return values, jacobian

    return cast("Callable[..., tuple[Array, Array]]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0))))


def individual_estimates(fits: IndividualFits) -> IndividualEstimates:
    """Parameters at each subject's last record and their standard errors; see this module's equation."""
    model = fits.model
    names = [p.name for p in model.parameters]
    values = np.full((len(fits.z), len(names)), np.nan)
    errors = values.copy()
    for batch in fits.cohort.batches:
        with double_precision():
            p, jacobian = _last(model.root)(model.population, batch.program, padded_z(model, batch, fits.z))
        for row, i in enumerate(batch.index):
            values[i] = np.asarray(p)[row]
            errors[i] = _errors(fits, int(i), np.asarray(jacobian)[row][:, : len(fits.z[i])])
    ids = [s.id for s in fits.subjects]
    errors[errors == 0] = np.nan
    return IndividualEstimates(
        pd.DataFrame(values, index=ids, columns=names), pd.DataFrame(errors, index=ids, columns=names)
    )


def _errors(fits: IndividualFits, i: int, D: Values) -> Values:
    if not D.shape[1]:
        return np.zeros(len(D))
    H = fits.exact[i]
    if not np.linalg.eigvalsh(H).min() > 0:
        H = fits.expected[i]
    variance: Values = np.einsum("pz,pz->p", D, np.linalg.solve(H, D.T).T)
    return np.sqrt(np.maximum(variance, 0.0))
