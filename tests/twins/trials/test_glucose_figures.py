"""The glucose trial's figures: zones at the published corners, shares, percentiles, and that all draw."""

from __future__ import annotations

import numpy as np
import pytest

from dosetwin.twins.trials.glucose_agp import PERCENTILES, daily_percentiles, shares_pct
from dosetwin.twins.trials.glucose_error_grid import ZONES, error_grid, zones
from dosetwin.twins.trials.glucose_figures import figures
from dosetwin.twins.trials.glucose_measures import glucose_measures
from dosetwin.twins.trials.trial import Outcome

START_S = 1_767_571_200.0

# (plasma, sensor) just inside each zone beside corners that Pfützner 2013 gives for type-1 diabetes
POINTS = [
    ((100, 100), "A"), ((29, 49), "A"), ((29, 51), "B"), ((139, 168), "A"), ((139, 172), "B"),
    ((280, 378), "A"), ((280, 382), "B"), ((29, 59), "B"), ((29, 61), "C"), ((69, 107), "B"),
    ((69, 112), "C"), ((24, 99), "C"), ((24, 101), "D"), ((79, 211), "C"), ((79, 217), "D"),
    ((34, 154), "D"), ((34, 156), "E"), ((49, 29), "A"), ((51, 29), "B"), ((170, 147), "A"),
    ((170, 143), "B"), ((385, 302), "A"), ((385, 298), "B"), ((119, 29), "B"), ((121, 29), "C"),
    ((260, 132), "B"), ((260, 128), "C"), ((249, 39), "C"), ((251, 39), "D"), ((549, 152), "C"),
    ((549, 148), "D"), ((400, 400), "A"), ((10, 500), "E"),
]  # fmt: skip


@pytest.mark.parametrize(("pair", "zone"), POINTS)
def test_zones_at_the_published_corners(pair: tuple[float, float], zone: str) -> None:
    assert ZONES[int(zones(np.array([pair[0]]), np.array([pair[1]]))[0])] == zone


def test_the_error_grid_says_its_shares() -> None:
    plasma = np.array([100.0, 100.0, 29.0, np.nan])
    shown = np.array([100.0, 110.0, 61.0, 100.0])
    label = str(error_grid(plasma, shown).get_label())
    assert "3 pairs" in label
    assert "zone A 66.67 %" in label
    assert "zone C 33.33 %" in label
    relative = (0.0 + 0.1 + 32 / 29) / 3
    assert f"difference {100 * relative:.1f} %" in label


def test_shares_are_those_of_the_consensus() -> None:
    shares = shares_pct(np.array([251.0, 250.0, 181.0, 180.0, 70.0, 69.0, 54.0, 53.0, np.nan]))
    assert shares == pytest.approx([12.5, 25.0, 25.0, 25.0, 12.5])


def test_percentiles_of_a_quarter_of_an_hour() -> None:
    time_s = np.asarray(START_S + 300.0 * np.arange(14 * 288), np.float64)
    rng = np.random.default_rng(1)
    glucose = 120.0 + 40.0 * np.sin(2 * np.pi * time_s / 86_400.0) + 15.0 * rng.standard_normal(time_s.size)
    glucose[::17] = np.nan
    hour, bands = daily_percentiles(time_s, np.asarray(glucose, np.float64))
    level = 120.0 + 40.0 * np.sin(2 * np.pi * hour / 24.0)
    normal = {5: -1.645, 25: -0.674, 50: 0.0, 75: 0.674, 95: 1.645}
    for percentile, band in zip(PERCENTILES, bands, strict=True):
        assert np.abs(band - level - 15.0 * normal[percentile]).mean() < 4.0
    assert (np.diff(bands, axis=0) >= 0).all()


def outcome(shift: float, days: int) -> Outcome:
    rng = np.random.default_rng(5)
    steps = days * 288
    plasma = np.clip(140 + shift + 50 * rng.standard_normal((3, steps)).cumsum(1) / 40, 30, 450)
    shown = plasma + 10 * rng.standard_normal((3, steps))
    shown[:, 40:60] = np.nan
    time_s = START_S + 300.0 * np.arange(1, steps + 1)
    traces = {"plasma_glucose": plasma, "sensor_glucose": shown}
    return Outcome({**glucose_measures(plasma)}, time_s, {**traces})


@pytest.mark.parametrize("days", [1, pytest.param(15, marks=pytest.mark.slow)])
def test_all_figures_draw_and_say_what_they_show(days: int) -> None:
    drawn = figures({"dosetwin": outcome(0.0, days), "pid": outcome(30.0, days)})
    assert len(drawn) == 7
    for title, figure in drawn.items():
        assert str(figure.get_label()) not in ("", title)
        if "pid" not in title or days > 1:
            assert "<svg" in figure.svg()
    page = next(figure for title, figure in drawn.items() if "worst patient of dosetwin" in title)
    texts = " ".join(text.get_text() for axis in page.axes for text in axis.texts)
    for words in ("In range", "Very low", "GMI", "Sensor active", "70-180 mg/dL (> 70 %)"):
        assert words in texts
    assert len(page.axes) == 2 + 1 + 14
