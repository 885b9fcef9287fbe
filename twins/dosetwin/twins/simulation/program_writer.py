"""From a subject's records to its event program, and from programs to a batch of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

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
from dosetwin.twins.simulation.event_program import (
    AT_ONCE,
    BOLUS,
    DURATION_FROM_MODEL,
    GIVEN_DURATION,
    GIVEN_RATE,
    NOTHING,
    OVERLAPS,
    PULSE,
    RATE_FROM_MODEL,
    RESETTING,
    SAME_MOMENT,
    START,
    STEADY,
    STEADY_STOP,
    STOP,
    Entries,
    Events,
    Observations,
    Program,
    Rows,
    Shape,
    Steady,
    entries,
    moment,
    moves,
)

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Row = tuple[Any, ...]
"""An event or a steady-state dose: its columns, in the order of `Events` or `Steady`."""
_EVENT_KINDS = (float, int, int, int, float, float, int, int, bool, int, float)
_STEADY_KINDS = (int, int, float, float, float, bool, int, int)


class _Writer:
    """Collects events of one subject; at one moment additional doses come first, then records, then stops.

    A stop after its own start: an infusion of no length then leaves nothing running.
    """

    def __init__(self) -> None:
        self.before: list[Row] = []
        self.records: list[Row] = []
        self.stops: list[Row] = []
        self.steady: list[Row] = []


@dataclass(frozen=True)
class Written:
    """A subject's program before padding: rows as they were written, arrays where they are per record.

    `in_order`: whether the batch may put the events in order, because no parameter moves them.
    """

    events: list[Row]
    steady: list[Row]
    rows: Rows
    observations: Observations
    in_order: bool

    @property
    def shape(self) -> Shape:
        """Its sizes."""
        return Shape(
            len(self.events), len(self.rows.occasion), len(self.observations.event), len(self.steady)
        )


def write_program(model: PopulationModel, subject: Subject) -> Written:
    """The program of one subject. Raises RecordError where the model cannot take a record."""
    ways = entries(model)
    clock = _monotone(subject)
    times = clock.tolist()
    end = times[-1] if times else 0.0
    row, rows = _rows(model, subject)
    writer = _Writer()
    place: list[int] = []
    source: list[int] = []
    for i, (at, evid, own) in enumerate(zip(times, subject.evid.tolist(), row.tolist(), strict=True)):
        if evid in (RESET, RESET_AND_DOSE):
            # the record itself may carry on as a dose: only what came before it is cancelled
            writer.records.append((at, RESETTING, 0, AT_ONCE, 0.0, 0.0, own, i, True, 0, 0.0))
        if evid in (DOSE, RESET_AND_DOSE):
            _write_dose(model, ways, subject, i, at, own, end, writer)
        elif evid == OBSERVATION:
            place.append(len(writer.records))
            source.append(i)
            writer.records.append((at, NOTHING, 0, AT_ONCE, 0.0, 0.0, own, i, True, 0, 0.0))
        elif evid != RESET:
            writer.records.append((at, NOTHING, 0, AT_ONCE, 0.0, 0.0, own, i, True, 0, 0.0))
    at_row = np.array(source, np.int64)
    dv = subject.dv[at_row]
    known = np.isfinite(dv)
    observations = Observations(
        event=np.array(place, np.int64) + len(writer.before),
        output=_outputs(model, subject, at_row),
        value=np.where(known, dv, 1.0),
        censored=subject.censored[at_row],
        lower=subject.lower[at_row],
        mask=known.astype(np.float64),
    )
    table = [*writer.before, *writer.records, *writer.stops]
    return Written(table, writer.steady, rows, observations, in_order=not moves(model))


def _actual(events: Events) -> Values:
    """When events happen, where no parameter moves them."""
    given = np.where(events.given > 0, events.given, 1.0)
    length = np.where(events.how == GIVEN_RATE, events.amount / given, events.given)
    stops = (events.action == STOP) | (events.action == STEADY_STOP)
    delay = np.where(stops, length + events.shift, 0.0)
    actual: Values = events.time + np.maximum(delay, 0.0)
    return actual


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


def _rows(model: PopulationModel, subject: Subject) -> tuple[Indices, Rows]:
    """Row of parameters of every record, and the rows."""
    R = len(subject)
    columns = list(subject.covariates.values())
    slot = np.zeros(R, np.int64)
    if model.occasion_varying:
        slot = np.searchsorted(np.unique(subject.occasion), subject.occasion)
        columns.append(slot.astype(np.float64))
    changed = np.zeros(max(R, 1), bool)
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    row = np.cumsum(changed)[:R]
    first = np.flatnonzero(changed) if changed.any() else np.zeros(0, np.int64)
    first = np.concatenate([np.zeros(1, np.int64), first])
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


def _outputs(model: PopulationModel, subject: Subject, source: Indices) -> Indices:
    """0-based index into the model's observed quantities of the observation records `source`."""
    asked = subject.output[source]
    count = len(model.outputs)
    beyond = np.flatnonzero(asked > count)
    if len(beyond):
        i = int(source[beyond[0]])
        raise RecordError(
            f"subject {subject.id}, row {subject.row[i]}: found DVID {subject.output[i]}; expected 1.."
            f"{count}, the quantities the model observes: {', '.join(o.quantity for o in model.outputs)}"
        )
    found = np.maximum(asked, 1) - 1
    for k in range(count - 1, -1, -1):
        compartment = model.outputs[k].compartment
        if compartment:
            found = np.where((asked <= 0) & (subject.compartment[source] == compartment), k, found)
    return found


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
    M, E, N, S = shape.tuple
    B = len(written)
    table = _padded_table([w.events for w in written], M, len(_EVENT_KINDS))
    counts = np.array([len(w.events) for w in written])
    table[..., 0] = np.where(np.arange(M) < counts[:, None], table[..., 0], np.inf)
    events = Events(*(table[..., k].astype(kind) for k, kind in enumerate(_EVENT_KINDS)))
    place = np.broadcast_to(np.arange(M), (B, M))
    if written[0].in_order:
        order = np.argsort(moment(_actual(events)), axis=1, kind="stable")
        place = np.empty((B, M), np.int64)
        np.put_along_axis(place, order, np.broadcast_to(np.arange(M), (B, M)), axis=1)
        events = Events(*(np.take_along_axis(column, order, axis=1) for column in events))
    doses = _padded_table([w.steady for w in written], S, len(_STEADY_KINDS))
    blank = np.arange(S) >= np.array([len(w.steady) for w in written])[:, None]
    doses[..., Steady._fields.index("interval")][blank] = 1.0
    steady = Steady(*(doses[..., k].astype(kind) for k, kind in enumerate(_STEADY_KINDS)))
    names = written[0].rows.covariates
    rows = Rows(
        {name: _repeated([w.rows.covariates[name] for w in written], E) for name in names},
        _repeated([w.rows.effects for w in written], E),
        _repeated([w.rows.occasion for w in written], E),
    )
    fills = {"value": 1.0, "lower": np.nan}
    observations = Observations(
        *(
            _filled([getattr(w.observations, name) for w in written], N, fills.get(name, 0))
            for name in Observations._fields
        )
    )
    observations = observations._replace(event=np.take_along_axis(place, observations.event, axis=1))
    if not observations.censored.any():
        observations = observations._replace(censored=None, lower=None)
    return Program(events, steady, rows, observations)


def _padded_table(tables: Sequence[list[Row]], size: int, width: int) -> Values:
    """[B, size, width], 0 where a table ends."""
    out = np.zeros((len(tables), size, width))
    counts = [len(table) for table in tables]
    if sum(counts):
        flat = np.array([row for table in tables for row in table], np.float64)
        out[np.repeat(np.arange(len(tables)), counts), _counted(counts)] = flat
    return out


def _counted(counts: Sequence[int]) -> Indices:
    """0, 1, ... for each count, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) - np.repeat(ends - counts, counts)


def _filled(columns: Sequence[npt.NDArray[Any]], size: int, fill: float) -> npt.NDArray[Any]:
    """[B, size], `fill` where a column ends."""
    out = np.full((len(columns), size), fill, dtype=columns[0].dtype)
    counts = [len(column) for column in columns]
    if sum(counts):
        out[np.repeat(np.arange(len(columns)), counts), _counted(counts)] = np.concatenate(columns)
    return out


def _repeated(columns: Sequence[npt.NDArray[Any]], size: int) -> npt.NDArray[Any]:
    """[B, size, ...], the last row again where a column ends."""
    counts = np.array([len(column) for column in columns])
    begins = np.cumsum(counts) - counts
    pick = begins[:, None] + np.minimum(np.arange(size)[None, :], counts[:, None] - 1)
    repeated: npt.NDArray[Any] = np.concatenate(columns)[pick]
    return repeated
