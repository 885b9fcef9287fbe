"""The fused kernel against tight integration, simglucose's own patients, and its own pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.plants import diabetes
from dosetwin.twins.plants.diabetes_kernel import link, phi, prepare
from dosetwin.twins.plants.diabetes_population import sample_population
from dosetwin.twins.plants.diabetes_simulation import BLOCK, DiabetesSchedule, DiabetesTrace, simulate
from dosetwin.twins.precision import double_precision

MEALS = (60, 240)
MINUTES = 600
N = 24


def constant_sensitivity(n: int) -> diabetes.DiabetesParameters:
    drawn = sample_population(jax.random.key(7), n)
    steady: diabetes.DiabetesParameters = drawn._replace(dawn=jnp.zeros(n), drift_sd=jnp.zeros(n))
    return steady


def day(adults: diabetes.DiabetesParameters, minutes: int = MINUTES) -> DiabetesSchedule:
    """Meals of 60 g over a quarter of an hour with 4 U each, on the basal rate."""
    n = adults.BW.shape[0]
    minute = np.arange(minutes)[:, None]
    eats = sum(((minute >= m) & (minute < m + 15)) * 4.0 for m in MEALS)
    bolus = np.isin(minute, MEALS) * 4.0
    rng = np.random.default_rng(3)
    return DiabetesSchedule(
        jnp.asarray(np.asarray(adults.basal_U_per_h) / 60.0 + bolus, jnp.float32),
        jnp.asarray(np.broadcast_to(eats, (minutes, n)), jnp.float32),
        jnp.asarray(rng.standard_normal((minutes, n)), jnp.float32),
        jnp.asarray(rng.uniform(0, 24, n), jnp.float32),
    )


def doubled(tree: Any) -> Any:
    return jax.tree.map(lambda v: np.asarray(v) if v.dtype == bool else np.asarray(v, np.float64), tree)


def tight(adults: Any, schedule: Any) -> np.ndarray:
    """Plasma glucose [T, n] by Tsit5 to 1e-9, restarted every minute with its inputs and meal size."""
    term = diffrax.ODETerm(
        lambda t, x, given: diabetes.derivative(
            adults, x, given[0], given[1], given[2], jnp.ones_like(adults.BW)
        )
    )

    def minute(carry: Any, now: Any) -> Any:
        x, Dm, eating = carry
        insulin, carbohydrate = now
        eats = carbohydrate > 0
        Dm = jnp.where(eats & ~eating, x[0] + x[1], Dm) + carbohydrate * 1000.0
        solved = diffrax.diffeqsolve(
            term,
            diffrax.Tsit5(),
            0.0,
            1.0,
            None,
            x,
            args=(Dm, insulin, carbohydrate),
            stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-9),
            saveat=diffrax.SaveAt(t1=True),
        )
        assert solved.ys is not None
        x = solved.ys[0]
        return (x, Dm, eats), x[3] / adults.Vg

    start = diabetes.initial(adults)
    inputs = (jnp.asarray(schedule.insulin_U_per_min), jnp.asarray(schedule.carbohydrate_g_per_min))
    run = jax.jit(lambda start: jax.lax.scan(minute, start, inputs)[1])
    return np.asarray(run((start.x, start.Dm, start.eating)))


def test_a_minute_step_follows_tight_integration() -> None:
    adults = constant_sensitivity(N)
    schedule = day(adults)
    ours = np.asarray(simulate(adults, diabetes.initial(adults), schedule).plasma_mg_dL)
    with double_precision():
        exact = tight(doubled(adults), doubled(schedule))
    assert np.ptp(exact) > 150, "meals and boluses move it"
    gap = np.abs(ours - exact)
    # the greatest gap stands in the minutes in which a meal begins and its emptying rate jumps
    assert gap.max() < 1.0
    assert np.sqrt((gap**2).mean()) < 0.05


RECORDED = json.loads(Path(__file__).with_name("simglucose_trajectories.json").read_text())["people"]


@pytest.mark.parametrize("person", RECORDED, ids=[person["name"] for person in RECORDED])
def test_simglucoses_patients_live_the_same_day_here(person: dict[str, Any]) -> None:
    minutes = 10 * len(person["plasma_mg_dL"])
    insulin = np.full(minutes, person["basal_U_per_min"])
    carbohydrate = np.zeros(minutes)
    for minute, amount_U in person["bolus_U"].items():
        insulin[int(minute)] += amount_U
    for minute, amount_g in person["eaten_g"].items():
        carbohydrate[int(minute)] = amount_g
    named = {
        name: jnp.array([person["parameters"].get(name, 0.0)]) for name in diabetes.DiabetesParameters._fields
    }
    p = diabetes.DiabetesParameters(**named)
    nothing = jnp.zeros(1)
    start = diabetes.DiabetesState(
        jnp.asarray(person["start"])[:, None], nothing, jnp.zeros(1, bool), nothing
    )
    np.testing.assert_allclose(diabetes.initial(p).x, start.x, rtol=2e-3, atol=1e-3)
    trace = simulate(
        p,
        start,
        DiabetesSchedule(
            jnp.asarray(insulin)[:, None],
            jnp.asarray(carbohydrate)[:, None],
            jnp.zeros((minutes, 1)),
            nothing,
        ),
    )
    plasma = np.asarray(trace.plasma_mg_dL)[9::10, 0]
    sensed = np.asarray(trace.interstitial_mg_dL)[9::10, 0]
    assert np.ptp(person["plasma_mg_dL"]) > 40
    np.testing.assert_allclose(plasma, person["plasma_mg_dL"], atol=0.15)
    np.testing.assert_allclose(sensed, person["subcutaneous_mg_dL"], atol=0.15)
    assert np.abs(plasma - person["plasma_mg_dL"]).mean() < 0.02


def test_single_precision_is_enough() -> None:
    adults = sample_population(jax.random.key(5), N)
    schedule, start = day(adults), diabetes.initial(adults)
    single = simulate(adults, start, schedule)
    double = simulate(doubled(adults), doubled(start), doubled(schedule))
    assert single.plasma_mg_dL.dtype == np.float32
    assert double.plasma_mg_dL.dtype == np.float64
    np.testing.assert_allclose(single.plasma_mg_dL, double.plasma_mg_dL, atol=0.02)


def test_a_simulation_is_its_steps() -> None:
    adults = sample_population(jax.random.key(2), N)
    schedule = day(adults)
    trace = simulate(adults, diabetes.initial(adults), schedule)
    state, step = diabetes.initial(adults), jax.jit(diabetes.step)
    for k in range(MINUTES):
        hour = schedule.start_hour + k / 60.0
        state = step(
            adults,
            state,
            diabetes.DiabetesInputs(
                schedule.insulin_U_per_min[k], schedule.carbohydrate_g_per_min[k], hour, schedule.noise[k]
            ),
            1.0,
        )
    for ours, stepped in zip(trace.state, state, strict=True):
        np.testing.assert_allclose(ours, stepped, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        trace.interstitial_mg_dL[-1], diabetes.interstitial_glucose_mg_dL(adults, state), rtol=1e-5
    )


def test_blocks_do_not_show() -> None:
    n = BLOCK + 37
    adults = sample_population(jax.random.key(4), n)
    start, schedule = diabetes.initial(adults), day(adults, 70)
    whole = simulate(adults, start, schedule)
    for first, last in ((0, BLOCK), (37, n)):
        part: DiabetesTrace = simulate(
            *jax.tree.map(lambda v, a=first, b=last: v[..., a:b], (adults, start, schedule))
        )
        for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
            assert one.shape[-1] == n
            np.testing.assert_allclose(one[..., first:last], other, rtol=1e-5, atol=1e-4)


def test_nothing_that_was_eaten_is_lost() -> None:
    # with an intestine that absorbs nothing, all of it is there at the end
    adults = constant_sensitivity(N)
    closed = adults._replace(kabs=jnp.full(N, 1e-9))
    eaten_mg = 1000.0 * np.asarray(day(adults).carbohydrate_g_per_min).sum(axis=0)
    held = np.asarray(simulate(closed, diabetes.initial(closed), day(closed)).state.x[:3]).sum(axis=0)
    np.testing.assert_allclose(held, eaten_mg, rtol=2e-5)


@pytest.mark.parametrize("z", [-1e-7, -1e-3, -0.05, -0.0999, -0.1001, -0.7, -6.0])
def test_phi_functions_keep_single_precision(z: float) -> None:
    first, second = phi(jnp.float32(z))
    # Taylor's series to 60 terms in double precision
    powers = [1.0]
    for k in range(1, 62):
        powers.append(powers[-1] * float(np.float32(z)) / k)
    exact_1 = sum(p / (k + 1) for k, p in enumerate(powers[:60]))
    exact_2 = sum(p / ((k + 1) * (k + 2)) for k, p in enumerate(powers[:60]))
    assert float(first) == pytest.approx(exact_1, rel=1e-6)
    assert float(second) == pytest.approx(exact_2, rel=3e-6)


def test_a_link_is_exact_for_a_forcing_that_is_a_line() -> None:
    k, h, x0, f0, f1 = 0.3, 2.0, 5.0, 1.0, 4.0
    slope = (f1 - f0) / h
    # x = A e^{-kt} + f0/k - slope/k^2 + slope t/k solves x' = -k x + f0 + slope t
    steady = f0 / k - slope / k**2
    exact = (x0 - steady) * np.exp(-k * h) + steady + slope * h / k
    with double_precision():
        got = link(jnp.float64(k), jnp.float64(h)).over(jnp.float64(x0), jnp.float64(f0), jnp.float64(f1))
    assert float(got) == pytest.approx(exact, rel=1e-12)


def test_plasma_and_liver_move_as_their_matrix_says() -> None:
    adults = constant_sensitivity(6)
    with double_precision():
        p = doubled(adults)
        e11, e12, e21, e22, s1, s2, t1, t2 = (np.asarray(v) for v in prepare(p, 1.5).plasma)
    for i in range(6):
        B = np.array([[-(p.m2[i] + p.m4[i]), p.m1[i]], [p.m2[i], -(p.m1[i] + p.m30[i])]])
        values, vectors = np.linalg.eig(B)
        decay = (vectors * np.exp(1.5 * values)) @ np.linalg.inv(vectors)
        np.testing.assert_allclose([[e11[i], e12[i]], [e21[i], e22[i]]], decay, rtol=1e-10)
        # a constant inflow of 1 to plasma: B^-1 (e^{Bh} - 1) (1, 0)
        filled = np.linalg.solve(B, (decay - np.eye(2)) @ [1.0, 0.0])
        np.testing.assert_allclose([s1[i] + t1[i], s2[i] + t2[i]], filled, rtol=1e-10)


def test_a_schedule_for_others_is_refused() -> None:
    adults = constant_sensitivity(4)
    schedule = day(constant_sensitivity(5), 30)
    with pytest.raises(DoseTwinError, match=r"found 4 patients, 4 states and a schedule of .*\(30, 5\)"):
        simulate(adults, diabetes.initial(adults), schedule)
