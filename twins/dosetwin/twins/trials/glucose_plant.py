"""The trial's plant for type-1 diabetes: UVA/Padova patients with a sensor and a pump, a decision each 5 min.

A trial begins at midnight after six hours on the basal programme without food. What happens is a function of
(seed, patient's number) alone: see `plants.diabetes_day`, `diabetes_sensor`, `diabetes_site`,
`diabetes_life`. A meal that begins at the moment of a decision has been announced before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.plants import diabetes_day, diabetes_site
from dosetwin.twins.plants import diabetes_sensor as sensor
from dosetwin.twins.plants.diabetes_day import DAY_MIN, Day, day_of, eating_g_per_min
from dosetwin.twins.plants.diabetes_life import Minutes, begin, live
from dosetwin.twins.plants.diabetes_population import sample_numbered
from dosetwin.twins.plants.diabetes_settings import ClinicalSettings, clinical_settings
from dosetwin.twins.trials.glucose_measures import glucose_measures
from dosetwin.twins.trials.glucose_options import chosen
from dosetwin.twins.trials.glucose_patients import enrol
from dosetwin.twins.trials.glucose_pump import Devices, InsulinPumps
from dosetwin.twins.trials.trial import Cohort, Outcome

Floats = npt.NDArray[np.float64]

START_S = 1_767_571_200.0
"""2026-01-05T00:00Z, a Monday; local time is UTC."""
STEP_MIN = 5
RUN_IN_MIN = 360
SENSOR_LOSS_MIN = 30
MISSED = 0.1
RESCUE_BELOW_MG_DL, RESCUE_G, RESCUE_AFTER_MIN, RESCUE_PAUSE_MIN = 65.0, 15.0, 10, 30
NOTICED_AWAKE, NOTICED_ASLEEP = 0.9, 0.5
KINDS = {"observation": 1, "rate": 2, "bolus": 3, "meal": 4, "announcement": 5}


class GlucosePlant:
    """Type-1 diabetes on the UVA/Padova model of 2008, structurally not the twin's.

    Adults, adolescents and children; meals and snacks at 5 g/min, sensitivity that drifts and dips at dawn, a
    sensor with lag, noise that remembers (Breton & Kovatchev 2008) and drop-outs, a pump with increments. It
    has no counter-regulation: a low ends by less insulin or by sugar.

    See `trial.TrialPlant`; raises DoseTwinError on an unknown group, challenge or option.
    """

    def __init__(self, cohort: Cohort) -> None:
        self._options = chosen(cohort.options, cohort.challenge)
        self._cohort, self._group = cohort, cohort.group or "adult"
        n = len(cohort.numbers)
        key = jax.random.key(cohort.seed)
        numbers = jnp.asarray(list(cohort.numbers))
        p = sample_numbered(jax.random.fold_in(key, 1), numbers, self._group)
        settings = clinical_settings(p)
        if self._options["variability"] == "no":
            p = p._replace(dawn=jnp.zeros(n), drift_sd=jnp.zeros(n))
        self._p = p
        self._keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, 2), numbers)
        self._state = begin(p, self._keys)
        factor = {"sensitivity_plus_30": 1.3, "sensitivity_minus_30": 0.7}.get(cohort.challenge, 1.0)
        self._factor = jnp.full(n, factor)
        self.patients: tuple[Patient, ...] = enrol(settings, cohort.seed, cohort.numbers, cohort.challenge)
        self._pumps = self._devices(settings, 0.9 if cohort.challenge == "pump_minus_10" else 1.0)
        days = math.ceil(cohort.days) + 1  # the run-in's evening takes the sensor's first day
        errors = [sensor.sensor_errors(cohort.seed, number, days) for number in cohort.numbers]
        self._noise = np.stack([e.noise_mg_dL for e in errors]) * (self._options["noise"] == "yes")
        self._heard = np.stack([e.heard for e in errors]) | (self._options["dropouts"] == "no")
        lying = self._options["compression"] == "yes"
        self._scale = np.stack([e.scale if lying else np.ones_like(e.scale) for e in errors])
        self._minute = -RUN_IN_MIN
        self.at_s = START_S
        self.end_s = START_S + 60.0 * STEP_MIN * round(cohort.days * DAY_MIN / STEP_MIN)
        self._today = -1
        self._days: list[Day] = []
        self._rescue_min = np.full(n, -DAY_MIN)
        self._set_began_min = np.full(n, float(diabetes_site.CHANGE_MIN - DAY_MIN))
        self._set_number = np.zeros(n, int)
        self._fails_min = self._set_failures()
        self._high_since_min = np.full(n, np.inf)
        self._told: dict[tuple[int, str, int], int] = {}
        self._told_min = self._minute
        self._lived: dict[str, list[Floats]] = {
            "plasma_glucose": [],
            "sensor_glucose": [],
            "insulin": [],
            "carbohydrate": [],
        }

    def _devices(self, settings: ClinicalSettings, delivered_share: float) -> Devices:
        """What gives the insulin."""
        return InsulinPumps(settings.basal_U_per_h, delivered_share)

    def _at_first(self, facts: list[list[TwinEvent]]) -> None:
        """What the devices say when the run-in begins."""
        for i, rate in enumerate(self._pumps.rate_U_per_h):
            facts[i].append(self._fact(i, "rate", "insulin", float(rate), self._minute))

    def begin(self) -> list[list[TwinEvent]]:
        """The programme and the readings of the run-in."""
        facts: list[list[TwinEvent]] = [[] for _ in self.patients]
        self._at_first(facts)
        while self._minute < 0:
            self._live(facts)
        for values in self._lived.values():
            values.clear()
        return facts

    def advance(self, orders: Sequence[Sequence[Order]]) -> list[list[TwinEvent]]:
        """Five minutes: orders, meals, a reading."""
        facts: list[list[TwinEvent]] = [[] for _ in self.patients]
        self._wake()
        for i, given in enumerate(orders):
            missed = self._cohort.challenge == "missed_doses" and self._answer(i) < MISSED
            if given and not missed:
                for kind, drug, amount in self._pumps.take(i, given, self._minute):
                    facts[i].append(self._fact(i, kind, drug, amount, self._minute))
        self._live(facts)
        self.at_s = START_S + 60.0 * self._minute
        return facts

    def outcome(self) -> Outcome:
        """Measures of plasma glucose; traces each 5 min: mg/dL, mg/dL, U and g of the 5 min before."""
        traces = {name: np.stack(values, axis=1) for name, values in self._lived.items()}
        steps = traces["plasma_glucose"].shape[1]
        time_s = START_S + 60.0 * STEP_MIN * np.arange(1, steps + 1)
        measures = glucose_measures(traces["plasma_glucose"])
        return Outcome({**measures}, time_s, {**traces})

    def _live(self, facts: list[list[TwinEvent]]) -> None:
        self._wake()
        n, at = len(self.patients), self._minute
        insulin = np.empty((STEP_MIN, n))
        for k in range(STEP_MIN):
            insulin[k], ended = self._pumps.minute(at + k)
            for i in ended:
                facts[i].append(
                    self._fact(int(i), "rate", "insulin", float(self._pumps.rate_U_per_h[i]), at + k)
                )
        if self._options["site_failure"] == "yes":
            lies = at - self._set_began_min
            insulin = insulin * diabetes_site.delivered_fraction(lies, self._fails_min)
        clock = at % DAY_MIN
        eaten = self._eaten[clock : clock + STEP_MIN] if at >= 0 else np.zeros((STEP_MIN, n))
        since = at + np.arange(STEP_MIN)[:, None] - self._rescue_min - RESCUE_AFTER_MIN
        sugar = (since >= 0) & (since < RESCUE_G / diabetes_day.EATING_G_PER_MIN)
        eaten = eaten + diabetes_day.EATING_G_PER_MIN * sugar
        beats = self._beats[clock : clock + STEP_MIN] if at >= 0 else np.zeros((STEP_MIN, n))
        # as NumPy's: JAX takes them over faster than it makes arrays of its own
        given: tuple[Any, ...] = tuple(rates.astype(np.float32) for rates in (insulin, eaten, beats))
        self._state, plasma, interstitial = live(
            self._p, self._state, self._keys, at, self._factor, Minutes(*given)
        )
        self._minute = at + STEP_MIN
        shown = self._read(facts, np.asarray(interstitial, float)[-1])
        self._people(facts, shown)
        self._lived["plasma_glucose"].append(np.asarray(plasma, float)[-1])
        self._lived["sensor_glucose"].append(shown)
        self._lived["insulin"].append(insulin.sum(axis=0))
        self._lived["carbohydrate"].append(eaten.sum(axis=0))

    def _read(self, facts: list[list[TwinEvent]], interstitial_mg_dL: Floats) -> Floats:
        """The readings now; NaN where a sensor is not heard."""
        step = (self._minute + DAY_MIN) // STEP_MIN - 1
        value, beyond = sensor.shown_mg_dL(interstitial_mg_dL, self._noise[:, step], self._scale[:, step])
        heard = self._heard[:, step].copy()
        if self._cohort.challenge == "sensor_loss" and self._minute > 0:
            lost = np.array([day.sensor_loss_min for day in self._days])
            since = self._minute - self._today * DAY_MIN - lost
            heard &= ~((since >= 0) & (since < SENSOR_LOSS_MIN))
        for i in np.flatnonzero(heard):
            facts[i].append(
                self._fact(int(i), "observation", "glucose", float(value[i]), self._minute, int(beyond[i]))
            )
        return np.where(heard, value, np.nan)

    def _people(self, facts: list[list[TwinEvent]], shown_mg_dL: Floats) -> None:
        """What people do: announce meals and exercise that begin now, eat sugar, change the infusion set."""
        now, n = self._minute, len(self.patients)
        if now < 0 or now >= (self.end_s - START_S) / 60.0:
            return
        self._wake()
        clock = now - self._today * DAY_MIN
        for i, day in enumerate(self._days):
            if self._options["announced"] == "yes":
                for begins, grams, snack, wrong in zip(
                    day.meal_min, day.meal_g, day.snack, day.miscount, strict=True
                ):
                    if begins == clock and (not snack or self._options["snacks"] == "yes"):
                        factor = wrong if self._cohort.challenge == "wrong_carbohydrate" else 1.0
                        counted = max(float(np.rint(grams * factor)), 1.0)
                        facts[i].append(self._fact(i, "meal", "carbohydrate", counted, now))
            starts = clock - STEP_MIN < day.exercise_min <= clock and day.exercise_min >= 0
            if self._options["exercise"] == "announced" and starts:
                lasts_s = 60.0 * day.exercise_lasts_min
                facts[i].append(self._fact(i, "announcement", "exercise", 1.0, now, duration_s=lasts_s))
        awake = diabetes_site.AWAKE_FROM_MIN <= clock < diabetes_site.AWAKE_TO_MIN
        if self._options["rescue"] == "yes":
            notices = NOTICED_AWAKE if awake else NOTICED_ASLEEP
            answers = np.array([1.0 - self._answer(i) for i in range(n)])
            free = now >= self._rescue_min + RESCUE_PAUSE_MIN
            eats = free & (shown_mg_dL < RESCUE_BELOW_MG_DL) & (answers < notices)
            self._rescue_min = np.where(eats, now, self._rescue_min)
        if self._options["site_failure"] == "yes":
            high = shown_mg_dL > diabetes_site.NOTICED_ABOVE_MG_DL
            begins_high = np.minimum(self._high_since_min, float(now))
            self._high_since_min = np.where(
                high, begins_high, np.where(np.isnan(shown_mg_dL), self._high_since_min, np.inf)
            )
            due = now - self._set_began_min >= diabetes_site.SET_LASTS_DAYS * DAY_MIN
            noticed = now - self._high_since_min >= diabetes_site.NOTICED_AFTER_MIN
            for who in np.flatnonzero(due | (noticed & awake)):
                self._set_number[who] += 1
                self._set_began_min[who], self._high_since_min[who] = float(now), np.inf
                facts[who].append(self._fact(int(who), "announcement", "site_change", 1.0, now))
            self._fails_min = self._set_failures()

    def _wake(self) -> None:
        """What the day that begins now holds for each patient."""
        today = max(self._minute, 0) // DAY_MIN
        if today == self._today:
            return
        self._today = today
        self._days = [
            day_of(self._cohort.seed, number, today, self._group) for number in self._cohort.numbers
        ]
        snacks = self._options["snacks"] == "yes"
        self._eaten = np.stack([eating_g_per_min(day, snacks) for day in self._days], axis=1)
        self._beats = np.zeros((DAY_MIN, len(self._days)))
        if self._options["exercise"] != "no":
            for i, day in enumerate(self._days):
                if day.exercise_min >= 0:
                    lasts = slice(day.exercise_min, day.exercise_min + day.exercise_lasts_min)
                    self._beats[lasts, i] = day.heart_rate_rise_per_min

    def _answer(self, patient: int) -> float:
        return float(self._days[patient].answers[self._minute % DAY_MIN // STEP_MIN])

    def _set_failures(self) -> Floats:
        return np.array(
            [
                diabetes_site.failure_min(self._cohort.seed, number, int(count))
                for number, count in zip(self._cohort.numbers, self._set_number, strict=True)
            ]
        )

    def _fact(
        self,
        patient: int,
        kind: str,
        name: str,
        value: float,
        at_min: int,
        censored: int = 0,
        duration_s: float = 0.0,
    ) -> TwinEvent:
        number = self._cohort.numbers[patient]
        moment = (patient, kind, at_min)
        if at_min != self._told_min:
            self._told, self._told_min = {}, at_min
        serial = self._told[moment] = self._told.get(moment, 0) + 1
        identity = np.random.SeedSequence([self._cohort.seed, number, KINDS[kind], at_min + DAY_MIN, serial])
        return TwinEvent(
            at_s=START_S + 60.0 * at_min,
            kind=kind,  # type: ignore[arg-type]
            name=name,
            value=value,
            uid=int(identity.generate_state(1, np.uint64)[0]),
            duration_s=duration_s,
            censored=censored,
        )
