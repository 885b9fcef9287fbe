"""Doses that a structure sends down two ways at once, against the slow simulator over random patients.

Mixed absorption: one part through the depot, first order, the other at a constant rate into the central
compartment, each with its own fraction and lag. Deviations are relative to the peak: <= 1e-10.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.models.linear_system import LinearSystem
from dosetwin.twins.models.structure import Input
from dosetwin.twins.simulation.prediction import predict

from . import oracle
from .equations import mammillary
from .strategies import Case, cases, largest, model_of, system_of

MIXED = LinearSystem(
    ("depot", "central"),
    flows={("depot", "central"): "ka", ("central", "out"): "CL/V1"},
    outputs={"central": "central/V1"},
    inputs={
        "depot": (
            Input("depot", fraction="F_first", lag="lag_first"),
            Input("central", fraction="F_zero", lag="lag_zero", duration="D_zero", rate="R", zero_order=True),
        )
    },
)
MODEL = model_of(MIXED)


def observe(t: float, x: oracle.Vector, p: oracle.Row) -> oracle.Vector:
    return np.asarray(x[1:] / p["V1"], np.float64)


SYSTEM = system_of(MIXED, mammillary(1, True), observe, method="exponential")


def check(drawn: list[Case]) -> None:
    """One batch of random patients."""
    found = predict(MODEL, [*(one.subject for one in drawn), largest(MIXED).subject])
    for one, ours in zip(drawn, found[:-1], strict=True):
        true, peak = oracle.simulate(SYSTEM, one.subject, one.rows)
        assert np.max(np.abs(ours - true[:, 0])) <= 1e-10 * max(peak, 1e-9)


ORDINARY = settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
MANY = settings(ORDINARY, max_examples=300)
BATCHES: Any = st.lists(cases(MIXED), min_size=1, max_size=7)


@ORDINARY
@given(drawn=BATCHES)
def test_mixed_absorption(drawn: list[Case]) -> None:
    check(drawn)


@pytest.mark.slow
@MANY
@given(drawn=BATCHES)
def test_mixed_absorption_of_many(drawn: list[Case]) -> None:
    check(drawn)
