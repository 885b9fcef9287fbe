"""A decision as it leaves the closed loop: what to give, why, what was refused, what else was possible."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
import numpy as np

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Band, Candidate, Estimate, Order, Refusal
from dosetwin.twins.bank import Appraisal

Outcome = Literal["orders", "refused", "none"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate chosen for one patient, after the safety supervisor.

    `orders` are what may be given now: drug, route, kind, amount (a rate is in units of the drug an hour),
    unit, duration_s, interval_s; empty leaves the device as it is. `outcome`: "orders" (give them),
    "refused" (the supervisor stopped everything; `refusals` say why), "none" (nothing to change). `refusals`
    name limit, value, bound and the bound's source of everything that was cut. `forecast` is under the chosen
    candidate before any cut. `would_change` says what would have led to another choice. `evidence` are the
    numbers behind it.
    """

    therapy: str
    model: str
    at: datetime
    outcome: Outcome
    orders: tuple[Order, ...]
    chosen: str
    reason: str
    would_change: str
    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    forecast: tuple[Band, ...]
    estimates: dict[str, Estimate]
    risks: dict[str, float]
    attainment: float
    evidence: dict[str, float]
    time_to_event_s: float | None = None

    def to_json(self) -> str:
        """The whole decision as one JSON object; times are ISO 8601, units UCUM."""
        return msgspec.json.encode(self).decode()


class AppraisalRecords:
    """The arrays of an appraisal as rounded records: one conversion a batch, not one a value."""

    def __init__(self, appraisal: Appraisal) -> None:
        self._appraisal = appraisal
        self._utility = rounded(appraisal.utility, 4)
        self.attainment = rounded(appraisal.attainment, 4)
        self._feasible = np.asarray(appraisal.feasible).tolist()
        names = tuple(appraisal.risks)
        columns = [rounded(appraisal.risks[name], 4) for name in names]
        self.risks: list[list[dict[str, float]]] = [
            [dict(zip(names, values, strict=True)) for values in zip(*rows, strict=True)]
            if names
            else [{} for _ in appraisal.candidates]
            for rows in (zip(*columns, strict=True) if names else [()] * len(appraisal.patients))
        ]
        self._bands = {name: rounded(band, 2) for name, band in appraisal.bands.items()}
        self._estimates = {
            name: (unit, rounded(values, 5)) for name, (unit, values) in appraisal.estimates.items()
        }
        evidence_names = tuple(appraisal.evidence)
        evidence_columns = [rounded(appraisal.evidence[name], 4) for name in evidence_names]
        self.evidence: list[dict[str, float]] = [
            {n: v for n, v in zip(evidence_names, values, strict=True) if v == v}
            for values in (
                zip(*evidence_columns, strict=True) if evidence_names else [()] * len(appraisal.patients)
            )
        ]

    def candidates(self, index: int) -> tuple[Candidate, ...]:
        """Every candidate of patient `index`."""
        appraisal = self._appraisal
        return tuple(
            Candidate(
                name=name,
                orders=orders,
                utility=utility,
                attainment=attainment,
                risks=risks,
                feasible=feasible,
            )
            for name, orders, utility, attainment, risks, feasible in zip(
                appraisal.names(index),
                appraisal.orders[index],
                self._utility[index],
                self.attainment[index],
                self.risks[index],
                self._feasible[index],
                strict=True,
            )
        )

    def bands(self, index: int, at_s: float) -> tuple[Band, ...]:
        """The forecast of patient `index`, which starts at `at_s`."""
        appraisal = self._appraisal
        start = instant(at_s)
        return tuple(
            Band(
                quantity=name,
                unit=appraisal.band_units[name],
                start=start,
                step_s=appraisal.step_s,
                quantiles=appraisal.quantiles,
                values=values[index],
            )
            for name, values in self._bands.items()
        )

    def estimates(self, index: int) -> dict[str, Estimate]:
        """The estimates of patient `index`: median, 5 %, 95 %."""
        return {
            name: Estimate(median=values[index][0], low=values[index][1], high=values[index][2], unit=unit)
            for name, (unit, values) in self._estimates.items()
        }

    def time_to_event_s(self, index: int) -> float | None:
        """Seconds until the most urgent event of patient `index`, None where none is likely."""
        seconds = float(self._appraisal.time_to_event_s[index])
        return seconds if np.isfinite(seconds) else None


def rounded(values: Any, digits: int) -> Any:
    """Nested lists of Python floats."""
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()
