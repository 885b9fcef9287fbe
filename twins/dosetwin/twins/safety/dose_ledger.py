"""What was really given, so that cumulative limits speak of deliveries and not of orders."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import accumulate, pairwise

import msgspec

SECONDS_PER_HOUR = 3600.0
KEPT_WINDOWS = 1.25
"""Reports older than this many windows are forgotten, a batch at a time."""


class DoseLedger(msgspec.Struct):
    """Amounts of one drug given to one patient over a sliding window, from reports in any order.

    `amounts`: sorted (event time s, amount). `rates`: sorted (event time s, amount per hour), each holding
    until the next. `infusions`: sorted (start s, amount, duration s). `window_s`: how far back the ledger
    must be able to answer. `reported_s`: event time of the newest report.
    """

    window_s: float = 86_400.0
    amounts: list[tuple[float, float]] = []
    summed: list[float] = []
    """Sum of the amounts up to and with each."""
    rates: list[tuple[float, float]] = []
    cumulative: list[float] = []
    """Amount delivered by rates from the first rate to each rate's start."""
    infusions: list[tuple[float, float, float]] = []
    reported_s: float | None = None

    def add_amount(self, at_s: float, amount: float) -> None:
        """Record an amount given at once."""
        self._report(at_s)
        amounts, summed = self.amounts, self.summed
        if not amounts or at_s >= amounts[-1][0]:
            amounts.append((at_s, amount))
            summed.append((summed[-1] if summed else 0.0) + amount)
            oldest_s = at_s - self.window_s
            if amounts[0][0] < at_s - KEPT_WINDOWS * self.window_s:
                del amounts[: bisect_left(amounts, (oldest_s, -1.0))]
                self.summed = list(accumulate(amount for _, amount in amounts))
        else:
            insort(amounts, (at_s, amount))
            self.summed = list(accumulate(amount for _, amount in amounts))

    def add_infusion(self, at_s: float, amount: float, duration_s: float) -> None:
        """Record that `amount` runs in evenly over `duration_s` from `at_s` on."""
        if duration_s <= 0:
            self.add_amount(at_s, amount)
            return
        self._report(at_s)
        insort(self.infusions, (at_s, amount, duration_s))
        oldest_s = self.infusions[-1][0] - self.window_s
        if self.infusions[0][0] + self.infusions[0][2] < oldest_s:
            self.infusions = [each for each in self.infusions if each[0] + each[2] >= oldest_s]

    def add_rate(self, at_s: float, rate_per_h: float) -> None:
        """Record that the pump ran at `rate_per_h` from `at_s` on."""
        self._report(at_s)
        rates, cumulative = self.rates, self.cumulative
        if not rates or (at_s, rate_per_h) >= rates[-1]:
            if rates:
                since, rate = rates[-1]
                cumulative.append(cumulative[-1] + rate * (at_s - since) / SECONDS_PER_HOUR)
            else:
                cumulative.append(0.0)
            rates.append((at_s, rate_per_h))
            if rates[0][0] < at_s - KEPT_WINDOWS * self.window_s:
                first = max(0, bisect_right(rates, (at_s - self.window_s, float("inf"))) - 1)
                base = cumulative[first]
                del rates[:first], cumulative[:first]
                self.cumulative = [value - base for value in cumulative]
        else:
            insort(rates, (at_s, rate_per_h))
            total = 0.0
            self.cumulative = [0.0]
            for (since, rate), (until, _) in pairwise(rates):
                total += rate * (until - since) / SECONDS_PER_HOUR
                self.cumulative.append(total)

    def rate_at(self, at_s: float) -> float | None:
        """The rate (amount per hour) that ran at `at_s`, None when no rate was ever reported before it."""
        index = bisect_right(self.rates, (at_s, float("inf"))) - 1
        return self.rates[index][1] if index >= 0 else None

    def given(self, now_s: float, window_s: float | None = None) -> float:
        """Amount given in the window (None: the ledger's own) that ends at `now_s`.

        An infusion that has begun counts whole, what is still to run included: it is on its way. It leaves
        the window as it ran, evenly.
        """
        start = now_s - (self.window_s if window_s is None else window_s)
        total = self._by_rates(now_s) - self._by_rates(start)
        if self.amounts:
            lower, upper = (
                bisect_left(self.amounts, (start, -1.0)),
                bisect_right(self.amounts, (now_s, 1e300)),
            )
            if upper > lower:
                total += self.summed[upper - 1] - (self.summed[lower - 1] if lower else 0.0)
        for at_s, amount, duration_s in self.infusions:
            if at_s <= now_s:
                total += amount * min(1.0, max(0.0, (at_s + duration_s - start) / duration_s))
        return max(total, 0.0)

    def doses_since(self, start_s: float, now_s: float) -> float:
        """Amount of the doses (no rates) that began after `start_s` and until `now_s`."""
        total = sum(amount for at_s, amount in self.amounts if start_s < at_s <= now_s)
        return total + sum(amount for at_s, amount, _ in self.infusions if start_s < at_s <= now_s)

    def _report(self, at_s: float) -> None:
        if self.reported_s is None or at_s > self.reported_s:
            self.reported_s = at_s

    def _by_rates(self, at_s: float) -> float:
        index = bisect_right(self.rates, (at_s, float("inf"))) - 1
        if index < 0:
            return 0.0
        since, rate = self.rates[index]
        return self.cumulative[index] + rate * (at_s - since) / SECONDS_PER_HOUR
