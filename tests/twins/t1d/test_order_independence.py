"""A twin is a function of the set of its facts: any order, any split into batches, any slot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.ensemble_twin import WINDOW_S
from dosetwin.twins.events import TwinEvent

from .conftest import START_S, Make

PATIENTS = ("anna", "bela", "cora")
COVARIATES = {"weight": 70.0, "total_daily_dose": 40.0}


def history() -> list[tuple[str, TwinEvent]]:
    """Two hours of three patients, with everything that can be told, some at equal times."""
    rng = np.random.default_rng(4)
    facts: list[tuple[str, TwinEvent]] = []
    uid = 1000

    def tell(
        patient: str, minute: float, kind: str, name: str, value: float, duration_s: float = 0.0
    ) -> None:
        nonlocal uid
        uid += 1
        at_s = START_S + 60.0 * minute
        facts.append((patient, TwinEvent(at_s, kind, name, value, uid, duration_s)))  # type: ignore[arg-type]

    for patient in PATIENTS:
        for k in range(24):
            minute = 5.0 * k + float(rng.uniform(0.0, 0.4))
            tell(
                patient, minute, "observation", "glucose", float(140 + 25 * np.sin(k / 5) + 6 * rng.normal())
            )
        tell(patient, 20.0, "meal", "carbohydrate", 45.0)
        tell(patient, 20.0, "bolus", "insulin", 4.0)
        tell(patient, 33.0, "infusion", "insulin", 1.0, 2400.0)
        tell(patient, 50.0, "rate", "insulin", 0.0)
        tell(patient, 80.0, "rate", "insulin", 0.8)
        tell(patient, 61.0, "covariate", "weight", 71.0)
        tell(patient, 75.0, "covariate", "total_daily_dose", 43.0)
        tell(patient, 101.0, "observation", "glucose", 40.0)
    return sorted(facts, key=lambda entry: (entry[1].at_s, entry[1].uid))


FACTS = history()


def filtered(
    batches: list[list[tuple[str, TwinEvent]]], slots: tuple[str, ...] = PATIENTS
) -> tuple[dict[str, np.ndarray], int]:
    bank = EnsembleBank(1, seed=2)
    for patient in slots:
        bank.enrol(patient, at_s=START_S, covariates=COVARIATES, targets={})
    late = sum(len(bank.assimilate(batch).too_late) for batch in batches)
    return {patient: bank.ensemble(patient) for patient in PATIENTS}, late


REFERENCE, _ = filtered([FACTS])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    delays=st.lists(st.floats(0.0, WINDOW_S - 1.0), min_size=len(FACTS), max_size=len(FACTS)),
    cuts=st.sets(st.integers(1, len(FACTS) - 1), max_size=12),
    slots=st.permutations(PATIENTS),
    repeats=st.lists(st.integers(0, len(FACTS) - 1), max_size=5),
)
def test_any_order_any_split_any_slot_give_the_same_twin(
    delays: list[float], cuts: set[int], slots: list[str], repeats: list[int]
) -> None:
    arrival = sorted(range(len(FACTS)), key=lambda i: FACTS[i][1].at_s + delays[i])
    arrived = [FACTS[i] for i in arrival]
    edges = [0, *sorted(cuts), len(arrived)]
    batches = [arrived[a:b] for a, b in pairwise(edges)]
    again = [arrived[i] for i in repeats if arrived[i][1].at_s > FACTS[-1][1].at_s - WINDOW_S]
    batches[-1] = batches[-1] + again
    got, late = filtered(batches, tuple(slots))
    assert late == 0, "nothing within the window is late"
    for patient in PATIENTS:
        np.testing.assert_allclose(got[patient], REFERENCE[patient], rtol=1e-4, atol=1e-5)


def test_one_fact_at_a_time_gives_the_same_twin() -> None:
    got, _ = filtered([[fact] for fact in FACTS])
    for patient in PATIENTS:
        np.testing.assert_allclose(got[patient], REFERENCE[patient], rtol=1e-4, atol=1e-5)


def test_a_late_bolus_and_a_late_meal_matter(event: Make) -> None:
    """The property above would hold for a twin that ignores late facts: it must not."""
    told = [("anna", event("observation", 150.0, 5.0 * k)) for k in range(8)]
    late = [("anna", event("bolus", 5.0, 12.0)), ("anna", event("meal", 60.0, 13.0))]
    without = EnsembleBank(1, seed=2)
    with_them = EnsembleBank(1, seed=2)
    for bank in (without, with_them):
        bank.enrol("anna", at_s=START_S, covariates=COVARIATES, targets={})
        bank.assimilate(told)
    assert with_them.assimilate(late).too_late == []
    at = [told[-1][1].at_s]
    on_board = [
        bank.decide(["anna"], at).estimates["insulin_on_board"][1][0, 0] for bank in (without, with_them)
    ]
    gut = [
        bank.decide(["anna"], at).estimates["carbohydrate_on_board"][1][0, 0] for bank in (without, with_them)
    ]
    assert on_board[1] - on_board[0] == pytest.approx(4.3, abs=0.7)
    assert gut[1] - gut[0] > 30.0


def test_facts_older_than_the_window_are_named(bank: EnsembleBank, event: Make) -> None:
    bank.assimilate([("anna", event("observation", 120.0, minute)) for minute in (0, 50, 100, 150)])
    before = bank.ensemble("anna")
    result = bank.assimilate(
        [("anna", event("bolus", 2.0, 10.0)), ("anna", event("observation", 121.0, 155.0))]
    )
    assert result.too_late == [0]
    assert result.predictions[0] is None
    assert result.predictions[1] is not None
    assert not np.array_equal(before, bank.ensemble("anna"))
    assert bank.assimilate([("anna", event("bolus", 2.0, 155.0 - 44.0))]).too_late == []
