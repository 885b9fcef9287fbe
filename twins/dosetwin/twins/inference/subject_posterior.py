"""One subject's weighted posterior samples, and what they say of parameters, observations and the future."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import SimpleNamespace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Array

from dosetwin.twins.data.subject import OBSERVATION, Subject
from dosetwin.twins.inference.weighted import weighted_covariance, weighted_mean, weighted_quantiles
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import CohortBatch, cohort
from dosetwin.twins.simulation.continuation import Occasion, with_records
from dosetwin.twins.simulation.event_program import Program, Rows
from dosetwin.twins.simulation.individual import individual_parameters
from dosetwin.twins.simulation.prediction import predicted

Values = npt.NDArray[np.float64]
BANDS = (0.05, 0.5, 0.95)
REPEATS = 4
"""Residual errors drawn around each sample, so that their chance adds little to that of the samples."""


@dataclass(frozen=True)
class SubjectPosterior:
    """Weighted samples of one subject.

    z [S, Z]: standard normal units, K between subjects, then L for each occasion in ascending order; weight
    [S], summing to 1. `k_hat` up to `trusted_k_hat` means that averages can be trusted (`reliable`).
    effective: effective sample size; log_evidence: log p(y) without the constants that half_deviance leaves
    out (`dosetwin.twins.inference.model_average` adds them); rounds: how often the proposal was refitted.
    """

    model: PopulationModel
    subject: Subject
    z: Values
    weight: Values
    k_hat: float
    trusted_k_hat: float
    effective: float
    log_evidence: float
    rounds: int

    @property
    def reliable(self) -> bool:
        """Whether the weights can be trusted."""
        return math.isfinite(self.log_evidence) and self.k_hat <= self.trusted_k_hat

    @property
    def advice(self) -> str:
        """A sentence for the user: how well the sampling went."""
        if self.reliable:
            again = f" after {self.rounds} refits of the proposal" if self.rounds else ""
            return f"{self.effective:.0f} effective samples, k-hat {self.k_hat:.2f}{again}: reliable"
        return (
            f"k-hat {self.k_hat:.2f} is above {self.trusted_k_hat:.2f} after {self.rounds} refits of the "
            "proposal: averages over these samples cannot be trusted; draw more samples, or look at the "
            "profile of the objective"
        )

    @cached_property
    def etas(self) -> pd.DataFrame:
        """Etas between subjects by parameter name, one row a sample."""
        K = len(self.model.varying)
        table = self.z[:, :K] @ np.asarray(self.model.population.omega).T
        return pd.DataFrame(table, columns=list(self.model.varying))

    @property
    def eta_mean(self) -> pd.Series:
        """Posterior means of the etas."""
        return pd.Series(weighted_mean(self.etas.to_numpy(), self.weight), index=self.etas.columns)

    @property
    def eta_covariance(self) -> pd.DataFrame:
        """Posterior covariance of the etas."""
        names = self.etas.columns
        return pd.DataFrame(weighted_covariance(self.etas.to_numpy(), self.weight), names, names)

    def drawn(self, n: int, seed: int = 0) -> Values:
        """Equally weighted samples of z [n, Z], by systematic resampling."""
        generator = np.random.default_rng([seed, 1])
        ladder = (np.arange(n) + generator.random()) / n
        index = np.searchsorted(np.cumsum(self.weight), ladder)
        return self.z[np.minimum(index, len(self.weight) - 1)]

    def thinned(self, n: int, seed: int = 0) -> SubjectPosterior:
        """The same posterior by n equally weighted samples, for a quick look."""
        weight = np.full(n, 1 / n)
        return replace(self, z=self.drawn(n, seed), weight=weight, effective=min(self.effective, float(n)))

    def parameters(self, at: float | None = None) -> pd.DataFrame:
        """Individual parameters, one row a sample, under the covariates at time `at` (default: last)."""
        times = self.subject.time[-1:] if at is None else [at]
        batch, z = self._extended(with_records(self.model, self.subject, times=times))
        program = _first(batch)
        row = int(np.asarray(program.events.row)[np.asarray(program.observations.event)[self._new(times)][0]])
        with double_precision():
            p = _parameters(self.model.root)(self.model.population, program.rows, z)
            table = {
                name: np.broadcast_to(np.asarray(v), (len(z), v.shape[1]))[:, row] for name, v in p.items()
            }
        return pd.DataFrame(table)

    def predictions(self) -> Values:
        """Predictions f of every observation record of the subject, [S, N]."""
        batch, z = self._extended(self.subject)
        return self._simulated(batch, z)[:, : int(np.sum(self.subject.evid == OBSERVATION))]

    def at(
        self, times: Sequence[float] | Values, *, output: int = 1, occasion: Occasion = "last", seed: int = 0
    ) -> Values:
        """Predictions f at any times, past or future, [S, T]; doses given so far act on.

        `occasion`: of times after the last record; a new one draws its etas from the population.
        """
        chosen = np.asarray(times, np.float64)
        if not len(chosen):
            return np.zeros((len(self.z), 0))
        longer = with_records(self.model, self.subject, times=chosen, output=output, occasion=occasion)
        batch, z = self._extended(longer, seed)
        return self._simulated(batch, z)[:, self._new(chosen)]

    def quantiles(
        self,
        times: Sequence[float] | Values,
        probabilities: Sequence[float] = BANDS,
        *,
        output: int = 1,
        occasion: Occasion = "last",
        residual: bool = True,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Quantiles of what would be observed at `times` (of the prediction alone without `residual`).

        One row a time; columns mean (of the predictions) and the probabilities.
        """
        f = self.at(times, output=output, occasion=occasion, seed=seed)
        shown, weight = f, self.weight
        if residual:
            shown = self.observed(np.tile(f, (REPEATS, 1)), output=output, seed=seed)
            weight = np.tile(weight, REPEATS) / REPEATS
        table = weighted_quantiles(shown, weight, probabilities)
        frame = pd.DataFrame({"time": np.asarray(times, np.float64), "mean": weighted_mean(f, self.weight)})
        for probability, values in zip(probabilities, table, strict=True):
            frame[probability] = values
        return frame

    def observed(self, f: Values, *, output: int = 1, seed: int = 0) -> Values:
        """Observations drawn around predictions f."""
        error = self.model.outputs[output - 1].error
        coefficients = self.model.population.residual[output - 1]
        with double_precision():
            key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(self.subject.id.encode()))
            return np.asarray(error.draw(key, jnp.asarray(f), jnp.asarray(coefficients)))

    def _extended(self, subject: Subject, seed: int = 0) -> tuple[CohortBatch, Values]:
        """The program of a longer subject, and z with the etas of its new occasions drawn from the prior."""
        return cohort(self.model, [subject]).batches[0], self.for_occasions(subject, seed)

    def for_occasions(self, subject: Subject, seed: int = 0) -> Values:
        """Samples [S, Z'] for the occasions of `subject`, this posterior's subject with more records.

        An occasion that the posterior does not know has the population's variability.
        """
        K, L = len(self.model.varying), len(self.model.occasion_varying)
        if not L:
            return self.z
        known, wanted = np.unique(self.subject.occasion), np.unique(subject.occasion)
        S = len(self.z)
        own = self.z[:, K:].reshape(S, -1, L)
        fresh = np.random.default_rng([seed, zlib.crc32(self.subject.id.encode()), 2])
        slots = [
            own[:, int(np.searchsorted(known, o))] if o in known else fresh.standard_normal((S, L))
            for o in wanted
        ]
        return np.concatenate([self.z[:, :K], *slots], axis=1)

    def _simulated(self, batch: CohortBatch, z: Values) -> Values:
        with double_precision():
            return np.asarray(
                _simulator(self.model.root, batch.steady)(self.model.population, _first(batch), z)
            )

    def _new(self, times: Sequence[float] | Values) -> npt.NDArray[np.int64]:
        """Which observation records of the longer subject stand for `times`."""
        chosen = np.asarray(times, np.float64)
        back = np.flatnonzero(np.diff(self.subject.time) < 0)
        first = int(back[-1]) + 1 if len(back) else 0
        is_observation = self.subject.evid == OBSERVATION
        earlier = int(is_observation[:first].sum())
        known = self.subject.time[first:][is_observation[first:]]
        order = np.argsort(chosen, kind="stable")
        rank = np.empty(len(chosen), np.int64)
        rank[order] = np.arange(len(chosen))
        place: npt.NDArray[np.int64] = earlier + rank + np.searchsorted(known, chosen, side="left")
        return place


@cache
def _simulator(root: PopulationModel, steady: bool) -> Callable[..., Array]:
    def one(population: Population, program: Program, z: Array) -> Array:
        return predicted(root, steady, population, program, z)

    return cast("Callable[..., Array]", jax.jit(jax.vmap(one, in_axes=(None, None, 0))))


@cache
def _parameters(root: PopulationModel) -> Callable[..., dict[str, Array]]:
    def one(population: Population, rows: Rows, z: Array) -> dict[str, Array]:
        p: SimpleNamespace = individual_parameters(root, population, rows, z)
        return vars(p)

    return cast("Callable[..., dict[str, Array]]", jax.jit(jax.vmap(one, in_axes=(None, None, 0))))


def _first(batch: CohortBatch) -> Program:
    return cast("Program", jax.tree.map(lambda leaf: leaf[0], batch.program))


def from_etas(
    model: PopulationModel, subject: Subject, etas: pd.DataFrame | Mapping[str, float] | Values | None = None
) -> SubjectPosterior:
    """Given etas as equally weighted samples; None: the typical subject. Etas between occasions are 0.

    `etas`: one row a sample, columns as `model.varying`; or one mapping, where a name left out is 0.
    """
    K = len(model.varying)
    if etas is None:
        etas = {}
    if isinstance(etas, pd.DataFrame):
        table = etas.reindex(columns=list(model.varying), fill_value=0.0).to_numpy(np.float64)
    elif isinstance(etas, Mapping):
        table = np.array([[etas.get(name, 0.0) for name in model.varying]], np.float64)
    else:
        table = np.asarray(etas, np.float64).reshape(-1, K)
    z = np.linalg.solve(np.asarray(model.population.omega), table.T).T if K else table
    slots = len(np.unique(subject.occasion)) * len(model.occasion_varying)
    S = len(z)
    return SubjectPosterior(
        model=model,
        subject=subject,
        z=np.concatenate([z, np.zeros((S, slots))], axis=1),
        weight=np.full(S, 1 / S),
        k_hat=-math.inf,
        trusted_k_hat=1.0,
        effective=float(S),
        log_evidence=0.0,
        rounds=0,
    )


def from_population(
    model: PopulationModel, subject: Subject, samples: int = 1000, seed: int = 0
) -> SubjectPosterior:
    """Samples of the population itself: a subject of whom nothing was measured yet."""
    rng = np.random.default_rng([seed, zlib.crc32(subject.id.encode()), 3])
    typical = from_etas(model, subject)
    z = rng.standard_normal((samples, typical.z.shape[1]))
    return replace(typical, z=z, weight=np.full(samples, 1 / samples), effective=float(samples))
