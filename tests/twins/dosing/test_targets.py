from __future__ import annotations

import math

import numpy as np
import pytest

from dosetwin.twins.dosing.targets import Target, attainment, auc24, chance, time_above, trough
from dosetwin.twins.models.errors import ModelError

SOURCE = "made up for this test"


def test_a_chance_counts_weights_and_states_its_error() -> None:
    weight = np.array([0.5, 0.25, 0.25])
    found = chance(np.array([True, False, True]), weight)
    assert found.value == 0.75
    n = 1 / (weight**2).sum()
    p = (0.75 * n + 1) / (n + 2)
    assert found.standard_error == pytest.approx(math.sqrt(p * (1 - p) / n))
    rng = np.random.default_rng(0)
    estimates = [float((rng.random(400) < 0.3).mean()) for _ in range(2000)]
    stated = chance(rng.random(400) < 0.3, np.full(400, 1 / 400)).standard_error
    assert np.std(estimates) == pytest.approx(stated, rel=0.15)


def test_no_sample_attaining_is_not_certainty() -> None:
    nothing = chance(np.zeros(100, bool), np.full(100, 0.01))
    assert nothing.value == 0
    assert 0.005 < nothing.standard_error < 0.03


def test_the_joint_chance_is_of_the_same_samples() -> None:
    low, high = (Target("x", "area", 0, 1, "", SOURCE, 0, 1), Target("y", "area", 0, 1, "", SOURCE, 1, 2))
    values = [np.array([0.5, 0.5, 2.0, 1.0]), np.array([1.5, 0.5, 1.5, 1.0])]
    each, joint = attainment([low, high], values, np.full(4, 0.25))
    assert [c.value for c in each] == [0.75, 0.75]
    assert joint.value == 0.5


def test_targets_say_what_they_mean() -> None:
    day = auc24(400, 600, 24, 72, "mg.h/L", SOURCE, mic=2.0)
    assert day.factor == pytest.approx(24 / 48 / 2)
    assert day.text == "AUC24/MIC 400-600 mg.h/L"
    assert day.window(100).begin == 124
    assert trough(10, math.inf, 48, "mg/L", SOURCE).text == "trough at least 10 mg/L"
    share = time_above(4.0, 0.6, 0, 24, "mg/L", SOURCE)
    assert share.levels
    assert not day.levels


@pytest.mark.parametrize(
    ("low", "high", "source", "begin"),
    [(2, 1, SOURCE, 0), (-math.inf, math.inf, SOURCE, 0), (1, 2, "", 0), (1, 2, SOURCE, 5)],
)
def test_a_target_without_meaning_is_refused(low: float, high: float, source: str, begin: float) -> None:
    with pytest.raises(ModelError):
        Target("x", "area", begin, 5, "mg.h/L", source, low, high)


def test_missed_is_a_relative_distance() -> None:
    target = Target("x", "area", 0, 1, "", SOURCE, 10, 20)
    assert target.missed(np.array([15.0, 5.0, 30.0, 20.0]), np.full(4, 0.25)) == pytest.approx(15 / 4 / 20)
