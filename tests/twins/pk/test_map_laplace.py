"""Mode and posterior against SciPy's minimiser and a brute-force grid on a likelihood written out here."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from dosetwin.twins.estimators.history_batch import batches
from dosetwin.twins.estimators.history_estimates import estimators, noise
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.inference.objective import exact_hessian, objective
from dosetwin.twins.models.compartments import one_compartment, two_compartment
from dosetwin.twins.population_model import Combined, LogNormal, Observed, Parameter, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.therapies.vancomycin import GOTI_2018

ONE = PopulationModel(
    one_compartment(),
    (
        Parameter("CL", 3.0, "L/h", variability=LogNormal(0.2)),
        Parameter("V1", 40.0, "L", variability=LogNormal(0.1)),
    ),
    Observed("drug", "mg/L", error=Combined(additive=0.5, proportional=0.15)),
    source="made up for the test",
)
LEVELS = [(2.0, 20.0, 0), (11.5, 9.0, 0), (23.5, 5.0, -1)]
HISTORY = Arrays(0.0, [(0.0, 0.0, 1000.0, 0.0)], LEVELS, [(-1.0, {})])


def slow_objective(eta: np.ndarray) -> float:
    """-log posterior density of (eta_CL, eta_V), up to a constant; the last level is below 5 (M3)."""
    cl, v = 3.0 * math.exp(eta[0]), 40.0 * math.exp(eta[1])
    total = eta[0] ** 2 / 0.4 + eta[1] ** 2 / 0.2
    for t, y, censored in LEVELS:
        f = 1000.0 / v * math.exp(-cl / v * t)
        sd = math.hypot(0.5, 0.15 * f)
        total -= norm.logcdf((y - f) / sd) if censored else norm.logpdf(y, f, sd)
    return float(total)


def test_mode_covariance_and_samples_agree_with_slow_arithmetic() -> None:
    batch = next(iter(batches(ONE, [HISTORY], [24.0])))
    population = ONE.population
    with double_precision():
        drawn = noise(ONE, [(0, "p", 1)])[batch.padding]
        found = estimators(ONE).estimate(population, batch, drawn)
        mode, posterior = jax.tree.map(lambda leaf: leaf[0], (found.mode, found.samples))
        one = jax.tree.map(lambda leaf: leaf[0], batch.program)
        spread = np.linalg.inv(exact_hessian(ONE, False, population, one, mode.z))
    eta = population.omega @ mode.z
    slow = minimize(slow_objective, np.zeros(2), method="BFGS", options={"gtol": 1e-8})
    assert mode.converged
    np.testing.assert_allclose(eta, slow.x, atol=1e-6)

    step = 1e-4
    hessian = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            e, g = step * np.eye(2)[i], step * np.eye(2)[j]
            hessian[i, j] = (
                slow_objective(slow.x + e + g)
                - slow_objective(slow.x + e - g)
                - slow_objective(slow.x - e + g)
                + slow_objective(slow.x - e - g)
            ) / (4 * step**2)
    np.testing.assert_allclose(
        population.omega @ spread @ population.omega.T, np.linalg.inv(hessian), rtol=1e-4
    )

    grid = np.linspace(-1.5, 1.5, 201)
    density = np.exp(-np.array([[slow_objective(np.array([a, b])) for b in grid] for a in grid]) + slow.fun)
    density /= density.sum()
    mean = (density.sum(axis=1) * grid).sum()
    sd = math.sqrt((density.sum(axis=1) * (grid - mean) ** 2).sum())
    sampled = posterior.z @ population.omega[0]
    weighted = (posterior.weight * sampled).sum()
    error = sd / math.sqrt(posterior.effective)
    assert posterior.effective > 60
    assert abs(weighted - mean) < 4 * error
    assert math.sqrt((posterior.weight * (sampled - weighted) ** 2).sum()) == pytest.approx(sd, rel=0.3)


def test_mode_of_many_patients_agrees_with_scipy() -> None:
    """Two compartments, 20 patients of different shapes at once; SciPy on the same likelihood, one by one."""
    rng = np.random.default_rng(3)
    patients = []
    for _ in range(20):
        n = int(rng.integers(1, 5))
        covariates = {
            "age": float(rng.uniform(20, 90)),
            "weight": float(rng.uniform(45, 130)),
            "sex": float(rng.integers(0, 2)),
            "creatinine": float(rng.uniform(0.6, 3.0)),
            "haemodialysis": 0.0,
        }
        doses = [(12.0 * k, 1.0, 0.0, 1000.0) for k in range(int(rng.integers(2, 7)))]
        levels = [(float(t), float(rng.uniform(3, 40)), 0) for t in np.sort(rng.uniform(2, 70, n))]
        patients.append(Arrays(0.0, doses, levels, [(-1.0, covariates)]))
    model = GOTI_2018
    names = [(0, f"p{i}", 0) for i in range(20)]
    for batch in batches(model, patients, [72.0] * 20):
        with double_precision():
            drawn = noise(model, [names[k] for k in batch.rows])
            found = estimators(model).estimate(model.population, batch, drawn)

            @jax.jit
            def value_and_gradient(program: Any, z: Any) -> Any:
                def J(z: Any) -> Any:
                    return objective(model, False, model.population, program, z)

                return J(z), jax.jacfwd(J)(z)

            assert np.asarray(found.mode.converged).all()
            for row in range(batch.count):
                program = jax.tree.map(lambda leaf, row=row: leaf[row], batch.program)

                def slow_look(z: Any, program: Any = program, call: Any = value_and_gradient) -> Any:
                    value, gradient = call(program, z)
                    return float(value), np.asarray(gradient)

                slow = minimize(slow_look, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-9})
                assert float(found.mode.value[row]) <= slow.fun + 1e-9
                np.testing.assert_allclose(np.asarray(found.mode.z)[row], slow.x, atol=2e-6)


def test_without_levels_the_posterior_is_the_prior() -> None:
    model = PopulationModel(two_compartment(), GOTI_2018.parameters, GOTI_2018.observed, "the same")
    history = Arrays(0.0, [], [], [(-1.0, dict.fromkeys(("age", "weight", "sex", "creatinine"), 1.0))])
    history.stretches[0][1].update(haemodialysis=0.0)
    batch = next(iter(batches(model, [history] * 8, [0.0] * 8)))
    with double_precision():
        drawn = noise(model, [(0, f"{i}", 0) for i in range(8)])
        found = estimators(model).estimate(model.population, batch, drawn)
    z, weight = np.asarray(found.samples.z), np.asarray(found.samples.weight)
    np.testing.assert_allclose(np.asarray(found.mode.z), 0.0)
    variance = (weight[..., None] * z**2).sum(axis=1).mean(axis=0)
    # 8 x 128 weighted draws of variance 1
    np.testing.assert_allclose(variance, 1.0, atol=0.2)
