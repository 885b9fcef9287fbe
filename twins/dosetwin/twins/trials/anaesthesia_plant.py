"""Operations in lock-step: n adults with pumps and monitors, from awake to the end of surgery.

A decision is due every DECISION_S seconds from the beginning of induction. The index and the heart rate
arrive every 5 s, the pressure every 60 s from a cuff (every 5 s with an arterial line).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient
from dosetwin.twins.plants.anaesthesia import (
    AnaesthesiaInputs,
    AnaesthesiaTrace,
    advance,
    initial,
    parameters,
)
from dosetwin.twins.plants.anaesthesia_people import People, harder, people
from dosetwin.twins.plants.anaesthesia_surgery import Surgery, surgery
from dosetwin.twins.trials.anaesthesia_measures import measured
from dosetwin.twins.trials.anaesthesia_pump import DRUGS, Delivered, Pumps
from dosetwin.twins.trials.trial import Cohort, Outcome

DECISION_S = 10
READING_S = 5
CUFF_S = 60
AWAKE_S = 60
"""Readings before the first decision."""
ANNOUNCED_AHEAD_S = 60.0
BEGINS_AT_S = 1_767_254_400.0
"""2026-01-01 08:00 UTC: any event time would do."""
LOST_SHARE = 0.10
WRONG_WEIGHT = 0.25
DIFFICULT_STIMULI = 1.5
CHALLENGES: Mapping[str, str] = {
    "wrong_weight": "the weight on the chart is 25 % too high or too low, half of the patients each",
    "clearance_plus_30": "both drugs are cleared 30 % faster",
    "clearance_minus_30": "both drugs are cleared 30 % more slowly",
    "sensitivity_plus_30": "both drugs act on the brain at concentrations 1.3 times lower",
    "sensitivity_minus_30": "both drugs are 30 % less potent on the brain",
    "sensor_loss": "no index for 30 minutes of maintenance",
    "sensor_loss_5_min": "no index for 5 minutes of maintenance",
    "missed_doses": "a tenth of the orders never reaches the pump",
    "pump_minus_10": "both pumps deliver 10 % less than they report",
    "bleeding": "a fifth of the blood is lost within a quarter of an hour and partly replaced",
}
OPTIONS: Mapping[str, str] = {
    "announced": "yes (default): intubation and incision are announced a minute ahead; no: nothing is",
    "pressure": "cuff (default): every minute; line: every 5 seconds",
}
CHOICES: Mapping[str, tuple[str, ...]] = {"announced": ("yes", "no"), "pressure": ("cuff", "line")}


class OperatingTheatres:
    """The TrialPlant.

    `circulation`: whose ("surgical", "volunteers"). `difficult`: the people of `harder`, and stimuli
    DIFFICULT_STIMULI times as strong. Raises DoseTwinError for a challenge or an option it does not know.
    """

    def __init__(self, cohort: Cohort, circulation: str = "surgical", difficult: bool = False) -> None:
        self.cohort = cohort
        self.options = {name: cohort.options.get(name, values[0]) for name, values in CHOICES.items()}
        self._check()
        n, seed = len(cohort.numbers), cohort.seed
        self.decisions = max(1, round(cohort.days * 86_400.0 / DECISION_S))
        drawn = people(cohort.numbers, seed, cohort.group, circulation)
        self.people = challenged(harder(drawn) if difficult else drawn, cohort.challenge)
        self.patients = tuple(self._enrolled(i) for i in range(n))
        self.at_s = BEGINS_AT_S
        self.end_s = BEGINS_AT_S + self.decisions * DECISION_S
        bleeding = cohort.challenge == "bleeding"
        self.surgeries: list[Surgery] = [
            surgery(self._chance(k, 2), self.decisions * DECISION_S, bleeding=bleeding)
            for k in cohort.numbers
        ]
        self.parameters = parameters(self.people, cohort.numbers, seed)
        self.state = initial(self.parameters)
        self.pumps = Pumps(n, gain=0.9 if cohort.challenge == "pump_minus_10" else 1.0)
        strength = DIFFICULT_STIMULI if difficult else 1.0
        self._stimulus = self._by_second([strength * one.stimulus for one in self.surgeries])
        self._loss = self._by_second([one.loss for one in self.surgeries])
        self._bias = self._by_second([self._without_index(one, k) for k, one in self._numbered()])
        self._lost = np.zeros((self.decisions, 2, n), bool)
        if cohort.challenge == "missed_doses":
            draws = [self._chance(k, 4).uniform(size=(self.decisions, 2)) for k in cohort.numbers]
            self._lost = np.stack(draws, axis=-1) < LOST_SHARE
        self._second = 0
        self._told = [0] * n
        self._rows: list[npt.NDArray[np.float32]] = []

    def begin(self) -> list[list[TwinEvent]]:
        """A minute of readings from the awake patients, and pumps that stand still."""
        facts: list[list[TwinEvent]] = [[] for _ in self.patients]
        none: list[tuple[Order, ...]] = [() for _ in self.patients]
        for _ in range(AWAKE_S // DECISION_S):
            for mine, new in zip(facts, self._live(none, np.zeros_like(self._lost[0])), strict=True):
                mine.extend(new)
        self._rows.clear()
        return facts

    def advance(self, orders: Sequence[Sequence[Order]]) -> list[list[TwinEvent]]:
        """Ten seconds under these orders; what arrived of each patient meanwhile."""
        if len(orders) != len(self.patients):
            raise DoseTwinError(f"orders for {len(orders)} patients; expected {len(self.patients)}")
        decision = (self._second - AWAKE_S) // DECISION_S
        facts = self._live(orders, self._lost[decision])
        self.at_s += DECISION_S
        return facts

    def outcome(self) -> Outcome:
        """Measures of `anaesthesia_measures`; traces every DECISION_S seconds."""
        rows = np.stack(self._rows, axis=-1)
        time_s = BEGINS_AT_S + DECISION_S * (1 + np.arange(rows.shape[-1], dtype=np.float64))
        traces = dict(zip(TRACES, rows, strict=True))
        return Outcome(measured(self, time_s - BEGINS_AT_S, traces), time_s, traces)

    def _live(self, orders: Sequence[Sequence[Order]], lost: npt.NDArray[np.bool_]) -> list[list[TwinEvent]]:
        now = slice(self._second, self._second + DECISION_S)
        delivered = self.pumps.run(orders, lost, DECISION_S)
        inputs = AnaesthesiaInputs(
            *jax.device_put(
                (delivered.rates_per_min.astype(np.float32), self._stimulus[now], self._loss[now])
            )
        )
        self.state, trace = advance(self.parameters, self.state, inputs, self._second)
        seen: AnaesthesiaTrace = jax.device_get(trace)
        self._rows.append(self._row(seen, delivered, now))
        facts = self._reports(delivered)
        self._readings(facts, seen)
        self._second += DECISION_S
        return facts

    def _row(self, seen: AnaesthesiaTrace, delivered: Delivered, now: slice) -> npt.NDArray[np.float32]:
        shown = np.clip(seen.shown_bis[-1] + self._bias[now][-1], 0.0, 100.0)
        values = [seen.bis[-1], shown, seen.pressure[-1], seen.heart_rate[-1], *seen.effect_site[-1]]
        values += [*seen.plasma[-1], *(delivered.rates_per_min.mean(axis=0) * 60.0), seen.arousal[-1]]
        values += [self._stimulus[now][-1], self._loss[now][-1], *seen.wandering[-1]]
        return np.stack(values).astype(np.float32)

    def _reports(self, delivered: Delivered) -> list[list[TwinEvent]]:
        facts: list[list[TwinEvent]] = [[] for _ in self.patients]
        at = self._time(0)
        for i, d, s, rate in delivered.changes:
            facts[i].append(TwinEvent(at + s, "rate", DRUGS[d], rate, self._uid(i, s, 4 + d)))
        for i, d, s, amount, lasts in delivered.boluses:
            uid = self._uid(i, s, 6 + d)
            facts[i].append(TwinEvent(at + s, "infusion", DRUGS[d], amount, uid, duration_s=float(lasts)))
        if self.options["announced"] == "yes":
            until = at + DECISION_S + ANNOUNCED_AHEAD_S
            for i, one in enumerate(self.surgeries):
                while (
                    self._told[i] < len(one.announced)
                    and until >= BEGINS_AT_S + one.announced[self._told[i]][1]
                ):
                    name, when, strength, lasts_s = one.announced[self._told[i]]
                    uid = self._uid(i, 0, 8 + self._told[i])
                    facts[i].append(
                        TwinEvent(BEGINS_AT_S + when, "announcement", name, strength, uid, duration_s=lasts_s)
                    )
                    self._told[i] += 1
        return facts

    def _readings(self, facts: list[list[TwinEvent]], seen: AnaesthesiaTrace) -> None:
        line = self.options["pressure"] == "line"
        for s in range(READING_S - 1, DECISION_S, READING_S):
            at = self._time(s + 1)
            bias = self._bias[self._second + s]
            index = np.rint(np.clip(seen.shown_bis[s] + bias, 0.0, 100.0)).tolist()
            rate = np.rint(seen.shown_heart_rate[s]).tolist()
            for i, mine in enumerate(facts):
                if index[i] == index[i]:  # not where the monitor shows none
                    mine.append(TwinEvent(at, "observation", "bis", index[i], self._uid(i, s, 0)))
                mine.append(TwinEvent(at, "observation", "heart_rate", rate[i], self._uid(i, s, 1)))
            cuffed = (self._second + s + 1) % CUFF_S == 0
            if line or cuffed:
                pressure = np.rint(np.maximum(seen.line[s] if line else seen.cuff[s], 0.0)).tolist()
                minute = (self._second + s) // CUFF_S
                for i, mine in enumerate(facts):
                    if (
                        line
                        or not self.surgeries[i].pressure_fails[
                            min(minute, len(self.surgeries[i].pressure_fails) - 1)
                        ]
                    ):
                        uid = self._uid(i, s, 2)
                        mine.append(TwinEvent(at, "observation", "mean_arterial_pressure", pressure[i], uid))

    def _time(self, second: int) -> float:
        return BEGINS_AT_S + self._second - AWAKE_S + second

    def _uid(self, i: int, second: int, channel: int) -> int:
        """The same fact has the same uid whatever the policy and whoever is simulated beside."""
        return (self.cohort.numbers[i] << 32) + ((self._second + second) << 4) + channel

    def _chance(self, number: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.cohort.seed, number, stream])

    def _numbered(self) -> list[tuple[int, Surgery]]:
        return list(zip(self.cohort.numbers, self.surgeries, strict=True))

    def _by_second(self, rows: Sequence[npt.NDArray[np.floating[Any]]]) -> npt.NDArray[np.float32]:
        """[seconds, n], the awake minute first."""
        columns = np.stack(rows, axis=-1).astype(np.float32)
        return np.concatenate([np.zeros((AWAKE_S, len(rows)), np.float32), columns])

    def _without_index(self, one: Surgery, number: int) -> npt.NDArray[np.float64]:
        minutes = {"sensor_loss": 30.0, "sensor_loss_5_min": 5.0}.get(self.cohort.challenge, 0.0)
        bias = one.bias.copy()
        if minutes:
            seconds = len(bias)
            lasts = min(60.0 * minutes, seconds / 2)
            at = self._chance(number, 3).uniform(min(1800.0, seconds / 2), max(seconds - lasts, seconds / 2))
            bias[int(at) : int(at + lasts)] = np.nan
        return bias

    def _enrolled(self, i: int) -> Patient:
        body = self.people.body
        weight = float(body.weight_kg[i])
        if self.cohort.challenge == "wrong_weight":
            heavier = self._chance(self.cohort.numbers[i], 5).uniform() < 0.5
            weight *= 1 + WRONG_WEIGHT if heavier else 1 - WRONG_WEIGHT
        return Patient(
            age_years=round(float(body.age_a[i]), 1),
            weight_kg=round(weight, 1),
            height_cm=round(float(body.height_cm[i]), 1),
            sex=float(body.male[i]),
        )

    def _check(self) -> None:
        if self.cohort.challenge not in ("", *CHALLENGES):
            raise DoseTwinError(
                f"no challenge {self.cohort.challenge!r}", remedy=f"choose one of {', '.join(CHALLENGES)}"
            )
        for name, value in self.cohort.options.items():
            if value not in CHOICES.get(name, ()):
                raise DoseTwinError(
                    f"no option {name}={value}", remedy="; ".join(f"{n}: {w}" for n, w in OPTIONS.items())
                )


TRACES = (
    "bis",
    "shown_bis",
    "mean_arterial_pressure",
    "heart_rate",
    "propofol_effect_site",
    "remifentanil_effect_site",
    "propofol_plasma",
    "remifentanil_plasma",
    "propofol_rate",
    "remifentanil_rate",
    "arousal",
    "stimulus",
    "blood_loss",
    "c50_factor",
    "tone_factor",
)
"""bis 0-100, true and as displayed (NaN where not); mm[Hg]; /min; ug/mL and ng/mL; mg/h and ug/h.

What does not depend on the policy: stimulus (1 an incision), blood_loss (a fraction), and the factors that
wander."""


def challenged(given: People, challenge: str) -> People:
    """The people with kinetics or response changed as the challenge says."""
    cleared = {"clearance_plus_30": 1.3, "clearance_minus_30": 0.7}.get(challenge, 1.0)
    potency = {"sensitivity_plus_30": 1.3, "sensitivity_minus_30": 0.7}.get(challenge, 1.0)
    response = given.response._replace(
        C50_propofol=given.response.C50_propofol / potency,
        C50_remifentanil=given.response.C50_remifentanil / potency,
    )
    return given._replace(
        propofol=given.propofol._replace(CL1=given.propofol.CL1 * cleared),
        remifentanil=given.remifentanil._replace(CL1=given.remifentanil.CL1 * cleared),
        response=response,
    )
