"""The pens' twin and advice: what the filter is told, when somebody is advised, the long-acting dose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_bank import EnsembleBank
from dosetwin.twins.estimators.pen_bank import PenBank
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.models.long_acting_insulin import left_U, release_U_per_h
from dosetwin.twins.policies.pen_advice import LONG, Diary, calculator_U, sizes_U
from dosetwin.twins.policies.pen_titration import basal_need_U_per_h, next_dose_U
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.trials.pen_plant import InsulinPens
from dosetwin.twins.trials.trial import load_trial

START_S = 1_767_571_200.0
PERSON = {"weight": 70.0, "total_daily_dose": 45.0}


def fact(kind: str, value: float, minute: float, name: str = "glucose", uid: int = 0) -> TwinEvent:
    at_s = START_S + 60.0 * minute
    return TwinEvent(at_s, kind, name, value, uid or round(minute * 8 + len(kind)))  # type: ignore[arg-type]


def told(*more: TwinEvent, glucose: float = 130.0, until: int = 60) -> list[tuple[str, TwinEvent]]:
    readings = [fact("observation", glucose, minute) for minute in range(0, until + 1, 5)]
    return [("anna", one) for one in sorted([*readings, *more], key=lambda f: f.at_s)]


@pytest.fixture
def bank() -> PenBank:
    made = PenBank(1, 3)
    made.enrol("anna", at_s=START_S, covariates=PERSON, targets={})
    return made


def test_a_long_dose_is_an_infusion_of_a_day_beside_a_silent_pump(bank: PenBank) -> None:
    bank.assimilate(told(fact("bolus", 24.0, 10, LONG)))
    pump = EnsembleBank(1, 3)
    pump.enrol("anna", at_s=START_S, covariates=PERSON, targets={})
    pump.assimilate(told(fact("rate", 1.0, 10, "insulin")))
    ours, theirs = bank._twins.ensemble("anna"), pump.ensemble("anna")
    np.testing.assert_allclose(ours[row.S1], theirs[row.S1], rtol=1e-4)
    np.testing.assert_allclose(ours[row.PLASMA], theirs[row.PLASMA], rtol=1e-4)
    assert left_U(((START_S, 24.0),), START_S + 6 * 3600) == pytest.approx(18.0)
    two = ((START_S, 24.0), (START_S + 86_000, 12.0))
    # 400 s of one, 1000 s of the other in 1000 s
    assert release_U_per_h(two, START_S + 86_000, START_S + 87_000) == pytest.approx(1.0 * 0.4 + 0.5)


def test_the_basal_need_is_where_the_model_stands_still(bank: PenBank) -> None:
    ensemble = np.asarray(bank._twins.ensemble("anna"), float)
    need = basal_need_U_per_h(ensemble, 70.0)
    for k in range(0, 32, 7):
        s_t, s_d, s_e, egp = np.exp(ensemble[[row.LN_SIT, row.LN_SID, row.LN_SIE, row.LN_EGP0], k])
        q1 = 115.0 / 18.016 * 0.16

        def net(level: float, v: tuple[float, ...] = (s_t, s_d, s_e, egp, q1)) -> float:
            t, d, e, production, q = v
            moved = t * level * q * (1.8 + 0.16 * 7.2) / (1.8 + q)
            q2 = moved / (0.066 + d * level)
            itself = 0.005 * (q - 0.16 * 7.2)
            return production * max(1 - e * level, 0) - 0.0097 - itself - moved + 0.066 * q2

        level = brentq(net, 0.0, 200.0)
        assert need[k] == pytest.approx(level * 0.138 * 0.12 * 70.0 * 60.0 / 1000.0, rel=1e-4)


def test_a_dose_moves_in_small_steps() -> None:
    needs = np.linspace(0.9, 1.1, 21)
    assert next_dose_U(needs, None, 1.0) == 23.0  # 24 h of the 35 % quantile, 0.97
    assert next_dose_U(needs, 20.0, 1.0) == 22.0
    assert next_dose_U(needs, 30.0, 1.0) == 27.0
    assert next_dose_U(needs, 5.0, 0.5) == 5.5
    assert next_dose_U(needs, 4.0, 1.0) == 5.0, "a tenth is less than a step of the pen"


def test_a_meal_is_advised_once_and_sizes_are_whole_steps(bank: PenBank) -> None:
    evening = fact("bolus", 22.0, -120, LONG)
    bank.assimilate([("anna", evening), *told(fact("meal", 60.0, 60, "carbohydrate"), glucose=150.0)])
    at_s = START_S + 3600.0
    found = bank.decide(["anna"], [at_s])
    orders = found.orders[0][int(found.best[0])]
    assert len(orders) == 1
    assert orders[0].kind == "bolus"
    assert orders[0].drug == "insulin"
    assert orders[0].amount == round(orders[0].amount) >= 1.0
    assert "for the meal of 60 g" in found.reasons[0]
    assert found.on_board[LONG][0] == pytest.approx(22.0 * (1 - 3 / 24), rel=1e-6)
    assert found.bands["glucose"].shape == (1, 5, 21)
    lows = found.risks["below_70"][0]
    assert lows[0] <= lows[-1]
    bank.assimilate([("anna", fact("bolus", orders[0].amount, 61, "insulin"))])
    again = bank.decide(["anna"], [at_s + 300.0])
    assert again.orders[0][int(again.best[0])] == ()


def test_the_long_dose_is_due_a_day_after_the_last_and_no_meal_waits_for_it(bank: PenBank) -> None:
    bank.assimilate([("anna", fact("bolus", 22.0, -1435, LONG)), *told()])
    found = bank.decide(["anna"], [START_S + 3600.0])
    (order,) = found.orders[0][int(found.best[0])]
    assert order.drug == LONG
    assert 19.0 <= order.amount <= 25.0
    assert found.evidence["long_acting_dose_U"][0] == order.amount
    bank.assimilate([("anna", fact("meal", 50.0, 60, "carbohydrate"))])
    found = bank.decide(["anna"], [START_S + 3600.0])
    assert {order.drug for order in found.orders[0][-1]} == {"insulin"}


def test_diaries_and_twins_survive_a_snapshot(bank: PenBank) -> None:
    facts = [("anna", fact("bolus", 22.0, -120, LONG)), *told(fact("meal", 60.0, 60, "carbohydrate"))]
    bank.assimilate(facts)
    other = PenBank(1, 3)
    assert other.restore(bank.snapshot(["anna"])) == ["anna"]
    one, two = (b.decide(["anna"], [START_S + 3600.0]) for b in (bank, other))
    np.testing.assert_array_equal(one.utility, two.utility)
    assert one.orders == two.orders
    shuffled = PenBank(1, 3)
    shuffled.enrol("anna", at_s=START_S, covariates=PERSON, targets={})
    shuffled.assimilate(facts[::-1])
    np.testing.assert_allclose(shuffled.decide(["anna"], [START_S + 3600.0]).utility, one.utility, rtol=1e-5)


def test_when_corrections_are_for_now() -> None:
    diary = Diary(70.0, 45.0, 1.0, 21.0)
    assert diary.may_correct(START_S, 200.0)
    assert not diary.may_correct(START_S, 170.0)
    diary.take(fact("bolus", 2.0, -100, "insulin"))
    assert not diary.may_correct(START_S, 200.0)
    assert diary.may_correct(START_S + 5000.0, 200.0)
    assert diary.long_acting_due(START_S + 21.5 * 3600)
    assert not diary.long_acting_due(START_S + 12 * 3600)
    assert calculator_U(235.0, 45.0, 1.0, 45.0, 20.0) == pytest.approx(3.0 + 4.05 - 1.0)
    assert sizes_U(6.0, 1.0).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0, 7.0, 9.0]


def test_what_a_pen_releases_is_what_was_injected() -> None:
    pens = InsulinPens(np.array([24.0]), -360.0)
    given = []
    for minute in range(-360, 4 * 1440):
        if minute % 1440 == 1320:
            pens.precipitate_U = pens.precipitate_U + 24.0
        given.append(float(pens.minute(minute)[0][0]))
    last_day = np.array(given[-1440:])
    assert last_day.sum() == pytest.approx(24.0, rel=0.02)
    assert 60 * last_day.min() > 0.6
    assert 60 * last_day.max() < 1.4


def test_the_therapy_and_its_trial_are_found() -> None:
    therapy = load_therapy("t1d-pen")
    assert [drug.name for drug in therapy.drugs] == ["insulin", LONG]
    assert load_trial("t1d-pen").therapy == "t1d-pen"
