"""User equations and their solvers against SciPy, with the right-hand side written again here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.numerical_error import numerical_error, refined
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import Adaptive, FixedStep
from dosetwin.twins.models.rosenbrock import rodas5p_step
from dosetwin.twins.models.structure import Pulses

from .oracle import curve_of, error_to_peak, outputs, scipy_amounts

pytestmark = pytest.mark.usefixtures("double")
NO_PULSES = Pulses(jnp.zeros(0), jnp.zeros(0))
P = {"kin": 2.0, "kout": 0.4, "Vmax": 6.0, "Km": 1.5, "V": 8.0, "slope": 0.3}
TIMES = (0.0, 0.05, 0.5, 2.0, 7.0, 24.0)


def saturable_response(t: Any, x: Any, p: Any) -> dict[str, Any]:
    """Saturable elimination that drives a response with a daily rhythm."""
    C = x.drug / p.V
    rhythm = 1 + 0.2 * jnp.cos(2 * jnp.pi * t / 24)
    return {
        "drug": -p.Vmax * C / (p.Km + C),
        "response": p.kin * rhythm * (1 + p.slope * C) - p.kout * x.response,
    }


def model(solver: Any = None) -> ODE:
    return ODE(
        saturable_response,
        ("drug", "response"),
        {"concentration": "drug/V", "response": "response"},
        {"response": "kin/kout"},
        solver=solver,
    )


def expected(times: tuple[float, ...], dose: float, rate: float) -> np.ndarray:
    def slope(t: float, x: np.ndarray) -> list[float]:
        C = x[0] / P["V"]
        stimulus = P["kin"] * (1 + 0.2 * np.cos(2 * np.pi * t / 24)) * (1 + P["slope"] * C)
        return [rate - P["Vmax"] * C / (P["Km"] + C), stimulus - P["kout"] * x[1]]

    return scipy_amounts(slope, [dose, P["kin"] / P["kout"]], times) / [P["V"], 1.0]


@pytest.mark.parametrize(
    ("solver", "most"),
    [
        (FixedStep(0.05), 1e-8),
        (Adaptive("tsit5"), 1e-8),
        (Adaptive("rodas5p"), 1e-7),
        pytest.param(Adaptive("kvaerno5"), 1e-7, marks=pytest.mark.slow),
    ],
)
def test_solvers_agree_with_scipy(solver: Any, most: float) -> None:
    found = outputs(model(solver), P, TIMES, {"drug": 100.0}, {"drug": 3.0})
    assert error_to_peak(found, expected(TIMES, 100.0, 3.0)) < most


def test_names_are_found_by_tracing() -> None:
    structure = model()
    assert structure.required == ("kin", "kout", "V", "Vmax", "Km", "slope")
    assert structure.outputs == ("concentration", "response")
    assert structure.dose_compartment == "drug"
    assert hash(structure) == hash(structure)
    assert structure == model()
    assert structure != model(FixedStep(0.1))


@pytest.mark.parametrize(
    "solver",
    [
        FixedStep(0.05),
        Adaptive("tsit5"),
        pytest.param(Adaptive("rodas5p"), marks=pytest.mark.slow),
        pytest.param(Adaptive("kvaerno5"), marks=pytest.mark.slow),
    ],
)
def test_an_interval_may_be_empty_and_differentiates(solver: Any) -> None:
    structure = model(solver)
    q = {name: jnp.asarray(value) for name, value in P.items()}
    x, rate = jnp.array([100.0, 5.0]), jnp.array([3.0, 0.0])

    @jax.jit
    def both(elapsed: jax.Array) -> tuple[jax.Array, jax.Array]:
        def end(elapsed: jax.Array) -> jax.Array:
            return structure.advance(q, x, rate, NO_PULSES, jnp.asarray(2.0), elapsed)

        return jax.jvp(end, (elapsed,), (jnp.ones(()),))

    for elapsed in (0.0, 3.0):
        at, slope = both(jnp.asarray(elapsed))
        field = saturable_response(
            2.0 + elapsed, SimpleNamespace(drug=at[0], response=at[1]), SimpleNamespace(**P)
        )
        np.testing.assert_allclose(slope, [field["drug"] + 3.0, field["response"]], rtol=2e-6, atol=1e-7)
        if elapsed == 0.0:
            np.testing.assert_array_equal(at, x)


@pytest.mark.parametrize(
    "solver",
    [
        FixedStep(0.1),
        pytest.param(Adaptive("tsit5"), marks=pytest.mark.slow),
        pytest.param(Adaptive("rodas5p"), marks=pytest.mark.slow),
        pytest.param(Adaptive("kvaerno5"), marks=pytest.mark.slow),
    ],
)
def test_forward_derivatives_agree_with_differences(solver: Any) -> None:
    """First ones against differences of the outputs by SciPy-like accuracy, second ones of the first."""
    names = tuple(P)
    curve = curve_of(model(solver), names, (1.0, 12.0), {"drug": 100.0}, {})
    theta = jnp.asarray(list(P.values()))
    direction = theta * jnp.linspace(0.4, 1.0, len(P))

    def along(e: jax.Array) -> jax.Array:
        return curve(theta + e * direction)

    first = jax.jit(jax.jacfwd(along))
    second = jax.jit(jax.jacfwd(jax.jacfwd(along)))(0.0)
    run = jax.jit(along)
    h = 1e-3
    slope = (8 * (run(h) - run(-h)) - (run(2 * h) - run(-2 * h))) / (12 * h)
    np.testing.assert_allclose(first(0.0), slope, rtol=1e-4, atol=2e-5)
    bend = (8 * (first(h) - first(-h)) - (first(2 * h) - first(-2 * h))) / (12 * h)
    np.testing.assert_allclose(second, bend, rtol=1e-4, atol=2e-4)


def test_rodas5p_is_of_order_five() -> None:
    """Halving the step divides the error by 2^5, also where the equation depends on time; stiff is stable."""

    def field(t: Any, x: Any, k: Any) -> Any:  # Prothero and Robinson: the solution is sin(t)
        return -k * (x - jnp.sin(t)) + jnp.cos(t)

    @jax.jit
    def end(n: jax.Array, k: jax.Array) -> jax.Array:
        h = 1.0 / n
        body = lambda i, x: rodas5p_step(field, i * h, x, h, k)[0]  # noqa: E731
        last: jax.Array = jax.lax.fori_loop(0, n, body, jnp.zeros(1))[0]
        return last

    errors = [abs(float(end(n, jnp.asarray(1.0))) - np.sin(1.0)) for n in (8, 16)]
    assert np.log2(errors[0] / errors[1]) > 4.7
    assert abs(float(end(8, jnp.asarray(1e6))) - np.sin(1.0)) < 1e-6


def test_a_solver_that_gives_up_says_nan() -> None:
    structure = model(Adaptive("rodas5p", most_steps=3))
    with pytest.raises(ModelError, match=r"no finite solution at time 24.*most_steps=3"):
        numerical_error(structure, P, (1e-6, 24.0), dose=100.0)
    for elapsed in (float("nan"), float("inf")):
        q = {name: jnp.asarray(value) for name, value in P.items()}
        x, now = jnp.ones(2), jnp.zeros(())
        end = model(FixedStep(1.0)).advance(q, x, x, NO_PULSES, now, jnp.asarray(elapsed))
        assert np.isnan(end).all()
    explicit = model(Adaptive("tsit5", most_steps=3))
    assert np.isnan(outputs(explicit, P, (24.0,), {"drug": 100.0})).all()


def test_members_of_a_batch_do_not_touch_each_other() -> None:
    structure = model()

    def end(dose: jax.Array) -> jax.Array:
        q = {name: jnp.asarray(value) for name, value in P.items()}
        x = structure.initial(q).at[0].add(dose)
        x = structure.advance(q, x, jnp.zeros(2), NO_PULSES, jnp.zeros(()), jnp.asarray(5.0))
        return structure.observe(q, x, jnp.asarray(5.0))

    doses = (0.0, 1.0, 30.0, 500.0, float("nan"))
    found = np.asarray(jax.jit(jax.vmap(end))(jnp.array(doses)))
    for dose, row in zip(doses[:-1], found, strict=False):
        np.testing.assert_allclose(row, expected((0.0, 5.0), dose, 0.0)[-1], rtol=1e-7, atol=1e-9)
    assert np.isnan(found[-1]).all()


def test_the_reported_error_is_the_true_one() -> None:
    """For fixed steps within a factor of 2; for adaptive ones of the size of the tolerance."""
    structure = model(FixedStep(1.0))
    found = outputs(structure, P, TIMES, {"drug": 100.0})
    truth = expected(TIMES, 100.0, 0.0)
    errors = numerical_error(structure, P, TIMES, dose=100.0)
    for i, error in enumerate(errors):
        true = np.abs(found[:, i] - truth[:, i]).max()
        assert 0.5 * true < error.largest < 2 * true
        assert error.relative_to_peak == pytest.approx(error.largest / np.abs(truth[:, i]).max(), rel=1e-3)
    assert [error.output for error in errors] == ["concentration", "response"]
    adaptive = numerical_error(model(), P, TIMES, dose={"drug": 100.0}, rate={"drug": 3.0})
    assert all(0 < error.relative_to_peak < 1e-7 for error in adaptive)
    assert refined(model()).solver == Adaptive(relative=1e-10, absolute=1e-12, most_steps=100_000)


def test_optional_parameters_stay_optional() -> None:
    def slope(t: Any, x: Any, p: Any) -> dict[str, Any]:
        return {"a": -p.k * x.a * getattr(p, "factor", 1.0)}

    structure = ODE(slope, ("a",), {"a": "a"}, optional=("factor",), solver=FixedStep(0.01))
    assert structure.required == ("k",)
    plain = outputs(structure, {"k": 0.5}, (2.0,), {"a": 1.0})
    np.testing.assert_allclose(plain, np.exp(-1.0), rtol=1e-8)
    doubled = outputs(structure, {"k": 0.5, "factor": 2.0}, (2.0,), {"a": 1.0})
    np.testing.assert_allclose(doubled, np.exp(-2.0), rtol=1e-8)


@pytest.mark.parametrize(
    ("slope", "options", "words"),
    [
        (lambda t, x, p: {"a": -p.k * x.aa}, {}, "found 'aa'.*did you mean 'a'"),
        (lambda t, x, p: {"b": -p.k * x.a}, {}, "derivative of 'b'"),
        (lambda t, x, p: {}, {}, "no derivative of a"),
        (lambda t, x, p: {"a": -p.kel * x.a}, {"required": ("kels",)}, "'kel'.*did you mean 'kels'"),
        (lambda t, x, p: {"a": -p.k * x.a if x.a > 1 else 0.0}, {}, "the number itself"),
        (lambda t, x, p: {"a": -p.k * np.log(x.a)}, {}, "the number itself"),
        (lambda t, x, p: {"a": jnp.zeros(2)}, {}, r"shape \(2,\)"),
        (lambda t, x, p: {"a": -x.a}, {"initial": {"A": 1.0}}, "initial amount of 'A'"),
        (lambda t, x, p: {"a": -x.a}, {"dose_compartment": "depot"}, "dose compartment 'depot'"),
    ],
)
def test_mistakes_are_named(slope: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        ODE(slope, ("a",), {"a": "a"}, **options)


def test_missing_values_and_wrong_solvers_are_named() -> None:
    with pytest.raises(ModelError, match="no value of kin"):
        numerical_error(model(), {"V": 1.0}, (1.0,), dose=1.0)
    with pytest.raises(ModelError, match="tsit5, rodas5p or kvaerno5"):
        Adaptive("radau")  # type: ignore[arg-type] # the mistake under test
    with pytest.raises(ModelError, match="step above 0"):
        FixedStep(0.0)
