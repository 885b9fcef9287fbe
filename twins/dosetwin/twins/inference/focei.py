"""The population objective by FOCE with interaction or Laplace, and its minimum. Exact gradients.

For the free numbers x of a population (`population_vector`), subject i with mode z_i(x):

    OFV_i(x) = 2 J(z_i; x) + log|H(z_i; x)|      H the expected Hessian (FOCEI) or the exact one (Laplace)
    OFV(x)   = sum_i OFV_i(x)

on NONMEM's scale: -2 log likelihood without n log(2 pi). (Censored, ordinal and count observations
contribute -2 log of their full probability.) Since dJ/dz = 0 at the mode,

    dz/dx    = -J_zz^-1 J_zx
    dOFV_i   = 2 J_x + tr(H^-1 (H_x + H_z dz/dx))

all from one forward pass over (x, z) (Almquist 2015, doi:10.1007/s10928-015-9409-1). The minimum is found by
BFGS with the sum of g_i g_i'/2 of the individual gradients as its first curvature: units play no part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.inference.individuals import STARTS, search
from dosetwin.twins.inference.objective import Curvature, curvature
from dosetwin.twins.inference.population_vector import PopulationVector, numbers
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import Cohort
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import dimensions

Values = npt.NDArray[np.float64]
Approximation = Literal["focei", "laplace"]

ITERATIONS = 200
TOLERANCE = 1e-9
"""On the decrease that a Newton step still promises, g' B^-1 g / 2, in units of the objective."""
LONGEST = 1.0
"""No logarithm moves by more in one step."""
ROUNDS = 3
"""How often the search goes on after a check of all modes from other starts found a better one."""


class _Outer(NamedTuple):
    value: Float[Array, ""]
    gradient: Float[Array, " P"]
    drift: Float[Array, "Z P"]


@cache
def _evaluator(
    root: PopulationModel, layout: PopulationVector, steady: bool, approximation: Approximation
) -> Callable[..., _Outer]:
    """OFV_i, its gradient and dz/dx of every subject of a batch, at its mode z."""
    P = layout.size

    def one(x: Array, base: Population, program: Program, z: Array) -> _Outer:
        def look(both: Array) -> Curvature:
            population, z = layout.unpack(both[:P], base), both[P:]
            if approximation == "focei":
                return curvature(root, steady, population, program, z)

            def twice(z: Array) -> tuple[Array, Curvature]:
                here = curvature(root, steady, population, program, z)
                return here.gradient, here

            exact, here = jax.jacfwd(twice, has_aux=True)(z)
            return Curvature(here.value, here.gradient, 0.5 * (exact + exact.T))

        def looked(both: Array) -> tuple[Curvature, Curvature]:
            here = look(both)
            return here, here

        slope, here = jax.jacfwd(looked, has_aux=True)(jnp.concatenate([x, z]))
        bend = slope.gradient[:, P:]
        drift = -jnp.linalg.solve(0.5 * (bend + bend.T), slope.gradient[:, :P])
        change = slope.hessian[:, :, :P] + slope.hessian[:, :, P:] @ drift
        inverse = jnp.linalg.inv(here.hessian)
        sign, logdet = jnp.linalg.slogdet(here.hessian)
        value = 2 * here.value + jnp.where(sign > 0, logdet, jnp.inf)
        gradient = 2 * slope.value[:P] + jnp.einsum("ij,jip->p", inverse, change)
        return _Outer(value, gradient, drift)

    return cast("Callable[..., _Outer]", jax.jit(jax.vmap(one, in_axes=(None, None, 0, 0))))


@dataclass
class Objective:
    """OFV(x) of a cohort. Remembers the modes and where they go with x, to start the next search there."""

    model: PopulationModel
    cohort: Cohort
    layout: PopulationVector
    approximation: Approximation = "focei"
    modes: list[tuple[Values, Values, Values]] = field(default_factory=list)
    """Of each batch: x, z [B, Z] and dz/dx [B, Z, P] there."""
    evaluations: int = 0

    def model_at(self, x: Values) -> PopulationModel:
        """The model with the numbers of x. Raises ModelError where x is too far out to be numbers."""
        return self.model.with_population(numbers(self.layout, x, self.model.population), self.model.source)

    def look_for_modes(self, x: Values) -> None:
        """Search all modes from the typical subject and from other starts, at x."""
        model, self.modes = self.model_at(x), []
        for batch in self.cohort.batches:
            with double_precision():
                z = np.array(search(model, batch, STARTS).mode.z)
            self.modes.append((x.copy(), z, np.zeros((*z.shape, x.size))))

    def individual(self, x: Values) -> tuple[Values, Values, npt.NDArray[np.bool_]]:
        """OFV_i [n], their gradients [n, P], and whether each mode was found, at x; modes are not kept."""
        return self._evaluate(x)[:3]

    def __call__(self, x: Values, *, keep: bool = True) -> tuple[float, Values, Values]:
        """OFV, its gradient [P], the individual gradients [n, P]; modes are kept unless it is not finite."""
        value, gradient, found, modes = self._evaluate(x)
        self.evaluations += 1
        total = float(value.sum())
        if keep and np.isfinite(total) and found.all():
            self.modes = modes
        return total, gradient.sum(axis=0), gradient

    def _evaluate(
        self, x: Values
    ) -> tuple[Values, Values, npt.NDArray[np.bool_], list[tuple[Values, Values, Values]]]:
        n, base = len(self.cohort), self.model.population
        value, gradient = np.full(n, np.inf), np.zeros((n, x.size))
        found = np.zeros(n, np.bool_)
        modes: list[tuple[Values, Values, Values]] = []
        try:
            model = self.model_at(x)
        except (ModelError, np.linalg.LinAlgError):
            return value, gradient, found, self.modes
        for k, batch in enumerate(self.cohort.batches):
            evaluate = _evaluator(self.model.root, self.layout, batch.steady, self.approximation)
            start = np.zeros((batch.size, dimensions(self.model, batch.occasions)))
            if self.modes:
                at, z, drift = self.modes[k]
                start = np.clip(z + drift @ (x - at), z - 2, z + 2)
            with double_precision():
                mode = search(model, batch, 0, start).mode
                if start.any() and not mode.converged.all():
                    again = search(model, batch, 0).mode
                    better = again.converged & ~mode.converged
                    for kept, new in zip(mode, again, strict=True):
                        kept[better] = new[better]
                here = jax.tree.map(np.asarray, evaluate(x, base, batch.program, mode.z))
            rows = slice(0, len(batch.index))
            value[batch.index] = here.value[rows]
            gradient[batch.index] = here.gradient[rows]
            found[batch.index] = mode.converged[rows]
            modes.append((x.copy(), np.array(mode.z), np.array(here.drift)))
        return np.where(np.isnan(value), np.inf, value), gradient, found, modes


class Step(NamedTuple):
    """What a progress callback is told after each iteration; `limit`: the most there will be."""

    iteration: int
    limit: int
    objective: float
    remaining: float
    """The decrease that a Newton step still promises (SAEM: NaN)."""
    x: Values


Progress = Callable[[Step], None]


class Minimum(NamedTuple):
    """Where OFV is least: x [P], OFV, gradient [P], inverse curvature [P, P] that BFGS found, how it went."""

    x: Values
    objective: float
    gradient: Values
    inverse: Values
    converged: bool
    iterations: int
    message: str


def minimise(
    objective: Objective, start: Values, *, iterations: int = ITERATIONS, progress: Progress | None = None
) -> Minimum:
    """The minimum of OFV near `start` (finite there), its modes checked from other starts at the end."""
    done, x = 0, start
    for round_ in range(ROUNDS):
        objective.look_for_modes(x)
        found = _descend(objective, x, done, iterations, progress)
        done, x = found.iterations, found.x
        kept = objective.modes
        objective.look_for_modes(x)
        checked, _, _ = objective(x, keep=False)
        if checked > found.objective - 1e-4 or round_ == ROUNDS - 1 or done >= iterations:
            if checked > found.objective:
                objective.modes = kept
            break
    return found


def _descend(
    objective: Objective, x: Values, done: int, iterations: int, progress: Progress | None
) -> Minimum:
    relative = np.array(objective.layout.relative, bool)
    value, gradient, each = objective(x)
    inverse = _first_inverse(each)
    message, converged, stalled = "", False, 0
    k = done
    while k < iterations:
        direction = -inverse @ gradient
        remaining = float(-0.5 * gradient @ direction)
        if progress:
            progress(Step(k, iterations, value, remaining, x))
        if remaining < TOLERANCE:
            # the curvature that BFGS has learnt may be wrong: one look with that of the gradients
            again = _first_inverse(each)
            if float(0.5 * gradient @ again @ gradient) < 10 * TOLERANCE:
                converged, message = True, "converged: no step promises a decrease"
                break
            inverse = again
            direction = -inverse @ gradient
        k += 1
        moved = _line_search(objective, x, value, gradient, direction, relative)
        if moved is None:
            stalled += 1
            if stalled > 1:
                converged = remaining < 100 * TOLERANCE
                message = (
                    "converged to rounding"
                    if converged
                    else f"no lower objective found; {remaining:.2g} was expected"
                )
                break
            inverse = _first_inverse(each)
            continue
        stalled = 0
        new_x, new_value, new_gradient, each = moved
        inverse = _secant(inverse, new_x - x, new_gradient - gradient)
        x, value, gradient = new_x, new_value, new_gradient
    else:
        message = f"stopped after {iterations} iterations"
    return Minimum(x, value, gradient, inverse, converged, k, message)


def _first_inverse(each: Values) -> Values:
    """The inverse of sum g_i g_i'/2, which estimates the Hessian of OFV; singular directions left short."""
    curvature_ = 0.5 * each.T @ each
    scale = np.sqrt(np.maximum(np.diag(curvature_), 1e-8))
    eigenvalue, V = np.linalg.eigh(curvature_ / np.outer(scale, scale))
    inverse: Values = (V / np.maximum(eigenvalue, 1e-3)) @ V.T / np.outer(scale, scale)
    return inverse


def _line_search(
    objective: Objective, x: Values, value: float, gradient: Values, direction: Values, relative: Values
) -> tuple[Values, float, Values, Values] | None:
    slope = float(gradient @ direction)
    if not slope < 0:
        return None
    largest = np.abs(direction[relative]).max(initial=0.0)
    length = min(1.0, LONGEST / largest) if largest > 0 else 1.0
    for _ in range(25):
        new_x = x + length * direction
        new_value, new_gradient, each = objective(new_x)
        if np.isfinite(new_value) and np.isfinite(new_gradient).all():
            if new_value <= value + 1e-4 * length * slope:
                return new_x, new_value, new_gradient, each
            # the minimum of the parabola through both values and the slope
            fitted = -0.5 * slope * length**2 / (new_value - value - slope * length)
            length = float(np.clip(fitted, 0.1 * length, 0.5 * length))
        else:
            length *= 0.25
    return None


def _secant(H: Values, s: Values, y: Values) -> Values:
    """The BFGS update of the inverse H, damped where the curvature along s is not positive."""
    B_s = np.linalg.solve(H, s)
    sy, sBs = float(s @ y), float(s @ B_s)
    if sy < 0.1 * sBs:
        share = 0.9 * sBs / (sBs - sy)
        y = share * y + (1 - share) * B_s
        sy = float(s @ y)
    Hy = H @ y
    update: Values = H + (1 + y @ Hy / sy) * np.outer(s, s) / sy - (np.outer(Hy, s) + np.outer(s, Hy)) / sy
    return update
