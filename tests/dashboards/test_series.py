from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosetwin.dashboards.series import Series


@given(st.integers(1, 30), st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e3, 1e3)), max_size=200))
def test_a_view_is_the_newest_rows_and_never_changes(keep: int, rows: list[tuple[float, float]]) -> None:
    series = Series(2, keep, start=4)
    taken: list[tuple[int, np.ndarray, np.ndarray]] = []
    for count, row in enumerate(rows, start=1):
        series.append(*row)
        view = series.view()
        assert view.count == count
        np.testing.assert_array_equal(view.rows, np.array(rows[max(0, count - keep) : count]).reshape(-1, 2))
        taken.append((count, view.rows, view.rows.copy()))
    for _, seen, copied in taken:
        np.testing.assert_array_equal(seen, copied)


def test_memory_is_bounded() -> None:
    series = Series(3, keep=100)
    for index in range(10_000):
        series.append(index, index, 0)
    assert series.nbytes <= 2 * 100 * 3 * 8
    assert series.count == 10_000


def test_since_is_by_event_time_whatever_the_order_of_arrival() -> None:
    series = Series(2, 10)
    for at in (5.0, 1.0, 3.0, 4.0):
        series.append(at, at * 10)
    assert series.view().since(3.0).tolist() == [[3.0, 30.0], [4.0, 40.0], [5.0, 50.0]]


def test_a_series_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="keep=0"):
        Series(2, 0)
