"""How far the numbers of a solver are from the exact solution of the equations, estimated and reported.

The same dose is solved twice: as the structure solves it, and with its solver refined (half the step, with
Richardson's factor; or tolerances a hundred times tighter). The difference is the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.twins.models.equations import check_names
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.structure import Pulses
from dosetwin.twins.precision import double_precision


@dataclass(frozen=True)
class NumericalError:
    """The estimate for one output: the largest error over the times, and that over the peak |output|."""

    output: str
    largest: float
    relative_to_peak: float


def refined(structure: ODE) -> ODE:
    """The same equations with the solver that error estimates compare with."""
    return structure.with_solver(structure.solver.refined())


def numerical_error(
    structure: ODE,
    parameters: Mapping[str, float],
    times: Sequence[float],
    *,
    dose: Mapping[str, float] | float,
    rate: Mapping[str, float] | None = None,
) -> tuple[NumericalError, ...]:
    """The error of every output at `times` (ascending, from 0 on) after a dose at time 0.

    dose: amount into the dosing compartment, or by compartment; rate: infusions (amount/time) that run all
    the time. Raises ModelError for a missing parameter or where either solution is not finite.
    """
    missing = [name for name in structure.required if name not in parameters]
    if missing:
        raise ModelError(f"found no value of {', '.join(missing)}; expected {', '.join(structure.required)}")
    doses = dict(dose) if isinstance(dose, Mapping) else {structure.dose_compartment: dose}
    check_names(structure.compartments, (*doses, *(rate or {})), "compartment")
    with double_precision():
        coarse = _solution(structure, parameters, times, doses, rate or {})
        fine = _solution(refined(structure), parameters, times, doses, rate or {})
    for solution, solver in ((coarse, structure.solver), (fine, structure.solver.refined())):
        if not np.isfinite(solution).all():
            when = times[int(np.argwhere(~np.isfinite(solution).all(axis=1))[0, 0])]
            raise ModelError(
                f"found no finite solution at time {when:g} with {solver}",
                remedy="use an implicit method (rodas5p), a smaller step or more steps; check the equations",
            )
    largest = np.abs(coarse - fine).max(axis=0) * structure.solver.richardson
    peak = np.abs(fine).max(axis=0)
    return tuple(
        NumericalError(name, float(e), float(e / top) if top > 0 else float(e))
        for name, e, top in zip(structure.outputs, largest, peak, strict=True)
    )


def _solution(
    structure: ODE,
    parameters: Mapping[str, float],
    times: Sequence[float],
    doses: Mapping[str, float],
    rates: Mapping[str, float],
) -> npt.NDArray[np.float64]:
    amounts = jnp.array([doses.get(name, 0.0) for name in structure.compartments])
    rate = jnp.array([rates.get(name, 0.0) for name in structure.compartments])
    function = structure.input_function
    unfolded = 0.0 if function is None else doses.get(function.compartment, 0.0)
    pulses = Pulses(jnp.zeros(1), jnp.array([unfolded]))
    if function is not None:
        amounts = amounts.at[structure.compartments.index(function.compartment)].set(0.0)
    q = structure.prepare(SimpleNamespace(**{name: jnp.asarray(float(v)) for name, v in parameters.items()}))

    def step(x: jax.Array, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        start, end = interval
        x = structure.advance(q, x, rate, pulses, start, end - start)
        return x, structure.observe(q, x, end)

    ends = jnp.asarray(times, float)
    starts = jnp.concatenate([jnp.zeros(1), ends[:-1]])
    _, seen = jax.jit(lambda x: jax.lax.scan(step, x, (starts, ends)))(structure.initial(q) + amounts)
    return np.asarray(seen)
