"""A fleet's twins move the published population, and not by more than they know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from dosetwin.twins.inference.population_update import (
    FleetEvidence,
    TwinStatement,
    twin_statement,
    update_population,
)
from dosetwin.twins.models.compartments import one_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import (
    LogNormal,
    Normal,
    Observed,
    Parameter,
    PopulationModel,
    Proportional,
)

PUBLISHED = PopulationModel(
    structure=one_compartment(),
    parameters=(
        Parameter("CL", 2.0, "L/h", variability=LogNormal(0.09)),
        Parameter("V1", 20.0, "L", variability=LogNormal(0.04)),
    ),
    observed=Observed("drug", "mg/L", error=Proportional(0.1)),
    source="a study",
    correlations={("CL", "V1"): 0.3},
)


def fleet(n: int, shift: np.ndarray, omega: np.ndarray, seed: int, error: float = 0.1) -> list[TwinStatement]:
    """Twins that know their etas up to noise, each by its own precision, under the published prior."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(n):
        eta = random.multivariate_normal(shift, omega)
        noise = np.diag(random.uniform(0.5, 2.0, 2) * error**2)
        level = eta + random.multivariate_normal(np.zeros(2), noise)
        covariance = np.linalg.inv(np.linalg.inv(noise) + np.linalg.inv(PUBLISHED.omega))
        mean = covariance @ np.linalg.solve(noise, level)
        made.append(twin_statement(f"twin-{i:05}", 1, mean, covariance, PUBLISHED.omega))
    return made


SHIFT = np.array([0.4, -0.2])
OMEGA = np.array([[0.16, 0.02], [0.02, 0.02]])


def test_many_twins_recover_a_shifted_population() -> None:
    update = update_population(PUBLISHED, FleetEvidence().joined(fleet(4000, SHIFT, OMEGA, 1)))
    np.testing.assert_allclose(update.shift, SHIFT, atol=0.025)
    np.testing.assert_allclose(update.omega, OMEGA, atol=0.012)
    assert update.model.by_name["CL"].typical == pytest.approx(2.0 * np.exp(update.shift[0]))
    assert (np.abs(update.shift - SHIFT) < 4 * update.standard_error + 0.01).all()
    assert (update.weight > 0.95).all()
    assert "a study" in update.model.source


def test_few_twins_hardly_move_it() -> None:
    update = update_population(PUBLISHED, FleetEvidence().joined(fleet(3, SHIFT, OMEGA, 2)))
    assert np.abs(update.shift).max() < 0.06
    np.testing.assert_allclose(update.omega, PUBLISHED.omega, rtol=0.25)
    assert (update.weight < 0.08).all()


def test_no_twins_leave_it_as_it_was() -> None:
    update = update_population(PUBLISHED, FleetEvidence())
    np.testing.assert_allclose(update.omega, PUBLISHED.omega, rtol=1e-12)
    assert update.model.by_name["CL"].typical == 2.0


def test_twins_that_know_nothing_change_nothing() -> None:
    blind = [twin_statement(str(i), 1, np.zeros(2), PUBLISHED.omega, PUBLISHED.omega) for i in range(500)]
    update = update_population(PUBLISHED, FleetEvidence().joined(blind))
    np.testing.assert_allclose(update.shift, 0, atol=1e-9)
    np.testing.assert_allclose(update.omega, PUBLISHED.omega, rtol=1e-4)
    np.testing.assert_allclose(update.weight, 0, atol=1e-6)


def test_it_is_the_maximum_of_its_objective() -> None:
    """The marginal likelihood written out, climbed by SciPy."""
    twins = fleet(40, SHIFT, OMEGA, 3)
    weights = (20.0, 30.0)
    update = update_population(
        PUBLISHED, FleetEvidence().joined(twins), mean_patients=weights[0], covariance_patients=weights[1]
    )

    def negative(v: np.ndarray) -> float:
        mu, L = v[:2], np.array([[np.exp(v[2]), 0], [v[4], np.exp(v[3])]])
        omega = L @ L.T
        inverse, logdet = np.linalg.inv(omega), np.linalg.slogdet(omega)[1]
        total = weights[0] / 2 * mu @ inverse @ mu
        total += weights[1] / 2 * (logdet + np.trace(inverse @ PUBLISHED.omega))
        for s in twins:
            A, b = s.precision + inverse, s.information + inverse @ mu
            total += 0.5 * (logdet + mu @ inverse @ mu + np.linalg.slogdet(A)[1] - b @ np.linalg.solve(A, b))
        return float(total)

    L = np.linalg.cholesky(update.omega)
    ours = np.array([*update.shift, np.log(L[0, 0]), np.log(L[1, 1]), L[1, 0]])
    best = minimize(negative, np.array([0, 0, -1.2, -1.6, 0.0]), method="BFGS", options={"gtol": 1e-7})
    assert negative(ours) == pytest.approx(best.fun, abs=1e-6)
    np.testing.assert_allclose(ours, best.x, atol=2e-4)


def test_the_order_of_statements_plays_no_part() -> None:
    twins = fleet(60, SHIFT, OMEGA, 4)
    newer = [replace(t, version=2, information=t.information * 1.1) for t in twins[:20]]
    together = FleetEvidence().joined([*twins, *newer])
    mixed = [*twins, *newer, *twins[:5]]
    np.random.default_rng(0).shuffle(mixed)
    parts = FleetEvidence().joined(mixed[:30]).joined(FleetEvidence().joined(mixed[30:]).statements)
    one, other = update_population(PUBLISHED, together), update_population(PUBLISHED, parts)
    assert len(together.statements) == 60
    assert one.shift.tobytes() == other.shift.tobytes()
    assert one.omega.tobytes() == other.omega.tobytes()


def test_a_twin_under_an_updated_prior_says_the_same() -> None:
    """The prior that it ran with is taken out again."""
    P, h = np.array([[30.0, 4.0], [4.0, 50.0]]), np.array([6.0, -9.0])
    for mu, omega in ((np.zeros(2), PUBLISHED.omega), (np.array([0.3, -0.1]), OMEGA)):
        covariance = np.linalg.inv(P + np.linalg.inv(omega))
        mean = covariance @ (h + np.linalg.solve(omega, mu))
        statement = twin_statement("a", 1, mean, covariance, omega, mu)
        np.testing.assert_allclose(statement.precision, P, rtol=1e-9)
        np.testing.assert_allclose(statement.information, h, rtol=1e-9)


def test_what_is_fixed_or_cannot_move_stays() -> None:
    cl, v = PUBLISHED.parameters
    held = replace(
        PUBLISHED,
        parameters=(
            replace(cl, fixed=True, variability=LogNormal(0.09, fixed=True)),
            replace(v, variability=Normal(0.04), covariates=lambda c: c.weight),
        ),
        correlations={},
    )
    update = update_population(held, FleetEvidence().joined(fleet(400, SHIFT, OMEGA, 5)))
    assert update.model.by_name["CL"].typical == 2.0
    assert update.model.by_name["V1"].typical == 20.0
    assert update.omega[0, 0] == pytest.approx(0.09, rel=1e-9)
    assert update.omega[0, 1] == 0
    assert (update.standard_error == 0).all()


def test_statements_of_another_model_are_refused() -> None:
    other = TwinStatement("x", 1, np.eye(3), np.zeros(3))
    with pytest.raises(ModelError, match="twin x: found a statement of 3 etas; expected 2: CL, V1"):
        update_population(PUBLISHED, FleetEvidence().joined([other]))
    with pytest.raises(ModelError, match="prior weights 0"):
        update_population(PUBLISHED, FleetEvidence(), mean_patients=0)
