"""The part of a forecast that the whole ward needs, decoded without building the rest.

A forecast record holds every candidate and every risk; of 2,000 patients a second only a few numbers are
drawn. The whole record is kept as bytes and decoded for the one patient somebody looks at.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from dosetwin.platform.contracts import Estimate, Order


class BandHead(msgspec.Struct, frozen=True):
    """A band; its first time is where the posterior stands now."""

    quantity: str
    unit: str
    start: datetime
    quantiles: tuple[float, ...]
    values: list[list[float]]

    def now(self) -> tuple[float, float, float] | None:
        """Lowest quantile, the one nearest the median, highest, at the band's first time."""
        if not self.values or not self.values[0]:
            return None
        middle = min(range(len(self.quantiles)), key=lambda index: abs(self.quantiles[index] - 0.5))
        return self.values[0][0], self.values[middle][0], self.values[-1][0]


class DecisionHead(msgspec.Struct, frozen=True):
    """What was decided, without the candidates that lost."""

    id: str
    at: datetime
    outcome: str
    chosen: str
    orders: tuple[Order, ...]


class ForecastHead(msgspec.Struct, frozen=True):
    """A forecast as far as the ward draws it."""

    patient: str
    contract: int
    therapy: str
    at: datetime
    bands: tuple[BandHead, ...] = ()
    estimates: dict[str, Estimate] = {}
    risks: dict[str, float] = {}
    attainment: float | None = None
    time_to_event_s: float | None = None
    decision: DecisionHead | None = None
