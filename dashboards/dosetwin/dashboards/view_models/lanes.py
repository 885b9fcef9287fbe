"""The lanes of the patient page: each a quantity, or doses, on the one time axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dosetwin.dashboards.presentation import TherapyView, scale_of, shown_unit, words
from dosetwin.dashboards.snapshot import PatientRecord
from dosetwin.dashboards.units import converted
from dosetwin.dashboards.view_models.orders import administration_words, order_words
from dosetwin.platform.contracts import Band, Bolus, Forecast, Infusion, MissedDose, RateChange

VITALS = ("heart_rate", "systolic_pressure", "diastolic_pressure", "spo2")
POINTS = 400
"""Most points of a line that travel; of more, every k-th is sent and the newest always."""


def lanes(
    record: PatientRecord,
    view: TherapyView,
    forecast: Forecast | None,
    since_s: float,
    strip: tuple[float, float] | None,
) -> list[dict[str, Any]]:
    """Measured value, concentrations, doses, amounts on board, vital signs, and the three together."""
    bands = {band.quantity: band for band in forecast.bands} if forecast is not None else {}
    result = [quantity_lane(record, view.quantity, bands.get(view.quantity), since_s, strip)]
    others = sorted({*bands, *record.posterior} - {view.quantity})
    result += [quantity_lane(record, name, bands.get(name), since_s, None) for name in others]
    dosage = dosage_lane(record, view, forecast, since_s)
    result.append(dosage)
    for name, series in sorted(record.amounts.items()):
        if not series.rows[:, 1:].any():
            continue
        unit = record.units.get(name, "")
        result.append(
            {
                "key": name,
                "kind": "amount",
                "title": words(name),
                "unit": shown_unit(unit),
                "posterior": _rows(series.since(since_s)),
                "span": [0, 1],
            }
        )
    vitals = [
        {
            "name": scale_of(name).title,
            "unit": shown_unit(scale_of(name).unit),
            "points": _rows(record.readings[name].since(since_s)[:, :2]),
        }
        for name in VITALS
        if name in record.readings
    ]
    if vitals:
        result.append({"key": "vitals", "kind": "vitals", "title": "Heart rate and blood pressure",
                       "unit": "/min, mmHg", "series": vitals, "span": [50, 140]})  # fmt: skip
    concentration = next((lane for lane in result[1:] if lane["kind"] == "quantity"), result[0])
    result.append(
        {
            "key": "combined",
            "kind": "combined",
            "title": "Together: concentration, heart rate, dosage",
            "unit": "each on its own scale",
            "of": [concentration["key"], "vitals", "dosage"],
            "span": [0, 1],
        }
    )
    return result


def quantity_lane(
    record: PatientRecord,
    quantity: str,
    band: Band | None,
    since_s: float,
    strip: tuple[float, float] | None,
) -> dict[str, Any]:
    """A quantity: measured points, where the posterior stood, the forecast's band from now on."""
    scale = scale_of(quantity, record.units.get(quantity, ""))
    readings = record.readings.get(quantity)
    posterior = record.posterior.get(quantity)
    return {
        "key": quantity,
        "kind": "quantity",
        "title": scale.title,
        "unit": shown_unit(scale.unit),
        "decimals": scale.decimals,
        "span": [scale.low, scale.high],
        "strip": list(strip) if strip is not None else None,
        "points": _rows(readings.since(since_s)) if readings is not None else [],
        "posterior": _rows(posterior.since(since_s)) if posterior is not None else [],
        "band": _band(band),
    }


def dosage_lane(
    record: PatientRecord, view: TherapyView, forecast: Forecast | None, since_s: float
) -> dict[str, Any]:
    """What was given (solid) and what decisions ordered or would have (dashed), the future included."""
    rates: list[list[float]] = []
    stems: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    for given in record.doses:
        each = given.administration
        at_s = each.at.timestamp()
        text = f"{administration_words(each)} ({given.device})"
        wanted = f"{view.drug_unit}/h" if isinstance(each, RateChange) else view.drug_unit
        given_as = each.rate if isinstance(each, RateChange) else each.amount
        amount = converted(view.drug, given_as, each.unit, wanted) if each.drug == view.drug else None
        if amount is None:
            continue
        match each:
            case RateChange():
                rates.append([round(at_s, 1), amount])
            case Bolus() | MissedDose():
                missed = isinstance(each, MissedDose)
                stems.append({"t": at_s, "amount": amount, "text": text, "missed": missed})
            case Infusion(duration_s=duration_s):
                rate = amount / duration_s * 3600.0
                blocks.append({"t": at_s, "end": at_s + duration_s, "rate": rate, "text": text})
    rates.sort(key=lambda row: row[0])
    before = [row for row in rates if row[0] < since_s]
    rates = ([[since_s, before[-1][1]]] if before else []) + [row for row in rates if row[0] >= since_s]
    return {
        "key": "dosage",
        "kind": "dosage",
        "title": "Doses: given and predicted",
        "unit": f"{shown_unit(view.drug_unit)}/h, {shown_unit(view.drug_unit)}",
        "span": [0, 1],
        "rates": rates[-POINTS:],
        "stems": [stem for stem in stems if stem["t"] >= since_s],
        "blocks": [block for block in blocks if block["end"] >= since_s],
        "plans": _plans(record, view, since_s),
        "next": _next(forecast),
    }


def _plans(record: PatientRecord, view: TherapyView, since_s: float) -> list[dict[str, Any]]:
    """What decisions ordered, or would have, in canonical units; the newest is what is predicted."""
    found = []
    for plan in record.plans:
        wanted = f"{view.drug_unit}/h" if plan.kind == "rate" else view.drug_unit
        amount = converted(view.drug, plan.amount, plan.unit, wanted)
        if amount is not None and plan.at_s >= since_s:
            end_s = plan.at_s + plan.duration_s
            found.append(
                {"t": plan.at_s, "kind": plan.kind, "amount": amount, "end": end_s, "every": plan.interval_s,
                 "unit": shown_unit(wanted), "outcome": plan.outcome}
            )  # fmt: skip
    return found


def _next(forecast: Forecast | None) -> list[dict[str, Any]]:
    """The orders of the newest decision, in words: what is predicted to be given from now on."""
    if forecast is None or forecast.decision is None:
        return []
    decision = forecast.decision
    return [
        {"t": decision.at.timestamp(), "text": order_words(order), "outcome": decision.outcome}
        for order in decision.orders
    ]


def _band(band: Band | None) -> dict[str, Any] | None:
    if band is None or not band.values:
        return None
    return {
        "start": band.start.timestamp(),
        "step": band.step_s,
        "quantiles": list(band.quantiles),
        "values": [[round(value, 3) for value in row] for row in band.values],
    }


def _rows(rows: npt.NDArray[np.float64]) -> list[list[float]]:
    step = -(-len(rows) // POINTS) if len(rows) else 1
    thin = rows[::-1][::step][::-1]
    return np.round(thin, 3).tolist()  # type: ignore[no-any-return]  # nested lists of floats
