"""A table as written: a delimited text file or a data frame, as columns of cells with their line numbers."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dosetwin.twins.data.problems import Problems
from dosetwin.twins.data.subject import RecordError

Column = npt.NDArray[Any]
"""Cells: float64 with NaN where missing, or objects (text, a date or time) with None where missing."""
MISSING = (".", "", "NA", "NaN", "nan", "N/A", "<NA>")
"""Cells that mean "nothing here"."""
TABLE_LINE = re.compile(r"TABLE +NO")
"""Begins the files that NONMEM's $TABLE writes."""
DROPPED = ("DROP", "SKIP")
"""Names of columns that are not to be read, as in $INPUT."""


@dataclass(frozen=True)
class Table:
    """Columns by their name as written.

    `rows`: each row's number, 1-based, without header, comments and empty rows; `lines`: its line in the
    file (None: a data frame).
    """

    source: str
    columns: dict[str, Column]
    rows: tuple[int, ...]
    lines: tuple[int, ...] | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def without_flagged(self) -> Table:
        """Without the rows whose column C holds a mark (C, #, @), and without that column."""
        name = next((name for name in self.columns if name.upper() == "C"), None)
        if name is None or self.columns[name].dtype != object:
            return self
        flags = [cell is not None for cell in self.columns[name]]
        if not {str(cell).upper() for cell in self.columns[name] if cell is not None} <= {"C", "#", "@"}:
            return self
        kept = ~np.array(flags)
        if not kept.any():
            raise RecordError(f"{self.source}: found only rows that column {name} marks as comments")
        return Table(
            self.source,
            {other: column[kept] for other, column in self.columns.items() if other != name},
            tuple(row for row, flag in zip(self.rows, flags, strict=True) if not flag),
            self.lines and tuple(line for line, flag in zip(self.lines, flags, strict=True) if not flag),
            (*self.notes, f"{sum(flags)} rows left out that column {name} marks as comments"),
        )


def read_text_table(
    path: Path,
    *,
    names: Sequence[str] | None,
    delimiter: str | None,
    ignore: str,
    missing: Sequence[str],
) -> Table:
    """The table in a text file; comma, semicolon, tab or blanks between cells, by its header.

    Left out, and noted: rows that begin with # or one of the characters of `ignore` ("@" also means any
    letter, as NONMEM's IGNORE=@), repeated headers, TABLE lines, rows without any cell. `names` gives the
    columns of a file that has no header. Raises RecordError.
    """
    source = path.name
    kept: list[str] = []
    lines: list[int] = []
    comments = repeated = 0
    header: str | None = None
    for number, line in enumerate(_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        bare = line.strip()
        if not bare:
            continue
        if header is None and names is None:
            # a header may itself be marked as a comment for NONMEM: "#ID,TIME,..."
            unmarked = bare.lstrip("#").strip()
            words = {word.strip("\"' ").upper() for word in re.split(r"[,;\s]+", unmarked)}
            if bare.startswith("#") and not {"ID", "TIME"} <= words:
                comments += 1
            elif not TABLE_LINE.match(bare):
                header = line.replace("#", "", 1) if bare.startswith("#") else line
            continue
        if header is not None and line == header:
            repeated += 1
        elif bare[0] in f"#{ignore}" or ("@" in ignore and bare[0].isalpha()) or TABLE_LINE.match(bare):
            comments += 1
        else:
            kept.append(line)
            lines.append(number)
    if header is None and names is None:
        raise RecordError(
            f"{source}: found an empty file; expected a header and rows", remedy="check the path"
        )
    mark = delimiter or _delimiter(header if header is not None else "\n".join(kept[:1]))
    written = list(names) if names is not None else _split([header or ""], mark)[0]
    while written and not written[-1]:
        written.pop()
    _check_header(source, [name for name in written if name.upper() not in DROPPED], given=names is not None)
    cells = _split(kept, mark)
    rows: list[list[str]] = []
    numbers: list[int] = []
    ragged: list[int] = []
    empty = 0
    blank = set(missing)
    if len(cells) != len(kept):
        raise RecordError(
            f"{source}: found a quoted cell that goes over several lines; expected one line a row",
            remedy="remove line breaks within cells",
        )
    for k, row in enumerate(cells):
        if all(cell in blank for cell in row):
            empty += 1
            continue
        while len(row) > len(written) and row[-1] == "":
            row.pop()
        if len(row) != len(written):
            ragged.append(len(rows))
        rows.append(row)
        numbers.append(lines[k])
    problems = Problems(source, range(1, len(rows) + 1), numbers)
    for k in ragged:
        problems.row(k, "", f"{len(rows[k])} cells", f"{len(written)}, as the header has", "write . for none")
    problems.raise_if_any()
    if not rows:
        raise RecordError(
            f"{source}: found no data rows ({comments} comment rows); expected at least one",
            remedy="check the path, and `ignore`: it leaves out rows by their first character",
        )
    columns: dict[str, Column] = {}
    for name, column in zip(written, zip(*rows, strict=True), strict=True):
        if name.upper() in DROPPED:
            continue
        columns[name] = np.array([None if cell in blank else cell for cell in column], dtype=object)
    skipped = len(written) - len(columns)
    notes = [
        f"{count} {what} left out"
        for count, what in (
            (comments, "comment rows"),
            (repeated, "repeated headers"),
            (empty, "empty rows"),
            (skipped, "DROP columns"),
        )
        if count
    ]
    return Table(source, columns, tuple(range(1, len(rows) + 1)), tuple(numbers), tuple(notes))


def read_frame(frame: pd.DataFrame, *, missing: Sequence[str]) -> Table:
    """The table of a data frame; a row is known by its place, whatever the index. Raises RecordError."""
    source = "data frame"
    if not len(frame) or not len(frame.columns):
        raise RecordError(f"{source}: found no rows; expected at least one", remedy="check how it was made")
    written = [str(name).strip() for name in frame.columns]
    _check_header(source, written, given=True)
    blank = set(missing)
    columns = {name: _cells(frame.iloc[:, k], blank) for k, name in enumerate(written)}
    return Table(source, columns, tuple(range(1, len(frame) + 1)), None, ())


def _cells(series: pd.Series[Any], blank: set[str]) -> Column:
    if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_complex_dtype(series.dtype):
        return series.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    objects = series.tolist()
    if all(cell is None or cell is pd.NA or isinstance(cell, int | float) for cell in objects):
        return np.array([np.nan if cell is None or cell is pd.NA else cell for cell in objects], np.float64)
    cells: list[Any] = []
    for cell in objects:
        if cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell)):
            cells.append(None)
        elif isinstance(cell, datetime.date | datetime.time):
            cells.append(cell)
        else:
            text = str(cell).strip()
            cells.append(None if text in blank else text)
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}", remedy="check the path") from error
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{path.name}: found byte {error.object[error.start]:#04x} at {error.start}; expected UTF-8 text",
            remedy="save the file as CSV with encoding UTF-8 (a spreadsheet itself cannot be read)",
        ) from error


def _delimiter(header: str) -> str:
    counts = {mark: header.count(mark) for mark in (",", ";", "\t")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else " "


def _split(lines: Sequence[str], mark: str) -> list[list[str]]:
    if mark.isspace() and mark != "\t":
        return [[cell.strip("\"'") for cell in line.split()] for line in lines]
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark)]


def _check_header(source: str, names: Sequence[str], *, given: bool) -> None:
    if not given and all(re.fullmatch(r"[-+.\dEe]*", name) for name in names):
        raise RecordError(
            f"{source}: found no header, but {', '.join(names[:5])}; expected column names first",
            remedy='give names=("ID", "TIME", ...), the columns in order as in $INPUT',
        )
    seen: dict[str, str] = {}
    for name in names:
        if name and name.upper() in seen:
            raise RecordError(
                f"{source}: found column {name} beside column {seen[name.upper()]}; expected each name once "
                "(upper and lower case are the same)",
                remedy="rename or drop one of them in the table",
            )
        seen[name.upper()] = name
