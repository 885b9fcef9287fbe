"""The estimator of a patient's history, shared by predictions and decisions: mode, samples, what they say.

Only one thing is expensive to compile, the model's answer to a set of z (`see`): so it is compiled once, and
the search for the mode and the samples all call it. The search takes the Jacobian of the predictions by
central differences of `STEP`, (f(z + h) - f(z - h)) / 2h, in double precision (error about 1e-10); samples
are drawn around the mode by the expected Hessian there and weighted by the exact posterior.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from dosetwin.twins.estimators.history_batch import Batch
from dosetwin.twins.estimators.history_drift import Drift, dimensions, engine_z
from dosetwin.twins.inference.importance import (
    FREEDOM,
    Samples,
    proper_factor,
    propose,
    resampled,
    weigh,
)
from dosetwin.twins.inference.objective import Curvature, observation_deviances, observation_information
from dosetwin.twins.inference.posterior_mode import ITERATIONS, Mode, Search, advance_search, begin_search
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.engine import run
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import individual_parameters
from dosetwin.twins.simulation.prediction import observed

Values = npt.NDArray[np.float64]
SAMPLES = 128
QUANTILES = (0.05, 0.5, 0.95)
TOGETHER = 32
"""Vectors z that are looked at in one call."""
STEP = 3e-5


class Seen(NamedTuple):
    """Of K vectors z of one patient: the model's answers.

    half_deviance [K]; slope, information [K, N]: its derivatives in f; f [K, N]. At the records that are
    asked for: level [K, A], parameters [K, A] and amounts [K, A, n]; ahead [K]: the parameters at the last of
    them with what they will have drifted to.
    """

    half_deviance: Any
    slope: Any
    information: Any
    f: Any
    level: Any
    parameters: dict[str, Any]
    ahead: dict[str, Any]
    amounts: Any


class Estimate(NamedTuple):
    """Of the patients of a batch [B]: the mode, weighted samples, and what these say where it was asked.

    typical [B, A]: of the typical patient; seen: `Seen` of every sample; stands [B, S]: which of them stand
    for equally weighted ones.
    """

    mode: Mode
    samples: Samples
    typical: Values
    seen: Seen
    stands: npt.NDArray[np.integer]

    def equally(self, leaf: Values) -> Values:
        """Values of the samples [B, S, ...] as equally weighted ones."""
        picked: Values = np.take_along_axis(
            leaf, self.stands.reshape(*self.stands.shape, *(1,) * (leaf.ndim - 2)), axis=1
        )
        return picked


def noise(
    model: PopulationModel, names: Sequence[tuple[int, str, int]], drift: Drift | None = None
) -> Values:
    """Standard normal numbers [n, S/2, Z+6], a function of (seed, patient, number) alone."""
    shape = (SAMPLES // 2, dimensions(model, drift) + FREEDOM)
    drawn = np.empty((len(names), *shape))
    for i, (seed, patient, number) in enumerate(names):
        key = hashlib.blake2b(f"{seed}\x1f{patient}\x1f{number}".encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))
        generator.standard_normal(out=drawn[i])
    return drawn


def see(
    model: PopulationModel,
    drift: Drift | None,
    population: Population,
    program: Program,
    asked: Array,
    z: Float[Array, "K Z"],
) -> Seen:
    """The model's answers for one patient; `asked` [A] are places among the observation records."""
    o = program.observations
    rows = jnp.asarray(program.events.row)[jnp.asarray(o.event)[asked]]

    def one(z: Float[Array, " Z"]) -> Seen:
        p = individual_parameters(model, population, program.rows, engine_z(model, drift, z))
        later = p
        if drift is not None:
            later = individual_parameters(model, population, program.rows, drift.ahead_z(model, z))
        course = run(model, program, p, steady=False)
        f = observed(model, program, p, course.outputs)
        deviance, slope = jax.jvp(
            lambda f: observation_deviances(model, population, o, f), (f,), (jnp.ones_like(f),)
        )
        return Seen(
            deviance.sum(),
            jnp.where(o.mask > 0, slope, 0.0),
            observation_information(model, population, o, f),
            f,
            f[asked],
            {name: value[rows] for name, value in vars(p).items()},
            {name: value[rows[-1]] for name, value in vars(later).items()},
            course.amounts[asked],
        )

    return jax.vmap(one)(z)


def _around(search: Search) -> Float[Array, "K Z"]:
    """The next z, and both neighbours of it in every direction, padded."""
    z = search.z + search.move
    apart = STEP * jnp.eye(z.shape[0], dtype=z.dtype)
    points = jnp.concatenate([z[None], z + apart, z - apart])
    return jnp.concatenate([points, jnp.tile(z, (-points.shape[0] % TOGETHER, 1))])


def _advance(search: Search, half_deviance: Array, slope: Array, information: Array, f: Array) -> Search:
    """One step of the search from the answers to `_around`; each [K, ...]."""
    z = search.z + search.move
    Z = z.shape[0]
    jacobian = (f[1 : 1 + Z] - f[1 + Z : 1 + 2 * Z]).T / (2 * STEP)
    jacobian = jnp.where(information[0][:, None] > 0, jacobian, 0.0)
    curvature = Curvature(
        0.5 * z @ z + half_deviance[0],
        z + slope[0] @ jacobian,
        jnp.eye(Z, dtype=z.dtype) + (jacobian * information[0][:, None]).T @ jacobian,
    )
    new = advance_search(search, curvature)
    kept: Search = jax.tree.map(lambda old, new: jnp.where(search.done, old, new), search, new)
    return kept


def _proposed(mode: Mode, drawn: Array) -> tuple[Array, Array]:
    return propose(mode.z, proper_factor(mode.hessian), drawn, jnp.ones_like(mode.z))


def _weighed(z: Array, log_proposal: Array, half_deviance: Array) -> tuple[Samples, Array]:
    value = 0.5 * (z**2).sum(axis=1) + half_deviance
    samples = weigh(z, log_proposal, value, jnp.ones_like(z[0]))
    return samples, resampled(samples.weight)


def level_quantiles(
    model: PopulationModel, population: Population, level: Float[Array, " S"], weight: Float[Array, " S"]
) -> Float[Array, " Q"]:
    """The predictive distribution of a level, residual error included.

    Quantiles of the mixture sum_s w_s N(f_s, sd_s^2), on the error's scale, by bisection of its
    distribution function: the residual error adds no Monte Carlo noise.
    """
    error, s = model.outputs[0].error, jnp.asarray(population.residual[0])
    mean, sd = error.scale(level), error.sd(level, s)
    p = jnp.asarray(QUANTILES, level.dtype)
    used = weight > 0
    low = jnp.full_like(p, jnp.min(jnp.where(used, mean - 8 * sd, jnp.inf)))
    high = jnp.full_like(p, jnp.max(jnp.where(used, mean + 8 * sd, -jnp.inf)))

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = 0.5 * (low + high)
        below = jnp.sum(weight * norm.cdf((middle[:, None] - mean) / sd), axis=1) < p
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, 50, halve, (low, high))
    # a level is never below 0
    return jnp.maximum(error.unscale(0.5 * (low + high)), 0.0)


class Estimators:
    """The estimator of a model's form (`model.root`) and drift, over the patients of a batch."""

    def __init__(self, root: PopulationModel, drift: Drift | None) -> None:
        def over(one: Callable[..., Any], *axes: int | None) -> Callable[..., Any]:
            return jax.jit(jax.vmap(one, in_axes=axes))

        self._dimensions = dimensions(root, drift)
        self._see = over(partial(see, root, drift), None, 0, 0, 0)
        self._begin, self._around = over(begin_search, 0), over(_around, 0)
        self._advance = over(_advance, *[0] * 5)
        self._proposed, self._weighed = over(_proposed, 0, 0), over(_weighed, 0, 0, 0)
        self._quantiles = over(partial(level_quantiles, root), None, 0, 0)

    def _look(self, population: Population, batch: Batch, z: Any) -> Seen:
        """`see` of any number of z [B, K, Z], in calls of one size; NumPy arrays."""
        asked = np.asarray(batch.asked).reshape(len(batch.asked), -1)
        parts: list[Seen] = []
        for begin in range(0, z.shape[1], TOGETHER):
            seen = self._see(population, batch.program, asked, z[:, begin : begin + TOGETHER])
            parts.append(jax.tree.map(np.asarray, seen))
        if len(parts) == 1:
            return parts[0]
        joined: Seen = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)
        return joined

    def _search(self, population: Population, batch: Batch) -> tuple[Mode, Values]:
        """The mode of every patient, from the typical one; and what was asked of the typical one."""
        search = self._begin(np.zeros((len(batch.asked), self._dimensions)))
        typical = None
        for _ in range(ITERATIONS):
            seen = self._look(population, batch, self._around(search))
            typical = seen.level[:, 0] if typical is None else typical
            search = self._advance(search, *seen[:4])
            if np.asarray(search.done).all():
                break
        assert typical is not None
        return jax.tree.map(np.asarray, search.mode), typical

    def mode(self, population: Population, batch: Batch) -> Mode:
        """Most probable z of every patient."""
        with double_precision():
            return self._search(population, batch)[0]

    def estimate(self, population: Population, batch: Batch, drawn: Values) -> Estimate:
        """Mode and samples; `drawn`: `noise` of every row of the batch."""
        with double_precision():
            mode, typical = self._search(population, batch)
            z, log_proposal = self._proposed(mode, drawn)
            seen = self._look(population, batch, np.asarray(z))
            samples, stands = jax.tree.map(np.asarray, self._weighed(z, log_proposal, seen.half_deviance))
            return Estimate(mode, samples, typical, seen, stands)

    def quantiles(self, population: Population, found: Estimate) -> Values:
        """Quantiles [B, Q] of a level at the last time asked for."""
        with double_precision():
            level = found.seen.level[:, :, -1]
            return np.asarray(self._quantiles(population, level, found.samples.weight))


@cache
def estimators(root: PopulationModel, drift: Drift | None = None) -> Estimators:
    """One set a model's form (`model.root`) and drift."""
    return Estimators(root, drift)
