"""Individual estimates: the posterior mode of every subject, its covariances, and how the search went."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Array, Float
from scipy.stats import norm, qmc

from dosetwin.twins.data.subject import Subject
from dosetwin.twins.inference.objective import exact_hessian, looker, objective
from dosetwin.twins.inference.posterior_mode import Mode, find_mode
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import Cohort, CohortBatch, cohort
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import dimensions, parameters
from dosetwin.twins.simulation.prediction import predicted

Values = npt.NDArray[np.float64]
PROBES = 32
"""Points of the prior at which J is looked at for a second basin."""
FAR = 4.0
"""A probe further than this many posterior standard deviations from the mode can be another basin."""
AS_GOOD = 6.0
"""A probe whose J is at most this much above the mode's is worth a search of its own (chance e^-6)."""
STARTS = 4
"""Searches from so many of those probes."""


class _Ending(NamedTuple):
    """What is computed once at the mode."""

    exact: Float[Array, "Z Z"]
    f: Float[Array, " N"]
    typical: Float[Array, " N"]


@cache
def _searcher(root: PopulationModel, steady: bool) -> Callable[..., Mode]:
    def one(population: Population, program: Program, start: Array) -> Mode:
        return find_mode(looker(root, steady, population, program), start)

    return cast("Callable[..., Mode]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0))))


@cache
def _prober(root: PopulationModel, steady: bool) -> Callable[..., tuple[Array, Array]]:
    """Where each probe lies: J there, and its distance from the mode in posterior standard deviations."""

    def one(population: Population, program: Program, probes: Array, mode: Mode) -> tuple[Array, Array]:
        seen = jax.vmap(lambda z: objective(root, steady, population, program, z))(probes)
        apart = probes - mode.z
        return seen, jnp.sqrt(jnp.einsum("mi,ij,mj->m", apart, mode.hessian, apart))

    return cast("Callable[..., tuple[Array, Array]]", jax.jit(jax.vmap(one, in_axes=(None, 0, None, 0))))


@cache
def _finisher(root: PopulationModel, steady: bool) -> Callable[..., _Ending]:
    def one(population: Population, program: Program, z: Array) -> _Ending:
        return _Ending(
            exact_hessian(root, steady, population, program, z),
            predicted(root, steady, population, program, z),
            predicted(root, steady, population, program, jnp.zeros_like(z)),
        )

    return cast("Callable[..., _Ending]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0))))


@dataclass
class Searched:
    """Modes of a batch, as NumPy arrays with a leading axis of subjects."""

    mode: Mode
    searches: npt.NDArray[np.int64]
    basins: npt.NDArray[np.int64]


def search(model: PopulationModel, batch: CohortBatch, starts: int, begin: Values | None = None) -> Searched:
    """The modes of a batch from `begin` (default 0), and from probes of the prior where one looks as good.

    Call it in double precision.
    """
    Z = dimensions(model, batch.occasions)
    find = _searcher(model.root, batch.steady)
    population = model.population
    first = find(population, batch.program, np.zeros((batch.size, Z)) if begin is None else begin)
    mode = cast("Mode", jax.tree.map(np.array, first))
    found = Searched(mode, np.ones(batch.size, np.int64), np.ones(batch.size, np.int64))
    if starts == 0 or Z == 0:
        return found
    probes = prior_probes(Z)
    seen, distance = (
        np.asarray(a) for a in _prober(model.root, batch.steady)(population, batch.program, probes, mode)
    )
    near = (distance <= FAR) | (seen >= mode.value[:, None] + AS_GOOD)
    worth = np.isfinite(seen) & (~near | ~mode.converged[:, None])
    worth[len(batch.index) :] = False
    order = np.argsort(np.where(worth, seen, np.inf), axis=1, kind="stable")[:, :starts]
    tasks = [(row, int(k)) for row in range(batch.size) for k in order[row] if worth[row, k]]
    for begin_at in range(0, len(tasks), batch.size):
        part = tasks[begin_at : begin_at + batch.size]
        rows = np.array([row for row, _ in part] + [0] * (batch.size - len(part)))
        begun = probes[[k for _, k in part] + [0] * (batch.size - len(part))]
        program = cast("Program", jax.tree.map(lambda leaf, rows=rows: leaf[rows], batch.program))
        others = cast("Mode", jax.tree.map(np.asarray, find(population, program, begun)))
        for j, (row, _) in enumerate(part):
            _better(found, row, others, j)
    return found


def _better(found: Searched, row: int, others: Mode, j: int) -> None:
    found.searches[row] += 1
    if not others.converged[j]:
        return
    mode = found.mode
    if not mode.converged[row] or np.abs(others.z[j] - mode.z[row]).max() > 1e-3:
        found.basins[row] += int(mode.converged[row])
        if not mode.converged[row] or others.value[j] < mode.value[row] - 1e-9:
            for kept, new in zip(mode, others, strict=True):
                cast("Any", kept)[row] = new[j]


def prior_probes(Z: int) -> Values:
    """PROBES points of N(0, 1.5^2) in Z dimensions: Sobol's sequence, always the same."""
    if Z == 0:
        return np.zeros((PROBES, 0))
    uniform = qmc.Sobol(Z, scramble=True, rng=0).random(PROBES)
    points: Values = 1.5 * norm.ppf(np.clip(uniform, 1e-6, 1 - 1e-6))
    return points


@dataclass(frozen=True)
class IndividualFits:
    """Posterior modes of n subjects; what is a list has one entry a subject.

    z: modes in standard normal units, [Z_i] = K between, then L for each occasion. objective: 2 J, NONMEM's
    conditional objective without constants (see `inference.objective`). marginal: the FOCE contribution
    2 J + log|expected H|. converged, iterations; searches: how many starts were made; basins: how many
    different modes were found (above 1: look at the profile). expected, exact: Hessians in z.
    prediction, typical: IPRED and PRED of every observation record.
    """

    model: PopulationModel
    cohort: Cohort
    z: tuple[Values, ...]
    objective: Values
    marginal: Values
    converged: npt.NDArray[np.bool_]
    iterations: npt.NDArray[np.int64]
    searches: npt.NDArray[np.int64]
    basins: npt.NDArray[np.int64]
    expected: tuple[Values, ...]
    exact: tuple[Values, ...]
    prediction: tuple[Values, ...]
    typical: tuple[Values, ...]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The subjects, in order."""
        return self.cohort.subjects

    @cached_property
    def etas(self) -> pd.DataFrame:
        """Etas between subjects by parameter name, one row a subject (index: id)."""
        table = np.array([self._eta(i) for i in range(len(self.z))]).reshape(len(self.z), -1)
        return pd.DataFrame(table, index=self._ids, columns=list(self.model.varying))

    @cached_property
    def occasion_etas(self) -> pd.DataFrame:
        """Etas between occasions: one row a subject and occasion."""
        K, L = len(self.model.varying), len(self.model.occasion_varying)
        rows = []
        for subject, z in zip(self.subjects, self.z, strict=True):
            kappa = z[K:].reshape(-1, L) @ self.model.population.gamma.T if L else np.zeros((0, 0))
            for occasion, values in zip(np.unique(subject.occasion), kappa, strict=False):
                rows.append([subject.id, int(occasion), *values.tolist()])
        return pd.DataFrame(rows, columns=["id", "occasion", *self.model.occasion_varying])

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """Individual parameters of every parameter row: subject, time from which it holds, each parameter."""
        return individual_table(self)

    def covariance(self, i: int, *, exact: bool = True) -> Values:
        """Laplace covariance of subject i's etas between subjects [K, K]: omega H^-1 omega'.

        exact: H is the exact Hessian; else the expected one (as FOCE). The prior's Omega bounds the second.
        """
        H = self.exact[i] if exact else self.expected[i]
        K = len(self.model.varying)
        inverse = np.linalg.inv(H)[:K, :K]
        omega = self.model.population.omega
        covariance: Values = omega @ inverse @ omega.T
        return covariance

    def _eta(self, i: int) -> Values:
        eta: Values = self.model.population.omega @ self.z[i][: len(self.model.varying)]
        return eta

    @property
    def _ids(self) -> list[str]:
        return [subject.id for subject in self.subjects]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a subject: observations, objective, how the search went, whether H is positive."""
        positive = [bool(np.linalg.eigvalsh(H).min() > 0) if H.size else True for H in self.exact]
        return pd.DataFrame(
            {
                "observations": [int(s.observed.sum()) for s in self.subjects],
                "objective": self.objective,
                "marginal": self.marginal,
                "converged": self.converged,
                "iterations": self.iterations,
                "searches": self.searches,
                "basins": self.basins,
                "positive_definite": positive,
            },
            index=self._ids,
        )


def estimate_individuals(
    model: PopulationModel, subjects: Iterable[Subject] | Cohort, *, starts: int = STARTS
) -> IndividualFits:
    """Maximum a posteriori estimates of every subject, in batch and in float64.

    `starts`: from how many further points a search may begin where the surface asks for it (0: only from the
    typical subject). Raises RecordError for records without meaning. A subject whose search fails is there
    with converged False, never left out.
    """
    prepared = subjects if isinstance(subjects, Cohort) else cohort(model, list(subjects))
    n = len(prepared)
    columns: dict[str, list[Any]] = {name: [None] * n for name in _COLUMNS}
    for batch in prepared.batches:
        with double_precision():
            found = search(model, batch, starts)
            finish = _finisher(model.root, batch.steady)(model.population, batch.program, found.mode.z)
            ending = cast("_Ending", jax.tree.map(np.asarray, finish))
        for row, i in enumerate(batch.index):
            _collect(model, prepared.subjects[i], found, ending, row, int(i), columns)
    arrays: dict[str, Any] = {
        name: np.array(columns[name]) for name in ("objective", "marginal", "converged", "iterations")
    } | {name: np.array(columns[name]) for name in ("searches", "basins")}
    lists: dict[str, Any] = {name: tuple(columns[name]) for name in _LISTS}
    return IndividualFits(model, prepared, **lists, **arrays)


_LISTS = ("z", "expected", "exact", "prediction", "typical")
_COLUMNS = (*_LISTS, "objective", "marginal", "converged", "iterations", "searches", "basins")


def _collect(
    model: PopulationModel,
    subject: Subject,
    found: Searched,
    ending: _Ending,
    row: int,
    i: int,
    columns: dict[str, list[Any]],
) -> None:
    Z = dimensions(model, len(np.unique(subject.occasion)))
    N = int(np.sum(subject.evid == 0))
    H = np.asarray(found.mode.hessian[row])
    value = float(found.mode.value[row])
    columns["z"][i] = np.asarray(found.mode.z[row][:Z])
    columns["objective"][i] = 2 * value
    columns["marginal"][i] = 2 * value + float(np.linalg.slogdet(H)[1])
    columns["converged"][i] = bool(found.mode.converged[row])
    columns["iterations"][i] = int(found.mode.iterations[row])
    columns["searches"][i] = int(found.searches[row])
    columns["basins"][i] = int(found.basins[row])
    columns["expected"][i] = H[:Z, :Z]
    columns["exact"][i] = np.asarray(ending.exact[row])[:Z, :Z]
    columns["prediction"][i] = np.asarray(ending.f[row])[:N]
    columns["typical"][i] = np.asarray(ending.typical[row])[:N]


def individual_table(fits: IndividualFits) -> pd.DataFrame:
    """Individual parameters, one row a subject and parameter row."""
    frames: list[pd.DataFrame] = []
    model = fits.model
    for batch in fits.cohort.batches:
        Z = dimensions(model, batch.occasions)
        z = np.zeros((batch.size, Z))
        for row, i in enumerate(batch.index):
            z[row, : len(fits.z[i])] = fits.z[i]
        with double_precision():
            p = parameters(model.root)(model.population, batch.program.rows, z)
            values = {name: np.asarray(v) for name, v in p.items()}
        for row, i in enumerate(batch.index):
            events = batch.program.events
            record = events.record[row]
            rows, first = np.unique(events.row[row][record], return_index=True)
            frames.append(
                pd.DataFrame(
                    {
                        "id": fits.subjects[i].id,
                        "order": int(i),
                        "time": events.time[row][record][first],
                        **{name: v[row][rows] for name, v in values.items()},
                    }
                )
            )
    table = pd.concat(frames, ignore_index=True).sort_values(["order", "time"], kind="stable")
    return table.drop(columns="order").reset_index(drop=True)
