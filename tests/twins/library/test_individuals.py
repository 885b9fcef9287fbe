"""Individual estimates where much comes together, against a likelihood written again and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from dosetwin.twins import (
    Additive,
    Combined,
    Dose,
    LogNormal,
    Observation,
    Observed,
    Parameter,
    PopulationModel,
    emax,
    estimate_individuals,
    one_compartment,
    subject,
)

OMEGA = np.array([[0.10, 0.06, 0.0], [0.06, 0.15, 0.0], [0.0, 0.0, 0.20]])
GAMMA = 0.04
MODEL = PopulationModel(
    one_compartment(),
    (
        Parameter("CL", 4.0, "L/h", LogNormal(0.10), occasion=LogNormal(GAMMA)),
        Parameter("V1", 30.0, "L", LogNormal(0.15)),
        Parameter("EC50", 2.0, "mg/L", LogNormal(0.20)),
    ),
    (
        Observed("drug", "mg/L", Combined(0.2, 0.1)),
        Observed("effect", "1", Additive(4.0), output=lambda p, y: emax(y.central, 100.0, p.EC50)),
    ),
    source="made up for the test",
    correlations={("CL", "V1"): 0.06 / math.sqrt(0.10 * 0.15)},
)
DOSES = [Dose(0.0, 150.0, occasion=1), Dose(24.0, 150.0, occasion=2)]
LEVELS = [(1.0, 5.5, 0, 1), (8.0, 1.2, 0, 1), (23.0, 0.5, -1, 1), (25.0, 3.1, 0, 2), (32.0, 1.9, 0, 2)]
EFFECTS = [(2.0, 71.0, 1), (30.0, 55.0, 2)]


def concentrations(eta: np.ndarray, times: list[float]) -> np.ndarray:
    """Two boluses; clearance changes with the occasion of the record that an interval ends at."""
    CL, V = 4.0 * np.exp(eta[0] + eta[3:5]), 30.0 * math.exp(eta[1])
    out = []
    for t in times:
        if t <= 24.0:
            out.append(150 / V * math.exp(-CL[0] / V * t))
        else:
            # the record at 24 h is of occasion 2: so is the interval that ends at it, from the one before
            carried = 150 / V * math.exp(-CL[0] / V * 23.0 - CL[1] / V * 1.0)
            out.append((carried + 150 / V) * math.exp(-CL[1] / V * (t - 24)))
    return np.array(out)


def objective(eta: np.ndarray) -> float:
    """eta' Omega^-1 eta + kappa^2/gamma + sum[(y - f)^2/V + log V] - 2 log Phi of the censored one."""
    total = eta[:3] @ np.linalg.solve(OMEGA, eta[:3]) + (eta[3:5] ** 2).sum() / GAMMA
    f = concentrations(eta, [t for t, *_ in LEVELS])
    for (_, y, censored, _), c in zip(LEVELS, f, strict=True):
        sd = math.hypot(0.2, 0.1 * c)
        if censored:
            total -= 2 * norm.logcdf((y - c) / sd)
        else:
            total += ((y - c) / sd) ** 2 + 2 * math.log(sd)
    c = concentrations(eta, [t for t, *_ in EFFECTS])
    E = 100 * c / (2.0 * math.exp(eta[2]) + c)
    for (_, y, _), e in zip(EFFECTS, E, strict=True):
        total += ((y - e) / 4) ** 2 + 2 * math.log(4.0)
    return float(total)


def test_occasions_censoring_two_outputs_and_block_omega_at_once() -> None:
    observations = [Observation(t, y, censored=c, occasion=o) for t, y, c, o in LEVELS]
    observations += [Observation(t, y, output=2, occasion=o) for t, y, o in EFFECTS]
    fits = estimate_individuals(MODEL, [subject("a", DOSES, observations)])
    slow = minimize(objective, np.zeros(5), method="BFGS", options={"gtol": 1e-7})
    assert fits.converged.all()
    assert fits.objective[0] == pytest.approx(slow.fun, abs=1e-8)
    eta = [*fits.etas.iloc[0], *fits.occasion_etas["CL"]]
    np.testing.assert_allclose(eta, slow.x, atol=2e-5)

    step = 1e-3
    one = step * np.eye(5)
    hessian = np.array(
        [
            [
                objective(slow.x + a + b)
                - objective(slow.x + a - b)
                - objective(slow.x - a + b)
                + objective(slow.x - a - b)
                for b in one
            ]
            for a in one
        ]
    ) / (8 * step**2)
    np.testing.assert_allclose(fits.covariance(0), np.linalg.inv(hessian)[:3, :3], rtol=1e-3, atol=1e-6)


def test_two_basins_are_found_and_said() -> None:
    """Absorption and elimination can change places: a level after a slow rise is told by either."""
    model = PopulationModel(
        one_compartment("first_order"),
        (
            Parameter("CL", 10.0, "L/h", LogNormal(1.0)),
            Parameter("V1", 20.0, "L"),
            Parameter("ka", 0.7, "1/h", LogNormal(1.5)),
        ),
        Observed("drug", "mg/L", Combined(proportional=0.05)),
        source="made up for the test",
    )

    def level(t: float, CL: float, ka: float) -> float:
        k = CL / 20
        return 100 * ka / 20 / (ka - k) * (math.exp(-k * t) - math.exp(-ka * t))

    # drawn from a patient far from the typical one, and only late
    told = [Observation(t, level(t, 2.0, 2.5)) for t in (6.0, 12.0)]
    fits = estimate_individuals(model, [subject("a", [Dose(0.0, 100.0)], told)])

    def J(eta: np.ndarray) -> float:
        f = np.array([level(o.time, 10 * math.exp(eta[0]), 0.7 * math.exp(eta[1])) for o in told])
        y = np.array([o.value for o in told], float)
        return float(
            eta[0] ** 2 / 1.0 + eta[1] ** 2 / 1.5 + (((y - f) / (0.05 * f)) ** 2 + 2 * np.log(0.05 * f)).sum()
        )

    best = min(
        (
            minimize(J, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000})
            for start in ((0.0, 0.0), (-1.5, 1.5), (1.0, -1.5), (-1.0, -1.0))
        ),
        key=lambda found: float(found.fun),
    )
    assert fits.converged.all()
    assert fits.objective[0] == pytest.approx(best.fun, abs=1e-6)


def test_a_subject_that_cannot_be_estimated_is_there_and_says_so() -> None:
    """No level: the prior. A level that no parameters explain: an estimate all the same, far out."""
    bare = subject("bare", [Dose(0.0, 100.0)], [Observation(5.0)])
    odd = subject("odd", [Dose(0.0, 100.0)], [Observation(5.0, 1e6)])
    fits = estimate_individuals(MODEL, [bare, odd])
    assert fits.summary.loc["bare", "converged"]
    np.testing.assert_allclose(fits.etas.loc["bare"], 0.0, atol=1e-12)
    assert np.isfinite(fits.objective).all()
    assert fits.objective[1] > 1000
