"""Slow and obvious: one patient advanced by a structure, and by SciPy with its own right-hand side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from dosetwin.twins.models.structure import Pulses

Values = NDArray[np.float64]


def namespace(parameters: Mapping[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: jnp.asarray(value, float) for name, value in parameters.items()})


def outputs(
    structure: Any,
    parameters: Mapping[str, float],
    times: Sequence[float],
    doses: Mapping[str, float],
    rates: Mapping[str, float] | None = None,
    pulses: Sequence[tuple[float, float]] = (),
) -> Values:
    """Outputs [times, outputs] after doses at time 0, by `structure.advance` from time to time."""
    curve = jax.jit(curve_of(structure, tuple(parameters), times, doses, rates or {}, pulses))
    return np.asarray(curve(jnp.asarray(list(parameters.values()))))


def curve_of(
    structure: Any,
    names: tuple[str, ...],
    times: Sequence[float],
    doses: Mapping[str, float],
    rates: Mapping[str, float],
    pulses: Sequence[tuple[float, float]] = (),
) -> Callable[[jax.Array], jax.Array]:
    """A function of the parameters in the order of `names`, to differentiate."""
    amount = jnp.array([doses.get(name, 0.0) for name in structure.compartments])
    rate = jnp.array([rates.get(name, 0.0) for name in structure.compartments])
    unfolded = Pulses(jnp.array([t for t, _ in pulses]), jnp.array([a for _, a in pulses]))
    ends = jnp.asarray(times, float)
    starts = jnp.concatenate([jnp.zeros(1), ends[:-1]])

    def curve(theta: jax.Array) -> jax.Array:
        q = structure.prepare(SimpleNamespace(**dict(zip(names, theta, strict=True))))

        def step(x: jax.Array, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            start, end = interval
            x = structure.advance(q, x, rate, unfolded, start, end - start)
            return x, structure.observe(q, x, end)

        _, seen = jax.lax.scan(step, structure.initial(q) + amount, (starts, ends))
        return seen

    return curve


def scipy_amounts(
    right_hand_side: Callable[[float, Values], Sequence[Any]],
    initial: Sequence[float] | Values,
    times: Sequence[float],
    method: Literal["LSODA", "Radau"] = "LSODA",
) -> Values:
    """Amounts [times, n] by SciPy with tight tolerances."""
    solution = solve_ivp(
        right_hand_side,
        (0.0, times[-1]),
        np.asarray(initial, float),
        method=method,
        t_eval=times,
        rtol=1e-11 if method != "LSODA" else 1e-12,
        atol=1e-13,
    )
    assert solution.success
    amounts: Values = solution.y.T
    return amounts


def error_to_peak(found: Values, expected: Values) -> float:
    """The largest difference of each column over its peak, the worst of them."""
    return float((np.abs(found - expected).max(axis=0) / np.abs(expected).max(axis=0)).max())
