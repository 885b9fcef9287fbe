"""The engine on structures written as right-hand sides against the slow simulator, over random patients.

Deviations are relative to the patient's highest level at any event (the peak): <= 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Adaptive, FixedStep, Solver
from dosetwin.twins.population_model import Interpolation, PopulationModel
from dosetwin.twins.simulation.prediction import predict

from . import oracle
from .equations import inhibited_production, michaelis_menten
from .strategies import Case, cases, largest, model_of, system_of

TOLERANCE = 1e-6
TOGETHER = 7


def saturable(t: Any, x: Any, p: Any) -> dict[str, Any]:
    """Michaelis-Menten elimination after a depot."""
    c = x.central / p.V1
    return {"depot": -p.ka * x.depot, "central": p.ka * x.depot - p.Vmax * c / (p.Km + c)}


def inhibited(t: Any, x: Any, p: Any) -> dict[str, Any]:
    """A response whose production the drug inhibits (indirect response I of Dayneka, Garg & Jusko 1993)."""
    c = x.central / p.V1
    return {
        "central": -p.CL * c,
        "response": p.kin * p.IC50 / (p.IC50 + jnp.maximum(c, 0.0)) - p.kout * x.response,
    }


@dataclass(frozen=True)
class Model:
    """A structure, the model around it, and the oracle's own description."""

    model: PopulationModel
    system: oracle.System
    interpolation: Interpolation


def saturable_model(solver: Solver, interpolation: Interpolation = "next_value_backward") -> Model:
    structure = ODE(saturable, ("depot", "central"), {"central": "central/V1"}, solver=solver)

    def observe(t: float, x: oracle.Vector, p: oracle.Row) -> oracle.Vector:
        return x[1:] / p["V1"]

    return Model(
        model_of(structure, interpolation), system_of(structure, michaelis_menten, observe), interpolation
    )


def response_model(solver: Solver, interpolation: Interpolation = "next_value_backward") -> Model:
    structure = ODE(
        inhibited,
        ("central", "response"),
        {"response": lambda p, x: x.response},
        initial={"response": "kin/kout"},
        solver=solver,
    )

    def observe(t: float, x: oracle.Vector, p: oracle.Row) -> oracle.Vector:
        return x[1:]

    def baseline(p: oracle.Row) -> oracle.Vector:
        return np.array([0.0, p["kin"] / p["kout"]])

    system = system_of(structure, inhibited_production, observe, initial=baseline)
    return Model(model_of(structure, interpolation), system, interpolation)


def deviations(of: Model, drawn: list[Case]) -> list[float]:
    """Largest deviation of each patient, relative to its peak."""
    beside = largest(of.model.structure).subject
    found = predict(of.model, [*(one.subject for one in drawn), beside])
    worst = []
    for one, ours in zip(drawn, found[:-1], strict=True):
        true, peak = oracle.simulate(of.system, one.subject, one.rows, of.interpolation)
        worst.append(float(np.max(np.abs(ours - true[:, 0]))) / max(peak, 1e-9))
    return worst


SATURABLE = saturable_model(FixedStep(0.005))
"""Steps that suffice for rates up to Vmax / (Km V1) = 12 per hour; compiled in a third of tsit5's time."""
ORDINARY = settings(deadline=None, max_examples=4, suppress_health_check=list(HealthCheck))
MANY = settings(ORDINARY, max_examples=150)


def batches(of: Model) -> st.SearchStrategy[list[Case]]:
    """Up to a batch of patients, their steady states below what a saturable elimination can take."""
    return st.lists(cases(of.model.structure, most=20.0), min_size=1, max_size=TOGETHER)


@ORDINARY
@given(drawn=batches(SATURABLE))
def test_saturable_elimination(drawn: list[Case]) -> None:
    assert max(deviations(SATURABLE, drawn)) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    "of",
    [
        saturable_model(Adaptive()),
        saturable_model(Adaptive("rodas5p"), "last_value_forward"),
        SATURABLE,
        response_model(Adaptive()),
        response_model(Adaptive("kvaerno5"), "last_value_forward"),
    ],
    ids=["tsit5", "rodas5p", "rk4", "response", "response-kvaerno5"],
)
@MANY
@given(data=st.data())
def test_many_random_patients(of: Model, data: st.DataObject) -> None:
    assert max(deviations(of, data.draw(batches(of)))) <= TOLERANCE
