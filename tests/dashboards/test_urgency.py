from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dosetwin.dashboards.snapshot import SPARK_POINTS, WardColumns
from dosetwin.dashboards.urgency import urgency_order
from tests.dashboards.folding import alert, enrolment, fold, patient_id, snapshot

NAN = float("nan")
ROW = st.tuples(
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([NAN, 0.0, 600.0, 3600.0]),
    st.sampled_from([NAN, 100.0, 900.0, 1000.0]),
)


def columns(rows: list[tuple[int, int, int, float, float]]) -> WardColumns:
    n = len(rows)
    zeros = np.zeros(n, np.uint8)
    return WardColumns(
        ids=tuple(patient_id(index) for index in range(n)),
        value=np.zeros(n, np.float32),
        value_at_s=np.array([row[4] for row in rows], np.float64),
        trend=np.zeros(n, np.int8),
        time_to_event_s=np.array([row[3] for row in rows], np.float32),
        attainment=np.zeros(n, np.float32),
        mode=zeros,
        therapy=zeros,
        ward=zeros,
        target_low=np.zeros(n, np.float32),
        target_high=np.zeros(n, np.float32),
        stale_after_s=np.zeros(n, np.float32),
        high=np.array([row[0] for row in rows], np.uint16),
        medium=np.array([row[1] for row in rows], np.uint16),
        low=np.array([row[2] for row in rows], np.uint16),
        waiting=np.zeros(n, np.uint16),
        spark=np.zeros((n, SPARK_POINTS), np.uint8),
        spark_count=np.zeros(n, np.int64),
        therapies=("t1d-insulin",),
        wards=("Ward 4",),
    )


@given(st.lists(ROW, max_size=40))
def test_order_is_priority_then_event_then_age_then_id(
    rows: list[tuple[int, int, int, float, float]],
) -> None:
    ward, now_s = columns(rows), 1000.0

    def key(row: int) -> tuple[int, float, float, str]:
        high, medium, low, event, at_s = rows[row]
        priority = 3 if high else 2 if medium else 1 if low else 0
        age = math.inf if math.isnan(at_s) else now_s - at_s
        return -priority, math.inf if math.isnan(event) else event, -age, ward.ids[row]

    assert urgency_order(ward, now_s) == tuple(sorted(range(len(rows)), key=key))


def test_the_order_stands_still_for_ten_seconds() -> None:
    folded = fold(*(("enrolments", enrolment(index)) for index in range(4)))
    first = snapshot(folded, 0)
    last = first.ward.ids[first.order[-1]]
    index = next(each for each in range(4) if patient_id(each) == last)
    from dosetwin.platform.codec import encode

    folded.fold("alerts", encode(alert(index, 1, "high")))
    assert snapshot(folded, 5).order == first.order
    third = snapshot(folded, 11)
    assert third.ward.ids[third.order[0]] == last
