"""Reading NONMEM's data format, from a file or a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dosetwin.twins.data.clock_times import DateOrder, record_times
from dosetwin.twins.data.columns import NUMBER, Items
from dosetwin.twins.data.dosing import dosing
from dosetwin.twins.data.filling import covariate_columns, occasions
from dosetwin.twins.data.frame import to_frame
from dosetwin.twins.data.observing import observing
from dosetwin.twins.data.problems import Problems
from dosetwin.twins.data.subject import (
    BELOW,
    RESET,
    RESET_AND_DOSE,
    Dataset,
    RecordError,
    Subject,
    Values,
)
from dosetwin.twins.data.table import MISSING, read_frame, read_text_table

RepeatedIds = Literal["error", "new", "join"]


def read_nonmem(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    covariates: Sequence[str] | None = None,
    categories: Mapping[str, Mapping[str, float]] | None = None,
    time_unit: str = "h",
    dates: DateOrder | None = None,
    lloq: float | Mapping[int, float] | None = None,
    below_limit: Literal["m3", "m1"] = "m3",
    dose_scale: float = 1.0,
    repeated_ids: RepeatedIds = "error",
    outputs: int | None = None,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    ignore: str = "#",
    missing: Sequence[str] = MISSING,
) -> Dataset:
    """Read records: ID TIME AMT RATE DUR EVID MDV CMT DV II ADDL SS CENS LIMIT LLOQ BLQ DVID OCC, covariates.

    columns: renames, their column -> ours (an item of the format, or any name of a covariate).
    covariates: names to read (default: every other column of numbers); an empty cell takes the subject's
        value before it, else after it.
    categories: text -> number of a column, such as {"SEX": {"M": 1, "F": 0}}.
    time_unit: label of the dataset; dates and clock times are converted to it.
    dates: order of dates ("mdy", "dmy", "ymd", "ydm") where the column's name does not say it (DATE is
        month day year, DAT1 day month year, DAT2 year month day, DAT3 year day month; ISO is always read).
    lloq: limit of quantification, one or by DVID (without DVID: by CMT); values under it are censored.
    below_limit: "m3" keeps values censored below, "m1" leaves those records out.
    dose_scale: factor on AMT and RATE, for another unit of dose.
    repeated_ids: what an ID means that comes back after another one: "error", "new" (as NONMEM: another
        subject, called "ID#2"), "join" (the same subject).
    outputs: how many quantities the model observes, to check DVID.
    names: column names of a file without a header (as in $INPUT). delimiter, decimal: as written, else
        found from the header, and a point. ignore: first characters of comment rows besides #; "@" means any
        letter, as NONMEM's IGNORE=@. missing: cells that mean "none".

    Returns a Dataset whose `notes` say what was left out, filled in or derived. Raises RecordError with every
    problem found (20 shown), each with row, line, column, found, expected and remedy. The rules are in
    docs/data-format.md.
    """
    if below_limit not in ("m3", "m1"):
        raise RecordError(f'found below_limit={below_limit!r}; expected "m3" or "m1"')
    if not (np.isfinite(dose_scale) and dose_scale > 0):
        raise RecordError(f"found dose_scale={dose_scale}; expected a number above 0")
    table = (
        read_frame(source, missing=missing)
        if isinstance(source, pd.DataFrame)
        else read_text_table(Path(source), names=names, delimiter=delimiter, ignore=ignore, missing=missing)
    ).without_flagged()
    problems = Problems(table.source, table.rows, table.lines)
    items = Items(table, problems, columns=columns, categories=categories, missing=missing, decimal=decimal)
    _check_columns(items)
    ids = _ids(items)
    problems.subjects = ids
    blocks = _blocks(items, ids, repeated_ids)
    time = record_times(items, [rows for _, rows in blocks], time_unit=time_unit, dates=dates)
    doses = dosing(items, time_unit=time_unit, dose_scale=dose_scale)
    values = observing(items, doses.evid, doses.compartment, lloq=lloq, outputs=outputs)
    occasion = occasions(items, [rows for _, rows in blocks])
    others = covariate_columns(items, covariates, [rows for _, rows in blocks])
    _check_order(items, time, doses.evid, [rows for _, rows in blocks])
    problems.raise_if_any()

    dropped = (values.censored == BELOW) if below_limit == "m1" else np.zeros(len(table), bool)
    if below_limit == "m1":
        items.notes.append(f"{int(dropped.sum())} observations below the limit left out (M1)")
    row = np.array(table.rows, np.int64)
    subjects = []
    for name, block in blocks:
        rows = block[~dropped[block]]
        if not len(rows):
            items.notes.append(f"subject {name} left out: nothing of it remains")
            continue
        subjects.append(
            Subject(
                id=name,
                time=time[rows],
                evid=doses.evid[rows],
                amount=doses.amount[rows],
                rate=doses.rate[rows],
                duration=doses.duration[rows],
                compartment=doses.compartment[rows],
                dv=values.dv[rows],
                censored=values.censored[rows],
                lower=values.lower[rows],
                steady_state=doses.steady_state[rows],
                interval=doses.interval[rows],
                additional=doses.additional[rows],
                output=values.output[rows],
                occasion=occasion[rows],
                row=row[rows],
                covariates=MappingProxyType({key: column[rows] for key, column in others.items()}),
            )
        )
    return Dataset(tuple(subjects), time_unit, table.source, (*table.notes, *items.notes))


def _check_columns(items: Items) -> None:
    source = items.table.source
    written = ", ".join(items.table.columns)
    lacking = [item for item in ("ID", "TIME") if item not in items]
    if "TIME" in lacking and any(item in items for item in ("DATE", "DAT1", "DAT2", "DAT3")):
        lacking.remove("TIME")
    if not {"AMT", "DV"} & set(items.of):
        lacking.append("AMT or DV")
    if lacking:
        raise RecordError(
            f"{source}: found columns {written}; expected also {', '.join(lacking)}",
            remedy=f'rename what stands for it: columns={{"their name": "{lacking[0].split()[0]}"}}; '
            "a file without a header needs names=(...)",
        )
    for item, meaning in (("AMT", "doses"), ("DV", "observations, only prediction points")):
        if item not in items:
            items.notes.append(f"no column {item}: no {meaning}")
    continued = items.others.pop("CONT", None)
    if continued is not None and np.nan_to_num(items.column_numbers(continued)).any():
        raise RecordError(
            f"{source}: found records that go over several rows (CONT); expected one row a record",
            remedy="write each record in one row",
        )


def _ids(items: Items) -> list[str]:
    name = items.name("ID")
    cells = items.cells("ID")
    ids = []
    for k, cell in enumerate(cells):
        if cell is None or (isinstance(cell, float) and np.isnan(cell)):
            items.problems.row(k, name, "nothing", "an identifier in every row", "write the subject's ID")
            ids.append("")
        elif isinstance(cell, float):
            ids.append(f"{cell:.0f}" if cell == round(cell) else repr(float(cell)))
        else:
            text = str(cell)
            # NONMEM's own tables write 1.0000E+00 for subject 1; 007 and 1A stay what they are
            number = items.table.lines is not None and NUMBER.fullmatch(text) and not text.isdigit()
            whole = number and float(text.upper().replace("D", "E"))
            ids.append(f"{whole:.0f}" if number and whole == round(float(whole or 0)) else text)
    return ids


def _blocks(
    items: Items, ids: Sequence[str], repeated: RepeatedIds
) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Name and rows of each subject, in the order of the file."""
    if repeated not in ("error", "new", "join"):
        raise RecordError(f'found repeated_ids={repeated!r}; expected "error", "new" or "join"')
    labels = np.array(ids, dtype=object)
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    runs = np.split(np.arange(len(ids)), starts[1:])
    seen: dict[str, list[npt.NDArray[np.int64]]] = {}
    blocks: list[tuple[str, npt.NDArray[np.int64]]] = []
    for rows in runs:
        name = ids[rows[0]]
        earlier = seen.setdefault(name, [])
        if earlier and name and repeated == "error":
            items.problems.row(
                int(rows[0]),
                items.name("ID"),
                f"{name} again, after other subjects",
                "the rows of a subject together",
                'sort the table, or say what it means: repeated_ids="new" (another subject, as in NONMEM) or '
                '"join" (the same one)',
            )
        earlier.append(rows)
        blocks.append((name if len(earlier) == 1 else f"{name}#{len(earlier)}", rows))
    again = len(blocks) - len(seen)
    if repeated == "join":
        blocks = [(name, np.concatenate(parts)) for name, parts in seen.items()]
    if again and repeated != "error":
        what = "read as new subjects, named ID#2 and so on" if repeated == "new" else "joined"
        items.notes.append(f"{again} runs of rows with an ID that was there before {what}")
    if len({name for name, _ in blocks}) != len(blocks):
        raise RecordError(
            f"{items.table.source}: found an ID that ends in #2 beside a repeated ID; expected other names",
            remedy="rename it",
        )
    return blocks


def _check_order(
    items: Items, time: Values, evid: npt.NDArray[np.int64], blocks: Sequence[npt.NDArray[np.int64]]
) -> None:
    back = np.zeros(len(time), bool)
    before = np.full(len(time), np.nan)
    for rows in blocks:
        before[rows[1:]] = time[rows[:-1]]
    back = (time < before) & ~np.isin(evid, (RESET, RESET_AND_DOSE))
    for k in np.flatnonzero(back):
        items.problems.row(
            int(k),
            items.name("TIME"),
            f"{time[k]:g} after {before[k]:g}",
            "a time not before the record above",
            "sort the subject's rows by time; a new period needs EVID=3 or 4, a new subject another ID; "
            "clock times past midnight need a date, or hours above 24",
        )


__all__ = ["read_nonmem", "to_frame"]
