"""Devices by themselves: what they measure, give, keep and report."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from dosetwin.platform.contracts import Infusion, MissedDose, Order, RateChange
from dosetwin.platform.errors import SettingsError
from dosetwin.stream_jobs.fleet.devices import laboratory
from dosetwin.stream_jobs.fleet.devices.cgm import INTERVAL_S, GlucoseMonitors
from dosetwin.stream_jobs.fleet.devices.infusion_pump import InfusionPump
from dosetwin.stream_jobs.fleet.devices.insulin_pump import InsulinPump, round_down
from dosetwin.stream_jobs.fleet.devices.wearable import Wearables
from dosetwin.stream_jobs.fleet.faults import LEVELS, FleetFaults, parse_faults
from dosetwin.stream_jobs.fleet.plan import FleetPlan, parse_mix
from dosetwin.stream_jobs.gateway.device import Unfit, Voice

VOICE = Voice("p-" + "0" * 20, "device", "boot")


def rate(amount: float, duration_s: float = 1800.0) -> Order:
    return Order(
        drug="insulin", route="subcutaneous", kind="rate", amount=amount, unit="U/h", duration_s=duration_s
    )


def test_a_pump_gives_what_its_rates_and_boluses_add_up_to() -> None:
    """Against the same history summed second by second."""
    rng = np.random.default_rng(0)
    pump = InsulinPump(VOICE, 0.87, 0.0)
    rates = np.full(4 * 3600, 0.85)
    boluses = 0.0
    given, reported, at = 0.0, [], 0
    while at < 4 * 3600 - 700:
        tick = int(rng.integers(20, 90))
        moment = at + int(rng.integers(0, tick))
        if rng.random() < 0.2:
            wanted, lasts = float(rng.uniform(0, 3)), int(rng.integers(100, 900))
            answer = pump.obey([rate(wanted, lasts)], "c", moment)
            assert not isinstance(answer, Unfit)
            reported += list(answer)
            rates[moment:] = 0.85
            rates[moment : moment + lasts] = round_down(wanted)
        if rng.random() < 0.1:
            pump.bolus(0.35, moment)
            boluses += 0.35
        amount, own = pump.deliver(at, at + tick)
        given += amount
        reported += own
        at += tick
    assert given == pytest.approx(rates[:at].sum() / 3600 + boluses, rel=1e-9)
    assert pump.memory.reservoir_U == pytest.approx(300.0 - given)
    told = np.full(4 * 3600, 0.85)
    for each in sorted(
        (each for each in reported if isinstance(each, RateChange)), key=lambda each: each.at.timestamp()
    ):
        told[round(each.at.timestamp()) :] = each.rate
    np.testing.assert_array_equal(told[:at], rates[:at])


def test_a_pump_remembers_across_a_restart() -> None:
    pump = InsulinPump(VOICE, 1.0, 0.0)
    pump.obey([rate(0.3, 3600.0)], "c", 100.0)
    pump.bolus(2.0, 150.0)
    again = InsulinPump(VOICE, 1.0, 500.0)
    again.load(pump.dump())
    assert again.deliver(0.0, 5000.0) == pump.deliver(0.0, 5000.0)


@pytest.mark.parametrize(
    "order",
    [rate(11.0), rate(1.0, 0.0), Order(drug="insulin", route="s", kind="bolus", amount=1.0, unit="mg")],
)
def test_a_pump_refuses_what_it_cannot_do(order: Order) -> None:
    pump = InsulinPump(VOICE, 1.0, 0.0)
    before = pump.dump()
    assert isinstance(pump.obey([rate(0.5), order], "c", 10.0), Unfit)
    assert pump.dump() == before


def regimen(amount: float, interval_h: float) -> Order:
    return Order(
        drug="vancomycin",
        route="intravenous",
        kind="regimen",
        amount=amount,
        unit="mg",
        duration_s=3600.0,
        interval_s=interval_h * 3600.0,
    )


def test_a_new_regimen_joins_the_one_that_runs() -> None:
    pump = InfusionPump(VOICE, amount_mg=1000.0, duration_s=3600.0, interval_s=12 * 3600.0, first_s=0.0)
    starts: list[tuple[float, float, str | None]] = []
    total = 0.0
    for hour in range(48):
        if hour == 20:
            assert pump.obey([regimen(750.0, 8.0)], "c", 20 * 3600.0) == ()
        given, told = pump.deliver(hour * 3600.0, (hour + 1) * 3600.0, lambda: False)
        total += given
        starts += [
            (each.at.timestamp() / 3600, each.amount, each.command_id)
            for each in told
            if isinstance(each, Infusion)
        ]
    assert starts == [
        (0.0, 1000.0, None),
        (12.0, 1000.0, None),
        (20.0, 750.0, "c"),
        (28.0, 750.0, "c"),
        (36.0, 750.0, "c"),
        (44.0, 750.0, "c"),
    ]
    assert total == pytest.approx(5000.0)


def test_a_missed_infusion_is_told_and_not_given() -> None:
    pump = InfusionPump(VOICE, amount_mg=1000.0, duration_s=3600.0, interval_s=12 * 3600.0, first_s=0.0)
    given, told = pump.deliver(0.0, 7200.0, lambda: True)
    assert given == 0.0
    assert [type(each) for each in told] == [MissedDose]


def test_a_monitor_errs_as_published_and_says_when_it_cannot_tell() -> None:
    n = 400
    monitors = GlucoseMonitors(n, LEVELS["normal"], 1)
    rng = np.random.default_rng(1)
    everyone = np.arange(n)
    errors, heard = [], 0
    rounds = 288
    for k in range(rounds):
        samples = monitors.measure(np.full(n, 150.0), np.full(n, k * INTERVAL_S), everyone, rng)
        heard += sum(sample is not None for sample in samples)
        errors.append(monitors.shown_mg_dL - 150.0)
    series = np.array(errors)
    mard = np.abs(series / 150.0).mean()
    assert 0.04 < mard < 0.09
    persistence = np.mean([np.corrcoef(series[:-1, i], series[1:, i])[0, 1] for i in range(n)])
    assert persistence > 0.75, "errors persist from one value to the next"
    lost = 1 - heard / (n * rounds)
    assert lost == pytest.approx(0.5 * 1800 / 86_400, rel=0.5)
    edge = GlucoseMonitors(2, LEVELS["none"], 1)
    edge.in_mmol[:] = [False, True]
    low, high = edge.measure(np.array([31.0, 480.0]), np.zeros(2), np.arange(2), rng)
    assert low is not None
    assert high is not None
    assert (low.value, low.unit, low.censored) == (40.0, "mg/dL", "below")
    assert (high.value, high.unit, high.censored) == (22.2, "mmol/L", "above")


@pytest.mark.parametrize("make", [GlucoseMonitors, Wearables])
def test_measurements_come_each_five_minutes_however_time_is_cut(
    make: type[GlucoseMonitors] | type[Wearables],
) -> None:
    device = make(5, LEVELS["none"], 3)
    edges = [1.79e9, *np.sort(np.random.default_rng(2).uniform(1.79e9, 1.79e9 + 7200, 40)), 1.79e9 + 7200]
    at: list[list[float]] = [[] for _ in range(5)]
    for start, stop in itertools.pairwise(edges):
        for times, who in device.due(float(start), float(stop)):
            assert ((times >= start) & (times < stop)).all()
            for i, moment in zip(who, times, strict=True):
                at[i].append(float(moment))
    for taken in at:
        assert len(taken) == 24
        np.testing.assert_allclose(np.diff(taken), INTERVAL_S, atol=1e-3)


def test_a_laboratory_tells_hours_later_what_was_true_then() -> None:
    rng = np.random.default_rng(0)
    delays = [laboratory.turnaround_s(rng) for _ in range(500)]
    assert min(delays) >= 1500
    assert np.median(delays) == pytest.approx(4800, rel=0.1)
    assert max(delays) <= 14_400
    sample = laboratory.result("vancomycin", 1.2, 1.79e9)
    assert (sample.value, sample.censored, sample.at.timestamp()) == (2.0, "below", 1.79e9)
    measured = [laboratory.assay("vancomycin", 20.0, 1.0, rng) for _ in range(2000)]
    assert np.std(measured) == pytest.approx(1.0, rel=0.1)


def test_faults_and_mixes_are_parsed_or_refused() -> None:
    assert parse_faults("none") == LEVELS["none"]
    assert parse_faults("harsh, late=0.3").late == 0.3
    assert FleetFaults() == LEVELS["normal"]
    for wrong in ("sometimes", "normal,late=2", "normal,latte=0.1", "normal,late=x"):
        with pytest.raises(SettingsError) as found:
            parse_faults(wrong)
        assert found.value.remedy
    with pytest.raises(SettingsError):
        parse_mix("vancomycin=a")
    with pytest.raises(SettingsError):
        FleetPlan(3, Path(), therapy_mix={"propofol": 1.0})
    plan = FleetPlan(11, Path(), therapy_mix={"t1d-insulin": 0.75, "vancomycin": 0.25})
    assert plan.counts() == {"t1d-insulin": 8, "vancomycin": 3}
