"""What was given of one drug: rates, boluses and infusions as told, and what they mean for an interval.

A schedule is a function of the set of its facts: what is told late is put where it belongs, and whoever
propagates an ensemble asks again. Amounts in the drug's canonical unit (mg, ug), rates told per hour and used
per minute.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from dosetwin.twins.events import TwinEvent


@dataclass(slots=True)
class Schedule:
    """Doses of one drug; each list sorted by time, ties by uid."""

    rates: list[tuple[float, int, float]] = field(default_factory=list)
    """(from, uid, amount per hour), each until the next."""
    boluses: list[tuple[float, int, float]] = field(default_factory=list)
    """(at, uid, amount)."""
    infusions: list[tuple[float, int, float, float]] = field(default_factory=list)
    """(from, uid, until, amount per hour)."""

    def tell(self, fact: TwinEvent) -> bool:
        """Put in a dose; False where it is there already."""
        if fact.kind == "rate":
            return _insert(self.rates, (fact.at_s, fact.uid, fact.value))
        if fact.kind == "infusion" and fact.duration_s > 0.0:
            per_hour = fact.value * 3600.0 / fact.duration_s
            return _insert(self.infusions, (fact.at_s, fact.uid, fact.at_s + fact.duration_s, per_hour))
        return _insert(self.boluses, (fact.at_s, fact.uid, fact.value))

    def first_s(self) -> float:
        """When the first dose was given; infinity where there is none."""
        return min(
            (entries[0][0] for entries in (self.rates, self.boluses, self.infusions) if entries),
            default=float("inf"),
        )

    def per_hour(self, at_s: float) -> float:
        """Amount per hour that runs at `at_s` (and on)."""
        return self.running(at_s)[0] + sum(
            rate for start, _, end, rate in self.infusions if start <= at_s < end
        )

    def running(self, at_s: float) -> tuple[float, float]:
        """The pump's rate at `at_s` per hour, and since when (NaN: no rate was ever told)."""
        index = bisect.bisect_right(self.rates, at_s, key=lambda entry: entry[0]) - 1
        return (self.rates[index][2], self.rates[index][0]) if index >= 0 else (0.0, float("nan"))

    def edges(self, start_s: float, end_s: float) -> list[float]:
        """Times strictly between at which something changes or a bolus is given."""
        if not (self.rates or self.boluses or self.infusions):
            return []
        found = [entry[0] for entry in _between(self.rates, start_s, end_s)]
        found += [entry[0] for entry in _between(self.boluses, start_s, end_s)]
        for start, _, end, _ in self.infusions:
            found += [at for at in (start, end) if start_s < at < end_s]
        return found

    def bolus_at(self, at_s: float) -> float:
        """What was given at once exactly at `at_s`."""
        if not self.boluses or self.boluses[-1][0] < at_s:
            return 0.0
        return sum(amount for at, _, amount in self.boluses if at == at_s)

    def forget_before(self, at_s: float) -> None:
        """Drop what does not matter for propagation from `at_s` on."""
        index = bisect.bisect_right(self.rates, at_s, key=lambda entry: entry[0]) - 1
        if index > 0:
            del self.rates[:index]
        if self.boluses and self.boluses[0][0] < at_s:
            self.boluses = [entry for entry in self.boluses if entry[0] >= at_s]
        if self.infusions:
            self.infusions = [entry for entry in self.infusions if entry[2] > at_s]


def _insert(entries: list, entry: tuple) -> bool:  # type: ignore[type-arg]  # tuples of two lengths
    if not entries or entries[-1][:2] < entry[:2]:
        entries.append(entry)
        return True
    place = bisect.bisect_left(entries, entry[:2], key=lambda known: known[:2])
    if place < len(entries) and entries[place][:2] == entry[:2]:
        return False
    entries.insert(place, entry)
    return True


def _between(
    entries: list[tuple[float, int, float]], start_s: float, end_s: float
) -> list[tuple[float, int, float]]:
    if not entries or entries[-1][0] <= start_s:
        return []
    first = bisect.bisect_right(entries, start_s, key=lambda entry: entry[0])
    return entries[first : bisect.bisect_left(entries, end_s, key=lambda entry: entry[0])]
