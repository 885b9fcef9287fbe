"""The protocol of a bank: many twins of one therapy as a struct of arrays, whatever the estimator.

Two estimators stand behind it: a sequential ensemble filter for dense sensors, and history-based MAP with
importance-resampled posterior for sparse levels. A bank is pure in the sense that matters: no clock, no
I/O, no hidden chance; its state is a function of the facts it was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order, Prediction
from dosetwin.twins.events import TwinEvent

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Assimilation:
    """What assimilating a batch gave.

    `predictions[i]` is what was predicted for fact i before it was assimilated (None for anything but a
    used observation); `too_late` are the indices of facts older than the estimator can still use.
    """

    predictions: list[Prediction | None]
    too_late: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Appraisal:
    """Forecasts and scored candidates of n patients; C candidates, Q quantiles, T times, all numpy.

    utility, attainment: [n, C]. feasible: bool [n, C], whether the chance constraints hold.
    best: int [n], the candidate to propose. risks: name -> [n, C], probabilities over the horizon.
    orders[i][c]: what candidate c would order for patient i (empty = leave as it is).
    bands: quantity -> [n, Q, T] under the best candidate, at `at_s[i] + t * step_s`.
    lowest: guarded quantity -> [n, C] the 5 % quantile of its smallest forecast value (for the supervisor).
    on_board: drug -> [n] amount still to act, in the drug's canonical unit (insulin on board, ...).
    estimates: name -> (unit, [n, 3] median, 5 %, 95 %).
    time_to_event_s: [n], NaN where no event is likelier than not within the horizon.
    evidence: name -> [n], further numbers that led to the choice.
    reasons: one sentence a patient, in words a clinician reads.
    would_change: one sentence a patient: which observation or number would have led to another choice.
    """

    patients: list[str]
    at_s: FloatArray
    candidates: tuple[str, ...]
    utility: FloatArray
    attainment: FloatArray
    feasible: npt.NDArray[np.bool_]
    best: npt.NDArray[np.integer]
    risks: dict[str, FloatArray]
    orders: list[list[tuple[Order, ...]]]
    quantiles: tuple[float, ...]
    bands: dict[str, FloatArray]
    band_units: dict[str, str]
    step_s: float
    lowest: dict[str, FloatArray]
    on_board: dict[str, FloatArray]
    estimates: dict[str, tuple[str, FloatArray]]
    time_to_event_s: FloatArray
    evidence: dict[str, FloatArray]
    reasons: list[str]
    would_change: list[str]
    own_candidates: list[tuple[str, ...]] | None = None
    """What the candidates are called for each patient, where they are not the same for all."""

    def names(self, index: int) -> tuple[str, ...]:
        """What the candidates of patient `index` are called."""
        return self.candidates if self.own_candidates is None else self.own_candidates[index]


class Bank(Protocol):
    """Many twins of one therapy."""

    therapy: str
    model_version: str
    """Changes whenever the state's meaning does; a snapshot of another version is not loaded."""

    def enrol(
        self, patient: str, *, at_s: float, covariates: Mapping[str, float], targets: Mapping[str, float]
    ) -> None:
        """Add a twin at its prior, or change covariates (from `at_s` on) and targets of one that exists."""
        ...

    def withdraw(self, patient: str) -> None:
        """Forget a twin; its slot is used again."""
        ...

    def __contains__(self, patient: object) -> bool: ...

    def __len__(self) -> int: ...

    def assimilate(self, facts: Sequence[tuple[str, TwinEvent]]) -> Assimilation:
        """Take facts in any order, many of one patient included; late ones are put at their event time."""
        ...

    def decide(self, patients: Sequence[str], at_s: Sequence[float]) -> Appraisal:
        """Forecast each patient from its event time `at_s` and score the therapy's candidates."""
        ...

    def snapshot(self, patients: Sequence[str]) -> bytes:
        """The state of these twins, exactly."""
        ...

    def restore(self, payload: bytes) -> list[str]:
        """Take twins out of a snapshot (over any that are there); returns their patients."""
        ...

    def nbytes(self) -> int:
        """Memory that the twins take."""
        ...
