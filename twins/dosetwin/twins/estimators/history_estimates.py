"""The compiled estimator of a patient's history, shared by predictions and decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from dosetwin.twins.estimators.history_drift import Drift, dimensions, engine_z
from dosetwin.twins.inference.importance import FREEDOM, Samples, draw_samples, proper_factor, resample
from dosetwin.twins.inference.objective import Curvature, curvature, looker, observation_deviances
from dosetwin.twins.inference.posterior_mode import Mode, find_mode
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.simulation.engine import run
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import individual_parameters
from dosetwin.twins.simulation.prediction import predicted

Values = npt.NDArray[np.float64]
SAMPLES = 128
QUANTILES = (0.05, 0.5, 0.95)


class Estimate(NamedTuple):
    """The mode and weighted samples of one patient."""

    mode: Mode
    samples: Samples


class LevelForecast(NamedTuple):
    """What a level at one time is expected to be: typical patient, and quantiles for this one."""

    population: Float[Array, ""]
    quantiles: Float[Array, " Q"]


class Present(NamedTuple):
    """Equally weighted samples of where a patient is at what was asked for.

    parameters: each [S] (or [S, A]) by name; ahead: the same at the last that was asked for, with what they
    will have drifted to [S]; amounts [S, n] (or [S, A, n]).
    """

    parameters: dict[str, Float[Array, " S"]]
    ahead: dict[str, Float[Array, " S"]]
    amounts: Float[Array, "S n"]


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


def _curvature_of(
    model: PopulationModel, drift: Drift | None, population: Population, program: Program
) -> Callable[[Float[Array, " Z"]], Curvature]:
    """J with its gradient and expected Hessian in z, drift included."""
    if drift is None:
        return looker(model, False, population, program)

    def look(z: Float[Array, " Z"]) -> Curvature:
        mixed, mix = engine_z(model, drift, z), jax.jacfwd(lambda z: engine_z(model, drift, z))(z)
        inner = curvature(model, False, population, program, mixed)
        slope, bent = inner.gradient - mixed, inner.hessian - jnp.eye(mixed.shape[0], dtype=mixed.dtype)
        # the prior is standard normal in z, not in what the engine takes
        value = inner.value - 0.5 * mixed @ mixed + 0.5 * z @ z
        return Curvature(value, z + mix.T @ slope, jnp.eye(z.shape[0], dtype=z.dtype) + mix.T @ bent @ mix)

    return look


def estimate_one(
    model: PopulationModel,
    drift: Drift | None,
    population: Population,
    program: Program,
    drawn: Float[Array, "H Z"],
) -> Estimate:
    """Mode from the typical patient, and samples around it by the exact Hessian."""
    look = _curvature_of(model, drift, population, program)
    mode = find_mode(look, jnp.zeros(dimensions(model, drift)))

    def gradient(z: Float[Array, " Z"]) -> Array:
        return look(z).gradient

    hessian = jax.jacfwd(gradient)(mode.z)
    factor = proper_factor(0.5 * (hessian + hessian.T))

    def value(z: Float[Array, " Z"]) -> Array:
        f = predicted(model, False, population, program, engine_z(model, drift, z))
        return 0.5 * z @ z + observation_deviances(model, population, program.observations, f).sum()

    return Estimate(mode, draw_samples(value, mode.z, factor, drawn))


def forecast_level(
    model: PopulationModel,
    drift: Drift | None,
    population: Population,
    program: Program,
    samples: Samples,
    asked: Array,
) -> LevelForecast:
    """The predictive distribution of the level that is asked for, residual error included.

    Quantiles of the mixture sum_s w_s N(f_s, sd_s^2), on the error's scale, by bisection of its
    distribution function: the residual error adds no Monte Carlo noise.
    """
    error, s = model.outputs[0].error, jnp.asarray(population.residual[0])
    etas = jnp.concatenate([samples.z, jnp.zeros_like(samples.z[:1])])
    f = jax.vmap(lambda z: predicted(model, False, population, program, engine_z(model, drift, z))[asked])(
        etas
    )
    typical, f = f[-1], f[:-1]
    mean, sd = error.scale(f), error.sd(f, s)
    p = jnp.asarray(QUANTILES, f.dtype)
    used = samples.weight > 0
    low = jnp.full_like(p, jnp.min(jnp.where(used, mean - 8 * sd, jnp.inf)))
    high = jnp.full_like(p, jnp.max(jnp.where(used, mean + 8 * sd, -jnp.inf)))

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = 0.5 * (low + high)
        below = jnp.sum(samples.weight * norm.cdf((middle[:, None] - mean) / sd), axis=1) < p
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, 50, halve, (low, high))
    # a level is never below 0
    return LevelForecast(typical, jnp.maximum(error.unscale(0.5 * (low + high)), 0.0))


def locate(
    model: PopulationModel,
    drift: Drift | None,
    population: Population,
    program: Program,
    samples: Samples,
    asked: Array,
) -> Present:
    """Parameters and amounts at the records that are asked for, under every (resampled) posterior sample."""
    event = jnp.asarray(program.observations.event)[asked]
    row = jnp.asarray(program.events.row)[event]
    last = row if row.ndim == 0 else row[-1]

    def one(z: Float[Array, " Z"]) -> Present:
        p = individual_parameters(model, population, program.rows, engine_z(model, drift, z))
        later = p
        if drift is not None:
            later = individual_parameters(model, population, program.rows, drift.ahead_z(model, z))
        course = run(model, program, p, steady=False)
        return Present(
            {name: value[row] for name, value in vars(p).items()},
            {name: value[last] for name, value in vars(later).items()},
            course.amounts[asked],
        )

    return jax.vmap(one)(resample(samples))


class Estimators(NamedTuple):
    """Compiled functions of a batch; call them in double precision.

    estimate (population, program, noise) -> Estimate; mode (population, program) -> Mode; forecast and locate
    (population, program, samples, asked).
    """

    estimate: Callable[..., Estimate]
    mode: Callable[..., Mode]
    forecast: Callable[..., LevelForecast]
    locate: Callable[..., Present]


@cache
def estimators(root: PopulationModel, drift: Drift | None = None) -> Estimators:
    """One set a model's form (`model.root`) and drift."""

    def mode(population: Population, program: Program) -> Mode:
        look = _curvature_of(root, drift, population, program)
        return find_mode(look, jnp.zeros(dimensions(root, drift)))

    def batched(one: Callable[..., object], more: int) -> Callable[..., object]:
        return jax.jit(
            jax.vmap(
                lambda population, *rest: one(root, drift, population, *rest), in_axes=(None, *[0] * more)
            )
        )

    return Estimators(
        cast("Callable[..., Estimate]", batched(estimate_one, 2)),
        cast("Callable[..., Mode]", jax.jit(jax.vmap(mode, in_axes=(None, 0)))),
        cast("Callable[..., LevelForecast]", batched(forecast_level, 3)),
        cast("Callable[..., Present]", batched(locate, 3)),
    )
