"""The closed loop on virtual patients of another model (development seeds; reports use others)."""

from __future__ import annotations

import numpy as np
import pytest

from dosetwin.twins.loop_group import LoopGroup
from dosetwin.twins.trials.propofol import trial
from dosetwin.twins.trials.trial import Cohort


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "in_range_pct", "below_65_over_floor_pct"), [("surgical", 85.0, 8.0), ("difficult", 60.0, 10.0)]
)
def test_most_of_maintenance_is_in_range_and_pressure_is_kept(
    plant: str, in_range_pct: float, below_65_over_floor_pct: float
) -> None:
    theatre = trial.plants[plant](Cohort(range(8), seed=2, days=1.2 / 24))
    loop = LoopGroup("propofol", theatre.patients, seed=2)
    loop.tell(theatre.begin())
    while theatre.at_s < theatre.end_s:
        loop.tell(theatre.advance(loop.decide(theatre.at_s)))
    found = theatre.outcome().measures
    assert np.nanmean(found["bis_40_60_pct"]) > in_range_pct
    excess = np.nanmean(found["map_below_65_pct"]) - np.nanmean(found["map_below_65_floor_pct"])
    assert excess < below_65_over_floor_pct
    assert np.nanmax(found["induction_min"]) < 8.0
