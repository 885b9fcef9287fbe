"""Savic's and Weibull's input functions: by quadrature on linear models, inside equations, against mpmath."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mpmath  # type: ignore[import-untyped] # ships no types
import numpy as np
import pytest

from dosetwin.twins.models.absorbed_linear import AbsorbedLinear, quadrature
from dosetwin.twins.models.compartments import one_compartment, two_compartment
from dosetwin.twins.models.disposition import Disposition
from dosetwin.twins.models.effect_compartment import effect_compartment
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.input_functions import InputFunction, SavicTransit, Weibull
from dosetwin.twins.models.michaelis_menten import michaelis_menten
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Adaptive, FixedStep
from dosetwin.twins.models.structure import Pulses

from .oracle import curve_of, error_to_peak, namespace, outputs

pytestmark = pytest.mark.usefixtures("double")
SAVIC, WEIBULL = SavicTransit(), Weibull()
P = {"CL": 2.0, "V1": 20.0, "Q2": 5.0, "V2": 40.0, "ka": 0.9}
DOSES = ((0.0, 100.0), (0.5, 40.0), (12.0, 60.0), (np.inf, 0.0))
TIMES = (0.001, 0.1, 0.5, 1.0, 3.0, 12.0, 13.0, 30.0, 300.0)


def named(function: InputFunction, shape: float, scale: float) -> dict[str, float]:
    names = ("n", "MTT") if isinstance(function, SavicTransit) else ("shape", "T_absorption")
    return dict(zip(names, (shape, scale), strict=True))


def exact(function: InputFunction, shape: float, lo: float, hi: float, decay: float) -> float:
    """The integral of u(a) e^{-decay (hi - a)} over [lo, hi], scale 1, in the variable that is regular."""
    with mpmath.workdps(25):
        near = [hi - d / decay for d in (0.3, 1, 4, 10, 40)]
        if isinstance(function, SavicTransit):
            s = shape + 1
            marks = [(s + d * np.sqrt(s)) / s for d in (-5, -2, 0, 2, 5, 12, 30)]
            edges = sorted({lo, hi, *(a for a in (*marks, *near) if lo < a < hi)})

            def integrand(v: Any) -> Any:  # v = a^s
                a = v ** (1 / mpmath.mpf(s))
                return mpmath.exp(s * mpmath.log(s) - s * a - mpmath.loggamma(s) - decay * (hi - a)) / s

            return float(mpmath.quad(integrand, [mpmath.mpf(a) ** s for a in edges]))
        edges = sorted({lo, hi, *(w ** (1 / shape) for w in (0.01, 0.1, 1, 4, 10, 30, 60)), *near})
        kept = [mpmath.mpf(a) ** shape for a in edges if lo <= a <= hi]
        inverse = 1 / mpmath.mpf(shape)
        return float(mpmath.quad(lambda w: mpmath.exp(-w - decay * (hi - w**inverse)), kept))


def compare(function: InputFunction, cases: list[tuple[float, float, float, float]]) -> float:
    @jax.jit
    def convolved(shape: Any, lo: Any, hi: Any, decay: Any) -> Any:
        ages, weights = quadrature(function, namespace(named(function, shape, 1.0)), lo, hi)
        return (weights * jnp.exp(-decay * (hi - ages))).sum()

    return max(abs(float(convolved(*case)) - exact(function, *case)) for case in cases)


def random_cases(seed: int, count: int, low: float, high: float) -> list[tuple[float, float, float, float]]:
    chance = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        lo = float(chance.choice([0.0, 1e-6, 0.1, 1.0]) * chance.uniform(0.2, 2))
        hi = lo + float(10 ** chance.uniform(-2, 3))
        decay = float(10 ** chance.uniform(-3, 2))
        cases.append((float(np.exp(chance.uniform(np.log(low), np.log(high)))), lo, hi, decay))
    return cases


@pytest.mark.parametrize(("function", "low", "high"), [(SAVIC, 0.02, 60.0), (WEIBULL, 0.3, 8.0)])
def test_the_convolution_is_exact_for_any_shape_interval_and_rate(
    function: InputFunction, low: float, high: float
) -> None:
    """Absolute error per unit dose: shapes 0.3 to 60, intervals of 0.01 to 1,000 absorption times."""
    assert compare(function, random_cases(3, 12, low, high)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(("function", "low", "high"), [(SAVIC, 0.02, 60.0), (WEIBULL, 0.3, 8.0)])
def test_the_convolution_is_exact_over_many_cases(function: InputFunction, low: float, high: float) -> None:
    assert compare(function, random_cases(4, 400, low, high)) < 1e-9


@pytest.mark.parametrize(("function", "shapes"), [(SAVIC, (0.0, 0.4, 3.7, 40.0)), (WEIBULL, (0.5, 1.0, 3.0))])
def test_densities_integrate_to_their_shares(function: InputFunction, shapes: tuple[float, ...]) -> None:
    for shape in shapes:
        p = namespace(named(function, shape, 2.0))
        lo, hi = jnp.asarray(0.0), jnp.asarray(3.0)
        mass = jax.jit(lambda lo, hi, p=p: quadrature(function, p, lo, hi)[1].sum())(lo, hi)
        np.testing.assert_allclose(mass, function.share(p, hi), rtol=1e-9)
        assert function.density(p, jnp.asarray(-1.0)) == 0.0
        assert function.share(p, jnp.asarray(-jnp.inf)) == 0.0


def test_savic_with_whole_stages_is_an_erlang_chain() -> None:
    """n + 1 equal stages by SciPy's gamma distribution: u of n = 2, k = 3 / MTT."""
    from scipy.stats import gamma

    ages = np.linspace(0.01, 8, 30)
    found = SAVIC.density(namespace({"n": 2.0, "MTT": 1.5}), jnp.asarray(ages))
    np.testing.assert_allclose(found, gamma(3, scale=0.5).pdf(ages), rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "shape", "limit"),
    [
        (SAVIC, 3.6, 1e-8),
        (WEIBULL, 0.6, 1e-6),
        pytest.param(SAVIC, 0.3, 1e-6, marks=pytest.mark.slow),
        pytest.param(SAVIC, 25.0, 1e-7, marks=pytest.mark.slow),
        pytest.param(WEIBULL, 2.5, 1e-7, marks=pytest.mark.slow),
    ],
)
def test_quadrature_and_equations_agree(function: InputFunction, shape: float, limit: float) -> None:
    """The same model twice: convolution on the closed form, and the density inside an equation."""
    pk = Disposition(2, "first_order")
    equations = ODE(
        lambda t, x, p: pk(p, x), pk.compartments, pk.outputs, input_function=function, solver=Adaptive()
    )
    closed = AbsorbedLinear(two_compartment("first_order"), function)
    assert set(equations.required) == set(closed.required)
    p = P | named(function, shape, 2.0)
    by_equations = outputs(equations, p, TIMES, {}, {"central": 1.0}, DOSES)
    by_quadrature = outputs(closed, p, TIMES, {}, {"central": 1.0}, DOSES)[:, :1]
    assert error_to_peak(by_equations, by_quadrature) < limit


def test_how_time_is_cut_makes_no_difference() -> None:
    closed = AbsorbedLinear(one_compartment("first_order"), WEIBULL)
    p = {"CL": 2.0, "V1": 20.0, "ka": 0.9} | named(WEIBULL, 0.7, 2.0)
    once = outputs(closed, p, (30.0,), {}, None, DOSES)
    often = outputs(closed, p, (0.5, 0.50001, 2.0, 12.0, 30.0), {}, None, DOSES)[-1:]
    np.testing.assert_allclose(often, once, rtol=1e-10)


@pytest.mark.parametrize(
    ("function", "shape"), [(SAVIC, 0.8), pytest.param(WEIBULL, 0.8, marks=pytest.mark.slow)]
)
def test_derivatives_agree_with_differences(function: InputFunction, shape: float) -> None:
    closed = AbsorbedLinear(one_compartment("first_order"), function)
    p = {"CL": 2.0, "V1": 20.0, "ka": 0.9} | named(function, shape, 2.0)
    curve = curve_of(closed, tuple(p), (0.5, 4.0, 20.0), {}, {}, DOSES)
    theta = jnp.asarray(list(p.values()))
    direction = theta * jnp.linspace(0.4, 1.0, len(p))

    def along(e: jax.Array) -> jax.Array:
        return curve(theta + e * direction)

    first = jax.jit(jax.jacfwd(along))
    second = jax.jit(jax.jacfwd(jax.jacfwd(along)))(0.0)
    run, h = jax.jit(along), 1e-3
    slope = (8 * (run(h) - run(-h)) - (run(2 * h) - run(-2 * h))) / (12 * h)
    np.testing.assert_allclose(first(0.0), slope, rtol=1e-7, atol=1e-7)
    bend = (8 * (first(h) - first(-h)) - (first(2 * h) - first(-2 * h))) / (12 * h)
    np.testing.assert_allclose(second, bend, rtol=1e-7, atol=1e-6)


def test_a_lagged_dose_differentiates() -> None:
    """The start of the interval is the dose's own time, and both move with the lag."""
    closed = AbsorbedLinear(one_compartment("none"), Weibull("central"))
    q = closed.prepare(namespace({"CL": 2.0, "V1": 20.0, "T_absorption": 2.0, "shape": 0.6}))

    @jax.jit
    def at(lag: jax.Array) -> jax.Array:
        pulses = Pulses(lag[None], jnp.array([100.0]))
        return closed.advance(q, jnp.zeros(1), jnp.zeros(1), pulses, lag, 5.0 - lag)[0]

    slope = jax.jit(jax.jacfwd(at))(0.3)
    np.testing.assert_allclose(slope, (at(0.3 + 1e-5) - at(0.3 - 1e-5)) / 2e-5, rtol=1e-6)


def test_other_linear_graphs_and_saturable_ones_take_input_functions() -> None:
    graph = AbsorbedLinear(effect_compartment(1, "first_order"), SAVIC)
    p = {"CL": 2.0, "V1": 20.0, "ka": 0.9, "ke0": 0.4} | named(SAVIC, 2.5, 2.0)
    plain = AbsorbedLinear(one_compartment("first_order"), SAVIC)
    times = (0.5, 3.0, 12.5)
    found = outputs(graph, p, times, {}, None, DOSES[:3])
    expected = outputs(plain, p, times, {}, None, DOSES[:3])
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-9)
    unsaturated = michaelis_menten(1, "first_order", input_function=SAVIC, solver=FixedStep(0.02))
    nearly = outputs(unsaturated, p | {"Vmax": 2e6, "Km": 1e6}, times, {}, None, DOSES[:3])
    np.testing.assert_allclose(nearly[:, 0], expected[:, 0], rtol=1e-4)


def test_inputs_are_declared() -> None:
    closed = AbsorbedLinear(one_compartment("first_order"), SAVIC)
    assert closed.required == ("CL", "V1", "ka", "n", "MTT")
    assert closed.inputs["depot"][0].function
    assert not closed.inputs["central"][0].function
    assert closed.dose_compartment == "depot"
    assert closed == AbsorbedLinear(one_compartment("first_order"), SavicTransit())
    with pytest.raises(ModelError, match="'depot'"):
        AbsorbedLinear(one_compartment(), SAVIC)
