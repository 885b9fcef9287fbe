from __future__ import annotations

from dosetwin.twins.events import TwinEvent

START_S = 1_800_000_000.0
"""Event time that scenarios begin at, Unix s; on a grid line of the checkpoints."""
COVARIATES = {"age": 50.0, "weight": 70.0, "height": 170.0, "sex": 1.0}
INDEX, PRESSURE, HEART_RATE = "bis", "mean_arterial_pressure", "heart_rate"


def fact(at_s: float, kind: str, name: str, value: float, uid: int, duration_s: float = 0.0) -> TwinEvent:
    """A fact at seconds after START_S."""
    return TwinEvent(START_S + at_s, kind, name, value, uid, duration_s)  # type: ignore[arg-type]
