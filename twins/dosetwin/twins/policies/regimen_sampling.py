"""When to take the next level: the time after which the exposure of the coming day is known best.

Before a level is drawn its value is known only as a distribution: y = f_s(t) + sd_s e for sample s of the
posterior, e standard normal. Each such y would change the samples' weights to w_r(y) proportional to p(y |
f_r(t)), and with them the variance of the area A. What is expected of a level at t is the mean over all y
that may come,

    V(t) = E_y [ sum_r w_r(y) (A_r - A(y))^2 ],      A(y) = sum_r w_r(y) A_r

(the preposterior variance; Raiffa & Schlaifer 1961, Applied Statistical Decision Theory). The mean over e
is by Gauss and Hermite's rule, that over s by the samples. What the level is worth is what the best choice
after it has more utility than the best choice now, E_y max_c sum_r w_r(y) U_rc - max_c mean_r U_rc. One
patient; vmap it. The best time makes the uncertainty least on the average over the coming day, sigma^2 until
the level and V(t) after it, so that a level is not put off for ever for the sake of a slightly better one:

    t* = argmin [ t sigma^2 + (24 h - t) V(t) ]
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

DAY_H = 24.0
"""The time over which uncertainty is averaged: a later level is thought of again at a later decision."""
GUESSES = 32
"""Samples that a level is imagined for, spread evenly over all: each time three levels."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(3)
NODES = tuple(_NODES.tolist())
WEIGHTS = tuple((_WEIGHTS / _WEIGHTS.sum()).tolist())


class Preposterior(NamedTuple):
    """Of a level at each of K times: the variance of the area expected after it, and what it is worth."""

    variance: Float[Array, " K"]
    worth: Float[Array, " K"]


def preposterior(
    mean: Float[Array, "S K"], sd: Float[Array, "S K"], area: Float[Array, " S"], utility: Float[Array, "S C"]
) -> Preposterior:
    """`mean`, `sd`: the level's distribution under every sample, on the scale where its error is normal."""
    S = mean.shape[0]
    step = max(S // GUESSES, 1)
    nodes, weights = jnp.asarray(NODES), jnp.asarray(WEIGHTS)
    best_now = utility.mean(axis=0).max()

    def at(f: Float[Array, " S"], s: Float[Array, " S"]) -> tuple[Array, Array]:
        y = f[::step, None] + s[::step, None] * nodes
        deviance = 0.5 * ((y[:, :, None] - f) / s) ** 2 + jnp.log(s)
        w = jax.nn.softmax(-deviance, axis=2)
        centre = (w * area).sum(axis=2)
        variance = (w * area**2).sum(axis=2) - centre**2
        best = (w @ utility).max(axis=2)
        return (variance @ weights).mean(), (best @ weights).mean() - best_now

    return Preposterior(*jax.vmap(at, in_axes=(1, 1))(mean, sd))


def best_time(variance: np.ndarray, allowed: np.ndarray, before: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Index [n] of the best allowed time; -1 where none is allowed or none tells anything.

    `variance` [n, K] expected after a level at each of `hours` [K], `before` [n] without one. See the module.
    """
    gain = np.where(allowed, (before[:, None] - variance) * (DAY_H - hours), 0.0)
    chosen: np.ndarray = np.where(gain.max(axis=1) > 0, gain.argmax(axis=1), -1)
    return chosen
