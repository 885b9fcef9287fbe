"""An append-only table of numbers whose readers never see it change.

A reader takes `view()`: slices of the columns up to the length of that moment. Appending writes only beyond
every view's end; when the block is full, the newest half moves to a new block and old views keep the old
one. So one writer and many readers share memory without locks or copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeriesView:
    """Rows of a series at one moment: `rows` [n, columns], the first column is event time (Unix s)."""

    rows: FloatArray
    count: int
    """How many rows were ever appended; rows of them are kept."""

    def since(self, at_s: float) -> FloatArray:
        """The rows at or after `at_s`, by event time."""
        rows = self.rows[self.rows[:, 0] >= at_s]
        order = np.argsort(rows[:, 0], kind="stable")
        return np.asarray(rows[order])

    def newest(self, n: int) -> FloatArray:
        """The last `n` rows in order of arrival."""
        return self.rows[max(0, len(self.rows) - n) :]


class Series:
    """At least `keep` newest rows of `columns` numbers each, in order of arrival."""

    __slots__ = ("_block", "_end", "_keep", "count")

    def __init__(self, columns: int, keep: int, start: int = 16) -> None:
        if keep < 1 or columns < 1:
            raise ValueError(f"a series needs columns and rows; found columns={columns}, keep={keep}")
        self._keep = keep
        self._block: FloatArray = np.empty((min(start, 2 * keep), columns))
        self._end = 0
        self.count = 0

    def append(self, *row: float) -> None:
        """Add one row."""
        if self._end == len(self._block):
            self._move()
        self._block[self._end] = row
        self._end += 1
        self.count += 1

    def view(self) -> SeriesView:
        """The newest `keep` rows, as they stay from now on."""
        return SeriesView(self._block[max(0, self._end - self._keep) : self._end], self.count)

    @property
    def nbytes(self) -> int:
        """Bytes of the present block."""
        return self._block.nbytes

    def _move(self) -> None:
        kept = self._block[max(0, self._end - self._keep) : self._end]
        size = min(2 * self._keep, max(4 * len(kept), 8))
        block: FloatArray = np.empty((size, self._block.shape[1]))
        block[: len(kept)] = kept
        self._block = block
        self._end = len(kept)
