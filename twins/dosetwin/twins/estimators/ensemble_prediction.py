"""What was predicted for a reading before it was taken in, as the stream tells it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from dosetwin.platform.contracts import Prediction
from dosetwin.twins.estimators.ensemble_twin import Step
from dosetwin.twins.events import TwinEvent


def predict(
    facts: Sequence[tuple[str, TwinEvent]],
    predictions: list[Prediction | None],
    steps: Sequence[Step],
    means: list[float],
    sds: list[float],
) -> None:
    """Put in what was predicted for the readings among `steps`: median and 90 % interval of a normal."""
    for step, mean, sd in zip(steps, means, sds, strict=True):
        index = step.fact
        if index < 0 or step.reading != step.reading:
            continue
        spread = 1.6449 * sd
        predictions[index] = Prediction(
            quantity="glucose",
            unit="mg/dL",
            at=datetime.fromtimestamp(step.end_s, UTC),
            observed=step.reading,
            median=max(mean, 0.0),
            low=max(mean - spread, 0.0),
            high=mean + spread,
        )
