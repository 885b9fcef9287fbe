"""Which column of a table is which item of a record, and its cells as numbers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.problems import Problems
from dosetwin.twins.data.subject import Codes, RecordError, Values
from dosetwin.twins.data.table import Column, Table

ITEMS = (
    *("ID", "TIME", "AMT", "RATE", "DUR", "EVID", "MDV", "CMT", "DV", "II", "ADDL", "SS"),
    *("CENS", "LIMIT", "LLOQ", "BLQ", "DVID", "OCC", "DATE", "DAT1", "DAT2", "DAT3"),
)
"""What the reader understands: NONMEM's names, Monolix' CENS and LIMIT, and DUR, LLOQ, BLQ, OCC by usage."""
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "ID": ("SUBJECT", "SUBJ", "SUBJECT_ID", "USUBJID", "PATIENT"),
    "TIME": ("DATETIME",),
    "AMT": ("AMOUNT",),
    "DUR": ("TINF",),
    "DV": ("CONC", "Y"),
    "CMT": ("COMPARTMENT",),
    "DVID": ("YTYPE",),
    "OCC": ("OCCASION",),
    "CENS": ("CENSORED",),
    "LLOQ": ("LOQ",),
    "BLQ": ("BQL",),
}
"""Other names, read only where the table lacks the first."""
UNUSED: Mapping[str, str] = {
    "PCMT": "a prediction is made of what the model observes",
    "CALL": "parameters are evaluated at every record",
    "L1": "the observations of a subject are independent, given its parameters",
    "L2": "the observations of a subject are independent, given its parameters",
    "RPT_": "records are not repeated",
}
"""NONMEM's other reserved items that may stand in a table without effect here, and why."""
LARGEST = 2**31
"""Codes and counts beyond this are taken for mistakes."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([EeDd][-+]?\d+)?")
"""A number as NONMEM writes it; D is Fortran's exponent."""


class Items:
    """The items of a table: `columns` renames (theirs -> ours), `categories` turns text into numbers.

    `of`: item -> the column's name in the table. `others`: remaining columns, our name -> the table's.
    """

    def __init__(
        self,
        table: Table,
        problems: Problems,
        *,
        columns: Mapping[str, str] | None,
        categories: Mapping[str, Mapping[str, float]] | None,
        missing: Iterable[str],
        decimal: str,
    ) -> None:
        self.table, self.problems = table, problems
        self.notes: list[str] = []
        self.of: dict[str, str] = {}
        self.others: dict[str, str] = {}
        self.decimal = decimal
        self._parsed: dict[tuple[str, bool], Values] = {}
        self._missing = [float(text) for text in missing if NUMBER.fullmatch(text)]
        renamed = {
            match_name(table.source, table.columns, name, "columns="): ours
            for name, ours in (columns or {}).items()
        }
        ours = {new: written for written, new in renamed.items()}
        self._categories = {}
        for name, codes in (categories or {}).items():
            found = match_name(table.source, (*table.columns, *ours), name, "categories=")
            self._categories[ours.get(found, found)] = codes
        for written in table.columns:
            name = renamed.get(written, written)
            if name.upper() in ITEMS:
                if name.upper() in self.of:
                    raise RecordError(
                        f"{table.source}: found columns {self.of[name.upper()]} and {written} for "
                        f"{name.upper()}; expected one",
                        remedy=f'rename the other one: columns={{"{written}": "OTHER_NAME"}}',
                    )
                self.of[name.upper()] = written
            elif name.upper() in UNUSED:
                self.notes.append(f"column {written} not used: {UNUSED[name.upper()]}")
            elif name in self.others:
                raise RecordError(
                    f"{table.source}: found columns {self.others[name]} and {written} for {name}; "
                    "expected one",
                    remedy="rename one of them to something else",
                )
            else:
                self.others[name] = written
        self._take_synonyms(set(renamed.values()))

    def _take_synonyms(self, wanted: set[str]) -> None:
        by_upper = {name.upper(): name for name in self.others if name not in wanted}
        for item, synonyms in SYNONYMS.items():
            found = [by_upper[name] for name in synonyms if name in by_upper]
            if item in self.of or not found:
                continue
            if len(found) > 1:
                raise RecordError(
                    f"{self.table.source}: found columns {' and '.join(found)}, each of which may be {item}; "
                    "expected one",
                    remedy=f'say which: columns={{"{found[0]}": "{item}"}}',
                )
            self.of[item] = self.others.pop(found[0])
            self.notes.append(f"column {self.of[item]} read as {item}")

    def __contains__(self, item: str) -> bool:
        return item in self.of

    def __len__(self) -> int:
        return len(self.table)

    def name(self, item: str) -> str:
        """The column of an item as written (the item's own name where there is none)."""
        return self.of.get(item, item)

    def coded(self, written: str) -> bool:
        """Whether `categories` turn this column's text into numbers."""
        return written in self._categories

    def cells(self, item: str) -> Column:
        """The cells of an item; all missing where there is no such column."""
        if item not in self.of:
            return np.full(len(self), None, dtype=object)
        return self.table.columns[self.of[item]]

    def numbers(self, item: str) -> Values:
        """An item as numbers, NaN where missing; what is no number is reported."""
        return self.column_numbers(self.of[item]) if item in self.of else np.full(len(self), np.nan)

    def whole(self, item: str, expected: str, default: int = 0) -> Codes:
        """An item as whole numbers, `default` where missing; others are reported."""
        values = self.numbers(item)
        wrong = np.isfinite(values) & ((values != np.round(values)) | (np.abs(values) > LARGEST))
        self.problems.rows(wrong, self.name(item), values, expected, f"write {self.name(item)} as such")
        return np.where(np.isfinite(values) & ~wrong, values, default).astype(np.int64)

    def column_numbers(self, written: str, *, bounds: bool = False) -> Values:
        """The column `written` as numbers; `bounds`: -inf and inf mean no bound and become NaN."""
        if (written, bounds) not in self._parsed:
            self._parsed[written, bounds] = self._parse(written, bounds)
        return self._parsed[written, bounds]

    def _parse(self, written: str, bounds: bool) -> Values:
        column = self.table.columns[written]
        codes = self._categories.get(written)
        if codes is not None:
            column = self._coded(written, column, codes)
        if column.dtype == object:
            values, bad = parse_numbers(column, self.decimal, bounds=bounds)
            if bad.any():
                advice = self._advice(written, column)
                self.problems.rows(bad, written, column, "a number, or . for none", advice)
        else:
            values = column.copy()
        if bounds:
            values[np.isinf(values)] = np.nan
        self.problems.rows(np.isinf(values), written, values, "a finite number", "correct it, or write .")
        values[np.isinf(values)] = np.nan
        for code in self._missing:
            values[values == code] = np.nan
        return values

    def _advice(self, written: str, column: Column) -> str:
        texts = list(dict.fromkeys(str(cell) for cell in column if cell is not None))
        if any(re.fullmatch(r"[-+]?\d*,\d+", text) for text in texts):
            return 'a decimal comma is read with decimal=","'
        if written == self.of.get("DV"):
            return "correct the cell; a value below or above a limit is written <2 or >50"
        if len(texts) <= 10 and not any(NUMBER.fullmatch(text) for text in texts):
            codes = ", ".join(f'"{text}": {k}' for k, text in enumerate(texts))
            return f'code the text: categories={{"{written}": {{{codes}}}}}'
        return 'correct the cell; a mark for missing values is named in missing=(".", "", ...)'

    def _coded(self, written: str, column: Column, codes: Mapping[str, float]) -> Column:
        values = np.full(len(column), np.nan)
        plain, _ = parse_numbers(column, self.decimal) if column.dtype == object else (column, None)
        unknown = np.zeros(len(column), bool)
        for k, cell in enumerate(column):
            if cell is None or (isinstance(cell, float) and np.isnan(cell)):
                continue
            text = f"{cell:g}" if isinstance(cell, float) else str(cell)
            if text in codes:
                values[k] = codes[text]
            elif plain[k] in codes.values():
                values[k] = plain[k]
            else:
                unknown[k] = True
        names = ", ".join(codes)
        self.problems.rows(unknown, written, column, f"one of {names}", f"add it to categories of {written}")
        return values


def match_name(source: str, names: Iterable[str], wanted: str, where: str) -> str:
    """The name among `names` that is `wanted`, else in any case; RecordError names the nearest."""
    names = list(names)
    if wanted in names:
        return wanted
    by_upper = {name.upper(): name for name in names}
    if wanted.upper() in by_upper:
        return by_upper[wanted.upper()]
    near = difflib.get_close_matches(wanted.upper(), by_upper, n=1)
    hint = f"; did you mean {by_upper[near[0]]}?" if near else ""
    raise RecordError(
        f"{source}: found no column {wanted}; expected one of {', '.join(names)}",
        remedy=f"correct {where}{hint}",
    )


def parse_numbers(
    column: Column, decimal: str = ".", *, bounds: bool = False
) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Numbers of a column of text, NaN where missing, and which cells are none."""
    # tables repeat themselves: each text is looked at once
    known: dict[Any, float | None] = {cell: _number(cell, decimal, bounds) for cell in set(column.tolist())}
    found = [known[cell] for cell in column.tolist()]
    bad = np.array([value is None for value in found], bool)
    return np.array([np.nan if value is None else value for value in found], np.float64), bad


def _number(cell: Any, decimal: str, bounds: bool) -> float | None:
    """A cell's number, NaN where missing, None where it is none."""
    if cell is None:
        return float("nan")
    text = str(cell).replace(decimal, ".") if decimal != "." else str(cell)
    if NUMBER.fullmatch(text):
        return float(text.replace("D", "E").replace("d", "e"))
    if bounds and text.lower().lstrip("+-") in ("inf", "infinity"):
        return float("nan")
    return None
