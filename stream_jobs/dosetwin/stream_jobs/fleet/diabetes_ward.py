"""Patients with type-1 diabetes: plants, sensor, pump, pen, meals, and what people do about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import EnrolledDevice, Enrolment, Measure, Sample
from dosetwin.stream_jobs.fleet import checkpoint
from dosetwin.stream_jobs.fleet.agenda import Agenda, Appointment
from dosetwin.stream_jobs.fleet.devices import meal_app, pillbox, smart_pen
from dosetwin.stream_jobs.fleet.devices.cgm import GlucoseMonitors
from dosetwin.stream_jobs.fleet.devices.insulin_pump import InsulinPump, round_down
from dosetwin.stream_jobs.fleet.devices.wearable import Wearables
from dosetwin.stream_jobs.fleet.faults import FleetFaults
from dosetwin.stream_jobs.fleet.outgoing import Outgoing
from dosetwin.stream_jobs.fleet.people import Person, device_name
from dosetwin.stream_jobs.gateway.device import CommandedDevice, Voice
from dosetwin.twins.plants import diabetes, haemodynamics
from dosetwin.twins.plants.diabetes_population import sample_population

Floats = npt.NDArray[np.float64]

MEALS: tuple[tuple[float, float, float], ...] = (
    (7.5, 45.0, 0.95),
    (12.5, 65.0, 0.95),
    (18.5, 70.0, 0.97),
    (21.5, 20.0, 0.4),
)
"""Local hour, carbohydrate in g, probability."""
EATING_S = 900.0
STATUS_EVERY_S = 1800.0
RESCUE_BELOW_MG_DL = 65.0
RESCUE_G = 15.0
RESCUE_PAUSE_S = 1800.0
PEN_SHARE = 0.3
"""Of the patients whose loop is not closed: with a late report, a closed loop would bolus a meal twice."""
BASAL_SHARE = 0.5
"""Of the total daily dose."""


@partial(jax.jit, static_argnames="substeps")
def _live(
    plant: diabetes.DiabetesParameters,
    vessel: haemodynamics.HaemodynamicParameters,
    state: diabetes.DiabetesState,
    pulse: haemodynamics.HaemodynamicState,
    key: jax.Array,
    insulin_U_per_min: jax.Array,
    carbohydrate_g_per_min: jax.Array,
    hour: jax.Array,
    dt_min: jax.Array,
    substeps: int,
) -> tuple[diabetes.DiabetesState, haemodynamics.HaemodynamicState, jax.Array]:
    """One tick of all patients; also the interstitial glucose after each substep [substeps, n], mg/dL."""

    def substep(
        carry: tuple[diabetes.DiabetesState, haemodynamics.HaemodynamicState], i: jax.Array
    ) -> tuple[tuple[diabetes.DiabetesState, haemodynamics.HaemodynamicState], jax.Array]:
        state, pulse = carry
        z = jax.random.normal(jax.random.fold_in(key, i), (4, insulin_U_per_min.shape[0]))
        now = jnp.mod(hour + i * dt_min / 60.0, 24.0)
        state = diabetes.step(
            plant,
            state,
            diabetes.DiabetesInputs(insulin_U_per_min, carbohydrate_g_per_min, now, z[0]),
            dt_min,
        )
        glucose = diabetes.plasma_glucose_mg_dL(plant, state)
        normal_temperature = jnp.full_like(glucose, 37.0)
        pulse = haemodynamics.step(
            vessel,
            pulse,
            haemodynamics.HaemodynamicInputs(glucose, normal_temperature, now, z[1:]),
            dt_min,
        )
        return (state, pulse), diabetes.interstitial_glucose_mg_dL(plant, state)

    (state, pulse), trace = jax.lax.scan(substep, (state, pulse), jnp.arange(substeps))
    return state, pulse, trace


class DiabetesWard:
    """See `ward.Ward`."""

    therapy = "t1d-insulin"
    warm_up_s = 6 * 3600.0
    substep_s = 60.0

    def __init__(
        self, people: Sequence[Person], faults: FleetFaults, seed: int, boot: str, begin_s: float
    ) -> None:
        n = len(people)
        self._people, self._faults, self._seed = people, faults, seed
        key = jax.random.key(seed)
        self._key = jax.random.fold_in(key, 1)
        self._plant = sample_population(jax.random.fold_in(key, 2), n)
        self._vessel = haemodynamics.sample_population(jax.random.fold_in(key, 3), n)
        self._state = diabetes.initial(self._plant)
        self._pulse = haemodynamics.initial(self._vessel)
        rng = np.random.default_rng([seed, 0xD1])
        self._weight = np.asarray(self._plant.BW, dtype=float)
        basal = np.asarray(self._plant.basal_U_per_h, dtype=float)
        self._programme = basal * np.exp(0.1 * np.clip(rng.standard_normal(n), -2, 2) - 0.05)
        self._daily_dose = self._programme * 24.0 / BASAL_SHARE
        self._local_shift_h: Floats = rng.uniform(0.0, 24.0, n)
        self._age = np.clip(rng.normal(45.0, 15.0, n), 18.0, 85.0)
        self._height = np.clip(rng.normal(172.0, 9.0, n), 145.0, 205.0)
        self._male = rng.random(n) < 0.5
        closed = np.array([person.mode == "autonomous" for person in people])
        self._uses_pen = (rng.random(n) < PEN_SHARE) & ~closed
        self._has_pillbox = rng.random(n) < pillbox.SHARE
        self._eating_until_s: Floats = np.zeros(n)
        self._eating_g_per_min: Floats = np.zeros(n)
        self._rescue_after_s: Floats = np.zeros(n)
        self._cgms = GlucoseMonitors(n, faults, seed)
        self._wearables = Wearables(n, faults, seed)
        self._status_phase_s: Floats = rng.uniform(0.0, STATUS_EVERY_S, n)
        self._agenda = Agenda()
        self.time_s = begin_s
        self._tick = 0
        voices = [
            {kind: Voice(person.patient, device_name(kind, person), boot) for kind in self._kinds(i)}
            for i, person in enumerate(people)
        ]
        self._voices = voices
        self._pumps = [
            InsulinPump(voices[i]["insulin_pump"], float(self._programme[i]), self.time_s) for i in range(n)
        ]
        self.devices: dict[tuple[str, str], CommandedDevice] = {
            (pump.voice.patient, pump.voice.device): pump for pump in self._pumps
        }
        for i in range(n):
            for meal in range(len(MEALS)):
                self._plan_meal(i, meal, self.time_s)
            if self._has_pillbox[i]:
                for hour in pillbox.HOURS:
                    self._agenda.add(self._next_local(i, hour, self.time_s), "tablet", i)

    def enrolments(self, start_s: float) -> list[Enrolment]:
        """The patients' first enrolments, to be watched from `start_s` on."""
        return [
            Enrolment(
                patient=person.patient,
                version=1,
                therapy=self.therapy,
                mode=person.mode,
                at=instant(start_s),
                ward=person.ward,
                covariates={
                    "weight": Measure(round(float(self._weight[i]), 1), "kg"),
                    "total_daily_dose": Measure(round(float(self._daily_dose[i]), 1), "U"),
                    "age": Measure(round(float(self._age[i])), "a"),
                    "height": Measure(round(float(self._height[i])), "cm"),
                    "sex": Measure(float(self._male[i]), "1"),
                },
                devices=tuple(
                    EnrolledDevice(device=voice.device, kind=kind, commands=kind == "insulin_pump")
                    for kind, voice in self._voices[i].items()
                ),
            )
            for i, person in enumerate(self._people)
        ]

    def admission(self, out: Outgoing, now_s: float) -> None:
        """Each pump says which rate it runs at."""
        for pump in self._pumps:
            out.dose(pump.voice, [pump.report_programme(now_s)])

    def advance(self, to_s: float, out: Outgoing) -> None:
        """Live on to `to_s`."""
        from_s, duration_s = self.time_s, to_s - self.time_s
        rng = np.random.default_rng([self._seed, 0xD2, self._tick])
        for appointment in self._agenda.due(to_s):
            self._attend(appointment, rng, out)
        insulin_U = np.empty(len(self._pumps))
        for i, pump in enumerate(self._pumps):
            insulin_U[i], own = pump.deliver(from_s, to_s)
            if own:
                out.dose(pump.voice, own)
        eats_s = np.clip(np.minimum(self._eating_until_s, to_s) - from_s, 0.0, duration_s)
        minutes = duration_s / 60.0
        substeps = max(1, math.ceil(duration_s / self.substep_s - 1e-9))
        self._state, self._pulse, trace = _live(
            self._plant,
            self._vessel,
            self._state,
            self._pulse,
            jax.random.fold_in(self._key, self._tick),
            jnp.asarray(insulin_U / minutes),
            jnp.asarray(self._eating_g_per_min * eats_s / duration_s),
            jnp.asarray(self._local_hour(from_s)),
            jnp.asarray(minutes / substeps),
            substeps=substeps,
        )
        self._measure(from_s, to_s, np.asarray(trace, dtype=float), rng, out)
        self.time_s, self._tick = to_s, self._tick + 1

    def changed_devices(self) -> list[tuple[str, str]]:
        """The pumps that changed by themselves."""
        return [(pump.voice.patient, pump.voice.device) for pump in self._pumps if pump.changed]

    def true_glucose_mg_dL(self) -> Floats:
        """Plasma glucose now [n], for tests and for people who look behind the scenes."""
        return np.asarray(diabetes.plasma_glucose_mg_dL(self._plant, self._state), dtype=float)

    def dump(self) -> bytes:
        """The plants, the sensors, the people; the pumps keep their own memory."""
        arrays = {
            **checkpoint.leaves("state", self._state),
            **checkpoint.leaves("pulse", self._pulse),
            **{name: getattr(self._cgms, name) for name in _CGM_MEMORY},
            "eating_until_s": self._eating_until_s,
            "eating_g_per_min": self._eating_g_per_min,
            "rescue_after_s": self._rescue_after_s,
            "reservoir_U": np.array([pump.memory.reservoir_U for pump in self._pumps]),
        }
        return checkpoint.pack(self.time_s, self._tick, arrays, self._agenda)

    def load(self, payload: bytes) -> None:
        """Go on from a checkpoint; the pumps must have their memory back already."""
        self.time_s, self._tick, arrays = checkpoint.unpack(payload, self._agenda)
        self._state = checkpoint.with_leaves("state", self._state, arrays)
        self._pulse = checkpoint.with_leaves("pulse", self._pulse, arrays)
        for name in _CGM_MEMORY:
            setattr(self._cgms, name, arrays[name])
        self._eating_until_s = arrays["eating_until_s"]
        self._eating_g_per_min = arrays["eating_g_per_min"]
        self._rescue_after_s = arrays["rescue_after_s"]
        for pump, reservoir in zip(self._pumps, arrays["reservoir_U"], strict=True):
            pump.memory.reservoir_U = float(reservoir)

    def _kinds(self, i: int) -> list[str]:
        kinds = ["cgm", "insulin_pump", "meal_app", "wearable"]
        also = {"smart_pen": self._uses_pen[i], "pillbox": self._has_pillbox[i]}
        return [*kinds, *(kind for kind, has in also.items() if has)]

    def _local_hour(self, at_s: float) -> Floats:
        return np.mod(at_s / 3600.0 + self._local_shift_h, 24.0)

    def _plan_meal(self, i: int, meal: int, after_s: float) -> None:
        """Make the appointment for patient i's next meal of a kind, at least an hour after `after_s`."""
        self._agenda.add(self._next_local(i, MEALS[meal][0], after_s + 3600.0), "mealtime", i, meal)

    def _next_local(self, i: int, hour: float, after_s: float) -> float:
        """When it is next that local hour for patient i."""
        return after_s + (hour - float(self._local_hour(after_s)[i])) % 24.0 * 3600.0

    def _attend(self, it: Appointment, rng: np.random.Generator, out: Outgoing) -> None:
        i = it.who
        if it.what == "mealtime":
            meal = int(it.a)
            _, usual_g, likely = MEALS[meal]
            self._plan_meal(i, meal, it.at_s)
            if rng.random() < likely:
                size_g = max(8.0, usual_g * self._weight[i] / 80.0 * math.exp(0.3 * rng.standard_normal()))
                self._agenda.add(it.at_s + rng.uniform(0.0, 2700.0), "eat", i, min(size_g, 140.0))
        elif it.what == "eat":
            self._eat(i, it.at_s, it.a)
            if rng.random() >= self._faults.unannounced_meal:
                self._announce(i, it.at_s, it.a, rng, out)
            else:
                out.count("unannounced_meals")
        elif it.what == "rescue":
            self._eat(i, it.at_s, RESCUE_G)
            if it.a:
                self._say(i, it.at_s, RESCUE_G, out)
        elif it.what == "tablet":
            self._agenda.add(it.at_s + 86_400.0, "tablet", i)
            if rng.random() < self._faults.missed_dose:
                self._agenda.add(it.at_s + pillbox.GRACE_S, "tablet missed", i, it.at_s)
        elif it.what == "tablet missed":
            out.dose(self._voices[i]["pillbox"], [pillbox.missed(it.a)])
            out.count("missed_doses")
        elif it.what == "pen report":
            out.dose(self._voices[i]["smart_pen"], [smart_pen.injected(it.a, it.b)])
        elif it.what == "pen missed":
            out.dose(self._voices[i]["smart_pen"], [smart_pen.missed(it.a, it.b)])

    def _eat(self, i: int, at_s: float, carbohydrate_g: float) -> None:
        left_g = self._eating_g_per_min[i] * max(0.0, self._eating_until_s[i] - at_s) / 60.0
        self._eating_until_s[i] = at_s + EATING_S
        self._eating_g_per_min[i] = (left_g + carbohydrate_g) / (EATING_S / 60.0)

    def _say(self, i: int, at_s: float, carbohydrate_g: float, out: Outgoing) -> None:
        out.reading(self._voices[i]["meal_app"], [meal_app.announcement(carbohydrate_g, at_s)], at_s)

    def _announce(
        self, i: int, at_s: float, carbohydrate_g: float, rng: np.random.Generator, out: Outgoing
    ) -> None:
        """Say what is eaten, and bolus for it by the 500 and 1800 rules on what the sensor shows."""
        told_g = meal_app.estimate_g(carbohydrate_g, rng.standard_normal())
        self._say(i, at_s, told_g, out)
        wanted_U = 0.8 * told_g * self._daily_dose[i] / 500.0
        shown = self._cgms.shown_mg_dL[i]
        if shown > 180.0 or shown < 100.0:
            wanted_U += 0.5 * (shown - 130.0) * self._daily_dose[i] / 1800.0
        wanted_U = max(wanted_U, 0.0)
        forgets = rng.random() < self._faults.missed_meal_bolus
        pump = self._pumps[i]
        if self._uses_pen[i]:
            amount_U = smart_pen.round_to_pen(wanted_U)
            if forgets:
                self._agenda.add(at_s + 1800.0, "pen missed", i, amount_U, at_s)
            elif amount_U > 0:
                pump.inject_elsewhere(amount_U, at_s)
                delay_s = min(rng.exponential(smart_pen.REPORT_DELAY_MEAN_S), smart_pen.REPORT_DELAY_MAX_S)
                self._agenda.add(at_s + delay_s, "pen report", i, amount_U, at_s)
        elif not forgets and round_down(wanted_U) > 0:
            out.dose(pump.voice, [pump.bolus(round_down(wanted_U), at_s)])
        if forgets:
            out.count("missed_boluses")

    def _measure(
        self, from_s: float, to_s: float, trace: Floats, rng: np.random.Generator, out: Outgoing
    ) -> None:
        """Let every device measure that is due in [from, to); `trace` is what the sensors sit in."""
        substep_s = (to_s - from_s) / trace.shape[0]
        for at_s, who in self._cgms.due(from_s, to_s):
            row = np.minimum(((at_s - from_s) / substep_s).astype(int), trace.shape[0] - 1)
            samples = self._cgms.measure(trace[row, who], at_s, who, rng)
            for at, i, sample in zip(at_s, who, samples, strict=True):
                if sample is not None:
                    out.reading(self._voices[i]["cgm"], [sample], float(at))
                    self._react(int(i), float(at), rng)
                else:
                    out.count("dropped_samples")
        vitals = np.asarray(self._pulse.vitals, dtype=float)
        for at_s, who in self._wearables.due(from_s, to_s):
            for at, i, taken in zip(
                at_s, who, self._wearables.measure(vitals[:, who], at_s, who, rng), strict=True
            ):
                out.reading(self._voices[i]["wearable"], taken, float(at))
        turn = np.ceil((from_s - self._status_phase_s) / STATUS_EVERY_S)
        status_s = self._status_phase_s + turn * STATUS_EVERY_S
        for i in np.flatnonzero(status_s < to_s):
            pump, at = self._pumps[i], float(status_s[i])
            holds = Sample(
                quantity="reservoir", value=round(pump.memory.reservoir_U, 1), unit="U", at=instant(at)
            )
            out.reading(pump.voice, [holds], at)

    def _react(self, i: int, at_s: float, rng: np.random.Generator) -> None:
        """A person who sees a low eats something, if awake, a few minutes later."""
        if self._cgms.shown_mg_dL[i] >= RESCUE_BELOW_MG_DL or at_s < self._rescue_after_s[i]:
            return
        asleep = self._local_hour(at_s)[i] < 6.0
        if rng.random() < (0.5 if asleep else 0.9):
            self._rescue_after_s[i] = at_s + RESCUE_PAUSE_S
            told = float(rng.random() < 0.5)
            self._agenda.add(at_s + rng.uniform(180.0, 900.0), "rescue", i, told)


_CGM_MEMORY = ("error", "gain", "deaf_until_s", "shown_mg_dL")
