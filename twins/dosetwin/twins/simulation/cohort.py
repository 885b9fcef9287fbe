"""Many subjects as a few batches of equal shape, so that compilations stay few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosetwin.twins.data.subject import Subject
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.event_program import Program, Shape
from dosetwin.twins.simulation.program_writer import Written, stack, write_program

BATCHES = (1, 8, 64, 512)
TOGETHER = 64
"""Up to so many subjects take the largest shape among them: cheaper than a compilation for each shape."""


@dataclass(frozen=True)
class CohortBatch:
    """Subjects of one shape: `index` says which, the program's rows beyond repeat the first."""

    index: npt.NDArray[np.int64]
    program: Program
    occasions: int

    @property
    def size(self) -> int:
        """Rows of the arrays, padding included."""
        return len(self.program.rows.occasion)

    @property
    def steady(self) -> bool:
        """Whether there are steady-state doses."""
        return bool(self.program.steady.entry.shape[1] > 0)


@dataclass(frozen=True)
class Cohort:
    """Subjects ready for the compiled functions."""

    subjects: tuple[Subject, ...]
    batches: tuple[CohortBatch, ...]

    def __len__(self) -> int:
        return len(self.subjects)


def cohort(model: PopulationModel, subjects: Sequence[Subject]) -> Cohort:
    """Write the programs of all subjects and batch them. Raises RecordError where a record has no meaning."""
    with double_precision():
        written = [write_program(model, subject) for subject in subjects]
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, w in enumerate(written):
        groups.setdefault(_padded(w).tuple, []).append(i)
    if len(written) <= TOGETHER and groups:
        sizes = [max(column) for column in zip(*groups, strict=True)]
        groups = {tuple(sizes): list(range(len(written)))}
    batches: list[CohortBatch] = []
    for sizes_, members in sorted(groups.items()):
        shape = Shape(*sizes_)
        occasions = max(int(written[i].rows.occasion.max()) + 1 for i in members)
        for rows in _cut(members):
            chosen = [written[i] for i in rows]
            chosen += [chosen[0]] * (_batch_size(len(rows)) - len(rows))
            batches.append(CohortBatch(np.array(rows), stack(chosen, shape), occasions))
    return Cohort(tuple(subjects), tuple(batches))


def _padded(written: Written) -> Shape:
    shape = written.shape
    return Shape(
        max(_power(shape.events), 8),
        _power(shape.rows),
        max(_power(shape.observations), 4),
        _power(shape.steady) if shape.steady else 0,
    )


def _power(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def _batch_size(n: int) -> int:
    return next((size for size in BATCHES if n <= size), BATCHES[-1])


def _cut(members: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(members), BATCHES[-1]):
        yield members[start : start + BATCHES[-1]]
