"""All topics folded into one mutable state by the background reader, and published as a snapshot."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from dosetwin.dashboards.headline import ForecastHead
from dosetwin.dashboards.order_fold import AlertsFold, LivesFold
from dosetwin.dashboards.patient_fold import Bounds, PatientFold
from dosetwin.dashboards.series import SeriesView
from dosetwin.dashboards.snapshot import PatientRecord, ReaderState, Snapshot, TopicFlow
from dosetwin.dashboards.urgency import urgency_order
from dosetwin.dashboards.ward_columns import ColumnsFold
from dosetwin.platform.clock import PlatformClock, instant
from dosetwin.platform.codec import decode, decoder
from dosetwin.platform.contracts import (
    CONTRACT_VERSION,
    Acknowledgement,
    Action,
    Alert,
    Command,
    DeadLetter,
    Dose,
    Enrolment,
    Proposal,
    Reading,
)

REORDER_EVERY_S = 10.0
"""Wall seconds for which the order of the ward stands still."""
DEAD_PAYLOAD_BYTES = 400


class WardFold:
    """Folds records of every topic; belongs to one thread. `publish` gives what may be shared."""

    def __init__(self, clock: PlatformClock, bounds: Bounds | None = None) -> None:
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._folds: dict[str, PatientFold] = {}
        self._beyond: set[str] = set()
        self._records: dict[str, PatientRecord] = {}
        self._touched: dict[str, None] = {}
        self._columns = ColumnsFold()
        self._lives = LivesFold(self._bounds.lives)
        self._alerts = AlertsFold(self._bounds.alerts)
        self._waiting: dict[str, tuple[str, float]] = {}
        self._dead_letters: dict[str, int] = {}
        self._newest_dead: deque[DeadLetter] = deque(maxlen=self._bounds.dead_letters)
        self._version = 0
        self._order: tuple[int, ...] = ()
        self._ordered_ids: tuple[str, ...] = ()
        self._ordered_wall_s = 0.0

    def fold(self, topic: str, payload: bytes) -> None:
        """Take one record of a topic.

        Raises msgspec.DecodeError or msgspec.ValidationError where the record breaks its contract.
        """
        match topic:
            case "readings":
                reading = decode(payload, Reading)
                if patient := self._patient(reading.patient):
                    patient.read(reading)
            case "forecasts":
                head = decode(payload, ForecastHead)
                if head.contract != CONTRACT_VERSION:
                    raise msgspec.ValidationError(f"contract {head.contract}; expected {CONTRACT_VERSION}")
                if patient := self._patient(head.patient):
                    patient.forecast(head, payload)
            case "doses":
                dose = decode(payload, Dose)
                if patient := self._patient(dose.patient):
                    patient.give(dose)
            case "enrolments":
                enrolment = decode(payload, Enrolment)
                if patient := self._patient(enrolment.patient):
                    patient.enrol(enrolment)
            case "commands":
                self._order_given(decoder(Command | Proposal).decode(payload))
            case "acknowledgements":
                acknowledgement = decode(payload, Acknowledgement)
                self._lives.book.add(acknowledgement)
                self._touch(acknowledgement.patient)
            case "actions":
                self._acted(decode(payload, Action))
            case "alerts":
                event: Any = decoder(Alert).decode(payload)
                self._alerts.fold(event)
                self._touch(event.patient)
            case "dead-letters":
                letter = decode(payload, DeadLetter)
                self._dead_letters[letter.reason] = self._dead_letters.get(letter.reason, 0) + 1
                short = msgspec.structs.replace(letter, payload=letter.payload[:DEAD_PAYLOAD_BYTES])
                self._newest_dead.append(short)

    def publish(
        self,
        wall_s: float,
        reader: ReaderState,
        flows: Mapping[str, TopicFlow],
        history: Mapping[str, SeriesView],
    ) -> Snapshot:
        """An immutable snapshot of everything folded so far, as of a wall time."""
        event_s = self._clock.event_s(wall_s)
        now = instant(event_s)
        self._refresh(event_s)
        ward = self._columns.snapshot()
        due = reader.connection != "live" or wall_s - self._ordered_wall_s >= REORDER_EVERY_S
        if due or len(self._order) > len(ward):
            self._order, self._ordered_wall_s = urgency_order(ward, event_s), wall_s
        elif ward.ids is not self._ordered_ids:
            if ward.ids[: len(self._ordered_ids)] == self._ordered_ids:
                self._order = (*self._order, *range(len(self._order), len(ward)))
            else:
                self._order, self._ordered_wall_s = urgency_order(ward, event_s), wall_s
        self._ordered_ids = ward.ids
        self._version += 1
        return Snapshot(
            version=self._version,
            taken_wall_s=wall_s,
            event_s=event_s,
            speed=self._clock.speed,
            ward=ward,
            order=self._order,
            ordered_wall_s=self._ordered_wall_s,
            patients=dict(self._records),
            lives=self._lives.snapshot(now),
            alerts=self._alerts.snapshot(now),
            open_alerts=self._alerts.totals(),
            flows=dict(flows),
            dead_letters=dict(self._dead_letters),
            newest_dead_letters=tuple(self._newest_dead),
            reader=dataclasses.replace(reader, not_shown=len(self._beyond)),
            history=dict(history),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers kept of all patients."""
        return sum(fold.nbytes for fold in self._folds.values())

    def _patient(self, patient: str) -> PatientFold | None:
        fold = self._folds.get(patient)
        if fold is None:
            if len(self._folds) >= self._bounds.patients:
                self._beyond.add(patient)
                return None
            fold = self._folds[patient] = PatientFold(patient, self._bounds)
        self._touched[patient] = None
        return fold

    def _touch(self, patient: str) -> None:
        if patient in self._folds:
            self._touched[patient] = None

    def _order_given(self, order: Command | Proposal) -> None:
        life = self._lives.book.add(order)
        if isinstance(order, Command):
            self._waiting.pop(order.proposal_id or "", None)
        elif life is not None and life.stage == "proposed":
            self._waiting[order.id] = (order.patient, order.expires_at.timestamp())
        self._touch(order.patient)

    def _acted(self, action: Action) -> None:
        self._lives.book.add(action)
        self._alerts.act(action)
        self._waiting.pop(getattr(action.act, "proposal_id", ""), None)
        self._touch(action.patient)

    def _refresh(self, event_s: float) -> None:
        waiting: dict[str, int] = {}
        for proposal, (patient, expires_s) in list(self._waiting.items()):
            if expires_s <= event_s:
                del self._waiting[proposal]
                self._touch(patient)
            else:
                waiting[patient] = waiting.get(patient, 0) + 1
        for patient in self._touched:
            fold = self._folds[patient]
            self._records[patient] = fold.record()
            self._columns.take(fold, self._alerts.open_counts(patient), waiting.get(patient, 0))
        self._touched.clear()
