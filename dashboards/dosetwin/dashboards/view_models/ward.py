"""The ward as columns for one canvas: whole at first, then only the rows that changed."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from dosetwin.dashboards.presentation import scale_of, shown_unit, therapy_view
from dosetwin.dashboards.snapshot import MODES, SPARK_POINTS, Snapshot, WardColumns

COLUMNS: dict[str, str] = {
    "value": "f4",
    "value_at_s": "f8",
    "trend": "i1",
    "time_to_event_s": "f4",
    "attainment": "f4",
    "mode": "u1",
    "therapy": "u1",
    "ward": "u1",
    "target_low": "f4",
    "target_high": "f4",
    "stale_after_s": "f4",
    "high": "u2",
    "medium": "u2",
    "low": "u2",
    "waiting": "u2",
}
"""Columns that travel, with their little-endian type; the browser decodes them by the same table."""


def whole(snapshot: Snapshot) -> dict[str, Any]:
    """The whole ward."""
    ward = snapshot.ward
    return {
        "ids": ward.ids,
        "therapies": [_therapy(each) for each in ward.therapies],
        "wards": ward.wards,
        "modes": MODES,
        "spark_points": SPARK_POINTS,
        "columns": _columns(ward, np.arange(len(ward))),
        "spark": _base64(ward.spark),
        "order": _base64(np.asarray(snapshot.order, "<u2")),
    }


def changes(snapshot: Snapshot, before: Snapshot) -> dict[str, Any] | None:
    """What to change in a browser that shows `before`; None where it must be sent whole.

    `new` counts each changed row's new spark points; `points` are those points, row after row.
    """
    ward, old = snapshot.ward, before.ward
    if ward.ids != old.ids or ward.therapies != old.therapies or ward.wards != old.wards:
        return None
    changed = ward.spark_count != old.spark_count
    for name in COLUMNS:
        now, then = getattr(ward, name), getattr(old, name)
        same = now == then
        if now.dtype.kind == "f":
            same |= np.isnan(now) & np.isnan(then)
        changed |= ~same
    rows = np.flatnonzero(changed)
    new = np.clip(ward.spark_count[rows] - old.spark_count[rows], 0, SPARK_POINTS)
    restarted = ward.spark_count[rows] < old.spark_count[rows]
    new = np.where(restarted, SPARK_POINTS, new).astype(np.uint8)
    points = [ward.spark[row, SPARK_POINTS - n :] for row, n in zip(rows, new, strict=True) if n]
    message: dict[str, Any] = {
        "rows": _base64(rows.astype("<u2")),
        "columns": _columns(ward, rows),
        "new": _base64(new),
        "points": _base64(np.concatenate(points) if points else np.empty(0, np.uint8)),
    }
    if snapshot.order != before.order:
        message["order"] = _base64(np.asarray(snapshot.order, "<u2"))
    return message


def _columns(ward: WardColumns, rows: npt.NDArray[np.int64]) -> dict[str, str]:
    return {
        name: _base64(getattr(ward, name)[rows].astype("<" + kind if kind[1] != "1" else kind))
        for name, kind in COLUMNS.items()
    }


def _base64(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _therapy(therapy_id: str) -> dict[str, Any]:
    view = therapy_view(therapy_id)
    scale = scale_of(view.quantity)
    return {
        "id": therapy_id,
        "title": view.title,
        "quantity": scale.title,
        "unit": shown_unit(scale.unit),
        "low": scale.low,
        "high": scale.high,
        "decimals": scale.decimals,
        "sparse": view.sparse,
    }
