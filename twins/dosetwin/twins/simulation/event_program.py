"""The event program of a subject: everything that happens to it, as arrays that the engine runs through.

Records are expanded on the host: additional doses are written out, an infusion becomes a start and a stop,
a steady-state dose a row of its own table. What depends on individual parameters (lag, modelled duration or
rate, bioavailability of an infusion) is left to the engine, which sorts the events by their actual times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from dosetwin.twins.models.structure import Input
from dosetwin.twins.population_model import PopulationModel

NOTHING, BOLUS, START, STOP, STEADY_STOP, RESETTING, STEADY, PULSE = range(8)
"""What an event does; STEADY sets or adds a steady state, STEADY_STOP ends an infusion begun before it."""
AT_ONCE, GIVEN_RATE, GIVEN_DURATION, RATE_FROM_MODEL, DURATION_FROM_MODEL = range(5)
"""How an event's dose enters."""
OVERLAPS = 4
"""Infusions of modelled length that may still run when a steady-state dose is due."""


Column = Any
"""An array: NumPy on the host, JAX's inside a compiled function (there without the axis of subjects)."""


SAME_MOMENT = 2.0**-26
"""Times closer than about this are one moment: 0 + 3 x 0.1 is 0.3, whatever the last bit says."""


def moment(time: Any) -> Any:
    """The number by which events are put in order; events of one moment stay in the order of the file."""
    return (time / SAME_MOMENT).round()


class Events(NamedTuple):
    """What happens, [M] each, padded with NOTHING at +infinity; times in the model's unit."""

    time: Column
    action: Column
    entry: Column
    """Which of the structure's inputs (`Entries`)."""
    how: Column
    amount: Column
    given: Column
    """The rate or the duration, where `how` says that it is given."""
    row: Column
    """Row of parameters of its record."""
    origin: Column
    """Place of its record in the file; a reset cancels what comes from before it."""
    record: Column
    """Whether it stands for a record itself: parameters change only there."""
    steady: Column
    """Row of the steady-state table (STEADY)."""
    shift: Column
    """How much before its record the infusion began that a STEADY_STOP ends (negative)."""


class Steady(NamedTuple):
    """Steady-state doses, [S] each, padded with amount 0 and interval 1."""

    entry: Column
    how: Column
    amount: Column
    given: Column
    interval: Column
    """0: the steady state of an infusion that never ends."""
    adds: Column
    row: Column
    stops: Column
    """How many earlier infusions can be ended: more of them running is no number."""


class Rows(NamedTuple):
    """Parameter rows, E of them: stretches of constant covariates and occasion."""

    covariates: dict[str, Column]
    effects: Column
    """[E, P]: what the covariate functions of one argument gave (1 where there is none)."""
    occasion: Column


class Observations(NamedTuple):
    """Observation records, [N] each, padded with mask 0; those without a value have mask 0 too.

    `censored` and `lower` are None in a batch without censored values: a program without them is smaller.
    """

    event: Column
    output: Column
    value: Column
    censored: Column
    lower: Column
    mask: Column


class Program(NamedTuple):
    """One subject, or many with a leading axis."""

    events: Events
    steady: Steady
    rows: Rows
    observations: Observations


@dataclass(frozen=True)
class Entries:
    """The inputs of a structure as one list, and where each compartment's begin."""

    inputs: tuple[Input, ...]
    of_compartment: tuple[tuple[int, ...], ...]
    target: tuple[int, ...]
    """Index of the compartment that an input fills."""


@cache
def entries(model: PopulationModel) -> Entries:
    """The structure's inputs, numbered."""
    structure = model.structure
    names = structure.compartments
    flat: list[Input] = []
    places: list[tuple[int, ...]] = []
    for name in names:
        ways = structure.inputs.get(name, ())
        places.append(tuple(range(len(flat), len(flat) + len(ways))))
        flat.extend(ways)
    return Entries(tuple(flat), tuple(places), tuple(names.index(way.compartment) for way in flat))


@cache
def moves(model: PopulationModel) -> bool:
    """Whether the times of events depend on individual parameters.

    Modelled lags, durations and rates move events; so does a bioavailability, because it sets how long an
    infusion of a given rate runs.
    """
    names = set(model.by_name)
    return any(
        names & {way.lag, way.duration, way.rate, way.fraction} or way.zero_order
        for way in entries(model).inputs
    )


@dataclass(frozen=True)
class Shape:
    """Sizes of a program's arrays."""

    events: int
    rows: int
    observations: int
    steady: int

    def union(self, other: Shape) -> Shape:
        """The smallest shape that holds both."""
        return Shape(*(max(a, b) for a, b in zip(self.tuple, other.tuple, strict=True)))

    @property
    def tuple(self) -> tuple[int, int, int, int]:
        """As numbers."""
        return self.events, self.rows, self.observations, self.steady
