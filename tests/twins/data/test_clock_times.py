"""Dates and clock times become the time since each subject's first record."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dosetwin.twins.data.nonmem import read_nonmem
from dosetwin.twins.data.subject import RecordError, Values


def times(time: list[Any], date: list[Any] | None = None, name: str = "DATE", **options: Any) -> Values:
    frame = pd.DataFrame({"ID": 1, "TIME": time, "DV": 1.0})
    if date is not None:
        frame[name] = date
    dataset = read_nonmem(frame, **options)
    assert dataset.covariates == ()
    return dataset[0].time


def test_the_examples_of_nonmems_help() -> None:
    """Users Guide VIII, TIME and DATE data items (which round to two decimals)."""
    np.testing.assert_array_equal(times(["8:00", "14:45", "14.75"]), [0, 6.75, 6.75])
    frame = pd.DataFrame(
        {
            "ID": [1, 1, 1, 2, 2],
            "DATE": ["10-1-86", "10-1-86", "10-2-86", "10-12", "10-14"],
            "TIME": ["9:15", "14:40", "8:30", "8", "10"],
            "DV": 1.0,
        }
    )
    dataset = read_nonmem(frame)
    np.testing.assert_allclose(dataset["1"].time, [0, 5 + 25 / 60, 23.25], rtol=1e-15)
    np.testing.assert_array_equal(dataset["2"].time, [0, 50])


@pytest.mark.parametrize(
    ("name", "dates"),
    [
        ("DATE", ["2/28/2024", "3/1/2024"]),
        ("DAT1", ["28.2.24", "1.3.24"]),
        ("DAT2", ["2024/2/28", "2024/3/1"]),
        ("DAT3", ["24-28-2", "24-1-3"]),
        ("DATE", ["2024-02-28", "2024-03-01"]),
        ("DAT1", [datetime.date(2024, 2, 28), datetime.date(2024, 3, 1)]),
        ("DATE", list(pd.to_datetime(["2024-02-28", "2024-03-01"]))),
        ("DAT2", ["3", "5"]),
        ("DAT2", [-1, 1]),
    ],
)
def test_dates_in_every_order_count_the_leap_day(name: str, dates: list[Any]) -> None:
    np.testing.assert_array_equal(times(["23:30", "0:30"], dates, name), [0, 25])


def test_a_date_column_alone_may_hold_the_time_too() -> None:
    frame = pd.DataFrame({"ID": 1, "DATE": ["2024-01-31 8:00", "2024-02-01 9:00", "2/2/24 9:00"], "DV": 1.0})
    np.testing.assert_array_equal(read_nonmem(frame)[0].time, [0, 25, 49])
    with pytest.raises(RecordError) as error:
        read_nonmem(frame.assign(DATE=["2024-01-31", "later", "2024-02-01"]))
    assert [(p.row, p.column) for p in error.value.problems] == [(2, "DATE")]


def test_years_of_two_digits_and_the_turn_of_the_century() -> None:
    np.testing.assert_array_equal(times(["0:00", "0:00"], ["12/31/99", "1/1/00"]), [0, 24])


@pytest.mark.parametrize(
    "stamps",
    [
        ["2024-01-31T08:30", "2024-02-01T08:45:36"],
        ["2024-01-31 08:30:00", "2024-02-01 08:45:36"],
        ["2024-01-31T08:30Z", "2024-02-01T09:45:36+01:00"],
        list(pd.to_datetime(["2024-01-31 08:30:00", "2024-02-01 08:45:36"])),
    ],
)
def test_date_times_in_the_time_column(stamps: list[Any]) -> None:
    np.testing.assert_allclose(times(stamps), [0, 24.26], rtol=1e-15)
    np.testing.assert_allclose(times(stamps, time_unit="min"), [0, 24.26 * 60], rtol=1e-15)
    np.testing.assert_allclose(times(stamps, time_unit="d"), [0, 24.26 / 24], rtol=1e-15)


def test_other_date_times_need_an_order() -> None:
    stamps = ["31/01/2024 08:30", "01/02/2024 9:30 am", "1.2.2024 12:30 AM"]
    np.testing.assert_array_equal(times(stamps[:2], dates="dmy"), [0, 25])
    with pytest.raises(RecordError, match="row 1, subject 1, column TIME") as error:
        times(stamps[:2])
    assert 'dates="dmy"' in error.value.remedy


def test_am_and_pm() -> None:
    np.testing.assert_array_equal(times(["12:30 am", "1:30 AM", "12:30 pm", "11:30 p.m."]), [0, 1, 12, 23])


def test_times_of_a_spreadsheet() -> None:
    np.testing.assert_allclose(times([datetime.time(8), datetime.time(9, 20)]), [0, 4 / 3], rtol=1e-15)


def test_each_subject_starts_anew_and_a_reset_does_not_start_the_clock_anew() -> None:
    frame = pd.DataFrame(
        {
            "ID": [1, 1, 2, 2],
            "TIME": ["8:00", "9:00", "10:00", "12:00"],
            "EVID": [1, 4, 1, 0],
            "AMT": [1, 1, 1, 0],
        }
    )
    dataset = read_nonmem(frame)
    np.testing.assert_array_equal(dataset["1"].time, [0, 1])
    np.testing.assert_array_equal(dataset["2"].time, [0, 2])
    assert any(note.startswith("TIME read as clock times") for note in dataset.notes)


def test_an_interval_may_be_a_clock_time() -> None:
    frame = pd.DataFrame({"ID": 1, "TIME": ["8:00"], "AMT": 5, "ADDL": 3, "II": ["12:30"]})
    assert read_nonmem(frame)[0].interval[0] == 12.5
    assert read_nonmem(frame, time_unit="min")[0].interval[0] == 750


@pytest.mark.parametrize(
    ("time", "date", "column"),
    [
        (["8:00", "8:60"], None, "TIME"),
        (["8:00", "13:00 pm"], None, "TIME"),
        (["8:00", "noon"], None, "TIME"),
        (["8:00", None], None, "TIME"),
        (["8:00", "9:00"], ["1/31/24", "31/1/24"], "DATE"),
        (["8:00", "9:00"], ["1/31/24", "2/30/24"], "DATE"),
        (["8:00", "9:00"], ["1/31/24", None], "DATE"),
        (["8:00", "9:00"], ["1/31/24", "20240201"], "DATE"),
    ],
)
def test_what_is_no_time_is_named(time: list[Any], date: list[Any] | None, column: str) -> None:
    with pytest.raises(RecordError) as error:
        times(time, date)
    (problem,) = error.value.problems
    assert (problem.row, problem.column) == (2, column)


def test_past_midnight_without_a_date_is_time_that_goes_back() -> None:
    with pytest.raises(RecordError, match="found -22 after 0") as error:
        times(["23:00", "1:00"])
    assert "midnight" in error.value.remedy
    np.testing.assert_array_equal(times(["23:00", "25:00"]), [0, 2])


def test_kinds_that_cannot_be_compared() -> None:
    with pytest.raises(RecordError, match="with and without a time zone"):
        times(["2024-01-31T08:30Z", "2024-02-01T08:30"])
    with pytest.raises(RecordError, match="time unit 'fortnight'"):
        times(["8:00", "9:00"], time_unit="fortnight")
    np.testing.assert_array_equal(times([0.0, 2.0], time_unit="fortnight"), [0, 2])
