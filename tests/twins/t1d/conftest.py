from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.events import TwinEvent

START_S = 1_800_000_000.0
"""Event time that scenarios begin at, Unix s; on a grid line of the checkpoints."""

Make = Callable[..., TwinEvent]


@pytest.fixture
def event() -> Make:
    """Makes facts at minutes after START_S, with uids that count up."""
    uids: Iterator[int] = count(1)

    def make(kind: str, value: float, minute: float, **more: float) -> TwinEvent:
        name = {"observation": "glucose", "meal": "carbohydrate"}.get(kind, "insulin")
        return TwinEvent(
            at_s=START_S + 60.0 * minute,
            kind=kind,  # type: ignore[arg-type]  # a test names the kinds it means
            name=name,
            value=value,
            uid=int(more.pop("uid", 0)) or next(uids),
            **more,  # type: ignore[arg-type]
        )

    return make


@pytest.fixture
def bank() -> EnsembleBank:
    """A bank with one 70 kg patient "anna" on 40 U a day."""
    made = EnsembleBank(2, seed=11)
    made.enrol("anna", at_s=START_S, covariates={"weight": 70.0, "total_daily_dose": 40.0}, targets={})
    return made
