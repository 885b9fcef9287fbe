"""What the glucose trial's comparators do, by hand: on-board curve, boluses, suspension, PID."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.integrate import quad

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.glucose_basal_bolus import BasalBolus
from dosetwin.twins.trials.glucose_patients import EnrolledPatient, PumpSettings, settings_of
from dosetwin.twins.trials.glucose_pid import ProportionalIntegralDerivative, Tuning
from dosetwin.twins.trials.glucose_record import on_board_share
from dosetwin.twins.trials.trial import Cohort, load_trial

NOON_S = 1_767_571_200.0 + 12 * 3600
SETTINGS = PumpSettings(
    basal_U_per_h=1.0, carbohydrate_ratio_g_per_U=10.0, correction_factor_mg_dL_per_U=40.0
)
PERSON = EnrolledPatient(SETTINGS, weight_kg=70.0, total_daily_dose_U=45.0)


def fact(kind: str, value: float, at_s: float, name: str = "glucose") -> TwinEvent:
    return TwinEvent(at_s=at_s, kind=kind, name=name, value=value, uid=int(at_s))  # type: ignore[arg-type]


def readings(values: Sequence[float], last_s: float) -> list[TwinEvent]:
    """One each 5 min, the last at `last_s`."""
    return [fact("observation", g, last_s - 300.0 * (len(values) - 1 - k)) for k, g in enumerate(values)]


def ordered(orders: tuple[Order, ...], kind: str) -> list[float]:
    return [order.amount for order in orders if order.kind == kind]


@pytest.mark.parametrize("minutes", [5.0, 60.0, 75.0, 180.0, 300.0])
def test_insulin_on_board_is_what_its_activity_leaves(minutes: float) -> None:
    t_p, t_d = 75.0, 360.0
    tau = t_p * (1 - t_p / t_d) / (1 - 2 * t_p / t_d)

    def activity(t: float) -> float:
        return float(t * (1 - t / t_d) * np.exp(-t / tau))

    whole, left = quad(activity, 0, t_d)[0], quad(activity, minutes, t_d)[0]
    assert on_board_share(minutes) == pytest.approx(left / whole, abs=1e-6)
    peak = max(range(1, 360), key=activity)
    assert peak == pytest.approx(t_p, abs=1)


def test_a_meals_bolus_by_hand() -> None:
    loop = BasalBolus([PERSON, PERSON, PERSON, PERSON])
    meal = fact("meal", 60.0, NOON_S, "carbohydrate")
    loop.tell(
        [
            [*readings([200.0] * 4, NOON_S), meal],
            [*readings([200.0] * 4, NOON_S), meal, fact("bolus", 5.0, NOON_S - 3600.0, "insulin")],
            [*readings([80.0] * 4, NOON_S), meal],
            [meal],
        ]
    )
    amounts = [ordered(orders, "bolus") for orders in loop.decide(NOON_S)]
    assert amounts[0] == [pytest.approx(6.0 + 0.5 * 80.0 / 40.0)]
    # 1 U is needed and more is on board: the meal's part stays
    assert 5.0 * on_board_share(60.0) > 2.0
    assert amounts[1] == [pytest.approx(6.0)]
    assert amounts[2] == [pytest.approx(6.0 - 0.5 * 40.0 / 40.0)]
    assert amounts[3] == [pytest.approx(6.0)]
    assert loop.decide(NOON_S + 300.0)[3] == (), "a meal is bolused once"


def test_corrections_between_meals_wait_and_count_what_is_on_board() -> None:
    loop = BasalBolus([PERSON, PERSON, PERSON])
    loop.tell(
        [
            readings([240.0] * 4, NOON_S),
            [*readings([240.0] * 4, NOON_S), fact("bolus", 1.0, NOON_S - 7200.0, "insulin")],
            [*readings([240.0] * 4, NOON_S), fact("bolus", 1.0, NOON_S - 3600.0, "insulin")],
        ]
    )
    amounts = [ordered(orders, "bolus") for orders in loop.decide(NOON_S)]
    assert amounts[0] == [pytest.approx(3.0)]
    assert amounts[1] == [pytest.approx(3.0 - on_board_share(120.0))]
    assert amounts[2] == []
    silent = BasalBolus([PERSON], doses=False)
    silent.tell([readings([300.0] * 4, NOON_S)])
    assert silent.decide(NOON_S) == [()]
    stale = BasalBolus([PERSON])
    stale.tell([readings([300.0] * 4, NOON_S)])
    assert stale.decide(NOON_S + 1200.0) == [()], "a reading of 20 min ago is none"


def test_a_pump_stops_before_a_low_and_starts_when_glucose_rises() -> None:
    loop = BasalBolus([PERSON, PERSON, PERSON], suspends=True)
    loop.tell(
        [
            readings([120.0, 110.0, 100.0], NOON_S),  # -2 a minute: 40 in half an hour
            readings([120.0, 119.0, 118.0], NOON_S),
            readings([60.0, 62.0, 64.0], NOON_S),
        ]
    )
    assert [ordered(orders, "rate") for orders in loop.decide(NOON_S)] == [[0.0], [], []]
    loop.tell(
        [[fact("rate", 0.0, NOON_S, "insulin"), *readings([80.0, 85.0, 92.0], NOON_S + 1500.0)], [], []]
    )
    assert ordered(loop.decide(NOON_S + 1500.0)[0], "rate") == [1.0]


def test_settings_follow_the_clinics_rules_where_only_the_dose_is_known() -> None:
    settings = settings_of(Patient(weight_kg=70.0, total_daily_dose_U=48.0))
    assert settings.basal_U_per_h == pytest.approx(1.0)
    assert settings.carbohydrate_ratio_g_per_U == pytest.approx(500 / 48)
    assert settings.correction_factor_mg_dL_per_U == pytest.approx(37.5)
    assert settings_of(PERSON) == SETTINGS


def rates(loop: ProportionalIntegralDerivative, glucose: Sequence[float]) -> list[float]:
    """The rate ordered at each reading, five minutes apart; the pump does what it is told."""
    given: list[float] = []
    for k, g in enumerate(glucose):
        at_s = NOON_S + 300.0 * k
        loop.tell(
            [[fact("observation", g, at_s), *([fact("rate", given[-1], at_s, "insulin")] if given else [])]]
        )
        given.append(ordered(loop.decide(at_s)[0], "rate")[0])
    return given


def test_at_the_target_the_pid_gives_the_basal_rate() -> None:
    tuning = Tuning()
    given = rates(ProportionalIntegralDerivative([PERSON], tuning), [tuning.target_mg_dL] * 30)
    assert given == pytest.approx([1.0] * 30)


def test_the_pids_first_answer_by_hand() -> None:
    tuning = Tuning(target_mg_dL=120.0, gain_per_h=1.0, derivative_min=60.0, gamma=0.5)
    loop = ProportionalIntegralDerivative([PERSON], tuning)
    loop.tell([readings([140.0, 145.0, 150.0], NOON_S)])
    gain = 45.0 / 1800.0
    wanted = 1.5 * (gain * (30.0 + 60.0 * 1.0) + 1.0) - 0.5 * 1.0
    assert ordered(loop.decide(NOON_S)[0], "rate")[0] == pytest.approx(wanted, abs=0.05)
    announced = ProportionalIntegralDerivative([PERSON], Tuning(meal_share=0.8))
    announced.tell([[*readings([120.0] * 3, NOON_S), fact("meal", 50.0, NOON_S, "carbohydrate")]])
    assert ordered(announced.decide(NOON_S)[0], "bolus") == [pytest.approx(0.8 * 5.0)]


QUICK = {"gain_per_h": 1.0, "gamma": 0.5, "derivative_min": 66.0}
"""With more gain than the trial's, so that the integral would wind up within hours."""


def after(course: Sequence[float], *, anti_windup: bool, maximum: float = 0.2) -> list[float]:
    tuning = Tuning(anti_windup=anti_windup, maximum_share_per_h=maximum, **QUICK)
    return rates(ProportionalIntegralDerivative([PERSON], tuning), course)


def test_without_anti_windup_a_long_rise_is_paid_back() -> None:
    course = [300.0] * 120 + [120.0] * 40
    held, wound = (after(course, anti_windup=on, maximum=0.1)[130:] for on in (True, False))
    assert max(held) <= 3.5
    # with the integral wound up the pump still runs at several basal rates at the target
    assert np.mean(wound) > np.mean(held) + 1.0


def test_without_anti_windup_a_long_low_is_paid_back_too() -> None:
    course = [60.0] * 120 + [150.0] * 30
    held, wound = (np.mean(after(course, anti_windup=on)[124:]) for on in (True, False))
    assert held > wound + 0.3


@pytest.mark.slow
def test_comparators_are_worth_comparing_with() -> None:
    """On development patients: each is better than the programme alone, and suspending saves lows."""
    found = {}
    trial = load_trial("t1d-insulin")
    for name, comparator in trial.comparators.items():
        plant = trial.plants["uva_padova"](Cohort(range(24), 21, 1.0, options={"announced": "yes"}))
        controller = comparator.make(plant.patients, 21)
        controller.tell(plant.begin())
        while plant.at_s < plant.end_s:
            controller.tell(plant.advance(controller.decide(plant.at_s)))
        found[name] = {key: float(values.mean()) for key, values in plant.outcome().measures.items()}
    in_range = {name: measures["time_in_range_pct"] for name, measures in found.items()}
    assert in_range["basal_bolus"] > 85
    assert in_range["pid"] > 85
    assert in_range["fixed"] < 50
    assert found["low_glucose_suspend"]["below_70_pct"] <= found["basal_bolus"]["below_70_pct"]
