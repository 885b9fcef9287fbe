"""Solvers of dx/dt = f(t, x) over one interval: fixed steps, or adaptive ones with tolerances.

Each takes `field(t, x, arguments)` with everything that is differentiated in `arguments`, and gives the
amounts at start + elapsed. They differentiate forward, in x, in the arguments and in elapsed, also where
elapsed is 0. Steps themselves are not differentiated: the derivative is that of the steps taken.

Sources: Tsitouras 2011, doi:10.1016/j.camwa.2011.06.002 (tsit5); Kvaerno 2004,
doi:10.1023/B:BITN.0000046811.70614.38 (kvaerno5); both as diffrax has them (Kidger 2021, arXiv:2202.02435);
rodas5p: see `rosenbrock`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import diffrax
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Float

from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.rosenbrock import first_step, rosenbrock

Field = Callable[[Any, Array, Any], Array]
MOST_FIXED_STEPS = 1e8


class Solver(Protocol):
    """One way of solving an interval."""

    def solve(
        self,
        field: Field,
        x: Float[Array, " n"],
        arguments: Any,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """The amounts at start + elapsed; NaN where the solver gave up."""
        ...

    def refined(self) -> Solver:
        """The solver that this one is compared with to estimate its error."""
        ...

    @property
    def richardson(self) -> float:
        """Error of this solver over its difference from the refined one."""
        ...


@dataclass(frozen=True)
class FixedStep:
    """ceil(elapsed / step) equal steps of the classical Runge-Kutta method (error ~ step^4).

    One fused loop, and the fastest where nothing is stiff: step must stay below about 2.7 / (largest rate
    constant). `step` is in the model's time unit. NaN where an interval is not finite or takes 10^8 steps.
    """

    step: float
    method: Literal["rk4"] = "rk4"

    def __post_init__(self) -> None:
        if not self.step > 0 or self.method != "rk4":
            raise ModelError(f"found {self}; expected a step above 0 and method 'rk4'")

    def solve(
        self,
        field: Field,
        x: Float[Array, " n"],
        arguments: Any,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """As many equal steps as fit."""
        steps = jnp.ceil(jax.lax.stop_gradient(elapsed) / self.step)
        possible = steps < MOST_FIXED_STEPS
        count = jnp.where(possible, jnp.maximum(steps, 1.0), 1.0)
        h = elapsed / count

        def advance(i: Array, x: Float[Array, " n"]) -> Float[Array, " n"]:
            t = start + i * h
            a = field(t, x, arguments)
            b = field(t + h / 2, x + h / 2 * a, arguments)
            c = field(t + h / 2, x + h / 2 * b, arguments)
            d = field(t + h, x + h * c, arguments)
            after: Array = x + h / 6 * (a + 2 * b + 2 * c + d)
            return after

        end: Array = jax.lax.fori_loop(0, count.astype(jnp.int32), advance, x)
        return jnp.where(possible, end, jnp.nan)

    def refined(self) -> FixedStep:
        """Half the step."""
        return replace(self, step=self.step / 2)

    @property
    def richardson(self) -> float:
        """E_h = (x_h - x_{h/2}) 16/15 for a method of order 4."""
        return 16 / 15


@dataclass(frozen=True)
class Adaptive:
    """Steps chosen so that each one's error stays below absolute + relative x |amount|.

    "tsit5" (order 5, explicit) where nothing is stiff; "rodas5p" (order 5, Rosenbrock: one matrix a step, no
    iteration) or "kvaerno5" (order 5, implicit, Newton's iteration) where rates differ by orders of
    magnitude, as in target-mediated disposition. Where `most_steps` do not suffice the result is NaN.
    """

    method: Literal["tsit5", "rodas5p", "kvaerno5"] = "tsit5"
    relative: float = 1e-8
    absolute: float = 1e-10
    most_steps: int = 10_000

    def __post_init__(self) -> None:
        if self.method not in ("tsit5", "rodas5p", "kvaerno5"):
            raise ModelError(f"found method {self.method!r}; expected tsit5, rodas5p or kvaerno5")
        if not (0 < self.relative < 1 and self.absolute > 0 and self.most_steps > 0):
            raise ModelError(f"found {self}; expected tolerances and most_steps above 0, relative below 1")

    def solve(
        self,
        field: Field,
        x: Float[Array, " n"],
        arguments: Any,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """On the time scaled to 0..1, so that elapsed differentiates and may be 0."""

        def scaled(s: Any, x: Array, arguments: Any) -> Array:
            given, start, elapsed, begins = arguments
            slope: Array = elapsed * field(start + s * elapsed, x, given)
            return jnp.where(begins, slope, 0.0)

        # one patient that is not finite must not make the whole batch step in vain
        begins = jnp.isfinite(x).all() & jnp.isfinite(elapsed * field(start, x, arguments)).all()
        everything = (arguments, start, elapsed, begins)
        if self.method == "rodas5p":
            end = rosenbrock(scaled, x, everything, self.relative, self.absolute, self.most_steps)
            return jnp.where(begins, end, jnp.nan)
        # the tolerance of Newton's iteration is that of the step's error, a hundred times tighter
        iteration: optimistix.Newton[Any, Any, Any] = optimistix.Newton(
            rtol=self.relative / 100, atol=self.absolute / 100
        )
        solver = diffrax.Tsit5() if self.method == "tsit5" else diffrax.Kvaerno5(root_finder=iteration)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(scaled),
            solver,
            0.0,
            1.0,
            first_step(scaled, x, everything, self.relative, self.absolute, 5),
            x,
            everything,
            stepsize_controller=diffrax.PIDController(rtol=self.relative, atol=self.absolute),
            adjoint=diffrax.ForwardMode(),
            max_steps=self.most_steps,
            throw=False,
        )
        assert solution.ys is not None  # SaveAt(t1=True) is the default
        arrived = begins & (solution.result == diffrax.RESULTS.successful)
        return jnp.where(arrived, solution.ys[0], jnp.nan)

    def refined(self) -> Adaptive:
        """Tolerances a hundred times tighter (relative not below 1e-12), and more steps allowed."""
        return replace(
            self,
            relative=max(self.relative / 100, 1e-12),
            absolute=self.absolute / 100,
            most_steps=10 * self.most_steps,
        )

    @property
    def richardson(self) -> float:
        """The refined solution counts as exact."""
        return 1.0
