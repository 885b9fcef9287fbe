"""Times of records: numbers as they are, or dates and clock times as elapsed time of each subject.

NONMEM's rules (Users Guide IV, II.C.2 "Day-time translation"): where there is a date column, or any time
holds a colon, all times are clock times, hh:mm or decimal hours, and become the time since the subject's
first record. A date's name gives its order: DATE month day year, DAT1 day month year, DAT2 year month day,
DAT3 year day month. One component is a day number, two are day and month. Beyond NONMEM: ISO 8601
(2024-01-31T08:30) and other date-times in TIME, seconds, am and pm, date and time cells of a data frame.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.columns import NUMBER, Items
from dosetwin.twins.data.subject import RecordError, Values
from dosetwin.twins.data.table import Column

DateOrder = Literal["mdy", "dmy", "ymd", "ydm"]
ORDERS: dict[str, DateOrder] = {"DATE": "mdy", "DAT1": "dmy", "DAT2": "ymd", "DAT3": "ydm"}
PER_HOUR = {"s": 3600.0, "min": 60.0, "h": 1.0, "d": 1 / 24, "day": 1 / 24, "week": 1 / 168}
"""Of each time unit, how many make an hour."""
LAST_IN_2000S = 50
"""Two-digit years up to this are 20xx, later ones 19xx (our choice; NONMEM's constant is LAST20)."""
NO_YEAR = 2001
"""Stands for the year of dates without one: no leap year, as NONMEM takes it."""
CLOCK = re.compile(r"(-?)(\d+):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))? *([AaPp]\.?[Mm]\.?)?")
ISO = re.compile(r"\d{4}-\d{1,2}-\d{1,2}.*")
STAMP = re.compile(r"(\d+[-/.]\d+[-/.]\d+)(?:[T ]+(.+))?")


def record_times(
    items: Items, blocks: Sequence[npt.NDArray[np.int64]], *, time_unit: str, dates: DateOrder | None
) -> Values:
    """Time of every row in `time_unit`, NaN where it was reported; `blocks`: the rows of each subject."""
    written = [item for item in ORDERS if item in items]
    if len(written) > 1:
        raise RecordError(
            f"{items.table.source}: found date columns {' and '.join(map(items.name, written))}; "
            "expected one",
            remedy="drop or rename one of them",
        )
    cells = items.cells("TIME")
    if not written and not any(_is_clock(cell) for cell in cells):
        time = items.numbers("TIME")
        _report_missing(items, np.isnan(time))
        return time
    if time_unit not in PER_HOUR:
        raise RecordError(
            f"{items.table.source}: found dates or clock times and time unit {time_unit!r}; expected one of "
            f"{', '.join(PER_HOUR)}",
            remedy="choose the unit of the model's parameters",
        )
    if dates is not None and dates not in ORDERS.values():
        raise RecordError(f"found dates={dates!r}; expected one of {', '.join(ORDERS.values())}, or None")
    day, hour = _days_and_hours(items, cells, written[0] if written else "", dates)
    time = np.full(len(items), np.nan)
    for rows in blocks:
        # the difference of days first: it is exact
        time[rows] = (24 * (day[rows] - day[rows[0]]) + (hour[rows] - hour[rows[0]])) * PER_HOUR[time_unit]
    if "TIME" in items:
        _report_missing(items, np.isnan(hour))
    what = " and ".join(items.name(item) for item in (*written, "TIME") if item in items)
    items.notes.append(
        f"{what} read as clock times: time counts in {time_unit} from each subject's first record"
    )
    return time


def intervals(items: Items, time_unit: str) -> Values:
    """II: a number in `time_unit`, or hh:mm."""
    cells = items.cells("II")
    if not any(isinstance(cell, str) and ":" in cell for cell in cells):
        return items.numbers("II")
    values = np.full(len(items), np.nan)
    for k, cell in enumerate(cells):
        if cell is not None:
            values[k] = _clock_hours(str(cell)) * PER_HOUR.get(time_unit, np.nan)
    wrong = np.isnan(values) & np.array([cell is not None for cell in cells])
    items.problems.rows(wrong, items.name("II"), cells, "hours as hh:mm or a number", "correct the cell")
    return values


def _report_missing(items: Items, wrong: npt.NDArray[np.bool_]) -> None:
    name = items.name("TIME")
    items.problems.rows(wrong, name, items.cells("TIME"), "a time", "every record needs one")


def _is_clock(cell: Any) -> bool:
    if isinstance(cell, datetime.date | datetime.time):
        return True
    return isinstance(cell, str) and (":" in cell or STAMP.fullmatch(cell) is not None)


def _days_and_hours(
    items: Items, cells: Column, date_item: str, dates: DateOrder | None
) -> tuple[Values, Values]:
    """Days (since any origin) and hours of the clock, NaN where the cell is missing or was reported."""
    n = len(items)
    day, hour = np.zeros(n), np.full(n, np.nan)
    order = dates or (ORDERS[date_item] if date_item else None)
    zones: set[bool] = set()
    column = items.cells(date_item) if date_item else None
    for k in range(n):
        if column is not None:
            cell = column[k]
            whole = _stamp(cell, order, zones) if "TIME" not in items else None
            found = whole or (_day(cell, order), 0.0)
            day[k] = found[0]
            if np.isnan(day[k]):
                _report_date(items, date_item, k, cell, order)
            if "TIME" not in items:
                hour[k] = found[1]
                continue
        cell = cells[k]
        if cell is None or (isinstance(cell, float) and np.isnan(cell)):
            continue
        stamp = _stamp(cell, order, zones)
        if stamp is not None and column is None:
            day[k], hour[k] = stamp
        else:
            hour[k] = _clock_hours(cell)
        if np.isnan(hour[k]) or (column is None and np.isnan(day[k])):
            advice = '; say the order of a date: dates="dmy"' if not date_item and order is None else ""
            expected = "hh:mm, decimal hours" + ("" if date_item else " or a date-time")
            items.problems.row(k, items.name("TIME"), repr(str(cell)), expected, f"correct the cell{advice}")
    if len(zones) > 1:
        raise RecordError(
            f"{items.table.source}: found date-times with and without a time zone; expected one kind",
            remedy="write all with the zone, or all without",
        )
    return day, hour


def _report_date(items: Items, item: str, k: int, cell: Any, order: str | None) -> None:
    expected = f"a date in the order {order} ({item}), or ISO year-month-day"
    name = items.name(item)
    items.problems.row(
        k, name, repr(str(cell)), expected, 'correct it, or say the order with dates="dmy" or another'
    )


def _stamp(cell: Any, order: str | None, zones: set[bool]) -> tuple[float, float] | None:
    """Day and hours of a date-time; None where the cell is none."""
    if isinstance(cell, str) and ISO.fullmatch(cell):
        with contextlib.suppress(ValueError):
            cell = datetime.datetime.fromisoformat(cell.replace(" ", "T", 1).replace(" ", ""))
    if isinstance(cell, datetime.datetime):
        zones.add(cell.tzinfo is not None)
        at = cell if cell.tzinfo is None else cell.astimezone(datetime.UTC)
        seconds = at.second + at.microsecond / 1e6
        return float(at.toordinal()), at.hour + (60 * at.minute + seconds) / 3600
    if isinstance(cell, datetime.date):
        return float(cell.toordinal()), 0.0
    if isinstance(cell, str) and (match := STAMP.fullmatch(cell)):
        return _day(match[1], order), _clock_hours(match[2]) if match[2] else 0.0
    return None


def _day(cell: Any, order: str | None) -> float:
    """The day number of a date; NaN where it is none."""
    if isinstance(cell, datetime.date):
        return float(cell.toordinal())
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return float("nan")
    text = f"{cell:.0f}" if isinstance(cell, float) and cell == round(cell) else str(cell)
    if re.fullmatch(r"[-+]?\d{1,5}", text):
        return float(text)
    parts = re.split(r"[^0-9]+", text)
    if order is None and re.match(r"\d{4}\D", text):
        order = "ymd"
    if order is None or len(parts) not in (2, 3) or not all(parts):
        return float("nan")
    if len(parts) == 2:
        places = dict(zip(order.replace("y", ""), map(int, parts), strict=True)) | {"y": NO_YEAR}
    else:
        # a year of four digits that comes first is ISO's, whatever the column is called
        iso = len(parts[0]) == 4 and order[0] != "y"
        places = dict(zip("ymd" if iso else order, map(int, parts), strict=True))
        if places["y"] < 100:
            places["y"] += 2000 if places["y"] <= LAST_IN_2000S else 1900
    try:
        return float(datetime.date(places["y"], places["m"], places["d"]).toordinal())
    except ValueError:
        return float("nan")


def _clock_hours(cell: Any) -> float:
    """Hours of hh:mm[:ss][ am|pm] or of a number; NaN where it is none."""
    if isinstance(cell, datetime.time):
        return cell.hour + (60 * cell.minute + cell.second + cell.microsecond / 1e6) / 3600
    text = str(cell)
    if NUMBER.fullmatch(text):
        return float(text.replace("D", "E").replace("d", "e"))
    match = CLOCK.fullmatch(text)
    if not match or int(match[3]) > 59:
        return float("nan")
    hours = float(match[2])
    if match[5]:
        if not 1 <= hours <= 12:
            return float("nan")
        hours = hours % 12 + (12 if match[5][0] in "Pp" else 0)
    # minutes and seconds together: 20 minutes are then 1/3 h to the last bit
    hours += (60 * int(match[3]) + float(match[4] or 0)) / 3600
    return -hours if match[1] else hours
