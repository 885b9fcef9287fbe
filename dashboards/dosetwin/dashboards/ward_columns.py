"""The ward as columns that grow by powers of two; a row is rewritten only when its patient was touched."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosetwin.dashboards.patient_fold import PatientFold
from dosetwin.dashboards.snapshot import MODES, SPARK_POINTS, WardColumns

_TYPES: dict[str, type[np.generic]] = {
    "value": np.float32,
    "value_at_s": np.float64,
    "trend": np.int8,
    "time_to_event_s": np.float32,
    "attainment": np.float32,
    "mode": np.uint8,
    "therapy": np.uint8,
    "ward": np.uint8,
    "target_low": np.float32,
    "target_high": np.float32,
    "stale_after_s": np.float32,
    "high": np.uint16,
    "medium": np.uint16,
    "low": np.uint16,
    "waiting": np.uint16,
    "spark_count": np.int64,
}


class ColumnsFold:
    """Rows in order of enrolment. `take` rewrites one; `snapshot` copies what is in use."""

    def __init__(self) -> None:
        self._row: dict[str, int] = {}
        self._ids: list[str] = []
        self._shown: tuple[str, ...] = ()
        self._columns: dict[str, npt.NDArray[np.generic]] = {
            name: np.zeros(64, kind) for name, kind in _TYPES.items()
        }
        self._spark = np.zeros((64, SPARK_POINTS), np.uint8)
        self._therapies: list[str] = []
        self._wards: list[str] = []

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, fold: PatientFold, counts: tuple[int, int, int], waiting: int) -> None:
        """Rewrite the row of a patient; one that is not (or no longer) enrolled has none."""
        if fold.enrolment is None or fold.view is None or not fold.enrolment.active:
            self._remove(fold.patient)
            return
        row = self._row.get(fold.patient)
        if row is None:
            row = self._row[fold.patient] = len(self._ids)
            self._ids.append(fold.patient)
            if row == len(self._spark):
                self._grow()
        strip = fold.strip if fold.strip is not None else (np.nan, np.nan)
        values: dict[str, float] = {
            "value": fold.value,
            "value_at_s": fold.value_at_s,
            "trend": fold.trend,
            "time_to_event_s": fold.time_to_event_s,
            "attainment": fold.attainment,
            "mode": MODES.index(fold.enrolment.mode),
            "therapy": _index(self._therapies, fold.enrolment.therapy),
            "ward": _index(self._wards, fold.enrolment.ward or "no ward"),
            "target_low": strip[0],
            "target_high": strip[1],
            "stale_after_s": fold.view.stale_after_s,
            "high": counts[0],
            "medium": counts[1],
            "low": counts[2],
            "waiting": waiting,
            "spark_count": fold.spark_count,
        }
        for name, value in values.items():
            self._columns[name][row] = value
        self._spark[row] = fold.spark

    def snapshot(self) -> WardColumns:
        """A copy of the rows in use."""
        n = len(self._ids)
        if len(self._shown) != n or (n and self._shown[-1] != self._ids[-1]):
            self._shown = tuple(self._ids)

        return WardColumns(
            ids=self._shown,
            spark=self._spark[:n].copy(),
            therapies=tuple(self._therapies),
            wards=tuple(self._wards),
            **{name: self._columns[name][:n].copy() for name in _TYPES},  # type: ignore[arg-type]  # dtypes are those of _TYPES
        )

    def _grow(self) -> None:
        size = 2 * len(self._spark)
        for name, column in self._columns.items():
            self._columns[name] = np.resize(column, size)
        self._spark = np.resize(self._spark, (size, SPARK_POINTS))

    def _remove(self, patient: str) -> None:
        row = self._row.pop(patient, None)
        if row is None:
            return
        n = len(self._ids)
        del self._ids[row]
        self._shown = ()
        for column in (*self._columns.values(), self._spark):
            column[row : n - 1] = column[row + 1 : n].copy()
        self._row = {each: index for index, each in enumerate(self._ids)}


def _index(names: list[str], name: str) -> int:
    """The place of a name in the list, added when it is new; beyond 255 names all share the last."""
    if name not in names and len(names) < 255:
        names.append(name)
    return names.index(name) if name in names else 254
