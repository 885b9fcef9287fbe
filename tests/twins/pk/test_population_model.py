from __future__ import annotations

import math

import numpy as np
import pytest

from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.covariate_equations import (
    cockcroft_gault_mL_min,
    fat_free_mass_al_sallami_kg,
    lean_body_mass_james_kg,
)
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import (
    Combined,
    LogError,
    LogNormal,
    Observed,
    Parameter,
    PopulationModel,
)
from dosetwin.twins.simulation.program_writer import covariate_effects

CL = Parameter("CL", 4.5, "L/h", variability=LogNormal(0.147), covariates=lambda c: c.weight / 70)
V1 = Parameter("V1", 58.4, "L", variability=LogNormal(0.5))
SEEN = Observed("drug", "mg/L", error=Combined(additive=1.0))


def model(*parameters: Parameter, **more: object) -> PopulationModel:
    return PopulationModel(one_compartment(), parameters, SEEN, str(more.pop("source", "a paper")), **more)  # type: ignore[arg-type]  # keywords are passed on as given


def test_etas_are_in_the_order_of_the_parameters() -> None:
    made = model(CL, V1, correlations={("CL", "V1"): 0.5})
    assert made.varying == ("CL", "V1")
    np.testing.assert_allclose(made.population.omega @ made.population.omega.T, made.omega)
    np.testing.assert_allclose(made.omega[0, 1], 0.5 * math.sqrt(0.147 * 0.5))


def test_coefficient_of_variation() -> None:
    assert LogNormal.from_cv(0.398).variance == pytest.approx(0.14705, abs=1e-5)  # Goti 2018, CL


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: model(CL), "missing V1"),
        (lambda: model(CL, V1, V1), "expected each once"),
        (lambda: model(CL, Parameter("V1", -1.0, "L")), "found V1 = -1.0; expected a number above 0"),
        (lambda: model(CL, V1, correlations={("CL", "V1"): 1.2}), "no positive definite matrix"),
        (
            lambda: model(CL, V1, correlations={("CL", "F"): 0.2}),
            "a correlation of F, which has no variability",
        ),
        (lambda: model(CL, V1, source=""), "names no source"),
        (lambda: LogNormal(0.0), "found variance 0.0"),
        (lambda: Combined(), "found residual error additive 0.0"),
        (lambda: LogError(-1.0), "found a log-normal error"),
    ],
)
def test_wrong_models_say_what_was_found_and_expected(build: object, words: str) -> None:
    with pytest.raises(ModelError) as raised:
        build()  # type: ignore[operator]  # a lambda of the table above
    assert words in str(raised.value)


def test_covariates_outside_the_model_are_named() -> None:
    with pytest.raises(ModelError, match=r"CL becomes -0.6429 with weight=-10; expected a number above 0"):
        covariate_effects(model(CL, V1), "p", {"weight": np.array([70.0, -10.0])}, 2)


def test_covariate_equations() -> None:
    one = np.array(1.0)
    # (140 - 60) 72 / (72 x 1) by hand, and 85 % of it for a woman
    assert cockcroft_gault_mL_min(60 * one, 72 * one, one, one) == pytest.approx(80.0)
    assert cockcroft_gault_mL_min(60 * one, 72 * one, 0 * one, one) == pytest.approx(68.0)
    # the first volunteer of Minto's data: 72 kg, 171 cm, man, 56.5075 kg lean
    assert lean_body_mass_james_kg(72 * one, 171 * one, one) == pytest.approx(56.5075, abs=1e-4)
    # an adult man's maturation is complete: Janmahasatian 2005 alone
    adult = fat_free_mass_al_sallami_kg(35 * one, 70 * one, 170 * one, one)
    assert adult == pytest.approx(9270 * 70 / (6680 + 216 * 70 / 1.7**2), rel=1e-3)
