"""What is written is read back: random records through a data frame and through text files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.data.nonmem import read_nonmem, to_frame
from dosetwin.twins.data.subject import Dataset, Dose, Observation, RecordError, Subject, subject

ARRAYS = (
    *("time", "evid", "amount", "rate", "duration", "compartment", "dv", "censored", "lower"),
    *("steady_state", "interval", "additional", "output", "occasion"),
)
NAMES = st.text("ABCXYZabc0123456789-", min_size=1, max_size=5).filter(lambda text: text != "-")
POSITIVE = st.floats(1e-3, 1e6)


@st.composite
def subjects(draw: st.DrawFn, name: str) -> Subject:
    size = draw(st.integers(1, 8))
    rows = []
    for _ in range(size):
        row = dict.fromkeys(ARRAYS, 0.0) | {"dv": np.nan, "lower": np.nan}
        row["evid"] = draw(st.integers(0, 4))
        row["compartment"] = draw(st.integers(0, 3))
        row["occasion"] = draw(st.integers(-1, 3))
        if row["evid"] in (1, 4):
            _dose(draw, row)
        if row["evid"] == 0:
            _observation(draw, row)
        rows.append(row)
    time = draw(st.lists(st.floats(-1e3, 1e3), min_size=size, max_size=size))
    segment = np.cumsum([row["evid"] >= 3 for row in rows])
    for k in np.unique(segment):
        part = np.flatnonzero(segment == k)
        for place, at in zip(part, sorted(time[j] for j in part), strict=True):
            rows[place]["time"] = at
    columns: dict[str, Any] = {key: np.array([row[key] for row in rows], np.float64) for key in ARRAYS}
    for key in ("evid", "compartment", "censored", "steady_state", "additional", "output", "occasion"):
        columns[key] = columns[key].astype(np.int64)
    weight = np.array(draw(st.lists(POSITIVE, min_size=size, max_size=size)))
    return Subject(id=name, row=np.arange(1, size + 1), covariates={"WT": weight}, **columns)


def _dose(draw: st.DrawFn, row: dict[str, float]) -> None:
    row["amount"] = draw(POSITIVE)
    entry = draw(
        st.sampled_from(["bolus", "rate", "duration", "modelled rate", "modelled duration", "for ever"])
    )
    row["rate"] = {"rate": draw(POSITIVE), "modelled rate": -1.0, "modelled duration": -2.0}.get(entry, 0.0)
    row["duration"] = draw(POSITIVE) if entry == "duration" else 0.0
    row["steady_state"] = draw(st.integers(0, 2))
    row["additional"] = draw(st.integers(0, 5))
    if row["steady_state"] or row["additional"]:
        row["interval"] = draw(POSITIVE)
    if entry == "for ever":
        row |= {"amount": 0.0, "rate": draw(POSITIVE), "steady_state": 1, "additional": 0, "interval": 0.0}


def _observation(draw: st.DrawFn, row: dict[str, float]) -> None:
    row["output"] = draw(st.integers(0, 3))
    if draw(st.booleans()):
        row["dv"] = draw(st.floats(-1e6, 1e6))
        row["censored"] = draw(st.integers(-1, 1))
        if row["censored"] == -1 and draw(st.booleans()):
            row["lower"] = row["dv"] - draw(POSITIVE)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    return Dataset(tuple(draw(subjects(name)) for name in names))


def check_same(found: Dataset, expected: Dataset) -> None:
    assert [patient.id for patient in found] == [patient.id for patient in expected]
    for one, other in zip(found, expected, strict=True):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
            assert getattr(one, name).dtype == getattr(other, name).dtype
        assert set(one.covariates) == {"WT"}
        np.testing.assert_array_equal(one.covariates["WT"], other.covariates["WT"])


@given(datasets())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_frame_is_read_back_as_it_was(dataset: Dataset) -> None:
    frame = to_frame(dataset)
    check_same(read_nonmem(frame), dataset)
    # a column that holds nothing but its default may be left out
    plain = [name for name in ("RATE", "DUR", "CMT", "II", "ADDL", "SS", "CENS") if (frame[name] == 0).all()]
    check_same(read_nonmem(frame.drop(columns=plain)), dataset)


@given(
    datasets(),
    st.sampled_from([",", ";", "\t", " "]),
    st.sampled_from([".", "NA"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_file_is_read_back_however_it_is_written(
    dataset: Dataset, mark: str, none: str, lower_case: bool, random: np.random.RandomState
) -> None:
    frame = to_frame(dataset)
    frame = frame[random.sample(list(frame.columns), len(frame.columns))]  # type: ignore[attr-defined] # random.Random
    if lower_case:
        frame = frame.rename(columns=lambda name: name if name == "WT" else name.lower())
    lines = frame.to_csv(sep=mark, index=False, na_rep=none, lineterminator="\n").split("\n")
    lines.insert(1, "# a comment")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.csv"
        path.write_text("\n".join(lines))
        check_same(read_nonmem(path), dataset)


def test_the_frame_has_nonmems_names_and_codes() -> None:
    patient = subject(
        "7",
        [Dose(0, 100, duration=2, compartment=1)],
        [
            Observation(1, 5.0),
            Observation(2, 0.1, censored=-1),
            Observation(3, 9.0, censored=1),
            Observation(4),
        ],
        {"WT": [(0, 70.0), (3, 71.0)]},
    )
    frame = to_frame(Dataset((patient,)))
    assert list(frame.EVID) == [1, 0, 0, 0, 0]
    assert list(frame.MDV) == [1, 0, 0, 0, 1]
    assert list(frame.CENS) == [0, 0, 1, -1, 0]
    assert list(frame.WT) == [70, 70, 70, 71, 71]
    np.testing.assert_array_equal(frame.DV, [np.nan, 5, 0.1, 9, np.nan])


def test_subjects_with_different_covariates_make_no_table() -> None:
    one = subject("1", [], [Observation(0)], {"WT": 70.0})
    other = subject("2", [], [Observation(0)], {"AGE": 70.0})
    with pytest.raises(RecordError, match="subject 2: found covariates AGE; expected WT"):
        to_frame(Dataset((one, other)))
    assert Dataset((one, other)).covariates == ()


def test_an_empty_dataset_makes_an_empty_frame() -> None:
    assert isinstance(to_frame(Dataset(())), pd.DataFrame)
    assert to_frame(Dataset(())).empty
