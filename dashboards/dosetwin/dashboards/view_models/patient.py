"""One patient's page: stacked lanes on one time axis, the decision and its reason, what was cut."""

from __future__ import annotations

from typing import Any

from dosetwin.dashboards.presentation import (
    TherapyView,
    scale_of,
    shown_unit,
    target_strip,
    therapy_view,
)
from dosetwin.dashboards.presentation import (
    words as as_words,
)
from dosetwin.dashboards.snapshot import PatientRecord, Snapshot
from dosetwin.dashboards.view_models.decision import decision_card
from dosetwin.dashboards.view_models.lanes import lanes
from dosetwin.dashboards.view_models.lifelines import holder, stage, started_at
from dosetwin.dashboards.view_models.orders import administration_words, orders_words
from dosetwin.dashboards.view_models.words import clock, number
from dosetwin.platform.clock import instant
from dosetwin.platform.codec import decode
from dosetwin.platform.command_state import CommandLife
from dosetwin.platform.contracts import Forecast

PAST_DENSE_S = 8 * 3600.0
PAST_SPARSE_S = 4 * 86_400.0


def patient(snapshot: Snapshot, patient_id: str) -> dict[str, Any] | None:
    """Everything the patient page draws; None where no such patient is enrolled."""
    record = snapshot.patients.get(patient_id)
    if record is None or record.enrolment is None:
        return None
    enrolment = record.enrolment
    view = therapy_view(enrolment.therapy)
    forecast = decode(record.forecast, Forecast) if record.forecast is not None else None
    past_s = PAST_SPARSE_S if view.sparse else PAST_DENSE_S
    return {
        "id": record.patient,
        "ward": enrolment.ward or "no ward",
        "therapy": view.title,
        "therapy_id": view.id,
        "monitoring": view.monitoring,
        "mode": enrolment.mode,
        "version": enrolment.version,
        "covariates": [
            f"{as_words(name)} {number(measure.value)} {shown_unit(measure.unit)}"
            for name, measure in sorted(enrolment.covariates.items())
        ],
        "devices": [
            f"{each.device} ({as_words(each.kind).lower()}{', obeys commands' if each.commands else ''})"
            for each in enrolment.devices
        ],
        "now_card": _now(record, view, forecast),
        "past_s": past_s,
        "future_s": _horizon(forecast),
        "lanes": lanes(record, view, forecast, snapshot.event_s - past_s, _strip(record, view)),
        "marks": _marks(snapshot, record, snapshot.event_s - past_s),
        "decision": decision_card(forecast),
        "table": _table(record, view),
        "open_commands": _newest_commands(snapshot, record),
    }


def _strip(record: PatientRecord, view: TherapyView) -> tuple[float, float] | None:
    return target_strip(view, record.enrolment)


def _horizon(forecast: Forecast | None) -> float:
    if forecast is None or not forecast.bands:
        return 3600.0
    return (
        max(band.step_s * max(len(band.values[0]) - 1, 0) for band in forecast.bands if band.values) or 3600.0
    )


def _now(record: PatientRecord, view: TherapyView, forecast: Forecast | None) -> dict[str, Any]:
    scale = scale_of(view.quantity)
    rows = record.readings.get(view.quantity)
    newest = rows.rows[rows.rows[:, 0].argmax()] if rows is not None and len(rows.rows) else None
    strip = _strip(record, view)
    value = None if newest is None else float(newest[1])
    place = "waiting for the first value"
    if value is not None:
        place = "measured"
        if strip is not None:
            place = (
                "below target" if value < strip[0] else "above target" if value > strip[1] else "in target"
            )
    return {
        "quantity": scale.title,
        "value": number(value, scale.decimals),
        "unit": shown_unit(scale.unit),
        "at_s": None if newest is None else float(newest[0]),
        "place": place,
        "target": f"{number(strip[0])}–{number(strip[1])} {shown_unit(scale.unit)}" if strip else "",
        "stale_after_s": view.stale_after_s,
        "time_to_event_s": forecast.time_to_event_s if forecast is not None else None,
        "attainment": forecast.attainment if forecast is not None else None,
    }


def _marks(snapshot: Snapshot, record: PatientRecord, since_s: float) -> list[dict[str, Any]]:
    now = instant(snapshot.event_s)
    marks: list[dict[str, Any]] = []
    for life in _lives(snapshot, record):
        started, source = started_at(life), holder(life)
        if started is not None and started.timestamp() >= since_s:
            reached = stage(life, now)
            what = orders_words(source.orders) if source is not None else ""
            text = f"Command {reached}: {what}"
            marks.append({"t": started.timestamp(), "kind": f"command-{reached}", "text": text})
    for line in snapshot.alerts.values():
        raised = line.state.raised
        if line.patient == record.patient and raised is not None and raised.at.timestamp() >= since_s:
            priority = line.state.priority(now)
            how = "open" if line.state.is_open(now) else "over"
            text = f"{as_words(raised.kind)} ({priority}, {how}): {raised.message}"
            marks.append({"t": raised.at.timestamp(), "kind": f"alert-{priority}", "text": text})
    return marks[-300:]


def _lives(snapshot: Snapshot, record: PatientRecord) -> list[CommandLife]:
    return [life for life in snapshot.lives.values() if life.patient == record.patient]


def _newest_commands(snapshot: Snapshot, record: PatientRecord) -> list[dict[str, str]]:
    now = instant(snapshot.event_s)
    mine = [(started_at(life), life) for life in _lives(snapshot, record)]
    dated = sorted(((at, life) for at, life in mine if at is not None), key=lambda each: each[0])
    rows = []
    for at, life in reversed(dated[-5:]):
        source = holder(life)
        order = orders_words(source.orders) if source is not None else ""
        rows.append({"id": life.id, "stage": stage(life, now), "at": clock(at), "order": order})
    return rows


def _table(record: PatientRecord, view: TherapyView) -> list[list[str]]:
    """The newest values and doses as rows (time, what, value), for those who do not see the lanes."""
    rows: list[tuple[float, str, str]] = []
    for name, series in record.readings.items():
        scale = scale_of(name, record.units.get(name, ""))
        unit = shown_unit(scale.unit)
        rows += [
            (float(at), scale.title, f"{number(float(value))} {unit}") for at, value, _ in series.newest(4)
        ]
    for given in record.doses[-6:]:
        at_s = given.administration.at.timestamp()
        rows.append((at_s, "Dose", f"{administration_words(given.administration)} ({given.device})"))
    rows.sort(key=lambda row: row[0], reverse=True)
    return [[clock(at_s), what, value] for at_s, what, value in rows[:14]]
