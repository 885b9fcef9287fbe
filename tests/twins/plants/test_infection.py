"""The vancomycin plant against diffrax and closed forms, and its creatinine against its clearance."""

from __future__ import annotations

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.plants import haemodynamics, infection

N = 40
DT_H = 1.0 / 12.0
step_once = jax.jit(infection.step)


@pytest.fixture(scope="module")
def adults() -> infection.InfectionParameters:
    """Adults whose renal function stays."""
    drawn: infection.InfectionParameters = infection.sample_population(jax.random.key(5), N)
    return drawn._replace(drift_sd=jnp.zeros(N), trend_per_h=jnp.zeros(N))


def give(
    adults: infection.InfectionParameters, hours: float, rate_mg_per_h: float, for_h: float
) -> infection.InfectionState:
    def step(state: infection.InfectionState, k: jax.Array) -> tuple[infection.InfectionState, None]:
        R = jnp.full(N, jnp.where(k * DT_H < for_h - 1e-6, rate_mg_per_h, 0.0))
        return infection.step(adults, state, infection.InfectionInputs(R, jnp.zeros(N)), DT_H), None

    state: infection.InfectionState
    state, _ = jax.lax.scan(step, infection.initial(adults), jnp.arange(round(hours / DT_H)))
    return state


def test_an_infusion_follows_diffrax(adults: infection.InfectionParameters) -> None:
    state = give(adults, 12.0, 1000.0, 1.0)
    CL, V1, V2, Q = infection.kinetics(adults, adults.CLcr_0)

    def field(t: Any, y: Any, R: Any) -> jax.Array:
        A1, A2 = y
        return jnp.stack([R - (CL + Q) / V1 * A1 + Q / V2 * A2, Q / V1 * A1 - Q / V2 * A2])

    y = jnp.zeros((2, N))
    for start, stop, R in ((0.0, 1.0, 1000.0), (1.0, 12.0, 0.0)):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            start,
            stop,
            0.01,
            y,
            args=R,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
        ).ys
        assert found is not None
        y = found[-1]
    np.testing.assert_allclose(state.A, y, rtol=1e-3, atol=0.05)


def test_everything_given_leaves_by_clearance(adults: infection.InfectionParameters) -> None:
    state = give(adults, 40 * 24.0, 1000.0, 1.0)
    CL = infection.kinetics(adults, adults.CLcr_0)[0]
    left = np.asarray(state.A.sum(axis=0))
    np.testing.assert_allclose(np.asarray(state.auc * CL) + left, 1000.0, rtol=2e-3)


def test_a_steady_creatinine_gives_back_the_clearance(adults: infection.InfectionParameters) -> None:
    state = give(adults, 24.0, 0.0, 0.0)
    cockcroft_gault = (
        (140.0 - adults.age_a) * adults.weight_kg * (0.85 + 0.15 * adults.male) / (72.0 * state.creatinine)
    )
    np.testing.assert_allclose(cockcroft_gault, adults.CLcr_0, rtol=1e-4)


def test_creatinine_follows_a_fall_of_renal_function_with_a_lag(
    adults: infection.InfectionParameters,
) -> None:
    worse = adults._replace(CLcr_0=adults.CLcr_0 / 2)
    old = infection.initial(adults)
    state = old
    seen = []
    for _ in range(14 * 24):
        state = step_once(worse, state, infection.InfectionInputs(jnp.zeros(N), jnp.zeros(N)), 1.0)
        seen.append(np.asarray(state.creatinine / old.creatinine))
    risen = np.array(seen)
    assert (np.diff(risen, axis=0) > -1e-5).all()
    assert (risen[5] < 1.5).all(), "six hours after kidney function halved the creatinine hides it"
    assert np.median(risen[-1]) == pytest.approx(2.0, rel=0.02)


def test_the_drift_has_the_spread_it_says() -> None:
    n = 2000
    adults = infection.sample_population(jax.random.key(7), n)._replace(trend_per_h=jnp.zeros(n))
    state, key = infection.initial(adults), jax.random.key(8)
    for k in range(120):
        noise = jax.random.normal(jax.random.fold_in(key, k), (n,))
        state = step_once(adults, state, infection.InfectionInputs(jnp.zeros(n), noise), 4.0)
    assert float(state.drift.std()) == pytest.approx(0.12, rel=5 / np.sqrt(2 * n))


def test_levels_are_those_of_a_ward() -> None:
    adults = infection.sample_population(jax.random.key(9), 500)
    CL = np.asarray(infection.kinetics(adults, adults.CLcr_0)[0])
    assert 2.0 < np.median(CL) < 5.0
    assert (CL > 0.3).all()


def test_haemodynamics_follow_the_day_low_glucose_and_fever() -> None:
    n = 500
    people = haemodynamics.sample_population(jax.random.key(2), n)

    def day(glucose: float = 120.0, temperature: float = 37.0, hour: float = 16.0) -> np.ndarray:
        inputs = haemodynamics.HaemodynamicInputs(
            jnp.full(n, glucose), jnp.full(n, temperature), jnp.full(n, hour), jnp.zeros((3, n))
        )
        state = haemodynamics.step(people, haemodynamics.initial(people), inputs, 5.0)
        return np.asarray(state.vitals)

    awake, asleep, low, fever = day(), day(hour=4.0), day(glucose=45.0), day(temperature=39.0)
    assert (awake[0] > asleep[0]).all()
    fall = 1 - np.median(asleep[1] / awake[1])
    assert 0.08 < fall < 0.2, "systolic pressure dips 10-20 % at night"
    assert np.median(low[0] - awake[0]) == pytest.approx(25 * 25 / 30, rel=1e-3)
    assert np.median(fever[0] - awake[0]) == pytest.approx(20.0, rel=1e-3)
    assert (awake[1] > awake[2] + 15).all(), "systolic above diastolic"
