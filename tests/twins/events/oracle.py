"""The slow, obvious simulator of event semantics: one patient, one event at a time, no cleverness.

It shares no code with the engine. A subject's records are walked through in file order; every dose that is
still to come is a line in a list with the time at which it acts, every infusion a line with the time at which
it ends. Between two such moments dx/dt = f(t, x, p) + rate is integrated, by SciPy's solve_ivp or, for linear
systems, by SciPy's matrix exponential. Steady states come from repeating the dose until nothing changes, or,
for linear systems, from the fixed point of one cycle. The rules it follows are those of docs/events.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.integrate
import scipy.linalg

from dosetwin.twins.data.subject import Subject

Vector = npt.NDArray[np.float64]
Row = Mapping[str, float]
"""The parameters that hold at one record."""
RightHandSide = Callable[[float, Vector, Row], Vector]
Method = Literal["exponential", "DOP853", "Radau"]
CYCLES = 1000
"""A steady state that needs more repetitions is none."""
SETTLED = 1e-10
"""A cycle that changes less, relative to the largest amount (at least 0.1), changes nothing."""


@dataclass(frozen=True)
class Way:
    """A way into a compartment (0-based), with the names of its parameters (default 1, 0, none, none)."""

    compartment: int
    fraction: str = "F"
    lag: str = "lag"
    duration: str = "D"
    rate: str = "R"
    zero_order: bool = False


@dataclass(frozen=True)
class System:
    """dx/dt = rhs(t, x, p), what is observed, for each CMT (1-based) the ways in, the default CMT."""

    size: int
    rhs: RightHandSide
    observe: Callable[[float, Vector, Row], Vector]
    ways: Mapping[int, tuple[Way, ...]]
    default: int
    initial: Callable[[Row], Vector] | None = None
    method: Method = "DOP853"

    def start(self, p: Row) -> Vector:
        """Amounts before any dose."""
        return np.zeros(self.size) if self.initial is None else np.asarray(self.initial(p), np.float64)


@dataclass(frozen=True)
class Entry:
    """A dose on its way into the body: at `time`, `amount` at once (rate 0) or at `rate` for `duration`."""

    time: float
    compartment: int
    amount: float
    rate: float = 0.0
    duration: float = 0.0


@dataclass
class Body:
    """What there is at time t: amounts, infusions that run (end, compartment, rate), doses still to come.

    `peak`: the largest output at any moment at which something happened.
    """

    t: float
    x: Vector
    peak: float = 0.0
    running: list[tuple[float, int, float]] = field(default_factory=list)
    pending: list[Entry] = field(default_factory=list)


def simulate(
    system: System,
    subject: Subject,
    rows: Sequence[Row],
    interpolation: Literal["next_value_backward", "last_value_forward"] = "next_value_backward",
) -> tuple[Vector, float]:
    """Outputs [N, outputs] at the N observation records in file order, and the highest output there ever was.

    `rows` are the R records' parameters.
    """
    body = Body(float(subject.time[0]), system.start(rows[0]))
    seen = []
    for i, p in enumerate(rows):
        time, evid = float(subject.time[i]), int(subject.evid[i])
        if evid in (3, 4):
            body = Body(time, system.start(p), body.peak)
        else:
            between = p if interpolation == "next_value_backward" or i == 0 else rows[i - 1]
            _let_pass(system, between, body, time)
        if evid in (1, 4):
            _give(system, subject, i, p, body)
        _look(system, p, body)
        if evid == 0:
            seen.append(np.atleast_1d(system.observe(time, body.x, p)))
    return np.array(seen), body.peak


def _look(system: System, p: Row, body: Body) -> None:
    body.peak = max(body.peak, float(np.max(np.abs(system.observe(body.t, body.x, p)))))


def _let_pass(system: System, p: Row, body: Body, until: float) -> None:
    """Everything that happens up to and including `until`, in order of its time."""
    while True:
        ends = [end for end, _, _ in body.running]
        entries = [entry.time for entry in body.pending]
        moment = min([*ends, *entries, math.inf])
        if moment > until:
            break
        _advance(system, p, body, moment)
        body.running = [item for item in body.running if item[0] > moment]
        due = [entry for entry in body.pending if entry.time <= moment]
        body.pending = [entry for entry in body.pending if entry.time > moment]
        for entry in due:
            _enter(body, entry)
        _look(system, p, body)
    _advance(system, p, body, until)


def _advance(system: System, p: Row, body: Body, until: float) -> None:
    rate = np.zeros(system.size)
    for _, compartment, amount_per_time in body.running:
        rate[compartment] += amount_per_time
    body.x = flow(system, p, body.x, rate, body.t, until)
    body.t = until


def _enter(body: Body, entry: Entry) -> None:
    if entry.rate > 0:
        if entry.duration > 0:
            body.running.append((entry.time + entry.duration, entry.compartment, entry.rate))
    else:
        body.x = body.x.copy()
        body.x[entry.compartment] += entry.amount


def _give(system: System, subject: Subject, i: int, p: Row, body: Body) -> None:
    """The dose of record i, through each of the ways into its compartment."""
    time = float(subject.time[i])
    steady, interval = int(subject.steady_state[i]), float(subject.interval[i])
    ways = system.ways[int(subject.compartment[i]) or system.default]
    if steady:
        if steady == 1:
            body.running, body.pending = [], []
        endless = interval == 0
        state = (
            endless_state(system, p, _endless_rate(system, subject, i, p, ways))
            if endless
            else periodic_state(system, p, [_entry(subject, i, p, way) for way in ways], interval, time)
        )
        body.x = state if steady == 1 else body.x + state - system.start(p)
        if endless:
            return
    for way in ways:
        entry = _entry(subject, i, p, way)
        if steady:
            _resume(body, entry, interval, time)
        for k in range(int(subject.additional[i]) + 1):
            again = Entry(
                entry.time + k * interval, entry.compartment, entry.amount, entry.rate, entry.duration
            )
            if again.time <= time:
                _enter(body, again)
            else:
                body.pending.append(again)


def _resume(body: Body, entry: Entry, interval: float, time: float) -> None:
    """What the implied earlier doses still have to do: lags to wait for, infusions to end."""
    acted = entry.time - interval
    while acted >= time or acted + entry.duration > time:
        if acted >= time:
            body.pending.append(Entry(acted, entry.compartment, entry.amount, entry.rate, entry.duration))
        else:
            body.running.append((acted + entry.duration, entry.compartment, entry.rate))
        acted -= interval


def _entry(subject: Subject, i: int, p: Row, way: Way) -> Entry:
    """What record i sends down this way: lag and bioavailability applied, rate and duration worked out."""
    given, length = float(subject.rate[i]), float(subject.duration[i])
    amount = p.get(way.fraction, 1.0) * float(subject.amount[i])
    time = float(subject.time[i]) + p.get(way.lag, 0.0)
    if given > 0:
        return Entry(time, way.compartment, amount, given, amount / given)
    if length > 0:
        return Entry(time, way.compartment, amount, amount / length, length)
    if given == -1:
        return Entry(time, way.compartment, amount, p[way.rate], amount / p[way.rate])
    if given == -2 or way.zero_order:
        return Entry(time, way.compartment, amount, amount / p[way.duration], p[way.duration])
    return Entry(time, way.compartment, amount)


def _endless_rate(system: System, subject: Subject, i: int, p: Row, ways: tuple[Way, ...]) -> Vector:
    rate = np.zeros(system.size)
    for way in ways:
        rate[way.compartment] += p[way.rate] if subject.rate[i] == -1 else float(subject.rate[i])
    return rate


def endless_state(system: System, p: Row, rate: Vector) -> Vector:
    """Amounts after an infusion at `rate` that has always run."""
    if system.method == "exponential":
        return np.asarray(np.linalg.solve(matrix(system, p), -rate), np.float64)
    x, length = system.start(p), 1.0
    for _ in range(60):
        new = flow(system, p, x, rate, 0.0, length)
        if np.all(np.abs(new - x) <= SETTLED * (np.abs(new).max() + 0.1)):
            return new
        x, length = new, 2 * length
    raise AssertionError("no steady state of this infusion")


def periodic_state(system: System, p: Row, entries: Sequence[Entry], interval: float, time: float) -> Vector:
    """Amounts at `time` after these doses have been repeated every `interval` for ever, before the last.

    A cycle begins at `time`; within it each dose acts once, at its own phase, as one of an earlier cycle.
    An infusion that lasts longer than a cycle has several copies running at once.
    """

    def cycle(x: Vector) -> Vector:
        cycled = Body(0.0, x)
        for entry in entries:
            phase = (entry.time - time) % interval
            if entry.rate > 0:
                copies = 1
                while phase - copies * interval + entry.duration > 0:
                    end = phase - copies * interval + entry.duration
                    cycled.running.append((end, entry.compartment, entry.rate))
                    copies += 1
            cycled.pending.append(Entry(phase, entry.compartment, entry.amount, entry.rate, entry.duration))
        # a dose at phase 0 acts when the cycle begins; the next one, when it ends, is the next cycle's
        _let_pass(system, p, cycled, interval)
        return cycled.x

    if system.method == "exponential":
        offset = cycle(np.zeros(system.size))
        one = np.eye(system.size)
        carried = np.array([cycle(column) - offset for column in one]).T
        return np.asarray(np.linalg.solve(one - carried, offset), np.float64)
    x = system.start(p)
    for _ in range(CYCLES):
        new = cycle(x)
        if np.all(np.abs(new - x) <= SETTLED * (np.abs(new).max() + 0.1)):
            return new
        x = new
    raise AssertionError("no steady state of this dose")


def matrix(system: System, p: Row) -> Vector:
    """The matrix of a linear right-hand side, column by column."""
    return np.ascontiguousarray(np.array([system.rhs(0.0, column, p) for column in np.eye(system.size)]).T)


@lru_cache(maxsize=4096)
def _exponential(A: bytes, n: int, elapsed: float) -> tuple[Vector, Vector]:
    """e^{A t} and its integral over [0, t], as blocks of one exponential (Van Loan 1978)."""
    block = np.zeros((2 * n, 2 * n))
    block[:n, :n], block[:n, n:] = np.frombuffer(A).reshape(n, n), np.eye(n)
    grown = scipy.linalg.expm(block * elapsed)
    return grown[:n, :n], grown[:n, n:]


def flow(system: System, p: Row, x: Vector, rate: Vector, begin: float, end: float) -> Vector:
    """Amounts at `end` from x at `begin`, with a constant infusion."""
    if end <= begin:
        return x
    if system.method == "exponential":
        A = matrix(system, p)
        grown, filled = _exponential(A.tobytes(), system.size, end - begin)
        moved: Vector = grown @ x + filled @ rate
        return moved
    solution = scipy.integrate.solve_ivp(
        lambda t, state: system.rhs(t, state, p) + rate,
        (begin, end),
        x,
        method=system.method,
        rtol=1e-10,
        atol=1e-12,
    )
    assert solution.success, solution.message
    last: Vector = solution.y[:, -1]
    return last
