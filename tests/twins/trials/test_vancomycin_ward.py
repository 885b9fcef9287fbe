"""The vancomycin trial's ward: its kinetics against their source, its pump, its laboratory, its luck."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.platform.contracts import Order
from dosetwin.twins.plants import infection, infection_pooled
from dosetwin.twins.trials.trial import Cohort, Outcome, load_trial
from dosetwin.twins.trials.vancomycin_rules import Fixed, infusion, order
from dosetwin.twins.trials.vancomycin_ward import START_S, Ward

H = 3600.0


def lived(cohort: Cohort, plant: str = "thomson") -> tuple[Ward, Outcome]:
    ward = load_trial("vancomycin").plants[plant](cohort)
    assert isinstance(ward, Ward)
    rules = Fixed(ward.patients, cohort.seed)
    rules.tell(ward.begin())
    while ward.at_s < ward.end_s:
        rules.tell(ward.advance(rules.decide(ward.at_s)))
    return ward, ward.outcome()


@pytest.fixture(scope="module")
def two_days() -> dict[str, Outcome]:
    """1 g every 12 h for two days, by challenge."""
    return {
        name: lived(Cohort(range(24), 7, 2.0, challenge=name))[1]
        for name in ("", "missed_doses", "pump_minus_10", "clearance_plus_30")
    }


def test_the_pooled_model_gives_its_papers_reference_patient() -> None:
    """35 years, 70 kg, 0.83 mg/dL: 42.9 L, 41.7 L, 4.10 L/h, 3.22 L/h (Colin 2019, abstract)."""
    one = jnp.ones(1)
    person = infection.InfectionParameters(
        age_a=35 * one,
        weight_kg=70 * one,
        height_cm=175 * one,
        male=one,
        eta=jnp.zeros((4, 1)),
        CLcr_0=one,
        drift_sd=one,
        trend_per_h=one,
    )
    CLcr = infection.production(person) / 0.83
    CL, V1, V2, Q = (float(v[0]) for v in infection_pooled.kinetics(person, CLcr))
    np.testing.assert_allclose([V1, V2, Q], [42.9, 41.7, 3.22], rtol=1e-4)
    np.testing.assert_allclose(CL, 4.10, rtol=0.01)


def test_the_pooled_model_has_its_variability() -> None:
    people = infection.sample_population(jax.random.key(3), 4000)
    K = infection_pooled.kinetics(people, people.CLcr_0)
    own = infection_pooled.kinetics(people._replace(eta=jnp.zeros_like(people.eta)), people.CLcr_0)
    spread = np.asarray(jnp.log(K / own)).std(axis=1)
    # cut at 2 standard deviations: 0.96 of the whole (clipped, not truncated)
    np.testing.assert_allclose(spread[:3], 0.96 * np.sqrt([0.0749, 0.0721, 0.672]), rtol=0.05)


def test_a_patient_is_the_same_in_any_company() -> None:
    _, together = lived(Cohort(range(3), 5, 1.0))
    _, alone = lived(Cohort(range(2, 3), 5, 1.0))
    for name in together.measures:
        np.testing.assert_allclose(
            alone.measures[name][0], together.measures[name][2], equal_nan=True, err_msg=name
        )
    np.testing.assert_allclose(alone.traces["vancomycin"][0], together.traces["vancomycin"][2], rtol=1e-6)


def test_areas_are_integrals_of_the_concentration(two_days: dict[str, Outcome]) -> None:
    outcome = two_days[""]
    course, hours = outcome.traces["vancomycin"], outcome.time_s / H
    second = (hours >= 24) & (hours <= 48)
    by_trapezoid = np.trapezoid(course[:, second], hours[second], axis=1)
    np.testing.assert_allclose(outcome.traces["auc24"][:, hours == 48][:, 0], by_trapezoid, rtol=0.03)


def test_challenges_do_what_they_say(two_days: dict[str, Outcome]) -> None:
    def area(name: str) -> np.ndarray:
        found: np.ndarray = two_days[name].traces["auc24"][:, -1]
        return found

    np.testing.assert_allclose(area("pump_minus_10"), 0.9 * area(""), rtol=1e-3)
    assert (area("clearance_plus_30") < area("")).all()
    assert (area("missed_doses") <= area("") * (1 + 1e-6)).all()
    assert 0.05 < (area("missed_doses") < 0.99 * area("")).mean() < 0.7
    heavy = Ward(Cohort(range(40), 1, 1.0, challenge="wrong_weight"), infection.kinetics).patients
    right = Ward(Cohort(range(40), 1, 1.0), infection.kinetics).patients
    factors = [
        float(a.given["weight_kg"]) / float(b.given["weight_kg"]) for a, b in zip(heavy, right, strict=True)
    ]
    assert {round(f, 6) for f in factors} == {0.8, 1.2}


def test_the_pump_joins_a_regimen_to_the_dose_before() -> None:
    ward = Ward(Cohort(range(1), 2, 2.0), infection.kinetics)
    facts = ward.advance([(infusion(1500.0), order(1000.0, 12.0))])[0]
    assert [f.value for f in facts if f.kind == "infusion"] == [1500.0]
    later = [fact for _ in range(2) for fact in ward.advance([()])[0] if fact.kind == "infusion"]
    assert [f.value for f in later] == [1000.0]
    assert 12.0 <= (later[0].at_s - START_S) / H < 13.5
    facts = ward.advance([(order(500.0, 8.0),)])[0]
    assert [f.value for f in facts if f.kind == "infusion"] == [500.0], "due 8 h after the last one began"
    stop = Order(
        drug="vancomycin",
        route="intravenous",
        kind="regimen",
        amount=0.0,
        unit="mg",
        duration_s=0.0,
        interval_s=H * 24,
    )
    assert not [f for f in ward.advance([(stop,)])[0] if f.kind == "infusion"]


def test_a_level_is_drawn_on_request_and_comes_later_with_its_time() -> None:
    ward = Ward(Cohort(range(1), 2, 2.0), infection.kinetics)
    ward.sample_at([START_S + 5 * H])
    told = ward.advance([(order(1000.0, 12.0),)])[0]
    ward.sample_at([START_S + 7 * H])
    told += ward.advance([()])[0]
    levels = [fact for fact in told if fact.kind == "observation"]
    assert len(levels) >= 1
    assert 5.0 <= (levels[0].at_s - START_S) / H <= 5.34
    outcome_samples = ward._samples[0]
    assert outcome_samples == len(levels)
    lost = Ward(Cohort(range(1), 2, 2.0, challenge="sensor_loss"), infection.kinetics)
    lost.sample_at([START_S + 4 * H])
    told = [f for _ in range(2) for f in lost.advance([(order(1000.0, 12.0),)])[0] if f.kind == "observation"]
    assert not told, "the first level is lost"
    assert lost._samples[0] == 1
