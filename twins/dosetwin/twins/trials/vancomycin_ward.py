"""A ward with infected adults on vancomycin: doses from a pump, levels and creatinine from a laboratory.

A decision is due every so many hours. Orders go to a pump that keeps a regimen: its first dose is due one
interval after the last one began, at once where that has passed. Nurses hang doses late (median 10 min),
the laboratory needs 1-2 h for a level and its assay errs by 6 % and 0.4 mg/L; creatinine is measured every
morning (4 %). These are our assumptions. A level is drawn when the policy asks for one, up to 20 min late,
and its true time is written down; while a result is awaited another request is not carried out.

Everything that happens to patient k by chance is drawn for (seed, k) and by the hour of the trial, so that
policies that do the same thing at the same time meet the same luck. Areas are integrals of the plant, 24 h
each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.plants import infection
from dosetwin.twins.plants.infection import InfectionInputs, InfectionParameters, InfectionState, Kinetics
from dosetwin.twins.precision import double_precision
from dosetwin.twins.trials.trial import Cohort, Outcome
from dosetwin.twins.trials.vancomycin_measures import outcome

Values = npt.NDArray[np.float64]
START_S = 1_750_032_000.0
"""Midnight somewhere; patients are admitted then, and days of treatment begin with the first dose."""
STEP_H = 0.1
DECIDE_H = 6.0
CREATININE_H = 24.0
FIRST_CREATININE_H = 22.0
LATE_SD_H, LATE_MEDIAN_H, LATEST_H = 0.8, 1.0 / 6.0, 1.5
DRAWN_LATE_H = 1.0 / 3.0
LAB_H = (1.0, 2.0)
ASSAY_CV, ASSAY_SD = 0.06, 0.4
CREATININE_CV = 0.04
MISSED, LOST, WEIGHT_ERROR, CLEARANCE_CHANGE, PUMP_SHORT = 0.1, 0.3, 0.2, 0.3, 0.1
CHALLENGES = {
    "wrong_weight": "weight enrolled 20 % too high or too low, by lot",
    "clearance_plus_30": "true clearance 30 % above the model's",
    "clearance_minus_30": "true clearance 30 % below the model's",
    "sensor_loss": "the first level is lost, and later ones with a chance of 30 %",
    "missed_doses": "a dose that is due is not given with a chance of 10 %, and nobody says so",
    "pump_minus_10": "the pump gives 10 % less than it reports",
}


@dataclass
class _Pump:
    """One patient's pump: the regimen, what has begun (start h, duration h, amount mg)."""

    amount: float = 0.0
    duration_h: float = 1.0
    interval_h: float = 12.0
    due_h: float = np.inf
    last_h: float = -np.inf
    given: list[tuple[float, float, float]] = field(default_factory=list)

    def obey(self, order: Order, now_h: float, chance: _Chance) -> None:
        if order.kind == "regimen":
            self.amount, self.duration_h = order.amount, max(order.duration_s / 3600.0, STEP_H)
            self.interval_h = order.interval_s / 3600.0
            self.due_h = max(now_h, self.last_h + self.interval_h)
        elif order.kind == "infusion":
            self.begin(now_h, order.duration_s / 3600.0, order.amount, chance)

    def begin(self, due_h: float, duration_h: float, amount: float, chance: _Chance) -> None:
        start = due_h + float(chance.late_h[int(due_h)])
        self.given.append((start, duration_h, amount))
        self.last_h = due_h

    def go_on(self, until_h: float, chance: _Chance, misses: bool) -> None:
        while self.due_h < until_h - 1e-9:
            due, self.due_h = self.due_h, self.due_h + self.interval_h
            if self.amount > 0 and not (misses and chance.missed[int(due)]):
                self.begin(due, self.duration_h, self.amount, chance)


@dataclass(frozen=True)
class _Chance:
    """One patient's luck, by the hour of the trial [hours]."""

    late_h: Values
    drawn_late_h: Values
    lab_h: Values
    assay: Values
    missed: npt.NDArray[np.bool_]
    lost: npt.NDArray[np.bool_]
    creatinine: Values
    heavier: bool


def _chance(seed: int, number: int, hours: int) -> _Chance:
    rng = np.random.default_rng([seed, number, 71])
    table = rng.standard_normal((6, 24 * 400))[:, :hours]
    uniform = rng.random((5, 24 * 400))[:, :hours]
    late = LATE_MEDIAN_H * np.exp(LATE_SD_H * table[0])
    return _Chance(
        late_h=np.minimum(late, LATEST_H),
        drawn_late_h=DRAWN_LATE_H * uniform[0],
        lab_h=LAB_H[0] + (LAB_H[1] - LAB_H[0]) * uniform[1],
        assay=table[1:3],
        missed=uniform[2] < MISSED,
        lost=uniform[3] < LOST,
        creatinine=table[3],
        heavier=bool(uniform[4, 0] < 0.5),
    )


class Ward:
    """A `TrialPlant`; `kinetics` is the model that the patients follow."""

    def __init__(self, cohort: Cohort, kinetics: Kinetics) -> None:
        self._cohort, n = cohort, len(cohort.numbers)
        self._hours = int(np.ceil(cohort.days * 24)) + 48
        self._chance = [_chance(cohort.seed, number, self._hours) for number in cohort.numbers]
        keys = [jax.random.fold_in(jax.random.key(cohort.seed), number) for number in cohort.numbers]
        steps = round(cohort.days * 24 / STEP_H)
        with double_precision():
            self._true: InfectionParameters = jax.tree.map(
                lambda leaf: jnp.moveaxis(leaf[..., 0], 0, -1), _people()(jnp.stack(keys))
            )
            self._noise = np.asarray(_noise(steps)(jnp.stack(keys)))
            self._state: InfectionState = infection.initial(self._true)
        factor = 1.0
        if cohort.challenge in ("clearance_plus_30", "clearance_minus_30"):
            factor += CLEARANCE_CHANGE * (1 if "plus" in cohort.challenge else -1)
        self._live = _liver(kinetics, factor)
        self._pumps = [_Pump() for _ in range(n)]
        self._told = [0] * n
        self._requests = np.full(n, np.nan)
        self._pending: list[list[tuple[float, TwinEvent]]] = [[] for _ in range(n)]
        self._results: list[list[tuple[float, TwinEvent]]] = [[] for _ in range(n)]
        self._samples = np.zeros(n)
        self._first_result_h = np.full(n, np.nan)
        self._course: list[Values] = []
        self._areas: list[Values] = [np.zeros(n)]
        self._clearance: list[Values] = []
        self.at_s = START_S
        self.end_s = START_S + 86_400.0 * cohort.days
        self._creatinine_due_h = FIRST_CREATININE_H
        self.patients = tuple(self._enrolled(i) for i in range(n))

    @property
    def now_h(self) -> float:
        """Hours since the beginning."""
        return (self.at_s - START_S) / 3600.0

    def _enrolled(self, i: int) -> Patient:
        true, chance = self._true, self._chance[i]
        weight = float(true.weight_kg[i])
        if self._cohort.challenge == "wrong_weight":
            weight *= 1 + WEIGHT_ERROR * (1 if chance.heavier else -1)
        measured = float(self._state.creatinine[i]) * (1 + CREATININE_CV * chance.creatinine[0])
        return Patient(
            age_years=float(true.age_a[i]),
            weight_kg=weight,
            height_cm=float(true.height_cm[i]),
            sex="male" if true.male[i] > 0.5 else "female",
            creatinine_mg_dL=round(measured, 2),
        )

    def begin(self) -> list[list[TwinEvent]]:
        """Nothing but the enrolment."""
        return [[] for _ in self.patients]

    def sample_at(self, at_s: Sequence[float]) -> None:
        """When each policy wants the next level drawn (event time; NaN: none)."""
        self._requests = np.asarray(at_s, np.float64)

    def advance(self, orders: Sequence[Sequence[Order]]) -> list[list[TwinEvent]]:
        """Carry out the orders and live until the next decision."""
        begin_h, end_h = self.now_h, min(self.now_h + DECIDE_H, self._cohort.days * 24.0)
        misses = self._cohort.challenge == "missed_doses"
        for pump, own, chance in zip(self._pumps, orders, self._chance, strict=True):
            for order in own:
                pump.obey(order, begin_h, chance)
            pump.go_on(end_h, chance, misses)
        steps = round((end_h - begin_h) / STEP_H)
        first = round(begin_h / STEP_H)
        rates = np.stack([self._rates(pump, begin_h, steps) for pump in self._pumps], axis=1)
        with double_precision():
            self._state, (level, area, creatinine, clearance) = self._live(
                self._true, self._state, rates, self._noise[first : first + steps]
            )
        self._course.extend(np.asarray(level))
        self._areas.extend(np.asarray(area))
        self._clearance.extend(np.asarray(clearance))
        self.at_s = START_S + end_h * 3600.0
        self._draw(begin_h, end_h, np.asarray(level))
        while self._creatinine_due_h < end_h - 1e-9:
            self._measure_creatinine(self._creatinine_due_h, begin_h, np.asarray(creatinine))
            self._creatinine_due_h += CREATININE_H
        return [self._news(i, end_h) for i in range(len(self.patients))]

    def _rates(self, pump: _Pump, begin_h: float, steps: int) -> Values:
        """mg/h over each step, what the pump really gives."""
        edges = begin_h + STEP_H * np.arange(steps + 1)
        total = np.zeros(steps)
        share = 1 - PUMP_SHORT * (self._cohort.challenge == "pump_minus_10")
        for start, duration, amount in pump.given[-4:]:
            overlap = np.clip(
                np.minimum(edges[1:], start + duration) - np.maximum(edges[:-1], start), 0, None
            )
            total += amount * share / duration * overlap / STEP_H
        return total

    def _draw(self, begin_h: float, end_h: float, level: Values) -> None:
        for i, wanted_s in enumerate(self._requests):
            at_h = (wanted_s - START_S) / 3600.0
            if not begin_h <= at_h < end_h or self._pending[i]:
                continue
            chance, hour = self._chance[i], int(at_h)
            at_h = min(at_h + float(chance.drawn_late_h[hour]), end_h - STEP_H)
            step = int((at_h - begin_h) / STEP_H)
            true = float(level[step, i])
            seen = true * (1 + ASSAY_CV * chance.assay[0, hour]) + ASSAY_SD * chance.assay[1, hour]
            lost = self._cohort.challenge == "sensor_loss" and (self._samples[i] == 0 or chance.lost[hour])
            self._samples[i] += 1
            if not lost:
                fact = self._fact(i, "observation", "vancomycin", at_h, max(seen, 0.5))
                self._pending[i].append((at_h + float(chance.lab_h[hour]), fact))
        self._requests = np.full(len(self.patients), np.nan)

    def _measure_creatinine(self, at_h: float, begin_h: float, creatinine: Values) -> None:
        step = int((at_h - begin_h) / STEP_H)
        for i, chance in enumerate(self._chance):
            value = creatinine[step, i] * (1 + CREATININE_CV * chance.creatinine[int(at_h)])
            fact = self._fact(i, "covariate", "creatinine", at_h, round(float(value), 2))
            self._results[i].append((at_h + 1.0, fact))

    def _news(self, i: int, now_h: float) -> list[TwinEvent]:
        told: list[TwinEvent] = []
        pump = self._pumps[i]
        begun = [dose for dose in pump.given if dose[0] < now_h]
        for start, duration, amount in begun[self._told[i] :]:
            told.append(self._fact(i, "infusion", "vancomycin", start, amount, duration))
        self._told[i] = len(begun)
        for waiting in (self._pending[i], self._results[i]):
            ready = [item for item in waiting if item[0] <= now_h]
            waiting[:] = [item for item in waiting if item[0] > now_h]
            for _, fact in ready:
                told.append(fact)
                if fact.kind == "observation" and np.isnan(self._first_result_h[i]):
                    self._first_result_h[i] = now_h
        return told

    def _fact(
        self, i: int, kind: Any, name: str, at_h: float, value: float, duration_h: float = 0.0
    ) -> TwinEvent:
        code = {"observation": 1, "covariate": 2, "infusion": 3}[kind]
        uid = (round(at_h * 3600.0) * 4 + code) * 1_000_003 + self._cohort.numbers[i]
        return TwinEvent(START_S + at_h * 3600.0, kind, name, value, uid, duration_h * 3600.0)

    def outcome(self) -> Outcome:
        """What became of the patients (`vancomycin_measures`)."""
        return outcome(
            np.array(self._areas),
            np.array(self._course),
            np.array(self._clearance),
            self._first_result_h,
            self._samples,
            STEP_H,
        )


@cache
def _people() -> Callable[..., InfectionParameters]:
    return jax.jit(jax.vmap(partial(infection.sample_population, n=1)))


@cache
def _noise(steps: int) -> Callable[..., Any]:
    def one(key: Any) -> Any:
        return jax.random.normal(jax.random.fold_in(key, 9), (steps,))

    return jax.jit(lambda keys: jax.vmap(one)(keys).T)


@cache
def _liver(kinetics: Kinetics, factor: float) -> Callable[..., Any]:
    """Compiled: (parameters, state, rates [T, n], noise [T, n]) -> state, (levels, areas, creatinine, CL)."""

    def own(p: InfectionParameters, CLcr: Any) -> Any:
        K = kinetics(p, CLcr)
        return K.at[0].multiply(factor)

    def live(p: InfectionParameters, state: InfectionState, rates: Any, noise: Any) -> Any:
        def step(state: InfectionState, given: Any) -> Any:
            state = infection.step(p, state, InfectionInputs(*given), STEP_H, own)
            CL, V1, _, _ = own(p, infection.creatinine_clearance_mL_min(p, state))
            return state, (state.A[0] / V1, state.auc, state.creatinine, CL)

        return jax.lax.scan(step, state, (rates, noise))

    return jax.jit(live)
