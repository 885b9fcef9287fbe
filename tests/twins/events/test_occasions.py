"""Parameters from etas, occasions, covariates and other parameters, against rows written out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.population_model import (
    Additive,
    Interpolation,
    LogNormal,
    Normal,
    Observed,
    Parameter,
    PopulationModel,
)
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import cohort
from dosetwin.twins.simulation.prediction import predicted

from . import oracle
from .equations import concentrations, mammillary
from .strategies import case, system_of

STRUCTURE = Linear(2, "first_order")
TIMES = [0.0, 0.5, 3.0, 12.0, 12.0, 13.0, 20.0, 24.0, 30.0]
EVID = [1, 0, 0, 1, 0, 0, 2, 0, 0]
OCCASION = [1, 1, 1, 2, 2, 2, 7, 7, 7]
WEIGHT = [70.0, 70.0, 71.0, 74.0, 74.0, 60.0, 55.0, 55.0, 82.0]


def model(interpolation: Interpolation) -> PopulationModel:
    return PopulationModel(
        structure=STRUCTURE,
        parameters=(
            Parameter(
                "CL",
                4.0,
                "L/h",
                LogNormal(0.09),
                covariates=lambda c: (c.WT / 70) ** 0.75,
                occasion=LogNormal(0.04),
            ),
            Parameter("V1", 20.0, "L", LogNormal(0.04), covariates=lambda c, p: p.CL / 4.0),
            Parameter("Q2", 6.0, "L/h"),
            Parameter("V2", 40.0, "L"),
            Parameter("ka", 1.1, "1/h", Normal(0.01)),
            Parameter("lag", 0.25, "h", occasion=LogNormal(0.09)),
        ),
        observed=Observed("amount", "", Additive(1.0)),
        source="made up",
        correlations={("CL", "V1"): 0.5},
        interpolation=interpolation,
    )


@pytest.mark.parametrize("interpolation", ["next_value_backward", "last_value_forward"])
def test_occasions_and_dependent_parameters(interpolation: Interpolation) -> None:
    eta = {"CL": 0.3, "V1": -0.2, "ka": 0.15}
    kappa = {1: {"CL": 0.1, "lag": -0.4}, 2: {"CL": -0.25, "lag": 0.6}, 7: {"CL": 0.35, "lag": 0.0}}
    rows = []
    for occasion, weight in zip(OCCASION, WEIGHT, strict=True):
        cl = 4.0 * (weight / 70) ** 0.75 * math.exp(eta["CL"] + kappa[occasion]["CL"])
        rows.append(
            {
                "CL": cl,
                "V1": 20.0 * cl / 4.0 * math.exp(eta["V1"]),
                "Q2": 6.0,
                "V2": 40.0,
                "ka": 1.1 + eta["ka"],
                "lag": 0.25 * math.exp(kappa[occasion]["lag"]),
            }
        )
    given = case(
        {"time": TIMES, "evid": [float(e) for e in EVID], "amount": [100.0 * (e == 1) for e in EVID]}, rows
    )
    subject = replace(
        given.subject,
        occasion=np.array(OCCASION),
        covariates=MappingProxyType({"WT": np.array(WEIGHT)}),
    )
    system = system_of(STRUCTURE, mammillary(2, True), concentrations(2, True), method="exponential")
    true, peak = oracle.simulate(system, subject, rows, interpolation)

    of = model(interpolation)
    batch = cohort(of, [subject]).batches[0]
    z = [np.linalg.solve(of.population.omega, [eta["CL"], eta["V1"], eta["ka"]])]
    z += [np.linalg.solve(of.population.gamma, [k["CL"], k["lag"]]) for k in kappa.values()]
    with double_precision():
        program = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), batch.program)
        found = predicted(of.root, batch.steady, of.population, program, jnp.asarray(np.concatenate(z)))
        ours = np.asarray(found)[: len(true)]
    assert np.max(np.abs(ours - true[:, 0])) <= 1e-10 * peak
