"""What the pages see: one immutable picture of all topics, swapped whole by the background reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from dosetwin.dashboards.series import SeriesView
from dosetwin.platform.alert_state import AlertState
from dosetwin.platform.command_state import CommandLife
from dosetwin.platform.contracts import Action, Administration, DeadLetter, Enrolment

SPARK_POINTS = 48
MISSING = 255
"""The spark byte of a point that is not there."""

PRIORITY_CODES = {"low": 1, "medium": 2, "high": 3}
MODES = ("shadow", "advisory", "autonomous")
Connection = Literal["connecting", "catching up", "live", "reconnecting"]


@dataclass(frozen=True, slots=True)
class GivenDose:
    """One administration with the device that reported it."""

    device: str
    administration: Administration


@dataclass(frozen=True, slots=True)
class PlannedDose:
    """What one decision ordered, for the lane of predicted dosage."""

    at_s: float
    kind: str
    amount: float
    unit: str
    duration_s: float
    interval_s: float
    outcome: str


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert's state, and the act of a person on it that the control app has not answered yet."""

    state: AlertState
    action: Action | None = None

    @property
    def patient(self) -> str:
        """Whose alert it is."""
        return self.state.patient


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """One patient's newest data; every part is immutable or append-only beyond what it shows."""

    patient: str
    enrolment: Enrolment | None
    readings: Mapping[str, SeriesView]
    """quantity -> rows (event time, canonical value, 0 measured / -1 below / +1 above / 2 suspect)."""
    units: Mapping[str, str]
    posterior: Mapping[str, SeriesView]
    """quantity -> rows (event time, low, median, high): where the twin stood after each update."""
    amounts: Mapping[str, SeriesView]
    """estimates kept over time, such as insulin on board: rows (event time, low, median, high)."""
    doses: tuple[GivenDose, ...]
    plans: tuple[PlannedDose, ...]
    forecast: bytes | None
    version: int
    """Counts up with every record of this patient."""


@dataclass(frozen=True)
class WardColumns:
    """All enrolled patients as a struct of arrays; row i of every array is `ids[i]`."""

    ids: tuple[str, ...]
    value: npt.NDArray[np.float32]
    value_at_s: npt.NDArray[np.float64]
    trend: npt.NDArray[np.int8]
    """-2 falling fast ... +2 rising fast; -3 unknown."""
    time_to_event_s: npt.NDArray[np.float32]
    attainment: npt.NDArray[np.float32]
    mode: npt.NDArray[np.uint8]
    therapy: npt.NDArray[np.uint8]
    ward: npt.NDArray[np.uint8]
    target_low: npt.NDArray[np.float32]
    target_high: npt.NDArray[np.float32]
    stale_after_s: npt.NDArray[np.float32]
    high: npt.NDArray[np.uint16]
    medium: npt.NDArray[np.uint16]
    low: npt.NDArray[np.uint16]
    waiting: npt.NDArray[np.uint16]
    """Proposals that wait for a person."""
    spark: npt.NDArray[np.uint8]
    """[patients, SPARK_POINTS], newest last, 0-254 over the therapy's scale, MISSING where none."""
    spark_count: npt.NDArray[np.int64]
    therapies: tuple[str, ...]
    wards: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class TopicFlow:
    """What came in on one topic."""

    records: int = 0
    per_second: float = 0.0
    newest_wall_s: float | None = None
    undecodable: int = 0


@dataclass(frozen=True, slots=True)
class ReaderState:
    """How the background reader is doing, in wall seconds."""

    connection: Connection
    since_s: float
    """Unix time at which this state of the connection began."""
    heard_s: float
    """Unix time at which the broker last answered."""
    behind_s: float = 0.0
    lag_records: int = 0
    reconnections: int = 0
    silent_after_s: float = 10.0
    """No reading for this long is silence on this ward."""
    not_shown: int = 0
    """Patients beyond the memory bound."""
    error: str = ""


@dataclass(frozen=True)
class Snapshot:
    """Everything the pages may show, as of one moment."""

    version: int
    taken_wall_s: float
    event_s: float
    speed: float
    ward: WardColumns
    order: tuple[int, ...]
    """Rows of `ward` by urgency; recomputed every 10 s, so that nothing jumps under a finger."""
    ordered_wall_s: float
    patients: Mapping[str, PatientRecord]
    lives: Mapping[str, CommandLife]
    """Orders by the id of their proposal, or of their command where there was none; oldest first."""
    alerts: Mapping[str, AlertLine]
    """Alerts that were raised, by id; oldest first."""
    open_alerts: Mapping[str, int]
    """How many alerts are open, by priority."""
    flows: Mapping[str, TopicFlow]
    dead_letters: Mapping[str, int]
    newest_dead_letters: tuple[DeadLetter, ...]
    reader: ReaderState
    history: Mapping[str, SeriesView] = field(default_factory=dict)
    """topic -> rows (wall time, records/s) of the last minutes."""
