"""Concentrations and areas under a plan, against exponentials written out and SciPy's integrator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from dosetwin.twins.models.compartments import Doses, State, two_compartment
from dosetwin.twins.policies.regimen_aims import Aim
from dosetwin.twins.policies.regimen_grid import Answers, Grid, Standing, day_times, kernels
from dosetwin.twins.policies.regimen_plans import Plan, Products, first_due
from dosetwin.twins.policies.regimen_response import Plans, course
from dosetwin.twins.policies.regimen_schedule import Regimen
from dosetwin.twins.precision import double_precision

P = {"CL": 3.2, "V1": 45.0, "Q2": 6.5, "V2": 40.0}
THETA: Any = np.array([P["CL"], P["V1"], P["Q2"], P["V2"], 1.0])


def numbers(*values: Any) -> Any:
    """For a kernel that is written for JAX's arrays."""
    return tuple(np.asarray(value, np.float64) for value in values)


NOTHING = Doses(*numbers(np.full(3, -1e4), np.zeros(3), np.zeros(3), np.zeros(3)))
TIMES: Any = np.array([0.5, 1.9, 3.0, 12.0, 13.0, 25.0, 47.9])
EDGES: Any = np.array([5.0, 24.0, 48.0])


def concentration(t: float, doses: list[tuple[float, float, float]]) -> float:
    """mg/L of (start h, duration h, mg): the textbook's two exponentials."""
    k10, k12, k21 = P["CL"] / P["V1"], P["Q2"] / P["V1"], P["Q2"] / P["V2"]
    fast, slow = np.sort(np.roots([1.0, -(k10 + k12 + k21), k10 * k21]).real)[::-1]
    total = 0.0
    for start, duration, amount in doses:
        for rate, other in ((fast, slow), (slow, fast)):
            share = amount / duration * (rate - k21) / (rate - other) / P["V1"]
            a, b = max(t - start, 0.0), max(t - start - duration, 0.0)
            total += share * (np.exp(-rate * b) - np.exp(-rate * a)) / rate
    return float(total)


def test_a_loading_dose_and_a_regimen_beside_a_running_infusion() -> None:
    running = Doses(*np.array([[-0.5, -1e4, -1e4], [1.5, 0, 0], [0, 0, 0], [800.0, 0, 0]]))
    plan = Plans(*numbers(1750.0, 1.75, 1000.0, 1.0, 12.0, 11.0))
    written = [(-0.5, 1.5, 1200.0), (0.0, 1.75, 1750.0), *((11.0 + 12 * k, 1.0, 1000.0) for k in range(4))]
    with double_precision():
        # what the infusion that began half an hour ago has brought is the state
        before = solve_ivp(_field(lambda t: 800.0), (0, 0.5), [0.0, 0.0], rtol=1e-10, atol=1e-10).y[:, -1]
        state = State(*numbers(before, 0.0))
        found = course(two_compartment(), THETA, state, running, plan, TIMES, EDGES)
    expected = [concentration(t, written) for t in TIMES]
    np.testing.assert_allclose(found.concentration, expected, rtol=1e-7)
    points = [0.0, 1.0, 1.75, 11.0, 12.0, 23.0, 24.0, 35.0, 36.0, 47.0]
    for k, edge in enumerate(EDGES):
        inside = [p for p in points if p < edge]
        area = quad(concentration, 0, edge, args=(written,), points=inside, limit=400)[0]
        assert found.area[k] == pytest.approx(area, rel=1e-6)


def test_doses_at_once_and_absorption() -> None:
    structure = two_compartment("first_order")
    theta: Any = np.array([P["CL"], P["V1"], P["Q2"], P["V2"], 0.8, 0.7])
    plan = Plans(*numbers(300.0, 0.0, 200.0, 0.0, 12.0, 12.0))
    with double_precision():
        state = State(*numbers(np.zeros(2), 0.0))
        found = course(structure, theta, state, NOTHING, plan, TIMES, EDGES)
    y, at, values = np.zeros(4), 0.0, []
    moments = sorted({0.0, 12.0, 24.0, 36.0, *TIMES, *EDGES})

    def field(t: float, y: np.ndarray) -> list[float]:
        x, z = y[1] / P["V1"], y[2] / P["V2"]
        return [
            -0.8 * y[0],
            0.8 * y[0] - P["CL"] * x - P["Q2"] * (x - z),
            P["Q2"] * (x - z),
            x,
        ]

    seen: dict[float, np.ndarray] = {}
    for moment in moments:
        if moment > at:
            y = solve_ivp(field, (at, moment), y, rtol=1e-10, atol=1e-10).y[:, -1]
            at = moment
        seen[moment] = y.copy()
        if moment in (0.0, 12.0, 24.0, 36.0):
            y[0] += 0.7 * (300.0 if moment == 0 else 200.0)
    values = [seen[t][1] / P["V1"] for t in TIMES]
    np.testing.assert_allclose(found.concentration, values, rtol=1e-6)
    np.testing.assert_allclose(found.area, [seen[t][3] for t in EDGES], rtol=1e-6)


def test_many_doses_by_the_geometric_sum_follow_written_ones() -> None:
    """Every 6 h for 200 h, infused or at once."""
    times: Any = np.array([199.0, 199.99])
    for duration in (0.75, 1e-9):
        plan = Plans(*numbers(0.0, 1.0, 500.0, duration, 6.0, 2.0))
        with double_precision():
            state = State(*numbers(np.zeros(2), 0.0))
            found = jax.jit(
                lambda t, plan=plan, state=state: course(two_compartment(), THETA, state, NOTHING, plan, t, t)
            )(times)
        written = [(2.0 + 6 * k, duration, 500.0) for k in range(33)]
        expected = [concentration(t, written) for t in times]
        np.testing.assert_allclose(found.concentration, expected, rtol=1e-5)


def test_a_grid_of_sums_is_every_plan_on_its_own() -> None:
    """Areas, troughs and peaks of plans at corners of the grid, with two samples, against `course`."""
    products = Products(
        "v", "mg", "intravenous", (500.0, 1250.0), (750.0, 2000.0), (8.0, 24.0), (0.0, 0.0), 1000.0, 1.0, 6.0
    )
    aims = (Aim("auc24", "mg.h/L"), Aim("trough", "mg/L"))
    grid, call = Grid(products, aims), kernels(two_compartment(), True)
    theta: Any = np.stack([THETA, THETA * [0.6, 1.2, 0.9, 0.7, 1.0]])
    state = State(*numbers([[300.0, 100.0], [200.0, 400.0]], [0.0, 0.0]))
    running = Doses(*np.array([[-0.5, -1e4, -1e4], [1.5, 0, 0], [0, 0, 0], [800.0, 0, 0]]))
    here = Standing(theta, state, running, *numbers([120.0, 90.0], 15.0))
    firsts = first_due(grid.intervals, np.array([4.0]))
    kept = Plan(0.0, Regimen(730.0, 0.8, 12.0), 8.0)
    with double_precision():
        seen = call.answers(jax.tree.map(lambda leaf: leaf[None], here), *grid.units(firsts, [kept]))
        own = Answers(*(np.asarray(leaf)[0] for leaf in seen))
        for x, k, a in ((0, 0, 1), (1, 1, 0), (2, 0, 1), (-1, 0, 0)):
            if x < 0:
                plan, found = kept, grid.kept(own, np.array([120.0, 90.0]), 730.0)
            else:
                amount, tau = products.amounts[a], products.intervals_h[k]
                regimen = Regimen(amount, products.infusion_h(amount), tau)
                plan = Plan(float(grid.extras[x]), regimen, float(firsts[0, k, int(x > 0)]))
                found = grid.exposure(own, np.array([120.0, 90.0]), *(np.array([i]) for i in (x, k, a)))
            row = Plans(*numbers(*plan.numbers(products)))
            times, edges = day_times(row, 15.0), numbers([15.0, 24.0, 39.0, 63.0])[0]
            for s in range(2):
                one = jax.tree.map(lambda leaf, s=s: leaf[s], state)
                slow = course(two_compartment(), theta[s], one, running, row, times, edges)
                today, ahead, tomorrow, after = np.asarray(slow.area)
                areas = [(120.0, 90.0)[s] + today, tomorrow - today, after - tomorrow, ahead]
                np.testing.assert_allclose(found.area[s, 0], areas, rtol=1e-4)
                np.testing.assert_allclose(found.trough[s, 0], slow.concentration[:3], rtol=1e-4)
                np.testing.assert_allclose(found.peak[s, 0], slow.concentration[3:], rtol=1e-4)


def _field(rate: Callable[[float], float]) -> Callable[[float, np.ndarray], list[float]]:
    def field(t: float, y: np.ndarray) -> list[float]:
        x, z = y[0] / P["V1"], y[1] / P["V2"]
        return [rate(t) - P["CL"] * x - P["Q2"] * (x - z), P["Q2"] * (x - z)]

    return field
