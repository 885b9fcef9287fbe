"""The event program of a subject: everything that happens to it, as arrays that the engine runs through.

Records are expanded on the host: additional doses are written out, an infusion becomes a start and a stop,
a steady-state dose a row of its own table. What depends on individual parameters (lag, modelled duration or
rate, bioavailability of an infusion) is left to the engine, which sorts the events by their actual times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.subject import (
    DOSE,
    DURATION_MODELLED,
    OBSERVATION,
    RATE_MODELLED,
    RESET,
    RESET_AND_DOSE,
    RecordError,
    Subject,
)
from dosetwin.twins.models.errors import ModelError
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


class _Writer:
    """Collects events of one subject; at one moment additional doses come first, then records, then stops.

    A stop after its own start: an infusion of no length then leaves nothing running.
    """

    def __init__(self) -> None:
        self.before: list[tuple[Any, ...]] = []
        self.records: list[tuple[Any, ...]] = []
        self.stops: list[tuple[Any, ...]] = []
        self.steady: list[tuple[Any, ...]] = []


@dataclass(frozen=True)
class Written:
    """A subject's program before padding."""

    events: Events
    steady: Steady
    rows: Rows
    observations: Observations

    @property
    def shape(self) -> Shape:
        """Its sizes."""
        return Shape(
            len(self.events.time),
            len(self.rows.occasion),
            len(self.observations.event),
            len(self.steady.entry),
        )


def write_program(model: PopulationModel, subject: Subject) -> Written:
    """The program of one subject. Raises RecordError where the model cannot take a record."""
    ways = entries(model)
    clock = _monotone(subject)
    end = clock[-1] if len(clock) else 0.0
    occasions = np.unique(subject.occasion)
    row, rows = _rows(model, subject, occasions)
    writer = _Writer()
    observed: list[tuple[Any, ...]] = []
    for i in range(len(subject)):
        evid = int(subject.evid[i])
        at, own = float(clock[i]), int(row[i])
        if evid in (RESET, RESET_AND_DOSE):
            # the record itself may carry on as a dose: only what came before it is cancelled
            writer.records.append((at, RESETTING, 0, AT_ONCE, 0.0, 0.0, own, i, True, 0, 0.0))
        if evid in (DOSE, RESET_AND_DOSE):
            _write_dose(model, ways, subject, i, at, own, end, writer)
        elif evid == OBSERVATION:
            observed.append((len(writer.records), _output(model, subject, i), i))
            writer.records.append((at, NOTHING, 0, AT_ONCE, 0.0, 0.0, own, i, True, 0, 0.0))
        elif evid != RESET:
            writer.records.append((at, NOTHING, 0, AT_ONCE, 0.0, 0.0, own, i, True, 0, 0.0))
    table = [*writer.before, *writer.records, *writer.stops]
    numbers = np.array(table, np.float64).reshape(-1, len(_EVENT_KINDS)).T
    events = Events(*(column.astype(kind) for column, kind in zip(numbers, _EVENT_KINDS, strict=True)))
    if not moves(model):
        order = np.argsort(_actual(events), kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        events = Events(*(column[order] for column in events))
    else:
        place = np.arange(len(table))
    offset = len(writer.before)
    source = np.array([i for _, _, i in observed], np.int64)
    observations = Observations(
        event=place[[offset + k for k, _, _ in observed]] if observed else np.zeros(0, np.int64),
        output=np.array([o for _, o, _ in observed], np.int64),
        value=np.where(np.isfinite(subject.dv[source]), subject.dv[source], 1.0),
        censored=subject.censored[source],
        lower=np.where(np.isfinite(subject.lower[source]), subject.lower[source], np.nan),
        mask=np.isfinite(subject.dv[source]).astype(np.float64),
    )
    numbers = np.array(writer.steady, np.float64).reshape(-1, len(_STEADY_KINDS)).T
    steady = Steady(*(column.astype(kind) for column, kind in zip(numbers, _STEADY_KINDS, strict=True)))
    return Written(events, steady, rows, observations)


def _actual(events: Events) -> npt.NDArray[np.float64]:
    """When events happen, where no parameter moves them."""
    given = np.where(events.given > 0, events.given, 1.0)
    length = np.where(events.how == GIVEN_RATE, events.amount / given, events.given)
    stops = (events.action == STOP) | (events.action == STEADY_STOP)
    delay = np.where(stops, length + events.shift, 0.0)
    actual: npt.NDArray[np.float64] = events.time + np.maximum(delay, 0.0)
    return actual


_EVENT_KINDS: tuple[Any, ...] = (
    np.float64,
    np.int64,
    np.int64,
    np.int64,
    np.float64,
    np.float64,
    np.int64,
    np.int64,
    np.bool_,
    np.int64,
    np.float64,
)
_STEADY_KINDS: tuple[Any, ...] = (
    np.int64,
    np.int64,
    np.float64,
    np.float64,
    np.float64,
    np.bool_,
    np.int64,
    np.int64,
)


def _monotone(subject: Subject) -> npt.NDArray[np.float64]:
    """Times that never fall: a reset may start the clock again, which moves the later ones on."""
    clock = subject.time.astype(np.float64).copy()
    for i in (np.flatnonzero(np.diff(clock) < 0) + 1).tolist():
        if clock[i] < clock[i - 1]:
            if subject.evid[i] not in (RESET, RESET_AND_DOSE):
                raise RecordError(
                    f"subject {subject.id}, row {subject.row[i]}: found time {subject.time[i]:g} after "
                    f"{subject.time[i - 1]:g}; expected ascending times",
                    remedy="sort the records, or begin again with a reset (EVID 3 or 4)",
                )
            clock[i:] += clock[i - 1] - clock[i]
    return clock


def _rows(
    model: PopulationModel, subject: Subject, occasions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], Rows]:
    """Row of parameters of every record, and the rows."""
    columns = [subject.covariates[name] for name in subject.covariates]
    slot = np.searchsorted(occasions, subject.occasion)
    if model.occasion_varying:
        columns = [*columns, slot.astype(np.float64)]
    R = len(subject)
    table = np.stack(columns, axis=1) if columns else np.zeros((R, 1))
    changed = np.any(table[1:] != table[:-1], axis=1) if R > 1 else np.zeros(0, bool)
    row = np.concatenate([[0], np.cumsum(changed)]).astype(np.int64)[:R]
    first = np.concatenate([[0], np.flatnonzero(changed) + 1]).astype(np.int64)[: max(R, 1)]
    covariates = {name: subject.covariates[name][first] for name in subject.covariates}
    return row, Rows(covariates, covariate_effects(model, subject.id, covariates, len(first)), slot[first])


def covariate_effects(
    model: PopulationModel, subject: str, covariates: dict[str, npt.NDArray[np.float64]], E: int
) -> npt.NDArray[np.float64]:
    """What the covariate functions of one argument give, [E, P].

    RecordError names a covariate that is missing, ModelError values that the model cannot take.
    """
    effects = np.ones((E, len(model.parameters)))
    c = SimpleNamespace(**covariates)
    for k, parameter in enumerate(model.parameters):
        if parameter.covariates is None or parameter.dependent:
            continue
        try:
            effects[:, k] = np.asarray(parameter.covariates(c), np.float64)
        except AttributeError as error:
            raise RecordError(
                f"{parameter.name} needs the covariate {getattr(error, 'name', error)!r}; subject {subject} "
                f"has {', '.join(covariates) or 'none'}",
                remedy="add the column to the data, or rename it (columns={...})",
            ) from error
        value = effects[:, k] if parameter.absolute else parameter.typical * effects[:, k]
        wrong = ~np.isfinite(value)
        if parameter.positive:
            wrong |= value <= 0
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            given = ", ".join(f"{name}={values[at]:.4g}" for name, values in covariates.items())
            raise ModelError(
                f"subject {subject}: {parameter.name} becomes {value[at]:.4g} with {given}; expected a number"
                + (" above 0" if parameter.positive else ""),
                remedy="these covariates lie outside what the model was made for; check their units",
            )
    return effects


def _output(model: PopulationModel, subject: Subject, i: int) -> int:
    """0-based index into the model's observed quantities."""
    count = len(model.outputs)
    if subject.output[i] > 0:
        if subject.output[i] > count:
            raise RecordError(
                f"subject {subject.id}, row {subject.row[i]}: found DVID {subject.output[i]}; expected 1.."
                f"{count}, the quantities the model observes: {', '.join(o.quantity for o in model.outputs)}"
            )
        return int(subject.output[i]) - 1
    for k, observed in enumerate(model.outputs):
        if observed.compartment and observed.compartment == subject.compartment[i]:
            return k
    return 0


def _write_dose(
    model: PopulationModel,
    ways: Entries,
    subject: Subject,
    i: int,
    at: float,
    own: int,
    end: float,
    writer: _Writer,
) -> None:
    names = model.structure.compartments
    number = int(subject.compartment[i])
    place = number - 1 if number > 0 else names.index(model.structure.dose_compartment)
    where = f"subject {subject.id}, row {subject.row[i]}"
    if place >= len(names) or not ways.of_compartment[place]:
        raise RecordError(
            f"{where}: found a dose into compartment {number}; expected one of "
            + ", ".join(f"{k + 1} ({name})" for k, name in enumerate(names) if ways.of_compartment[k])
        )
    amount, rate = float(subject.amount[i]), float(subject.rate[i])
    interval, more = float(subject.interval[i]), int(subject.additional[i])
    steady = int(subject.steady_state[i])
    record = True
    if not steady and ways.inputs[ways.of_compartment[place][0]].lag in model.by_name:
        # a lag moves the dose, not its record: parameters change at the record's own time
        writer.records.append((at, NOTHING, 0, AT_ONCE, 0.0, 0.0, own, i, True, 0, 0.0))
        record = False
    for entry in ways.of_compartment[place]:
        way = ways.inputs[entry]
        how, given = _how(model, way, rate, float(subject.duration[i]), where)
        if way.function and how == AT_ONCE and steady:
            raise RecordError(
                f"{where}: found a steady-state dose into an absorption function; expected none",
                remedy="write out the earlier doses (ADDL) instead of SS",
            )
        if steady:
            endless = amount == 0 and interval == 0
            if not endless and interval <= 0:
                raise RecordError(f"{where}: found SS={steady} with II={interval:g}; expected II above 0")
            s = len(writer.steady)
            adds = steady == 2 or entry != ways.of_compartment[place][0]
            running = 0
            if how != AT_ONCE and not endless:
                # a stop of an infusion begun j intervals ago is an event only while that one still runs
                running = OVERLAPS if how != GIVEN_DURATION else int(np.ceil(given / interval))
                if how == GIVEN_RATE:
                    running = max(OVERLAPS, int(np.ceil(2 * amount / given / interval)))
            writer.steady.append((entry, how, amount, given, interval, adds, own, running))
            writer.records.append((at, STEADY, entry, how, amount, given, own, i, record, s, 0.0))
            record = False
            for j in range(1, running + 1):
                writer.before.append(
                    (at, STEADY_STOP, entry, how, amount, given, own, i, False, 0, -j * interval)
                )
            if endless:
                continue
        for k in range(more + 1):
            time = at + k * interval
            if k > 0 and time > end + SAME_MOMENT:
                break
            target = writer.records if k == 0 else writer.before
            flag = record and k == 0
            if how == AT_ONCE:
                action = PULSE if way.function else BOLUS
                target.append((time, action, entry, how, amount, given, own, i, flag, 0, 0.0))
            else:
                target.append((time, START, entry, how, amount, given, own, i, flag, 0, 0.0))
                writer.stops.append((time, STOP, entry, how, amount, given, own, i, False, 0, 0.0))
        record = False


def _how(model: PopulationModel, way: Input, rate: float, duration: float, where: str) -> tuple[int, float]:
    if rate > 0:
        return GIVEN_RATE, rate
    if duration > 0:
        return GIVEN_DURATION, duration
    if rate in (RATE_MODELLED, DURATION_MODELLED) or way.zero_order:
        needed = way.rate if rate == RATE_MODELLED else way.duration
        if needed not in model.by_name:
            raise RecordError(
                f"{where}: found RATE {rate:g}, which takes the parameter {needed}; the model has "
                f"{', '.join(model.by_name)}",
                remedy=f"add Parameter({needed!r}, ...) to the model, or give the rate in the data",
            )
        return (RATE_FROM_MODEL if rate == RATE_MODELLED else DURATION_FROM_MODEL), 0.0
    return AT_ONCE, 0.0


def stack(written: Sequence[Written], shape: Shape) -> Program:
    """Programs padded to one shape, with a leading axis of subjects."""

    def pad(columns: Sequence[npt.NDArray[Any]], size: int, fill: Any) -> npt.NDArray[Any]:
        out = np.full((len(columns), size, *columns[0].shape[1:]), fill, dtype=columns[0].dtype)
        for i, column in enumerate(columns):
            out[i, : len(column)] = column
        return out

    def repeat(columns: Sequence[npt.NDArray[Any]], size: int) -> npt.NDArray[Any]:
        return np.stack([c[np.minimum(np.arange(size), len(c) - 1)] for c in columns])

    M, E, N, S = shape.tuple
    blank = {"time": np.inf, "record": False}
    events = Events(
        *(pad([getattr(w.events, name) for w in written], M, blank.get(name, 0)) for name in Events._fields)
    )
    empty = {"interval": 1.0, "adds": False}
    steady = Steady(
        *(pad([getattr(w.steady, name) for w in written], S, empty.get(name, 0)) for name in Steady._fields)
    )
    names = written[0].rows.covariates
    rows = Rows(
        {name: repeat([w.rows.covariates[name] for w in written], E) for name in names},
        repeat([w.rows.effects for w in written], E),
        repeat([w.rows.occasion for w in written], E),
    )
    fills = {"value": 1.0, "lower": np.nan}
    observations = Observations(
        *(
            pad([getattr(w.observations, name) for w in written], N, fills.get(name, 0))
            for name in Observations._fields
        )
    )
    if not observations.censored.any():
        observations = observations._replace(censored=None, lower=None)
    return Program(events, steady, rows, observations)
