"""One anaesthesia twin's book-keeping, and the plan that turns its facts into filter rounds.

The twin is a function of the set of its facts. What is read at one time makes a *group*, one round of the
filter; doses and announced stimuli are schedules that the rounds between groups ask (an announcement may be
of something still to come, which moves nothing until a reading is as late). Checkpoints stand on two grids of
event time, a fine and a coarse one (`GRIDS_S`): of each, `newer` is the filter of all groups before the last
grid line that a group crossed, `older` the same one line earlier; `before` is the filter before the newest
group. What arrives late restores the newest checkpoint that does not contain its time, and filters again from
there, so that a reading a few seconds late costs seconds of event time again and not minutes. Facts before
the older coarse one are too late.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from dosetwin.twins.estimators.anaesthesia_delivery import Schedule
from dosetwin.twins.estimators.anaesthesia_prior import Person
from dosetwin.twins.estimators.anaesthesia_stimuli import Stimuli
from dosetwin.twins.events import TwinEvent

GRIDS_S = (60.0, 600.0)
LONGEST_STEP_S = 20.0
"""Longest step of the filter, s (`effect_site_kinetics`)."""
LONGEST_GAP_S = 6 * 3600.0
"""After a longer silence only this much is propagated."""
HEAD, BEFORE, FINE_NEWER, FINE_OLDER, COARSE_NEWER, COARSE_OLDER = range(6)
"""The ensembles that the bank keeps of a twin."""
NEWER, OLDER = (FINE_NEWER, COARSE_NEWER), (FINE_OLDER, COARSE_OLDER)
READ = ("bis", "mean_arterial_pressure", "heart_rate")
STIMULI = ("stimulus", "intubation", "incision", "laryngoscopy", "surgery")
ENDS = ("end_of_surgery", "surgery_end", "emergence")
DRUGS = ("propofol", "remifentanil")
COVARIATES = {"age": "age_a", "weight": "weight_kg", "height": "height_cm", "sex": "sex_male"}
NOTHING = float("nan")

Copy = tuple[int, int]
"""(from, to): a checkpoint to copy over another."""


class Mark(NamedTuple):
    """Where an ensemble stands: the times of its newest group and index, and the person it is of."""

    at_s: float
    bis_s: float
    person: Person


class Step(NamedTuple):
    """One round of one twin, in the units of `anaesthesia_filter.Round`.

    `copies` are made before it. `change`: the person whose typical values the parameters move to, and from.
    `facts`: index of the fact to predict for, by quantity, or -1.
    """

    h_min: float
    propofol: float
    remifentanil: float
    propofol_bolus: float
    remifentanil_bolus: float
    stimulus: float
    phase: float
    since_min: float
    bis: float
    pressure: float
    heart_rate: float
    end_s: float
    copies: tuple[Copy, ...] = ()
    change: tuple[Person, Person] | None = None
    facts: tuple[tuple[int, ...], ...] = ()


@dataclass(slots=True)
class Twin:
    """Book-keeping of one twin; its ensembles are rows `slot` of the bank."""

    patient: str
    slot: int
    key: int
    person: Person
    targets: dict[str, float]
    facts: list[TwinEvent] = field(default_factory=list)
    """Readings and changed covariates of the open window, in order."""
    doses: tuple[Schedule, Schedule] = field(default_factory=lambda: (Schedule(), Schedule()))
    stimuli: Stimuli = field(default_factory=Stimuli)
    lines: list[int | None] = field(default_factory=lambda: [None, None])
    marks: list[Mark] = field(init=False)
    ended_s: float = NOTHING
    """When the end of surgery was announced."""

    def __post_init__(self) -> None:
        self.marks = [Mark(NOTHING, NOTHING, self.person)] * 6

    @property
    def opens_s(self) -> float:
        """Facts before this event time are too late."""
        line = self.lines[1]
        return -math.inf if line is None else (line - 1) * GRIDS_S[1]


def order(fact: TwinEvent) -> tuple[float, int]:
    """The order of facts: event time, ties by uid."""
    return fact.at_s, fact.uid


class Plan(NamedTuple):
    """The rounds of one twin, after `copies`."""

    twin: Twin
    copies: tuple[Copy, ...]
    steps: list[Step]


def plan(twin: Twin, new: list[tuple[TwinEvent, int]], too_late: list[int]) -> Plan | None:
    """Put new facts (with their indices in the batch) into the twin's window and plan the rounds they need.

    Indices of facts that cannot be used any more are added to `too_late`; a fact that is there already, or
    that says nothing to the twin, is skipped. The book-keeping is moved on as if the rounds had run.
    """
    opens = twin.opens_s
    head_s = twin.marks[HEAD].at_s
    earliest = math.inf
    indices: dict[tuple[float, int], int] = {}
    for fact, index in sorted(new, key=lambda pair: order(pair[0])):
        if fact.at_s < opens:
            too_late.append(index)
        elif fact.kind in ("rate", "bolus", "infusion"):
            if fact.name in DRUGS and twin.doses[DRUGS.index(fact.name)].tell(fact) and fact.at_s < head_s:
                earliest = min(earliest, fact.at_s)
        elif fact.kind == "announcement":
            if fact.name in ENDS:
                twin.ended_s = fact.at_s if twin.ended_s != twin.ended_s else max(twin.ended_s, fact.at_s)
            elif fact.name in STIMULI and twin.stimuli.tell(fact) and fact.at_s <= head_s:
                earliest = min(earliest, fact.at_s)
        elif not _matters(fact):
            continue
        else:
            key = order(fact)
            place = bisect.bisect_left(twin.facts, key, key=order)
            if place < len(twin.facts) and order(twin.facts[place]) == key:
                continue
            twin.facts.insert(place, fact)
            indices[key] = index
            if fact.at_s <= head_s:
                earliest = min(earliest, fact.at_s)
    if earliest < math.inf:
        return _again(twin, earliest, indices)
    start = bisect.bisect_right(twin.facts, head_s, key=lambda fact: fact.at_s) if head_s == head_s else 0
    return _forward(twin, start, indices, ()) if start < len(twin.facts) else None


def _matters(fact: TwinEvent) -> bool:
    if fact.kind == "observation":
        return fact.name in READ and math.isfinite(fact.value)
    return fact.kind == "covariate" and fact.name in COVARIATES


def _again(twin: Twin, from_s: float, indices: dict[tuple[float, int], int]) -> Plan:
    """Filter again from the newest checkpoint that holds nothing of `from_s` or later."""
    fine, coarse = twin.lines
    assert fine is not None
    assert coarse is not None
    marks = twin.marks
    copies: list[Copy] = []

    def copy(source: int, target: int) -> None:
        copies.append((source, target))
        marks[target] = marks[source]

    if from_s == marks[HEAD].at_s:
        copy(BEFORE, HEAD)
    elif from_s >= fine * GRIDS_S[0]:
        copy(FINE_NEWER, HEAD)
    elif from_s >= (fine - 1) * GRIDS_S[0]:
        copy(FINE_OLDER, HEAD)
        copy(FINE_OLDER, FINE_NEWER)
        twin.lines[0] = fine - 1
        if from_s < coarse * GRIDS_S[1]:
            copy(COARSE_OLDER, COARSE_NEWER)
            twin.lines[1] = coarse - 1
    else:
        source = COARSE_NEWER
        if from_s < coarse * GRIDS_S[1]:
            source = COARSE_OLDER
            copy(COARSE_OLDER, COARSE_NEWER)
            twin.lines[1] = coarse = coarse - 1
        for target in (HEAD, FINE_NEWER, FINE_OLDER):
            copy(source, target)
        twin.lines[0] = round(coarse * GRIDS_S[1] / GRIDS_S[0])
    head_s = marks[HEAD].at_s
    start = bisect.bisect_right(twin.facts, head_s, key=lambda fact: fact.at_s) if head_s == head_s else 0
    return _forward(twin, start, indices, tuple(copies))


def _forward(twin: Twin, start: int, indices: dict[tuple[float, int], int], copies: tuple[Copy, ...]) -> Plan:
    """Rounds for the groups from fact `start` on."""
    steps: list[Step] = []
    facts, marks = twin.facts, twin.marks
    while start < len(facts):
        at_s = facts[start].at_s
        end = start + 1
        while end < len(facts) and facts[end].at_s == at_s:
            end += 1
        before: list[Copy] = []

        def copy(source: int, target: int, made: list[Copy] = before) -> None:
            made.append((source, target))
            marks[target] = marks[source]

        for level, length in enumerate(GRIDS_S):
            line, known = math.floor(at_s / length), twin.lines[level]
            if known is None:
                twin.lines[level] = line
            elif line > known:
                copy(NEWER[level] if line == known + 1 else HEAD, OLDER[level])
                copy(HEAD, NEWER[level])
                twin.lines[level] = line
        copy(HEAD, BEFORE)
        made = _group(twin, facts[start:end], indices)
        steps.append(made[0]._replace(copies=tuple(before)))
        steps.extend(made[1:])
        start = end
    opens = twin.opens_s
    if facts and facts[0].at_s < opens:
        del facts[: bisect.bisect_left(facts, opens, key=lambda fact: fact.at_s)]
        oldest_s = marks[COARSE_OLDER].at_s  # may stand at a group long before its grid line
        for schedule in (*twin.doses, twin.stimuli):
            if oldest_s == oldest_s:
                schedule.forget_before(min(opens, oldest_s))
    return Plan(twin, copies, steps)


def _group(twin: Twin, group: list[TwinEvent], indices: dict[tuple[float, int], int]) -> list[Step]:
    """The rounds that end with a group, and the head moved to it."""
    mark = twin.marks[HEAD]
    at_s = group[0].at_s
    values: list[list[float]] = [[], [], []]
    asked: list[list[int]] = [[], [], []]
    person = mark.person
    for fact in group:
        if fact.kind == "observation":
            which = READ.index(fact.name)
            values[which].append(fact.value)
            asked[which].append(indices.get(order(fact), -1))
        elif fact.kind == "covariate":
            person = person._replace(**{COVARIATES[fact.name]: fact.value})
    steps = between(twin, mark.at_s, at_s)
    if steps[0].h_min == 0.0:
        # the first group of all: what is given at its time belongs to the round after it
        steps[0] = steps[0]._replace(propofol_bolus=0.0, remifentanil_bolus=0.0)
    since = at_s - mark.bis_s
    bis, pressure, heart_rate = (sum(told) / len(told) if told else NOTHING for told in values)
    steps[-1] = steps[-1]._replace(
        since_min=since / 60.0 if since == since else 5.0,
        bis=bis,
        pressure=pressure,
        heart_rate=heart_rate,
        facts=tuple(map(tuple, asked)),
        change=(mark.person, person) if person != mark.person else None,
    )
    twin.marks[HEAD] = Mark(at_s, at_s if bis == bis else mark.bis_s, person)
    return steps


def between(twin: Twin, head_s: float, at_s: float) -> list[Step]:
    """At least one round from `head_s` (NaN: from the first dose, if any) to `at_s`, nothing read."""
    start_s = head_s
    if head_s != head_s:
        start_s = min(at_s, *(schedule.first_s() for schedule in twin.doses))
    start_s = max(start_s, at_s - LONGEST_GAP_S)
    hypnotic, opioid = twin.doses
    edges = [start_s]
    changes = hypnotic.edges(start_s, at_s) + opioid.edges(start_s, at_s) + twin.stimuli.edges(start_s, at_s)
    if changes:
        edges += sorted(set(changes))
    edges.append(at_s)
    steps = []
    for a, b in pairwise(edges):
        count = max(1, math.ceil((b - a) / LONGEST_STEP_S - 1e-9))
        rates = hypnotic.per_hour(a) / 60.0, opioid.per_hour(a) / 60.0
        boluses = hypnotic.bolus_at(a), opioid.bolus_at(a)
        phase = twin.stimuli.phase(a)
        for k in range(count):
            end_s = b if k == count - 1 else a + (b - a) * (k + 1) / count
            h_min = (b - a) / count / 60.0
            stimulus = twin.stimuli.beginning(b) if k == count - 1 else 0.0
            steps.append(
                Step(h_min, *rates, *boluses, stimulus, phase, 0.0, NOTHING, NOTHING, NOTHING, end_s)
            )
            boluses = 0.0, 0.0
    return steps


def steps_to(twin: Twin, at_s: float) -> list[Step]:
    """The rounds from the newest group to `at_s`; none where that is not later and nothing was given."""
    head_s = twin.marks[HEAD].at_s
    if head_s != head_s:
        if min(schedule.first_s() for schedule in twin.doses) > at_s:
            return []
        return between(twin, head_s, at_s)
    if at_s < head_s or (at_s == head_s and not any(s.bolus_at(at_s) for s in twin.doses)):
        return []
    return between(twin, head_s, at_s)
