"""The changes a browser is sent give the same ward as sending it whole."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dosetwin.dashboards.snapshot import SPARK_POINTS
from dosetwin.dashboards.view_models.ward import COLUMNS, changes, whole
from dosetwin.platform.codec import encode
from tests.dashboards.folding import alert, enrolment, fold, reading, snapshot

PATIENTS = 5


def decoded(words: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(words), "<" + kind).copy()


class Browser:
    """What the ward's script does with messages, slowly."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.columns = {name: decoded(message["columns"][name], kind) for name, kind in COLUMNS.items()}
        self.spark = decoded(message["spark"], "u1").reshape(-1, SPARK_POINTS)
        self.order = decoded(message["order"], "u2").tolist()

    def change(self, message: dict[str, Any]) -> None:
        rows = decoded(message["rows"], "u2").tolist()
        for name, kind in COLUMNS.items():
            self.columns[name][rows] = decoded(message["columns"][name], kind)
        points = decoded(message["points"], "u1").tolist()
        for row, count in zip(rows, decoded(message["new"], "u1").tolist(), strict=True):
            if count:
                self.spark[row] = [*self.spark[row][count:], *points[:count]]
                points = points[count:]
        assert points == []
        if "order" in message:
            self.order = decoded(message["order"], "u2").tolist()


STEP = st.lists(st.tuples(st.integers(0, PATIENTS - 1), st.floats(40, 400), st.booleans()), max_size=60)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=6))
def test_changes_and_whole_agree(steps: list[list[tuple[int, float, bool]]]) -> None:
    folded = fold(*(("enrolments", enrolment(index)) for index in range(PATIENTS)))
    before = snapshot(folded, 0)
    browser = Browser(whole(before))
    seconds = 0
    for step in steps:
        for index, value, alarmed in step:
            seconds += 7
            folded.fold("readings", encode(reading(index, seconds, value)))
            if alarmed:
                folded.fold("alerts", encode(alert(index, seconds, "medium")))
        now = snapshot(folded, seconds)
        message = changes(now, before)
        assert message is not None
        browser.change(message)
        expected = Browser(whole(now))
        for name, column in expected.columns.items():
            np.testing.assert_array_equal(browser.columns[name], column, err_msg=name)
        np.testing.assert_array_equal(browser.spark, expected.spark)
        assert browser.order == expected.order
        before = now


def test_a_new_patient_makes_the_ward_be_sent_whole() -> None:
    folded = fold(("enrolments", enrolment(1)))
    before = snapshot(folded, 0)
    folded.fold("enrolments", encode(enrolment(2)))
    assert changes(snapshot(folded, 1), before) is None


def test_an_unchanged_ward_sends_next_to_nothing() -> None:
    folded = fold(*(("enrolments", enrolment(index)) for index in range(PATIENTS)))
    message = changes(snapshot(folded, 1), snapshot(folded, 0))
    assert message is not None
    assert message["rows"] == message["points"] == ""
