"""The closed forms against SciPy's and diffrax's integrators, which know nothing of exponentials."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dosetwin.twins.data.subject import Dose, Observation, subject
from dosetwin.twins.models.compartments import (
    Absorption,
    Linear,
    one_compartment,
    three_compartment,
    two_compartment,
)
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Combined, Observed, Parameter, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.prediction import predict

THETA = {"CL": 4.5, "V1": 20.0, "Q2": 6.5, "V2": 38.4, "Q3": 0.9, "V3": 80.0, "ka": 0.9, "D": 2.5}
THETA |= {"F": 0.8, "F_central": 0.8}
CHANGED = {"CL": 2.1, "V1": 25.0, "Q2": 5.0, "V2": 30.0, "Q3": 1.4, "V3": 60.0, "ka": 1.7, "D": 1.5}
CHANGED |= {"F": 0.8, "F_central": 0.8}
# bolus, infusion, a rate that a change of covariates interrupts, a bolus after it
DOSES = [(0.0, 0.0, 500.0, 0.0), (6.0, 1.5, 0.0, 300.0), (11.0, 40.0, 0.0, 20.0), (30.0, 0.0, 200.0, 0.0)]
TIMES = np.array([0.5, 2.0, 5.9, 6.7, 9.0, 12.0, 23.9, 24.0, 26.0, 30.0, 33.0, 48.0, 70.0])


def model(structure: Linear, changing: bool) -> PopulationModel:
    """THETA, and CHANGED from 24 h on where it changes."""

    def values(name: str) -> Any:
        return lambda c: np.where(c.changed > 0, CHANGED[name], THETA[name])

    names = [*structure.required, "F", *(["F_central"] if structure.absorption == "first_order" else [])]
    return PopulationModel(
        structure,
        tuple(
            Parameter(
                name, THETA[name], "1", covariates=values(name) if changing else None, absolute=changing
            )
            for name in names
        ),
        Observed("drug", "mg/L", error=Combined(additive=1.0)),
        source="made up for the test",
        interpolation="last_value_forward",
    )


def ours(structure: Linear, changing: bool) -> np.ndarray:
    # a given duration keeps its length under bioavailability: the rate is scaled, as in the oracle
    central = structure.compartments.index("central") + 1
    doses = [
        Dose(start, amount + rate * duration, duration=duration, compartment=central if rate else 0)
        for start, duration, amount, rate in DOSES
    ]
    told = subject("one", doses, [Observation(t) for t in TIMES], {"changed": [(-1.0, 0.0), (24.0, 1.0)]})
    found = predict(model(structure, changing), [told])[0]
    assert found.dtype == np.float64
    return found


def derivative(structure: Linear, values: dict[str, float], rate: float, t: Any, y: Any) -> list[Any]:
    """dx/dt with y = (central, peripheral, second peripheral, depot)."""
    n = structure.size
    k10 = values["CL"] / values["V1"]
    into = rate + (values["ka"] * y[3] if structure.absorption == "first_order" else 0.0)
    dy = [into - k10 * y[0], 0.0, 0.0, -values["ka"] * y[3]]
    for i, (q, v) in enumerate((("Q2", "V2"), ("Q3", "V3")), start=1):
        if n > i:
            flow = values[q] * (y[0] / values["V1"] - y[i] / values[v])
            dy[0], dy[i] = dy[0] - flow, flow
    return dy


def integrated(structure: Linear, changing: bool) -> np.ndarray:
    """Piece by piece between all changes; a bolus counts after a level drawn at its time."""

    def values_at(t: float) -> dict[str, float]:
        return CHANGED if changing and t >= 24.0 else THETA

    spans: list[tuple[float, float, float]] = []
    boluses: list[tuple[float, float]] = []
    for start, duration, amount, rate in DOSES:
        if amount and structure.absorption == "zero_order":
            d = values_at(start)["D"]
            spans.append((start, start + d, amount / d))
        elif amount:
            boluses.append((start, amount))
        else:
            spans.append((start, start + duration, rate))
    edges = sorted({-1.0, 24.0, *TIMES, *(s for s, _ in boluses), *(e for span in spans for e in span[:2])})
    y = np.zeros(4)
    found = {}
    for a, b in pairwise([*edges, edges[-1] + 1]):
        if a in TIMES:
            found[a] = y[0] / values_at(a)["V1"]
        for start, amount in boluses:
            if start == a:
                y[3 if structure.absorption == "first_order" else 0] += amount * THETA["F"]
        if a >= TIMES[-1]:
            break
        rate = sum(r for s, e, r in spans if s <= a and e >= b) * THETA["F"]
        y = solve_ivp(
            partial(derivative, structure, values_at(a), rate),
            (a, b),
            y,
            method="DOP853",
            rtol=1e-12,
            atol=1e-12,
        ).y[:, -1]
    return np.array([found[t] for t in TIMES])


@pytest.mark.parametrize("absorption", ["none", "first_order", "zero_order"])
@pytest.mark.parametrize("make", [one_compartment, two_compartment, three_compartment])
@pytest.mark.parametrize("changing", [False, True])
def test_closed_forms_agree_with_scipy(make: Any, absorption: Absorption, changing: bool) -> None:
    structure = make(absorption)
    np.testing.assert_allclose(ours(structure, changing), integrated(structure, changing), rtol=1e-9)


def test_closed_form_agrees_with_diffrax() -> None:
    structure = three_compartment("first_order")
    times = np.array([0.25, 1.0, 4.0, 24.0, 100.0])
    told = subject("one", [Dose(0.0, 500.0)], [Observation(t) for t in times])
    found = predict(model(structure, False), [told])[0]
    with double_precision():
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: jnp.stack(derivative(structure, THETA, 0.0, t, y))),
            diffrax.Dopri8(),
            0.0,
            float(times[-1]),
            None,
            jnp.array([0.0, 0.0, 0.0, 500.0 * THETA["F"]]),
            saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
            stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-12),
            max_steps=100_000,
        )
        assert solution.ys is not None
        np.testing.assert_allclose(found, solution.ys[:, 0] / THETA["V1"], rtol=1e-8)


@pytest.mark.parametrize("ka", [4.5 / 20.0, 4.5 / 20.0 * (1 + 1e-9), 4.5 / 20.0 * (1 + 1e-4), 1e-3, 1e3])
def test_absorption_as_fast_as_elimination_is_regular(ka: float) -> None:
    """The textbook formula divides by ka - k; the limit there is k t e^{-k t}."""
    structure = one_compartment("first_order")
    k, t = 4.5 / 20.0, np.array([0.1, 1.0, 10.0])
    parameters = tuple(Parameter(name, value, "1") for name, value in (("CL", 4.5), ("V1", 20.0), ("ka", ka)))
    seen = Observed("drug", "mg/L", error=Combined(additive=1.0))
    told = subject("one", [Dose(0.0, 20.0)], [Observation(at) for at in t])
    found = predict(PopulationModel(structure, parameters, seen, source="made up"), [told])[0]
    if abs(ka / k - 1) < 1e-8:
        expected = k * t * np.exp(-k * t)
    else:
        expected = ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))
    np.testing.assert_allclose(found, expected, rtol=1e-8 if abs(ka / k - 1) > 1e-3 else 1e-7, atol=1e-12)


def test_double_precision_stays_inside() -> None:
    with double_precision():
        assert jnp.ones(1).dtype == np.float64
    assert jnp.ones(1).dtype == np.float32


def test_impossible_structures_say_what_was_expected() -> None:
    with pytest.raises(ModelError, match=r"found 4 compartments; expected 1, 2 or 3"):
        Linear(4)  # type: ignore[arg-type]  # what a user may write
    with pytest.raises(ModelError, match=r"found absorption 'rectal'; expected none"):
        Linear(1, "rectal")  # type: ignore[arg-type]  # what a user may write
