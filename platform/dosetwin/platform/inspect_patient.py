"""`dosetwin inspect`: a patient's twin, history, commands and alerts as text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Console

from dosetwin.platform.contracts import (
    Bolus,
    Candidate,
    Decision,
    Enrolment,
    Forecast,
    Infusion,
    MissedDose,
    Order,
    RateChange,
)
from dosetwin.platform.patient_record import PatientRecord, enrolled, gather
from dosetwin.platform.settings import Settings


def list_patients(settings: Settings) -> None:
    """Print one line a patient."""
    console = Console(highlight=False, soft_wrap=True)
    found = enrolled(settings.kafka)
    for enrolment in found:
        console.print(_one_line(enrolment))
    console.print(
        f"{len(found)} patients. Look at one with: dosetwin inspect {found[0].patient}"
        if found
        else "No patients are enrolled. `dosetwin fleet` brings synthetic ones, `dosetwin replay` real ones."
    )


def show_patient(settings: Settings, patient: str, last: int) -> bool:
    """Print everything about one patient; False where no topic mentions it."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with console.status("Reading the topics ..."):
        record = gather(settings.kafka, patient)
    if record.is_empty:
        console.print(f"No topic mentions {patient}. `dosetwin inspect` lists the patients.")
        return False
    for line in describe(record, settings.platform_clock.now(), last):
        console.print(line)
    return True


def describe(record: PatientRecord, now: datetime, last: int) -> Iterator[str]:
    """The lines of a patient's record at event time `now`, with the newest `last` readings and doses."""
    yield f"Patient {record.patient}, event time now {_time(now)}"
    yield from _enrolment(record.enrolment)
    yield from _forecast(record.forecast)
    samples = sorted(
        ((sample.at, reading.device, sample) for reading in record.readings for sample in reading.samples),
        key=lambda item: item[0],
    )
    shown = min(last, len(samples))
    yield f"Readings: {len(samples)} values in {len(record.readings)} messages; the newest {shown}:"
    for at, device, sample in samples[-last:]:
        bound = {"below": "< ", "above": "> "}.get(sample.censored or "", "")
        doubt = "" if sample.quality == "good" else ", suspect"
        yield f"  {_time(at)}  {sample.quantity} {bound}{sample.value:g} {sample.unit} from {device}{doubt}"
    given = sorted((item for dose in record.doses for item in dose.administrations), key=lambda item: item.at)
    yield f"Doses: {len(given)} administrations; the newest {min(last, len(given))}:"
    for item in given[-last:]:
        yield f"  {_time(item.at)}  {_administration(item)}"
    open_lives = record.commands.open_lives(now)
    stages: dict[str, int] = {}
    for life in record.commands:
        stages[life.stage] = stages.get(life.stage, 0) + 1
    counts = ", ".join(f"{count} {stage}" for stage, count in sorted(stages.items())) or "none"
    yield f"Commands: {counts}; open: {len(open_lives)}"
    for life in open_lives:
        holder = life.command or life.proposal
        if holder is not None:
            orders = "; ".join(_order(order) for order in holder.orders)
            overdue = " (overdue)" if now >= holder.expires_at else ""
            until = _time(holder.expires_at)
            yield f"  {life.id}  {life.stage}: {orders} to {holder.device}, until {until}{overdue}"
    open_alerts = record.alerts.open_alerts(now)
    yield f"Alerts: {len(record.alerts)} known, open: {len(open_alerts)}"
    for state in open_alerts:
        newest = state.raises[-1]
        level = f", escalated to level {state.level}" if state.level else ""
        status = f"{state.status(now)} since {_time(newest.at)}{level}"
        yield f"  {state.priority(now)} {newest.kind}, {status}: {newest.message}"
    if record.dead_letters:
        yield f"Dead letters: {len(record.dead_letters)}; the newest {min(last, len(record.dead_letters))}:"
        for letter in record.dead_letters[-last:]:
            yield f"  {letter.topic}/{letter.partition}:{letter.offset}  {letter.reason}: {letter.detail}"


def _one_line(enrolment: Enrolment) -> str:
    ward = f", ward {enrolment.ward}" if enrolment.ward else ""
    inactive = "" if enrolment.active else " (withdrawn)"
    what = f"{enrolment.therapy}, {enrolment.mode}, version {enrolment.version}"
    return f"{enrolment.patient}  {what}{ward}{inactive}"


def _enrolment(enrolment: Enrolment | None) -> Iterator[str]:
    if enrolment is None:
        yield "Enrolment: none, so the shards refuse this patient's readings"
        return
    yield f"Enrolment: {_one_line(enrolment)}, since {_time(enrolment.at)}"
    for title, measures in (
        ("covariates", enrolment.covariates),
        ("targets", enrolment.targets),
        ("limits", enrolment.limits),
    ):
        if measures:
            values = ", ".join(f"{name} {m.value:g} {m.unit}" for name, m in sorted(measures.items()))
            yield f"  {title}: {values}"
    for device in enrolment.devices:
        yield f"  device {device.device}: {device.kind}" + (", obeys commands" if device.commands else "")


def _forecast(forecast: Forecast | None) -> Iterator[str]:
    if forecast is None:
        yield "Twin: no forecast yet"
        return
    yield f"Twin: {forecast.therapy}, model {forecast.model}, at {_time(forecast.at)}"
    yield f"  after {forecast.source}"
    for name, estimate in sorted(forecast.estimates.items()):
        yield (
            f"  {name} {estimate.median:.4g} {estimate.unit} "
            f"(90 %: {estimate.low:.4g} to {estimate.high:.4g} {estimate.unit})"
        )
    for prediction in forecast.predictions:
        yield (
            f"  last {prediction.quantity}: measured {prediction.observed:.4g} {prediction.unit}, predicted "
            f"{prediction.median:.4g} (90 %: {prediction.low:.4g} to {prediction.high:.4g}) {prediction.unit}"
        )
    for band in forecast.bands:
        if band.values and band.values[0]:
            low, high, middle = (
                band.values[0][-1],
                band.values[-1][-1],
                band.values[len(band.values) // 2][-1],
            )
            hours = band.step_s * (len(band.values[0]) - 1) / 3600
            share = 100 * (band.quantiles[-1] - band.quantiles[0])
            yield (
                f"  {band.quantity} in {hours:.3g} h: {middle:.4g} {band.unit} "
                f"({share:.0f} %: {low:.4g} to {high:.4g} {band.unit})"
            )
    if forecast.risks:
        yield "  risks: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in sorted(forecast.risks.items()))
    if forecast.attainment is not None:
        yield f"  chance to reach the target {100 * forecast.attainment:.0f} %"
    if forecast.time_to_event_s is not None:
        yield f"  most urgent event in {forecast.time_to_event_s / 60:.0f} min"
    if forecast.decision is not None:
        yield from _decision(forecast.decision)


def _decision(decision: Decision) -> Iterator[str]:
    orders = "; ".join(_order(order) for order in decision.orders) or "no order"
    yield f"Decision {_time(decision.at)}: {decision.outcome}, {decision.chosen} ({orders})"
    yield f"  because {decision.reason}"
    for refusal in decision.refusals:
        yield (
            f"  {refusal.effect} by {refusal.limit}: found {refusal.value:.4g} {refusal.unit}, bound "
            f"{refusal.bound:.4g} {refusal.unit}: {refusal.reason}"
        )
    if decision.evidence:
        yield "  evidence: " + ", ".join(f"{name} {value:.4g}" for name, value in decision.evidence.items())
    for candidate in sorted(decision.candidates, key=lambda item: -item.utility):
        yield "  " + _candidate(candidate, decision.chosen)


def _candidate(candidate: Candidate, chosen: str) -> str:
    mark = "*" if candidate.name == chosen else "-"
    risks = "".join(f", {name} {100 * p:.1f} %" for name, p in sorted(candidate.risks.items()))
    barred = "" if candidate.feasible else ", breaks a chance constraint"
    return (
        f"{mark} {candidate.name}: utility {candidate.utility:.3g}, target {100 * candidate.attainment:.0f} %"
        f"{risks}{barred}"
    )


def _order(order: Order) -> str:
    duration = f" for {order.duration_s / 60:g} min" if order.duration_s else ""
    interval = f" every {order.interval_s / 3600:g} h" if order.interval_s else ""
    return f"{order.kind} {order.drug} {order.amount:g} {order.unit} {order.route}{duration}{interval}"


def _administration(item: Bolus | Infusion | RateChange | MissedDose) -> str:
    command = getattr(item, "command_id", None)
    cause = f", by command {command}" if command else ""
    match item:
        case Bolus():
            return f"{item.drug} {item.amount:g} {item.unit} at once, {item.route}{cause}"
        case Infusion():
            length = f"{item.duration_s / 60:g} min"
            return f"{item.drug} {item.amount:g} {item.unit} over {length}, {item.route}{cause}"
        case RateChange():
            return f"{item.drug} at {item.rate:g} {item.unit} from now, {item.route}{cause}"
        case MissedDose():
            return f"{item.drug} {item.amount:g} {item.unit} missed" + (
                f": {item.reason}" if item.reason else ""
            )


def _time(at: datetime) -> str:
    return at.astimezone(tz=None).strftime("%Y-%m-%d %H:%M:%S%z")
