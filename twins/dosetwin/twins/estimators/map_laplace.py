"""Maximum a posteriori etas, Laplace covariance, importance-weighted posterior samples. One patient; vmap it.

The mode is found by a quasi-Newton iteration with exact gradients, always from z = 0: the result is
a function of the history alone. Samples are drawn from a Student t around it with the Laplace covariance
and weighted by the exact posterior; the effective sample size says how well that went.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Int

from dosetwin.twins.estimators.history_likelihood import (
    Curvature,
    History,
    curvature,
    from_scale,
    negative_log_posterior,
    predicted,
    residual_sd,
    to_scale,
)
from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.population_model import Combined, LogError

ITERATIONS = 60
TOLERANCE = 1e-13
"""On the Newton decrement g' H^-1 g: the mode is then within about 1e-7 of a posterior standard deviation."""
FLOOR = 0.2
DIFFERENCE = 1e-4
FREEDOM = 6
"""Degrees of freedom of the proposal: tails heavier than the posterior's keep the weights bounded."""


class Mode(NamedTuple):
    """The most probable etas z [K], the Cholesky factor [K, K] of the Hessian there, and how it went."""

    z: Float[Array, " K"]
    factor: Float[Array, "K K"]
    value: Float[Array, ""]
    converged: Bool[Array, ""]
    iterations: Int[Array, ""]


class Posterior(NamedTuple):
    """Weighted samples of the etas: z [S, K], normalised weights [S], effective sample size."""

    z: Float[Array, "S K"]
    weight: Float[Array, " S"]
    effective: Float[Array, ""]


def find_mode(
    structure: Linear, error: Combined | LogError, history: History, loading: Float[Array, "P K"]
) -> Mode:
    """Quasi-Newton from z = 0: the inverse Fisher Hessian there, then BFGS, with a step that backtracks.

    The Fisher Hessian alone overshoots by a factor near 2 where the residual error is proportional;
    corrected by the gradients met on the way the iteration converges superlinearly. The Hessian at the mode
    is the central difference of exact gradients; its eigenvalues are kept above FLOOR (the prior's are 1).
    """
    K = loading.shape[1]
    one = jnp.eye(K, dtype=loading.dtype)

    def look(z: Float[Array, " K"]) -> Curvature:
        return curvature(structure, error, history, loading, z)

    def going(carry: tuple[Any, ...]) -> Array:
        more: Array = ~carry[-2] & (carry[-1] < ITERATIONS)
        return more

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        z, move, value, gradient, inverse, length, _, count = carry
        new = look(z + move)
        finite = jnp.isfinite(new.value)
        # rounding decides below this; without the allowance the last steps would be refused for ever
        better = finite & (new.value <= value + 1e-13 * (1 + jnp.abs(value)))
        corrected = jnp.where(finite, _secant(inverse, move, new.gradient - gradient), inverse)
        half = solve_triangular(jnp.linalg.cholesky(new.hessian), one, lower=True)
        inverse = jnp.where(count == 0, half.T @ half, corrected)
        z = jnp.where(better, z + move, z)
        value = jnp.where(better, new.value, value)
        gradient = jnp.where(better, new.gradient, gradient)
        length = jnp.where(better, jnp.minimum(1.0, 3 * length), 0.3 * length)
        direction = inverse @ gradient
        done = gradient @ direction < TOLERANCE
        return z, jnp.clip(-length * direction, -3.0, 3.0), value, gradient, inverse, length, done, count + 1

    zero, unit = jnp.zeros(K, loading.dtype), jnp.asarray(1.0, loading.dtype)
    carry: tuple[Any, ...] = (zero, zero, 1e300 * unit, zero, one, unit, jnp.asarray(False), jnp.asarray(0))
    z, _, value, _, _, _, done, count = jax.lax.while_loop(going, step, carry)
    around = jax.vmap(lambda dz: look(z + dz).gradient)(DIFFERENCE * jnp.concatenate([one, -one]))
    hessian = (around[:K] - around[K:]) / (2 * DIFFERENCE)
    hessian = jnp.where(jnp.isfinite(hessian).all(), 0.5 * (hessian + hessian.T), one)
    eigenvalue, V = jnp.linalg.eigh(hessian)
    factor = jnp.linalg.cholesky((V * jnp.maximum(eigenvalue, FLOOR)) @ V.T)
    return Mode(z, factor, value, done, count)


def _secant(H: Float[Array, "K K"], s: Float[Array, " K"], y: Float[Array, " K"]) -> Float[Array, "K K"]:
    """The BFGS update of the inverse Hessian H: s changed the gradient by y; H where it is unusable."""
    Hy = H @ y
    sy, yHy = s @ y, y @ Hy
    usable = sy > 1e-3 * jnp.sqrt((s @ s) * (y @ y))
    safe = jnp.where(usable, sy, 1.0)
    updated = H + (1 + yHy / safe) * jnp.outer(s, s) / safe - (jnp.outer(Hy, s) + jnp.outer(s, Hy)) / safe
    return jnp.where(usable, updated, H)


def covariance(mode: Mode) -> Float[Array, "K K"]:
    """Laplace covariance of z: the inverse Hessian."""
    inverse = solve_triangular(mode.factor, jnp.eye(mode.z.shape[0], dtype=mode.z.dtype), lower=True)
    return inverse.T @ inverse


def draw(
    structure: Linear,
    error: Combined | LogError,
    history: History,
    loading: Float[Array, "P K"],
    mode: Mode,
    noise: Float[Array, "H K+6"],
) -> Posterior:
    """Importance-weighted samples: antithetic pairs of a multivariate t around the mode, from normal noise.

    Row h of `noise` makes the pair of samples h and h + H: K numbers of direction, and FREEDOM whose sum of
    squares is the chi-square variable of the t.
    """
    K = loading.shape[1]
    t = noise[:, :K] * jnp.sqrt(FREEDOM / (noise[:, K:] ** 2).sum(axis=1, keepdims=True))
    t = jnp.concatenate([t, -t])
    z = mode.z + solve_triangular(mode.factor.T, t.T, lower=False).T
    log_proposal = -0.5 * (FREEDOM + K) * jnp.log1p((t**2).sum(axis=1) / FREEDOM)
    target = -jax.vmap(lambda row: negative_log_posterior(structure, error, history, loading, row))(z)
    log_weight = jnp.where(jnp.isfinite(target), target, -jnp.inf) - log_proposal
    weight = jnp.exp(log_weight - logsumexp(log_weight))
    return Posterior(z, weight, 1 / jnp.sum(weight**2))


def resample(posterior: Posterior) -> Float[Array, "S K"]:
    """Equally weighted samples by systematic resampling at the midpoints (no further chance)."""
    S = posterior.weight.shape[0]
    ladder = (jnp.arange(S) + 0.5) / S
    index = jnp.searchsorted(jnp.cumsum(posterior.weight), ladder)
    return posterior.z[jnp.clip(index, 0, S - 1)]


class Estimate(NamedTuple):
    """The mode and weighted samples of one patient."""

    mode: Mode
    posterior: Posterior


def estimate(
    structure: Linear,
    error: Combined | LogError,
    history: History,
    loading: Float[Array, "P K"],
    noise: Float[Array, "H K+6"],
) -> Estimate:
    """Mode, Laplace covariance and weighted posterior samples of the etas."""
    mode = find_mode(structure, error, history, loading)
    return Estimate(mode, draw(structure, error, history, loading, mode, noise))


class LevelForecast(NamedTuple):
    """What a level at one time is expected to be: typical patient, and quantiles for this one."""

    population: Float[Array, ""]
    quantiles: Float[Array, " Q"]


def predict_level(
    structure: Linear,
    error: Combined | LogError,
    quantiles: tuple[float, ...],
    history: History,
    loading: Float[Array, "P K"],
    posterior: Posterior,
    t_h: Float[Array, ""],
) -> LevelForecast:
    """The predictive distribution of a level at t_h, residual error included.

    Quantiles of the mixture sum_s w_s N(f_s, sd_s^2), on the error's scale, by bisection of its
    distribution function: the residual error adds no Monte Carlo noise.
    """
    etas = jnp.concatenate([posterior.z, jnp.zeros_like(posterior.z[:1])])
    f = jax.vmap(lambda z: predicted(structure, history, loading, z, t_h[None])[0])(etas)
    typical, f = f[-1], f[:-1]
    mean, sd = to_scale(error, f), residual_sd(error, f)
    p = jnp.asarray(quantiles, f.dtype)
    used = posterior.weight > 0
    low = jnp.full_like(p, jnp.min(jnp.where(used, mean - 8 * sd, jnp.inf)))
    high = jnp.full_like(p, jnp.max(jnp.where(used, mean + 8 * sd, -jnp.inf)))

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = 0.5 * (low + high)
        below = jnp.sum(posterior.weight * norm.cdf((middle[:, None] - mean) / sd), axis=1) < p
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, 50, halve, (low, high))
    return LevelForecast(typical, from_scale(error, 0.5 * (low + high)))
