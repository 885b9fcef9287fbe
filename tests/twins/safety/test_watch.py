"""What is remembered of a patient, against sums made from the facts themselves."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.events import TwinEvent
from dosetwin.twins.safety import GuardedReading, Watch

from .cases import NOW, Fact, build
from .cases import cases as every_case
from .oracle import Oracle
from .test_supervisor import bolus, rate


def watched(*values: float, step_s: float = 300.0) -> GuardedReading:
    watch = Watch()
    for number, value in enumerate(values):
        watch.read("glucose", value, NOW + number * step_s)
    return watch.readings["glucose"].reading()


def test_a_reading_says_how_long_it_was_flat_how_it_changed_and_when() -> None:
    reading = watched(100.0, 110.0, 110.0, 110.0)
    assert (reading.value, reading.at_s) == (110.0, NOW + 900.0)
    assert (reading.flat_s, reading.change, reading.spacing_s) == (600.0, 0.0, 300.0)
    assert watched(100.0) == GuardedReading(100.0, NOW)
    assert watched(100.0, 130.0).change == 30.0


def test_a_reading_that_is_older_than_the_newest_changes_nothing() -> None:
    watch = Watch()
    watch.read("glucose", 100.0, NOW)
    before = msgspec.msgpack.encode(watch)
    watch.read("glucose", 300.0, NOW - 1.0, suspect=True)
    assert msgspec.msgpack.encode(watch) == before


@pytest.mark.parametrize("slope", [0.0, 5.0])
def test_noise_is_the_standard_deviation_of_the_noise_and_not_of_the_trend(slope: float) -> None:
    """Long-run mean over seeds: 12 second differences of 14 readings estimate s^2 without bias."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(150):
        values = 120.0 + slope * np.arange(14) + rng.normal(0.0, 6.0, 14)
        noise = watched(*values.tolist()).noise
        assert noise is not None
        found.append(noise**2)
    assert np.sqrt(np.mean(found)) == pytest.approx(6.0, rel=0.06)


def test_noise_is_not_known_from_few_readings_or_across_gaps() -> None:
    assert watched(*([100.0, 120.0] * 2), 100.0).noise is None
    assert watched(*([100.0, 120.0] * 3)).noise is not None
    watch = Watch()
    for number in range(10):
        watch.read("glucose", 100.0 + 20.0 * (number % 2), NOW + (4.0 if number % 2 else 0.0) + 10.0 * number)
    assert watch.readings["glucose"].reading().noise is not None, "6 s and 14 s"
    watch = Watch()
    for number in range(10):
        watch.read("glucose", 100.0, NOW + (9.0 if number % 2 else 0.0) + 10.0 * number)
    assert watch.readings["glucose"].reading().noise is None, "1 s and 19 s"


def test_an_infusion_is_on_its_way_as_soon_as_it_runs_and_leaves_as_it_ran() -> None:
    watch = Watch()
    watch.give(TwinEvent(NOW, "infusion", "insulin", 8.0, 1, duration_s=4 * 3600.0))

    def given(hours: float) -> tuple[float | None, float | None]:
        state = watch.situation(NOW + 3600.0 * hours, lowest={}, on_board={}).drugs["insulin"]
        return state.given_1h, state.given_24h

    assert given(-1.0) == (0.0, 0.0)
    assert given(0.0) == (8.0, 8.0)
    assert given(2.0) == (6.0, 8.0)
    assert given(5.0) == (0.0, 8.0)
    assert given(26.0)[1] == pytest.approx(4.0)
    assert given(28.0)[1] == 0.0


def test_drugs_are_those_it_was_asked_for_and_those_it_was_told_of() -> None:
    watch = Watch()
    watch.give(TwinEvent(NOW - 10.0, "rate", "insulin", 1.0, 1))
    watch.ordered((bolus(1.0), rate(0.0)), NOW - 5.0)
    watch.ordered((bolus(1.0),), NOW - 50.0)
    found = watch.situation(NOW, lowest={"glucose": float("nan")}, on_board={"glucagon": None})
    assert set(found.drugs) == {"insulin", "glucagon"}
    assert found.drugs["glucagon"].given_24h == 0.0
    assert found.drugs["insulin"].current_rate == 1.0
    assert found.drugs["insulin"].last_order_s == NOW - 5.0
    assert found.drugs["insulin"].reported_s == NOW - 10.0
    assert dict(found.lowest) == {}


def test_noise_forgets() -> None:
    noisy, calm = [100.0, 140.0] * 10, [120.0] * 14
    assert watched(*noisy).noise == pytest.approx(40.0 / 1.5**0.5)
    assert watched(*noisy, *calm).noise == 0.0


def test_what_is_heard_late_does_not_take_the_place_of_what_is_newer() -> None:
    watch = Watch()
    for at_s in (NOW, NOW - 600.0):
        watch.failed(at_s)
        watch.give(TwinEvent(at_s, "meal", "carbohydrate", 30.0, 1))
    assert (watch.failed_s, watch.announced_s) == (NOW, NOW)


def test_an_infusion_of_no_duration_is_given_at_once() -> None:
    watch = Watch()
    watch.give(TwinEvent(NOW - 60.0, "infusion", "insulin", 3.0, 1, duration_s=0.0))
    assert watch.situation(NOW, lowest={}, on_board={}).drugs["insulin"].given_1h == 3.0


def test_what_was_given_since_a_proposal_are_doses_and_no_rates() -> None:
    watch = Watch()
    watch.give(TwinEvent(NOW - 7200.0, "rate", "insulin", 1.0, 1))
    for at_s, amount in ((NOW - 900.0, 2.0), (NOW - 300.0, 4.0), (NOW + 60.0, 8.0)):
        watch.give(TwinEvent(at_s, "bolus", "insulin", amount, 2))
        watch.give(TwinEvent(at_s, "infusion", "insulin", amount, 3, duration_s=1800.0))

    def since(proposed_s: float | None) -> float | None:
        told = watch.situation(NOW, lowest={}, on_board={}, proposed_s=proposed_s)
        return told.drugs["insulin"].given_since_proposal

    assert [since(NOW - 600.0), since(NOW - 1000.0), since(None)] == [8.0, 12.0, None]


def test_infusions_that_left_the_window_are_forgotten_and_no_others() -> None:
    watch = Watch()
    for hour in range(60):
        watch.give(TwinEvent(NOW + 3600.0 * hour, "infusion", "insulin", 1.0, hour, duration_s=3600.0))
    assert watch.situation(NOW + 59 * 3600.0, lowest={}, on_board={}).drugs["insulin"].given_24h == 25.0
    assert len(watch.ledgers["insulin"].infusions) < 40


def test_suspending_is_no_order_that_adds_drug() -> None:
    watch = Watch()
    watch.ordered((rate(0.0),), NOW)
    assert watch.last_order_s == {}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(every_case, st.integers(0, 2**32))
def test_i22_what_was_given_is_the_slow_sum_in_any_order_of_reports(case, seed) -> None:  # type: ignore[no-untyped-def]
    history = list(case.history)
    random.Random(seed).shuffle(history)
    readings = [fact for fact in case.history if fact.kind == "reading"]
    shuffled = case._replace(
        history=tuple(readings + [fact for fact in history if fact.kind != "reading"])
    ).watch()
    oracle = Oracle(case)
    for drug, state in shuffled.situation(NOW, lowest={}, on_board={}).drugs.items():
        if state.given_24h is None or state.given_4h is None or state.given_1h is None:
            raise AssertionError(drug)
        found = (state.given_24h, state.given_4h, state.given_1h)
        assert found == pytest.approx([float(oracle.given(drug, hours)) for hours in (24, 4, 1)], abs=1e-9)
        running = oracle.running(drug)
        assert state.current_rate == (None if running is None else float(running))


def test_it_survives_a_snapshot() -> None:
    case = build(bytes(range(224)))
    watch = case._replace(history=(*case.history, Fact("meal", "carbohydrate", 0.0, 30.0))).watch()
    packed = msgspec.msgpack.encode(watch)
    again = msgspec.msgpack.decode(packed, type=Watch)
    assert again == watch
    again.read("glucose", 99.0, NOW + 300.0)
    again.give(TwinEvent(NOW, "bolus", "alpha", 1.0, 1))
    assert msgspec.msgpack.encode(watch) == packed, "nothing is shared"
