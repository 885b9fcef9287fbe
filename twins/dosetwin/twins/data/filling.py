"""Covariates and occasions of records: which columns, and what holds where a cell is empty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.columns import Items, match_name, parse_numbers
from dosetwin.twins.data.subject import Codes, RecordError, Values

Blocks = Sequence[npt.NDArray[np.int64]]


def covariate_columns(items: Items, wanted: Sequence[str] | None, blocks: Blocks) -> dict[str, Values]:
    """The covariates by name, filled within subjects.

    `wanted` None: every other column that holds numbers; a column of text, an empty one and one whose name
    Python cannot write are left out and noted. A subject that never gets a value is reported.
    """
    chosen = _all_numeric(items) if wanted is None else _named(items, wanted)
    columns = {}
    for name, written in chosen.items():
        values = items.column_numbers(written)
        missing = np.isnan(values)
        columns[name] = filled = carried(values, blocks)
        never = np.isnan(filled)
        for rows in blocks:
            if never[rows[0]]:
                items.problems.row(
                    int(rows[0]),
                    written,
                    "nothing in any row of this subject",
                    "a value at least once in each subject",
                    "write the value; or name the covariates that you need: covariates=(...)",
                )
        if missing.any() and not never.any():
            items.notes.append(
                f"{written}: {int(missing.sum())} empty cells take the value before (else after)"
            )
    return columns


def occasions(items: Items, blocks: Blocks) -> Codes:
    """OCC, filled within subjects like a covariate; 1 where the table has none."""
    if "OCC" not in items:
        return np.ones(len(items), np.int64)
    items.whole("OCC", "a whole number")
    values = carried(items.numbers("OCC"), blocks)
    items.problems.rows(
        np.isnan(values), items.name("OCC"), values, "an occasion at least once in each subject", "write it"
    )
    return np.nan_to_num(values, nan=1.0).astype(np.int64)


def carried(values: Values, blocks: Blocks) -> Values:
    """Each subject's last value carried forward, its first backward; NaN in a subject without any."""
    filled = values.copy()
    for rows in blocks:
        given = np.flatnonzero(np.isfinite(values[rows]))
        if 0 < len(given) < len(rows):
            before = np.searchsorted(given, np.arange(len(rows)), side="right") - 1
            filled[rows] = values[rows][given[np.maximum(before, 0)]]
    return filled


def _all_numeric(items: Items) -> dict[str, str]:
    chosen = {}
    for name, written in items.others.items():
        column = items.table.columns[written]
        coded = items.coded(written)
        if column.dtype == object and not coded:
            given = np.array([cell is not None for cell in column])
            _, bad = parse_numbers(column, items.decimal)
            if not given.any():
                items.notes.append(f"column {written} left out: it is empty")
                continue
            if bad[given].all():
                texts = list(dict.fromkeys(str(cell) for cell in column if cell is not None))
                example = ", ".join(f'"{text}": {k}' for k, text in enumerate(texts[:3]))
                items.notes.append(
                    f"column {written} left out: it holds text; to use it, code it: "
                    f'categories={{"{written}": {{{example}{", ..." if len(texts) > 3 else ""}}}}}'
                )
                continue
        elif column.dtype != object and np.isnan(column).all():
            items.notes.append(f"column {written} left out: it is empty")
            continue
        if not name.isidentifier():
            items.notes.append(
                f'column "{written}" left out: its name has signs or blanks; rename by columns='
            )
            continue
        chosen[name] = written
    return chosen


def _named(items: Items, wanted: Sequence[str]) -> dict[str, str]:
    if isinstance(wanted, str):
        raise RecordError(f'found covariates="{wanted}"; expected a sequence', remedy=f'write ("{wanted}",)')
    chosen = {}
    for name in wanted:
        if not name.isidentifier():
            raise RecordError(
                f"found covariate {name!r}; expected a name that Python can write",
                remedy=f'rename it: columns={{"{name}": "..."}}',
            )
        available = {**items.others, **{written: written for written in items.of.values()}}
        chosen[name] = available[match_name(items.table.source, available, name, "covariates=")]
    return chosen
