"""How parameters vary: each transformation by hand, and the whole way through a model."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dosetwin.twins import (
    Additive,
    BoxCox,
    LogitNormal,
    LogNormal,
    ModelError,
    Normal,
    Observation,
    Observed,
    Parameter,
    PopulationModel,
    estimate_individuals,
    one_compartment,
    predict,
    subject,
)
from dosetwin.twins.data.subject import Dose
from dosetwin.twins.precision import double_precision


def test_transformations() -> None:
    with double_precision():
        assert float(LogNormal(0.1).apply(4.0, 0.3)) == pytest.approx(4 * math.exp(0.3), rel=1e-12)
        assert float(Normal(0.1).apply(4.0, 0.3)) == pytest.approx(4.3, rel=1e-12)
        expected = 4 * math.exp((math.exp(0.3) ** 0.5 - 1) / 0.5)
        assert float(BoxCox(0.1, shape=0.5).apply(4.0, 0.3)) == pytest.approx(expected, rel=1e-12)
        logit = math.log(0.8 / 0.2) + 0.3
        assert float(LogitNormal(0.1).apply(0.8, 0.3)) == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-12)


def test_every_kind_of_parameter_in_one_model() -> None:
    """A bolus; F logit-normal, V normal, CL log-normal with a covariate's power that is a parameter too."""
    model = PopulationModel(
        one_compartment(),
        (
            Parameter("exponent", 0.75, "1"),
            Parameter(
                "CL", 4.0, "L/h", LogNormal(0.1), covariates=lambda c, p: (c.weight / 70) ** p.exponent
            ),
            Parameter("V1", 30.0, "L", Normal(9.0), covariates=lambda c: c.weight / 70),
            Parameter("F", 0.8, "1", LogitNormal(0.2)),
        ),
        Observed("drug", "mg/L", Additive(1.0)),
        source="made up for the test",
    )
    told = subject("a", [Dose(0.0, 100.0)], [Observation(5.0)], {"weight": 50.0})
    (f,) = predict(model, [told], [{"CL": 0.2, "V1": -2.0, "F": 0.5}])
    CL, V = 4 * (50 / 70) ** 0.75 * math.exp(0.2), 30 * 50 / 70 - 2
    F = 1 / (1 + math.exp(-(math.log(4) + 0.5)))
    np.testing.assert_allclose(f, F * 100 / V * math.exp(-CL / V * 5), rtol=1e-12)


def test_a_name_that_is_not_there_is_named() -> None:
    model = PopulationModel(
        one_compartment(),
        (
            Parameter("CL", 4.0, "L/h", LogNormal(0.1), covariates=lambda c, p: (c.wieght / 70) ** 0.75),
            Parameter("V1", 30.0, "L"),
        ),
        Observed("drug", "mg/L", Additive(1.0)),
        source="made up for the test",
    )
    told = subject("a", [Dose(0.0, 100.0)], [Observation(5.0, 2.0)], {"weight": 50.0})
    with pytest.raises(ModelError, match="CL uses 'wieght', which is neither a covariate") as raised:
        estimate_individuals(model, [told])
    assert raised.value.remedy == "did you mean 'weight'?"
