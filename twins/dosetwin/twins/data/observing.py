"""The observation items of records: DV, MDV, DVID, and censoring by CENS, LIMIT, BLQ, LLOQ.

CENS and LIMIT as in Monolix and nlmixr2: CENS=1, the true value is below DV and not below LIMIT (where
given); CENS=-1, above DV (and not above LIMIT). Method M3 keeps such values as what they tell, M1 leaves
those below out (Beal 2001, J Pharmacokinet Pharmacodyn 28:481).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.columns import NUMBER, Items
from dosetwin.twins.data.subject import ABOVE, BELOW, MEASURED, OBSERVATION, Codes, RecordError, Values

Mask = npt.NDArray[np.bool_]


class Observing(NamedTuple):
    """One entry a row, as in `Subject`."""

    dv: Values
    censored: Codes
    lower: Values
    output: Codes


def observing(
    items: Items,
    evid: Codes,
    compartment: Codes,
    *,
    lloq: float | Mapping[int, float] | None,
    outputs: int | None,
) -> Observing:
    """Read and check the observation items; contradictions are reported to `items.problems`."""
    is_observation = evid == OBSERVATION
    output = _outputs(items, is_observation, outputs)
    marks, dv = _values(items)
    kept = _kept(items, evid, is_observation, dv, items.numbers("BLQ") == 1)
    limit = _limits(items, lloq, np.where(output > 0, output, compartment))
    flag, dv = _flags(items, kept, marks, dv, limit)
    dv = np.where(kept, dv, np.nan)
    if lloq is not None or not ({"CENS", "BLQ"} & set(items.of)):
        low = kept & (flag == 0) & (dv < limit)
        if low.any():
            items.notes.append(f"{int(low.sum())} values under the limit of quantification read as below it")
        dv, flag = np.where(low, limit, dv), np.where(low, 1, flag)
    dv, flag, lower = _bounds(items, kept, flag, dv)
    zero = (flag == 1) & (dv == 0)
    if zero.any():
        items.notes.append(f"{int(zero.sum())} values are censored below 0: DV holds the limit where CENS=1")
    censored = np.where(flag == 1, BELOW, np.where(flag == -1, ABOVE, MEASURED))
    return Observing(dv, censored.astype(np.int64), lower, np.where(is_observation, output, 0))


def _outputs(items: Items, is_observation: Mask, outputs: int | None) -> Codes:
    written = items.numbers("DVID")
    output = items.whole("DVID", "a whole number: the place of the observed quantity in the model")
    name = items.name("DVID")
    items.problems.rows(
        is_observation & (np.isfinite(written)) & (written < 1),
        name,
        written,
        "1 or more: the place of the observed quantity in the model",
        f'count from 1, or rename the column: columns={{"{name}": "OTHER"}}',
    )
    if outputs is not None:
        items.problems.rows(
            is_observation & (output > outputs),
            name,
            written,
            f"at most {outputs}: the model observes {outputs}",
            "leave those records out, or use a model that observes it",
        )
    return output


def _values(items: Items) -> tuple[Codes, Values]:
    """DV, and 1 where it was written "<x", -1 where ">x"."""
    marks = np.zeros(len(items), np.int64)
    column = items.cells("DV")
    if column.dtype == object and "DV" in items:
        plain = column.copy()
        for k, cell in enumerate(column):
            if isinstance(cell, str) and cell[:1] in "<>" and NUMBER.fullmatch(cell[1:].strip()):
                marks[k] = 1 if cell[0] == "<" else -1
                plain[k] = cell[1:].strip()
        items.table.columns[items.of["DV"]] = plain
        if marks.any():
            items.notes.append(f"{int(np.abs(marks).sum())} values written with < or > read as censored")
    return marks, items.numbers("DV")


def _kept(items: Items, evid: Codes, is_observation: Mask, dv: Values, below: Mask) -> Mask:
    """Which rows hold an observation to be used; the others are reported or noted."""
    present = np.isfinite(dv)
    mdv = items.numbers("MDV")
    told = present | below | (np.nan_to_num(items.numbers("CENS")) != 0)
    name = items.name("MDV")
    expected = "0 (DV is an observation) or 1 (it is none)"
    items.problems.rows(
        np.isfinite(mdv) & ~np.isin(mdv, (0, 1)), name, mdv, expected, "leave out records with MDV 100 or 101"
    )
    dosed = ~is_observation & present & (dv != 0)
    ignored = dosed & ((mdv == 1) | ~np.isin(evid, (1, 4)))
    items.problems.rows(
        dosed & ~ignored,
        items.name("DV"),
        lambda k: f"{dv[k]:g} with EVID={evid[k]}",
        "no DV on a dose record",
        "write the observation in a row of its own (EVID=0, AMT=0), or MDV=1 to leave it out",
    )
    if ignored.any():
        items.notes.append(f"DV of {int(ignored.sum())} rows that are no observations left out (EVID, MDV=1)")
    items.problems.rows(
        is_observation & (mdv == 0) & ~told,
        items.name("DV"),
        items.cells("DV"),
        "a value where MDV=0",
        "write the value, or MDV=1 for a row that asks for a prediction",
    )
    points = is_observation & (mdv == 1)
    if points.any():
        unused = int((points & present & (dv != 0)).sum())
        items.notes.append(
            f"{int(points.sum())} rows with EVID=0 and MDV=1 kept as prediction points"
            + (f"; DV of {unused} of them not used" if unused else "")
        )
    bare = is_observation & ~told & (mdv != 1)
    if bare.any():
        items.notes.append(f"{int(bare.sum())} observation rows without DV kept as prediction points")
    kept: Mask = is_observation & (mdv != 1)
    return kept


def _limits(items: Items, lloq: float | Mapping[int, float] | None, which: Codes) -> Values:
    """The limit of quantification of each row: column LLOQ, else the argument; NaN for none."""
    limit = items.numbers("LLOQ")
    if lloq is None:
        return limit
    if isinstance(lloq, Mapping):
        given = np.array([lloq.get(int(k), np.nan) for k in which])
    else:
        given = np.full(len(items), float(lloq))
    if np.isinf(given).any():
        raise RecordError(f"found lloq={lloq}; expected finite numbers")
    return np.where(np.isfinite(limit), limit, given)


def _flags(items: Items, kept: Mask, marks: Codes, dv: Values, limit: Values) -> tuple[Codes, Values]:
    """1 for below DV, -1 for above, of the rows kept; DV is the limit there."""
    cens = items.whole("CENS", "1 (below DV), 0 or -1 (above DV)")
    blq = items.whole("BLQ", "0 or 1")
    items.problems.rows(
        ~np.isin(cens, (-1, 0, 1)), items.name("CENS"), cens, "1 (below DV), 0 or -1 (above DV)", "recode it"
    )
    items.problems.rows(~np.isin(blq, (0, 1)), items.name("BLQ"), blq, "0 or 1", "recode it")
    items.problems.rows(
        (marks != 0) & (cens != 0) & (cens != marks),
        items.name("CENS"),
        cens,
        "the same as DV says with < or >",
        "correct one of them",
    )
    missing = np.isnan(dv)
    items.problems.rows(
        kept & (((cens == 1) & missing) | ((blq == 1) & (marks != 1))) & np.isnan(limit),
        items.name("CENS" if "CENS" in items else "BLQ"),
        np.where(blq == 1, blq, cens),
        "a limit of quantification with it",
        "write the limit in DV with CENS=1, in a column LLOQ, or give lloq=",
    )
    items.problems.rows(
        kept & (cens == -1) & missing, items.name("DV"), dv, "the limit where CENS=-1", "write the limit"
    )
    below = kept & ((cens == 1) | (blq == 1))
    other = below & (cens == 1) & ~missing & np.isfinite(limit) & ~np.isclose(dv, limit, rtol=1e-6, atol=0)
    items.problems.rows(
        other,
        items.name("DV"),
        lambda k: f"{dv[k]:g} with CENS=1 and limit {limit[k]:g}",
        "the limit itself in DV",
        "write the limit of quantification in DV, or leave DV empty",
    )
    take = below & np.isfinite(limit) & (missing | (blq == 1))
    flag = np.where(below, 1, np.where(kept & (cens == -1), -1, np.where(kept, marks, 0)))
    return flag, np.where(take, limit, dv)


def _bounds(items: Items, kept: Mask, flag: Codes, dv: Values) -> tuple[Values, Codes, Values]:
    """The other end of a censored value: LIMIT. Between DV and LIMIT above is the same as below LIMIT."""
    limit = np.full(len(items), np.nan)
    if "LIMIT" in items:
        limit = items.column_numbers(items.of["LIMIT"], bounds=True)
    given = np.isfinite(limit) & kept
    name = items.name("LIMIT")
    items.problems.rows(
        given & (flag == 1) & (limit >= dv), name, limit, "below DV where CENS=1", "it is the lower bound"
    )
    items.problems.rows(
        given & (flag == -1) & (limit <= dv), name, limit, "above DV where CENS=-1", "it is the upper bound"
    )
    unused = int((given & (flag == 0)).sum())
    if unused:
        items.notes.append(f"LIMIT of {unused} values that are not censored has no effect")
    turned = given & (flag == -1)
    if turned.any():
        items.notes.append(
            f"{int(turned.sum())} values between DV and LIMIT kept as below LIMIT, not below DV"
        )
    lower = np.where(given & (flag == 1), limit, np.where(turned, dv, np.nan))
    return np.where(turned, limit, dv), np.where(turned, 1, flag), lower
