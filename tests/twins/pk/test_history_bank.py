"""The bank's promises: a twin is a function of the set of its facts; intervals cover what they say."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dosetwin.platform.errors import SnapshotError, TherapyError
from dosetwin.twins.bank import Bank
from dosetwin.twins.data.subject import Dose, Observation, subject
from dosetwin.twins.estimators.history_bank import HistoryBank
from dosetwin.twins.estimators.patient_history import MOST_LEVELS, PatientHistory
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.simulation.prediction import predict
from dosetwin.twins.therapies.vancomycin import ADDITIVE_MG_L, GOTI_2018, PROPORTIONAL, make_bank

T0 = 1.7e9
H = 3600.0
PATIENT = {"age": 61.0, "weight": 82.0, "sex": 1.0, "creatinine": 1.1}


def bank(*patients: str) -> HistoryBank:
    made = make_bank(4, 0)
    for patient in patients:
        made.enrol(patient, at_s=T0, covariates=PATIENT, targets={})
    return made


def history() -> list[TwinEvent]:
    doses = [TwinEvent(T0 + 12 * H * k, "infusion", "vancomycin", 1000.0, k + 1, H) for k in range(4)]
    levels = [
        TwinEvent(T0 + 11.5 * H, "observation", "vancomycin", 9.0, 20),
        TwinEvent(T0 + 26.0 * H, "observation", "vancomycin", 24.0, 21),
        TwinEvent(T0 + 35.5 * H, "observation", "vancomycin", 14.0, 22),
        TwinEvent(T0 + 40.0 * H, "observation", "vancomycin", 15.0, 23, 0.0, -1),
    ]
    creatinine = [TwinEvent(T0 + 24 * H, "covariate", "creatinine", 1.9, 30)]
    return doses + levels + creatinine


def test_a_twin_is_a_function_of_the_set_of_its_facts() -> None:
    """Any order, any cut into batches, repeats, a snapshot half way: the same twin, to the last digit."""
    told_at_once = bank("p")
    told_at_once.assimilate([("p", fact) for fact in history()])
    shuffled = history() + history()[:3]
    random.Random(5).shuffle(shuffled)
    piecemeal: Bank = bank("p")
    for k, fact in enumerate(shuffled):
        piecemeal.assimilate([("p", fact)])
        if k == 4:
            moved = bank()
            assert moved.restore(piecemeal.snapshot(["p"])) == ["p"]
            piecemeal = moved
    at_s = T0 + 50 * H
    first, second = told_at_once.decide(["p"], [at_s]), piecemeal.decide(["p"], [at_s])
    np.testing.assert_array_equal(first.utility, second.utility)
    np.testing.assert_array_equal(first.bands["vancomycin"], second.bands["vancomycin"])
    assert first.reasons == second.reasons


def test_a_late_level_is_put_at_its_draw_time() -> None:
    """Told before or after the doses that followed it, a level says the same about clearance."""
    in_time, late = bank("p"), bank("p")
    doses, level = history()[:4], TwinEvent(T0 + 11.5 * H, "observation", "vancomycin", 4.0, 20)
    in_time.assimilate([("p", doses[0]), ("p", level)])
    in_time.assimilate([("p", dose) for dose in doses[1:]])
    late.assimilate([("p", dose) for dose in doses])
    before = late.modes(["p"], [T0 + 48 * H])[0]
    late.assimilate([("p", level)])
    after = late.modes(["p"], [T0 + 48 * H])[0]
    assert after == in_time.modes(["p"], [T0 + 48 * H])[0]
    assert after["CL"] > 1.03 * before["CL"], "4 mg/L is far below what the population has"
    assert after["CL"] / after["V1"] > 1.03 * before["CL"] / before["V1"], "so the drug leaves faster"


def test_predictions_do_not_depend_on_company_or_batches() -> None:
    """A patient's predictions are the same alone and among others, in one batch and in many."""
    together = bank("p", "q", "r")
    facts = [(patient, fact) for patient in ("p", "q", "r") for fact in history()]
    found = together.assimilate(facts).predictions
    alone = bank("p")
    ordered = sorted(history(), key=lambda fact: fact.at_s)
    one_by_one = [alone.assimilate([("p", fact)]).predictions[0] for fact in ordered]
    expected = sorted((p for p in found[: len(history())] if p), key=lambda p: p.at)
    got = [p for p in one_by_one if p]
    assert len(got) == len(expected) == 4
    for a, b in zip(got, expected, strict=True):
        assert a.at == b.at
        assert (a.median, a.low, a.high) == pytest.approx((b.median, b.low, b.high), rel=1e-9)
        assert a.population == pytest.approx(b.population, rel=1e-12)


def test_covariates_hold_from_their_time_on() -> None:
    """Creatinine doubles after 24 h: the a-priori prediction before is unmoved, after it is higher."""
    steady, failing = bank("p"), bank("p")
    failing.assimilate([("p", history()[-1])])
    facts = [("p", fact) for fact in history()[:7]]
    a = [p for p in steady.assimilate(facts).predictions if p]
    b = [p for p in failing.assimilate(facts).predictions if p]
    assert a[0].population == pytest.approx(b[0].population, rel=1e-12)
    assert (b[2].population or 0) > 1.1 * (a[2].population or 0)


def test_repeated_enrolment_does_not_undo_the_laboratory() -> None:
    """A mode change repeats the covariates of the enrolment; the creatinine measured since stays."""
    repeated, plain = bank("p"), bank("p")
    for twins in (repeated, plain):
        twins.assimilate([("p", history()[-1])])
    repeated.enrol("p", at_s=T0 + 30 * H, covariates=PATIENT, targets={})
    assert repeated.modes(["p"], [T0 + 40 * H]) == plain.modes(["p"], [T0 + 40 * H])
    repeated.enrol("p", at_s=T0 + 31 * H, covariates=PATIENT | {"creatinine": 3.0}, targets={})
    assert repeated.modes(["p"], [T0 + 40 * H])[0]["CL"] < plain.modes(["p"], [T0 + 40 * H])[0]["CL"]


def test_ninety_percent_intervals_cover_ninety_percent() -> None:
    """192 patients from the prior, 3 levels each: 576 intervals; binomial error 1.3 %.

    Their clearances do not drift, which the twin does not know: its intervals may be somewhat too wide.
    """
    n, at_h = 192, [11.5, 26.0, 47.5]
    rng = np.random.default_rng(11)
    people = [
        {
            "age": float(rng.uniform(25, 85)),
            "weight": float(rng.uniform(50, 110)),
            "sex": float(rng.integers(0, 2)),
            "creatinine": float(rng.uniform(0.6, 2.5)),
            "haemodialysis": 0.0,
        }
        for _ in range(n)
    ]
    facts: list[tuple[str, TwinEvent]] = []
    twins = make_bank(n, 0)
    planned = [
        subject(
            f"p{i}",
            [Dose(12.0 * k, 1000.0, duration=1.0) for k in range(5)],
            [Observation(t) for t in at_h],
            people[i],
        )
        for i in range(n)
    ]
    etas = rng.standard_normal((n, 3)) @ GOTI_2018.population.omega.T
    truth = predict(GOTI_2018, planned, etas)
    for i, true in enumerate(truth):
        seen = true + np.hypot(ADDITIVE_MG_L, PROPORTIONAL * true) * rng.standard_normal(3)
        twins.enrol(f"p{i}", at_s=T0, covariates=people[i], targets={})
        name = f"p{i}"
        facts += [
            (name, TwinEvent(T0 + 12 * H * k, "infusion", "vancomycin", 1000.0, k, H)) for k in range(5)
        ]
        facts += [
            (name, TwinEvent(T0 + t * H, "observation", "vancomycin", float(y), 50 + k))
            for k, (t, y) in enumerate(zip(at_h, seen, strict=True))
        ]
    found = [p for p in twins.assimilate(facts).predictions if p]
    assert len(found) == 3 * n
    # an interval that begins at 0 stands for one that begins below: negative "levels" lie in neither
    inside = np.mean([(p.low if p.low > 0 else -np.inf) <= p.observed <= p.high for p in found])
    assert 0.86 <= inside <= 0.97
    last = found[2::3]
    # against the true concentration: the residual error of a trough hides what two levels teach
    a_priori = np.median([abs(t[2] / (p.population or 0) - 1) for p, t in zip(last, truth, strict=True)])
    stepwise = np.median([abs(t[2] / p.median - 1) for p, t in zip(last, truth, strict=True)])
    assert stepwise < a_priori, "two earlier levels must help"


def test_what_is_too_old_is_said_and_changes_nothing() -> None:
    """A fact older than the window before the newest is too late, whichever came first."""
    twins = bank("p")
    twins.assimilate([("p", fact) for fact in history()])
    state = twins.modes(["p"], [T0 + 50 * H])
    old = TwinEvent(T0 - 80 * 24 * H, "observation", "vancomycin", 90.0, 99)
    answer = twins.assimilate([("p", old)])
    assert answer.too_late == [0]
    assert answer.predictions == [None]
    assert twins.modes(["p"], [T0 + 50 * H]) == state


def test_histories_are_bounded_by_rules_on_the_set() -> None:
    def told(facts: list[TwinEvent]) -> PatientHistory:
        history = PatientHistory("d", "d", 100.0)
        history.extend(facts)
        return history

    facts = [TwinEvent(k / 10, "observation", "d", 1.0, k) for k in range(MOST_LEVELS + 50)]
    facts += [TwinEvent(-500.0, "rate", "d", 7.0, 900), TwinEvent(-400.0, "rate", "d", 5.0, 901)]
    facts += [TwinEvent(-300.0, "covariate", "w", 70.0, 902), TwinEvent(-200.0, "bolus", "d", 1.0, 903)]
    forward, backward = told(facts), told(facts[::-1])
    assert forward.facts() == backward.facts()
    assert forward.fingerprint == backward.fingerprint
    assert len(forward.levels()) == MOST_LEVELS
    assert forward.levels()[0].uid == 50
    # of what is older, the rate that still runs and the last covariate are kept, the bolus is not
    assert {fact.uid for fact in forward.facts() if fact.at_s < 0} == {901, 902}
    assert forward.doses() == [(-400.0, np.inf, 0.0, 5.0)]


def test_errors_say_what_was_found_and_expected() -> None:
    twins = bank("p")
    with pytest.raises(TherapyError, match="the enrolment of q lacks age, weight"):
        twins.enrol("q", at_s=T0, covariates={"sex": 1.0, "creatinine": 1.0}, targets={})
    with pytest.raises(ModelError, match=r"found weight_kg = 0 at 0; expected a number from"):
        twins.enrol("q", at_s=T0, covariates=PATIENT | {"weight": 0.0}, targets={})
    assert "q" not in twins
    with pytest.raises(TherapyError, match="q has no twin in this bank"):
        twins.assimilate([("q", history()[0])])
    with pytest.raises(SnapshotError, match="no snapshot of a history bank"):
        twins.restore(b"\x81\xa1x\x01")
    other = bank("p").snapshot(["p"]).replace(twins.model_version.encode(), b"x" * len(twins.model_version))
    with pytest.raises(SnapshotError, match="found a snapshot of xxx"):
        twins.restore(other)
    twins.withdraw("p")
    assert "p" not in twins
    assert len(twins) == 0
