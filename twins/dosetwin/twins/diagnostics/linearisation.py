"""Predictions of every observation record and their derivatives in z, at the typical subject and the mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array

from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import Cohort, CohortBatch
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import dimensions
from dosetwin.twins.simulation.prediction import predicted

Values = npt.NDArray[np.float64]


class Linearised(NamedTuple):
    """f [N] and df/dz [N, Z] of one subject's observation records, at one z."""

    f: Values
    jacobian: Values


class OnScale(NamedTuple):
    """Predictions on the scale on which the residual error is normal: mean, d mean/df, standard deviation."""

    mean: Values
    slope: Values
    sd: Values


@cache
def _lineariser(root: PopulationModel, steady: bool) -> Callable[..., tuple[Array, Array]]:
    def one(population: Population, program: Program, z: Array) -> tuple[Array, Array]:
        def twice(z: Array) -> tuple[Array, Array]:
            f = predicted(root, steady, population, program, z)
            return f, f

        jacobian, f = jax.jacfwd(twice, has_aux=True)(z)
        return f, jacobian

    return cast("Callable[..., tuple[Array, Array]]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0))))


@cache
def _predictor(root: PopulationModel, steady: bool) -> Callable[..., Array]:
    def one(population: Population, program: Program, z: Array) -> Array:
        return predicted(root, steady, population, program, z)

    return cast("Callable[..., Array]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0))))


def padded_z(model: PopulationModel, batch: CohortBatch, z: Sequence[Values]) -> Values:
    """The z of a batch's subjects as one array, unused occasions and padding rows 0."""
    table = np.zeros((batch.size, dimensions(model, batch.occasions)))
    for row, i in enumerate(batch.index):
        table[row, : len(z[i])] = z[i]
    return table


def linearise(fits: IndividualFits, z: Sequence[Values]) -> list[Linearised]:
    """Predictions f and df/dz at the given z, one entry a subject."""
    model = fits.model
    found: list[Linearised] = [Linearised(np.zeros(0), np.zeros((0, 0)))] * len(z)
    for batch in fits.cohort.batches:
        with double_precision():
            f, jacobian = _lineariser(model.root, batch.steady)(
                model.population, batch.program, padded_z(model, batch, z)
            )
        for row, i in enumerate(batch.index):
            N = int(np.sum(fits.subjects[i].evid == 0))
            found[i] = Linearised(np.asarray(f)[row, :N], np.asarray(jacobian)[row, :N, : len(z[i])])
    return found


def predictions_at(model: PopulationModel, prepared: Cohort, z: Sequence[Values]) -> list[Values]:
    """Predictions of all observation records at the given z (inter-occasion too), one entry a subject."""
    found: list[Values] = [np.zeros(0)] * len(z)
    for batch in prepared.batches:
        with double_precision():
            f = _predictor(model.root, batch.steady)(
                model.population, batch.program, padded_z(model, batch, z)
            )
        for row, i in enumerate(batch.index):
            found[i] = np.asarray(f)[row, : int(np.sum(prepared.subjects[i].evid == 0))]
    return found


def observed_outputs(prepared: Cohort) -> list[npt.NDArray[np.int64]]:
    """Which of the model's observed quantities (0-based) each observation record is, one entry a subject."""
    found: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(prepared)
    for batch in prepared.batches:
        for row, i in enumerate(batch.index):
            N = int(np.sum(prepared.subjects[i].evid == 0))
            found[i] = np.asarray(batch.program.observations.output[row])[:N]
    return found


def on_scale(model: PopulationModel, f: Values, output: npt.NDArray[np.int64]) -> OnScale:
    """Mean, slope and residual standard deviation at predictions f [N] of quantities `output` [N].

    A Student-t error has the t's standard deviation, scale x sqrt(nu/(nu - 2)). Categories and counts have
    none: NaN.
    """
    mean, slope, sd = (np.full(f.shape, np.nan) for _ in range(3))
    with double_precision():
        for k, observed in enumerate(model.outputs):
            mine = output == k
            error = observed.error
            if not error.continuous or not mine.any():
                continue
            at = jnp.asarray(f[mine])
            m, d = jax.jvp(error.scale, (at,), (jnp.ones_like(at),))
            freedom = getattr(error, "freedom", np.inf)
            widened = np.sqrt(freedom / (freedom - 2)) if np.isfinite(freedom) else 1.0
            mean[mine], slope[mine] = np.asarray(m), np.asarray(d)
            sd[mine] = np.asarray(error.sd(at, jnp.asarray(model.population.residual[k]))) * widened
    return OnScale(mean, slope, sd)


def value_on_scale(model: PopulationModel, y: Values, output: npt.NDArray[np.int64]) -> Values:
    """Observed values on the scale of their residual errors; NaN of categories and counts."""
    found = np.full(y.shape, np.nan)
    with double_precision():
        for k, observed in enumerate(model.outputs):
            mine = output == k
            if observed.error.continuous and mine.any():
                found[mine] = np.asarray(observed.error.scale(jnp.asarray(y[mine])))
    return found
