"""Lock-step runs: the same patient whoever is beside them; plants and controllers that break a promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dosetwin.platform.contracts import Order
from dosetwin.stream_jobs.trial.plan import Cell, TrialError, TrialPlan
from dosetwin.stream_jobs.trial.screen import Course, clock
from dosetwin.stream_jobs.trial.simulate import MOST_POINTS, joined, simulate
from dosetwin.stream_jobs.trial.source import find_trial
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.trials.trial import Cohort, Comparator, Outcome
from tests.stream_jobs.trial.one_compartment import Fixed, Ward

WARD = Path(__file__).with_name("one_compartment.py")
PLAN = TrialPlan(
    source=f"{WARD}:trial", plant="ward", patients=12, days=1.0, seed=3, policies=("proportional", "fixed")
)
TRIAL = find_trial(PLAN.source)


def run(policy: str, first: int, count: int, **change: Any) -> Outcome:
    return simulate(TRIAL, replace(PLAN, **change), Cell("", policy, first, count))


def test_a_patient_is_the_same_whoever_is_simulated_beside_them() -> None:
    whole = run("proportional", 0, 12)
    parts = joined([run("proportional", 0, 5), run("proportional", 5, 6), run("proportional", 11, 1)])
    for name, values in whole.measures.items():
        np.testing.assert_array_equal(values, parts.measures[name])
    np.testing.assert_array_equal(whole.traces["level"], parts.traces["level"])


def test_policies_meet_the_same_patients() -> None:
    """At one rate for all, the level after long is rate / CL: the clearances of both runs can be read off."""
    plan = replace(PLAN, days=20.0)
    slow = simulate(TRIAL, plan, Cell("slow", "fixed", 0, 12)).traces["level"][:, -1]
    usual = simulate(TRIAL, plan, Cell("", "fixed", 0, 12)).traces["level"][:, -1]
    np.testing.assert_allclose(slow * 0.6, usual, rtol=1e-3)
    other = simulate(TRIAL, replace(plan, seed=4), Cell("", "fixed", 0, 12)).traces["level"][:, -1]
    assert np.abs(other / usual - 1).max() > 0.1


def test_the_proportional_controller_does_better_than_one_rate_for_all() -> None:
    assert run("proportional", 0, 12).measures["in_range_pct"].mean() > 1.3 * (
        run("fixed", 0, 12).measures["in_range_pct"].mean()
    )


def test_progress_is_told_and_ends_with_the_days() -> None:
    told: list[float] = []
    simulate(TRIAL, PLAN, Cell("", "fixed", 0, 2), told.append)
    assert len(told) == 24
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


class Standing(Ward):
    def advance(self, orders: Sequence[Sequence[Order]]) -> list[list[TwinEvent]]:
        return self.begin()


class TooFew(Ward):
    def __init__(self, cohort: Cohort) -> None:
        super().__init__(cohort)
        self.patients = self.patients[1:]


def silent(change: Callable[[Outcome], Outcome]) -> Callable[[Cohort], Ward]:
    class Changed(Ward):
        def outcome(self) -> Outcome:
            return change(super().outcome())

    return Changed


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (Standing, "did not advance beyond 0 s"),
        (TooFew, "made 1 patients; 2 were asked for"),
        (silent(lambda o: replace(o, measures={})), "gave no measure in_range_pct, above_pct"),
        (
            silent(lambda o: replace(o, measures={k: v[:1] for k, v in o.measures.items()})),
            r"measure in_range_pct has shape \(1,\); expected \(2,\)",
        ),
        (
            silent(lambda o: replace(o, time_s=o.time_s[1:])),
            r"trace level has shape \(2, 25\); expected \(2, 24\)",
        ),
    ],
)
def test_a_plant_that_breaks_its_promise_is_named(plant: Callable[[Cohort], Ward], found: str) -> None:
    trial = replace(TRIAL, plants={"ward": plant})
    with pytest.raises(TrialError, match=found):
        simulate(trial, PLAN, Cell("", "fixed", 0, 2))


def test_a_policy_that_forgets_a_patient_is_named() -> None:
    class Forgetful(Fixed):
        def decide(self, at_s: float) -> list[tuple[Order, ...]]:
            return super().decide(at_s)[:-1]

    trial = replace(TRIAL, comparators={"forgetful": Comparator(Forgetful, "")})
    with pytest.raises(TrialError, match="policy forgetful decided for 1 patients of 2"):
        simulate(trial, PLAN, Cell("", "forgetful", 0, 2))


def test_a_level_is_drawn_when_the_controller_asks_for_one() -> None:
    asked: list[list[float]] = []

    class Laboratory(Ward):
        def sample_at(self, at_s: Sequence[float]) -> None:
            asked.append(list(at_s))

    class Asking(Fixed):
        def decide(self, at_s: float) -> list[tuple[Order, ...]]:
            self.next_sample_s = np.full(self._n, at_s + 1800)
            return super().decide(at_s)

    trial = replace(TRIAL, plants={"ward": Laboratory}, comparators={"asking": Comparator(Asking, "")})
    simulate(trial, PLAN, Cell("", "asking", 0, 2))
    assert asked == [[3600.0 * k + 1800] * 2 for k in range(24)]


def test_long_traces_are_thinned_and_shorter_ones_filled_up() -> None:
    def long(outcome: Outcome) -> Outcome:
        n = 2 * MOST_POINTS + 1
        return replace(outcome, time_s=np.arange(float(n)), traces={"level": np.tile(np.arange(n), (2, 1))})

    trial = replace(TRIAL, plants={"ward": silent(long)})
    thin = simulate(trial, PLAN, Cell("", "fixed", 0, 2))
    assert len(thin.time_s) <= MOST_POINTS
    np.testing.assert_array_equal(thin.traces["level"][0], thin.time_s)
    short = outcome_of(3, {"level": np.ones((2, 3), np.float32)})
    both = joined([short, outcome_of(5, {"level": np.ones((1, 5), np.float32)})])
    assert np.isnan(both.traces["level"][:2, 3:]).all()
    assert both.traces["level"].shape == (3, 5)
    with pytest.raises(TrialError, match="different time axes"):
        joined([short, replace(short, time_s=short.time_s + 1)])


def outcome_of(points: int, traces: Mapping[str, Any]) -> Outcome:
    n = len(traces["level"])
    return Outcome({"in_range_pct": np.zeros(n)}, np.arange(points, dtype=np.float64), dict(traces))


def test_the_time_left_knows_that_one_policy_is_slower_than_another() -> None:
    plan = replace(PLAN, patients=40, days=2.0)
    slow, slow_2, quick, quick_2 = cells = plan.cells()
    course = Course(plan, cells, workers=1)
    assert course.remaining_s(0.0) is None
    course.lived({slow.name: 0.0}, 0.0)
    course.lived({slow.name: 2.0}, 100.0)
    course.end(slow, 100.0)
    course.lived({quick.name: 0.0}, 100.0)
    course.lived({quick.name: 1.0}, 105.0)
    assert course.done == pytest.approx(20 * 2 + 20 * 1)
    assert course.remaining_s(105.0) == pytest.approx(100 + 5 + 10)
    course.end(quick, 110.0)
    course.lived({slow_2.name: 1.0, quick_2.name: 1.0}, 120.0)
    assert course.running() == "proportional, fixed"
    assert (clock(65), clock(3725)) == ("1:05", "1:02:05")
