"""What each kind of record means, by hand-calculated levels: for the engine and for the slow simulator.

One compartment, CL = 2, V1 = 10, so k = 0.2 per hour; a bolus of 100 makes 10 at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Interpolation
from dosetwin.twins.simulation.prediction import predict

from . import oracle
from .equations import concentrations, mammillary
from .strategies import Case, case, largest, model_of, system_of

ONE = Linear(1, "none")
ORAL = Linear(1, "first_order")
K = 0.2
Levels = npt.NDArray[np.float64]
Simulator = Callable[[Linear, Case, Interpolation], Levels]
NEXT: Interpolation = "next_value_backward"
LAST: Interpolation = "last_value_forward"
MODELS = {(s, i): model_of(s, i) for s in (ONE, ORAL) for i in (NEXT, LAST)}


def by_engine(structure: Linear, given: Case, interpolation: Interpolation) -> Levels:
    found: Levels = predict(MODELS[structure, interpolation], [given.subject, largest(structure).subject])[0]
    return found


def by_oracle(method: oracle.Method) -> Simulator:
    def simulate(structure: Linear, given: Case, interpolation: Interpolation) -> Levels:
        depot = structure.absorption == "first_order"
        rhs, observe = mammillary(structure.size, depot), concentrations(structure.size, depot)
        system = system_of(structure, rhs, observe, method=method)
        return oracle.simulate(system, given.subject, given.rows, interpolation)[0][:, 0]

    return simulate


@pytest.fixture(params=["engine", "exponential", "DOP853"])
def levels(request: pytest.FixtureRequest) -> Callable[..., Levels]:
    """levels(records, parameters..., interpolation): what is seen at the observations."""
    simulate = by_engine if request.param == "engine" else by_oracle(request.param)

    def of(
        *records: dict[str, Any],
        structure: Linear = ONE,
        interpolation: Interpolation = NEXT,
        **parameters: float,
    ) -> Levels:
        return simulate(structure, patient(records, structure, parameters), interpolation)

    return of


def patient(records: Sequence[dict[str, Any]], structure: Linear, parameters: dict[str, float]) -> Case:
    names = {"CL": 2.0, "V1": 10.0, "ka": 0.7, "F": 1.0, "lag": 0.0, "D": 1.0, "R": 50.0}
    if structure.absorption == "first_order":
        names |= {"F_central": 1.0, "lag_central": 0.0, "D_central": 1.0, "R_central": 50.0}
    else:
        del names["ka"]
    given = ("time", "evid", "amount", "rate", "duration")
    fields = (*given, "compartment", "steady_state", "interval", "additional")
    columns = {name: [float(r.get(name, 0.0)) for r in records] for name in fields}
    rows = [names | parameters | {n: r[n] for n in r if n not in fields} for r in records]
    return case(columns, rows)


def see(time: float, **changed: float) -> dict[str, Any]:
    return {"time": time, "evid": 0} | changed


def dose(time: float, amount: float = 100.0, **how: float) -> dict[str, Any]:
    return {"time": time, "evid": 1, "amount": amount} | how


def reset(time: float, **changed: float) -> dict[str, Any]:
    return {"time": time, "evid": 3} | changed


def near(value: float | Sequence[float]) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-11)


def bolus(t: float, k: float = K) -> float:
    return 10 * math.exp(-k * t) if t >= 0 else 0.0


def infusion(t: float, rate: float, length: float) -> float:
    """Level t hours after an infusion began: rate / CL x (1 - e^{-k t}), then decay."""
    running = min(max(t, 0.0), length)
    return rate / 2 * (1 - math.exp(-K * running)) * math.exp(-K * max(t - length, 0.0))


def test_bolus(levels: Callable[..., Levels]) -> None:
    assert levels(dose(0), see(0), see(3)) == near([10, bolus(3)])


def test_simultaneous_records_act_in_the_order_of_the_file(levels: Callable[..., Levels]) -> None:
    assert levels(see(0), dose(0), see(0), dose(0), see(0)) == near([0, 10, 20])


def test_bioavailability_shortens_an_infusion_of_given_rate(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, rate=20.0), see(2.5), see(5), F=0.5)
    assert seen == near([infusion(2.5, 20, 2.5), infusion(5, 20, 2.5)])


def test_bioavailability_lowers_the_rate_of_a_given_duration(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, duration=5.0), see(2.5), see(8), F=0.5)
    assert seen == near([infusion(2.5, 10, 5), infusion(8, 10, 5)])


def test_modelled_rate(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, rate=-1), see(1), see(8), R=25.0, F=0.8)
    assert seen == near([infusion(1, 25, 3.2), infusion(8, 25, 3.2)])


def test_modelled_duration(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, rate=-2), see(1), see(8), D=4.0, F=0.8)
    assert seen == near([infusion(1, 20, 4), infusion(8, 20, 4)])


def test_infusions_into_one_compartment_add_up(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, rate=20.0), dose(2, duration=10.0), see(3), see(13))
    assert seen == near([infusion(t, 20, 5) + infusion(t - 2, 10, 10) for t in (3, 13)])


def test_additional_doses(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, additional=2, interval=8.0), see(20), see(40))
    assert seen == near([bolus(t) + bolus(t - 8) + bolus(t - 16) for t in (20, 40)])


def test_an_additional_dose_acts_before_a_record_of_its_time(levels: Callable[..., Levels]) -> None:
    assert levels(dose(0, additional=1, interval=8.0), see(8)) == near([bolus(8) + 10])


@pytest.mark.parametrize(("interval", "time"), [(0.1, 0.3), (1 / 3, 1.0), (0.7, 2.1)])
def test_coincidence_does_not_hang_on_the_last_bit(interval: float, time: float) -> None:
    given = patient([dose(0, additional=3, interval=interval), see(time)], ONE, {})
    assert by_engine(ONE, given, NEXT) == near([sum(bolus(time - j * interval + 1e-15) for j in range(4))])


def test_lag(levels: Callable[..., Levels]) -> None:
    assert levels(dose(0), see(1), see(1.5), see(4), lag=1.5) == near([0, 10, bolus(2.5)])


def test_a_lag_may_be_longer_than_the_interval_of_additional_doses(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, additional=1, interval=2.0), see(4.5), see(5), see(9), lag=5.0)
    assert seen == near([0, 10, bolus(4) + bolus(2)])


def test_parameters_change_at_the_record_of_a_lagged_dose(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0), dose(4, CL=5.0, lag=2.0), see(5, CL=5.0), interpolation=LAST)
    assert seen == near([bolus(4) * math.exp(-0.5)])


def test_reset_ends_everything_and_may_restart_the_clock(levels: Callable[..., Levels]) -> None:
    seen = levels(
        dose(0, rate=10.0),
        dose(1, additional=9, interval=1.0),
        dose(2, lag=1.5),
        reset(3),
        see(3),
        see(6),
        reset(1),
        dose(1),
        see(2),
    )
    assert seen == near([0, 0, bolus(1)])


def test_reset_and_dose_resets_once(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0), dose(2) | {"evid": 4, "additional": 1, "interval": 4.0}, see(2), see(7))
    assert seen == near([10, bolus(5) + bolus(1)])


def test_other_records_change_parameters_only(levels: Callable[..., Levels]) -> None:
    other = {"time": 2.0, "evid": 2, "CL": 5.0}
    seen = levels(dose(0), other, see(3, CL=5.0), interpolation=LAST)
    assert seen == near([10 * math.exp(-0.2 * 2 - 0.5)])


def test_next_value_backward(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0), see(2), see(3, CL=5.0), see(4, V1=20.0))
    assert seen == near([bolus(2), bolus(2) * math.exp(-0.5), bolus(2) / 2 * math.exp(-0.5 - 0.1)])


def test_last_value_forward(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0), see(2), see(3, CL=5.0), see(4, V1=20.0), interpolation=LAST)
    assert seen == near([bolus(2), bolus(3), bolus(3) / 2 * math.exp(-0.5)])


@pytest.mark.parametrize("interpolation", [NEXT, LAST])
def test_additional_doses_keep_what_their_own_record_says(
    levels: Callable[..., Levels], interpolation: Interpolation
) -> None:
    first = dose(0, additional=1, interval=6.0, F=0.5, lag=1.0)
    seen = levels(first, see(2), see(6.5), see(7), interpolation=interpolation)
    assert seen == near([bolus(1) / 2, bolus(5.5) / 2, bolus(6) / 2 + 5])


def test_steady_state_of_a_bolus(levels: Callable[..., Levels]) -> None:
    peak = 10 / (1 - math.exp(-K * 12))
    seen = levels(dose(5, steady_state=1, interval=12.0), see(5), see(16.999999))
    assert seen == near([peak, peak * math.exp(-K * 11.999999)])


def test_steady_state_with_additional_doses_repeats_itself(levels: Callable[..., Levels]) -> None:
    how = {"steady_state": 1, "interval": 6.0, "additional": 3, "rate": 40.0}
    seen = levels(dose(0, **how), *(see(t) for t in (1.0, 5.0, 7.0, 11.0, 19.0, 23.0)), lag=1.75)
    assert seen[::2] == near([seen[0]] * 3)
    assert seen[1::2] == near([seen[1]] * 3)


@pytest.mark.parametrize("lag", [0.0, 1.25])
@pytest.mark.parametrize("length", [2.0, 4.0, 5.5, 12.0, 13.5])
def test_steady_state_of_infusions_that_may_overlap(
    levels: Callable[..., Levels], length: float, lag: float
) -> None:
    how = {"steady_state": 1, "interval": 4.0, "duration": length}
    times = [0.0, 1.0, 3.0, 6.0, 9.5, 20.0]
    seen = levels(dose(0, **how), *(see(t) for t in times), lag=lag)
    repeated = [sum(infusion(t - lag + 4.0 * j, 100 / length, length) for j in range(400)) for t in times]
    assert seen == near(repeated)


def test_steady_states_add_up(levels: Callable[..., Levels]) -> None:
    morning = dose(0, steady_state=1, interval=24.0)
    evening = dose(10, 50.0, steady_state=2, interval=24.0)
    seen = levels(morning, evening, see(12))
    assert seen == near([sum(bolus(12 + 24 * j) + bolus(2 + 24 * j) / 2 for j in range(60))])


def test_steady_state_1_cancels_what_was_before(levels: Callable[..., Levels]) -> None:
    steady = dose(4, steady_state=1, interval=12.0)
    before = [dose(0, rate=10.0), dose(1, additional=5, interval=2.0), dose(2, lag=3.5)]
    assert levels(*before, steady, see(9)) == near([bolus(5) / (1 - math.exp(-K * 12))])


def test_steady_state_2_cancels_nothing(levels: Callable[..., Levels]) -> None:
    steady = dose(4, steady_state=2, interval=12.0)
    before = [dose(0, rate=10.0), dose(1, additional=2, interval=3.0), dose(2, lag=3.5)]
    others = infusion(9, 10, 10) + bolus(8) + bolus(5) + bolus(2) + bolus(3.5)
    assert levels(*before, steady, see(9)) == near([others + bolus(5) / (1 - math.exp(-K * 12))])


@pytest.mark.parametrize("rate", [20.0, -1.0])
def test_steady_state_of_an_endless_infusion(levels: Callable[..., Levels], rate: float) -> None:
    endless = dose(3, 0.0, rate=rate, steady_state=1)
    seen = levels(endless, see(3), see(5), R=20.0, F=0.3, lag=1.0)
    assert seen == near([20 / 2, 20 / 2 * math.exp(-K * 2)])


def test_a_steady_state_uses_the_parameters_of_its_record(levels: Callable[..., Levels]) -> None:
    steady = dose(0, steady_state=1, interval=8.0, CL=5.0)
    assert levels(steady, see(4)) == near([10 / (1 - math.exp(-0.5 * 8)) * math.exp(-K * 4)])


def test_reset_and_steady_state_in_one_record(levels: Callable[..., Levels]) -> None:
    steady = dose(4, steady_state=2, interval=12.0) | {"evid": 4}
    assert levels(dose(0, rate=10.0), steady, see(5)) == near([bolus(1) / (1 - math.exp(-K * 12))])


def bateman(t: float) -> float:
    return 10 * 0.7 / (0.7 - K) * (math.exp(-K * t) - math.exp(-0.7 * t))


def test_doses_into_any_compartment(levels: Callable[..., Levels]) -> None:
    into_depot, into_central = dose(0), dose(1, 50.0, compartment=2)
    seen = levels(into_depot, into_central, see(3), structure=ORAL, F=0.5, F_central=0.8, lag_central=0.5)
    assert seen == near([0.5 * bateman(3) + 0.4 * bolus(1.5)])


def test_an_infusion_into_the_depot(levels: Callable[..., Levels]) -> None:
    seen = levels(dose(0, duration=2.0), see(5), structure=ORAL)
    steps = np.linspace(0, 2, 20001)
    assert seen == pytest.approx([np.trapezoid([bateman(5 - s) / 2 for s in steps], steps)], rel=1e-8)


@pytest.mark.parametrize("steady", [0, 1])
def test_an_infusion_of_which_nothing_is_absorbed(levels: Callable[..., Levels], steady: int) -> None:
    nothing = dose(2, rate=10.0, steady_state=steady, interval=4.0 * steady) | {"evid": 4}
    assert levels(dose(0), nothing, see(2), see(5), F=0.0) == near([0.0, 0.0])


def test_an_infusion_of_a_blink(levels: Callable[..., Levels]) -> None:
    assert levels(dose(0, duration=1e-9), see(0.5)) == pytest.approx([bolus(0.5)], rel=1e-8)


@pytest.mark.parametrize("lag", [4.0, 5.0])
def test_a_lag_as_long_as_the_interval_of_a_steady_state_is_refused(lag: float) -> None:
    given = patient([dose(0, steady_state=1, interval=4.0), see(1)], ONE, {"lag": lag})
    with pytest.raises(ModelError, match="finite"):
        by_engine(ONE, given, NEXT)


@pytest.mark.parametrize(
    ("how", "parameters"),
    [({"rate": -2}, {"D": 15.0}), ({"rate": 10.0}, {"F": 6.0}), ({"rate": -1}, {"R": 6.0})],
)
def test_overlaps_beyond_what_is_planned_for_are_refused(
    how: dict[str, float], parameters: dict[str, float]
) -> None:
    steady = dose(0, steady_state=1, interval=2.0, **how)
    with pytest.raises(ModelError, match="finite"):
        by_engine(ONE, patient([steady, see(0), see(70)], ONE, parameters), NEXT)


@pytest.mark.parametrize("length", [7.0, 15.0, 31.0])
def test_as_many_overlaps_as_a_given_duration_needs(length: float) -> None:
    steady = dose(0, steady_state=1, interval=2.0, duration=length)
    given = patient([steady, see(0), see(length - 1), see(length + 1)], ONE, {})
    assert by_engine(ONE, given, NEXT) == near(list(by_oracle("exponential")(ONE, given, NEXT)))
