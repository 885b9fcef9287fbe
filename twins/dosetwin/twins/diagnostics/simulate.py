"""Simulation: the same subjects, doses, covariates and times, with etas and residual errors drawn anew.

Every number drawn is a function of (seed, place of the subject, replicate, place of the record) alone, so a
result does not depend on how subjects are batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Array

from dosetwin.twins.data.subject import Subject
from dosetwin.twins.diagnostics.linearisation import observed_outputs
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import Cohort, CohortBatch, cohort
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import dimensions
from dosetwin.twins.simulation.prediction import predicted

Values = npt.NDArray[np.float64]
TOGETHER = 2048
"""Subjects x replicates in one compiled call."""


class Simulated(NamedTuple):
    """One subject's replicates: `f` without and `y` with residual error, both [replicates, N records]."""

    f: Values
    y: Values


class Around(NamedTuple):
    """Where one subject's z is drawn from: N(mean, factor factor'), [Z] and [Z, Z]."""

    mean: Values
    factor: Values


def simulate(
    model: PopulationModel, subjects: Iterable[Subject] | Cohort, replicates: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Simulated observations, one row a replicate, subject and observation record.

    Columns: REP (from 1), ID, TIME, OUTPUT (1-based), IPRED (without residual error), DV (with it). Between-
    subject and inter-occasion etas and the residual error are drawn; covariates, doses and times are the
    data's; parameters are the model's own, without their uncertainty. Not censored. A replicate in which the
    model gives no finite number is NaN. Raises ModelError for fewer than one replicate.
    """
    prepared = subjects if isinstance(subjects, Cohort) else cohort(model, list(subjects))
    outputs = observed_outputs(prepared)
    frames = []
    for i, drawn in enumerate(simulated(model, prepared, replicates, seed)):
        s = prepared.subjects[i]
        N = drawn.f.shape[1]
        frames.append(
            pd.DataFrame(
                {
                    "REP": np.repeat(np.arange(1, replicates + 1), N),
                    "ID": s.id,
                    "TIME": np.tile(s.time[s.evid == 0], replicates),
                    "OUTPUT": np.tile(outputs[i] + 1, replicates),
                    "IPRED": drawn.f.ravel(),
                    "DV": drawn.y.ravel(),
                }
            )
        )
    columns = ["REP", "ID", "TIME", "OUTPUT", "IPRED", "DV"]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return table.sort_values("REP", kind="stable").reset_index(drop=True)


def simulated(
    model: PopulationModel,
    prepared: Cohort,
    replicates: int,
    seed: int,
    around: Sequence[Around] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Simulated]:
    """As `simulate`, as arrays, one entry a subject.

    `around`: where each subject's z comes from (a posterior); None draws from the population. `progress` is
    told the share done.
    """
    if replicates < 1:
        raise ModelError(f"found {replicates} replicates; expected 1 or more")
    found: list[Simulated] = [Simulated(np.zeros((0, 0)), np.zeros((0, 0)))] * len(prepared)
    done, total = 0, max(len(prepared), 1)
    for batch in prepared.batches:
        mean, factor = _from(model, batch, around)
        parts = [_run(model, batch, mean, factor, seed, begin) for begin in _chunks(batch.size, replicates)]
        f = np.concatenate([part[0] for part in parts], axis=1)[:, :replicates]
        y = np.concatenate([part[1] for part in parts], axis=1)[:, :replicates]
        for row, i in enumerate(batch.index):
            N = int(np.sum(prepared.subjects[i].evid == 0))
            found[i] = Simulated(f[row, :, :N], y[row, :, :N])
        done += len(batch.index)
        if progress:
            progress(done / total)
    return found


def _chunks(size: int, replicates: int) -> Iterator[npt.NDArray[np.int64]]:
    step = min(max(TOGETHER // size, 1), 1 << (replicates - 1).bit_length())
    for begin in range(0, replicates, step):
        yield np.arange(begin, begin + step)


def _from(
    model: PopulationModel, batch: CohortBatch, around: Sequence[Around] | None
) -> tuple[Values, Values]:
    Z = dimensions(model, batch.occasions)
    mean = np.zeros((batch.size, Z))
    factor = np.broadcast_to(np.eye(Z), (batch.size, Z, Z)).copy()
    if around is not None:
        for row, i in enumerate(batch.index):
            n = len(around[i].mean)
            mean[row, :n] = around[i].mean
            factor[row, :n, :n] = around[i].factor
    return mean, factor


def _run(
    model: PopulationModel,
    batch: CohortBatch,
    mean: Values,
    factor: Values,
    seed: int,
    replicates: npt.NDArray[np.int64],
) -> tuple[Values, Values]:
    places = np.zeros(batch.size, np.int64)
    places[: len(batch.index)] = batch.index
    with double_precision():
        drawer = _drawer(model.root, batch.steady, batch.occasions)
        f, y = drawer(model.population, batch.program, mean, factor, seed, places, replicates)
    return np.asarray(f), np.asarray(y)


@cache
def _drawer(root: PopulationModel, steady: bool, occasions: int) -> Callable[..., tuple[Array, Array]]:
    K, L = len(root.varying), len(root.occasion_varying)

    def noise(key: Array) -> Array:
        between = jax.random.normal(jax.random.fold_in(key, 0), (K,), jnp.float64)
        if not L:
            return between
        keys = jax.vmap(lambda o: jax.random.fold_in(jax.random.fold_in(key, 1), o))(jnp.arange(occasions))
        within = jax.vmap(lambda k: jax.random.normal(k, (L,), jnp.float64))(keys)
        return jnp.concatenate([between, within.ravel()])

    def residual(population: Population, program: Program, key: Array, f: Array) -> Array:
        keys = jax.vmap(lambda n: jax.random.fold_in(jax.random.fold_in(key, 2), n))(jnp.arange(f.shape[0]))
        y = jnp.zeros_like(f)
        for k, observed in enumerate(root.outputs):
            s = jnp.asarray(population.residual[k])
            drawn: Any = jax.vmap(lambda one, at, e=observed.error, s=s: e.draw(one, at, s))(keys, f)
            y = jnp.where(program.observations.output == k, drawn, y)
        return y

    def once(
        population: Population, program: Program, mean: Array, factor: Array, seed: Any, i: Any, r: Any
    ) -> tuple[Array, Array]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), i), r)
        f = predicted(root, steady, population, program, mean + factor @ noise(key))
        return f, residual(population, program, key, f)

    many = jax.vmap(once, in_axes=(None, None, None, None, None, None, 0))
    batched = jax.vmap(many, in_axes=(None, 0, 0, 0, None, 0, None))
    return cast("Callable[..., tuple[Array, Array]]", jax.jit(batched))
