"""Decisions on two drugs: what is never done, what is said, and a closed loop on the model's own kind."""

from __future__ import annotations

import numpy as np
import pytest

from dosetwin.platform.contracts import Order
from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators.anaesthesia_bank import AnaesthesiaBank
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.policies.anaesthesia_orders import CANDIDATES, order_codes, orders
from dosetwin.twins.policies.anaesthesia_targets import highest_rates_per_h

from .conftest import COVARIATES, HEART_RATE, INDEX, PRESSURE, START_S, fact
from .simulated_patient import SimulatedPatient

KINETICS = {"V1": 6.0, "V2": 20.0, "V3": 140.0, "CL": 1.5, "Q2": 1.5, "Q3": 0.7, "ke0": 0.3, "km": 0.1}
OPIOID = {"V1": 5.5, "V2": 8.5, "V3": 4.0, "CL": 2.5, "Q2": 1.6, "Q3": 0.12, "ke0": 0.7, "km": 0.25}


def chosen(made: Appraisal, patient: int = 0) -> dict[str, Order]:
    return {order.drug: order for order in made.orders[patient][int(made.best[patient])]}


def bank_of(events: list[TwinEvent], patient: str = "anna") -> AnaesthesiaBank:
    bank = AnaesthesiaBank(8, seed=3)
    bank.enrol(patient, at_s=START_S, covariates=COVARIATES, targets={})
    bank.assimilate([(patient, event) for event in events])
    return bank


def readings(at: float, index: float | None, pressure: float = 90.0) -> list[TwinEvent]:
    made = [
        fact(at, "observation", PRESSURE, pressure, int(at * 10) + 1),
        fact(at, "observation", HEART_RATE, 70.0, int(at * 10) + 2),
    ]
    return made if index is None else [*made, fact(at, "observation", INDEX, index, int(at * 10) + 3)]


def asleep(until: float = 600.0) -> list[TwinEvent]:
    """A patient at an index of 50 under a plausible infusion."""
    events = [fact(0.0, "rate", "propofol", 2400.0, 900_001), fact(120.0, "rate", "propofol", 600.0, 900_002)]
    events.append(fact(60.0, "rate", "remifentanil", 400.0, 900_003))
    for second in range(0, int(until) + 1, 15):
        events += readings(float(second), max(50.0, 95.0 - second / 3), 80.0)
    return events


def test_without_an_index_nothing_is_given() -> None:
    bank = bank_of(readings(0.0, None))
    made = bank.decide(["anna"], [START_S])
    assert chosen(made) == {}
    assert "never read" in made.reasons[0]


def test_awake_and_read_induction_begins_within_the_policys_ceilings() -> None:
    made = bank_of(readings(0.0, 96.0)).decide(["anna"], [START_S])
    order = chosen(made)["propofol"]
    hypnotic, opioid = highest_rates_per_h(np.array([50.0]), np.array([70.0]))
    assert 600.0 < order.amount <= hypnotic[0]
    assert (order.kind, order.unit, order.route, order.duration_s) == ("rate", "mg/h", "intravenous", 60.0)
    for candidate in made.orders[0]:
        for given in candidate:
            assert given.amount <= (hypnotic[0] if given.drug == "propofol" else opioid[0]) + 1e-6
    assert made.risks["bis_below_30"][0, made.best[0]] <= 0.05
    assert made.feasible[0, made.best[0]]
    assert set(made.lowest) == {INDEX, PRESSURE, HEART_RATE}
    assert set(made.on_board) == {"propofol", "remifentanil"}
    assert made.bands[INDEX].shape == (1, 5, 7)
    assert (np.diff(made.bands[INDEX], axis=1) >= 0).all()
    assert made.would_change[0]
    assert len(made.candidates) == len(CANDIDATES) == made.utility.shape[1]


def test_without_an_index_for_a_while_propofol_is_held_on_the_model() -> None:
    bank = bank_of(asleep())
    seen = bank.decide(["anna"], [START_S + 601.0])
    blind = bank.decide(["anna"], [START_S + 720.0])
    assert "held on the model" in blind.reasons[0]
    assert "held on the model" not in seen.reasons[0]
    now = blind.estimates["propofol_effect_site"][1][0, 0]
    assert blind.evidence["propofol_target_ug_mL"][0] <= 1.3 * now
    assert all(
        order.amount <= 12.0 * 70.0 for c in blind.orders[0] for order in c if order.drug == "propofol"
    )


def test_a_deep_patient_gets_no_propofol_and_the_end_stops_both() -> None:
    deep = [*asleep(), *(event for k in range(1, 9) for event in readings(600.0 + 15 * k, 24.0, 70.0))]
    bank = bank_of(deep)
    assert chosen(bank.decide(["anna"], [START_S + 721.0]))["propofol"].amount == 0.0
    bank.assimilate([("anna", fact(722.0, "announcement", "end_of_surgery", 1.0, 77))])
    made = bank.decide(["anna"], [START_S + 723.0])
    assert {order.amount for order in chosen(made).values()} == {0.0}
    assert "end of surgery" in made.reasons[0]
    assert "end of surgery" not in bank.decide(["anna"], [START_S + 721.0]).reasons[0]


def test_an_announced_stimulus_is_prepared_for() -> None:
    plain, warned = bank_of(asleep()), bank_of(asleep())
    warned.assimilate([("anna", fact(680.0, "announcement", "incision", 1.0, 78))])
    at = [START_S + 602.0]
    before, after = (
        bank.decide(["anna"], at).evidence["remifentanil_target_ng_mL"][0] for bank in (plain, warned)
    )
    assert after >= before
    # it is felt once its time has come, and not before
    plain.assimilate([("anna", event) for event in readings(690.0, 52.0)])
    warned.assimilate([("anna", event) for event in readings(690.0, 52.0)])
    felt = [bank.ensemble("anna")[row.S].mean() for bank in (plain, warned)]
    assert felt[1] > felt[0] + 0.1


def test_decisions_are_pure() -> None:
    bank = bank_of(asleep())
    state = bank.snapshot(["anna"])
    one, two = (bank.decide(["anna"], [START_S + 640.0]) for _ in range(2))
    assert one.orders[0] == two.orders[0]
    assert one.reasons == two.reasons
    assert bank.snapshot(["anna"]) == state


def test_orders_are_whole_increments_and_silent_where_the_pump_is_right() -> None:
    first, second = np.array([[600.7], [0.0], [500.0]]), np.array([[600.0], [0.0], [100.0]])
    codes = order_codes(first, second, np.array([600.0]), np.array([5.0]), 1.0)
    assert orders(codes[0, 0], 0) == ()
    assert orders(codes[1, 0], 0)[0].amount == 0.0
    burst = orders(codes[2, 0], 0)[0]
    assert (burst.amount, burst.duration_s) == (500.0, 60.0)
    again = order_codes(first, second, np.array([600.0]), np.array([25.0]), 1.0)
    assert orders(again[0, 0], 0)[0].duration_s == 600.0


@pytest.mark.parametrize("interval_s", [pytest.param(10, marks=pytest.mark.slow), 30])
def test_a_closed_loop_on_patients_of_its_own_kind(interval_s: int) -> None:
    """Sensitive to insensitive, a stimulus at 10 min: asleep within 6 min, never too deep, back in range."""
    people = [
        SimulatedPatient(KINETICS, OPIOID, C50=C50, gamma=1.5, seed=k)
        for k, C50 in enumerate([1.6, 2.2, 2.8, 3.4, 4.2, 5.0])
    ]
    names = [f"p{k}" for k in range(len(people))]
    bank = AnaesthesiaBank(8, seed=1)
    for name in names:
        bank.enrol(name, at_s=START_S, covariates=COVARIATES, targets={})
    uid, running = 0, np.zeros((2, len(people)))
    truth = []
    for second in range(0, 1200, interval_s):
        facts = []
        for k, (name, person) in enumerate(zip(names, people, strict=True)):
            person.stimulus = 18.0 if 600 <= second < 780 else 0.0
            for quantity, value in zip((INDEX, PRESSURE, HEART_RATE), person.shown(), strict=True):
                uid += 1
                facts.append((name, fact(second, "observation", quantity, value, uid)))
            for which, drug in enumerate(("propofol", "remifentanil")):
                uid += 1
                facts.append((name, fact(second - interval_s + 0.5, "rate", drug, running[which, k], uid)))
        bank.assimilate(facts if second else [f for f in facts if f[1].kind == "observation"])
        made = bank.decide(names, [START_S + second] * len(names))
        for k, person in enumerate(people):
            for drug, order in chosen(made, k).items():
                running[("propofol", "remifentanil").index(drug), k] = order.amount
            person.live(interval_s, *running[:, k])
        truth.append([person.index() for person in people])
    index = np.array(truth)
    seconds = np.arange(0, 1200, interval_s)
    assert (index[seconds > 360] < 65).any(0).all()
    assert index.min() > 30
    kept = index[(seconds > 420)]
    assert ((kept >= 40) & (kept <= 60)).mean() > 0.85
