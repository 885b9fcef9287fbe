"""The measures of the vancomycin trial, of areas that are known by hand; its figures are drawn."""

from __future__ import annotations

import numpy as np

from dosetwin.twins.trials.vancomycin_figures import figures
from dosetwin.twins.trials.vancomycin_measures import outcome


def test_measures_of_two_patients_by_hand() -> None:
    """One hour steps over three days: areas of 500, 700, 300 a day, and of 450 every day."""
    rates = np.repeat([[500.0, 450.0], [700.0, 450.0], [300.0, 450.0]], 24, axis=0) / 24
    areas = np.concatenate([np.zeros((1, 2)), np.cumsum(rates, axis=0)])
    found = outcome(areas, rates, np.ones((72, 2)), np.array([12.0, np.nan]), np.array([2.0, 0.0]), 1.0)
    m = found.measures
    np.testing.assert_allclose(m["auc24_in_target_pct"], [100 / 3, 100])
    np.testing.assert_allclose(m["auc24_above_pct"], [100 / 3, 0])
    assert m["auc24_in_target_24h_pct"].tolist() == [100, 100]
    assert m["auc24_in_target_48h_pct"].tolist() == [0, 100]
    assert m["auc24_above_48h_pct"].tolist() == [100, 0]
    assert m["auc24_in_target_72h_pct"].tolist() == [0, 100]
    # from 12 h on: half of 500 and half of 700 are 600, which is still within
    np.testing.assert_array_equal(m["auc24_in_target_after_level_pct"], [100, np.nan])
    assert m["samples"].tolist() == [2, 0]
    assert found.traces["auc24"].shape == (2, 73)
    np.testing.assert_allclose(found.traces["auc24"][0, [24, 48, 72]], [500, 700, 300])
    drawn = figures({"one": found, "other": found})
    assert len(drawn) == 4
    assert all(figure.get_label() for figure in drawn.values())
