from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm

from dosetwin.twins.data.subject import Dose, Observation, Subject, subject
from dosetwin.twins.inference.individuals import IndividualFits, estimate_individuals
from dosetwin.twins.inference.model_average import omitted_constants
from dosetwin.twins.inference.posterior import sample_posterior
from dosetwin.twins.inference.subject_posterior import from_etas, from_population
from dosetwin.twins.inference.weighted import weighted_covariance, weighted_mean, weighted_quantiles
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Combined, LogNormal, Observed, Parameter, PopulationModel
from tests.twins.posterior.quadrature import Truth, grid_posterior

Values = npt.NDArray[np.float64]
CL, V, OMEGA = 4.0, 30.0, np.array([[0.16, 0.06], [0.06, 0.09]])
MODEL = PopulationModel(
    one_compartment(),
    (
        Parameter("CL", CL, "L/h", LogNormal(OMEGA[0, 0])),
        Parameter("V1", V, "L", LogNormal(OMEGA[1, 1])),
    ),
    Observed("drug", "mg/L", Combined(additive=0.5, proportional=0.2)),
    "made up for this test",
    correlations={("CL", "V1"): 0.5},
)
LEVELS = ((2.0, 9.0), (8.0, 3.0))
LIMIT = (20.0, 1.0)


def treated(name: str = "a", factor: float = 1.0) -> Subject:
    """Two levels and one below the limit of quantification."""
    seen = [Observation(t, y * factor) for t, y in LEVELS] + [Observation(*LIMIT, censored=-1)]
    return subject(name, [Dose(0, 300)], seen)


def parameters(z: Values) -> tuple[Values, Values]:
    eta = z @ np.linalg.cholesky(OMEGA).T
    return CL * np.exp(eta[:, 0]), V * np.exp(eta[:, 1])


def concentration(z: Values, t: float) -> Values:
    cl, v = parameters(z)
    found: Values = 300 / v * np.exp(-cl / v * t)
    return found


def log_likelihood(z: Values) -> Values:
    total = np.zeros(len(z))
    for t, y in LEVELS:
        f = concentration(z, t)
        total += norm.logpdf(y, f, np.hypot(0.5, 0.2 * f))
    f = concentration(z, LIMIT[0])
    total += norm.logcdf(LIMIT[1], f, np.hypot(0.5, 0.2 * f))
    return total


@pytest.fixture(scope="module")
def truth() -> Truth:
    return grid_posterior(log_likelihood, 2)


def agrees(truth: Truth, z: Values, weight: Values, effective: float) -> None:
    sd = np.sqrt(np.diag(truth.covariance))
    assert np.abs(weighted_mean(z, weight) - truth.mean).max() < 4 * (sd / np.sqrt(effective)).max()
    np.testing.assert_allclose(
        np.sqrt(np.diag(weighted_covariance(z, weight))), sd, rtol=4 / np.sqrt(effective)
    )
    tails = (0.05, 0.5, 0.95)
    np.testing.assert_allclose(
        weighted_quantiles(z, weight, tails),
        weighted_quantiles(truth.z, truth.weight, tails),
        atol=8 * float(sd.max()) / np.sqrt(effective),
    )


@pytest.fixture(scope="module")
def fits() -> IndividualFits:
    return estimate_individuals(MODEL, [treated()], starts=0)


def test_samples_agree_with_quadrature(truth: Truth, fits: IndividualFits) -> None:
    one = sample_posterior(MODEL, fits, samples=4000)["a"]
    assert one.reliable
    assert one.rounds == 0
    assert one.effective > 2000
    agrees(truth, one.z, one.weight, one.effective)
    known = one.log_evidence + omitted_constants(MODEL, one.subject)
    assert known == pytest.approx(truth.log_evidence, abs=4 / np.sqrt(one.effective))
    # what follows from the samples: parameters, predictions, equally weighted draws
    cl, v = parameters(one.z)
    np.testing.assert_allclose(one.parameters().to_numpy(), np.stack([cl, v], axis=1), rtol=1e-12)
    f = np.stack([concentration(one.z, t) for t in (2.0, 8.0, 20.0)], axis=1)
    np.testing.assert_allclose(one.predictions(), f, rtol=1e-9)
    np.testing.assert_allclose(one.at([30.0, 8.0, 1.0])[:, 1], f[:, 1], rtol=1e-9)
    np.testing.assert_allclose(one.at([30.0, 8.0])[:, 0], concentration(one.z, 30.0), rtol=1e-9)
    drawn = one.drawn(2000)
    agrees(truth, drawn, np.full(2000, 1 / 2000), 0.5 * one.effective)


def test_quantiles_of_what_would_be_observed(truth: Truth, fits: IndividualFits) -> None:
    one = sample_posterior(MODEL, fits, samples=4000)["a"]
    table = one.quantiles([4.0], (0.05, 0.5, 0.95))
    rng = np.random.default_rng(0)
    index = rng.choice(len(truth.weight), 200_000, p=truth.weight)
    f = concentration(truth.z[index], 4.0)
    y = f + np.hypot(0.5, 0.2 * f) * rng.standard_normal(len(f))
    expected = np.quantile(y, (0.05, 0.5, 0.95))
    np.testing.assert_allclose(table[[0.05, 0.5, 0.95]].to_numpy()[0], expected, atol=0.1 * y.std())
    alone = one.quantiles([4.0], (0.05, 0.95), residual=False)
    assert alone[0.95][0] - alone[0.05][0] < 0.9 * (table[0.95][0] - table[0.05][0])


def test_a_wrong_proposal_is_noticed_and_refitted(truth: Truth, fits: IndividualFits) -> None:
    wrong = replace(
        fits, z=(fits.z[0] + np.array([1.5, -1.0]),), exact=(400 * np.eye(2),), expected=(400 * np.eye(2),)
    )
    left = sample_posterior(MODEL, wrong, samples=4000, rounds=0)[0]
    assert left.k_hat > 0.7
    assert not left.reliable
    assert "cannot be trusted" in left.advice
    repaired = sample_posterior(MODEL, wrong, samples=4000)[0]
    assert repaired.reliable
    assert repaired.rounds >= 1
    agrees(truth, repaired.z, repaired.weight, repaired.effective)
    assert repaired.log_evidence + omitted_constants(MODEL, treated()) == pytest.approx(
        truth.log_evidence, abs=4 / np.sqrt(repaired.effective)
    )


def test_a_subject_does_not_depend_on_its_company() -> None:
    model = replace(
        MODEL,
        parameters=(replace(MODEL.parameters[0], occasion=LogNormal(0.05)), MODEL.parameters[1]),
        origin=None,
    )
    second = subject(
        "b",
        [Dose(0, 300), Dose(24, 300, occasion=2)],
        [Observation(4, 6.0), Observation(28, 8.0, occasion=2), Observation(44, 1.0, occasion=2)],
    )
    # searches from further starts would compile more and change nothing here
    alone = sample_posterior(model, estimate_individuals(model, [treated()], starts=0))["a"]
    three = [second, treated("c", 1.1), treated()]
    together = sample_posterior(model, estimate_individuals(model, three, starts=0))["a"]
    assert alone.z.shape == together.z.shape == (1000, 3)
    np.testing.assert_allclose(alone.z, together.z, atol=1e-6)
    np.testing.assert_allclose(alone.weight, together.weight, rtol=1e-5)
    assert alone.log_evidence == pytest.approx(together.log_evidence, abs=1e-6)
    # a new occasion has the population's variability, a known one what was learned of it
    past, future = together.at([30.0]), together.at([30.0], occasion="new")
    assert np.std(np.log(future / past)) > 0.05


def test_a_new_patient_has_the_population() -> None:
    one = from_population(MODEL, treated(), samples=20_000)
    np.testing.assert_allclose(one.eta_covariance, OMEGA, atol=0.01)
    typical = from_etas(MODEL, treated(), {"CL": 0.3})
    assert typical.parameters()["CL"][0] == pytest.approx(CL * np.exp(0.3))
    assert typical.parameters()["V1"][0] == pytest.approx(V)


def test_refusals(fits: IndividualFits) -> None:
    with pytest.raises(ModelError, match="100 or more"):
        sample_posterior(MODEL, [treated()], samples=10)
    other = replace(MODEL, source="another")
    with pytest.raises(ModelError, match="another model"):
        sample_posterior(other, fits)
