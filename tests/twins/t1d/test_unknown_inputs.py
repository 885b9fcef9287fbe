"""What nobody announced: found by the filter's hypotheses, weighed, drawn into the members, and not made
up."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.stats import halfnorm

from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators import ensemble_hypotheses as hypotheses
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_prior import basal_U_per_h
from dosetwin.twins.estimators.ensemble_simulated_patients import PriorPatients
from dosetwin.twins.events import TwinEvent

from .conftest import START_S

N = 8
NOON_S = START_S - START_S % 86_400.0 + 10 * 3600.0


def lived(
    meal_g: float = 0.0, meal_min: int = 90, minutes: int = 150, lying_on_it: bool = False
) -> list[Appraisal]:
    """Patients of the twin's own model under their basal programme; an appraisal every 10 min from 60 min
    on."""
    rng = np.random.default_rng(3)
    people = PriorPatients(N, seed=12)
    bank = EnsembleBank(N, seed=4)
    names = [f"p{i}" for i in range(N)]
    for name, weight, daily in zip(names, people.weight_kg, people.total_daily_dose_U, strict=True):
        bank.enrol(name, at_s=NOON_S, covariates={"weight": weight, "total_daily_dose": daily}, targets={})
    basal = basal_U_per_h(1.0) * people.total_daily_dose_U
    found = []
    for k in range(minutes // 5):
        at_s = NOON_S + 300.0 * k
        reading = people.reading_mg_dL(rng)
        if lying_on_it and 18 <= k < 24:
            reading = reading - 45.0
        facts = [
            (name, TwinEvent(at_s, "observation", "glucose", max(float(value), 40.0), k * N + i + 1))
            for i, (name, value) in enumerate(zip(names, reading, strict=True))
        ]
        bank.assimilate(facts)
        if 5 * k == meal_min and meal_g:
            people.eat(np.full(N, meal_g))
        if k >= 12 and k % 2 == 0:
            found.append(bank.decide(names, [at_s] * N))
        people.live(basal, rng)
    return found


def test_an_unannounced_meal_is_found_within_an_hour_and_is_of_the_right_size() -> None:
    made = lived(meal_g=80.0)
    before, after = made[2].evidence, made[-1].evidence
    assert np.median(before["probability_meal"]) < 0.25
    assert np.median(after["probability_meal"]) > 0.8
    assert np.median(after["unannounced_meal_g"]) == pytest.approx(80.0, rel=0.5)
    assert np.median(after["carbohydrate_on_board_g"]) > 15.0
    assert "unannounced meal" in " ".join(made[-1].reasons)


def test_no_meal_is_made_up() -> None:
    made = lived(minutes=200)
    probabilities = np.array([one.evidence["probability_meal"] for one in made])
    assert np.quantile(probabilities, 0.8) < 0.3
    assert (probabilities > 0.8).mean() < 0.05


def test_a_sensor_that_is_lain_on_is_no_fall_of_glucose() -> None:
    lain_on, calm = lived(lying_on_it=True, minutes=110)[-1], lived(minutes=110)[-1]
    assert lain_on.evidence["probability_compression_low"].max() > 0.3
    fall = calm.evidence["glucose_mg_dL"] - lain_on.evidence["glucose_mg_dL"]
    assert np.median(fall) < 30.0, "45 mg/dL lower readings are not believed"


def test_the_posterior_of_one_input_is_bayes_rule() -> None:
    """Against numerical integration of prior times likelihood over the size."""
    A = np.array([0.002, 0.02, 0.5, 4.0])
    B = np.array([0.05, 0.3, -0.4, 9.0])
    mean, odds = 2.0, -3.0
    scale = mean * np.sqrt(np.pi / 2.0)
    cells = row.CELLS
    pad = np.zeros(cells - len(A))
    made = hypotheses.posterior(
        jnp.asarray(np.r_[B, pad], jnp.float32)[:, None],
        jnp.asarray(np.r_[A, pad], jnp.float32)[:, None],
        jnp.full((cells, 1), mean),
        jnp.asarray(np.r_[np.full(len(A), odds), np.full(len(pad), -60.0)], jnp.float32)[:, None],
    )

    def weight(i: int, power: int) -> float:
        return integrate.quad(
            lambda a: a**power * np.exp(a * B[i] - 0.5 * a * a * A[i]) * halfnorm.pdf(a, scale=scale),
            0.0,
            80.0,
            limit=400,
        )[0]

    evidence = np.array([np.exp(odds) * weight(i, 0) for i in range(len(A))])
    np.testing.assert_allclose(
        made.probability[: len(A), 0], evidence / (1.0 + evidence.sum()), rtol=2e-3, atol=1e-6
    )
    expected = [min(weight(i, 1) / weight(i, 0), 3.0 * mean) for i in range(len(A))]
    np.testing.assert_allclose(made.expected[: len(A), 0], expected, rtol=2e-2)


def test_announced_exercise_lowers_what_is_expected_and_a_new_site_delivers() -> None:
    bank = EnsembleBank(2, seed=1)
    for name in ("rests", "runs"):
        bank.enrol(name, at_s=NOON_S, covariates={"weight": 70.0, "total_daily_dose": 40.0}, targets={})
    facts = [
        (name, TwinEvent(NOON_S + 300.0 * k, "observation", "glucose", 140.0, k + 1))
        for k in range(6)
        for name in ("rests", "runs")
    ]
    facts.append(("runs", TwinEvent(NOON_S + 1500.0, "announcement", "exercise", 1.0, 99, 3600.0)))
    facts.append(("runs", TwinEvent(NOON_S + 1500.0, "announcement", "site_change", 1.0, 98)))
    bank.assimilate(facts)
    made = bank.decide(["rests", "runs"], [NOON_S + 1560.0] * 2)
    flux = made.estimates["unannounced_glucose"][1][:, 0]
    assert flux[1] < flux[0] - 1.0
    assert (
        made.utility[1].argmax() != made.utility[0].argmax()
        or made.lowest["glucose"][1, 0] < (made.lowest["glucose"][0, 0])
    )
