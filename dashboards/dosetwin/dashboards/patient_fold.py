"""One patient's mutable state in the background reader: every record folded in, bounded in memory."""

from __future__ import annotations

from collections import deque
from datetime import datetime

import msgspec
import numpy as np

from dosetwin.dashboards.headline import ForecastHead
from dosetwin.dashboards.presentation import Scale, TherapyView, scale_of, target_strip, therapy_view
from dosetwin.dashboards.series import Series
from dosetwin.dashboards.snapshot import MISSING, SPARK_POINTS, GivenDose, PatientRecord, PlannedDose
from dosetwin.dashboards.units import converted
from dosetwin.platform.contracts import Dose, Enrolment, Order, Reading


class Bounds(msgspec.Struct, frozen=True):
    """How much the reader keeps; what is beyond is the oldest."""

    patients: int = 5000
    rows: int = 720
    doses: int = 300
    plans: int = 300
    lives: int = 6000
    alerts: int = 6000
    dead_letters: int = 60


FAST_TREND_PER_H = 0.45
SLOW_TREND_PER_H = 0.15
"""Slopes, in shares of the scale an hour, from which a trend is called fast or present at all."""


class PatientFold:
    """Folds one patient's records; `record()` is the immutable result."""

    def __init__(self, patient: str, bounds: Bounds) -> None:
        self.patient = patient
        self._bounds = bounds
        self.enrolment: Enrolment | None = None
        self.view: TherapyView | None = None
        self.scale: Scale = scale_of("")
        self.strip: tuple[float, float] | None = None
        self._readings: dict[str, Series] = {}
        self._units: dict[str, str] = {}
        self._posterior: dict[str, Series] = {}
        self._amounts: dict[str, Series] = {}
        self._doses: deque[GivenDose] = deque(maxlen=bounds.doses)
        self._plans: deque[PlannedDose] = deque(maxlen=bounds.plans)
        self._forecast: bytes | None = None
        self._decided: str = ""
        self.version = 0
        self.value = np.nan
        self.value_at_s = np.nan
        self.trend = -3
        self.time_to_event_s = np.nan
        self.attainment = np.nan
        self.spark = np.full(SPARK_POINTS, MISSING, np.uint8)
        self.spark_count = 0

    def enrol(self, enrolment: Enrolment) -> None:
        """Take the newest version of the enrolment; an older one changes nothing."""
        if self.enrolment is not None and self.enrolment.version > enrolment.version:
            return
        changed = self.view is None or self.view.id != enrolment.therapy
        self.enrolment = enrolment
        self.version += 1
        view = self.view = therapy_view(enrolment.therapy)
        self.strip = target_strip(view, enrolment)
        if changed:
            self.scale = scale_of(view.quantity)
            self._redraw_spark(view)

    def read(self, reading: Reading) -> None:
        """Add a device's samples, in canonical units; one in an unknown unit is not drawn."""
        self.version += 1
        for sample in reading.samples:
            unit = scale_of(sample.quantity, sample.unit).unit
            value = converted(sample.quantity, sample.value, sample.unit, unit)
            if value is None:
                continue
            series = self._readings.get(sample.quantity)
            if series is None:
                series = self._readings[sample.quantity] = Series(3, self._bounds.rows)
                self._units[sample.quantity] = unit
            at_s = sample.at.timestamp()
            flag = -1.0 if sample.censored == "below" else 1.0 if sample.censored == "above" else 0.0
            series.append(at_s, value, 2.0 if sample.quality == "suspect" else flag)
            if self.view is not None and sample.quantity == self.view.quantity:
                self._main_value(self.view, series, at_s, value)

    def give(self, dose: Dose) -> None:
        """Add what a device reports to have given."""
        self.version += 1
        self._doses.extend(GivenDose(dose.device, each) for each in dose.administrations)

    def forecast(self, head: ForecastHead, payload: bytes) -> None:
        """Take a forecast: keep it whole as bytes, and where the twin stood as a row of each quantity."""
        self.version += 1
        self._forecast = payload
        self.time_to_event_s = np.nan if head.time_to_event_s is None else head.time_to_event_s
        self.attainment = np.nan if head.attainment is None else head.attainment
        for band in head.bands:
            now = band.now()
            if now is not None:
                self._kept(self._posterior, band.quantity).append(band.start.timestamp(), *now)
                self._units.setdefault(band.quantity, band.unit)
                if self.view is not None and self.view.sparse and band.quantity == self.view.quantity:
                    self._spark_point(now[1])
        for name, estimate in head.estimates.items():
            if "on_board" in name or "effect_site" in name:
                row = (head.at.timestamp(), estimate.low, estimate.median, estimate.high)
                self._kept(self._amounts, name).append(*row)
                self._units.setdefault(name, estimate.unit)
        if head.decision is not None and head.decision.id != self._decided:
            self._decided = head.decision.id
            self._plans.extend(
                planned(order, head.decision.at, head.decision.outcome) for order in head.decision.orders
            )

    def record(self) -> PatientRecord:
        """The patient as of now, immutable."""
        return PatientRecord(
            patient=self.patient,
            enrolment=self.enrolment,
            readings={name: series.view() for name, series in self._readings.items()},
            units=dict(self._units),
            posterior={name: series.view() for name, series in self._posterior.items()},
            amounts={name: series.view() for name, series in self._amounts.items()},
            doses=tuple(self._doses),
            plans=tuple(self._plans),
            forecast=self._forecast,
            version=self.version,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers kept (not of the structs)."""
        series = (*self._readings.values(), *self._posterior.values(), *self._amounts.values())
        return sum(each.nbytes for each in series) + len(self._forecast or b"")

    def _kept(self, where: dict[str, Series], name: str) -> Series:
        series = where.get(name)
        if series is None:
            series = where[name] = Series(4, self._bounds.rows)
        return series

    def _main_value(self, view: TherapyView, series: Series, at_s: float, value: float) -> None:
        if not at_s < self.value_at_s:
            self.value, self.value_at_s = value, at_s
            self.trend = self._slope(view, series)
            if not view.sparse:
                self._spark_point(value)

    def _slope(self, view: TherapyView, series: Series) -> int:
        rows = series.view().newest(4)
        span_s = rows[-1, 0] - rows[0, 0]
        if len(rows) < 3 or span_s <= 0 or view.sparse:
            return -3
        share_per_h = (rows[-1, 1] - rows[0, 1]) / (self.scale.high - self.scale.low) / span_s * 3600.0
        size = 2 if abs(share_per_h) >= FAST_TREND_PER_H else 1 if abs(share_per_h) >= SLOW_TREND_PER_H else 0
        return size if share_per_h > 0 else -size

    def _spark_point(self, value: float) -> None:
        share = (value - self.scale.low) / (self.scale.high - self.scale.low)
        self.spark[:-1] = self.spark[1:]
        self.spark[-1] = round(min(max(share, 0.0), 1.0) * 254)
        self.spark_count += 1

    def _redraw_spark(self, view: TherapyView) -> None:
        """Read the main quantity again: readings may have come before the enrolment that names it."""
        self.value = self.value_at_s = np.nan
        self.trend, self.spark_count = -3, 0
        self.spark[:] = MISSING
        series = self._readings.get(view.quantity)
        if series is not None and series.count:
            rows = series.view().newest(SPARK_POINTS)
            newest = rows[np.argmax(rows[:, 0])]
            self.value_at_s, self.value = float(newest[0]), float(newest[1])
            self.trend = self._slope(view, series)
            if not view.sparse:
                for row in rows:
                    self._spark_point(float(row[1]))
        posterior = self._posterior.get(view.quantity)
        if view.sparse and posterior is not None and posterior.count:
            for row in posterior.view().newest(SPARK_POINTS):
                self._spark_point(float(row[2]))


def planned(order: Order, at: datetime, outcome: str) -> PlannedDose:
    """An order of a decision taken at `at`, as the dosage lane draws it."""
    return PlannedDose(
        at_s=at.timestamp(),
        kind=order.kind,
        amount=order.amount,
        unit=order.unit,
        duration_s=order.duration_s,
        interval_s=order.interval_s,
        outcome=outcome,
    )
