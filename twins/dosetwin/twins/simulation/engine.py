"""The engine: runs a subject's event program through a structural model.

Between two events the structure advances the amounts under constant parameters and rates; at an event a dose
jumps in, an infusion starts or stops, the system is reset or put into a steady state. Where individual
parameters move events, they are sorted here, so that gradients flow through lags and durations too.
Pure JAX, one subject: batches by jax.vmap, derivatives forward.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.structure import Prepared, Pulses
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.simulation.event_program import (
    BOLUS,
    DURATION_FROM_MODEL,
    GIVEN_DURATION,
    GIVEN_RATE,
    NOTHING,
    PULSE,
    RATE_FROM_MODEL,
    RESETTING,
    START,
    STEADY,
    STEADY_STOP,
    STOP,
    Entries,
    Events,
    Program,
    Steady,
    entries,
    moment,
    moves,
)
from dosetwin.twins.simulation.steady_state import ROUNDING, periodic_state

BEYOND = 1 << 30
"""More rows than any subject has."""


class _Entering(NamedTuple):
    """How each event's dose enters: actual time, amount, rate; whether it ends an infusion; [M]."""

    time: Array
    amount: Array
    rate: Array
    ends: Array


class Course(NamedTuple):
    """What was seen at every observation record: the structure's outputs, the amounts, the time."""

    outputs: Float[Array, "N outputs"]
    amounts: Float[Array, "N n"]
    time: Float[Array, " N"]


def run(model: PopulationModel, program: Program, p: SimpleNamespace, *, steady: bool) -> Course:
    """Run one subject's program under its parameters.

    `p`: the individual parameters, [E] each. `steady` says whether the program has steady-state doses at
    all (a table of size 0 otherwise).
    """
    structure, ways = model.structure, entries(model)
    program = jax.tree.map(jnp.asarray, program)
    events = program.events
    q = jax.vmap(
        lambda *values: structure.prepare(SimpleNamespace(**dict(zip(vars(p), values, strict=True))))
    )(*vars(p).values())
    entering = _entering(ways, events, p)
    finite = jnp.isfinite(events.time)
    last = jnp.max(jnp.where(events.record, events.time, -jnp.inf))
    first = jnp.min(jnp.where(finite, events.time, jnp.inf))
    first, last = jnp.where(jnp.isfinite(first), first, 0.0), jnp.where(jnp.isfinite(last), last, 0.0)
    place = program.observations.event
    if moves(model):
        order = jnp.argsort(jnp.where(finite, moment(entering.time), jnp.inf), stable=True)
        events = Events(*(jnp.asarray(column)[order] for column in events))
        entering = _Entering(*(column[order] for column in entering))
        rank = jnp.zeros_like(order).at[order].set(jnp.arange(order.shape[0]))
        place = rank[place]
    times = jnp.minimum(jnp.where(jnp.isfinite(events.time), entering.time, last), last)
    held = _row_of_interval(model, events)
    states = _steady_states(model, ways, program, q, p) if steady else None
    target = jnp.asarray(ways.target)[events.entry]
    n = len(structure.compartments)
    into = (jnp.arange(n)[None, :] == target[:, None]).astype(times.dtype)

    start_state = structure.initial(_row(q, 0))
    pulses_used = any(way.function for way in ways.inputs)
    pulse_start = jnp.where(events.action == PULSE, times, jnp.inf)

    def step(carry: tuple[Any, ...], k: Array) -> tuple[tuple[Any, ...], tuple[Array, Array]]:
        x, rate, since, now, amounts = carry
        own = _row(q, held[k])
        elapsed = jnp.maximum(times[k] - now, 0.0)
        pulses = Pulses(pulse_start, amounts) if pulses_used else Pulses(jnp.zeros(0), jnp.zeros(0))
        moved = structure.advance(own, x, rate, pulses, now, elapsed)
        x = jnp.where(elapsed > 0, moved, x)  # sums of projectors are 1 only up to rounding
        action = events.action[k]
        counts = events.origin[k] >= since
        amount, speed = entering.amount[k], entering.rate[k]
        x = x + into[k] * jnp.where(counts & (action == BOLUS), amount, 0.0)
        turned = jnp.where(action == START, speed, 0.0) - jnp.where(action == STOP, speed, 0.0)
        resets = action == RESETTING
        if states is not None:
            s = events.steady[k]
            settled, running = states[0][s], states[1][s]
            is_steady = counts & (action == STEADY)
            alone = is_steady & ~program.steady.adds[s]
            resets = resets | alone
            turned = turned - jnp.where((action == STEADY_STOP) & entering.ends[k], speed, 0.0)
        rate = rate + into[k] * jnp.where(counts, turned, 0.0)
        x = jnp.where(resets, structure.initial(_row(q, events.row[k])), x)
        rate = jnp.where(resets, 0.0, rate)
        since = jnp.where(resets, events.origin[k], since)
        if pulses_used:
            amounts = jnp.where(resets, 0.0, amounts)
            amounts = amounts.at[k].set(jnp.where(counts & (action == PULSE), amount, 0.0))
        if states is not None:
            base = structure.initial(_row(q, events.row[k]))
            x = jnp.where(is_steady, jnp.where(alone, settled, x + settled - base), x)
            rate = rate + jnp.where(is_steady, running, 0.0)
        seen = structure.observe(_row(q, events.row[k]), x, times[k])
        return (x, rate, since, times[k], amounts), (seen, x)

    M = times.shape[0]
    carry = (
        start_state,
        jnp.zeros_like(start_state),
        jnp.asarray(-1),
        first,
        jnp.zeros(M if pulses_used else 0, times.dtype),
    )
    _, (seen, amounts) = jax.lax.scan(step, carry, jnp.arange(M))
    return Course(seen[place], amounts[place], times[place])


def _row(q: Prepared, k: Any) -> Prepared:
    return jax.tree.map(lambda leaf: leaf[0] if leaf.shape[0] == 1 else leaf[k], q)


def _of_entries(ways: Entries, p: SimpleNamespace, kind: str, default: float) -> Float[Array, "E I"]:
    E = next(iter(vars(p).values())).shape[0]
    columns = [getattr(p, getattr(way, kind), None) for way in ways.inputs]
    return jnp.stack([jnp.full(E, default) if c is None else c for c in columns], axis=1)


def _entering(ways: Entries, events: Events, p: SimpleNamespace) -> _Entering:
    """Actual times, amounts and rates; a stop's time is the end of its infusion."""
    lag, amount, rate, length = _doses(ways, events, p)
    doses = (events.action != NOTHING) & (events.action != RESETTING) & (events.action != STEADY)
    stops = (events.action == STOP) | (events.action == STEADY_STOP)
    delay = jnp.where(doses, lag, 0.0) + jnp.where(stops, length + events.shift, 0.0)
    ends = (lag + length) * (1 - ROUNDING) + events.shift >= 0
    return _Entering(events.time + jnp.maximum(delay, 0.0), amount, rate, ends)


def _doses(ways: Entries, told: Events | Steady, p: SimpleNamespace) -> tuple[Array, Array, Array, Array]:
    """(lag, amount, rate, length) of every dose told of, by the parameters of its own row."""
    own, entry = told.row, told.entry
    fraction = _of_entries(ways, p, "fraction", 1.0)[own, entry]
    lag = _of_entries(ways, p, "lag", 0.0)[own, entry]
    duration = _of_entries(ways, p, "duration", 1.0)[own, entry]
    modelled = _of_entries(ways, p, "rate", 1.0)[own, entry]
    return lag, *dose_of(told.how, told.amount, told.given, fraction, duration, modelled)


def dose_of(
    how: Array, amount: Array, given: Array, fraction: Array, duration: Array, modelled: Array
) -> tuple[Array, Array, Array]:
    """(amount, rate, length) of a dose by how it enters, bioavailability included; elementwise.

    A given or modelled rate keeps its value and runs for fraction x amount / rate; a given or modelled
    duration keeps its value and has the rate fraction x amount / duration.
    """
    entered = fraction * amount
    by_rate = (how == GIVEN_RATE) | (how == RATE_FROM_MODEL)
    by_time = (how == GIVEN_DURATION) | (how == DURATION_FROM_MODEL)
    speed = jnp.where(how == GIVEN_RATE, jnp.where(given > 0, given, 1.0), modelled)
    span = jnp.where(how == GIVEN_DURATION, jnp.where(given > 0, given, 1.0), duration)
    rate = jnp.where(by_rate, speed, jnp.where(by_time, entered / span, 0.0))
    length = jnp.where(by_rate, entered / speed, jnp.where(by_time, span, 0.0))
    return entered, rate, length


def _row_of_interval(model: PopulationModel, events: Events) -> Array:
    """The row of parameters that holds over the interval that ends at each event."""
    row, record = jnp.asarray(events.row), jnp.asarray(events.record)
    if model.interpolation == "next_value_backward":
        rows = jnp.where(record, row, BEYOND)
        found = jnp.flip(jax.lax.cummin(jnp.flip(rows)))
        return jnp.where(found == BEYOND, jnp.max(jnp.where(record, row, 0)), found)
    rows = jnp.where(record, row, 0)
    before = jnp.concatenate([jnp.zeros(1, row.dtype), rows[:-1]])
    return jax.lax.cummax(before)


def _steady_states(
    model: PopulationModel, ways: Entries, program: Program, q: Prepared, p: SimpleNamespace
) -> tuple[Float[Array, "S n"], Float[Array, "S n"]]:
    """Amounts and running rates of every steady-state dose, just before its record."""
    table = program.steady
    lag, amount, rate, length = _doses(ways, table, p)
    n = len(model.structure.compartments)
    into = (jnp.arange(n)[None, :] == jnp.asarray(ways.target)[table.entry][:, None]).astype(amount.dtype)
    # a structure that carries more than amounts knows its own steady state
    one = getattr(model.structure, "periodic_state", None) or partial(periodic_state, model.structure)
    own_q = jax.vmap(lambda k: _row(q, k))(table.row)
    bolus = jnp.where(rate > 0, 0.0, amount)
    x, running = jax.vmap(one)(own_q, into, bolus, rate, length, lag, table.interval)
    # an infusion that no event would end must not become a silent wrong number
    endable = running.sum(axis=1) <= (jnp.asarray(table.stops) + 0.5) * jnp.where(rate > 0, rate, 1.0)
    return jnp.where(endable[:, None], x, jnp.nan), running
