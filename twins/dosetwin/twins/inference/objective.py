"""The objective of one subject, on NONMEM's scale, with its derivatives.

With z standard normal, eta = omega z (and kappa = gamma z per occasion), f(z) the predictions:

    J(z) = z'z/2 + sum_j half_deviance_j(y_j, f_j(z))
    2 J  = eta' Omega^-1 eta + sum_j [(y_j - f_j)^2 / V_j + log V_j]     for measured normal observations

This 2J is what `objective` means for an individual: NONMEM's conditional objective without the constants
n log(2 pi) and log|Omega|. The marginal objective of a subject is Laplace's,

    OFV_i = 2 J(z^) + log|H|,   H = d2J/dz2 or its expectation

which equals NONMEM's FOCE with interaction (expected H) or LAPLACE (exact H) in its usual constants: without
n log(2 pi). |H| in z is |Omega| |H in eta|, so log|Omega| is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.simulation.event_program import Observations, Program
from dosetwin.twins.simulation.prediction import predicted


class Curvature(NamedTuple):
    """J at z, its gradient, and the expected Hessian, which is positive definite."""

    value: Float[Array, ""]
    gradient: Float[Array, " Z"]
    hessian: Float[Array, "Z Z"]


def observation_deviances(
    model: PopulationModel, population: Population, o: Observations, f: Float[Array, " N"]
) -> Float[Array, " N"]:
    """half_deviance of every observation, 0 where masked."""
    return _by_error(model, population, o, f, lambda error, *given: error.half_deviance(*given))


def observation_information(
    model: PopulationModel, population: Population, o: Observations, f: Float[Array, " N"]
) -> Float[Array, " N"]:
    """Expected second derivative of each half_deviance in f, 0 where masked."""
    return _by_error(model, population, o, f, lambda error, *given: error.information(*given))


def _by_error(
    model: PopulationModel,
    population: Population,
    o: Observations,
    f: Float[Array, " N"],
    term: Callable[..., Array],
) -> Float[Array, " N"]:
    """`term` of the error of each observation's quantity, 0 where masked."""
    total = jnp.zeros_like(f)
    for k, observed in enumerate(model.outputs):
        s = jnp.asarray(population.residual[k])
        value = term(observed.error, o.value, f, o.censored, o.lower, s)
        total = total + jnp.where((o.output == k) & (o.mask > 0), value, 0.0)
    return total


def objective(
    model: PopulationModel, steady: bool, population: Population, program: Program, z: Float[Array, " Z"]
) -> Float[Array, ""]:
    """J(z)."""
    f = predicted(model, steady, population, program, z)
    return 0.5 * z @ z + observation_deviances(model, population, program.observations, f).sum()


def curvature(
    model: PopulationModel, steady: bool, population: Population, program: Program, z: Float[Array, " Z"]
) -> Curvature:
    """J, exact gradient and expected Hessian, from one forward Jacobian of the predictions."""

    def twice(z: Float[Array, " Z"]) -> tuple[Array, Array]:
        f = predicted(model, steady, population, program, z)
        return f, f

    jacobian, f = jax.jacfwd(twice, has_aux=True)(z)
    o = program.observations

    def deviances(f: Array) -> Array:
        return observation_deviances(model, population, o, f)

    value, slope = jax.jvp(deviances, (f,), (jnp.ones_like(f),))
    used = (o.mask > 0)[:, None]
    jacobian = jnp.where(used, jacobian, 0.0)
    slope = jnp.where(o.mask > 0, slope, 0.0)
    info = observation_information(model, population, o, f)
    hessian = jnp.eye(z.shape[0], dtype=z.dtype) + (jacobian * info[:, None]).T @ jacobian
    return Curvature(0.5 * z @ z + value.sum(), z + slope @ jacobian, hessian)


def exact_hessian(
    model: PopulationModel, steady: bool, population: Population, program: Program, z: Float[Array, " Z"]
) -> Float[Array, "Z Z"]:
    """d2J/dz2, by forward differentiation of the exact gradient."""

    def gradient(z: Float[Array, " Z"]) -> Array:
        return curvature(model, steady, population, program, z).gradient

    H: Array = jax.jacfwd(gradient)(z)
    symmetric: Array = 0.5 * (H + H.T)
    return symmetric


def looker(
    model: PopulationModel, steady: bool, population: Population, program: Program
) -> Callable[[Float[Array, " Z"]], Curvature]:
    """`curvature` as a function of z alone."""

    def look(z: Float[Array, " Z"]) -> Curvature:
        return curvature(model, steady, population, program, z)

    return look
