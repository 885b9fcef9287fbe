"""One twin's book-keeping, and the plan that turns its facts into filter rounds.

The twin is a function of the set of its facts. Two checkpoints stand on an absolute grid of event time
(`WINDOW_S`): `newer` is the filter of all facts before the last grid line that facts have crossed, `older`
the same one line earlier. A fact that arrives late restores the checkpoint before it and filters again from
there, in (event time, uid) order; facts older than `older` are too late. That keeps at least `WINDOW_S` of
facts open.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dosetwin.twins.estimators.ensemble_delivery import UNKNOWN, Delivery, mean_rate, moved_to
from dosetwin.twins.estimators.ensemble_layout import FAMILIES, MEAL
from dosetwin.twins.estimators.ensemble_prior import Settings
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.policies.insulin_targets import InsulinTargets, insulin_targets

WINDOW_S = 2700.0
"""Grid of the checkpoints, s: facts up to 45 min older than the newest are always taken, up to 90 at best."""
LONGEST_STEP_S = 360.0
"""Longest step of the filter, s; a longer gap is taken in equal steps."""
LONGEST_GAP_S = 86_400.0
"""After a longer silence only the last day is propagated: by then nothing that happened before it is left."""
NOTHING = float("nan")

KEEP, SHIFT, BOTH = 0, 1, 2
"""What happens to the checkpoints before a step: nothing; older <- newer <- head; both <- head."""


class Step(NamedTuple):
    """One round of one twin, in the units of `ensemble_filter.Steps`.

    `fact` is the index of the fact to predict for, or -1.
    """

    h_min: float
    u: float
    end_s: float
    uid: int
    reading: float
    censored: int
    bolus: float
    meal: float
    fact: int
    checkpoints: int
    meal_mean: float
    exercise: float = 0.0
    fresh_site: float = 0.0


COVARIATES: Mapping[str, int] = {
    "weight": 1,
    "total_daily_dose": 2,
    "basal_rate": 3,
    "carbohydrate_ratio": 4,
    "correction_factor": 5,
}
"""Covariates by the therapy's names: their places in `Covariates`."""
UNANNOUNCED_MEAL_G = FAMILIES[MEAL].mean


class Covariates(NamedTuple):
    """Covariates that hold from `at_s` on; 0 is not known."""

    at_s: float
    weight_kg: float
    total_daily_dose_U: float
    basal_rate_U_per_h: float = 0.0
    carbohydrate_ratio_g_per_U: float = 0.0
    correction_factor_mg_dL_per_U: float = 0.0

    @property
    def settings(self) -> Settings:
        """Without the time."""
        return Settings(*self[1:])


@dataclass(slots=True)
class Twin:
    """Book-keeping of one twin; its ensembles are rows `slot` of the bank."""

    patient: str
    slot: int
    key: int
    history: list[Covariates]
    targets: dict[str, float]
    sensitivity_centre: float
    facts: list[TwinEvent] = field(default_factory=list)
    changes: list[tuple[float, int, str, float]] = field(default_factory=list)
    """Covariates that changed: (from event time, uid, name, value), in that order."""
    line: int | None = None
    """Number of the grid line of `newer`; None before the first fact."""
    head: Delivery = UNKNOWN
    newer: Delivery = UNKNOWN
    older: Delivery = UNKNOWN
    basal: float = field(init=False)
    """Basal programme under the newest covariates, U/h."""
    aims: InsulinTargets[float] = field(init=False)
    """What `targets` say to a decision."""

    def __post_init__(self) -> None:
        self.basal = self.history[-1].settings.basal_U_per_h
        self.aims = insulin_targets(self.targets)

    def retarget(self, targets: Mapping[str, float]) -> None:
        """Other targets from now on."""
        self.targets = dict(targets)
        self.aims = insulin_targets(targets)

    @property
    def opens_s(self) -> float:
        """Facts before this event time are too late."""
        return -math.inf if self.line is None else (self.line - 1) * WINDOW_S

    def covariates_at(self, at_s: float) -> Covariates:
        """The covariates that hold at `at_s`."""
        history = self.history
        found = history[0]
        for entry in history[1:]:
            if entry.at_s > at_s:
                break
            found = entry
        return found

    def change_covariates(self, at_s: float, uid: int, changes: Mapping[str, float]) -> bool:
        """Let `changes` hold from `at_s` on (later ones still override); False where nothing is new."""
        known = set(self.changes)
        fresh = [entry for name, value in changes.items() if (entry := (at_s, uid, name, value)) not in known]
        if not fresh:
            return False
        self.changes = sorted([*self.changes, *fresh])
        history = [self.history[0]]
        for at, _, name, value in self.changes:
            held = list(history[-1])
            held[0], held[COVARIATES[name]] = at, value
            history.append(Covariates(*held))
        self.history = history
        self.basal = history[-1].settings.basal_U_per_h
        return True


def order(fact: TwinEvent) -> tuple[float, int]:
    """The order of facts: event time, ties by uid."""
    return fact.at_s, fact.uid


class Plan(NamedTuple):
    """The rounds of one twin; `restore` first copies that checkpoint over the head ("", "newer", "older").

    `checkpoints`: what remains to be done to them after the last step (a line crossed by facts without one).
    """

    twin: Twin
    restore: str
    steps: list[Step]
    checkpoints: int


def next_reading(twin: Twin, fact: TwinEvent, index: int) -> Step | None:
    """The one round of a reading that simply comes next; None where `plan` must look closer.

    Nearly every fact is of this kind: later than all others, in the grid cell of the last one, while nothing
    about the delivery changes.
    """
    head = twin.head
    at_s = fact.at_s
    gap_s = at_s - head.at_s
    if (
        not 0.0 < gap_s <= LONGEST_STEP_S
        or fact.kind != "observation"
        or head.changes
        or head.infusions
        or len(twin.history) > 1
        or twin.line is None
        or at_s >= (twin.line + 1) * WINDOW_S
        or at_s <= twin.facts[-1].at_s
    ):
        return None
    rate = head.rate_U_per_h
    twin.facts.append(fact)
    twin.head = Delivery(at_s, rate, head.since_s)
    if rate != rate:
        rate = twin.basal
    weight = twin.history[0].weight_kg
    u = rate * (1000.0 / 60.0 / weight)
    reading = fact.value if fact.name == "glucose" else NOTHING
    meal_mean = UNANNOUNCED_MEAL_G / weight
    return Step(gap_s / 60.0, u, at_s, fact.uid, reading, fact.censored, 0.0, 0.0, index, KEEP, meal_mean)


def plan(twin: Twin, new: list[tuple[TwinEvent, int]], too_late: list[int]) -> Plan | None:
    """Put new facts (with their indices in the batch) into the twin's window and plan the rounds they need.

    Indices of facts that cannot be used any more are added to `too_late`; a fact that is there already is
    skipped. The twin's book-keeping is moved on as if the rounds had run.
    """
    if len(new) > 1:
        new.sort(key=lambda pair: (pair[0].at_s, pair[0].uid))
    facts = twin.facts
    last = facts[-1] if facts else None
    first = new[0][0]
    if last is None or order(first) > (last.at_s, last.uid):
        run: list[tuple[TwinEvent, int]] = []
        previous = None
        for pair in new:
            fact = pair[0]
            if previous is None or fact.uid != previous.uid or fact.at_s != previous.at_s:
                run.append(pair)
                facts.append(fact)
            previous = fact
        return _forward(twin, run, "")

    opens = twin.opens_s
    indices: dict[tuple[float, int], int] = {}
    earliest: tuple[float, int] | None = None
    for fact, index in new:
        if fact.at_s < opens:
            too_late.append(index)
            continue
        key = order(fact)
        place = bisect.bisect_left(facts, key, key=order)
        if place < len(facts) and order(facts[place]) == key:
            continue
        facts.insert(place, fact)
        indices[key] = index
        if earliest is None or key < earliest:
            earliest = key
    if earliest is None:
        return None
    if earliest > (last.at_s, last.uid):
        start = len(facts) - len(indices)
        return _forward(twin, [(fact, indices[order(fact)]) for fact in facts[start:]], "")
    return _again(twin, earliest[0], indices)


def replan(twin: Twin, from_s: float) -> Plan | None:
    """Rounds that filter again everything from `from_s` on (the covariates changed there)."""
    if twin.line is None or not twin.facts or twin.facts[-1].at_s < from_s:
        return None
    return _again(twin, max(from_s, twin.opens_s), {})


def _again(twin: Twin, from_s: float, indices: dict[tuple[float, int], int]) -> Plan:
    assert twin.line is not None
    boundary = twin.line * WINDOW_S
    if from_s >= boundary:
        restore, twin.head = "newer", twin.newer
    else:
        restore, twin.head = "older", twin.older
        twin.newer = twin.older
        twin.line -= 1
        boundary = twin.line * WINDOW_S
    start = bisect.bisect_left(twin.facts, (boundary, -1), key=order)
    run = [(fact, indices.get(order(fact), -1)) for fact in twin.facts[start:]]
    return _forward(twin, run, restore)


def _forward(twin: Twin, run: list[tuple[TwinEvent, int]], restore: str) -> Plan:
    """Rounds for facts later than the head, in order."""
    steps: list[Step] = []
    head = twin.head
    basal = twin.basal
    history = twin.history
    covariates = history[0]
    varying = len(history) > 1
    checkpoints = KEEP
    crossed = False
    for fact, index in run:
        at_s = fact.at_s
        line = math.floor(at_s / WINDOW_S)
        if twin.line is None:
            twin.line = line
        elif line > twin.line:
            if line == twin.line + 1:
                twin.older = twin.newer
                checkpoints = SHIFT if checkpoints == KEEP else BOTH
            else:
                twin.older = head
                checkpoints = BOTH
            twin.newer = head
            twin.line = line
            crossed = True
        if varying:
            covariates = twin.covariates_at(at_s)
            basal = covariates.settings.basal_U_per_h
        kind = fact.kind
        if kind == "rate":
            head = _with_change(head, at_s, fact.value)
            if not at_s - head.at_s > LONGEST_STEP_S:
                continue
        if kind == "infusion":
            if fact.duration_s > 0.0:
                extra = (at_s, at_s + fact.duration_s, fact.value * 3600.0 / fact.duration_s)
                head = head._replace(infusions=(*head.infusions, extra))
            if not at_s - head.at_s > LONGEST_STEP_S:
                continue

        start_s = head.at_s if head.at_s == head.at_s else at_s
        gap_s = at_s - start_s
        if gap_s > LONGEST_GAP_S:
            start_s, gap_s = at_s - LONGEST_GAP_S, LONGEST_GAP_S
        weight = covariates.weight_kg
        if gap_s > LONGEST_STEP_S:
            count = math.ceil(gap_s / LONGEST_STEP_S)
            until_s = start_s + gap_s * (count - 1) / count
            silent, head = _gap(head, start_s, until_s, basal, weight, count - 1)
            steps.append(silent[0]._replace(checkpoints=checkpoints))
            steps.extend(silent[1:])
            checkpoints = KEEP
            start_s, gap_s = until_s, at_s - until_s
        if head.changes or head.infusions:
            rate = mean_rate(head, start_s, at_s, basal)
        else:
            rate = head.rate_U_per_h
            if rate != rate:
                rate = basal
        reading, bolus, meal, exercise, fresh_site = NOTHING, 0.0, 0.0, 0.0, 0.0
        if kind == "observation":
            reading = fact.value if fact.name == "glucose" else NOTHING
        elif kind == "bolus":
            bolus = fact.value * 1000.0 / weight
        elif kind == "meal":
            meal = fact.value / weight
        elif kind == "announcement":
            exercise = min(max(fact.value, 0.0), 1.0) if fact.name == "exercise" else 0.0
            fresh_site = float(fact.name == "site_change")
        steps.append(
            Step(
                gap_s / 60.0,
                rate * (1000.0 / 60.0 / weight),
                at_s,
                fact.uid,
                reading,
                fact.censored,
                bolus,
                meal,
                index,
                checkpoints,
                UNANNOUNCED_MEAL_G / weight,
                exercise,
                fresh_site,
            )
        )
        checkpoints = KEEP
        head = moved_to(head, at_s)
    twin.head = head
    if crossed:
        del twin.facts[: bisect.bisect_left(twin.facts, (twin.opens_s, -1), key=order)]
    return Plan(twin, restore, steps, checkpoints)


class Way(NamedTuple):
    """The rounds that bring a twin to a later time without new facts, and its delivery there."""

    steps: list[Step]
    delivery: Delivery


def steps_to(twin: Twin, at_s: float) -> Way:
    """The way from the newest fact to `at_s`; no steps where `at_s` is not later or nothing is known yet."""
    head = twin.head
    if at_s == head.at_s and not head.changes:
        return Way([], head)
    if not at_s > head.at_s:
        return Way([], moved_to(head, at_s if head.at_s != head.at_s else head.at_s))
    start_s = max(head.at_s, at_s - LONGEST_GAP_S)
    weight = twin.covariates_at(at_s).weight_kg
    steps, head = _gap(head, start_s, at_s, twin.basal, weight, math.ceil((at_s - start_s) / LONGEST_STEP_S))
    return Way(steps, head)


def _gap(
    head: Delivery, start_s: float, end_s: float, basal_U_per_h: float, weight_kg: float, count: int
) -> tuple[list[Step], Delivery]:
    """`count` equal steps over [start_s, end_s] in which nothing is told, and the delivery after them."""
    steps = []
    for k in range(count):
        a = start_s + (end_s - start_s) * k / count
        b = start_s + (end_s - start_s) * (k + 1) / count
        u = mean_rate(head, a, b, basal_U_per_h) * (1000.0 / 60.0 / weight_kg)
        meal_mean = UNANNOUNCED_MEAL_G / weight_kg
        steps.append(Step((b - a) / 60.0, u, b, 0, NOTHING, 0, 0.0, 0.0, -1, KEEP, meal_mean))
        head = moved_to(head, b)
    return steps, head


def _with_change(head: Delivery, at_s: float, rate_U_per_h: float) -> Delivery:
    """The delivery with a rate change at `at_s`; at once when the ensemble has no time yet."""
    if head.at_s != head.at_s:
        return Delivery(head.at_s, rate_U_per_h, at_s, (), head.infusions)
    return head._replace(changes=(*head.changes, (at_s, rate_U_per_h)))
