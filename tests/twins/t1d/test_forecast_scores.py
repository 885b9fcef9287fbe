"""Scores against their definitions, closed forms and what they must find out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dosetwin.twins.diagnostics.forecast_scores import (
    ForecastScoreError,
    coverage,
    crps_ensemble,
    rank_histogram,
    ranks,
)

N, M = 6000, 19


def calibrated(scale: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    centre = rng.normal(scale=5.0, size=N)
    return centre[:, None] + shift + scale * rng.normal(size=(N, M)), centre + rng.normal(size=N)


def test_crps_is_its_definition() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 7)), rng.normal(size=40)
    pairs = np.abs(x[:, :, None] - x[:, None, :]).sum((1, 2)) / (7 * 6)
    np.testing.assert_allclose(crps_ensemble(x, y), np.abs(x - y[:, None]).mean(1) - 0.5 * pairs, atol=1e-12)


def test_crps_of_many_members_is_the_normals_closed_form() -> None:
    rng = np.random.default_rng(2)
    y = np.linspace(-2.0, 2.5, 10)
    z = y / 1.5
    closed = 1.5 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    got = crps_ensemble(1.5 * rng.normal(size=(10, 200_000)), y)
    np.testing.assert_allclose(got, closed, atol=0.01)


def test_fair_crps_does_not_depend_on_the_size_and_is_least_for_the_truth() -> None:
    x, y = calibrated()
    many, few = crps_ensemble(x, y).mean(), crps_ensemble(x[:, :5], y).mean()
    assert few == pytest.approx(many, rel=0.02)
    for wrong in (calibrated(scale=0.5), calibrated(scale=2.0), calibrated(shift=0.5)):
        assert crps_ensemble(*wrong).mean() > 1.03 * many
    assert crps_ensemble([[3.0]], [1.0])[0] == pytest.approx(2.0)


def test_ranks_are_flat_only_where_calibrated() -> None:
    flat = rank_histogram(*calibrated())
    assert flat.counts.sum() == N
    assert len(flat.counts) == M + 1
    assert flat.p_value > 0.01
    narrow, low = rank_histogram(*calibrated(scale=0.7)), rank_histogram(*calibrated(shift=-0.3), bins=7)
    assert narrow.p_value < 1e-6
    assert narrow.counts[[0, -1]].min() > 1.5 * N / (M + 1), "a narrow ensemble makes a U"
    assert low.p_value < 1e-6
    assert low.counts[-1] > low.counts[0]
    assert stats.chisquare(flat.counts).pvalue == pytest.approx(flat.p_value)


def test_equal_values_are_ranked_at_random() -> None:
    found = ranks(np.zeros((4000, 3)), np.zeros(4000))
    assert set(found.tolist()) == {0, 1, 2, 3}
    assert np.bincount(found).min() > 850


def test_coverage_is_what_the_interval_says() -> None:
    for level, found in coverage(*calibrated(), levels=(0.5, 0.8, 0.9)).items():
        assert found == pytest.approx(level, abs=3.0 * np.sqrt(level * (1 - level) / N))
    assert coverage(*calibrated(scale=0.5))[0.9] < 0.7


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ForecastScoreError, match="expected"):
        crps_ensemble(np.zeros((3, 4)), np.zeros(4))
    with pytest.raises(ForecastScoreError, match="finite"):
        coverage([[1.0, np.nan]], [1.0])
    with pytest.raises(ForecastScoreError, match="bins"):
        rank_histogram(np.zeros((3, 4)), np.zeros(3), bins=9)
