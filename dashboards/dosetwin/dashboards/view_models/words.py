"""Numbers and times as the words a person reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from dosetwin.dashboards.presentation import words

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0


def duration(seconds: float | None) -> str:
    """`42 s`, `7 min`, `2 h 5 min`, `3 d`; `unknown` for None, NaN or infinity."""
    if seconds is None or not math.isfinite(seconds):
        return "unknown"
    seconds = abs(seconds)
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s" if round(seconds) < MINUTE_S else "1 min"
    if seconds < HOUR_S:
        minutes = round(seconds / MINUTE_S)
        return f"{minutes} min" if minutes < 60 else "1 h"
    if seconds < 2 * DAY_S:
        hours, minutes = divmod(round(seconds / MINUTE_S), 60)
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    return f"{seconds / DAY_S:.0f} d"


def ago(seconds: float | None) -> str:
    """`just now`, `7 min ago`, `in 20 s`, `unknown`."""
    if seconds is None or not math.isfinite(seconds):
        return "unknown"
    if seconds <= -1.5:
        return f"in {duration(seconds)}"
    return "just now" if seconds < 1.5 else f"{duration(seconds)} ago"


def number(value: float | None, decimals: int | None = None) -> str:
    """A number with as many decimals as it deserves: given, or three significant digits."""
    if value is None or not math.isfinite(value):
        return "–"
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 100 or size == round(size) else 1 if size >= 10 else 2
    text = f"{value:.{decimals}f}"
    return "0" if text in ("-0", "-0.0", "-0.00") else text


def clock(at: datetime | float | None) -> str:
    """`14:05:09` of an event time, UTC."""
    if at is None:
        return "–"
    from dosetwin.platform.clock import instant

    moment = at if isinstance(at, datetime) else instant(at)
    return moment.strftime("%H:%M:%S")


def per_cent(share: float | None) -> str:
    """A probability as per cent: `<1 %`, `37 %`, `>99 %`."""
    if share is None or not math.isfinite(share):
        return "–"
    if 0.0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1.0 else f"{100 * share:.0f} %"


def short_id(patient: str) -> str:
    """The first eight characters of a pseudonym, enough to tell beds apart on a screen."""
    return patient[:8]


SUFFIXES = {
    "_mg_dL": "mg/dL",
    "_mg_L": "mg/L",
    "_ng_mL": "ng/mL",
    "_U_per_h": "U/h",
    "_mg_h_L": "mg.h/L",
    "_records": "records",
    "_mg": "mg",
    "_U": "U",
    "_g": "g",
    "_s": "s",
    "_h": "h",
}
"""Ends of evidence names that say a unit, longest first."""


def evidence_words(evidence: Mapping[str, float]) -> list[tuple[str, str]]:
    """Numbers that led to a decision or an alert: their names in words, values with the unit in the name."""
    found = []
    for name, value in sorted(evidence.items()):
        suffix = next((each for each in SUFFIXES if name.endswith(each)), "")
        stem = name.removesuffix(suffix)
        chance = "probability" in name or "risk" in name or name.startswith(("below_", "above_"))
        if suffix == "_s" and value > 1e9:
            found.append((words(stem), clock(value)))
        elif not suffix and chance and 0.0 <= value <= 1.0:
            found.append((words(stem), per_cent(value)))
        else:
            found.append((words(stem), f"{number(value)} {SUFFIXES[suffix]}" if suffix else number(value)))
    return found
