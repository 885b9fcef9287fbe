"""Rodas5P: a Rosenbrock method of order 5 for stiff equations, with adaptive steps.

One step of dx/ds = f(s, x) with J = df/dx and W = I/(gamma h) - J solves eight linear systems, no iteration:

    W k_i = f(s + c_i h, x + sum_j a_ij k_j) + sum_j C_ij k_j / h + d_i h df/ds

and the last k is the error of the embedded method of order 4. Stiffly accurate and L-stable.

Source: Steinebach 2023, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the
Julia Differential Equations package, BIT 63:27, doi:10.1007/s10543-023-00967-x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_GAMMA = 0.21193756319429014
_A = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (
        -7.502846399306121,
        2.561846144803919,
        -11.627539656261098,
        -0.18268767659942256,
        0.030198172008377946,
    ),
)
_C = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ),
)
_NODES = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
_D = (_GAMMA, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069)

Field = Callable[[Any, Array, Any], Array]
_State = tuple[Array, Array, Array, Array, Array]
"""Where it is (0..1), the amounts, the next step, the error of the step before, the number of steps."""


def rosenbrock(
    field: Field, x: Float[Array, " n"], arguments: Any, relative: float, absolute: float, most_steps: int
) -> Float[Array, " n"]:
    """The amounts at s = 1 from x at s = 0; NaN where `most_steps` do not suffice or one is not finite."""

    def unfinished(state: _State) -> Array:
        s, _, h, _, steps = state
        return (s < 1) & (steps < most_steps) & jnp.isfinite(h)

    def step(state: _State) -> _State:
        s, x, h, before, steps = state
        last = h >= 1 - s
        h = jnp.where(last, 1 - s, h)
        new, error = rodas5p_step(field, s, x, h, arguments)
        size = jax.lax.stop_gradient(
            jnp.sqrt(jnp.mean((error / (absolute + relative * jnp.maximum(jnp.abs(x), jnp.abs(new)))) ** 2))
        )
        size = jnp.where(jnp.isfinite(size), jnp.maximum(size, 1e-10), 1e10)
        taken = size <= 1
        # PI control (Hairer & Wanner, Solving ODEs II, IV.2), order of the error estimate 5
        factor = jnp.where(taken, 0.9 * size**-0.14 * before**0.08, 0.9 * size**-0.2)
        following = h * jnp.clip(factor, 0.1, jnp.where(taken, 8.0, 0.9))
        return (
            jnp.where(taken, jnp.where(last, 1.0, s + h), s),
            jnp.where(taken, new, x),
            jnp.where(following < 1e-15, jnp.nan, following),
            jnp.where(taken, size, before),
            steps + 1,
        )

    h = first_step(field, x, arguments, relative, absolute, 5)
    zero, one = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    s, x, *_ = jax.lax.while_loop(unfinished, step, (zero, x, h, one, jnp.zeros((), jnp.int32)))
    return jnp.where(s >= 1, x, jnp.nan)


def rodas5p_step(
    field: Field, s: Float[Array, ""], x: Float[Array, " n"], h: Float[Array, ""], arguments: Any
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The amounts after one step of size h, and the embedded estimate of its error."""
    J = jax.jacfwd(lambda x: field(s, x, arguments))(x)
    f, slope = jax.jvp(lambda s: field(s, x, arguments), (s,), (jnp.ones_like(s),))
    inverse = jnp.linalg.inv(jnp.eye(x.shape[0], dtype=x.dtype) / (_GAMMA * h) - J)
    stages: list[Array] = []
    at = x
    for i in range(8):
        if i:
            at = at + stages[-1] if i > 5 else x + _weighted(_A[i], stages)
            f = field(s + _NODES[i] * h, at, arguments) + _weighted(_C[i], stages) / h
        pushed = f + h * _D[i] * slope if i < 5 else f
        stages.append((inverse * pushed[None, :]).sum(axis=1))
    return at + stages[-1], stages[-1]


def first_step(
    field: Field, x: Float[Array, " n"], arguments: Any, relative: float, absolute: float, order: int
) -> Float[Array, ""]:
    """A first step in (0, 1] after Hairer, Norsett & Wanner, Solving ODEs I, II.4; not differentiated."""
    x, arguments = jax.lax.stop_gradient((x, arguments))
    scale = absolute + relative * jnp.abs(x)
    zero = jnp.zeros((), x.dtype)

    def norm(v: Array) -> Array:
        return jnp.sqrt(jnp.mean((v / scale) ** 2))

    f = field(zero, x, arguments)
    size, speed = norm(x), norm(f)
    h = jnp.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / jnp.maximum(speed, 1e-300), 1e-6)
    h = jnp.minimum(h, 1.0)
    bend = norm(field(h, x + h * f, arguments) - f) / h
    most = jnp.maximum(speed, bend)
    second = jnp.where(most > 1e-15, (0.01 / jnp.maximum(most, 1e-300)) ** (1 / (order + 1)), 1.0)
    h = jnp.clip(jnp.minimum(100 * h, second), 1e-9, 1.0)
    moving = jnp.where(jnp.isfinite(h), h, 1e-6)
    return jnp.where(most > 0, moving, 1.0)


def _weighted(weights: tuple[float, ...], stages: list[Array]) -> Array:
    total = weights[0] * stages[0]
    for weight, stage in zip(weights[1:], stages[1:], strict=True):
        total = total + weight * stage
    return total
