"""Steady states: the amounts after infinitely many equal doses, as they are just before one more.

With Phi(x) the amounts one interval later under the repeated dosing, the steady state solves x = Phi(x).
Linear structures: Phi(x) = M x + b, one linear solve, exact. Others: cycles until near, then Newton's method
with the exact Jacobian of Phi; the last step carries the derivatives.
An infusion longer than the interval overlaps with its successors: at phase s of a cycle as many run as
floor((s - lag)/II) - floor((s - lag - length)/II). Interval 0 means one infusion that never ends.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.structure import Prepared, Pulses, Structure

CYCLES = 40
NEWTON = 8
ROUNDING = 1e-12
"""An infusion that ends within this share of its length after the record is taken to end with it."""
FOREVER = 1000.0
"""The interval over which an infusion without end is advanced: its fixed point is the steady state."""


def periodic_state(
    structure: Structure,
    q: Prepared,
    into: Float[Array, " n"],
    bolus: Float[Array, ""],
    rate: Float[Array, ""],
    length: Float[Array, ""],
    lag: Float[Array, ""],
    interval: Float[Array, ""],
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """(amounts, rates still running) at the time of a steady-state dose's record, before that dose.

    `into` is 1 at the compartment that the dose enters.
    """
    endless = interval <= 0
    period = jnp.where(endless, FOREVER, interval)
    enters = jnp.where(endless, 0.0, jnp.mod(lag, period))
    ends = jnp.where(endless, 0.0, jnp.mod(enters + length, period))
    edges = jnp.stack([jnp.zeros_like(period), jnp.minimum(enters, ends), jnp.maximum(enters, ends), period])

    def running(phase: Array) -> Array:
        count = jnp.floor((phase - enters) / period) - jnp.floor((phase - enters - length) / period)
        return into * rate * jnp.where(endless, 1.0, jnp.where(rate > 0, count, 0.0))

    def cycle(x: Array) -> Array:
        for k in range(3):
            x = x + into * jnp.where((k == 1) & (enters <= ends) | (k == 2) & (enters > ends), bolus, 0.0)
            middle = 0.5 * (edges[k] + edges[k + 1])
            nothing = Pulses(jnp.zeros(0), jnp.zeros(0))
            x = structure.advance(q, x, running(middle), nothing, edges[k], edges[k + 1] - edges[k])
        return x

    start = structure.initial(q)
    one = jnp.eye(start.shape[0], dtype=start.dtype)
    if structure.linear:
        b = cycle(jnp.zeros_like(start))
        M = jax.vmap(cycle, out_axes=1)(one) - b[:, None]
        x = jnp.linalg.solve(one - M, b)
    else:
        x = jax.lax.fori_loop(0, CYCLES, lambda _, x: cycle(x), start)

        def newton(x: Array) -> Array:
            J = jax.jacfwd(cycle)(x)
            return jnp.maximum(x - jnp.linalg.solve(J - one, cycle(x) - x), -1e300)

        x = jax.lax.fori_loop(0, NEWTON, lambda _, x: newton(x), x)
    # a lag as long as the interval leaves doses in the pipe that the records do not tell of: no number then
    x = jnp.where(endless | (lag < interval), x, jnp.nan)
    # at the record time those infusions run that began in earlier intervals and have not ended
    begun = jnp.floor((length + lag) * (1 - ROUNDING) / period)
    past = jnp.where(endless, 0.0, jnp.maximum(begun - jnp.floor(lag / period), 0.0))
    return x, into * rate * jnp.where(rate > 0, past, 0.0)
