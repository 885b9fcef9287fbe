"""What was really given, so that cumulative limits speak of deliveries and not of orders."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import pairwise

import msgspec

SECONDS_PER_HOUR = 3600.0


class DoseLedger(msgspec.Struct):
    """Amounts of one drug given to one patient over a sliding window, from reports in any order.

    `amounts`: sorted (event time s, amount). `rates`: sorted (event time s, amount per hour), each holding
    until the next. `window_s`: how far back the ledger must be able to answer.
    """

    window_s: float = 86_400.0
    amounts: list[tuple[float, float]] = []
    rates: list[tuple[float, float]] = []
    cumulative: list[float] = []
    """Amount delivered by rates from the first rate to each rate's start."""

    def add_amount(self, at_s: float, amount: float, duration_s: float = 0.0) -> None:
        """Record a bolus, or an infusion of `amount` over `duration_s` (counted from its start)."""
        insort(self.amounts, (at_s, amount))
        if self.amounts[-1][0] - self.amounts[0][0] > 2 * self.window_s:
            del self.amounts[: bisect_left(self.amounts, (self.amounts[-1][0] - self.window_s, -1.0))]

    def add_rate(self, at_s: float, rate_per_h: float) -> None:
        """Record that the pump ran at `rate_per_h` from `at_s` on."""
        rates, cumulative = self.rates, self.cumulative
        if not rates or at_s >= rates[-1][0]:
            if rates:
                since, rate = rates[-1]
                cumulative.append(cumulative[-1] + rate * (at_s - since) / SECONDS_PER_HOUR)
            else:
                cumulative.append(0.0)
            rates.append((at_s, rate_per_h))
            if at_s - rates[0][0] > 2 * self.window_s:
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

    def given(self, now_s: float) -> float:
        """Amount given in the window that ends at `now_s`."""
        start = now_s - self.window_s
        lower, upper = bisect_left(self.amounts, (start, -1.0)), bisect_right(self.amounts, (now_s, 1e300))
        total = sum(amount for _, amount in self.amounts[lower:upper])
        return total + self._by_rates(now_s) - self._by_rates(start)

    def _by_rates(self, at_s: float) -> float:
        index = bisect_right(self.rates, (at_s, float("inf"))) - 1
        if index < 0:
            return 0.0
        since, rate = self.rates[index]
        return self.cumulative[index] + rate * (at_s - since) / SECONDS_PER_HOUR
