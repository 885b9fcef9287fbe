"""Exercise, the sensor's errors, a failing site and a day's meals against their equations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dosetwin.twins.plants import diabetes_exercise as exercise
from dosetwin.twins.plants import diabetes_sensor as sensor
from dosetwin.twins.plants.diabetes import DiabetesParameters
from dosetwin.twins.plants.diabetes_day import day_of, eating_g_per_min
from dosetwin.twins.plants.diabetes_groups import GROUPS
from dosetwin.twins.plants.diabetes_site import SET_LASTS_DAYS, delivered_fraction, failure_min

step = jax.jit(exercise.exercised, static_argnums=2)


def beats(t: float) -> float:
    """45 min at 50 beats above rest, from minute 10 on."""
    return 50.0 if 10.0 <= t < 55.0 else 0.0


def paper(t: float, y: np.ndarray) -> list[float]:
    """Dalla Man 2009, written out: a 0.1, n 4, tau_HR 5, tau_in 1, tau_ex 600 min, resting rate 60."""
    Y, Z, _ = y
    power = (Y / (0.1 * 60.0)) ** 4
    f = power / (1 + power)
    return [(beats(t) - Y) / 5.0, f - (f / 1.0 + 1 / 600.0) * Z, beats(t)]


def test_exercise_follows_its_equations() -> None:
    state = exercise.at_rest(1)
    ours = []
    for minute in range(400):
        state = step(state, jnp.array([beats(minute)]), 1.0)
        ours.append([float(value[0]) for value in state])
    solved = np.zeros((400, 3))
    y = np.zeros(3)
    for minute in range(400):
        y = solve_ivp(paper, (minute, minute + 1 - 1e-9), y, rtol=1e-8, atol=1e-10).y[:, -1]
        solved[minute] = y
    np.testing.assert_allclose(np.array(ours)[:, 0], solved[:, 0], atol=0.01)
    np.testing.assert_allclose(np.array(ours)[:, 1], solved[:, 1], atol=0.04)
    np.testing.assert_allclose(np.array(ours)[:, 2], solved[:, 2], rtol=1e-5)
    assert solved[-1, 1] > 0.5, "sensitivity stays for hours"


def test_moving_raises_the_use_of_glucose_by_the_papers_equation() -> None:
    p = DiabetesParameters(*(jnp.ones(1) for _ in DiabetesParameters._fields))
    p = p._replace(Vm0=jnp.array([4.0]), Vmx=jnp.array([0.05]), Km0=jnp.array([230.0]), Ib=jnp.array([100.0]))
    e = exercise.ExerciseState(jnp.array([50.0]), jnp.array([0.99]), jnp.array([2250.0]))
    X, Gt = 30.0, 180.0
    q = exercise.moving(p, e, jnp.array([X]))
    ours = float(((q.Vm0 + q.Vmx * X) * Gt / (q.Km0 + Gt))[0])
    effort = 0.99 * 2250.0
    expected = (4.0 * (1 + 0.01 * 50.0) + 0.05 * (1 + 3e-4 * effort) * (X + 100.0) - 0.05 * 100.0) * Gt
    expected /= 230.0 * (1 - 1e-7 * effort * (X + 100.0)) + Gt
    assert ours == pytest.approx(expected, rel=1e-5)
    still = exercise.moving(p, exercise.at_rest(1), jnp.array([X]))
    for one, other in zip(still, p, strict=True):
        np.testing.assert_array_equal(one, other)


def test_efforts_add_up_until_they_have_faded() -> None:
    state = exercise.at_rest(1)
    for minutes, rise in ((30, 40.0), (60, 0.0), (30, 40.0)):
        for _ in range(minutes):
            state = step(state, jnp.array([rise]), 1.0)
    assert float(state.W[0]) == pytest.approx(60 * 40.0)
    for _ in range(2000):  # e^(-2000/600) < 0.05
        state = step(state, jnp.array([0.0]), 1.0)
    state = step(state, jnp.array([40.0]), 1.0)
    assert float(state.W[0]) == pytest.approx(40.0)


def test_the_noise_has_the_published_distribution_and_memory() -> None:
    noise = np.stack([sensor.johnson_noise(np.random.default_rng([7, k]), 288) for k in range(400)])
    at_knots = noise[:, ::3]
    back = -0.5444 + 1.6898 * np.arcsinh((at_knots + 5.47) / 15.9574)
    variance = 0.49 / (1 - 0.49)
    assert back.mean() == pytest.approx(0.0, abs=0.02)
    assert back.var() == pytest.approx(variance, rel=0.03)
    # e_j = 0.7 (e_(j-1) + v_j): the autocorrelation of a quarter of an hour is 0.7
    assert np.corrcoef(back[:, :-1].ravel(), back[:, 1:].ravel())[0, 1] == pytest.approx(0.7, abs=0.015)
    assert np.corrcoef(back[:, :-4].ravel(), back[:, 4:].ravel())[0, 1] == pytest.approx(0.7**4, abs=0.02)
    assert np.abs(np.diff(noise, axis=1)).max() < 60, "no jumps between the knots"


def test_a_sensors_errors_are_those_of_the_patient() -> None:
    one, same, other = (sensor.sensor_errors(3, k, days) for k, days in ((5, 4), (5, 2), (6, 4)))
    np.testing.assert_allclose(one.noise_mg_dL[:576], same.noise_mg_dL)
    np.testing.assert_array_equal(one.scale[:576], same.scale)
    assert not np.array_equal(one.noise_mg_dL, other.noise_mg_dL)
    many = [sensor.sensor_errors(3, k, 7) for k in range(80)]
    silent = 1.0 - np.mean([e.heard for e in many])
    assert silent == pytest.approx(20.0 / 1440.0, rel=0.3), "one gap a day of about 20 min"
    nights = np.mean([(e.scale.reshape(7, 288) < 1).any(axis=1) for e in many])
    assert nights == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 560))
    deepest = np.array([e.scale.min() for e in many])
    assert deepest.min() >= 0.5 - 1e-9
    assert all((e.scale.reshape(7, 288)[:, 7 * 12 :] == 1).all() for e in many), "by day nobody lies on it"


def test_a_display_ends_at_its_range() -> None:
    value, beyond = sensor.shown_mg_dL(
        np.array([38.0, 120.2, 420.0, 60.0]), np.zeros(4), np.array([1.0, 1.0, 1.0, 0.5])
    )
    assert value.tolist() == [40.0, 120.0, 400.0, 40.0]
    assert beyond.tolist() == [-1, 0, 1, -1]


def test_a_site_fails_as_it_says() -> None:
    fraction = delivered_fraction(np.array([100.0, 380.0, 5000.0]), np.array([200.0, 200.0, np.inf]))
    np.testing.assert_allclose(fraction, [1.0, np.exp(-1.0), 1.0])
    fails = np.array([failure_min(1, k, j) for k in range(300) for j in range(5)])
    assert np.isfinite(fails).mean() == pytest.approx(1 / 7, abs=0.035)
    assert fails[np.isfinite(fails)].max() <= SET_LASTS_DAYS * 1440


@pytest.mark.parametrize(("group", "total_g"), [("adult", 204.0), ("adolescent", 204.0), ("child", 153.0)])
def test_days_hold_what_they_say(group: str, total_g: float) -> None:
    assert group in GROUPS
    days = [day_of(1, number, day, group) for number in range(150) for day in range(3)]
    assert np.mean([d.meal_g.sum() for d in days]) == pytest.approx(total_g, rel=0.05)
    assert np.mean([d.snack.sum() for d in days]) == pytest.approx(0.9, abs=0.15)
    assert all((d.meal_min % 5 == 0).all() and (np.diff(d.meal_min) >= 0).all() for d in days)
    eaten = eating_g_per_min(days[0])
    assert eaten.sum() == pytest.approx(days[0].meal_g.sum())
    assert eaten.max() <= 10.0
    begins, grams = int(days[0].meal_min[0]), float(days[0].meal_g[0])
    assert eaten[begins : begins + int(np.ceil(grams / 5))].sum() == pytest.approx(grams)
    assert eating_g_per_min(days[0], snacks=False).sum() == pytest.approx(
        days[0].meal_g[~days[0].snack].sum()
    )
    again = day_of(1, 0, 0, group)
    np.testing.assert_array_equal(again.meal_g, days[0].meal_g)
