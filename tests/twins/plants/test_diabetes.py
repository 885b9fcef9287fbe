"""The UVA/Padova plant against the paper's equations in SciPy, and against what a body does."""

from __future__ import annotations

from functools import partial
from math import tanh

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.plants import diabetes
from dosetwin.twins.plants.diabetes_groups import GROUPS
from dosetwin.twins.plants.diabetes_population import (
    SHRINKAGE,
    TRUNCATION,
    correlation_matrix,
    sample_numbered,
    sample_population,
)
from dosetwin.twins.plants.diabetes_settings import clinical_settings

N = 64
MEAL_G, MEAL_FROM_MIN, MEAL_FOR_MIN = 60.0, 30, 15


@pytest.fixture(scope="module")
def adults() -> diabetes.DiabetesParameters:
    """Virtual adults whose sensitivity stays 1."""
    drawn = sample_population(jax.random.key(1), N)
    return diabetes.DiabetesParameters(**{**drawn._asdict(), "dawn": jnp.zeros(N), "drift_sd": jnp.zeros(N)})


@partial(jax.jit, static_argnames="steps")
def compiled(
    adults: diabetes.DiabetesParameters,
    meal_g: float,
    bolus_U: float,
    hour: float,
    dt_min: float,
    steps: int,
) -> jax.Array:
    def step(state: diabetes.DiabetesState, k: jax.Array) -> tuple[diabetes.DiabetesState, jax.Array]:
        t = k * dt_min
        eats = (t >= MEAL_FROM_MIN) & (t < MEAL_FROM_MIN + MEAL_FOR_MIN)
        injects = (t >= MEAL_FROM_MIN) & (t < MEAL_FROM_MIN + 1)
        inputs = diabetes.DiabetesInputs(
            adults.basal_U_per_h / 60.0 + jnp.where(injects, bolus_U, 0.0),
            jnp.full(N, jnp.where(eats, meal_g / MEAL_FOR_MIN, 0.0)),
            jnp.full(N, hour),
            jnp.zeros(N),
        )
        state = diabetes.step(adults, state, inputs, dt_min)
        return state, state.x

    start = diabetes.initial(adults)
    _, trace = jax.lax.scan(step, start, jnp.arange(steps))
    return jnp.concatenate([start.x[None], trace])


def live(
    adults: diabetes.DiabetesParameters,
    minutes: int,
    *,
    meal_g: float = 0.0,
    bolus_U: float = 0.0,
    hour: float = 12.0,
    dt_min: float = 1.0,
) -> np.ndarray:
    """States [steps + 1, 13, n] under basal insulin, a meal from minute 30 to 45 and a bolus at 30."""
    steps = 2400 if minutes > 840 else 840  # two lengths, two compilations
    trace = compiled(adults, meal_g, bolus_U, hour, dt_min, steps)
    return np.asarray(trace)[: round(minutes / dt_min) + 1]


def paper(
    p: dict[str, float], t: float, x: np.ndarray, basal_U_per_min: float, bolus_U: float
) -> list[float]:
    """Dalla Man 2007 written out for one person, with the meal and bolus of `live`."""
    q1, q2, qg, gp, gt, ip, act, i1, xl, il, s1, s2, gs = x
    eats = MEAL_FROM_MIN <= t < MEAL_FROM_MIN + MEAL_FOR_MIN
    d = MEAL_G * 1000.0 / MEAL_FOR_MIN if eats else 0.0
    units = basal_U_per_min + (bolus_U if MEAL_FROM_MIN <= t < MEAL_FROM_MIN + 1 else 0.0)
    eaten = MEAL_G * 1000.0 / MEAL_FOR_MIN * min(max(np.ceil(t + 1e-9) - MEAL_FROM_MIN, 0), MEAL_FOR_MIN)
    kgut = p["kmax"]
    if eaten > 0:
        alpha = 5 / (2 * eaten * (1 - p["b"]))
        beta = 5 / (2 * eaten * p["d"])
        q = q1 + q2
        kgut = p["kmin"] + (p["kmax"] - p["kmin"]) / 2 * (
            tanh(alpha * (q - p["b"] * eaten)) - tanh(beta * (q - p["d"] * eaten)) + 2
        )
    insulin = ip / p["Vi"]
    production = max(p["kp1"] - p["kp2"] * gp - p["kp3"] * xl, 0)
    excretion = p["ke1"] * max(gp - p["ke2"], 0)
    use = (p["Vm0"] + p["Vmx"] * act) * gt / (p["Km0"] + gt)
    appears = p["f"] * p["kabs"] * qg / p["BW"]
    return [
        d - p["kmax"] * q1,
        p["kmax"] * q1 - kgut * q2,
        kgut * q2 - p["kabs"] * qg,
        production + appears - p["Fsnc"] - excretion - p["k1"] * gp + p["k2"] * gt,
        p["k1"] * gp - p["k2"] * gt - use,
        p["ka1"] * s1 + p["ka2"] * s2 - (p["m2"] + p["m4"]) * ip + p["m1"] * il,
        p["p2u"] * (insulin - p["Ib"] - act),
        p["ki"] * (insulin - i1),
        p["ki"] * (i1 - xl),
        p["m2"] * ip - (p["m1"] + p["m30"]) * il,
        units * 6000.0 / p["BW"] - (p["ka1"] + p["kd"]) * s1,
        p["kd"] * s1 - p["ka2"] * s2,
        p["ksc"] * (gp - gs),
    ]


@pytest.mark.parametrize("who", [0, 41])
def test_steps_follow_the_papers_equations(adults: diabetes.DiabetesParameters, who: int) -> None:
    ours = live(adults, 150, meal_g=MEAL_G, bolus_U=4.0)
    p = {name: float(values[who]) for name, values in adults._asdict().items()}
    basal = float(adults.basal_U_per_h[who]) / 60.0
    x = np.asarray(diabetes.initial(adults).x[:, who], dtype=float)
    for minute in range(150):  # restarted each minute: inputs are constant within one
        x = solve_ivp(
            lambda t, y: paper(p, t, y, basal, 4.0),
            (minute, minute + 1 - 1e-9),
            x,
            rtol=1e-8,
            atol=1e-8,
        ).y[:, -1]
    np.testing.assert_allclose(ours[-1][:, who], x, rtol=2e-3, atol=0.05)


def test_half_the_step_changes_nothing(adults: diabetes.DiabetesParameters) -> None:
    one = live(adults, 300, meal_g=MEAL_G, bolus_U=3.0)[:, 3]
    half = live(adults, 300, meal_g=MEAL_G, bolus_U=3.0, dt_min=0.5)[::2, 3]
    # a meal's size is known a step at a time, so that the step shows while it is eaten
    np.testing.assert_allclose(one, half, rtol=0.03)
    np.testing.assert_allclose(one[180:], half[180:], rtol=3e-3)


def test_the_basal_rate_holds_the_basal_glucose(adults: diabetes.DiabetesParameters) -> None:
    glucose = live(adults, 24 * 60)[:, 3] / np.asarray(adults.Vg)
    np.testing.assert_allclose(glucose, np.broadcast_to(np.asarray(adults.Gb), glucose.shape), rtol=1e-4)


def test_a_meal_raises_and_insulin_lowers_glucose(adults: diabetes.DiabetesParameters) -> None:
    plain, treated = (live(adults, 420, meal_g=MEAL_G, bolus_U=u)[:, 3] for u in (0.0, 5.0))
    Vg, Gb = np.asarray(adults.Vg), np.asarray(adults.Gb)
    rise = plain.max(axis=0) / Vg - Gb
    assert 60 < np.median(rise) < 200, "60 g without a bolus: about 1-3 mg/dL a gram"
    assert (treated[-1] < plain[-1]).all()
    assert (treated.max(axis=0) <= plain.max(axis=0) + 1e-3).all()
    sensor_peak = live(adults, 420, meal_g=MEAL_G)[:, 12].argmax(axis=0)
    # of two peaks of a height the sensor may show the first as the greater
    assert (sensor_peak >= plain.argmax(axis=0)).mean() > 0.95, "the sensor lags"
    drop = (plain[-1] - treated[-1]) / Vg / 5.0
    assert 5 < np.median(drop) < 80, "a unit lowers glucose by tens of mg/dL"


def test_what_is_eaten_is_absorbed(adults: diabetes.DiabetesParameters) -> None:
    stomach_and_gut = live(adults, 40 * 60, meal_g=MEAL_G)[:, :3].sum(axis=1)
    eaten = MEAL_FROM_MIN + MEAL_FOR_MIN
    assert stomach_and_gut[eaten] == pytest.approx(MEAL_G * 1000, rel=0.12)
    assert (stomach_and_gut[-1] < 0.08 * MEAL_G * 1000).all()


def test_at_dawn_the_same_basal_is_not_enough() -> None:
    adults = sample_population(jax.random.key(3), N)._replace(drift_sd=jnp.zeros(N))
    dawn, noon = (live(adults, 120, hour=hour)[-1, 3] for hour in (6.0, 15.0))
    assert (dawn >= noon - 1e-3).all()
    assert np.median((dawn - noon) / np.asarray(adults.Vg)) > 2.0


@pytest.mark.parametrize("group", GROUPS)
def test_the_population_is_the_one_it_says(group: str) -> None:
    people = GROUPS[group]
    assert np.linalg.eigvalsh(correlation_matrix(people)).min() > 0
    many = sample_population(jax.random.key(0), 4000, group)
    for name, (median, log_sd) in people.table.items():
        if name in ("EGPb", "CL"):
            continue
        values = np.log(np.asarray(getattr(many, name)))
        if name not in people.ranges:  # those are cut at the edges of the ten
            assert np.median(values) == pytest.approx(np.log(median), abs=5 * log_sd / np.sqrt(4000))
            assert values.std() == pytest.approx(log_sd, rel=0.08)
            assert np.abs(values - np.log(median)).max() <= TRUNCATION * log_sd * 1.001
    for (one, other), r in people.correlations.items():
        if {one, other} <= {"k1", "p2u", "ka1", "ka2", "Vmx", "kp3", "Ib", "m1", "ki"}:
            seen = np.corrcoef(np.log(getattr(many, one)), np.log(getattr(many, other)))[0, 1]
            assert seen == pytest.approx(SHRINKAGE * r, abs=0.06), (one, other)
    assert all(bool(jnp.all(values > 0)) for name, values in many._asdict().items() if name != "dawn")
    assert bool(jnp.all(many.kmin <= many.kmax))


def test_a_patient_is_the_same_whoever_else_is_drawn() -> None:
    many = sample_population(jax.random.key(0), 40)
    few = sample_numbered(jax.random.key(0), jnp.array([31, 2]))
    for one, other in zip(many, few, strict=True):
        np.testing.assert_array_equal(np.asarray(one)[[31, 2]], other)
    assert not np.array_equal(many.BW, sample_population(jax.random.key(1), 40).BW)
    assert not np.array_equal(many.BW, sample_population(jax.random.key(0), 40, "child").BW)
    with pytest.raises(DoseTwinError, match=r"no group of people called 'infant'; expected adult"):
        sample_population(jax.random.key(0), 2, "infant")


SOURCE = {  # simglucose 0.2.11, Quest.csv and vpatient_params.csv: median (lowest, highest) of ten people
    "adult": {"basal": (1.16, 0.89, 1.72), "ratio": (9.5, 5.0, 22.0), "daily": (57.1, 33.8, 68.3)},
    "adolescent": {"basal": (0.78, 0.56, 0.92), "ratio": (12.0, 4.0, 23.0), "daily": (36.0, 24.1, 63.4)},
    "child": {"basal": (0.40, 0.29, 0.52), "ratio": (22.5, 7.0, 25.0), "daily": (20.0, 16.0, 40.9)},
}


@pytest.mark.parametrize("group", GROUPS)
def test_what_a_clinic_would_know_is_what_the_source_states(group: str) -> None:
    settings = clinical_settings(sample_population(jax.random.key(11), N, group))
    ours = {
        "basal": settings.basal_U_per_h,
        "ratio": settings.carbohydrate_ratio_g_per_U,
        "daily": settings.total_daily_dose_U,
    }
    for name, (median, low, high) in SOURCE[group].items():
        assert np.median(ours[name]) == pytest.approx(median, rel=0.25), name
        # the ten people's range holds most of many people, and the many reach most of it
        assert np.mean((ours[name] >= 0.85 * low) & (ours[name] <= 1.15 * high)) > 0.7, name
        assert np.ptp(np.log(ours[name])) > 0.6 * np.log(high / low), name


def test_the_ratio_brings_a_meal_back_to_basal(adults: diabetes.DiabetesParameters) -> None:
    settings = clinical_settings(adults)
    ratio = settings.carbohydrate_ratio_g_per_U
    capped = ratio >= 25.0
    assert 0 < capped.sum() < N / 3
    who = int(np.argsort(ratio)[N // 2])
    mine = diabetes.DiabetesParameters(*(values[who] for values in adults))
    basal = float(adults.basal_U_per_h[who]) / 60.0
    slope = jax.jit(partial(diabetes.derivative, mine))
    x = diabetes.initial(adults).x[:, who]
    for minute in range(240):  # the midpoint rule, with inputs that hold for a minute
        eaten_mg, eats = 5000.0 * min(minute + 1, 10), 5.0 if minute < 10 else 0.0
        insulin = basal + (50.0 / ratio[who] if minute == 0 else 0.0)
        half = x + 0.5 * slope(x, eaten_mg, insulin, eats, 1.0)
        x = x + slope(half, eaten_mg, insulin, eats, 1.0)
    assert float(x[3] / mine.Vg) == pytest.approx(float(mine.Gb), rel=0.03)
