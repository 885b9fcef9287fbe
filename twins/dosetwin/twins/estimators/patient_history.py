"""The facts of one patient as a set, bounded, and the arrays that the estimator reads from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dosetwin.twins.events import TwinEvent

MOST_DOSES = 512
MOST_LEVELS = 256


class Arrays(NamedTuple):
    """One patient's facts in hours since `origin_s`, unpadded.

    doses: (start, duration, amount, rate). levels: (time, value, censored). stretches: (start, covariates).
    """

    origin_s: float
    doses: list[tuple[float, float, float, float]]
    levels: list[tuple[float, float, int]]
    stretches: list[tuple[float, dict[str, float]]]


class PatientHistory:
    """A set of facts about one patient on one drug; what it says does not depend on their order.

    Bounded by rule, so that the bound is a function of the set too: facts older than `window_s` before the
    newest one are dropped, but for the last value of each covariate and the last pump rate before that
    edge; of doses and of levels the newest 512 and 256 are kept.
    """

    __slots__ = ("_facts", "_newest_s", "_oldest_s", "_sorted", "drug", "quantity", "window_s")

    def __init__(self, drug: str, quantity: str, window_s: float) -> None:
        self.drug = drug
        self.quantity = quantity
        self.window_s = window_s
        self._facts: dict[tuple[int, str], TwinEvent] = {}
        self._sorted: list[TwinEvent] | None = None
        self._newest_s = -math.inf
        self._oldest_s = math.inf

    def __len__(self) -> int:
        return len(self._facts)

    def add(self, fact: TwinEvent) -> bool:
        """Take a fact (a repeat of one that is there changes nothing); False where it is too old to count."""
        key = (fact.uid, fact.name)
        if key in self._facts:
            return True
        self._facts[key] = fact
        self._sorted = None
        self._newest_s = max(self._newest_s, fact.at_s)
        self._oldest_s = min(self._oldest_s, fact.at_s)
        if self._oldest_s < self._newest_s - self.window_s or len(self._facts) > MOST_LEVELS:
            self._drop()
        return key in self._facts

    def facts(self) -> list[TwinEvent]:
        """The facts in event time; equal times in the order of their identifiers."""
        if self._sorted is None:
            self._sorted = sorted(self._facts.values(), key=lambda fact: (fact.at_s, fact.uid, fact.name))
        return self._sorted

    @property
    def fingerprint(self) -> int:
        """A hash of the set of facts, 64 bits: the same whatever the order they came in."""
        mixed = 0
        for uid, name in self._facts:
            mixed ^= (uid * 0x9E3779B97F4A7C15 + len(name)) & 0xFFFFFFFFFFFFFFFF
        return mixed

    @property
    def newest_s(self) -> float:
        """Event time of the newest fact, -infinity where there is none."""
        return self._newest_s

    def extend(self, facts: Iterable[TwinEvent]) -> None:
        """Add many facts."""
        for fact in facts:
            self.add(fact)

    def _drop(self) -> None:
        edge = self._newest_s - self.window_s
        kept: list[TwinEvent] = []
        carried: dict[str, TwinEvent] = {}
        counts = {"dose": 0, "level": 0}
        for fact in reversed(self.facts()):
            if fact.at_s < edge:
                if fact.kind in ("covariate", "rate") and fact.name not in carried:
                    carried[fact.name] = fact
                continue
            if fact.kind == "observation":
                counts["level"] += 1
                if counts["level"] > MOST_LEVELS:
                    continue
            elif fact.kind != "covariate":
                counts["dose"] += 1
                if counts["dose"] > MOST_DOSES:
                    continue
            kept.append(fact)
        self._facts = {(fact.uid, fact.name): fact for fact in (*kept, *carried.values())}
        self._sorted = None
        self._oldest_s = min((fact.at_s for fact in kept), default=math.inf)

    def doses(self) -> list[tuple[float, float, float, float]]:
        """(start s, duration s, amount, rate per hour) of every dose; pump rates as stretches of a rate."""
        doses: list[tuple[float, float, float, float]] = []
        running: TwinEvent | None = None
        for fact in self.facts():
            if fact.name != self.drug:
                continue
            if fact.kind == "bolus":
                doses.append((fact.at_s, 0.0, fact.value, 0.0))
            elif fact.kind == "infusion":
                hours = fact.duration_s / 3600
                doses.append((fact.at_s, fact.duration_s, 0.0, fact.value / hours))
            elif fact.kind == "rate":
                if running is not None and running.value > 0 and fact.at_s > running.at_s:
                    doses.append((running.at_s, fact.at_s - running.at_s, 0.0, running.value))
                running = fact
        if running is not None and running.value > 0:
            doses.append((running.at_s, math.inf, 0.0, running.value))
        return doses

    def levels(self) -> list[TwinEvent]:
        """The observations of the model's quantity, in event time."""
        return [fact for fact in self.facts() if fact.kind == "observation" and fact.name == self.quantity]

    def arrays(self, defaults: Mapping[str, float], advancing: Mapping[str, float], until_s: float) -> Arrays:
        """Everything in hours since the first fact; covariates hold from when they were known.

        The first value known of a covariate also holds before it. `advancing` covariates grow with time,
        in years, and start a new stretch every so many seconds until `until_s`.
        """
        facts = self.facts()
        origin_s = facts[0].at_s if facts else until_s
        doses = [((s - origin_s) / 3600, d / 3600, a, r) for s, d, a, r in self.doses()]
        levels = [((f.at_s - origin_s) / 3600, f.value, f.censored) for f in self.levels()]
        return Arrays(origin_s, doses, levels, self._stretches(defaults, advancing, origin_s, until_s))

    def _stretches(
        self, defaults: Mapping[str, float], advancing: Mapping[str, float], origin_s: float, until_s: float
    ) -> list[tuple[float, dict[str, float]]]:
        given = [fact for fact in self.facts() if fact.kind == "covariate" and fact.name in defaults]
        current = dict(defaults)
        since = dict.fromkeys(defaults, origin_s)
        for fact in reversed(given):
            current[fact.name], since[fact.name] = fact.value, fact.at_s
        changes: dict[float, list[TwinEvent]] = {}
        for fact in given:
            changes.setdefault(fact.at_s, []).append(fact)
        for step_s in advancing.values():
            end = max(until_s, self._newest_s)
            for k in range(1, math.ceil(min((end - origin_s) / step_s, 120))):
                changes.setdefault(origin_s + k * step_s, [])
        stretches = [(-1.0, self._aged(current, since, advancing, origin_s))]
        for at_s in sorted(changes):
            for fact in changes[at_s]:
                current[fact.name], since[fact.name] = fact.value, fact.at_s
            values = self._aged(current, since, advancing, at_s)
            if values != stretches[-1][1]:
                stretches.append(((at_s - origin_s) / 3600, values))
        return stretches

    @staticmethod
    def _aged(
        current: Mapping[str, float], since: Mapping[str, float], advancing: Mapping[str, float], at_s: float
    ) -> dict[str, float]:
        year_s = 365.25 * 86_400
        return {
            name: value + (at_s + advancing[name] / 2 - since[name]) / year_s if name in advancing else value
            for name, value in current.items()
        }
