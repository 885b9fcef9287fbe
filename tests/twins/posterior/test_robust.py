from __future__ import annotations

import pytest

from dosetwin.twins.data.subject import Dose, Observation, subject
from dosetwin.twins.inference.individuals import estimate_individuals
from dosetwin.twins.inference.robust import outliers, robust
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import (
    Count,
    LogNormal,
    Observed,
    Parameter,
    PopulationModel,
    Proportional,
)

NORMAL = PopulationModel(
    one_compartment(),
    (Parameter("CL", 4.0, "L/h", LogNormal(0.16)), Parameter("V1", 30.0, "L", LogNormal(0.09))),
    Observed("drug", "mg/L", Proportional(0.15)),
    "made up for this test",
)
GOOD = [Observation(1, 9.0), Observation(4, 6.2), Observation(8, 3.5), Observation(12, 2.0)]
CLEAN = subject("clean", [Dose(0, 300)], GOOD)
# drawn from the line that the drug ran through
SPOILED = subject("spoiled", [Dose(0, 300)], [*GOOD, Observation(6, 90.0)])


def test_one_absurd_level_moves_a_robust_estimate_little_and_is_named() -> None:
    usual = estimate_individuals(NORMAL, [CLEAN, SPOILED], starts=0)
    bounded = estimate_individuals(robust(NORMAL), [CLEAN, SPOILED], starts=0)
    assert bounded.converged.all()
    moved_usual = abs(usual.etas["CL"]["spoiled"] - usual.etas["CL"]["clean"])
    moved = abs(bounded.etas["CL"]["spoiled"] - bounded.etas["CL"]["clean"])
    assert moved < 0.1
    assert moved < 0.25 * moved_usual
    table = outliers(bounded)
    assert (table["id"][0], table["time"][0], table["value"][0]) == ("spoiled", 6, 90)
    assert table["weight"][0] < 0.02
    assert "90 mg/L of subject spoiled at 6 h" in table["sentence"][0]
    assert "of an ordinary level" in table["sentence"][0]
    assert (table["sentence"][1:] == "").all()
    assert len(table) == 9
    # without the robust form it counts in full, and is named all the same where it lies far off
    plain = outliers(usual)
    assert (plain["weight"] == 1).all()
    assert abs(plain["residual"][0]) == plain["residual"].abs().max()
    assert "counted in full" in plain["sentence"][0]


def test_only_normal_errors_are_replaced() -> None:
    counts = PopulationModel(
        one_compartment(),
        NORMAL.parameters,
        (Observed("drug", "mg/L", Proportional(0.1)), Observed("events", "1", Count())),
        "made up for this test",
    )
    kinds = [type(o.error).__name__ for o in robust(counts).outputs]
    assert kinds == ["StudentT", "Count"]
    with pytest.raises(ModelError, match="no normal residual error"):
        robust(robust(NORMAL))
