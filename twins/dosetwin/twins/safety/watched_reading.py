"""The newest reading of a quantity, and what the few before it say about it."""

from __future__ import annotations

from math import sqrt

import msgspec

from dosetwin.twins.safety.situation import GuardedReading

EQUAL = 1e-9
"""Two readings closer than this are equal."""
SPREADS_KEPT = 12
SPREADS_NEEDED = 4
"""How many differences the noise is taken from: an hour of a 5 min sensor; below the second, not known."""
UNEVEN = 3.0
"""Across a gap this much longer than its neighbour a difference says more of change than of noise."""


class WatchedReading(msgspec.Struct):
    """What is remembered of one quantity: plain data, a few numbers.

    Noise: the middle one of three readings against the straight line through its neighbours,
    e = x1 - (w0 x0 + w2 x2) with w0 + w2 = 1, has variance s^2 (1 + w0^2 + w2^2) under white noise of
    standard deviation s; a steady rise leaves e = 0. s^2 is the mean of e^2 / (1 + w0^2 + w2^2) over the
    newest `SPREADS_KEPT` differences.
    """

    value: float
    at_s: float
    flat_since_s: float
    suspect: bool = False
    before: list[tuple[float, float]] = []
    """The two readings before the newest, (s, value), oldest first."""
    spreads: list[float] = []

    def follow(self, value: float, at_s: float, suspect: bool) -> None:
        """Take a newer reading; one that is older than the newest is left out."""
        if at_s < self.at_s:
            return
        self.before.append((self.at_s, self.value))
        if len(self.before) > 2:
            del self.before[0]
        if not abs(value - self.value) <= EQUAL:
            self.flat_since_s = at_s
        self.value, self.at_s, self.suspect = value, at_s, suspect
        if len(self.before) == 2:
            spread = _spread(self.before[0], self.before[1], (at_s, value))
            if spread is not None:
                self.spreads.append(spread)
                if len(self.spreads) > SPREADS_KEPT:
                    del self.spreads[0]

    def reading(self) -> GuardedReading:
        """What the supervisor is told."""
        before = self.before[-1] if self.before else None
        spreads = self.spreads
        return GuardedReading(
            self.value,
            self.at_s,
            max(0.0, self.at_s - self.flat_since_s),
            self.suspect,
            sqrt(sum(spreads) / len(spreads)) if len(spreads) >= SPREADS_NEEDED else None,
            self.value - before[1] if before else None,
            self.at_s - before[0] if before else None,
        )


def _spread(
    first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]
) -> float | None:
    """An estimate of the noise's variance from three readings; None across an uneven gap."""
    left_s, right_s = middle[0] - first[0], last[0] - middle[0]
    if not (left_s > 0 and right_s > 0 and max(left_s, right_s) <= UNEVEN * min(left_s, right_s)):
        return None
    w2 = left_s / (left_s + right_s)
    w0 = 1.0 - w2
    error = middle[1] - (w0 * first[1] + w2 * last[1])
    return error * error / (1.0 + w0 * w0 + w2 * w2)
