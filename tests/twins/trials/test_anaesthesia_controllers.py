"""The policies that the twin is compared with: each in its best form, and its anti-windup shown to matter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.plants.anaesthesia_kinetics import propagator, schnider
from dosetwin.twins.trials.anaesthesia_manual import ByHand
from dosetwin.twins.trials.anaesthesia_pid import PID, Tuning
from dosetwin.twins.trials.anaesthesia_tci import TargetControlled
from dosetwin.twins.trials.trial import Controller, load_trial

PATIENTS = (
    Patient(age_years=40.0, weight_kg=70.0, height_cm=170.0, sex=1.0),
    Patient(age_years=75.0, weight_kg=60.0, height_cm=160.0, sex=0.0),
)


def readings(at_s: float, bis: float | None, pressure: float = 80.0) -> list[list[TwinEvent]]:
    facts = [TwinEvent(at_s, "observation", "mean_arterial_pressure", pressure, int(at_s) * 10)]
    facts.append(TwinEvent(at_s, "observation", "heart_rate", 70.0, int(at_s) * 10 + 1))
    if bis is not None:
        facts.append(TwinEvent(at_s, "observation", "bis", bis, int(at_s) * 10 + 2))
    return [facts, facts]


def course(
    controller: Controller, bis: Sequence[float | None], pressure: float = 80.0
) -> tuple[np.ndarray, np.ndarray]:
    """Rates of propofol and remifentanil, [T, 2] per hour, under a scripted index (10 s each)."""
    rows = []
    for k, value in enumerate(bis):
        for later in (-5.0, 0.0):
            controller.tell(readings(1000.0 + 10 * k + later, value, pressure))
        orders = controller.decide(1000.0 + 10 * k)
        rows.append([[o.amount for o in mine if o.kind == "rate"] for mine in orders])
    given = np.array(rows)
    return given[..., 0], given[..., 1]


def test_anti_windup_lets_go_at_once() -> None:
    """Half an hour too deep with the pump at zero, then too light: with windup it stays at zero."""
    script = [22.0] * 180 + [70.0] * 30
    rested = {}
    for windup in (False, True):
        propofol, _ = course(PID(PATIENTS, windup=windup), script)
        assert (propofol[150:180] == 0).all()
        running = propofol[180:, 0] > 70.0 * 3.0
        rested[windup] = 10 * int(np.argmax(running)) if running[-1] else math.inf
    assert rested[False] <= 30
    assert rested[True] == math.inf


def test_anti_windup_bounds_the_integral_at_the_ceiling() -> None:
    """An hour at the ceiling that does nothing (a line that came off)."""
    for windup, most in ((False, 200.0), (True, math.inf)):
        controller = PID(PATIENTS, windup=windup)
        course(controller, [95.0] * 360)
        assert (controller.integral < most).all()
    assert (controller.integral > 600.0).all()


def test_pid_holds_still_without_an_index_and_at_the_setpoint() -> None:
    propofol, remifentanil = course(PID(PATIENTS), [50.0] * 30 + [70.0] * 3 + [50.0] * 40 + [None] * 30)
    assert np.ptp(propofol[5:29], axis=0).max() < 1e-6
    assert (propofol[31] > propofol[29]).all()
    assert np.ptp(propofol[-20:], axis=0).max() < 1e-6
    np.testing.assert_allclose(remifentanil, propofol * Tuning().ratio, rtol=1e-6)


def test_pid_spares_remifentanil_while_the_pressure_is_low() -> None:
    _, usual = course(PID(PATIENTS), [50.0] * 10)
    propofol, spared = course(PID(PATIENTS), [50.0] * 10, pressure=55.0)
    assert (spared[-1] < 0.5 * usual[-1]).all()
    assert (propofol > 0).all()


def test_a_target_is_reached_and_not_passed() -> None:
    controller = TargetControlled(PATIENTS)
    body = tuple(np.array(values) for values in ([40.0, 75.0], [70.0, 60.0], [170.0, 160.0], [1.0, 0.0]))
    D, g = propagator(schnider(*body))
    x, effect = np.zeros((5, 2)), []
    for k in range(180):
        rate = [orders[0].amount / 60.0 for orders in controller.decide(10.0 * k)]
        for _ in range(10):
            x = (D * x[None]).sum(1) + g * np.array(rate)
        effect.append(x[3])
    reached = np.array(effect) / controller.propofol_target
    assert (reached.max(axis=0) < 1.02).all()
    assert (reached[24:].min(axis=0) > 0.97).all(), "within four minutes"
    assert controller.propofol_target[1] < 0.8 * controller.propofol_target[0]


def test_by_hand_follows_the_scheme_and_the_monitor() -> None:
    propofol, _ = course(ByHand(PATIENTS), [50.0] * 200)
    per_kg = propofol[:, 0] / 70.0
    assert [round(per_kg[k]) for k in (30, 100, 190)] == [10, 8, 6]
    assert propofol[100, 1] / 60.0 == pytest.approx(8 * 2 / 3)
    light, _ = course(ByHand(PATIENTS), [50.0] * 60 + [70.0] * 60)
    deep, _ = course(ByHand(PATIENTS), [50.0] * 60 + [33.0] * 60)
    assert (light[-1] > propofol[119] + 100).all()
    assert (deep[-1] < propofol[119] - 100).all()
    _, usual = course(ByHand(PATIENTS), [50.0] * 120)
    _, low = course(ByHand(PATIENTS), [50.0] * 120, pressure=58.0)
    assert (low[-1] < 0.7 * usual[-1]).all()


def test_the_trial_has_its_names() -> None:
    trial = load_trial("propofol")
    names = [measure.name for measure in trial.measures]
    assert names[:4] == ["bis_40_60_pct", "map_below_65_pct", "map_below_65_floor_pct", "induction_min"]
    assert set(trial.comparators) == {"pid", "tci_fixed", "manual"}
    assert next(iter(trial.plants)) == "surgical"
