"""The likelihood of one patient's history: levels given doses, covariates and the etas.

With z standard normal, theta = typical x exp(loading z), f_i the model's concentration at level i and
s_i^2 its residual variance, the negative log posterior is, up to a constant,

    J(z) = z'z/2 + sum_measured [(y_i - f_i)^2 / (2 s_i^2) + log s_i]
                 - sum_censored log Phi(+-(L_i - f_i) / s_i)

(on the log scale where the residual error is). Levels below a limit of quantification L use the second sum
(Beal 2001, J Pharmacokinet Pharmacodyn 28:481, method M3).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int

from dosetwin.twins.models.compartments import Doses, Linear, concentrations
from dosetwin.twins.population_model import Combined, LogError

SMALLEST = 1e-9
"""Concentrations are held above this on the log scale (in the unit of the level)."""


class Levels(NamedTuple):
    """Measured levels of one patient, padded with mask 0; time in hours. All [N].

    `censored` is -1 where the true value is below `value`, +1 where above, 0 where it was measured.
    """

    t_h: Float[Array, " N"]
    value: Float[Array, " N"]
    censored: Int[Array, " N"]
    mask: Float[Array, " N"]


class History(NamedTuple):
    """What is known of one patient, as arrays: stretches of constant covariates, doses, levels."""

    typical: Float[Array, "E P"]
    changes_h: Float[Array, " E"]
    doses: Doses
    levels: Levels


def individual(history: History, loading: Float[Array, "P K"], z: Float[Array, " K"]) -> Float[Array, "E P"]:
    """The patient's parameters: typical x exp(loading z)."""
    return history.typical * jnp.exp(loading @ z)


def predicted(
    structure: Linear,
    history: History,
    loading: Float[Array, "P K"],
    z: Float[Array, " K"],
    t_h: Float[Array, " N"],
) -> Float[Array, " N"]:
    """Concentrations at t_h for etas z."""
    theta = individual(history, loading, z)
    return concentrations(structure, theta, history.changes_h, history.doses, t_h)


def to_scale(error: Combined | LogError, value: Float[Array, "..."]) -> Float[Array, "..."]:
    """A concentration on the scale of its residual error."""
    return jnp.log(jnp.maximum(value, SMALLEST)) if isinstance(error, LogError) else value


def from_scale(error: Combined | LogError, value: Float[Array, "..."]) -> Float[Array, "..."]:
    """Back to a concentration; a level is never below 0."""
    return jnp.exp(value) if isinstance(error, LogError) else jnp.maximum(value, 0.0)


def residual_sd(error: Combined | LogError, f: Float[Array, "..."]) -> Float[Array, "..."]:
    """The residual standard deviation at prediction f, on the scale of the error."""
    if isinstance(error, LogError):
        return jnp.full_like(f, error.sd_log)
    # a proportional error alone would vanish where nothing was given yet
    return jnp.sqrt(error.additive**2 + (error.proportional * f) ** 2 + SMALLEST**2)


def negative_log_posterior(
    structure: Linear,
    error: Combined | LogError,
    history: History,
    loading: Float[Array, "P K"],
    z: Float[Array, " K"],
) -> Float[Array, ""]:
    """J(z) of this module's equation."""
    f = predicted(structure, history, loading, z, history.levels.t_h)
    return 0.5 * z @ z + _misfit(error, history.levels, f)


def _misfit(error: Combined | LogError, levels: Levels, f: Float[Array, " N"]) -> Float[Array, ""]:
    mean, sd = to_scale(error, f), residual_sd(error, f)
    u = (to_scale(error, levels.value) - mean) / sd
    measured = 0.5 * u**2 + jnp.log(sd)
    censored = -norm.logcdf(jnp.where(levels.censored < 0, u, -u))
    return jnp.sum(levels.mask * jnp.where(levels.censored == 0, measured, censored))


class Curvature(NamedTuple):
    """J at z, its gradient, and the expected (Fisher) Hessian, which is positive definite."""

    value: Float[Array, ""]
    gradient: Float[Array, " K"]
    hessian: Float[Array, "K K"]


def curvature(
    structure: Linear,
    error: Combined | LogError,
    history: History,
    loading: Float[Array, "P K"],
    z: Float[Array, " K"],
) -> Curvature:
    """Exact gradient and Fisher Hessian of J, from one Jacobian of the model by forward differentiation.

    A measured level adds (df df'/s^2 + 2 ds ds'/s^2); a censored one, with u its standardised distance and
    r = phi(u)/Phi(u), adds r (r + u) du du', the exact curvature of -log Phi in u.
    """
    levels = history.levels

    def scaled(z: Float[Array, " K"]) -> tuple[Array, Array]:
        f = predicted(structure, history, loading, z, levels.t_h)
        return jnp.stack([to_scale(error, f), residual_sd(error, f)]), f

    jacobian, f = jax.jacfwd(scaled, has_aux=True)(z)
    mean, sd = to_scale(error, f), residual_sd(error, f)
    d_mean, d_sd = jacobian[0], jacobian[1]
    u = (to_scale(error, levels.value) - mean) / sd
    d_u = -(d_mean + u[:, None] * d_sd) / sd[:, None]
    sign = jnp.where(levels.censored > 0, -1.0, 1.0)
    v = sign * u
    ratio = jnp.exp(norm.logpdf(v) - norm.logcdf(v))
    is_measured = levels.censored == 0
    slope = jnp.where(is_measured, u, -sign * ratio)  # dJ/du
    bend = jnp.where(is_measured, 0.0, ratio * (ratio + v))
    relative = d_sd / sd[:, None]
    gradient = z + jnp.einsum("n,nk->k", levels.mask * slope, d_u)
    gradient = gradient + jnp.einsum("n,nk->k", levels.mask * is_measured, relative)
    scores = d_mean / sd[:, None]
    hessian = (
        jnp.eye(z.shape[0], dtype=z.dtype)
        + jnp.einsum("n,nk,nl->kl", levels.mask * is_measured, scores, scores)
        + 2 * jnp.einsum("n,nk,nl->kl", levels.mask * is_measured, relative, relative)
        + jnp.einsum("n,nk,nl->kl", levels.mask * bend, d_u, d_u)
    )
    return Curvature(0.5 * z @ z + _misfit(error, levels, f), gradient, hessian)
