"""Means and their intervals, against SciPy's own BCa and by simulation; worst patients; differences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from dosetwin.twins.trials.statistics import EXACT_UP_TO, mean_interval, paired_difference, summarise

Values = npt.NDArray[np.float64]
SKEWED = np.array([0.0, 0.0, 0.4, 1.3, 1.9, 2.2, 4.1, 11.0])


def expanded_confidence(n: int) -> float:
    """The level whose normal quantiles are sqrt(n / (n - 1)) times Student's."""
    return 1 - 2 * float(stats.norm.sf(math.sqrt(n / (n - 1)) * stats.t.isf(0.025, n - 1)))


@pytest.mark.parametrize("values", [SKEWED, np.random.default_rng(1).gamma(2, 3, 40)], ids=["exact", "drawn"])
def test_the_interval_is_scipys_bca_at_the_expanded_level(values: Values) -> None:
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=200_000,
        confidence_level=expanded_confidence(len(values)),
        method="BCa",
        rng=np.random.default_rng(0),
        batch=20_000,
    ).confidence_interval
    low, high = mean_interval(values, seed=7)
    width = theirs.high - theirs.low
    assert low == pytest.approx(theirs.low, abs=0.03 * width)
    assert high == pytest.approx(theirs.high, abs=0.05 * width)


def test_few_patients_get_every_resample_there_is() -> None:
    """By hand for 5: all 3,125 ordered resamples, and the definition of BCa."""
    x = np.array([1.0, 2.0, 4.0, 8.0, 20.0])
    means = np.sort([np.mean(chosen) for chosen in itertools.product(x, repeat=5)])
    below = (np.sum(means < 7.0 - 1e-9) + np.sum(means <= 7.0 + 1e-9)) / 2 / len(means)
    z0 = stats.norm.ppf(below)
    jackknife = np.array([np.mean(np.delete(x, k)) for k in range(5)])
    gap = jackknife.mean() - jackknife
    a = np.sum(gap**3) / (6 * np.sum(gap**2) ** 1.5)
    ends = []
    for z in (
        stats.norm.ppf((1 - expanded_confidence(5)) / 2),
        stats.norm.isf((1 - expanded_confidence(5)) / 2),
    ):
        level = stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
        ends.append(means[min(math.ceil(level * len(means)) - 1, len(means) - 1)])
    assert mean_interval(x[::-1], seed=0) == pytest.approx(ends)
    assert mean_interval(x, seed=0) == mean_interval(x, seed=99)


def normal(rng: np.random.Generator, n: int) -> Values:
    return rng.normal(0.0, 1.0, n)


def time_in_range(rng: np.random.Generator, n: int) -> Values:
    return 100 * rng.beta(8, 1.5, n)


@pytest.mark.parametrize(
    ("draw", "truth", "n", "least"),
    [
        (normal, 0.0, 5, 0.88),
        (normal, 0.0, 20, 0.925),
        (time_in_range, 100 * 8 / 9.5, 5, 0.85),
        (time_in_range, 100 * 8 / 9.5, 20, 0.91),
    ],
)
def test_coverage(
    draw: Callable[[np.random.Generator, int], Values], truth: float, n: int, least: float
) -> None:
    """Of 600 trials. The plain percentile interval of 5 patients covers 84 % and 80 %: it would fail here."""
    rng = np.random.default_rng(5)
    trials = 600
    intervals = [mean_interval(draw(rng, n), seed=k) for k in range(trials)]
    covered = sum(low <= truth <= high for low, high in intervals) / trials
    assert least <= covered <= 0.985


def test_an_interval_stays_inside_what_the_patients_had_and_holds_their_mean() -> None:
    rng = np.random.default_rng(2)
    for n in (2, 3, 5, 8, 9, 30):
        for _ in range(20):
            x = 100 * rng.beta(0.5, 4, n)
            low, high = mean_interval(x, seed=1)
            assert x.min() <= low <= x.mean() + 1e-12
            assert x.mean() - 1e-12 <= high <= x.max()


def test_more_patients_give_a_shorter_interval_and_a_mirror_image_a_mirrored_one() -> None:
    x = SKEWED
    low, high = mean_interval(x, seed=0)
    again = mean_interval(np.tile(x, 8), seed=0)
    assert again[1] - again[0] < 0.6 * (high - low)
    mirrored = mean_interval(-x, seed=0)
    assert mirrored == pytest.approx((-high, -low), abs=0.3)  # ends are steps of a staircase


def test_the_same_seed_draws_the_same_and_another_nearly() -> None:
    x = np.random.default_rng(4).gamma(1, 1, EXACT_UP_TO + 20)
    assert mean_interval(x, seed=3) == mean_interval(x, seed=3)
    assert mean_interval(x, seed=3) != mean_interval(x, seed=4)
    assert mean_interval(x, seed=3) == pytest.approx(mean_interval(x, seed=4), rel=0.03)


def test_the_worst_patient_is_at_the_end_that_is_not_better() -> None:
    values = [70.0, math.nan, 95.0, 40.0, 88.0]
    higher, lower = summarise(values, "higher", 0), summarise(values, "lower", 0)
    assert (higher.worst, higher.worst_index) == (40.0, 3)
    assert (lower.worst, lower.worst_index) == (95.0, 2)
    assert higher.patients == 4
    assert higher.mean == pytest.approx(73.25)


def test_what_cannot_be_said_is_not_a_number() -> None:
    nobody = summarise([math.nan, math.nan], "higher", 0)
    assert (nobody.patients, nobody.worst_index) == (0, -1)
    assert all(math.isnan(v) for v in (nobody.mean, nobody.low, nobody.high, nobody.worst))
    one = summarise([3.0], "higher", 0)
    assert (one.mean, one.worst) == (3.0, 3.0)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    same = summarise([0.0] * 30, "lower", 0)
    assert (same.low, same.mean, same.high) == (0.0, 0.0, 0.0)


def test_a_paired_difference_does_not_see_how_patients_differ() -> None:
    rng = np.random.default_rng(0)
    patients = rng.normal(70, 15, 30)
    better = patients + 2 + rng.normal(0, 0.5, 30)
    found = paired_difference(better, patients, seed=0)
    assert found.patients == 30
    assert 1.6 < found.low < found.mean < found.high < 2.4
    apart = mean_interval(better, 0)
    assert found.high - found.low < 0.1 * (apart[1] - apart[0])
    mirrored = paired_difference(patients, better, seed=0)
    assert mirrored.mean == pytest.approx(-found.mean)


def test_a_patient_of_whom_one_policy_says_nothing_is_left_out() -> None:
    found = paired_difference([1.0, math.nan, 5.0, 7.0], [0.0, 2.0, math.nan, 5.0], seed=0)
    assert found.patients == 2
    assert found.mean == pytest.approx(1.5)
    assert paired_difference([math.nan], [1.0], seed=0).patients == 0
    with pytest.raises(ValueError, match="same patients"):
        paired_difference([1.0], [1.0, 2.0], seed=0)
