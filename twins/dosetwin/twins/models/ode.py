"""A structural model as a right-hand side: any ordinary differential equation written with jax.numpy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.equations import (
    Frozen,
    Named,
    Output,
    Rate,
    all_inputs,
    check_names,
    check_outputs,
    needed_by_inputs,
    output_value,
    parameter_names,
    rate_value,
    vector,
)
from dosetwin.twins.models.input_functions import InputFunction
from dosetwin.twins.models.ode_solvers import Adaptive, Solver
from dosetwin.twins.models.structure import Input, Parameters, Pulses

RightHandSide = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True, init=False)
class ODE:
    """dx/dt = right_hand_side(t, x, p) + infusion rates.

        def saturable(t, x, p):
            return {"central": -p.Vmax * x.central / (p.Km * p.V1 + x.central)}

        ODE(saturable, ("central",), {"central": "central/V1"})

    right_hand_side: takes the time, the amounts and the parameters by name; returns the derivative of every
    compartment (dict or namespace), infusions not included. outputs: "compartment/volume", or a function
    (p, x) or (p, x, t) -> value. initial: amounts before any dose and after a reset: a parameter's name, a
    number or p -> value; 0 where none. inputs: for compartments whose doses enter otherwise than plainly
    (`Input`). input_function: unfolds each dose over time (`input_functions`). solver: `FixedStep` or
    `Adaptive`. required: parameter names, found by tracing when not given; optional: names that the functions
    ask for with getattr(p, name, default). linear: say True only if amounts superpose: steady states are then
    one linear solve. Raises ModelError, naming a wrong name and the closest right one.
    """

    right_hand_side: RightHandSide
    compartments: tuple[str, ...]
    output_of: Frozen[str, Output]
    initial_of: Frozen[str, Rate]
    inputs: Mapping[str, tuple[Input, ...]]
    dose_compartment: str
    input_function: InputFunction | None
    solver: Solver
    linear: bool
    required: tuple[str, ...]
    optional: tuple[str, ...]

    def __init__(
        self,
        right_hand_side: RightHandSide,
        compartments: tuple[str, ...],
        outputs: Mapping[str, Output],
        initial: Mapping[str, Rate] | None = None,
        *,
        required: tuple[str, ...] | None = None,
        optional: tuple[str, ...] = (),
        inputs: Mapping[str, tuple[Input, ...]] | None = None,
        dose_compartment: str = "",
        input_function: InputFunction | None = None,
        solver: Solver | None = None,
        linear: bool = False,
    ) -> None:
        put = object.__setattr__
        compartments = tuple(compartments)
        put(self, "right_hand_side", right_hand_side)
        put(self, "compartments", compartments)
        put(self, "output_of", Frozen(outputs))
        put(self, "initial_of", Frozen(initial or {}))
        check_names(compartments, self.initial_of, "initial amount of")
        check_outputs(self.output_of)
        ways = dict(inputs or {})
        if input_function is not None:
            target = input_function.compartment
            check_names(compartments, (target,), "compartment of the input function")
            ways.setdefault(target, (Input(target, function=True),))
            dose_compartment = dose_compartment or target
        dose_compartment = dose_compartment or compartments[0]
        check_names(compartments, (dose_compartment,), "dose compartment")
        put(self, "dose_compartment", dose_compartment)
        put(self, "inputs", all_inputs(compartments, dose_compartment, ways))
        put(self, "input_function", input_function)
        put(self, "solver", solver or Adaptive())
        put(self, "linear", linear)
        put(self, "optional", tuple(optional))
        names = parameter_names(self._everything, required, self.optional)
        put(self, "required", (*names, *needed_by_inputs(self.inputs, names)))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the declared outputs."""
        return tuple(self.output_of)

    def with_solver(self, solver: Solver) -> ODE:
        """The same equations, solved otherwise."""
        other = copy.copy(self)
        object.__setattr__(other, "solver", solver)
        return other

    def prepare(self, p: Parameters) -> dict[str, Array]:
        """The parameters that the equations ask for."""
        asked = {name: getattr(p, name) for name in self.required}
        return asked | {name: getattr(p, name) for name in self.optional if hasattr(p, name)}

    def initial(self, q: dict[str, Array]) -> Float[Array, " n"]:
        """The declared initial amounts, 0 where none is."""
        p = Named(**q)
        values = [jnp.asarray(rate_value(self.initial_of.get(name, 0.0), p)) for name in self.compartments]
        return jnp.stack([value.astype(jnp.result_type(*q.values(), 0.0)) for value in values])

    def advance(
        self,
        q: dict[str, Array],
        x: Float[Array, " n"],
        rate: Float[Array, " n"],
        pulses: Pulses,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """By the structure's solver; NaN where it gave up."""
        function = self.input_function
        if function is None:
            return self.solver.solve(self._plain, x, (q, rate), start, elapsed)
        if function.smooth:
            return self.solver.solve(self._with_density, x, (q, rate, pulses), start, elapsed)
        arguments = (q, rate, pulses, start)
        without = self.solver.solve(self._without_entered, x, arguments, start, elapsed)
        return without + self._entered(arguments, start + elapsed)

    def observe(self, q: dict[str, Array], x: Float[Array, " n"], t: Float[Array, ""]) -> Float[Array, " o"]:
        """The declared outputs."""
        p, amounts = Named(**q), self._named(x)
        values = [output_value(output, p, amounts, t) for output in self.output_of.values()]
        return jnp.stack([jnp.asarray(value, x.dtype) for value in values])

    def _named(self, x: Float[Array, " n"]) -> Named:
        return Named(**dict(zip(self.compartments, x, strict=True)))

    def _derivative(self, t: Any, x: Float[Array, " n"], q: dict[str, Array]) -> Float[Array, " n"]:
        slopes = self.right_hand_side(t, self._named(x), Named(**q))
        return vector(slopes, self.compartments, "derivative", x.dtype)

    def _plain(self, t: Any, x: Float[Array, " n"], arguments: Any) -> Float[Array, " n"]:
        q, rate = arguments
        slope: Array = self._derivative(t, x, q) + rate
        return slope

    def _with_density(self, t: Any, x: Float[Array, " n"], arguments: Any) -> Float[Array, " n"]:
        q, rate, pulses = arguments
        assert self.input_function is not None
        inflow = self.input_function.density(Named(**q), t - pulses.start)
        slope = self._derivative(t, x, q) + rate
        added: Array = slope.at[self._target].add((pulses.amount * inflow).sum())
        return added

    def _entered(self, arguments: Any, t: Any) -> Float[Array, " n"]:
        """What the input function has let in since the start of the interval."""
        q, rate, pulses, start = arguments
        assert self.input_function is not None
        p = Named(**q)
        share = self.input_function.share(p, t - pulses.start) - self.input_function.share(
            p, start - pulses.start
        )
        return jnp.zeros_like(rate).at[self._target].add((pulses.amount * share).sum())

    def _without_entered(self, t: Any, x: Float[Array, " n"], arguments: Any) -> Float[Array, " n"]:
        """The amounts less what has entered: their derivative is finite where the input's density is not."""
        q, rate, *_ = arguments
        slope: Array = self._derivative(t, x + self._entered(arguments, t), q) + rate
        return slope

    @property
    def _target(self) -> int:
        assert self.input_function is not None
        return self.compartments.index(self.input_function.compartment)

    def _everything(self, p: SimpleNamespace) -> None:
        for rate in self.initial_of.values():
            rate_value(rate, p)
        zero = jnp.ones(())
        x = Named(**dict.fromkeys(self.compartments, zero))
        vector(self.right_hand_side(zero, x, p), self.compartments, "derivative", jnp.float32)
        for output in self.output_of.values():
            output_value(output, p, x, zero)
        if self.input_function is not None:
            self.input_function.density(p, zero)
