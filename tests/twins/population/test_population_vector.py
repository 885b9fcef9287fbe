"""The vector of free numbers: there and back, names, bounds, errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from dosetwin.twins.inference.population_vector import natural_scale, numbers, population_vector
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import (
    Combined,
    LogitNormal,
    LogNormal,
    Normal,
    Observed,
    Ordinal,
    Parameter,
    PopulationModel,
    StudentT,
)


def model(**changes: Any) -> PopulationModel:
    parameters = {
        "CL": Parameter("CL", 2.0, "L/h", variability=LogNormal(0.1), occasion=LogNormal(0.02)),
        "V1": Parameter("V1", 20.0, "L", variability=LogNormal(0.05)),
        "F": Parameter("F", 0.6, "1", variability=LogitNormal(0.3)),
        "slope": Parameter("slope", -0.4, "1"),
        "share": Parameter("share", 0.2, "1", low=0.1, high=0.9),
        "top": Parameter("top", 3.0, "1", high=5.0, variability=Normal(0.2, fixed=True)),
        "held": Parameter("held", 7.0, "1", fixed=True),
        "derived": Parameter("derived", 1.0, "1", absolute=True, covariates=lambda c, p: p.CL / p.V1),
    }
    parameters |= changes
    return PopulationModel(
        structure=one_compartment(),
        parameters=tuple(parameters.values()),
        observed=(
            Observed("drug", "mg/L", error=Combined(0.1, 0.2, fixed=("additive",))),
            Observed("score", "1", error=Ordinal((0.5, -1.0)), output=lambda p, y: p.slope * y.central),
            Observed("metabolite", "mg/L", error=StudentT(Combined(proportional=0.3))),
        ),
        source="a test",
        correlations={("V1", "CL"): 0.3},
    )


NAMES = (
    *("CL", "V1", "F", "slope", "share", "top"),
    *("omega2_CL", "omega2_V1", "omega2_F", "correlation_CL_V1", "gamma2_CL"),
    *("residual_proportional_drug", "residual_step_1_score", "residual_step_2_score"),
    "residual_proportional_metabolite",
)


def test_names_are_those_that_are_free() -> None:
    assert population_vector(model()).names == NAMES


def test_there_and_back() -> None:
    made = model()
    layout = population_vector(made)
    x = layout.pack(made.population)
    same = numbers(layout, x, made.population)
    for one, other in zip(jax.tree.leaves(same), jax.tree.leaves(made.population), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    values, _ = natural_scale(layout, x, made.population)
    expected = [2, 20, 0.6, -0.4, 0.2, 3, 0.1, 0.05, 0.3, 0.3, 0.02, 0.2, 0.5, -1.0, 0.3]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_every_vector_is_a_population_within_its_bounds() -> None:
    made = model()
    layout = population_vector(made)
    for seed in range(5):
        x = layout.pack(made.population) + np.random.default_rng(seed).normal(0, 2, layout.size)
        moved = made.with_population(numbers(layout, x, made.population), "moved")
        p = moved.by_name
        assert p["CL"].typical > 0
        assert 0.1 < p["share"].typical < 0.9
        assert 0 < p["F"].typical < 1
        assert p["top"].typical < 5
        assert p["held"].typical == 7
        assert p["top"].variability is not None
        assert p["top"].variability.variance == pytest.approx(0.2, rel=1e-12)
        drug = moved.outputs[0].error
        assert isinstance(drug, Combined)
        assert drug.additive == pytest.approx(0.1, rel=1e-12)
        assert set(moved.correlations) == {("V1", "CL")}


def test_the_jacobian_is_that_of_differences() -> None:
    made = model()
    layout = population_vector(made)
    x = layout.pack(made.population) + 0.1
    _, jacobian = natural_scale(layout, x, made.population)
    for j in range(layout.size):
        step = np.zeros(layout.size)
        step[j] = 1e-6
        up, _ = natural_scale(layout, x + step, made.population)
        down, _ = natural_scale(layout, x - step, made.population)
        np.testing.assert_allclose(jacobian[:, j], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


def test_a_start_on_its_bound_is_refused() -> None:
    with pytest.raises(ModelError, match=r"share = 0.9 on its bound"):
        population_vector(model(share=Parameter("share", 0.9, "1", low=0.1, high=0.9)))


def test_nothing_free_is_refused() -> None:
    made = PopulationModel(
        structure=one_compartment(),
        parameters=(
            Parameter("CL", 2.0, "L/h", variability=LogNormal(0.1, fixed=True), fixed=True),
            Parameter("V1", 20.0, "L", fixed=True),
        ),
        observed=Observed("drug", "mg/L", error=Combined(proportional=0.2, fixed=("proportional",))),
        source="a test",
    )
    with pytest.raises(ModelError, match="no free number"):
        population_vector(made)
    one = replace(made.parameters[1], fixed=False)
    assert population_vector(replace(made, parameters=(made.parameters[0], one))).names == ("V1",)
