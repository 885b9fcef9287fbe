"""Maximum a posteriori etas, Laplace covariance, importance-weighted posterior samples. One patient; vmap it.

The mode is found by Levenberg-Marquardt on the exact gradient and the Fisher Hessian, always from z = 0:
the result is a function of the history alone. Samples are drawn from a Student t around the mode with the
Laplace covariance and weighted by the exact posterior; the effective sample size says how well that went.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Int

from dosetwin.twins.estimators.history_likelihood import (
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
    """Levenberg-Marquardt from z = 0, with a secant (BFGS) correction of the Fisher Hessian.

    Damping falls tenfold on success and grows tenfold on failure. The Fisher Hessian alone overshoots by a
    factor near 2 where the residual error is proportional; corrected by the gradients met on the way the
    iteration converges superlinearly. The exact Hessian is taken once, at the mode; its eigenvalues are
    kept above FLOOR (the prior's are 1).
    """
    start = jnp.zeros(loading.shape[1], loading.dtype)
    one = jnp.eye(loading.shape[1], dtype=loading.dtype)

    def going(carry: tuple[Array, ...]) -> Array:
        return ~carry[-2] & (carry[-1] < ITERATIONS)

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        z, move, value, gradient, hessian, damping, _, count = carry
        new = curvature(structure, error, history, loading, z + move)
        finite = jnp.isfinite(new.value)
        # rounding decides below this; without the allowance the last steps would be refused for ever
        better = finite & (new.value <= value + 1e-13 * (1 + jnp.abs(value)))
        corrected = jnp.where(finite, _secant(hessian, move, new.gradient - gradient), hessian)
        hessian = jnp.where(count == 0, new.hessian, corrected)
        z = jnp.where(better, z + move, z)
        value = jnp.where(better, new.value, value)
        gradient = jnp.where(better, new.gradient, gradient)
        damping = jnp.where(better, damping / 10, jnp.maximum(damping, 1e-6) * 10)
        decrement = gradient @ jnp.linalg.solve(hessian, gradient)
        move = -jnp.linalg.solve(hessian + damping * jnp.diag(jnp.diag(hessian)), gradient)
        done = decrement < TOLERANCE
        return z, jnp.clip(move, -3.0, 3.0), value, gradient, hessian, damping, done, count + 1

    huge, damping = jnp.asarray(1e300, start.dtype), jnp.asarray(1e-2, start.dtype)
    carry = (start, start, huge, start, one, damping, jnp.asarray(False), jnp.asarray(0))
    z, _, value, _, hessian, _, done, count = jax.lax.while_loop(going, step, carry)
    exact = jax.jacfwd(lambda z: curvature(structure, error, history, loading, z).gradient)(z)
    exact = jnp.where(jnp.isfinite(exact).all(), 0.5 * (exact + exact.T), hessian)
    eigenvalue, V = jnp.linalg.eigh(exact)
    factor = jnp.linalg.cholesky((V * jnp.maximum(eigenvalue, FLOOR)) @ V.T)
    return Mode(z, factor, value, done, count)


def _secant(B: Float[Array, "K K"], s: Float[Array, " K"], y: Float[Array, " K"]) -> Float[Array, "K K"]:
    """The BFGS update of B for a step s that changed the gradient by y; B where that is not positive."""
    Bs = B @ s
    sBs, sy = s @ Bs, s @ y
    usable = sy > 1e-3 * sBs
    updated = (
        B - jnp.outer(Bs, Bs) / jnp.where(usable, sBs, 1.0) + jnp.outer(y, y) / jnp.where(usable, sy, 1.0)
    )
    return jnp.where(usable, updated, B)


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
