"""Linear compartment models in closed form: one, two or three compartments, with or without absorption.

Amounts x = (central, peripheral, second peripheral) obey dx/dt = A x + e_1 u(t) with

    A = [[-(k10 + k12 + k13), k21, k31], [k12, -k21, 0], [k13, 0, -k31]],
    k10 = CL/V1, k12 = Q2/V1, k21 = Q2/V2, k13 = Q3/V1, k31 = Q3/V3.

Its eigenvalues -lambda_i are real and distinct (A is similar to a symmetric matrix), so with Sylvester's
formula e^{A t} = sum_i e^{-lambda_i t} P_i, P_i = prod_{j != i} (A + lambda_j I) / (lambda_j - lambda_i).
Bolus, infusion, open-ended rate and first- or zero-order absorption are then sums of exponentials.

Sources: Gabrielsson & Weiner, Pharmacokinetic and Pharmacodynamic Data Analysis, 5th ed.; Abuhelwa, Foster
& Upton 2015, doi:10.1016/j.vascn.2015.03.004 (the same closed forms, superposed dose by dose).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.structure import Input, Parameters, Pulses, plain_inputs

Absorption = Literal["none", "first_order", "zero_order"]
_DISPOSITION = {1: ("CL", "V1"), 2: ("CL", "V1", "Q2", "V2"), 3: ("CL", "V1", "Q2", "V2", "Q3", "V3")}
_ABSORPTION = {"none": (), "first_order": ("ka",), "zero_order": ("D",)}


@dataclass(frozen=True)
class Linear:
    """A linear model: how many compartments, and how a dose that is no infusion gets into the first.

    absorption "none": at once. "first_order": through a depot with rate ka (1/h).
    "zero_order": at a constant rate over D hours. Bioavailability F (default 1) multiplies every dose.
    """

    size: Literal[1, 2, 3]
    absorption: Absorption = "none"

    def __post_init__(self) -> None:
        if self.size not in _DISPOSITION:
            raise ModelError(
                f"found {self.size} compartments; expected 1, 2 or 3",
                remedy="use one_compartment(), two_compartment() or three_compartment()",
            )
        if self.absorption not in _ABSORPTION:
            raise ModelError(f"found absorption {self.absorption!r}; expected {', '.join(_ABSORPTION)}")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters, in the order of the arrays."""
        return _DISPOSITION[self.size] + _ABSORPTION[self.absorption] + ("F",)

    @property
    def required(self) -> tuple[str, ...]:
        """CL, V1, then Q2, V2, Q3, V3 as far as it goes; ka or D where there is absorption."""
        return self.parameters[:-1]

    @property
    def compartments(self) -> tuple[str, ...]:
        """Depot (with first-order absorption), central, peripheral, peripheral_2."""
        disposition = ("central", "peripheral", "peripheral_2")[: self.size]
        return ("depot", *disposition) if self.absorption == "first_order" else disposition

    @property
    def outputs(self) -> tuple[str, ...]:
        """Concentrations: `central` = amount / V1, and so on with V2, V3."""
        return ("central", "peripheral", "peripheral_2")[: self.size]

    @property
    def dose_compartment(self) -> str:
        """The depot, or the central compartment."""
        return self.compartments[0]

    @property
    def inputs(self) -> Mapping[str, tuple[Input, ...]]:
        """F, lag, D, R for the dosing compartment, F_<compartment> and so on for the others."""
        inputs = plain_inputs(self.compartments, self.dose_compartment)
        if self.absorption == "zero_order":
            inputs["central"] = (Input("central", zero_order=True),)
        return inputs

    @property
    def linear(self) -> bool:
        """Yes."""
        return True

    def prepare(self, p: Parameters) -> Modes:
        """Eigenvalues and projectors of the disposition."""
        zero = jnp.zeros_like(jnp.asarray(p.CL))
        return _modes(self, {name: getattr(p, name, zero) for name in self.required} | {"F": zero + 1.0})

    def initial(self, q: Modes) -> Float[Array, " n"]:
        """Nothing anywhere."""
        return jnp.zeros(len(self.compartments), q.rate.dtype)

    def advance(
        self,
        q: Modes,
        x: Float[Array, " n"],
        rate: Float[Array, " n"],
        pulses: Pulses,
        start: Float[Array, ""],
        elapsed: Float[Array, ""],
    ) -> Float[Array, " n"]:
        """Sums of exponentials; exact for any elapsed time."""
        decayed = jnp.exp(-q.rate * elapsed)
        filled = elapsed * _phi(q.rate * elapsed)
        if self.absorption != "first_order":
            return _carried(q, x, rate, decayed, filled, jnp.zeros_like(decayed))
        settled = rate[0] / q.ka
        entered = rate[0] * filled + (x[0] - settled) * q.ka * _between(q.ka, q.rate, elapsed)
        depot = settled + (x[0] - settled) * jnp.exp(-q.ka * elapsed)
        return jnp.concatenate([depot[None], _carried(q, x[1:], rate[1:], decayed, filled, entered)])

    def observe(self, q: Modes, x: Float[Array, " n"], t: Float[Array, ""]) -> Float[Array, " outputs"]:
        """Concentrations in the compartments of the disposition."""
        return x[-self.size :] / q.V


def one_compartment(absorption: Absorption = "none") -> Linear:
    """CL, V1."""
    return Linear(1, absorption)


def two_compartment(absorption: Absorption = "none") -> Linear:
    """CL, V1, Q2, V2."""
    return Linear(2, absorption)


def three_compartment(absorption: Absorption = "none") -> Linear:
    """CL, V1, Q2, V2, Q3, V3."""
    return Linear(3, absorption)


class Doses(NamedTuple):
    """Doses of one patient, padded with amount and rate 0; hours. All [D].

    A bolus has duration 0 and an `amount`; an infusion or a pump rate runs at `rate` (amount/h) over
    [start_h, start_h + duration_h] (duration infinite until the next rate change).
    """

    start_h: Float[Array, " D"]
    duration_h: Float[Array, " D"]
    amount: Float[Array, " D"]
    rate: Float[Array, " D"]


class Modes(NamedTuple):
    """The disposition of one parameter vector: rates [n], projectors [n, n, n], absorption."""

    rate: Float[Array, " n"]
    projector: Float[Array, "n n n"]
    ka: Float[Array, ""]
    D: Float[Array, ""]
    F: Float[Array, ""]
    V1: Float[Array, ""]
    CL: Float[Array, ""]
    V: Float[Array, " n"]


class State(NamedTuple):
    """Amounts in the compartments [n] and in the depot."""

    x: Float[Array, " n"]
    depot: Float[Array, ""]


def modes(structure: Linear, theta: Float[Array, " P"]) -> Modes:
    """Eigenvalues and projectors of the disposition; theta in the order of `structure.parameters`."""
    return _modes(structure, dict(zip(structure.parameters, theta, strict=True)))


def _modes(structure: Linear, p: dict[str, Array]) -> Modes:
    zero = jnp.zeros_like(p["CL"])
    k10 = p["CL"] / p["V1"]
    if structure.size == 1:
        rate = k10[None]
        projector = jnp.ones((1, 1, 1), rate.dtype)
    else:
        k12, k21 = p["Q2"] / p["V1"], p["Q2"] / p["V2"]
        if structure.size == 2:
            total = k10 + k12 + k21
            root = jnp.sqrt(total**2 - 4 * k10 * k21)
            fast = 0.5 * (total + root)
            rate = jnp.stack([fast, k10 * k21 / fast])  # the product avoids cancellation in the slow one
            A = jnp.array([[-(k10 + k12), k21], [k12, -k21]])
        else:
            k13, k31 = p["Q3"] / p["V1"], p["Q3"] / p["V3"]
            rate = _cubic_rates(k10, k12, k21, k13, k31)
            A = jnp.array([[-(k10 + k12 + k13), k21, k31], [k12, -k21, zero], [k13, zero, -k31]])
        projector = _projectors(A, rate)
    volumes = jnp.stack([p[name] for name in ("V1", "V2", "V3")[: structure.size]])
    return Modes(rate, projector, p.get("ka", zero), p.get("D", zero), p["F"], p["V1"], p["CL"], volumes)


def _carried(
    q: Modes,
    x: Float[Array, " n"],
    rate: Float[Array, " n"],
    decayed: Float[Array, " n"],
    filled: Float[Array, " n"],
    entered: Float[Array, " n"],
) -> Float[Array, " n"]:
    """sum_i P_i (decayed_i x + filled_i rate + entered_i e_1)."""
    if q.rate.shape[0] == 1:
        return decayed * x + filled * rate + entered
    inside = decayed[:, None] * x[None, :] + filled[:, None] * rate[None, :]
    inside = inside.at[:, 0].add(entered)
    return (q.projector * inside[:, None, :]).sum(axis=(0, 2))


def _cubic_rates(
    k10: Float[Array, ""],
    k12: Float[Array, ""],
    k21: Float[Array, ""],
    k13: Float[Array, ""],
    k31: Float[Array, ""],
) -> Float[Array, " 3"]:
    """The three positive roots of lambda^3 - a lambda^2 + b lambda - c, by Viète's trigonometric formula."""
    a = k10 + k12 + k13 + k21 + k31
    b = k10 * (k21 + k31) + k21 * k31 + k21 * k13 + k31 * k12
    c = k10 * k21 * k31
    p = a**2 / 3 - b
    q = 2 * a**3 / 27 - a * b / 3 + c
    radius = 2 * jnp.sqrt(p / 3)
    angle = jnp.arccos(jnp.clip(4 * q / radius**3, -1.0, 1.0)) / 3
    root = a / 3 + radius * jnp.cos(angle - 2 * jnp.pi * jnp.arange(3) / 3)
    for _ in range(2):  # Newton's steps: the smallest root comes out of a cancellation
        root = root - (((root - a) * root + b) * root - c) / ((3 * root - 2 * a) * root + b)
    return root


def _projectors(A: Float[Array, "n n"], rate: Float[Array, " n"]) -> Float[Array, "n n n"]:
    n = rate.shape[0]
    one = jnp.eye(n, dtype=A.dtype)
    projectors = []
    for i in range(n):
        first, *rest = [(A + rate[j] * one) / (rate[j] - rate[i]) for j in range(n) if j != i]
        for factor in rest:
            first = (first[:, :, None] * factor[None, :, :]).sum(axis=1)
        projectors.append(first)
    return jnp.stack(projectors)


def _phi(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(1 - e^{-x}) / x, 1 at 0, for x >= 0; its series near 0 keeps value and gradient exact."""
    near = x < 1e-5
    safe = jnp.where(near, 1.0, x)
    return jnp.where(near, 1 - x / 2 + x**2 / 6, -jnp.expm1(-safe) / safe)


def _between(
    fast: Float[Array, "..."], slow: Float[Array, "..."], t: Float[Array, "..."]
) -> Float[Array, "..."]:
    """(e^{-slow t} - e^{-fast t}) / (fast - slow), symmetric in its rates and regular where they meet."""
    low = jnp.minimum(fast, slow)
    return t * jnp.exp(-low * t) * _phi(jnp.abs(fast - slow) * t)


def mode_inputs(
    structure: Linear, m: Modes, doses: Doses, start_h: Float[Array, ""], t_h: Float[Array, ""]
) -> Float[Array, " n"]:
    """What the doses in [start_h, t_h) have left in each mode at t_h, as amounts entering compartment 1."""
    s, e, bolus, rate = _timed(structure, m, doses)
    begin, end = jnp.clip(s, start_h, t_h), jnp.clip(e, start_h, t_h)
    length = end - begin
    decay = m.rate[:, None]
    left = rate * length * jnp.exp(-decay * (t_h - end)) * _phi(decay * length)
    if structure.absorption != "zero_order":
        counted = (s >= start_h) & (s < t_h)
        age = jnp.where(counted, t_h - s, 0.0)
        if structure.absorption == "first_order":
            kernel = m.ka * _between(m.ka, decay, age)
        else:
            kernel = jnp.exp(-decay * age)
        left = left + jnp.where(counted, bolus, 0.0) * kernel
    return left.sum(axis=1)


def _timed(structure: Linear, m: Modes, doses: Doses) -> tuple[Array, Array, Array, Array]:
    if structure.absorption == "zero_order":
        duration = jnp.where(doses.amount > 0, m.D, doses.duration_h)
        rate = jnp.where(doses.amount > 0, doses.amount / m.D, doses.rate) * m.F
        return doses.start_h, doses.start_h + duration, jnp.zeros_like(rate), rate
    return doses.start_h, doses.start_h + doses.duration_h, doses.amount * m.F, doses.rate * m.F


def propagate(
    structure: Linear,
    m: Modes,
    state: State,
    doses: Doses,
    start_h: Float[Array, ""],
    t_h: Float[Array, ""],
) -> State:
    """The amounts at t_h >= start_h, from those at start_h and the doses between; e_1 = central."""
    elapsed = t_h - start_h
    decayed = jnp.exp(-m.rate * elapsed)
    entered = mode_inputs(structure, m, doses, start_h, t_h)
    depot = state.depot
    if structure.absorption == "first_order":
        entered = entered + state.depot * m.ka * _between(m.ka, m.rate, elapsed)
        counted = (doses.start_h >= start_h) & (doses.start_h < t_h)
        age = jnp.where(counted, t_h - doses.start_h, 0.0)
        new = jnp.where(counted, doses.amount * m.F, 0.0) * jnp.exp(-m.ka * age)
        depot = state.depot * jnp.exp(-m.ka * elapsed) + new.sum()
    carried = (m.projector * state.x).sum(axis=2)
    x = (decayed[:, None] * carried + entered[:, None] * m.projector[:, :, 0]).sum(axis=0)
    return State(x, depot)
