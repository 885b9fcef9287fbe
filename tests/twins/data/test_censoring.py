"""Values that are only known to be below or above a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dosetwin.twins.data.nonmem import read_nonmem
from dosetwin.twins.data.subject import Dataset, RecordError

nan = np.nan


def levels(values: list[Any], **columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"ID": 1, "TIME": range(len(values)), "DV": values, **columns})


def check(dataset: Dataset, dv: list[float], censored: list[int], lower: list[float] | None = None) -> None:
    np.testing.assert_array_equal(dataset[0].dv, dv)
    np.testing.assert_array_equal(dataset[0].censored, censored)
    np.testing.assert_array_equal(dataset[0].lower, lower or [nan] * len(dv))


def test_cens_and_limit() -> None:
    frame = levels([5, 0.1, 0.1, 9, 9], CENS=[0, 1, 1, -1, -1], LIMIT=[1, nan, 0, nan, 12])
    dataset = read_nonmem(frame)
    # between 9 and 12 is below 12 and not below 9
    check(dataset, [5, 0.1, 0.1, 9, 12], [0, -1, -1, 1, -1], [nan, nan, 0, nan, 9])
    assert any("LIMIT of 1 values that are not censored" in note for note in dataset.notes)
    assert any("between DV and LIMIT kept as below LIMIT" in note for note in dataset.notes)


def test_infinite_limits_are_no_limits() -> None:
    check(read_nonmem(levels([0.1, 9], CENS=[1, -1], LIMIT=[-np.inf, np.inf])), [0.1, 9], [-1, 1])
    check(read_nonmem(levels([0.1, 9], CENS=[1, -1], LIMIT=["-Inf", "inf"])), [0.1, 9], [-1, 1])


def test_a_missing_dv_takes_the_limit_of_quantification() -> None:
    frame = levels([5, nan, 0.2], CENS=[0, 1, 1])
    check(read_nonmem(frame, lloq=0.2), [5, 0.2, 0.2], [0, -1, -1])
    check(read_nonmem(frame.assign(LLOQ=0.2)), [5, 0.2, 0.2], [0, -1, -1])
    with pytest.raises(RecordError, match=r"found 0\.2 with CENS=1 and limit 0\.3"):
        read_nonmem(frame, lloq=0.3)


def test_blq_needs_a_limit() -> None:
    frame = levels([5, nan, 0.05, 0], BLQ=[0, 1, 1, 1])
    check(read_nonmem(frame, lloq=0.2), [5, 0.2, 0.2, 0.2], [0, -1, -1, -1])
    with pytest.raises(RecordError) as error:
        read_nonmem(frame)
    assert [problem.row for problem in error.value.problems] == [2, 3, 4]
    assert "lloq=" in error.value.remedy


def test_values_under_the_limit_given() -> None:
    frame = levels([5, 0.1, 0.2, nan])
    check(read_nonmem(frame, lloq=0.2), [5, 0.2, 0.2, nan], [0, -1, 0, 0])
    check(read_nonmem(frame.assign(LLOQ=[nan, 0.2, nan, 0.2])), [5, 0.2, 0.2, nan], [0, -1, 0, 0])
    check(read_nonmem(frame), [5, 0.1, 0.2, nan], [0, 0, 0, 0])


def test_a_flag_column_outweighs_a_limit_column() -> None:
    frame = levels([0.1, 0.2], CENS=[0, 1], LLOQ=[0.2, 0.2])
    check(read_nonmem(frame), [0.1, 0.2], [0, -1])


def test_limits_by_quantity() -> None:
    frame = levels([0.1, 0.1], DVID=[1, 2])
    check(read_nonmem(frame, lloq={1: 0.2}), [0.2, 0.1], [-1, 0])
    by_compartment = levels([0.1, 0.1], CMT=[2, 3])
    check(read_nonmem(by_compartment, lloq={3: 0.2}), [0.1, 0.2], [0, -1])


def test_signs_written_in_dv() -> None:
    dataset = read_nonmem(levels(["5", "<0.1", "> 50", None]))
    check(dataset, [5, 0.1, 50, nan], [0, -1, 1, 0])
    assert any("2 values written with < or >" in note for note in dataset.notes)


def test_m1_leaves_out_what_is_below_and_nothing_else() -> None:
    frame = levels([5, 0.1, 9, nan], CENS=[0, 1, -1, 0], WT=[nan, 70, nan, nan])
    dataset = read_nonmem(frame, below_limit="m1")
    check(dataset, [5, 9, nan], [0, 1, 0])
    np.testing.assert_array_equal(dataset[0].row, [1, 3, 4])
    np.testing.assert_array_equal(dataset[0].covariates["WT"], [70, 70, 70])
    assert "1 observations below the limit left out (M1)" in dataset.notes


def test_a_limit_of_zero_is_pointed_out() -> None:
    assert any("censored below 0" in note for note in read_nonmem(levels([0.0], CENS=[1])).notes)


def test_prediction_points_and_doses_are_never_censored() -> None:
    frame = levels([0.1, 0.1, 3], CENS=[1, 1, 0], MDV=[1, 1, 0], EVID=[1, 0, 0], AMT=[5, 0, 0])
    check(read_nonmem(frame), [nan, nan, 3], [0, 0, 0])
