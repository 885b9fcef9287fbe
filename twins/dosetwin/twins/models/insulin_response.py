"""Insulin action over a horizon by superposition: unit responses tabulated once, matrix products after that.

The chain of `insulin_absorption` is linear, and of its parameters only t_maxI differs between people. So what
a unit of S1, S2, I, y_j or of delivery does to the action later is a function of time and ln t_maxI alone. It
is found here exactly (matrix exponentials, float64) at Chebyshev nodes of ln t_maxI, and between them it is a
polynomial:

    mean of y_j over step k = sum_d R[j, k, d] T_d(z),    z = scaled ln t_maxI in [-1, 1]

For 20 <= t_maxI <= 140 min and TERMS = 9 it is within 2e-4 of the response's peak (tests/twins/t1d); the rule
that `advance_insulin` uses for y_j is within 2e-3. Means over a step are what a glucose step asks for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.models.insulin_absorption import K_A, K_E, V_I

T_MAX_I_RANGE_MIN: Final = (20.0, 140.0)
"""Times to peak that the tables hold for, min."""
TERMS: Final = 9
"""Chebyshev polynomials T_0 ... T_8."""

Table = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

_S1, _S2, _I, _Y = 0, 1, 2, 3
_RATE, _MEAN, _SIZE = 6, 7, 10


class Responses(NamedTuple):
    """Unit responses; j is the place of action, k the step, d the polynomial. float32.

    `of_S1`, `of_S2` [3, steps, d]: mean y_j (mU/L) over step k for 1 mU/kg there at the start. A bolus is S1.
    `of_rate` [3, steps, d]: for 1 mU/kg/min during the first `rate_steps`. `of_I`, `of_y` [3, steps]: for 1
    mU/L of I, of y_j itself. `plasma_*`: I (mU/L) at the ends of steps, [steps + 1, d] and [steps + 1].
    """

    of_S1: Table
    of_S2: Table
    of_rate: Table
    of_I: Table
    of_y: Table
    plasma_of_S1: Table
    plasma_of_S2: Table
    plasma_of_rate: Table
    plasma_of_I: Table


@lru_cache(maxsize=8)
def responses(step_min: float, steps: int, rate_steps: int) -> Responses:
    """Tables for `steps` steps of `step_min` min, with a unit rate during the first `rate_steps`."""
    nodes = np.cos(np.pi * (np.arange(TERMS) + 0.5) / TERMS)
    low, high = np.log(T_MAX_I_RANGE_MIN)
    t_maxI = np.exp(low + 0.5 * (nodes + 1.0) * (high - low))
    fit = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, TERMS - 1))
    move = exponential(_system(t_maxI, step_min) * step_min)

    def response(start: int) -> tuple[FloatArray, FloatArray]:
        state = np.zeros((TERMS, _SIZE))
        state[:, start] = 1.0
        plasma, action = [state[:, _I]], []
        for k in range(steps):
            state[:, _RATE] = 1.0 if start == _RATE and k < rate_steps else 0.0
            state[:, _MEAN:] = 0.0
            state = np.einsum("nij,nj->ni", move, state)
            plasma.append(state[:, _I])
            action.append(state[:, _MEAN:].copy())
        return np.array(action), np.array(plasma)

    def fitted(start: int) -> tuple[Table, Table]:
        action, plasma = response(start)
        return (
            np.einsum("dn,knj->jkd", fit, action).astype(np.float32),
            np.einsum("dn,kn->kd", fit, plasma).astype(np.float32),
        )

    (S1, S1_plasma), (S2, S2_plasma), (rate, rate_plasma) = (fitted(s) for s in (_S1, _S2, _RATE))
    of_I, plasma_of_I = response(_I)
    of_y = [response(_Y + j)[0][:, 0, j] for j in range(3)]
    return Responses(
        of_S1=S1,
        of_S2=S2,
        of_rate=rate,
        of_I=of_I[:, 0].T.astype(np.float32),
        of_y=np.array(of_y, np.float32),
        plasma_of_S1=S1_plasma,
        plasma_of_S2=S2_plasma,
        plasma_of_rate=rate_plasma,
        plasma_of_I=plasma_of_I[:, 0].astype(np.float32),
    )


def polynomials(ln_t_maxI: Float[Array, "..."]) -> Float[Array, "terms ..."]:
    """T_d(z) of these times to peak, by the three-term recurrence."""
    low, high = np.log(T_MAX_I_RANGE_MIN)
    z = (2.0 * ln_t_maxI - float(low + high)) * float(1.0 / (high - low))
    values = [jnp.ones_like(z), z]
    while len(values) < TERMS:
        values.append(2.0 * z * values[-1] - values[-2])
    return jnp.stack(values)


def exponential(matrices: FloatArray) -> FloatArray:
    """Exponentials of [n, m, m] matrices, float64: Taylor's series of a scaled matrix, squared back."""
    norm = float(np.abs(matrices).sum(2).max())
    squarings = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 4)
    scaled = matrices / 2.0**squarings
    term = np.broadcast_to(np.eye(matrices.shape[1]), matrices.shape)
    total = term.copy()
    for k in range(1, 12):
        term = term @ scaled / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


def _system(t_maxI: FloatArray, step_min: float) -> FloatArray:
    """[n, 10, 10]: d/dt of (S1, S2, I, y1..3, rate, running mean of y1..3)."""
    A = np.zeros((len(t_maxI), _SIZE, _SIZE))
    A[:, _S1, _S1] = A[:, _S2, _S2] = -1.0 / t_maxI
    A[:, _S2, _S1] = 1.0 / t_maxI
    A[:, _I, _S2] = 1.0 / (t_maxI * V_I)
    A[:, _I, _I] = -K_E
    A[:, _S1, _RATE] = 1.0
    for j, k_a in enumerate(K_A):
        A[:, _Y + j, _I] = k_a
        A[:, _Y + j, _Y + j] = -k_a
        A[:, _MEAN + j, _Y + j] = 1.0 / step_min
    return A
