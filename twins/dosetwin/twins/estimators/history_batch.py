"""Histories of many patients, padded to a few shapes so that compilations stay few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators.history_likelihood import History, Levels
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.models.compartments import Doses
from dosetwin.twins.population_model import PopulationModel

Values = npt.NDArray[np.float64]
BATCHES = (8, 64, 256)
DOSES = (16, 128, 1024)
LEVELS = (8, 64, 256)
STRETCHES = (16, 128, 1024)
"""A compilation takes seconds and is needed for each combination that occurs: few and coarse steps."""
TOGETHER = 64
"""Up to so many patients take the largest shape among them: cheaper than a compilation for each shape."""


def padded(n: int, steps: tuple[int, ...]) -> int:
    """The smallest step that holds n (all are powers of two)."""
    for step in steps:
        if n <= step:
            return step
    return 1 << (n - 1).bit_length()


@dataclass(frozen=True)
class Batch:
    """`count` patients whose arrays have one shape, padded with copies of the first to a known batch size."""

    index: list[int]
    count: int
    origin_s: Values
    history: History

    @property
    def padding(self) -> npt.NDArray[np.int64]:
        """Position in `index` of every row of the arrays: padding rows repeat the first."""
        rows = np.zeros(len(self.origin_s), np.int64)
        rows[: self.count] = np.arange(self.count)
        return rows

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The patient of every row of the arrays."""
        return np.array(self.index)[self.padding]


def batches(model: PopulationModel, patients: Sequence[Arrays]) -> Iterable[Batch]:
    """The patients grouped by padded shape; `index` says which they are."""
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for i, arrays in enumerate(patients):
        shape = (
            padded(len(arrays.stretches), STRETCHES),
            padded(len(arrays.doses), DOSES),
            padded(len(arrays.levels), LEVELS),
        )
        shapes.setdefault(shape, []).append(i)
    if len(patients) <= TOGETHER and shapes:
        E, D, N = (max(sizes) for sizes in zip(*shapes, strict=True))
        shapes = {(E, D, N): list(range(len(patients)))}
    for shape, members in sorted(shapes.items()):
        for rows, count in filled(len(members)):
            index = [members[row] for row in rows[:count]]
            yield _batch(model, [patients[i] for i in index], index, shape, len(rows))


def _batch(
    model: PopulationModel, patients: list[Arrays], index: list[int], shape: tuple[int, int, int], B: int
) -> Batch:
    E, D, N = shape
    covariates: dict[str, Values] = {name: np.empty((B, E)) for name in patients[0].stretches[0][1]}
    changes = np.full((B, E), np.inf)
    doses = np.zeros((4, B, D))
    levels = np.zeros((3, B, N))
    mask = np.zeros((B, N))
    origin = np.empty(B)
    for i in range(B):
        arrays = patients[i] if i < len(patients) else patients[0]
        origin[i] = arrays.origin_s
        for k in range(E):
            start, values = arrays.stretches[min(k, len(arrays.stretches) - 1)]
            if k < len(arrays.stretches):
                changes[i, k] = start
            for name, value in values.items():
                covariates[name][i, k] = value
        if arrays.doses:
            doses[:, i, : len(arrays.doses)] = np.array(arrays.doses).T
        if arrays.levels:
            levels[:, i, : len(arrays.levels)] = np.array(arrays.levels).T
            mask[i, : len(arrays.levels)] = 1
    typical = model.typical(covariates) if covariates else model.typical({"none": np.zeros((B, E))})
    # NumPy arrays until the compiled call takes them: made outside of it they would lose their precision
    history: Any = History(
        cast("Any", typical),
        cast("Any", changes),
        Doses(*doses),
        Levels(levels[0], levels[1], levels[2].astype(np.int64), cast("Any", mask)),
    )
    return Batch(index, len(patients), origin, history)


def filled(n: int) -> Iterable[tuple[npt.NDArray[np.int64], int]]:
    """Runs over n patients in batches of known sizes: (row numbers, how many of them are real).

    A size but the smallest is padded only where more than half of it is filled; else the next smaller one
    is taken.
    """
    start = 0
    while start < n:
        left = n - start
        above = padded(left, BATCHES)
        fits = above in BATCHES and (2 * left > above or above == BATCHES[0])
        size = above if fits else max(b for b in BATCHES if b <= left)
        count = min(left, size)
        rows = np.full(size, start)
        rows[:count] = np.arange(start, start + count)
        yield rows, count
        start += count
