"""Importance samples against NUTS, the slow truth, on four kinds of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import blackjax  # type: ignore[import-untyped] # ships no types
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from blackjax.diagnostics import effective_sample_size  # type: ignore[import-untyped] # ships no types

from dosetwin.twins.data.subject import Dose, Observation, Subject, subject
from dosetwin.twins.inference.individuals import IndividualFits, estimate_individuals
from dosetwin.twins.inference.objective import curvature, objective
from dosetwin.twins.inference.posterior import sample_posterior
from dosetwin.twins.inference.weighted import weighted_covariance, weighted_mean, weighted_quantiles
from dosetwin.twins.models.compartments import one_compartment, two_compartment
from dosetwin.twins.models.michaelis_menten import michaelis_menten
from dosetwin.twins.models.ode_solvers import FixedStep
from dosetwin.twins.population_model import Combined, LogNormal, Observed, Parameter, PopulationModel
from dosetwin.twins.precision import double_precision

Values = npt.NDArray[np.float64]
SOURCE = "made up for this test"
SEEN = Observed("drug", "mg/L", Combined(additive=0.3, proportional=0.15))


def oral() -> tuple[PopulationModel, Subject]:
    model = PopulationModel(
        one_compartment("first_order"),
        (
            Parameter("CL", 5.0, "L/h", LogNormal(0.1)),
            Parameter("V1", 40.0, "L", LogNormal(0.09)),
            Parameter("ka", 1.0, "1/h", LogNormal(0.3)),
        ),
        SEEN,
        SOURCE,
        correlations={("CL", "V1"): 0.4},
    )
    levels = [Observation(1.0, 4.1), Observation(4.0, 6.5), Observation(11.0, 3.9)]
    return model, subject("oral", [Dose(0, 400)], levels)


def censored() -> tuple[PopulationModel, Subject]:
    model, _ = oral()
    levels = [Observation(1.0, 4.1), Observation(24.0, 1.0, censored=-1), Observation(36.0, 1.0, censored=-1)]
    return model, subject("censored", [Dose(0, 400)], levels)


def occasions() -> tuple[PopulationModel, Subject]:
    model = PopulationModel(
        two_compartment(),
        (
            Parameter("CL", 4.0, "L/h", LogNormal(0.1), occasion=LogNormal(0.05)),
            Parameter("V1", 15.0, "L", LogNormal(0.1)),
            Parameter("Q2", 6.0, "L/h"),
            Parameter("V2", 30.0, "L", LogNormal(0.2)),
        ),
        SEEN,
        SOURCE,
    )
    doses = [Dose(0, 500, duration=1), Dose(48, 500, duration=1, occasion=2)]
    levels = [
        Observation(2, 14.0),
        Observation(20, 3.0),
        Observation(50, 19.0, occasion=2),
        Observation(70, 5.5, occasion=2),
    ]
    return model, subject("occasions", doses, levels)


def saturable() -> tuple[PopulationModel, Subject]:
    model = PopulationModel(
        michaelis_menten(solver=FixedStep(0.25)),
        (
            Parameter("Vmax", 25.0, "mg/h", LogNormal(0.1)),
            Parameter("Km", 4.0, "mg/L", LogNormal(0.2)),
            Parameter("V1", 30.0, "L", LogNormal(0.05)),
        ),
        SEEN,
        SOURCE,
    )
    levels = [Observation(1, 15.0), Observation(12, 7.5), Observation(20, 3.2)]
    return model, subject("saturable", [Dose(0, 500)], levels)


def nuts(fits: IndividualFits, samples: int) -> tuple[Values, float]:
    """Two chains from the mode, and the smallest effective sample size."""
    batch = fits.cohort.batches[0]
    model, program = fits.model, jax.tree.map(lambda leaf: leaf[0], batch.program)
    population, steady = model.population, batch.steady

    # loops with dynamic bounds differentiate forward only: the gradient is handed over
    @jax.custom_vjp
    def log_density(z: Any) -> Any:
        return -objective(model, steady, population, program, z)

    def forward(z: Any) -> tuple[Any, Any]:
        at = curvature(model, steady, population, program, z)
        return -at.value, at.gradient

    log_density.defvjp(forward, lambda gradient, g: (-g * gradient,))
    warmup = blackjax.window_adaptation(blackjax.nuts, log_density, is_mass_matrix_diagonal=False)

    @jax.jit
    def chain(key: Any, start: Any) -> Any:
        first, second = jax.random.split(key)
        (state, settings), _ = warmup.run(first, start, 500)
        step = blackjax.nuts(log_density, **settings).step

        def on(state: Any, key: Any) -> tuple[Any, Any]:
            state, _ = step(key, state)
            return state, state.position

        return jax.lax.scan(on, state, jax.random.split(second, samples))[1]

    chains = np.stack([np.asarray(chain(jax.random.key(k), jnp.asarray(fits.z[0]))) for k in range(2)])
    return chains.reshape(-1, chains.shape[-1]), float(np.min(effective_sample_size(chains)))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # NUTS through an equation solver
@pytest.mark.parametrize("case", [oral, censored, occasions, saturable])
def test_importance_samples_agree_with_nuts(case: Callable[[], tuple[PopulationModel, Subject]]) -> None:
    model, one = case()
    fits = estimate_individuals(model, [one])
    ours = sample_posterior(model, fits, samples=8000)[0]
    assert ours.reliable
    with double_precision():
        z, effective = nuts(fits, 4000)
    error = np.sqrt(1 / effective + 1 / ours.effective)
    sd = z.std(axis=0)
    print(f"{one.id}: {ours.advice}; NUTS effective {effective:.0f}")
    away = np.abs(weighted_mean(ours.z, ours.weight) - z.mean(axis=0)) / sd
    print(f"means apart by at most {away.max():.3f} SD")
    assert away.max() < 4 * error
    ratio = np.sqrt(np.diag(weighted_covariance(ours.z, ours.weight))) / sd
    print(f"SD ratio {ratio.min():.3f}..{ratio.max():.3f}")
    np.testing.assert_allclose(ratio, 1, atol=4 * error)
    tails = (0.05, 0.25, 0.5, 0.75, 0.95)
    apart = np.abs(weighted_quantiles(ours.z, ours.weight, tails) - np.quantile(z, tails, axis=0)) / sd
    print(f"quantiles apart by at most {apart.max():.3f} SD")
    assert apart.max() < 4 * 2.2 * error
