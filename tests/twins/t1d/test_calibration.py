"""Honest uncertainty: patients drawn from the prior, and whether 90 % intervals cover 90 %.

The truth is drawn member by member from the twin's own prior, moves with its process noise, is fed and
dosed, and is measured by the sensor model. What is estimated: the one-step-ahead interval of each reading,
and the forecast of glucose with the pump left alone, 0, 20, 60 and 120 min ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_filter import predicted_readings, propagate
from dosetwin.twins.estimators.ensemble_prior import BASAL_SHARE, prior_ensemble
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.policies import insulin_candidates as candidates
from dosetwin.twins.policies import insulin_forecast as horizon

from .conftest import START_S

N, HOURS = 160, 7
STEPS = HOURS * 12
COUNT = len(candidates.CANDIDATES)


@dataclass
class Outcome:
    one_step: list[np.ndarray] = field(default_factory=list)
    ahead: dict[int, list[bool]] = field(default_factory=lambda: {lead: [] for lead in (0, 20, 60, 120)})


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    rng = np.random.default_rng(20)
    weight = rng.uniform(50.0, 95.0, N)
    daily = weight * rng.uniform(0.4, 0.9, N)
    basal = BASAL_SHARE * daily / 24.0
    truth = np.stack([prior_ensemble(rng, weight[i], daily[i], 1) for i in range(N)], axis=2)
    move = jax.jit(propagate)
    u = jnp.asarray(basal * 1000.0 / 60.0 / weight, jnp.float32)
    bank = EnsembleBank(N, seed=1)
    names = [f"p{i}" for i in range(N)]
    for name, w, d in zip(names, weight, daily, strict=True):
        bank.enrol(name, at_s=START_S, covariates={"weight": w, "total_daily_dose": d}, targets={})
    meals = [set(rng.choice(np.arange(12, STEPS - 2), 2, replace=False).tolist()) for _ in range(N)]
    glucose = np.zeros((STEPS, N))
    forecasts: dict[int, np.ndarray] = {}
    result, uid = Outcome(), 0
    for k in range(STEPS):
        at_s = START_S + 300.0 * k
        if k:
            key = jnp.asarray(rng.integers(0, 2**32, N, dtype=np.uint32))
            truth = np.array(move(jnp.asarray(truth), jnp.full(N, 5.0, jnp.float32), u, key))
        glucose[k] = truth[row.Q1, 0] / V_G * MG_DL_PER_MMOL_L
        clean = np.asarray(predicted_readings(jnp.asarray(truth)))[0]
        seen = np.clip(clean + rng.normal(size=N) * np.hypot(2.0, 0.02 * clean), 20.0, 600.0)
        facts = []
        for i, name in enumerate(names):
            told = [("observation", "glucose", float(seen[i]))]
            if k in meals[i]:
                grams = float(rng.uniform(20.0, 70.0))
                bolus = grams * daily[i] / 500.0 * float(rng.uniform(0.6, 1.1))
                truth[row.D1, 0, i] += grams * np.exp(0.2 * rng.normal() - 0.02) / weight[i]
                truth[row.S1, 0, i] += bolus * 1000.0 / weight[i]
                told += [("meal", "carbohydrate", grams), ("bolus", "insulin", bolus)]
            for kind, quantity, value in told:
                uid += 1
                facts.append((name, TwinEvent(at_s, kind, quantity, value, uid)))  # type: ignore[arg-type]
        made = [p for p in bank.assimilate(facts).predictions if p is not None]
        result.one_step.append(np.array([p.low <= p.observed <= p.high for p in made]))
        if k >= 18 and k % 6 == 0:
            with pytest.MonkeyPatch.context() as only_basal:
                # the pump is left alone in the truth, so the forecast must be that of the programmed rate
                only_basal.setattr(candidates, "rates", lambda b, _: np.tile(b, (COUNT, 1)))
                only_basal.setattr(candidates, "boluses", lambda *a: np.zeros((COUNT, N)))
                only_basal.setattr(horizon, "LAW_MIN", 1e9)
                if not forecasts:
                    jax.clear_caches()  # type: ignore[no-untyped-call]
                forecasts[k] = bank.decide(names, [at_s] * N).bands["glucose"]
    jax.clear_caches()  # type: ignore[no-untyped-call]
    for k, bands in forecasts.items():
        for lead, hits in result.ahead.items():
            later = k + lead // 5
            if later >= STEPS:
                continue
            for i in range(N):
                if not any(k < meal <= later for meal in meals[i]):
                    low, high = bands[i, 0, lead // 20], bands[i, -1, lead // 20]
                    hits.append(bool(low <= glucose[later, i] <= high))
    return result


def monte_carlo(hits: np.ndarray | list[bool], per_patient: float) -> float:
    """Two standard errors of a 90 % coverage; hits of one patient are taken as `per_patient` independent
    ones."""
    return 2.0 * float(np.sqrt(0.9 * 0.1 / max(1.0, N * per_patient)))


def test_the_first_reading_is_covered(outcome: Outcome) -> None:
    assert outcome.one_step[0].mean() == pytest.approx(0.90, abs=0.02 + monte_carlo(outcome.one_step[0], 1.0))


def test_one_step_ahead_covers_90_percent(outcome: Outcome) -> None:
    hits = np.array(outcome.one_step[6:])
    assert hits.mean() == pytest.approx(0.90, abs=0.015 + monte_carlo(hits, 20.0))


@pytest.mark.parametrize("lead_min", [0, 20, 60, 120])
def test_forecast_covers_90_percent(outcome: Outcome, lead_min: int) -> None:
    hits = outcome.ahead[lead_min]
    assert len(hits) > 300
    # a filter with 32 members is allowed 3 points besides the Monte Carlo error
    assert np.mean(hits) == pytest.approx(0.90, abs=0.03 + monte_carlo(hits, 2.0))
