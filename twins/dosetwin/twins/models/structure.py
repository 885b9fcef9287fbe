"""The protocol of a structural model: what happens in a patient between two events.

A structure knows compartments and parameters, nothing of doses, patients or populations. Between events it
advances the amounts x [n] under constant parameters and constant infusion rates [n]:

    dx/dt = f(t, x, p) + rate + sum_d amount_d u(t - t_d; p)

The last sum is there only for structures that take doses as input functions (Savic, Weibull). Everything is
for one patient and scalar parameters, in the model's own time unit; batches are made with jax.vmap. Events
differentiate forward only (jvp, jacfwd): loops may have as many turns as they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float

Parameters = SimpleNamespace
"""One attribute a parameter, named as in the model; scalars inside a structure."""
Prepared = Any
"""Whatever `prepare` made of the parameters: a pytree of arrays."""


@dataclass(frozen=True)
class Input:
    """One way by which a dose enters a compartment.

    `fraction`, `lag`, `duration`, `rate`: names of the parameters that scale the dose (bioavailability),
    delay it, and set the duration or rate of a modelled infusion (NONMEM's F, ALAG, D and R; RATE -2 and -1).
    A parameter that the model does not define means 1, 0, and "no modelled duration or rate".
    `zero_order`: a dose without a rate enters over `duration` (zero-order absorption, as RATE = -2).
    `function`: a dose without a rate joins the pulses that the structure's own input function unfolds.
    """

    compartment: str
    fraction: str = "F"
    lag: str = "lag"
    duration: str = "D"
    rate: str = "R"
    zero_order: bool = False
    function: bool = False


class Pulses(NamedTuple):
    """Doses that an input function unfolds: when each entered, how much (0 where none), both [D]."""

    start: Float[Array, " D"]
    amount: Float[Array, " D"]


class Structure(Protocol):
    """A structural model. Frozen and hashable: it is a static argument of compiled functions."""

    @property
    def compartments(self) -> tuple[str, ...]:
        """Names in the order of NONMEM's CMT (the first is CMT 1)."""
        ...

    @property
    def required(self) -> tuple[str, ...]:
        """The parameters without which it cannot run."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `observe` returns; the first is what a model's output is when it names none."""
        ...

    @property
    def inputs(self) -> Mapping[str, tuple[Input, ...]]:
        """For each compartment that doses may name, the ways a dose into it enters (several: in parallel)."""
        ...

    @property
    def dose_compartment(self) -> str:
        """Where a dose without CMT goes."""
        ...

    @property
    def linear(self) -> bool:
        """Whether amounts superpose (steady states are then one linear solve)."""
        ...

    def prepare(self, p: Parameters) -> Prepared:
        """What can be computed once for as long as the parameters stay the same."""
        ...

    def initial(self, q: Prepared) -> Float[Array, " n"]:
        """Amounts before any dose and after a reset."""
        ...

    def advance(
        self,
        q: Prepared,
        x: Float[Array, " n"],
        rate: Float[Array, " n"],
        pulses: Pulses,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """Amounts at start + elapsed (elapsed >= 0, 0 gives x back) from x at `start`."""
        ...

    def observe(self, q: Prepared, x: Float[Array, " n"], t: Float[Array, ""]) -> Float[Array, " outputs"]:
        """The outputs (concentrations, effects) at time t with amounts x, in the order of `outputs`."""
        ...


def plain_inputs(compartments: tuple[str, ...], dose_compartment: str) -> dict[str, tuple[Input, ...]]:
    """One plain input a compartment.

    The parameters of the dosing compartment are called F, lag, D, R; of another F_<compartment>, lag_<...>.
    """
    return {
        name: (
            Input(name)
            if name == dose_compartment
            else Input(name, f"F_{name}", f"lag_{name}", f"D_{name}", f"R_{name}"),
        )
        for name in compartments
    }
