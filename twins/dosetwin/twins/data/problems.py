"""Collecting what is wrong in a table, so that one reading shows all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.subject import Problem, RecordError

SHOWN = 20
"""How many problems one error shows."""


class Problems:
    """What was found wrong so far in `source`; `raise_if_any` makes one RecordError of it.

    `numbers`: each row's number; `lines`: its line in the file, or None for a data frame. A cell is reported
    once: what follows from it later is not another problem.
    """

    def __init__(self, source: str, numbers: Sequence[int], lines: Sequence[int] | None) -> None:
        self.source = source
        self.numbers = numbers
        self.lines = lines
        self.subjects: Sequence[str] = ()
        self._found: list[tuple[int, Problem]] = []
        self._cells: set[tuple[int, str]] = set()

    def row(self, index: int, column: str, found: str, expected: str, remedy: str) -> None:
        """Report row `index` (0-based)."""
        if (index, column) in self._cells:
            return
        self._cells.add((index, column))
        line = self.lines[index] if self.lines is not None else 0
        self._found.append((index, Problem(self.numbers[index], line, column, found, expected, remedy)))

    def rows(
        self,
        wrong: npt.NDArray[np.bool_],
        column: str,
        found: Sequence[Any] | npt.NDArray[Any] | Callable[[int], str],
        expected: str,
        remedy: str,
    ) -> None:
        """Report every row where `wrong`: its cell of `found`, or the text that `found` gives for it."""
        for place in np.flatnonzero(wrong):
            index = int(place)
            text = found(index) if callable(found) else shown(found[index])
            self.row(index, column, text, expected, remedy)

    def raise_if_any(self) -> None:
        """Raise RecordError with all that was reported (the first 20, by row); else do nothing."""
        if not self._found:
            return
        ordered = sorted(self._found, key=lambda entry: entry[0])
        texts = [self._text(index, problem) for index, problem in ordered[:SHOWN]]
        found = [problem for _, problem in ordered]
        if len(found) == 1:
            message = f"{self.source} {texts[0]}"
        else:
            texts = [
                f"{text}\n    -> {problem.remedy}" if problem.remedy else text
                for text, problem in zip(texts, found, strict=False)
            ]
            message = f"{self.source}: {len(found)} problems\n  " + "\n  ".join(texts)
            if len(found) > SHOWN:
                message += f"\n  and {len(found) - SHOWN} more"
        remedies = list(dict.fromkeys(problem.remedy for problem in found[:SHOWN] if problem.remedy))
        raise RecordError(message, remedy="; ".join(remedies), problems=found[:SHOWN])

    def _text(self, index: int, problem: Problem) -> str:
        place = []
        if problem.row:
            place.append(f"row {problem.row}" + (f" (line {problem.line})" if problem.line else ""))
            if len(self.subjects) > index:
                place.append(f"subject {self.subjects[index]}")
        if problem.column:
            place.append(f"column {problem.column}")
        where = ", ".join(place)
        return f"{where}{': ' if where else ''}found {problem.found}; expected {problem.expected}"


def shown(cell: Any) -> str:
    """A cell as a message writes it."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return "nothing"
    return f"{float(cell):g}" if isinstance(cell, int | float | np.number) else repr(str(cell))
