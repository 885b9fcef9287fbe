"""Linear graphs against mpmath's exponential of the same matrix, written again here."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mpmath  # type: ignore[import-untyped] # ships no types
import numpy as np
import pytest
from jax import Array

from dosetwin.twins.models.compartments import Linear, three_compartment
from dosetwin.twins.models.equations import Frozen
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.linear_system import LinearSystem, exponential
from dosetwin.twins.models.structure import Input, Pulses

from .oracle import curve_of, error_to_peak, namespace, outputs

pytestmark = pytest.mark.usefixtures("double")
P = {"ka": 1.3, "CL": 4.0, "V1": 21.0, "Q2": 7.0, "V2": 35.0, "ke0": 0.4, "fm": 0.3, "CLm": 2.0, "Vm": 9.0}
TIMES = (0.0, 0.01, 0.4, 1.0, 3.0, 12.0, 48.0, 200.0)
NO_PULSES = Pulses(jnp.zeros(0), jnp.zeros(0))


def everything() -> LinearSystem:
    """Depot, two compartments, an effect compartment and a metabolite."""
    return LinearSystem(
        ("depot", "central", "peripheral", "effect", "metabolite"),
        flows={
            ("depot", "central"): "ka",
            ("central", "peripheral"): "Q2/V1",
            ("peripheral", "central"): "Q2/V2",
            ("central", "metabolite"): lambda p: p.fm * p.CL / p.V1,
            ("central", "out"): lambda p: (1 - p.fm) * p.CL / p.V1,
            ("metabolite", "out"): "CLm/Vm",
            ("effect", "out"): "ke0",
        },
        drives={("central", "effect"): "ke0"},
        outputs={
            "central": "central/V1",
            "effect": "effect/V1",
            "metabolite": "metabolite/Vm",
            "all": lambda p, x: x.depot + x.central + x.peripheral + x.metabolite,
        },
    )


def matrix(p: dict[str, float]) -> list[list[float]]:
    k10, k12, k21 = p["CL"] / p["V1"], p["Q2"] / p["V1"], p["Q2"] / p["V2"]
    return [
        [-p["ka"], 0, 0, 0, 0],
        [p["ka"], -(k10 + k12), k21, 0, 0],
        [0, k12, -k21, 0, 0],
        [0, p["ke0"], 0, -p["ke0"], 0],
        [0, p["fm"] * k10, 0, 0, -p["CLm"] / p["Vm"]],
    ]


def exact(p: dict[str, float], x: list[float], rate: list[float], t: float) -> np.ndarray:
    """e^{At} x + A^{-1}(e^{At} - 1) rate with 60 digits."""
    with mpmath.workdps(60):
        A = mpmath.matrix(matrix(p))
        E = mpmath.expm(A * mpmath.mpf(t), method="taylor")
        x = E * mpmath.matrix(x) + mpmath.inverse(A) * ((E - mpmath.eye(5)) * mpmath.matrix(rate))
        return np.array([float(value) for value in x])


@pytest.mark.parametrize("rate", [[0.0] * 5, [3.0, 0.5, 0.0, 0.0, 2.0]])
def test_amounts_are_exact_pointwise(rate: list[float]) -> None:
    structure = everything()
    q = structure.prepare(namespace(P))
    x = jnp.array([100.0, 7.0, 0.0, 1.0, 0.0])
    advance = jax.jit(lambda t: structure.advance(q, x, jnp.array(rate), NO_PULSES, jnp.zeros(()), t))
    for t in TIMES:
        expected = exact(P, [100.0, 7.0, 0.0, 1.0, 0.0], rate, t)
        np.testing.assert_allclose(advance(t), expected, rtol=1e-10, atol=1e-300)


def test_nothing_elapsed_gives_the_amounts_back() -> None:
    structure = everything()
    q = structure.prepare(namespace(P))
    x = jnp.array([100.0, 7.0, 0.0, 1.0, 0.3])
    advance = jax.jit(lambda t: structure.advance(q, x, jnp.full(5, 2.0), NO_PULSES, t, t))
    same = advance(0.0)
    np.testing.assert_array_equal(same, x)


def test_three_compartments_agree_with_the_closed_form() -> None:
    graph = LinearSystem(
        ("depot", "central", "peripheral", "peripheral_2"),
        flows={
            ("depot", "central"): "ka",
            ("central", "out"): "CL/V1",
            ("central", "peripheral"): "Q2/V1",
            ("peripheral", "central"): "Q2/V2",
            ("central", "peripheral_2"): "Q3/V1",
            ("peripheral_2", "central"): "Q3/V3",
        },
        outputs={"central": "central/V1", "peripheral": "peripheral/V2", "peripheral_2": "peripheral_2/V3"},
    )
    p = {"ka": 1.1, "CL": 3.0, "V1": 12.0, "Q2": 9.0, "V2": 30.0, "Q3": 0.8, "V3": 150.0}
    doses, rates = {"depot": 50.0, "central": 20.0, "peripheral_2": 5.0}, {"central": 4.0, "depot": 1.0}
    closed: Linear = three_compartment("first_order")
    found = outputs(graph, p, TIMES, doses, rates)
    assert error_to_peak(found, outputs(closed, p, TIMES, doses, rates)) < 1e-10


@pytest.mark.parametrize("stiffness", [1.0, 1e3, 1e6])
def test_stiff_chains_stay_exact(stiffness: float) -> None:
    """An Erlang chain whose stages are much faster than elimination."""
    k = stiffness
    A = np.diag([-k, -k, -k, -0.1]) + np.diag([k, k, k], -1)
    A[3, 2] = k
    with mpmath.workdps(60):
        expected = mpmath.expm(mpmath.matrix(A.tolist()) * 5, method="taylor") if k < 1e3 else None
    found = np.asarray(exponential(jnp.array(A) * 5.0))
    if expected is not None:
        reference = np.array(expected.tolist(), float)
    else:  # everything has arrived: Gamma(3)-distributed delay, exact to e^{-5000}
        late = [(k / (k - 0.1)) ** n * np.exp(-0.5) for n in (3, 2, 1)]
        reference = np.zeros((4, 4))
        reference[3] = [*late, np.exp(-0.5)]
    np.testing.assert_allclose(found, reference, rtol=1e-16 * max(5 * k * 20, 1e6), atol=1e-300)


def test_derivatives_agree_with_differences() -> None:
    structure = everything()
    names = tuple(P)
    doses, rates = {"depot": 100.0}, {"central": 2.0}
    curve = curve_of(structure, names, (0.0, 0.5, 4.0, 24.0), doses, rates)
    theta = jnp.array(list(P.values()))
    jacobian = jax.jit(jax.jacfwd(curve))
    first = jacobian(theta)
    second = jax.jit(jax.jacfwd(jax.jacfwd(curve)))(theta)
    run = jax.jit(curve)
    for i in range(len(names)):
        h = 1e-5 * theta[i]
        up, down = theta.at[i].add(h), theta.at[i].add(-h)
        scale = np.abs(np.asarray(first)).max()
        np.testing.assert_allclose(first[..., i], (run(up) - run(down)) / (2 * h), atol=1e-8 * scale)
        np.testing.assert_allclose(
            second[..., i], (jacobian(up) - jacobian(down)) / (2 * h), atol=1e-7 * scale
        )


def test_a_batch_equals_one_by_one() -> None:
    structure = everything()
    q = structure.prepare(namespace(P))
    x = jnp.array([100.0, 0.0, 0.0, 0.0, 0.0])

    def advance(t: Array) -> Array:
        return structure.advance(q, x, jnp.zeros(5), NO_PULSES, jnp.zeros(()), t)

    times = jnp.array([0.0, 0.1, 5.0, 300.0])
    single = jnp.stack([jax.jit(advance)(t) for t in times])
    np.testing.assert_allclose(jax.jit(jax.vmap(advance))(times), single, rtol=1e-13)


def test_parameters_are_found_and_the_structure_can_be_hashed() -> None:
    structure = everything()
    assert set(structure.required) == set(P)
    assert structure.linear
    assert hash(structure) == hash(structure)
    named = {("central", "out"): "CL/V1"}
    one = LinearSystem(("central",), named, {"central": "central/V1"})
    assert one == LinearSystem(("central",), named, {"central": "central/V1"})
    assert Frozen({"a": 1, "b": 2}) != Frozen({"b": 2, "a": 1})


def test_production_and_initial_amounts() -> None:
    """A hormone at its baseline stays there; then it is no longer a superposing system."""
    structure = LinearSystem(
        ("hormone",),
        {("hormone", "out"): "kout"},
        {"hormone": "hormone"},
        production={"hormone": "kin"},
        initial={"hormone": "kin/kout"},
    )
    assert not structure.linear
    p = {"kin": 3.0, "kout": 0.2}
    np.testing.assert_allclose(outputs(structure, p, (0.0, 1.0, 100.0), {}), 15.0, rtol=1e-12)
    added = outputs(structure, p, (0.0, 1.0), {"hormone": 4.0})
    np.testing.assert_allclose(added[:, 0], [19.0, 15 + 4 * np.exp(-0.2)], rtol=1e-12)


def test_parallel_inputs_need_their_duration() -> None:
    structure = LinearSystem(
        ("depot", "central"),
        {("depot", "central"): "ka", ("central", "out"): "CL/V1"},
        {"central": "central/V1"},
        inputs={
            "depot": (
                Input("depot", fraction="F_first"),
                Input("central", fraction="F_zero", duration="D2", zero_order=True),
            )
        },
    )
    assert structure.required == ("ka", "CL", "V1", "D2")
    assert len(structure.inputs["depot"]) == 2
    assert structure.inputs["central"][0].fraction == "F_central"


@pytest.mark.parametrize(
    ("flows", "outputs", "words"),
    [
        ({("central", "perifery"): "k"}, {"c": "central"}, "'perifery'"),
        ({("central", "out"): "k-1"}, {"c": "central"}, "'k-1'"),
        ({("central", "out"): "k"}, {"c": "centrall"}, "did you mean 'central'"),
        ({("central", "out"): "k"}, {}, "at least one"),
        ({("central", "out"): lambda p: p.k if p.k > 0 else 1.0}, {"c": "central"}, "the number itself"),
    ],
)
def test_mistakes_are_named(flows: dict[tuple[str, str], Any], outputs: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        LinearSystem(("central", "peripheral"), flows, outputs)
