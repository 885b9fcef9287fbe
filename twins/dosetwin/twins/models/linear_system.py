"""Any graph of linear compartments, advanced exactly by a matrix exponential.

Amounts x obey dx/dt = A x + r with constant A and r. A flow i -> j of rate constant k adds k to A_ji and
takes k from A_ii; a drive i -> j (an effect compartment) only adds to A_ji. With the input as one more amount
c of constant value, d(x, c)/dt = [[A, r/c], [0, 0]] (x, c), so bolus and infusion are one exponential.

Off the diagonal this matrix M is never negative. With s the largest outflow, M + sI is nowhere negative, and
e^{M t} = (e^{-s t/m} T((M + sI) t/m))^m, m a power of 2, T the Taylor series, is a sum and product of numbers
>= 0: no cancellation anywhere, however stiff the graph (the uniformisation of Markov chains; Moler & Van Loan
2003, doi:10.1137/S00361445024180, methods 1 and 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
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
)
from dosetwin.twins.models.structure import Input, Parameters, Pulses

OUT = "out"
"""Where a flow ends that leaves the body."""
_INVERSE_FACTORIALS = tuple(1 / math.factorial(k) for k in range(17))


class Graph(NamedTuple):
    """One patient's graph: the matrix of rate constants, the constant input, and the parameters by name."""

    A: Float[Array, "n n"]
    production: Float[Array, " n"]
    parameters: dict[str, Float[Array, ""]]


@dataclass(frozen=True, init=False)
class LinearSystem:
    """A linear structure declared by its flows.

        LinearSystem(
            ("depot", "central", "effect"),
            flows={("depot", "central"): "ka", ("central", "out"): "CL/V1", ("effect", "out"): "ke0"},
            drives={("central", "effect"): "ke0"},
            outputs={"central": "central/V1", "effect": "effect/V1"},
        )

    flows, drives: (from, to) -> rate constant (1/time, >= 0): a parameter's name, a quotient of two, a
    number, or a function p -> value. production: amount/time (>= 0) that always enters a compartment.
    initial: amounts before any dose. outputs: "compartment/volume" or (p, x) -> value. inputs: for
    compartments whose doses enter otherwise than plainly (`Input`: fractions, lags, zero order, in parallel).
    required: parameter names, found by tracing when not given. Raises ModelError.
    """

    compartments: tuple[str, ...]
    flows: Frozen[tuple[str, str], Rate]
    drives: Frozen[tuple[str, str], Rate]
    output_of: Frozen[str, Output]
    initial_of: Frozen[str, Rate]
    production: Frozen[str, Rate]
    inputs: Mapping[str, tuple[Input, ...]]
    dose_compartment: str
    required: tuple[str, ...]

    def __init__(
        self,
        compartments: tuple[str, ...],
        flows: Mapping[tuple[str, str], Rate],
        outputs: Mapping[str, Output],
        *,
        drives: Mapping[tuple[str, str], Rate] | None = None,
        production: Mapping[str, Rate] | None = None,
        initial: Mapping[str, Rate] | None = None,
        inputs: Mapping[str, tuple[Input, ...]] | None = None,
        dose_compartment: str = "",
        required: tuple[str, ...] | None = None,
    ) -> None:
        put = object.__setattr__
        dose_compartment = dose_compartment or compartments[0]
        put(self, "compartments", tuple(compartments))
        put(self, "flows", Frozen(flows))
        put(self, "drives", Frozen(drives or {}))
        put(self, "output_of", Frozen(outputs))
        put(self, "initial_of", Frozen(initial or {}))
        put(self, "production", Frozen(production or {}))
        put(self, "dose_compartment", dose_compartment)
        put(self, "inputs", all_inputs(self.compartments, dose_compartment, inputs))
        check_names(self.compartments, (dose_compartment, *self.initial_of, *self.production), "compartment")
        check_names(self.compartments, (a for a, _ in (*self.flows, *self.drives)), "compartment")
        check_names((*self.compartments, OUT), (b for _, b in self.flows), "compartment")
        check_names(self.compartments, (b for _, b in self.drives), "compartment")
        check_outputs(self.output_of)
        names = parameter_names(self._everything, required)
        put(self, "required", (*names, *needed_by_inputs(self.inputs, names)))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the declared outputs."""
        return tuple(self.output_of)

    @property
    def linear(self) -> bool:
        """Whether it is empty without doses: then amounts superpose."""
        return not self.production and not self.initial_of

    def prepare(self, p: Parameters) -> Graph:
        """The matrix of rate constants."""
        return self._graph(Named(**{name: getattr(p, name) for name in self.required}))

    def initial(self, q: Graph) -> Float[Array, " n"]:
        """The declared initial amounts, 0 where none is."""
        p = Named(**q.parameters)
        values = [rate_value(self.initial_of.get(name, 0.0), p) for name in self.compartments]
        return jnp.stack([jnp.asarray(value, q.A.dtype) for value in values])

    def advance(
        self,
        q: Graph,
        x: Float[Array, " n"],
        rate: Float[Array, " n"],
        pulses: Pulses,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """One exponential; exact for any elapsed time."""
        n = len(self.compartments)
        inflow = rate + q.production
        outflow = jnp.max(-jnp.diagonal(q.A))
        # any positive amount will do for c; this one keeps its column no larger than the others
        most = jax.lax.stop_gradient(jnp.max(jnp.abs(inflow)))
        known = jax.lax.stop_gradient(jnp.where(outflow > 0, outflow, 1.0))
        c = jnp.where(most > 0, most / known, 1.0)
        M = jnp.zeros((n + 1, n + 1), x.dtype).at[:n, :n].set(q.A).at[:n, n].set(inflow / c)
        return (exponential(M * elapsed) * jnp.append(x, c)[None, :]).sum(axis=1)[:n]

    def observe(self, q: Graph, x: Float[Array, " n"], t: Float[Array, ""]) -> Float[Array, " outputs"]:
        """The declared outputs."""
        p, amounts = Named(**q.parameters), Named(**dict(zip(self.compartments, x, strict=True)))
        values = [output_value(output, p, amounts, t) for output in self.output_of.values()]
        return jnp.stack([jnp.asarray(value, x.dtype) for value in values])

    def _graph(self, p: SimpleNamespace) -> Graph:
        index = {name: i for i, name in enumerate(self.compartments)}
        entries: dict[tuple[int, int], Any] = {}
        for (a, b), rate in self.flows.items():
            k = rate_value(rate, p)
            entries[index[a], index[a]] = entries.get((index[a], index[a]), 0.0) - k
            if b != OUT:
                entries[index[b], index[a]] = entries.get((index[b], index[a]), 0.0) + k
        for (a, b), rate in self.drives.items():
            entries[index[b], index[a]] = entries.get((index[b], index[a]), 0.0) + rate_value(rate, p)
        produced = [rate_value(self.production.get(name, 0.0), p) for name in self.compartments]
        kept = self.__dict__.get("required", ())  # not there yet while they are being found
        dtype = jnp.result_type(*entries.values(), *produced, *(getattr(p, name) for name in kept))
        n = len(index)
        A = [[jnp.asarray(entries.get((i, j), 0.0), dtype) for j in range(n)] for i in range(n)]
        return Graph(
            jnp.stack([jnp.stack(row) for row in A]),
            jnp.stack([jnp.asarray(value, dtype) for value in produced]),
            {name: jnp.asarray(getattr(p, name), dtype) for name in kept},
        )

    def _everything(self, p: SimpleNamespace) -> None:
        graph = self._graph(p)
        for rate in self.initial_of.values():
            rate_value(rate, p)
        x = Named(**dict.fromkeys(self.compartments, jnp.zeros((), graph.A.dtype)))
        for output in self.output_of.values():
            output_value(output, p, x, jnp.zeros(()))


def exponential(M: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """e^M for a matrix that is nowhere negative off its diagonal; differentiates forward, repeatedly."""
    n = M.shape[0]
    one = jnp.eye(n, dtype=M.dtype)
    s = jax.lax.stop_gradient(jnp.max(-jnp.diagonal(M)))
    s = jnp.maximum(s, 0.0)
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(M + s * one).sum(axis=0)))
    finite = jnp.where(jnp.isfinite(size), jnp.maximum(size, 1.0), 1.0)
    doublings = jnp.clip(jnp.ceil(jnp.log2(finite)), 0, 60).astype(jnp.int32)
    scale = jnp.exp2(-doublings.astype(M.dtype))
    B = (M + s * one) * scale
    B2 = times(B, B)
    B3, B4 = times(B2, B), times(B2, B2)
    powers = (one, B, B2, B3)
    series = _INVERSE_FACTORIALS[16] * one
    for first in (12, 8, 4, 0):
        block = sum(
            c * power for c, power in zip(_INVERSE_FACTORIALS[first : first + 4], powers, strict=True)
        )
        series = times(series, B4) + block
    small = series * jnp.exp(-s * scale)
    squared: Array = jax.lax.fori_loop(0, doublings, lambda _, E: times(E, E), small)
    return squared


def times(a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The product of two small matrices, written so that a batch of them becomes one fused loop."""
    return (a[:, :, None] * b[None, :, :]).sum(axis=1)
