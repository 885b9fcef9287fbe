"""The virtual trial's plant: pairing, what the pump really does, challenges, and what is measured."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.plants.diabetes_day import day_of
from dosetwin.twins.trials.glucose_measures import glucose_measures
from dosetwin.twins.trials.glucose_plant import START_S, GlucosePlant
from dosetwin.twins.trials.glucose_pump import InsulinPumps, rounded_down
from dosetwin.twins.trials.trial import Cohort, Outcome, load_trial

DAY_STEPS = 288


def rate(amount: float, duration_s: float = 1800.0) -> Order:
    return Order(
        drug="insulin",
        route="subcutaneous",
        kind="rate",
        amount=amount,
        unit="U/h",
        duration_s=duration_s,
    )


def bolus(amount: float) -> Order:
    return Order(drug="insulin", route="subcutaneous", kind="bolus", amount=amount, unit="U")


def live(
    numbers: range, steps: int, orders: Mapping[int, tuple[Order, ...]] | None = None, **cohort: Any
) -> tuple[GlucosePlant, Outcome, list[list[TwinEvent]]]:
    """Steps of 5 min; `orders[k]` goes to everybody at step k. The facts of each patient, all together.

    That facts arrive when they happen is checked for all of them here.
    """
    plant = GlucosePlant(Cohort(numbers, cohort.pop("seed", 3), cohort.pop("days", 1.0), **cohort))
    facts = [list(news) for news in plant.begin()]
    assert all(fact.at_s <= plant.at_s == START_S for news in facts for fact in news)
    for k in range(steps):
        before = plant.at_s
        for mine, news in zip(facts, plant.advance([(orders or {}).get(k, ())] * len(numbers)), strict=True):
            mine.extend(news)
            for fact in news:
                starts = fact.kind in ("rate", "bolus")
                assert before <= fact.at_s < plant.at_s if starts else before < fact.at_s <= plant.at_s
    return plant, plant.outcome(), facts


def of_kind(facts: Sequence[TwinEvent], kind: str) -> list[TwinEvent]:
    return [fact for fact in facts if fact.kind == kind]


PEOPLE = range(4, 10)
BUSY = {"announced": "yes", "exercise": "announced", "compression": "yes", "site_failure": "yes"}


@pytest.fixture(scope="module")
def day() -> tuple[GlucosePlant, Outcome, list[list[TwinEvent]]]:
    """Six adults on their programme for a day, with nearly everything that can happen to them."""
    return live(PEOPLE, DAY_STEPS, options=BUSY)


def test_patient_k_is_the_same_whatever_the_batch_and_the_length(
    day: tuple[GlucosePlant, Outcome, list[list[TwinEvent]]],
) -> None:
    plant, outcome, facts = day
    alone, mine, told = live(range(7, 8), DAY_STEPS // 2, options=BUSY, days=2.0)
    assert alone.patients[0] == plant.patients[3]
    for name, trace in outcome.traces.items():
        np.testing.assert_allclose(
            mine.traces[name][0], trace[3, : DAY_STEPS // 2], rtol=2e-4, atol=0.02, err_msg=name
        )
    same = [(f.at_s, f.kind, f.name, f.uid) for f in facts[3] if f.at_s <= alone.at_s]
    assert [(f.at_s, f.kind, f.name, f.uid) for f in told[0]] == same
    uids = [fact.uid for news in facts for fact in news]
    assert len(set(uids)) == len(uids)
    assert plant.at_s == plant.end_s == START_S + 86_400
    assert len({fact.kind for news in facts for fact in news}) == 4


def test_noise_and_meals_do_not_depend_on_the_policy(
    day: tuple[GlucosePlant, Outcome, list[list[TwinEvent]]],
) -> None:
    stopped = {0: (rate(0.0, 0.0),), 90: (bolus(2.0),)}
    _, _, facts = live(PEOPLE, 150, stopped, options=BUSY)
    for mine, other in zip(facts, day[2], strict=True):
        meals = [(f.at_s, f.value, f.uid) for f in of_kind(mine, "meal")]
        assert meals
        assert meals == [(f.at_s, f.value, f.uid) for f in of_kind(other, "meal")][: len(meals)]
        read, also = of_kind(mine, "observation"), of_kind(other, "observation")
        assert [(f.at_s, f.uid) for f in read] == [(f.at_s, f.uid) for f in also][: len(read)]
    # the sensor's error: what is shown minus what a sensor without noise shows, at two policies
    errors = []
    for orders in ({}, {0: (rate(0.0, 0.0),)}):
        _, noisy, _ = live(PEOPLE, 40, orders, options={"dropouts": "no"})
        _, silent, _ = live(PEOPLE, 40, orders, options={"noise": "no", "dropouts": "no"})
        errors.append(noisy.traces["sensor_glucose"] - silent.traces["sensor_glucose"])
    np.testing.assert_allclose(errors[0], errors[1], atol=1.01)  # whole mg/dL
    assert errors[0].std() > 3


def test_what_is_eaten_is_what_was_announced_and_planned(
    day: tuple[GlucosePlant, Outcome, list[list[TwinEvent]]],
) -> None:
    _, outcome, facts = day
    for who, news in enumerate(facts):
        told = sum(fact.value for fact in of_kind(news, "meal"))
        assert outcome.traces["carbohydrate"][who].sum() == pytest.approx(told)
        planned = day_of(3, PEOPLE[who], 0)
        assert told == pytest.approx(planned.meal_g.sum())
        assert {(f.at_s - START_S) / 60 for f in of_kind(news, "meal")} == set(map(float, planned.meal_min))


def test_the_pump_says_and_gives_the_same() -> None:
    orders: Mapping[int, tuple[Order, ...]] = {3: (rate(2.137), bolus(4.99)), 20: (bolus(0.03),)}
    plant, outcome, facts = live(PEOPLE, 36, orders)
    for who, news in enumerate(facts):
        programme = float(of_kind(news, "rate")[0].value)
        rates = [(f.at_s - START_S, f.value) for f in of_kind(news, "rate")][1:]
        assert [at for at, _ in rates] == [900.0, 900.0 + 1800.0]
        assert [value for _, value in rates] == pytest.approx([2.1, programme])
        assert [f.value for f in of_kind(news, "bolus")] == [pytest.approx(4.95)]
        given = outcome.traces["insulin"][who]
        assert given.sum() == pytest.approx(programme * 2.5 + 2.1 * 0.5 + 4.95)
        assert given[3] == pytest.approx(4.95 + 2.1 / 12)  # 4.95 U at 1.5 U/min: four minutes
        assert float(plant.patients[who].given["total_daily_dose_U"]) > 24 * programme


def test_a_pump_rounds_down_and_refuses_what_it_cannot_do() -> None:
    assert rounded_down(0.149, 0.05, 30.0) == pytest.approx(0.1)
    assert rounded_down(0.15, 0.05, 30.0) == pytest.approx(0.15)
    assert rounded_down(99.0, 0.05, 30.0) == 30.0
    pumps = InsulinPumps(np.array([0.8]))
    with pytest.raises(DoseTwinError, match=r"found an order of glucagon as bolus in ug"):
        pumps.take(
            0, [Order(drug="glucagon", route="subcutaneous", kind="bolus", amount=1.0, unit="ug")], 0.0
        )


def test_less_insulin_arrives_than_a_weak_pump_says() -> None:
    orders = {k: (rate(2.0),) for k in range(12)}
    _, full, told = live(PEOPLE, 12, orders)
    _, weak, told_weak = live(PEOPLE, 12, orders, challenge="pump_minus_10")
    np.testing.assert_allclose(weak.traces["insulin"], 0.9 * full.traces["insulin"], rtol=1e-12)
    assert [f.value for f in of_kind(told_weak[0], "rate")] == [f.value for f in of_kind(told[0], "rate")]


def test_sensitivity_moves_what_insulin_does() -> None:
    orders = {k: (rate(3.0),) for k in range(36)}
    calm = {"variability": "no", "noise": "no"}
    last = [
        live(PEOPLE, 36, orders, challenge=challenge, options=calm)[1].traces["plasma_glucose"][:, -1]
        for challenge in ("sensitivity_plus_30", "", "sensitivity_minus_30")
    ]
    assert (last[0] < last[1] - 5).all()
    assert (last[1] < last[2] - 5).all()


def test_a_wrong_weight_is_wrong_and_nothing_else(
    day: tuple[GlucosePlant, Outcome, list[list[TwinEvent]]],
) -> None:
    heavy = GlucosePlant(Cohort(PEOPLE, 3, 1.0, challenge="wrong_weight"))
    wrong = [
        float(b.given["weight_kg"]) / float(a.given["weight_kg"])
        for a, b in zip(day[0].patients, heavy.patients, strict=True)
    ]
    assert set(np.round(wrong, 2)) == {0.75, 1.25}
    for mine, other in zip(day[0].patients, heavy.patients, strict=True):
        assert mine.given["total_daily_dose_U"] == other.given["total_daily_dose_U"]


def test_wrong_counts_are_a_fifth_wrong() -> None:
    _, outcome, told = live(PEOPLE, 160, challenge="wrong_carbohydrate")
    factors = [
        fact.value / grams
        for who, news in enumerate(told)
        for fact, grams in zip(of_kind(news, "meal"), day_of(3, PEOPLE[who], 0).meal_g, strict=False)
        if grams > 30
    ]
    assert len(factors) >= len(PEOPLE)
    assert all(f == pytest.approx(0.8, abs=0.02) or f == pytest.approx(1.2, abs=0.02) for f in factors)
    assert min(factors) < 1 < max(factors)
    eaten = outcome.traces["carbohydrate"].sum()
    assert eaten == pytest.approx(eaten.round()), "what is eaten is not what is counted"


def test_a_lost_sensor_is_silent_for_half_an_hour_after_a_meal() -> None:
    _, lost, told = live(PEOPLE, 265, challenge="sensor_loss", options={"dropouts": "no"})
    gaps = np.isnan(lost.traces["sensor_glucose"])
    assert (gaps.sum(axis=1) == 6).all()
    for who, number in enumerate(PEOPLE):
        where = np.flatnonzero(gaps[who])
        assert (np.diff(where) == 1).all()
        after = [5 * (where[0] + 1) - m for m in day_of(3, number, 0).meal_min]
        assert any(0 <= minutes <= 65 for minutes in after)
        assert len(of_kind(told[who], "observation")) == 72 + 265 - 6


def test_a_tenth_of_the_decisions_is_missed() -> None:
    _, _, missed = live(PEOPLE, 100, {k: (bolus(0.05),) for k in range(100)}, challenge="missed_doses")
    carried_out = np.mean([len(of_kind(news, "bolus")) for news in missed]) / 100
    assert carried_out == pytest.approx(0.9, abs=4 * 0.3 / np.sqrt(600))


def test_exercise_lowers_glucose_for_the_evening(
    day: tuple[GlucosePlant, Outcome, list[list[TwinEvent]]],
) -> None:
    rests = {**BUSY, "exercise": "no"}
    rest = live(PEOPLE, DAY_STEPS, options=rests)[1].traces["plasma_glucose"]
    drop = (rest - day[1].traces["plasma_glucose"])[:, -24:].mean(axis=1)
    exercising = np.array([day_of(3, number, 0).exercise_min >= 0 for number in PEOPLE])
    assert 1 <= exercising.sum() <= 5
    assert (drop[exercising] > 2).all()
    np.testing.assert_allclose(drop[~exercising], 0.0, atol=0.5)
    announced = [[f.name for f in of_kind(news, "announcement")] for news in day[2]]
    assert [("exercise" in names) for names in announced] == exercising.tolist()


def test_sugar_ends_a_low() -> None:
    before_breakfast = 66
    low = {k: (rate(4.0),) for k in range(before_breakfast)}
    alone = live(PEOPLE, before_breakfast, low)[1].traces["plasma_glucose"].min(axis=1)
    fed = live(PEOPLE, before_breakfast, low, options={"rescue": "yes"})[1]
    assert (fed.traces["plasma_glucose"].min(axis=1) >= alone - 0.1).all()
    sugar = fed.traces["carbohydrate"]
    assert set(np.unique(sugar)) == {0.0, 15.0}


def test_settings_and_names_are_checked() -> None:
    with pytest.raises(DoseTwinError, match="found the option meals=yes; expected one of announced=no"):
        GlucosePlant(Cohort(range(1), 1, 1.0, options={"meals": "yes"}))
    with pytest.raises(DoseTwinError, match="found the challenge 'storm'; expected one of wrong_weight"):
        GlucosePlant(Cohort(range(1), 1, 1.0, challenge="storm"))


def test_patients_survive_pickling(day: tuple[GlucosePlant, Outcome, list[list[TwinEvent]]]) -> None:
    one: Any = day[0].patients[0]
    again: Any = pickle.loads(pickle.dumps(one))
    assert again == one
    assert again.settings == one.settings


def test_measures_by_hand() -> None:
    glucose = np.array([[53.0, 54.0, 69.9, 70.0, 180.0, 180.1, 250.0, 251.0, np.nan, 100.0]])
    found = {name: float(values[0]) for name, values in glucose_measures(glucose).items()}
    assert found["time_in_range_pct"] == pytest.approx(100 * 3 / 9)
    assert found["below_70_pct"] == pytest.approx(100 * 3 / 9)
    assert found["below_54_pct"] == pytest.approx(100 / 9)
    assert found["above_250_pct"] == pytest.approx(100 / 9)
    known = [53.0, 54.0, 69.9, 70.0, 180.0, 180.1, 250.0, 251.0, 100.0]
    mean = sum(known) / 9
    spread = (sum((g - mean) ** 2 for g in known) / 9) ** 0.5
    assert found["mean_glucose_mg_dL"] == pytest.approx(mean)
    assert found["cv_pct"] == pytest.approx(100 * spread / mean)
    assert found["gmi_pct"] == pytest.approx(3.31 + 0.02392 * mean)


def test_the_trial_is_found_by_name_and_reports_what_it_must() -> None:
    trial = load_trial("t1d-insulin")
    assert [m.name for m in trial.measures][:4] == [
        "time_in_range_pct",
        "below_70_pct",
        "below_54_pct",
        "above_250_pct",
    ]
    assert set(trial.comparators) == {"basal_bolus", "low_glucose_suspend", "pid", "fixed"}
    assert trial.groups == ("adult", "adolescent", "child")
