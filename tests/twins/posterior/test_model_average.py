from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import lognorm, norm
from scipy.stats import t as student

from dosetwin.twins.data.subject import Dose, Observation, Subject, subject
from dosetwin.twins.inference.model_average import average_models, omitted_constants
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import (
    LogError,
    LogNormal,
    Observed,
    Parameter,
    PopulationModel,
    Proportional,
    StudentT,
)
from dosetwin.twins.precision import double_precision
from tests.twins.posterior.quadrature import grid_posterior

Values = npt.NDArray[np.float64]
V = 30.0
TIMES, LEVELS = (2.0, 8.0), (8.0, 3.1)


def model(cl: float, error: object = None) -> PopulationModel:
    return PopulationModel(
        one_compartment(),
        (Parameter("CL", cl, "L/h", LogNormal(0.04)), Parameter("V1", V, "L")),
        Observed("drug", "mg/L", error or Proportional(0.15)),  # type: ignore[arg-type] # an error model
        "made up for this test",
    )


def seen(*levels: float, name: str = "1") -> Subject:
    wanted = [Observation(t, y) for t, y in zip(TIMES, levels, strict=False)]
    return subject(name, [Dose(0, 300)], wanted or [Observation(2.0, None)])


NORMAL = model(4.0)
# of one form with NORMAL, so that it shares its compiled functions
FAST = NORMAL.with_population(
    NORMAL.population._replace(typical=np.array([12.0, V])), "made up for this test"
)
MODELS = {"normal": NORMAL, "fast": FAST}
OTHERS = {"log": model(4.0, LogError(0.15)), "t": model(4.0, StudentT(Proportional(0.15), 4.0))}


def f(z: Values, cl: float, time: float) -> Values:
    found: Values = 300 / V * np.exp(-cl * np.exp(0.2 * z[:, 0]) / V * time)
    return found


def density(kind: str, y: float, at: Values) -> Values:
    if kind == "log":
        return np.asarray(lognorm.logpdf(y, 0.15, scale=at))
    if kind == "t":
        return np.asarray(student.logpdf(y, 4, at, 0.15 * at))
    return np.asarray(norm.logpdf(y, at, 0.15 * at))


@pytest.mark.parametrize("kind", ["normal", "log", "t"])
def test_constants_complete_the_densities(kind: str) -> None:
    one = (MODELS | OTHERS)[kind]
    at, y = np.array([7.0, 3.3]), np.array(LEVELS)
    with double_precision():
        s = jnp.asarray(one.population.residual[0])
        deviance = one.outputs[0].error.half_deviance(jnp.asarray(y), jnp.asarray(at), None, None, s)
        found = omitted_constants(one, seen(*LEVELS)) - float(deviance.sum())
    exact = sum(density(kind, v, np.array([a]))[0] for v, a in zip(LEVELS, at, strict=True))
    assert found == pytest.approx(exact, abs=1e-9)


def test_censored_levels_are_probabilities_already() -> None:
    below = subject("1", [Dose(0, 300)], [Observation(2.0, 8.0), Observation(20.0, 1.0, censored=-1)])
    assert omitted_constants(NORMAL, below) == pytest.approx(-0.5 * np.log(2 * np.pi))


@pytest.mark.parametrize("models", [MODELS, pytest.param(MODELS | OTHERS, marks=pytest.mark.slow)])
def test_evidence_is_that_of_quadrature(models: dict[str, PopulationModel]) -> None:
    average = average_models(models, [seen(*LEVELS)], samples=4000)[0]
    truth = []
    for name in models:
        cl = 12.0 if name == "fast" else 4.0

        def likelihood(z: Values, name: str = name, cl: float = cl) -> Values:
            total = np.zeros(len(z))
            for t, y in zip(TIMES, LEVELS, strict=True):
                total += density(name, y, f(z, cl, t))
            return total

        exact = grid_posterior(likelihood, 1, 4001)
        truth.append(exact.log_evidence)
    np.testing.assert_allclose(average.log_evidence, truth, atol=0.05)
    weights = np.exp(truth - np.max(truth))
    np.testing.assert_allclose(average.weights, weights / weights.sum(), atol=0.02)
    # the model that made the data wins over the one far off, and predictions are those of the mixture
    assert average.table["weight"]["normal"] > 100 * average.table["weight"]["fast"]
    assert average.reliable
    alone = [p.quantiles([12.0], (0.5,), residual=False)["mean"][0] for p in average.posteriors]
    table = average.quantiles([12.0])
    assert table["mean"][0] == pytest.approx(float(average.weights @ np.array(alone)), rel=1e-9)
    assert table[0.05][0] < table["mean"][0] < table[0.95][0]


def test_without_data_the_prior_weights_stay() -> None:
    two = {"a": MODELS["normal"], "b": MODELS["fast"]}
    equal = average_models(two, [seen()], samples=4000)[0]
    np.testing.assert_allclose(equal.weights, 0.5, atol=0.02)
    given = average_models(two, [seen()], prior={"a": 3.0, "b": 1.0}, samples=4000)[0]
    np.testing.assert_allclose(given.weights, [0.75, 0.25], atol=0.02)
    with_data = average_models(two, [seen(*LEVELS)], prior={"a": 0.0, "b": 1.0})[0]
    assert with_data.weights.tolist() == [0.0, 1.0]


def test_models_of_other_quantities_or_priors_that_do_not_fit_are_refused() -> None:
    other = replace(MODELS["normal"], observed=Observed("drug", "ug/L", Proportional(0.1)), origin=None)
    with pytest.raises(ModelError, match="same quantities"):
        average_models({"a": MODELS["normal"], "b": other}, [seen(*LEVELS)])
    with pytest.raises(ModelError, match="prior weights"):
        average_models({"a": MODELS["normal"]}, [seen(*LEVELS)], prior={"b": 1.0})
