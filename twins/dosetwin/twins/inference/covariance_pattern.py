"""Covariance matrices of etas with a declared pattern: which variances and correlations are estimated.

Only pairs with a declared correlation may have one; the others are exactly 0 in every estimate. A variance
can be fixed; the correlation of two fixed ones is fixed with them. The free numbers are unconstrained:

    log standard deviation of each variance that is not fixed
    w_ij of each free correlation: Omega = L L', row i of L is sd_i (w_i1 .. w_i,i-1, 1) / norm

where a w_ij that is not free is what makes Omega_ij zero. Rows of fixed variances come first, so that
their correlations stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision

Values = npt.NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class CovariancePattern:
    """The free elements of one covariance matrix of K etas.

    names [K]; fixed [K]; pairs: declared correlations (i, j) with j < i.
    """

    names: tuple[str, ...]
    fixed: tuple[bool, ...]
    pairs: tuple[Pair, ...]

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Etas in the order of the factor: fixed variances first."""
        K = range(len(self.names))
        return (*(k for k in K if self.fixed[k]), *(k for k in K if not self.fixed[k]))

    @cached_property
    def free_variances(self) -> tuple[int, ...]:
        """Etas whose variance is free."""
        return tuple(k for k in range(len(self.names)) if not self.fixed[k])

    @cached_property
    def free_pairs(self) -> tuple[Pair, ...]:
        """Declared correlations that are free."""
        return tuple((i, j) for i, j in self.pairs if not (self.fixed[i] and self.fixed[j]))

    @property
    def size(self) -> int:
        """How many free numbers."""
        return len(self.free_variances) + len(self.free_pairs)

    @cached_property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Etas that are linked by correlations."""
        label = list(range(len(self.names)))
        for i, j in self.pairs:
            label = [label[j] if old == label[i] else old for old in label]
        return tuple(tuple(k for k, mine in enumerate(label) if mine == b) for b in dict.fromkeys(label))

    @cached_property
    def plain(self) -> bool:
        """Whether all blocks are complete and nothing is fixed: then moments are the estimate."""
        complete = sum(len(b) * (len(b) - 1) // 2 for b in self.blocks)
        return complete == len(self.pairs) and not any(self.fixed)

    def vector(self, covariance: Values) -> Values:
        """The free numbers of a covariance matrix [K, K]."""
        order = list(self.order)
        L = np.linalg.cholesky(covariance[np.ix_(order, order)])
        place = {k: row for row, k in enumerate(order)}
        sd = [0.5 * math.log(covariance[k, k]) for k in self.free_variances]
        ratios = []
        for i, j in self.free_pairs:
            row, column = max(place[i], place[j]), min(place[i], place[j])
            ratios.append(L[row, column] / L[row, row])
        return np.array([*sd, *ratios])

    def covariance(self, x: Float[Array, " free"], start: Any) -> Float[Array, "K K"]:
        """The covariance matrix of free numbers; what is fixed comes from `start` [K, K]. Pure JAX."""
        K, order = len(self.names), self.order
        if K == 0:
            return jnp.zeros((0, 0))
        n_fixed = sum(self.fixed)
        start = jnp.asarray(start)
        place = {k: row for row, k in enumerate(order)}
        sd: dict[int, Any] = {k: jnp.exp(x[at]) for at, k in enumerate(self.free_variances)}
        ratio = {
            (max(place[i], place[j]), min(place[i], place[j])): x[len(sd) + at]
            for at, (i, j) in enumerate(self.free_pairs)
        }
        rows: list[Any] = []
        if n_fixed:
            held = jnp.linalg.cholesky(start[jnp.ix_(jnp.array(order[:n_fixed]), jnp.array(order[:n_fixed]))])
            rows = [[held[i, j] for j in range(i + 1)] for i in range(n_fixed)]
        for i in range(n_fixed, K):
            w: list[Any] = []
            for j in range(i):
                filled = sum((w[k] * rows[j][k] for k in range(j)), jnp.asarray(0.0))
                w.append(ratio[i, j] if (i, j) in ratio else -filled / rows[j][j])
            w.append(jnp.asarray(1.0))
            norm = jnp.sqrt(sum((value * value for value in w), jnp.asarray(0.0)))
            rows.append([sd[order[i]] * value / norm for value in w])
        found: Array = jnp.zeros((K, K))
        for i in range(K):
            for j in range(i + 1):
                a, b = order[i], order[j]
                linked = i == j or (max(a, b), min(a, b)) in self.pairs
                value = sum((rows[i][k] * rows[j][k] for k in range(j + 1)), jnp.asarray(0.0))
                if linked:
                    found = found.at[a, b].set(value).at[b, a].set(value)
        return found

    def nearest(self, moment: Values, start: Values) -> Values:
        """The matrix of this pattern that minimises log|Omega| + tr(Omega^-1 moment): the M-step.

        Closed form where blocks are complete and nothing is fixed: the moment's blocks. Otherwise Newton-like
        (BFGS) from `start`, whose fixed elements are kept.
        """
        K = len(self.names)
        if self.plain:
            found = np.zeros((K, K))
            for block in self.blocks:
                found[np.ix_(block, block)] = moment[np.ix_(block, block)]
            return found
        if self.size == 0:
            return start

        def deviance(x: Values) -> float:
            factor = cho_factor(self._covariance(x, start), lower=True)
            trace = np.trace(cho_solve(factor, moment))
            return float(2 * np.log(np.diag(factor[0])).sum() + trace)

        best = minimize(deviance, self.vector(start), method="BFGS", options={"gtol": 1e-8})
        return self._covariance(best.x, start)

    def _covariance(self, x: Values, start: Values) -> Values:
        with double_precision():
            return np.asarray(_compiled(self)(x, start), np.float64)


@cache
def _compiled(pattern: CovariancePattern) -> Callable[..., Array]:
    return cast("Callable[..., Array]", jax.jit(pattern.covariance))


def between_pattern(model: PopulationModel) -> CovariancePattern:
    """The pattern of the etas between subjects."""
    fixed = tuple(bool(model.by_name[name].variability.fixed) for name in model.varying)  # type: ignore[union-attr] # varying ones have it
    return CovariancePattern(model.varying, fixed, _pairs(model.varying, model.correlations))


def occasion_pattern(model: PopulationModel) -> CovariancePattern:
    """The pattern of the etas between occasions."""
    names = model.occasion_varying
    fixed = tuple(bool(model.by_name[name].occasion.fixed) for name in names)  # type: ignore[union-attr] # as above
    return CovariancePattern(names, fixed, _pairs(names, model.occasion_correlations))


def _pairs(names: tuple[str, ...], correlations: Any) -> tuple[Pair, ...]:
    places = {
        (max(names.index(a), names.index(b)), min(names.index(a), names.index(b))) for a, b in correlations
    }
    return tuple(sorted(places))
