"""What SAEM compiles: Metropolis moves of every subject's z, and the score of what has no closed M-step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.inference.importance import draw_samples, proper_factor
from dosetwin.twins.inference.objective import objective
from dosetwin.twins.inference.population_vector import PopulationVector
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.simulation.event_program import Program

FROM_PRIOR, WHOLE, SWEEPS = 2, 2, 2
"""Moves an iteration: drawn from the prior; of all components together; sweeps through the components."""
AIM = 0.4
"""Acceptance that the step lengths of the random walks are led to."""
TOGETHER = 8
"""Subjects whose importance samples are evaluated at once."""


class Moved(NamedTuple):
    """z [C, Z] after the moves, and the logarithm of the step lengths [Z + 1] (last: of all together)."""

    z: Float[Array, "C Z"]
    log_step: Float[Array, " Z+1"]


class Score(NamedTuple):
    """Mean over the chains of J, its gradient and Hessian in the numeric numbers."""

    value: Float[Array, ""]
    gradient: Float[Array, " P"]
    hessian: Float[Array, "P P"]


@cache
def mover(root: PopulationModel, steady: bool) -> Callable[..., Moved]:
    """(population, program, z [B, C, Z], log_step [B, Z+1], key [B], gain) -> Moved, target exp(-J)."""

    def one(
        population: Population, program: Program, z: Array, log_step: Array, key: Array, gain: Array
    ) -> Moved:
        C, Z = z.shape
        n = FROM_PRIOR + WHOLE + SWEEPS * Z
        place = jnp.arange(n) - FROM_PRIOR - WHOLE
        step = jnp.exp(log_step)

        def J(z: Array) -> Array:
            value = objective(root, steady, population, program, z)
            return jnp.where(jnp.isfinite(value), value, jnp.inf)

        def move(k: Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
            z, value, accepted = carry
            first, second = jax.random.split(jax.random.fold_in(key, k))
            noise = jax.random.normal(first, (C, Z), z.dtype)
            component = jnp.arange(Z) == place[k] % max(Z, 1)
            walk = jnp.where(place[k] < 0, step[Z], step[:Z] * component)
            prior = k < FROM_PRIOR
            new = jnp.where(prior, noise, z + walk * noise)
            new_value = jax.vmap(J)(new)
            # the prior's own density is in its proposal
            correction = jnp.where(prior, 0.5 * ((new**2).sum(1) - (z**2).sum(1)), 0.0)
            chance = value - new_value + correction
            taken = jnp.log(jax.random.uniform(second, (C,), z.dtype)) < chance
            z = jnp.where(taken[:, None], new, z)
            value = jnp.where(taken, new_value, value)
            slot = jnp.where(place[k] < 0, Z, place[k] % max(Z, 1))
            rate = jnp.where(prior, 0.0, taken.mean() - AIM)
            return z, value, accepted.at[slot].add(rate)

        start = (z, jax.vmap(J)(z), jnp.zeros(Z + 1, z.dtype))
        z, _, excess = jax.lax.fori_loop(0, n, move, start)
        return Moved(z, jnp.clip(log_step + gain * excess / SWEEPS, -7.0, 2.0))

    return cast("Callable[..., Moved]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0, 0, 0, None))))


@cache
def scorer(root: PopulationModel, layout: PopulationVector, steady: bool) -> Callable[..., Score]:
    """(x [P], base, program, z [B, C, Z]) -> Score of every subject; layout: of the numeric numbers."""

    def one(x: Array, base: Population, program: Program, z: Array) -> Score:
        def mean(x: Array) -> Array:
            population = layout.unpack(x, base)
            return jax.vmap(lambda v: objective(root, steady, population, program, v))(z).mean()

        def both(x: Array) -> tuple[Array, tuple[Array, Array]]:
            def twice(x: Array) -> tuple[Array, Array]:
                value = mean(x)
                return value, value

            gradient, value = jax.jacfwd(twice, has_aux=True)(x)
            return gradient, (value, gradient)

        hessian, (value, gradient) = jax.jacfwd(both, has_aux=True)(x)
        return Score(value, gradient, hessian)

    return cast("Callable[..., Score]", jax.jit(jax.vmap(one, in_axes=(None, None, 0, 0))))


@cache
def evidence(root: PopulationModel, steady: bool) -> Callable[..., tuple[Array, Array]]:
    """(population, program, mode [B, Z], hessian [B, Z, Z], noise [B, S/2, Z+6]) of a batch.

    -> log evidence and effective size [B].
    """

    def every(
        population: Population, program: Program, mode: Array, hessian: Array, noise: Array
    ) -> tuple[Array, Array]:
        def one(of: tuple[Program, Array, Array, Array]) -> tuple[Array, Array]:
            program, mode, hessian, noise = of
            samples = draw_samples(
                lambda z: objective(root, steady, population, program, z), mode, proper_factor(hessian), noise
            )
            return samples.log_evidence, samples.effective

        found: tuple[Array, Array] = jax.lax.map(one, (program, mode, hessian, noise), batch_size=TOGETHER)
        return found

    return cast("Callable[..., tuple[Array, Array]]", jax.jit(every))
