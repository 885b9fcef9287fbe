"""Importance-weighted samples of one subject's posterior, drawn around its mode. vmap it.

Proposal: antithetic pairs of a multivariate t with the Laplace covariance H^-1 around the mode; weights by
the exact posterior. The effective sample size and Pareto's k-hat (`dosetwin.twins.inference.pareto`) say how
well that went.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import gammaln, logsumexp
from jaxtyping import Array, Float, Int

FREEDOM = 6
"""Degrees of freedom of the proposal: tails heavier than the posterior's keep the weights bounded."""
FLOOR = 0.2
"""Eigenvalues of the Hessian are kept above this (the prior's are 1), so that the proposal stays proper."""


class Samples(NamedTuple):
    """Weighted samples of z: z [S, Z], log importance ratios [S], normalised weights [S].

    `effective` is 1/sum w^2; `log_evidence` estimates log integral p(y | z) p(z) dz, p(y | z) without the
    constants that half_deviance leaves out.
    """

    z: Float[Array, "S Z"]
    log_ratio: Float[Array, " S"]
    weight: Float[Array, " S"]
    effective: Float[Array, ""]
    log_evidence: Float[Array, ""]


def proper_factor(hessian: Float[Array, "Z Z"]) -> Float[Array, "Z Z"]:
    """Cholesky factor of the Hessian with its eigenvalues held above FLOOR (1 where it is not finite)."""
    one = jnp.eye(hessian.shape[0], dtype=hessian.dtype)
    safe = jnp.where(jnp.isfinite(hessian).all(), 0.5 * (hessian + hessian.T), one)
    eigenvalue, V = jnp.linalg.eigh(safe)
    factor: Array = jnp.linalg.cholesky((V * jnp.maximum(eigenvalue, FLOOR)) @ V.T)
    return factor


def draw_samples(
    negative_log_posterior: Callable[[Float[Array, " Z"]], Float[Array, ""]],
    mode: Float[Array, " Z"],
    factor: Float[Array, "Z Z"],
    noise: Float[Array, "H Z+6"],
    *,
    used: Float[Array, " Z"] | None = None,
    from_prior: Float[Array, "G Z"] | None = None,
) -> Samples:
    """2 H (+ G) samples from normal noise: each row of `noise` makes an antithetic pair.

    The first Z numbers are a direction, the sum of squares of the last six the chi-square variable of the t.
    `factor`: lower Cholesky factor of the Hessian. J = -log posterior as in `objective`.
    `used`: 1 where a component of z exists, 0 where it pads (it stays at the mode and counts for nothing).
    `from_prior`: G standard normal rows that join the samples; the proposal is then the mixture of the t and
    of the prior by their numbers, which bounds the ratios by the largest likelihood (Hesterberg 1995,
    Technometrics 37:185, doi:10.1080/00401706.1995.10484303).
    """
    exists = jnp.ones(mode.shape[0], mode.dtype) if used is None else jnp.asarray(used, mode.dtype)
    z, log_proposal = propose(mode, factor, noise, exists, from_prior)
    return weigh(z, log_proposal, jax.vmap(negative_log_posterior)(z), exists)


def propose(
    mode: Float[Array, " Z"],
    factor: Float[Array, "Z Z"],
    noise: Float[Array, "H Z+6"],
    exists: Float[Array, " Z"],
    from_prior: Float[Array, "G Z"] | None = None,
) -> tuple[Float[Array, "S Z"], Float[Array, " S"]]:
    """Samples and the logarithm of the density they are drawn from; see `draw_samples`."""
    Z, d = mode.shape[0], exists.sum()
    t = noise[:, :Z] * exists * jnp.sqrt(FREEDOM / (noise[:, Z:] ** 2).sum(axis=1, keepdims=True))
    t = jnp.concatenate([t, -t])
    z = mode + solve_triangular(factor.T, t.T, lower=False).T
    pairs = t.shape[0]
    if from_prior is not None:
        prior = jnp.asarray(from_prior) * exists + mode * (1 - exists)
        z = jnp.concatenate([z, prior])
        t = jnp.concatenate([t, (prior - mode) @ factor])
    log_constant = (
        gammaln(0.5 * (FREEDOM + d))
        - gammaln(0.5 * FREEDOM)
        - 0.5 * d * jnp.log(FREEDOM * jnp.pi)
        + jnp.log(jnp.diagonal(factor)).sum()
    )
    log_proposal = log_constant - 0.5 * (FREEDOM + d) * jnp.log1p((t**2).sum(axis=1) / FREEDOM)
    if from_prior is not None:
        share = pairs / z.shape[0]
        log_prior = -0.5 * d * jnp.log(2 * jnp.pi) - 0.5 * (z**2 * exists).sum(axis=1)
        log_proposal = jnp.logaddexp(jnp.log(share) + log_proposal, jnp.log1p(-share) + log_prior)
    return z, log_proposal


def weigh(
    z: Float[Array, "S Z"], log_proposal: Float[Array, " S"], value: Float[Array, " S"], exists: Array
) -> Samples:
    """Samples with weights, from J = `value` at each."""
    target = -value
    log_ratio = jnp.where(jnp.isfinite(target), target, -jnp.inf) - log_proposal
    total = logsumexp(log_ratio)
    weight = jnp.exp(log_ratio - total)
    log_prior_constant = -0.5 * exists.sum() * jnp.log(2 * jnp.pi)
    evidence = total - jnp.log(z.shape[0]) + log_prior_constant
    return Samples(z, log_ratio, weight, 1 / jnp.sum(weight**2), evidence)


def resampled(weight: Float[Array, " S"]) -> Int[Array, " S"]:
    """Which samples stand, equally weighted, for the weighted ones: systematic, at the midpoints."""
    S = weight.shape[0]
    ladder = (jnp.arange(S) + 0.5) / S
    return jnp.clip(jnp.searchsorted(jnp.cumsum(weight), ladder), 0, S - 1)
