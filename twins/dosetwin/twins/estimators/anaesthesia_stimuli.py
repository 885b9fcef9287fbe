"""What was announced of noxious stimuli: when each begins, how strong it is, and until when it lasts.

Like a `Schedule` of doses a function of the set of its facts. A stimulus whose end nobody told lasts as long
as is usual (`USUAL_S`); one of an open end (surgery) is held until readings say otherwise.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from typing import NamedTuple

from dosetwin.twins.events import TwinEvent

USUAL_S = {"intubation": 90.0, "laryngoscopy": 60.0, "incision": 120.0}
"""Our assumption."""
EASES_FOR_MIN = 2.0
"""What was announced fades for so long after its end (`anaesthesia_filter.EASES_MIN`): our assumption."""


class Ahead(NamedTuple):
    """Seen from one moment; min. The strongest that is still to come (strength 0: none), and what is there.

    `left`: until the end of the one that lasts now (0 once it has ended, infinity where there is none);
    `easing`: how long it will fade after its end.
    """

    strength: float = 0.0
    begins: float = 0.0
    lasts: float = 0.0
    left: float = math.inf
    easing: float = 0.0


@dataclass(slots=True)
class Stimuli:
    """`told`: (from, uid, until, strength), sorted."""

    told: list[tuple[float, int, float, float]] = field(default_factory=list)

    def tell(self, fact: TwinEvent) -> bool:
        """Put in an announcement; False where it is there already."""
        lasts_s = fact.duration_s if fact.duration_s > 0.0 else USUAL_S.get(fact.name, math.inf)
        entry = fact.at_s, fact.uid, fact.at_s + lasts_s, fact.value
        place = bisect.bisect_left(self.told, entry[:2], key=lambda known: known[:2])
        if place < len(self.told) and self.told[place][:2] == entry[:2]:
            return False
        self.told.insert(place, entry)
        return True

    def edges(self, start_s: float, end_s: float) -> list[float]:
        """Times strictly between at which one begins, ends, or has faded."""
        times = (at for begins, _, ends, _ in self.told for at in (begins, ends, ends + 60.0 * EASES_FOR_MIN))
        return [at for at in times if start_s < at < end_s]

    def beginning(self, at_s: float) -> float:
        """Strength of what begins exactly at `at_s`."""
        return sum(strength for begins, _, _, strength in self.told if begins == at_s)

    def phase(self, at_s: float) -> float:
        """0 where none of a known end is there, 1 while one lasts, 2 while it fades after its end."""
        left = self.ahead(at_s, at_s).left
        return 0.0 if left == math.inf else 1.0 if left > 0.0 else 2.0

    def ahead(self, at_s: float, until_s: float) -> Ahead:
        """What is there at `at_s`, and what comes after it up to `until_s`."""
        found = Ahead()
        if not self.told or self.told[-1][2] + 60.0 * EASES_FOR_MIN <= at_s:
            return found
        ends_s = max((ends for begins, _, ends, _ in self.told if begins <= at_s), default=-math.inf)
        faded_s = ends_s + 60.0 * EASES_FOR_MIN
        if faded_s > at_s and ends_s < math.inf:
            left = max(ends_s - at_s, 0.0)
            found = found._replace(left=left / 60.0, easing=(faded_s - at_s - left) / 60.0)
        coming = [told for told in self.told if at_s < told[0] <= until_s]
        if coming:
            begins, _, ends, strength = max(coming, key=lambda told: told[3])
            found = found._replace(
                strength=strength, begins=(begins - at_s) / 60.0, lasts=(ends - begins) / 60.0
            )
        return found

    def forget_before(self, at_s: float) -> None:
        """Drop what does not matter from `at_s` on."""
        self.told = [told for told in self.told if told[2] + 60.0 * EASES_FOR_MIN > at_s]
