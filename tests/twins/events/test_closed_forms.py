"""The engine on closed-form structures against the slow simulator, over random patients.

Deviations are relative to the patient's highest level at any event (the peak): <= 1e-10.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.models.compartments import Absorption, Linear
from dosetwin.twins.population_model import Interpolation, PopulationModel
from dosetwin.twins.simulation.prediction import predict

from . import oracle
from .equations import concentrations, mammillary
from .strategies import Case, cases, largest, model_of, system_of

TOLERANCE = 1e-10
MODELS: dict[tuple[Linear, Interpolation], PopulationModel] = {}
TOGETHER = 7
"""With the largest possible patient they fill a batch of 8."""


def deviations(structure: Linear, interpolation: Interpolation, drawn: list[Case]) -> list[float]:
    """Largest deviation of each patient, relative to its peak."""
    depot = structure.absorption == "first_order"
    system = system_of(
        structure,
        mammillary(structure.size, depot),
        concentrations(structure.size, depot),
        method="exponential",
    )
    model = MODELS.setdefault((structure, interpolation), model_of(structure, interpolation))
    found = predict(model, [*(one.subject for one in drawn), largest(structure).subject])
    worst = []
    for one, ours in zip(drawn, found[:-1], strict=True):
        true, peak = oracle.simulate(system, one.subject, one.rows, interpolation)
        assert ours.shape == true[:, 0].shape
        worst.append(float(np.max(np.abs(ours - true[:, 0]))) / max(peak, 1e-9))
    return worst


def check(data: st.DataObject, structure: Linear, interpolation: Interpolation) -> None:
    """One batch of random patients."""
    drawn = data.draw(st.lists(cases(structure), min_size=1, max_size=TOGETHER))
    assert max(deviations(structure, interpolation, drawn)) <= TOLERANCE


ORDINARY = settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
MANY = settings(ORDINARY, max_examples=300)


@pytest.mark.parametrize(
    ("structure", "interpolation"),
    [
        (Linear(1, "zero_order"), "last_value_forward"),
        (Linear(2, "first_order"), "next_value_backward"),
        (Linear(3, "none"), "next_value_backward"),
    ],
    ids=str,
)
@ORDINARY
@given(data=st.data())
def test_random_patients(structure: Linear, interpolation: Interpolation, data: st.DataObject) -> None:
    check(data, structure, interpolation)


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("absorption", get_args(Absorption))
@pytest.mark.parametrize("size", [1, 2, 3])
@MANY
@given(data=st.data())
def test_thousands_of_random_patients(
    size: int, absorption: Absorption, interpolation: Interpolation, data: st.DataObject
) -> None:
    check(data, Linear(size, absorption), interpolation)  # type: ignore[arg-type] # 1, 2 or 3
