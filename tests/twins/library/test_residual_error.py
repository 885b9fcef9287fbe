"""Residual errors against SciPy's densities and exact arithmetic; expected information against simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import nbinom, norm, poisson, t

from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import (
    Additive,
    Combined,
    Count,
    LogError,
    Ordinal,
    Power,
    Proportional,
    StudentT,
)
from dosetwin.twins.precision import double_precision
from dosetwin.twins.residual_error import ErrorModel

LOG_2PI = math.log(2 * math.pi)
F = np.array([0.3, 2.0, 11.0])
Y = np.array([0.5, 1.7, 14.0])


def deviance(
    error: ErrorModel, y: np.ndarray, f: np.ndarray, censored: Any = None, lower: Any = None
) -> np.ndarray:
    with double_precision():
        s = jnp.asarray(list(error.coefficients.values()))
        return np.asarray(error.half_deviance(jnp.asarray(y), jnp.asarray(f), censored, lower, s))


@pytest.mark.parametrize(
    ("error", "sd"),
    [
        (Additive(0.4), lambda f: 0.4 + 0 * f),
        (Proportional(0.2), lambda f: 0.2 * f),
        (Combined(0.4, 0.2), lambda f: np.hypot(0.4, 0.2 * f)),
        (Combined(0.4, 0.2, form="sd"), lambda f: 0.4 + 0.2 * f),
        (Power(0.3, 0.7), lambda f: 0.3 * f**0.7),
    ],
)
def test_normal_errors_are_normal(error: ErrorModel, sd: Callable[[np.ndarray], np.ndarray]) -> None:
    expected = -norm.logpdf(Y, F, sd(F)) - 0.5 * LOG_2PI
    np.testing.assert_allclose(deviance(error, Y, F), expected, rtol=1e-7)


def test_log_normal_error_is_normal_in_logarithms() -> None:
    expected = -norm.logpdf(np.log(Y), np.log(F), 0.25) - 0.5 * LOG_2PI
    np.testing.assert_allclose(deviance(LogError(0.25), Y, F), expected, rtol=1e-12)


@pytest.mark.parametrize("error", [Combined(0.4, 0.2), LogError(0.25)])
def test_censored_values_are_tails(error: Combined | LogError) -> None:
    """Below, above, between: M3, against SciPy's distribution function."""
    logs = isinstance(error, LogError)
    scale: Callable[[Any], Any] = np.log if logs else (lambda v: v)
    sd = 0.25 if logs else np.hypot(0.4, 0.2 * F)
    u = (scale(Y) - scale(F)) / sd
    below = deviance(error, Y, F, jnp.array([-1, -1, -1]), jnp.full(3, jnp.nan))
    above = deviance(error, Y, F, jnp.array([1, 1, 1]), jnp.full(3, jnp.nan))
    np.testing.assert_allclose(below, -norm.logcdf(u), rtol=1e-8)
    np.testing.assert_allclose(above, -norm.logsf(u), rtol=1e-8)
    lower = 0.4 * Y
    with double_precision():
        between = deviance(error, Y, F, jnp.array([-1, -1, -1]), jnp.asarray(lower))
    share = norm.cdf(u) - norm.cdf((scale(lower) - scale(F)) / sd)
    np.testing.assert_allclose(between, -np.log(share), rtol=1e-7)


def test_a_value_far_below_the_limit_stays_finite() -> None:
    """40 standard deviations off: the tail, its slope and its curvature are numbers."""
    error, s = Additive(0.1), jnp.array([0.1])
    with double_precision():

        def J(f: Any) -> Any:
            return error.half_deviance(jnp.array(1.0), f, jnp.array(-1), jnp.array(jnp.nan), s)

        values = J(jnp.array(5.0)), jax.jvp(J, (jnp.array(5.0),), (jnp.array(1.0),))[1]
    assert float(values[0]) == pytest.approx(-float(norm.logcdf(-40)), rel=1e-6)
    assert float(values[1]) == pytest.approx(400, rel=0.01)


def test_student_t_is_student_t() -> None:
    base = Combined(0.4, 0.2)
    sd = np.hypot(0.4, 0.2 * F)
    constant = float(t.logpdf(0.0, 4))
    expected = -(t.logpdf((Y - F) / sd, 4) - np.log(sd)) + constant
    np.testing.assert_allclose(deviance(StudentT(base, 4.0), Y, F), expected, rtol=1e-7)
    with double_precision():
        weight = StudentT(base, 4.0).weight(
            jnp.array([2.0, 40.0]), jnp.array([2.0, 2.0]), jnp.array([0.4, 0.2])
        )
    assert float(weight[0]) == 1.0
    assert float(weight[1]) < 0.01


def test_categories_and_counts() -> None:
    f = np.array([-1.0, 0.2, 1.5])
    at_least = [np.ones(3), expit(f), expit(f - 1.2), expit(f - 1.2 - 0.8), np.zeros(3)]
    error = Ordinal((0.0, -1.2, -0.8))
    for k in range(4):
        expected = -np.log(at_least[k] - at_least[k + 1])
        np.testing.assert_allclose(deviance(error, np.full(3, float(k)), f), expected, rtol=1e-9)
    counts = np.array([0.0, 3.0, 9.0])
    np.testing.assert_allclose(deviance(Count(), counts, F), -poisson.logpmf(counts, F), rtol=1e-9)
    r = 1 / 0.5
    expected = -nbinom.logpmf(counts, r, r / (r + F))
    np.testing.assert_allclose(deviance(Count(overdispersion=0.5), counts, F), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("error", "f"),
    [
        (Combined(0.4, 0.2), 2.0),
        (Combined(0.4, 0.2, form="sd"), 2.0),
        (LogError(0.3), 2.0),
        (Power(0.3, 0.7), 2.0),
        (StudentT(Additive(0.5), 5.0), 2.0),
        (Ordinal((0.0, -1.0)), 0.4),
        (Count(), 3.0),
        (Count(overdispersion=0.4), 3.0),
    ],
)
def test_information_is_the_mean_of_the_squared_slope(error: ErrorModel, f: float) -> None:
    """Fisher: E[(dJ/df)^2] by drawing 200,000 observations; Monte-Carlo error below 1 %."""
    with double_precision():
        s = jnp.asarray(list(error.coefficients.values()))
        at = jnp.full(200_000, f)
        y = error.draw(jax.random.key(0), at, s)
        slope = jax.jvp(lambda v: error.half_deviance(y, v, None, None, s), (at,), (jnp.ones_like(at),))[1]
        expected = float((slope**2).mean())
        got = float(error.information(y[:1], at[:1], None, None, s)[0])
    assert got == pytest.approx(expected, rel=0.03)


def test_information_of_a_censored_value_is_its_curvature() -> None:
    error, h = Additive(0.4), 1e-4
    with double_precision():
        arguments = (jnp.array(-1), jnp.array(jnp.nan), jnp.array([0.4]))

        def J(f: float) -> float:
            return float(error.half_deviance(jnp.array(1.0), jnp.array(f), *arguments))

        got = float(error.information(jnp.array(1.0), jnp.array(2.0), *arguments))
        expected = (J(2.0 + h) - 2 * J(2.0) + J(2.0 - h)) / h**2
    assert got == pytest.approx(expected, rel=1e-4)


def test_densities_sum_to_one() -> None:
    for error, f in ((Combined(0.4, 0.2), 3.0), (Power(0.3, 0.7), 3.0)):

        def density(y: float, error: Any = error, f: float = f) -> float:
            return float(np.exp(-deviance(error, np.array([y]), np.array([f]))[0] - 0.5 * LOG_2PI))

        assert quad(density, -10, 16, limit=60)[0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Combined(), "found residual error additive 0.0"),
        (lambda: Combined(1.0, form="other"), "found form 'other'"),  # type: ignore[arg-type] # a user's slip
        (lambda: LogError(0.0), "found a log-normal error"),
        (lambda: Power(1.0, -1.0), "found a power error"),
        (lambda: StudentT(Additive(1.0), 2.0), "found 2.0 degrees of freedom"),
        (lambda: Ordinal((0.0, 0.5)), "expected b_2.. below 0"),
        (lambda: Count(-1.0), "found overdispersion -1.0"),
    ],
)
def test_impossible_errors_say_what_was_expected(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ModelError) as raised:
        build()
    assert words in str(raised.value)
