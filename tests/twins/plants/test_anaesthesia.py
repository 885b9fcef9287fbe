"""The anaesthesia plant against the papers' equations in SciPy, published effects, and slow oracles."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

from dosetwin.twins.plants import anaesthesia
from dosetwin.twins.plants import anaesthesia_circulation as circulation
from dosetwin.twins.plants.anaesthesia_people import age_factor, people
from dosetwin.twins.plants.anaesthesia_surgery import surgery

FloatArray = npt.NDArray[np.float64]
N = 6
SECONDS = 10
TYPICAL_SU = (82.2, 56.1, 0.0163, -0.154, 3.21, -1.0, 0.0327, 0.0581, -0.778, -0.119, 0.661)
"""Su 2023, table of final estimates; -0.154 is at 35 years."""


def effects(Cp: float, Cr: float) -> tuple[float, float, float, float, float]:
    """Su 2023: on production of SV and TPR, on dissipation of SV, HR and TPR."""
    sv = -0.154 * Cp / (Cp + 0.44)
    tpr = (-0.778 + Cr / (Cr + 4.59)) * Cp**1.83 / (Cp**1.83 + 3.21**1.83)
    return (
        sv,
        tpr,
        (0.0581 - 0.212 * Cp / (Cp + 0.44)) * Cr,
        (0.0327 - 0.119 * Cp / (Cp + 0.196)) * Cr,
        -Cr / (Cr + 4.59),
    )


def su(t: float, y: FloatArray, Cp: float, Cr: float) -> list[float]:
    """The five equations for a typical volunteer of 35 years, per minute."""
    sv, hr, tpr, a_sv, a_hr = y
    e_sv, e_tpr, r_sv, r_hr, r_tpr = effects(Cp, Cr)
    HR = hr + a_hr
    SV = (sv + a_sv) * (1 - 0.312 * math.log(HR / (56.1 * 1.121)))
    back = (SV * HR * tpr / (82.2 * 1.0899 * 56.1 * 1.121 * 0.0163)) ** -0.661
    return [
        0.072 * (82.2 * back * (1 + e_sv) - sv * (1 - r_sv)),
        0.072 * (56.1 * back - hr * (1 - r_hr)),
        0.072 * (0.0163 * back * (1 + e_tpr) - tpr * (1 - r_tpr)),
        -0.067 * a_sv,
        -0.067 * a_hr,
    ]


@pytest.fixture(scope="module")
def volunteer() -> circulation.CirculationParameters:
    """Su's typical volunteer of 35 years."""
    return circulation.CirculationParameters(*(jnp.full(1, value) for value in TYPICAL_SU))


def pressure_after(
    person: circulation.CirculationParameters, minutes: int, Cp: float, Cr: float, arousal: float = 0.0
) -> tuple[float, float]:
    drive = circulation.Drive(*(jnp.full(1, value) for value in (Cp, Cr, arousal, 0.0, 1.0)))

    @jax.jit
    def run(state: circulation.CirculationState) -> circulation.CirculationState:
        after: circulation.CirculationState = jax.lax.fori_loop(
            0, minutes * 60, lambda _, s: circulation.advanced(person, s, drive, 1.0), state
        )
        return after

    MAP, HR = circulation.pressure_and_rate(person, run(circulation.rested(person)), drive.arousal)
    return float(MAP[0]), float(HR[0])


def test_the_circulation_follows_scipy(volunteer: circulation.CirculationParameters) -> None:
    y = solve_ivp(
        su, (0, 25), [82.2, 56.1, 0.0163, 0.0899 * 82.2, 0.121 * 56.1], args=(3.0, 4.0), rtol=1e-9
    ).y[:, -1]
    HR = y[1] + y[4]
    MAP = (y[0] + y[3]) * (1 - 0.312 * math.log(HR / (56.1 * 1.121))) * HR * y[2]
    assert pressure_after(volunteer, 25, 3.0, 4.0) == pytest.approx((MAP, HR), rel=1e-3)


def test_volunteers_lose_a_third_of_their_pressure_and_keep_their_rate(
    volunteer: circulation.CirculationParameters,
) -> None:
    before, rate = circulation.pressure_and_rate(volunteer, circulation.rested(volunteer), jnp.zeros(1))
    assert float(before[0]) == pytest.approx(91.8, rel=0.01)
    assert float(rate[0]) == pytest.approx(62.9, rel=0.01)

    def at_rest(z: FloatArray) -> list[float]:
        d_sv, d_hr, d_tpr, _, _ = su(0.0, np.array([z[0], z[1], z[2] / 1000, 0.0, 0.0]), 3.0, 4.0)
        return [d_sv, d_hr, 1000 * d_tpr]

    steady = fsolve(at_rest, [70.0, 60.0, 12.0])
    expected = steady[0] * (1 - 0.312 * math.log(steady[1] / 62.89)) * steady[1] * steady[2] / 1000
    found, rate_then = pressure_after(volunteer, 180, 3.0, 4.0)
    assert found == pytest.approx(expected, rel=2e-3)
    assert 0.5 < found / 91.8 < 0.7
    assert rate_then == pytest.approx(62.9, rel=0.15)


def test_surgery_lifts_the_pressure_as_in_the_patients_of_vitaldb(
    volunteer: circulation.CirculationParameters,
) -> None:
    """At once 13, 15 and 6 % on rate, volume and resistance; the reflex takes most of it back."""
    felt = 0.3 / (0.3 + circulation.HALF_AROUSED)
    assert 0.35 * felt == pytest.approx(0.14, abs=0.015)
    assert circulation.AROUSED_TPR * felt == pytest.approx(0.06, abs=0.005)
    calm, stirred = pressure_after(volunteer, 60, 3.0, 4.0), pressure_after(volunteer, 60, 3.0, 4.0, 0.3)
    assert 1.05 < stirred[0] / calm[0] < 1.25


def test_the_index_is_half_at_the_published_concentrations() -> None:
    one = jnp.ones(1)
    C50 = jnp.array([[4.47], [19.3]])
    for Cp, Cr in ((4.47, 0.0), (0.0, 19.3), (4.47 / 2, 19.3 / 2), (4.47 * 0.7, 19.3 * 0.3)):
        found = anaesthesia.index(97.4 * one, C50, 1.43 * one, jnp.array([[Cp], [Cr]]), 0.0 * one)
        assert float(found[0]) == pytest.approx(97.4 / 2, rel=1e-4), "additive (Bouillon 2004)"
    assert age_factor(np.array([25.0, 75.0])) == pytest.approx([2.35 / 2.24, 1.25 / 2.24])


def test_an_opioid_keeps_a_stimulus_out() -> None:
    one = jnp.ones(1)
    passes = [float(anaesthesia.transmitted(one, r * one, 1.1 * one)[0]) for r in (0.0, 1.1, 3.0, 8.0)]
    assert passes[0] == pytest.approx(1.0, abs=1e-3)
    assert passes[1] == pytest.approx(0.5)
    assert passes[2] == pytest.approx(0.27, abs=0.02)
    assert passes[3] < 0.15
    U = jnp.array([[4.3], [0.0]])
    calm, level, strong = (
        float(anaesthesia.index(97.4 * one, jnp.array([[4.47], [19.3]]), 1.43 * one, U, a * one)[0])
        for a in (0.0, 0.27, 0.27 * 2.8)
    )
    assert 6 < level - calm < 13, "Struys 2004: about 10 at the level of surgery"
    assert 15 < strong - calm < 30


class Course:
    """N people of one seed, simulated under a given regimen."""

    def __init__(
        self, seed: int, numbers: range = range(N), minutes: int = 5, mg_per_min: float = 10.0
    ) -> None:
        self.parameters = anaesthesia.parameters(people(numbers, seed), numbers, seed)
        state = anaesthesia.initial(self.parameters)
        rates = jnp.tile(jnp.array([mg_per_min, 8.0])[:, None], (SECONDS, 1, len(numbers)))
        inputs = anaesthesia.AnaesthesiaInputs(rates, *jnp.zeros((2, SECONDS, len(numbers))))
        traces = []
        for block in range(minutes * 60 // SECONDS):
            state, trace = anaesthesia.advance(self.parameters, state, inputs, block)
            traces.append(jax.device_get(trace))
        self.trace: anaesthesia.AnaesthesiaTrace = jax.tree.map(lambda *all_: np.concatenate(all_), *traces)


@pytest.fixture(scope="module")
def course() -> Course:
    """Five minutes."""
    return Course(seed=5)


def test_chance_is_a_function_of_seed_and_number(course: Course) -> None:
    again = Course(seed=5, numbers=range(2, 2 + N))
    for name, mine, theirs in zip(course.trace._fields, again.trace, course.trace, strict=True):
        np.testing.assert_allclose(mine[..., : N - 2], theirs[..., 2:], rtol=2e-5, atol=2e-4, err_msg=name)
    other = Course(seed=6, minutes=1)
    assert not np.allclose(other.trace.shown_bis[:10], course.trace.shown_bis[:10], atol=0.1)


def test_the_monitor_shows_an_average_of_some_time_ago(course: Course) -> None:
    p, trace = course.parameters, course.trace
    noise = []
    for i in range(N):
        delay, average = int(p.delay_s[i]), int(p.average_s[i])
        assert 5 <= delay <= 15
        assert average in (15, 30)
        for second in range(60, 300):
            ends = second + 1 - delay
            noise.append(trace.shown_bis[second, i] - trace.bis[ends - average : ends, i].mean())
    assert abs(np.mean(noise)) < 1.0
    assert 2.0 < np.std(noise) < 4.0
    lag_one = np.corrcoef(noise[:-1], noise[1:])[0, 1]
    assert lag_one == pytest.approx(math.exp(-1 / anaesthesia.INDEX_NOISE_S), abs=0.05)


def test_drugs_deepen_and_the_pressure_falls(course: Course) -> None:
    first, last = course.trace.bis[:5].mean(0), course.trace.bis[-30:].mean(0)
    assert (first > 85).all()
    assert (last < first - 15).all()
    assert np.median(course.trace.pressure[-1] - course.trace.pressure[0]) < -3
    np.testing.assert_allclose(course.trace.bis.min(), np.clip(course.trace.bis, 0, 100).min())


def test_surgery_has_its_order_and_its_strengths() -> None:
    seconds = 9000
    for number in range(30):
        one = surgery(np.random.default_rng([9, number]), seconds, bleeding=number % 2 == 0)
        (first, intubated, tube, _), (second, incised, cut, _) = one.announced
        assert (first, second) == ("intubation", "incision")
        assert 390 <= intubated <= 570
        assert 480 <= incised - intubated <= 1080
        assert (one.stimulus[: int(intubated)] == 0).all()
        assert one.stimulus.max() <= 5.5
        assert one.stimulus[int(intubated) + 20] == pytest.approx(tube, rel=0.05)
        assert one.stimulus[int(incised) + 60] == pytest.approx(cut, rel=0.05)
        assert 0.4 < np.median(one.stimulus[int(incised) :]) < 1.9
        assert one.loss.max() == pytest.approx(0.22 if number % 2 == 0 else 0.0, abs=1e-3)
        assert np.isnan(one.bias).mean() < 0.25
