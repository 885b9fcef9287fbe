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
BATCHES = (1, 8, 64, 512, 4096)
DOSES = (8, 32, 128, 512, 2048)
LEVELS = (4, 16, 64, 256)
STRETCHES = (1, 4, 16, 64, 256, 1024)


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
    for shape, members in sorted(shapes.items()):
        for start in range(0, len(members), BATCHES[-1]):
            index = members[start : start + BATCHES[-1]]
            yield _batch(model, [patients[i] for i in index], index, shape)


def _batch(
    model: PopulationModel, patients: list[Arrays], index: list[int], shape: tuple[int, int, int]
) -> Batch:
    E, D, N = shape
    B = padded(len(patients), BATCHES)
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
    """Runs over n patients in padded batches: (row numbers, how many of them are real)."""
    for start in range(0, n, BATCHES[-1]):
        count = min(n - start, BATCHES[-1])
        rows = np.full(padded(count, BATCHES), start)
        rows[:count] = np.arange(start, start + count)
        yield rows, count
