"""The objective against an independent one, its gradient against differences, standard errors, failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from dosetwin.twins.data.subject import Dose, Observation, RecordError, Subject, subject
from dosetwin.twins.inference.focei import Objective, Step
from dosetwin.twins.inference.population_fit import PopulationFit, fit_population
from dosetwin.twins.inference.population_vector import population_vector
from dosetwin.twins.inference.saem import importance_likelihood, saem
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.simulation.cohort import cohort

CL, V, APGAR = 0.0055, 1.1, 0.1
OMEGA2, VARIANCE = np.array([0.08, 0.05]), 0.02


def foce_i(rows: Subject) -> float:
    """OFV_i of the phenobarbital model, written again: NumPy, SciPy's simplex, differences for df/deta."""
    weight, apgar = rows.covariates["weight"][0], rows.covariates["apgar"][0]
    doses = rows.evid == 1
    y, at = rows.dv[rows.observed], rows.time[rows.observed]

    def f(eta: np.ndarray) -> np.ndarray:
        cl = CL * weight * np.exp(eta[0])
        v = V * weight * (1 + APGAR * (apgar < 5)) * np.exp(eta[1])
        since = at[:, None] - rows.time[doses]
        left = np.where(since >= 0, np.exp(-cl / v * np.maximum(since, 0)), 0)
        return np.asarray((left * rows.amount[doses]).sum(1) / v)

    def joint(eta: np.ndarray) -> float:
        variance = VARIANCE * f(eta) ** 2
        return float(((y - f(eta)) ** 2 / variance + np.log(variance)).sum() + (eta**2 / OMEGA2).sum())

    options: Any = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
    best = minimize(joint, np.zeros(2), method="Nelder-Mead", options=options)
    h = 1e-5
    G = np.stack([(f(best.x + h * e) - f(best.x - h * e)) / (2 * h) for e in np.eye(2)], axis=1)
    at_mode = f(best.x)
    # the variance is proportional to f^2: (dV/df / V)^2 / 2 = 2 / f^2
    weights = 1 / (VARIANCE * at_mode**2) + 2 / at_mode**2
    H = G.T @ (weights[:, None] * G) + np.diag(1 / OMEGA2)
    return float(best.fun + np.log(OMEGA2).sum() + np.linalg.slogdet(H)[1])


@pytest.fixture(scope="module")
def objective(phenobarbital: PopulationModel, newborns: list[Subject]) -> Objective:
    return Objective(phenobarbital, cohort(phenobarbital, newborns), population_vector(phenobarbital))


@pytest.fixture(scope="module")
def somewhere(objective: Objective, phenobarbital: PopulationModel) -> np.ndarray:
    population = phenobarbital.population._replace(
        typical=np.array([APGAR, CL, V]),
        omega=np.diag(np.sqrt(OMEGA2)),
        residual=(np.array([np.sqrt(VARIANCE)]),),
    )
    return objective.layout.pack(population)


def test_each_subjects_objective_is_that_of_the_definition(
    objective: Objective, somewhere: np.ndarray, newborns: list[Subject]
) -> None:
    value, _, found = objective.individual(somewhere)
    assert found.all()
    for i in (0, 7, 23, 41, 58):
        assert value[i] == pytest.approx(foce_i(newborns[i]), abs=2e-6)


def test_the_gradient_is_that_of_differences(objective: Objective, somewhere: np.ndarray) -> None:
    _, gradient, _ = objective(somewhere)
    for j in range(somewhere.size):
        step = np.zeros(somewhere.size)
        step[j] = 1e-4
        up, _, _ = objective(somewhere + step, keep=False)
        down, _, _ = objective(somewhere - step, keep=False)
        assert gradient[j] == pytest.approx((up - down) / 2e-4, rel=1e-5, abs=1e-4)


def test_standard_errors_and_shrinkage(focei: PopulationFit, objective: Objective) -> None:
    """R from gradients against second differences of the objective itself."""
    x = objective.layout.pack(focei.model.population)
    R = focei.uncertainty.hessian
    h = 0.02
    middle, _, _ = objective(x)
    for j in (0, 1, 2, 5):
        step = np.zeros(x.size)
        step[j] = h
        up, _, _ = objective(x + step, keep=False)
        down, _, _ = objective(x - step, keep=False)
        assert R[j, j] == pytest.approx((up - 2 * middle + down) / h**2 / 2, rel=5e-3)
    # of logarithms: a typical value's RSE is 100 times its standard error there
    C = np.linalg.inv(R) @ focei.uncertainty.cross_product @ np.linalg.inv(R)
    assert focei.relative_standard_errors["CL"] == pytest.approx(100 * np.sqrt(C[1, 1]), rel=1e-9)
    assert focei.relative_standard_errors["omega2_CL"] == pytest.approx(200 * np.sqrt(C[3, 3]), rel=1e-9)
    assert np.abs(focei.uncertainty.correlation).max() == pytest.approx(1)
    assert 1 < focei.uncertainty.condition < 50
    for name, eta in focei.individuals.etas.items():
        omega = np.sqrt(focei.estimates[f"omega2_{name}"])
        assert focei.shrinkage[str(name)] == pytest.approx(1 - eta.std(ddof=1) / omega)


def test_the_fit_carries_its_numbers(focei: PopulationFit) -> None:
    for name in ("CL", "V1", "apgar_effect"):
        assert focei.model.by_name[name].typical == pytest.approx(focei.estimates[name])
    assert focei.individuals.marginal.sum() == pytest.approx(focei.objective, abs=1e-6)
    assert focei.trace.shape == (focei.iterations, len(focei.names))


def test_importance_sampling_gives_the_exact_likelihood(focei: PopulationFit) -> None:
    """586.2654 by 25 x 25 and by 45 x 45 Gauss-Hermite nodes a subject (at the published values)."""
    found = importance_likelihood(focei.individuals, samples=4000, seed=2)
    assert found.standard_error < 0.1
    assert found.objective == pytest.approx(586.2654, abs=3 * found.standard_error)


def test_saem_comes_to_the_same_place(
    focei: PopulationFit, phenobarbital: PopulationModel, newborns: list[Subject]
) -> None:
    """Short: within half a standard error of FOCEI; chance is the seed's alone."""
    seen: list[Step] = []
    fit = fit_population(
        phenobarbital, newborns, "saem", seed=4, exploring=120, smoothing=120, progress=seen.append
    )
    assert len(seen) == fit.iterations == 240
    for name, value in focei.estimates.items():
        assert abs(fit.estimates[name] - value) < 0.5 * focei.standard_errors[name], name
    prepared, layout = cohort(phenobarbital, newborns), population_vector(phenobarbital)
    one, same, other = (
        saem(phenobarbital, prepared, layout, seed=seed, exploring=8, smoothing=6).x for seed in (1, 1, 2)
    )
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_no_observation_is_refused(phenobarbital: PopulationModel) -> None:
    alone = subject("1", [Dose(0, 20)], [Observation(2.0)], {"weight": 1.4, "apgar": 7})
    with pytest.raises(RecordError, match="no observation"):
        fit_population(phenobarbital, [alone])


def test_a_start_that_is_not_finite_is_refused_by_name(
    phenobarbital: PopulationModel, newborns: list[Subject]
) -> None:
    none = phenobarbital.population._replace(typical=np.array([-1.0, CL, V]))
    flat = phenobarbital.with_population(none, "no volume where the Apgar score is low")
    low = [s for s in newborns if s.covariates["apgar"][0] < 5]
    message = f"not finite at the start for {len(low)} of 59 subjects: {low[0].id}, {low[1].id}"
    with pytest.raises(ModelError, match=message):
        fit_population(flat, newborns)
