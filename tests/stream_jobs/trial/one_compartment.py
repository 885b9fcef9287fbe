"""A small trial that really is one: one-compartment patients, a noisy level every hour, three ways to dose.

Option `pace_s` makes each step take that long, so that a test can stop a run in the middle. `broken` has
policies that fail.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dosetwin.platform.contracts import Order
from dosetwin.twins.diagnostics.plot_style import panels, style
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.trials.trial import Cohort, Comparator, Measure, Outcome, Trial

HOUR_S = 3600.0
TARGET_MG_L = 10.0


class Ward:
    """Level C: dC/dt = rate / V - k C, exact over each hour; CL and V log-normal, noise proportional."""

    def __init__(self, cohort: Cohort) -> None:
        chances = [np.random.default_rng([cohort.seed, number]) for number in cohort.numbers]
        z = np.array([chance.standard_normal(2) for chance in chances])
        self._clearance_L_h = 3.0 * np.exp(0.35 * z[:, 0]) * (0.6 if cohort.challenge == "slow" else 1.0)
        self._volume_L = 30.0 * np.exp(0.2 * z[:, 1])
        steps = round(cohort.days * 24)
        self._noise = np.array([1 + 0.1 * chance.standard_normal(steps + 1) for chance in chances])
        self._pace_s = float(cohort.options.get("pace_s", "0"))
        self.patients = tuple(Patient(weight_kg=70.0) for _ in chances)
        self.at_s = 0.0
        self.end_s = steps * HOUR_S
        self._level = np.zeros(len(chances))
        self._rate = np.zeros(len(chances))
        self._kept = [self._level]

    def begin(self) -> list[list[TwinEvent]]:
        return self._read()

    def advance(self, orders: Sequence[Sequence[Order]]) -> list[list[TwinEvent]]:
        time.sleep(self._pace_s)
        for k, given in enumerate(orders):
            for order in given:
                assert order.unit == "mg/h"
                self._rate[k] = order.amount
        k_per_h = self._clearance_L_h / self._volume_L
        steady = self._rate / self._clearance_L_h
        self._level = steady + (self._level - steady) * np.exp(-k_per_h)
        self._kept.append(self._level)
        self.at_s += HOUR_S
        return self._read()

    def outcome(self) -> Outcome:
        levels = np.array(self._kept).T
        return Outcome(
            {
                "in_range_pct": 100 * ((levels > 8) & (levels < 12)).mean(axis=1),
                "above_pct": 100 * (levels >= 12).mean(axis=1),
                "days_until_above": np.where(
                    (levels >= 12).any(axis=1), (levels >= 12).argmax(axis=1) / 24.0, np.nan
                ),
            },
            np.arange(levels.shape[1]) * HOUR_S,
            {"level": levels},
        )

    def _read(self) -> list[list[TwinEvent]]:
        step = round(self.at_s / HOUR_S)
        return [
            [TwinEvent(self.at_s, "observation", "level", float(level * noise), uid=step)]
            for level, noise in zip(self._level, self._noise[:, step], strict=True)
        ]


class Fixed:
    """The same rate for everybody."""

    def __init__(self, patients: tuple[Patient, ...], seed: int) -> None:
        self._n = len(patients)

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        assert len(facts) == self._n

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        return [(_rate(30.0),)] * self._n


class Proportional(Fixed):
    """More below the target, less above."""

    def tell(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        self._levels = [given[-1].value for given in facts]

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        return [(_rate(max(0.0, 30.0 + 10.0 * (TARGET_MG_L - level))),) for level in self._levels]


class Failing(Fixed):
    """Fails at the third hour, or takes its process with it."""

    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        if at_s >= 3 * HOUR_S:
            raise ZeroDivisionError("the pump caught fire")
        return super().decide(at_s)


class Dying(Fixed):
    def decide(self, at_s: float) -> list[tuple[Order, ...]]:
        os._exit(3)


def _rate(mg_per_h: float) -> Order:
    return Order(
        drug="testamycin",
        route="intravenous",
        kind="rate",
        amount=mg_per_h,
        unit="mg/h",
        duration_s=HOUR_S,
    )


def figures(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    with style():
        figure, (axis,) = panels(1, 1)
        for policy, outcome in outcomes.items():
            axis.plot(outcome.time_s / HOUR_S, np.median(outcome.traces["level"], axis=0), label=policy)
        axis.set(xlabel="time (h)", ylabel="level (mg/L)")
        axis.legend()
    return {"Median level over time": figure}


trial = Trial(
    therapy="testamycin",
    plants={"ward": Ward},
    comparators={
        "proportional": Comparator(Proportional, "proportional to the last level's error"),
        "fixed": Comparator(Fixed, "30 mg/h for everybody"),
    },
    measures=(
        Measure("in_range_pct", "%", "higher", "time with a level of 8-12 mg/L"),
        Measure("above_pct", "%", "lower", "time above 12 mg/L"),
        Measure("days_until_above", "d", "higher", "days until a level is above 12 mg/L"),
    ),
    default_days=2.0,
    figures=figures,
    challenges={"slow": "everybody's clearance is 0.6 of what it is"},
    options={"pace_s": "seconds a step takes (0)"},
)

broken = Trial(
    therapy="testamycin",
    plants={"ward": Ward},
    comparators={
        "fixed": Comparator(Fixed, "30 mg/h for everybody"),
        "failing": Comparator(Failing, "raises"),
        "dying": Comparator(Dying, "takes its process with it"),
    },
    measures=trial.measures,
    default_days=1.0,
    figures=figures,
)
