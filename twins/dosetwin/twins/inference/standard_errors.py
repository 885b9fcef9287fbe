"""How sure the estimates of a population are.

With OFV(x) = -2 log likelihood, g_i the gradient of subject i's part:

    R = (d2 OFV/dx2)/2          S = sum_i g_i g_i'/4
    covariance of x             R^-1 S R^-1 ("sandwich", NONMEM's default), R^-1 or S^-1

and on the natural scale D C D' with D the Jacobian of the natural numbers (delta method). R comes from
central differences of the exact gradient, each step a twentieth of a standard error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dosetwin.twins.inference.focei import Objective
from dosetwin.twins.inference.population_vector import natural_scale

Values = npt.NDArray[np.float64]
Matrix = Literal["sandwich", "hessian", "cross-product"]

STEP = 0.05
"""Of a standard error, for the differences."""
LONGEST_STEP = 0.05


@dataclass(frozen=True)
class Uncertainty:
    """Covariance of the estimates, on the natural scale, in the order of `names`; NaN where there is none.

    estimate, standard_error [P]; covariance, correlation [P, P]; hessian, cross_product: R and S of x;
    condition: largest over smallest eigenvalue of the correlation matrix; message: what went wrong.
    """

    names: tuple[str, ...]
    estimate: Values
    covariance: Values
    hessian: Values
    cross_product: Values
    matrix: Matrix
    message: str = ""

    @property
    def standard_error(self) -> Values:
        """Of each estimate [P]."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def relative_percent(self) -> Values:
        """RSE: 100 standard error / |estimate| [P]."""
        return 100 * self.standard_error / np.abs(self.estimate)

    @property
    def correlation(self) -> Values:
        """Of the estimates [P, P]."""
        se = self.standard_error
        correlation: Values = self.covariance / np.outer(se, se)
        return correlation

    @property
    def condition(self) -> float:
        """Condition number of the correlation matrix; above 1000 the data do not tell the numbers apart."""
        if not np.isfinite(self.covariance).all():
            return float("nan")
        eigenvalues = np.linalg.eigvalsh(self.correlation)
        return float(eigenvalues[-1] / eigenvalues[0])


def uncertainty(objective: Objective, x: Values, matrix: Matrix = "sandwich") -> Uncertainty:
    """Covariance of the estimates at x.

    Where R is not positive definite (not a minimum, or numbers that the data do not tell), everything is
    NaN and `message` says so: no repaired matrix is passed off as a result.
    """
    layout = objective.layout
    _, _, each = objective(x)
    S = 0.25 * each.T @ each
    R = _hessian(objective, x, S)
    estimate, D = natural_scale(layout, x, objective.model.population)
    covariance, message = _covariance(R, S, matrix, layout.names)
    return Uncertainty(layout.names, estimate, D @ covariance @ D.T, R, S, matrix, message)


def _hessian(objective: Objective, x: Values, S: Values) -> Values:
    step = np.clip(STEP / np.sqrt(np.maximum(np.diag(S), 1e-12)), 1e-5, LONGEST_STEP)
    R = np.zeros((x.size, x.size))
    for j in range(x.size):
        shift = np.zeros(x.size)
        shift[j] = step[j]
        _, up, _ = objective(x + shift, keep=False)
        _, down, _ = objective(x - shift, keep=False)
        R[j] = (up - down) / (4 * step[j])
    return 0.5 * (R + R.T)


def _covariance(R: Values, S: Values, matrix: Matrix, names: tuple[str, ...]) -> tuple[Values, str]:
    used = S if matrix == "cross-product" else R
    if not np.isfinite(used).all():
        return np.full_like(R, np.nan), "no standard errors: the objective is not finite around the estimates"
    scale = np.sqrt(np.maximum(np.abs(np.diag(used)), 1e-300))
    eigenvalues, V = np.linalg.eigh(used / np.outer(scale, scale))
    if eigenvalues[0] <= 1e-10:
        loads = np.argsort(-np.abs(V[:, 0]))[:3]
        blamed = ", ".join(names[k] for k in loads if abs(V[k, 0]) > 0.2)
        what = "cross-product" if matrix == "cross-product" else "Hessian"
        return (
            np.full_like(R, np.nan),
            f"no standard errors: the {what} is not positive definite, along {blamed}",
        )
    inverse: Values = np.asarray(np.linalg.inv(used), np.float64)
    if matrix == "sandwich":
        inverse = np.asarray(inverse @ S @ inverse, np.float64)
    return inverse, ""
