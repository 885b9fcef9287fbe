"""Smooth curves: what the model says between the records, for the typical subject and the individual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from dosetwin.twins.data.subject import DOSE, OBSERVATION, RESET, RESET_AND_DOSE, Subject
from dosetwin.twins.diagnostics.linearisation import observed_outputs, predictions_at
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.simulation.cohort import cohort

Values = npt.NDArray[np.float64]
Number = TypeVar("Number", np.float64, np.int64)
POINTS = 120
JUST_BEFORE = 1e-6
"""Of the whole span: how much before a dose its trough is drawn."""


def individual_curves(
    fits: IndividualFits, chosen: Sequence[int] | None = None, *, points: int = POINTS
) -> pd.DataFrame:
    """Curves of subjects (places in `fits`; None: all): ID, TIME, OUTPUT (1-based), PRED, IPRED.

    About `points` times a subject from its first to its last record, with one just before and one just after
    every dose, additional ones included. Covariates between records are as in the model's own interpolation.
    """
    which = list(range(len(fits.z))) if chosen is None else list(chosen)
    model = fits.model
    dense = [_dense(fits, i, points, len(model.outputs)) for i in which]
    prepared = cohort(model, dense)
    z = [fits.z[i] for i in which]
    typical = predictions_at(model, prepared, [np.zeros_like(one) for one in z])
    own = predictions_at(model, prepared, z)
    frames = []
    for s, output, f0, f1 in zip(dense, observed_outputs(prepared), typical, own, strict=True):
        records = s.evid == OBSERVATION
        added = s.row[records] == 0
        frames.append(
            pd.DataFrame(
                {
                    "ID": s.id,
                    "TIME": s.time[records][added],
                    "OUTPUT": output[added] + 1,
                    "PRED": f0[added],
                    "IPRED": f1[added],
                }
            )
        )
    columns = ["ID", "TIME", "OUTPUT", "PRED", "IPRED"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _dense(fits: IndividualFits, i: int, points: int, outputs: int) -> Subject:
    """The subject without its values, with prediction records (row 0) put in for every output."""
    s = fits.subjects[i]
    resets = np.isin(s.evid, (RESET, RESET_AND_DOSE))
    segment = np.cumsum(resets & (np.arange(len(s)) > 0))
    origin: list[int] = []
    time: list[float] = []
    new: list[bool] = []
    forward = fits.model.interpolation == "last_value_forward"
    for part in np.unique(segment):
        rows = np.flatnonzero(segment == part)
        at = s.time[rows]
        extra = _times(s, rows, points)
        # after all records of the same time, so that a dose is seen at its peak
        place = np.searchsorted(at, extra, side="right")
        before, after = np.maximum(place - 1, 0), np.minimum(place, len(rows) - 1)
        held = np.where(at[before] == extra, before, before if forward else after)
        entries = [(float(t), 0, int(r)) for t, r in zip(at, rows, strict=True)]
        entries += [(float(t), 1, int(rows[h])) for t, h in zip(extra, held, strict=True)]
        for t, added, r in sorted(entries, key=lambda entry: entry[:2]):
            for _ in range(outputs if added else 1):
                origin.append(r)
                time.append(t)
                new.append(bool(added))
    source, added_rows = np.array(origin), np.array(new)
    number = np.zeros(len(source), np.int64)
    number[added_rows] = np.tile(np.arange(1, outputs + 1), int(added_rows.sum()) // outputs)

    def carried(column: npt.NDArray[Number], nothing: int) -> npt.NDArray[Number]:
        found: npt.NDArray[Number] = np.where(added_rows, column.dtype.type(nothing), column[source])
        return found

    return replace(
        s,
        time=np.array(time),
        evid=carried(s.evid, OBSERVATION),
        amount=carried(s.amount, 0),
        rate=carried(s.rate, 0),
        duration=carried(s.duration, 0),
        compartment=carried(s.compartment, 0),
        dv=np.full(len(source), np.nan),
        censored=np.zeros(len(source), np.int64),
        lower=np.full(len(source), np.nan),
        steady_state=carried(s.steady_state, 0),
        interval=carried(s.interval, 0),
        additional=carried(s.additional, 0),
        output=np.where(added_rows, number, s.output[source]),
        occasion=s.occasion[source],
        row=np.where(added_rows, 0, s.row[source]),
        covariates=MappingProxyType({name: column[source] for name, column in s.covariates.items()}),
    )


def _times(s: Subject, rows: npt.NDArray[np.int64], points: int) -> Values:
    first, last = float(s.time[rows[0]]), float(s.time[rows[-1]])
    if not last > first:
        return np.array([first])
    even = np.linspace(first, last, points)
    doses: list[float] = []
    for d in rows[np.isin(s.evid[rows], (DOSE, RESET_AND_DOSE))]:
        count = int(s.additional[d]) if s.interval[d] > 0 else 0
        doses += [float(s.time[d] + k * s.interval[d]) for k in range(count + 1)]
    at = np.array([t for t in doses if first <= t <= last])
    troughs = at[at > first] - JUST_BEFORE * (last - first)
    found: Values = np.unique(np.concatenate([even, at, troughs]))
    return found
