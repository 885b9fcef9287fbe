"""Clearance that drifts: the process of the steps, what recent levels weigh, and posteriors that cover it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dosetwin.platform.errors import TherapyError
from dosetwin.twins.estimators.history_bank import HistoryBank
from dosetwin.twins.estimators.history_batch import records
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.population_model import LogNormal
from dosetwin.twins.therapies.vancomycin import (
    ADDITIVE_MG_L,
    BEDSIDE,
    CENTRAL_L,
    COVARIATES,
    DAY_S,
    DRIFT,
    DRIFT_SD,
    EXCHANGE_L_H,
    EXCHANGE_SD,
    POLICY,
    PROPORTIONAL,
    make_bank,
)

T0, H = 1.7e9, 3600.0
PATIENT = {"age": 60.0, "weight": 80.0, "sex": 1.0, "creatinine": 1.0}


def test_steps_are_an_ornstein_uhlenbeck_process() -> None:
    drift = Drift(time_h=48.0, step_h=24.0, steps=3, ahead_h=24.0)
    correlation = drift.factor @ drift.factor.T
    expected = np.exp(-np.array([[0, 24, 48, 84], [24, 0, 24, 60], [48, 24, 0, 36], [84, 60, 36, 0]]) / 48.0)
    np.testing.assert_allclose(correlation, expected, rtol=1e-12)
    assert drift.begins(60.0, -1.0).tolist() == [-12.0, 12.0, 36.0]
    assert drift.begins(200.0, -1.0).tolist() == [-1.0, 152.0, 176.0], (
        "what is older belongs to the first step"
    )
    with pytest.raises(TherapyError, match="expected a time constant"):
        Drift(time_h=0.0)


def test_records_carry_the_step_they_lie_in() -> None:
    arrays = Arrays(0.0, [(0.0, 1.0, 0.0, 500.0)], [(30.0, 9.0, 0), (70.0, 8.0, 0)], [(-1.0, {})])
    subject, asked = records(arrays, (48.0, 72.0), Drift(time_h=48.0, steps=3))
    at = dict(zip(subject.time.tolist(), subject.occasion.tolist(), strict=True))
    assert (at[0.0], at[30.0], at[70.0]) == (0, 1, 2)
    assert asked.tolist() == [1, 3]
    assert set(subject.occasion.tolist()) == {0, 1, 2}, "every step is there, so that none is numbered anew"


def test_a_bank_needs_a_drift_for_a_model_that_varies_between_occasions() -> None:
    with pytest.raises(TherapyError, match="and no drift"):
        HistoryBank("v", BEDSIDE, POLICY, drug="vancomycin", needs=(), history_s=DAY_S, capacity=1, seed=0)


def level(
    t: float, doses: list[tuple[float, float]], clearances: np.ndarray, V: tuple[float, float], Q: float = 6.5
) -> float:
    """mg/L at t of doses (h, mg over 1 h); clearance constant over every day. By small steps."""
    x, z, dt = 0.0, 0.0, 0.02
    for k in range(round(t / dt)):
        now = k * dt
        CL = clearances[min(int(now // 24), len(clearances) - 1)]
        rate = sum(amount for start, amount in doses if start <= now + dt / 2 < start + 1.0)
        flow = Q * (x / V[0] - z / V[1])
        x, z = x + dt * (rate - CL * x / V[0] - flow), z + dt * flow
    return x / V[0]


def with_drift(sd: float) -> HistoryBank:
    """The therapy's twins with another standard deviation of the drift."""
    model = replace(
        BEDSIDE,
        parameters=tuple(
            replace(p, occasion=LogNormal(sd**2)) if p.occasion else p for p in BEDSIDE.parameters
        ),
        origin=None,
    )
    return HistoryBank(
        "vancomycin",
        model,
        POLICY,
        drug="vancomycin",
        needs=COVARIATES,
        history_s=60 * DAY_S,
        capacity=4,
        seed=0,
        drift=DRIFT,
    )


def test_recent_levels_outweigh_old_ones() -> None:
    """Clearance halves after six days: with drift the newest levels count, without it the average.

    Six days settle the volumes: on the third day a body that fills slowly explains rising levels as well.
    """
    clearances, V = np.array([4.0] * 6 + [2.0] * 2), (58.4 * 80 / 70, 38.4 * 80 / 70)
    doses = [(12.0 * k, 1000.0) for k in range(16)]
    facts = [TwinEvent(T0 + s * H, "infusion", "vancomycin", a, k + 1, H) for k, (s, a) in enumerate(doses)]
    times = [23.5, 47.5, 71.5, 95.5, 119.5, 143.5, 167.5, 180.0, 186.0]
    facts += [
        TwinEvent(T0 + t * H, "observation", "vancomycin", level(t, doses, clearances, V), 100 + i)
        for i, t in enumerate(times)
    ]
    found = []
    for twins in (make_bank(4, 0), with_drift(DRIFT_SD), with_drift(1e-3)):
        twins.enrol("p", at_s=T0, covariates=PATIENT, targets={})
        # only the mode is asked for: no prediction of every level
        twins._twins["p"].history.extend(facts)
        found.append(twins.modes(["p"], [T0 + 188 * H])[0]["CL"])
    assert found[0] == pytest.approx(found[1], rel=1e-6), "the therapy's own drift, and no other"
    assert abs(found[0] - 2.0) < 0.7 * abs(found[2] - 2.0)


@pytest.mark.slow
def test_posteriors_cover_a_clearance_that_drifts() -> None:
    """96 patients whose clearance drifts day by day as the twin assumes; the 90 % interval of CL."""
    n, rng = 96, np.random.default_rng(17)
    twins = make_bank(n, 0)
    correlation = np.exp(-24.0 * np.abs(np.subtract.outer(np.arange(4), np.arange(4))) / DRIFT.time_h)
    paths = DRIFT_SD * rng.standard_normal((n, 4)) @ np.linalg.cholesky(correlation).T
    truth = np.zeros(n)
    typical = 4.5 * ((140 - 60) * 80 / 72 / 120) ** 0.8
    for i in range(n):
        eta = rng.standard_normal(4)
        CL = typical * np.exp(math.sqrt(math.log1p(0.398**2)) * eta[0] + paths[i])
        V = (
            CENTRAL_L * 80 / 70 * math.exp(math.sqrt(math.log1p(0.816**2)) * eta[1]),
            38.4 * 80 / 70 * math.exp(math.sqrt(math.log1p(0.571**2)) * eta[2]),
        )
        Q = EXCHANGE_L_H * math.exp(EXCHANGE_SD * eta[3])
        doses = [(12.0 * k, 1000.0) for k in range(8)]
        facts = [
            TwinEvent(T0 + s * H, "infusion", "vancomycin", a, k + 1, H) for k, (s, a) in enumerate(doses)
        ]
        for k, t in enumerate([11.5, 35.5, 59.5, 86.0, 95.0]):
            true = level(t, doses, CL, V, Q)
            seen = true + math.hypot(ADDITIVE_MG_L, PROPORTIONAL * true) * rng.standard_normal()
            facts.append(TwinEvent(T0 + t * H, "observation", "vancomycin", max(seen, 0.1), 100 + k))
        twins.enrol(f"p{i}", at_s=T0, covariates=PATIENT, targets={})
        twins.assimilate([(f"p{i}", fact) for fact in facts])
        truth[i] = CL[3]
    found = twins.decide([f"p{i}" for i in range(n)], [T0 + 96 * H] * n).estimates["CL"][1]
    inside = np.mean((found[:, 1] <= truth) & (truth <= found[:, 2]))
    # binomial error 3.1 %
    assert 0.81 <= inside <= 0.99
