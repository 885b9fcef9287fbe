"""Patients on intravenous vancomycin: plant, pump, laboratory, wearable; streaming begins in mid-therapy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Administration, EnrolledDevice, Enrolment, Infusion, Measure, Sample
from dosetwin.stream_jobs.fleet import checkpoint
from dosetwin.stream_jobs.fleet.agenda import Agenda, Appointment
from dosetwin.stream_jobs.fleet.devices import laboratory
from dosetwin.stream_jobs.fleet.devices.infusion_pump import InfusionPump
from dosetwin.stream_jobs.fleet.devices.wearable import Wearables
from dosetwin.stream_jobs.fleet.faults import FleetFaults
from dosetwin.stream_jobs.fleet.outgoing import Outgoing
from dosetwin.stream_jobs.fleet.people import Person, device_name
from dosetwin.stream_jobs.gateway.device import CommandedDevice, Voice
from dosetwin.twins.plants import haemodynamics, infection

Floats = npt.NDArray[np.float64]

HOUR_S = 3600.0
KINDS = ("infusion_pump", "laboratory", "wearable")
THERAPY_AGE_H = (14.0, 46.0)
"""How long before streaming begins the therapies were started, uniformly."""
FIRST_LEVELS_H = (-1.4, 8.0)
"""From begin of streaming: when the first levels are drawn, spread evenly over the patients."""
LEVEL_EVERY_S = 20 * HOUR_S
RATE_MG_PER_H = 1000.0
FEVER_C, FEVER_TIME_S = 1.6, 60 * HOUR_S


@partial(jax.jit, static_argnames="substeps")
def _live(
    plant: infection.InfectionParameters,
    vessel: haemodynamics.HaemodynamicParameters,
    state: infection.InfectionState,
    pulse: haemodynamics.HaemodynamicState,
    key: jax.Array,
    vancomycin_mg_per_h: jax.Array,
    temperature_C: jax.Array,
    hour: jax.Array,
    dt_min: jax.Array,
    substeps: int,
) -> tuple[infection.InfectionState, haemodynamics.HaemodynamicState]:
    """One tick of all patients."""

    def substep(
        carry: tuple[infection.InfectionState, haemodynamics.HaemodynamicState], i: jax.Array
    ) -> tuple[tuple[infection.InfectionState, haemodynamics.HaemodynamicState], None]:
        state, pulse = carry
        z = jax.random.normal(jax.random.fold_in(key, i), (4, temperature_C.shape[0]))
        state = infection.step(
            plant, state, infection.InfectionInputs(vancomycin_mg_per_h, z[0]), dt_min / 60.0
        )
        now = jnp.mod(hour + i * dt_min / 60.0, 24.0)
        unaffected = jnp.full_like(temperature_C, 100.0)
        pulse = haemodynamics.step(
            vessel, pulse, haemodynamics.HaemodynamicInputs(unaffected, temperature_C, now, z[1:]), dt_min
        )
        return (state, pulse), None

    (state, pulse), _ = jax.lax.scan(substep, (state, pulse), jnp.arange(substeps))
    return state, pulse


class InfectionWard:
    """See `ward.Ward`."""

    therapy = "vancomycin"
    warm_up_s = 48 * HOUR_S
    substep_s = 300.0

    def __init__(
        self, people: Sequence[Person], faults: FleetFaults, seed: int, boot: str, begin_s: float
    ) -> None:
        n = len(people)
        self._people, self._faults, self._seed = people, faults, seed
        key = jax.random.key(seed)
        self._key = jax.random.fold_in(key, 1)
        self._plant = infection.sample_population(jax.random.fold_in(key, 2), n)
        self._vessel = haemodynamics.sample_population(jax.random.fold_in(key, 3), n)
        self._state = infection.initial(self._plant)
        self._pulse = haemodynamics.initial(self._vessel)
        rng = np.random.default_rng([seed, 0xF1])
        streaming_s = begin_s + self.warm_up_s
        self._started_s: Floats = streaming_s - rng.uniform(*THERAPY_AGE_H, n) * HOUR_S
        self._first_creatinine = np.asarray(self._state.creatinine, dtype=float)
        self._next_level_s: Floats = self._started_s + LEVEL_EVERY_S
        self._wearables = Wearables(n, faults, seed)
        self._voices = [
            {kind: Voice(person.patient, device_name(kind, person), boot) for kind in KINDS}
            for person in people
        ]
        weight = np.asarray(self._plant.weight_kg, dtype=float)
        clearance = np.asarray(self._plant.CLcr_0, dtype=float)
        self._loading_mg = np.minimum(250.0 * np.rint(25.0 * weight / 250.0), 3000.0)
        maintenance_mg = np.clip(250.0 * np.rint(weight * rng.uniform(11.0, 18.0, n) / 250.0), 500.0, 2000.0)
        self._pumps = [
            InfusionPump(
                self._voices[i]["infusion_pump"],
                amount_mg=float(maintenance_mg[i]),
                duration_s=float(maintenance_mg[i]) / RATE_MG_PER_H * HOUR_S,
                interval_s=(12.0 if clearance[i] > 50.0 else 24.0) * HOUR_S,
                first_s=float(self._started_s[i]) + 12.0 * HOUR_S,
            )
            for i in range(n)
        ]
        self.devices: dict[tuple[str, str], CommandedDevice] = {
            (pump.voice.patient, pump.voice.device): pump for pump in self._pumps
        }
        self._agenda = Agenda()
        low_h, high_h = FIRST_LEVELS_H
        for i, rank in enumerate(rng.permutation(n)):
            self._agenda.add(self._started_s[i], "loading dose", i)
            first_s = streaming_s + (low_h + (rank + rng.random()) / n * (high_h - low_h)) * HOUR_S
            self._agenda.add(first_s, "draw level", i)
            self._agenda.add(self._started_s[i] + rng.uniform(12.0, 24.0) * HOUR_S, "draw creatinine", i)
        self.time_s = begin_s
        self._tick = 0
        self._past_doses: list[list[Administration]] = [[] for _ in people]
        self._past_results: list[list[Sample]] = [[] for _ in people]

    def enrolments(self, start_s: float) -> list[Enrolment]:
        """The patients' first enrolments: watched from the first dose on, whenever streaming begins."""
        plant = self._plant
        return [
            Enrolment(
                patient=person.patient,
                version=1,
                therapy=self.therapy,
                mode=person.mode,
                at=instant(float(self._started_s[i])),
                ward=person.ward,
                covariates={
                    "age": Measure(round(float(plant.age_a[i])), "a"),
                    "weight": Measure(round(float(plant.weight_kg[i]), 1), "kg"),
                    "height": Measure(round(float(plant.height_cm[i])), "cm"),
                    "sex": Measure(float(plant.male[i]), "1"),
                    "creatinine": Measure(round(float(self._first_creatinine[i]), 2), "mg/dL"),
                    "haemodialysis": Measure(0.0, "1"),
                },
                devices=tuple(
                    EnrolledDevice(device=voice.device, kind=kind, commands=kind == "infusion_pump")
                    for kind, voice in self._voices[i].items()
                ),
            )
            for i, person in enumerate(self._people)
        ]

    def admission(self, out: Outgoing, now_s: float) -> None:
        """Tell the doses and results of the days before."""
        for voices, doses, results in zip(self._voices, self._past_doses, self._past_results, strict=True):
            if doses:
                out.dose(voices["infusion_pump"], doses)
            if results:
                out.reading(voices["laboratory"], results, now_s)
        self._past_doses = [[] for _ in self._people]
        self._past_results = [[] for _ in self._people]

    def advance(self, to_s: float, out: Outgoing) -> None:
        """Live on to `to_s`."""
        from_s, duration_s = self.time_s, to_s - self.time_s
        rng = np.random.default_rng([self._seed, 0xF2, self._tick])
        for appointment in self._agenda.due(to_s):
            self._attend(appointment, rng, out)
        given_mg = np.empty(len(self._pumps))
        for i, pump in enumerate(self._pumps):
            given_mg[i], told = pump.deliver(from_s, to_s, lambda: rng.random() < self._faults.missed_dose)
            if told:
                self._tell(i, told, out)
        minutes = duration_s / 60.0
        substeps = max(1, math.ceil(duration_s / self.substep_s - 1e-9))
        since_s = np.maximum(from_s - self._started_s, 0.0)
        self._state, self._pulse = _live(
            self._plant,
            self._vessel,
            self._state,
            self._pulse,
            jax.random.fold_in(self._key, self._tick),
            jnp.asarray(given_mg / (duration_s / HOUR_S)),
            jnp.asarray(37.0 + FEVER_C * np.exp(-since_s / FEVER_TIME_S)),
            jnp.asarray(np.full(len(self._pumps), from_s / HOUR_S % 24.0)),
            jnp.asarray(minutes / substeps),
            substeps=substeps,
        )
        if not out.silent:
            self._measure(from_s, to_s, rng, out)
        self.time_s, self._tick = to_s, self._tick + 1

    def changed_devices(self) -> list[tuple[str, str]]:
        """The pumps that changed by themselves."""
        return [(pump.voice.patient, pump.voice.device) for pump in self._pumps if pump.changed]

    def true_concentration_mg_L(self) -> Floats:
        """Plasma concentrations now [n], for tests and for people who look behind the scenes."""
        return np.asarray(infection.concentration_mg_L(self._plant, self._state), dtype=float)

    def dump(self) -> bytes:
        """The plants and what is planned; the pumps keep their own memory."""
        arrays = {
            **checkpoint.leaves("state", self._state),
            **checkpoint.leaves("pulse", self._pulse),
            "next_level_s": self._next_level_s,
        }
        return checkpoint.pack(self.time_s, self._tick, arrays, self._agenda)

    def load(self, payload: bytes) -> None:
        """Go on from a checkpoint; the pumps must have their memory back already."""
        self.time_s, self._tick, arrays = checkpoint.unpack(payload, self._agenda)
        self._state = checkpoint.with_leaves("state", self._state, arrays)
        self._pulse = checkpoint.with_leaves("pulse", self._pulse, arrays)
        self._next_level_s = arrays["next_level_s"]

    def _attend(self, it: Appointment, rng: np.random.Generator, out: Outgoing) -> None:
        i, noise = it.who, self._faults.sensor_noise
        if it.what == "loading dose":
            amount_mg = float(self._loading_mg[i])
            begun = self._pumps[i].begin(it.at_s, amount_mg, amount_mg / RATE_MG_PER_H * HOUR_S)
            self._tell(i, [begun], out)
        elif it.what == "draw level":
            found = laboratory.assay("vancomycin", self.true_concentration_mg_L()[i], noise, rng)
            self._agenda.add(it.at_s + laboratory.turnaround_s(rng), "level", i, found, it.at_s)
            self._next_level_s[i] = max(self._next_level_s[i], it.at_s + LEVEL_EVERY_S)
        elif it.what == "draw creatinine":
            found = laboratory.assay("creatinine", float(self._state.creatinine[i]), noise, rng)
            self._agenda.add(it.at_s + laboratory.turnaround_s(rng), "creatinine", i, found, it.at_s)
            self._agenda.add(it.at_s + 24 * HOUR_S + rng.uniform(-HOUR_S, HOUR_S), "draw creatinine", i)
        else:
            quantity = "vancomycin" if it.what == "level" else "creatinine"
            sample = laboratory.result(quantity, it.a, it.b)
            if out.silent:
                self._past_results[i].append(sample)
            else:
                out.reading(self._voices[i]["laboratory"], [sample], it.at_s)

    def _tell(self, i: int, told: list[Administration], out: Outgoing) -> None:
        """Report what the pump did; draw levels around a dose when it is time for them again."""
        if out.silent:
            self._past_doses[i] += told
        else:
            out.dose(self._voices[i]["infusion_pump"], told)
        for each in told:
            if not isinstance(each, Infusion):
                out.count("missed_doses")
                continue
            begun_s = each.at.timestamp()
            if begun_s >= self._next_level_s[i]:
                pump = self._pumps[i].memory
                self._agenda.add(begun_s + each.duration_s + 1.5 * HOUR_S, "draw level", i)
                self._agenda.add(pump.next_s - 0.5 * HOUR_S, "draw level", i)
                self._next_level_s[i] = begun_s + LEVEL_EVERY_S

    def _measure(self, from_s: float, to_s: float, rng: np.random.Generator, out: Outgoing) -> None:
        vitals = np.asarray(self._pulse.vitals, dtype=float)
        for at_s, who in self._wearables.due(from_s, to_s):
            taken = self._wearables.measure(vitals[:, who], at_s, who, rng)
            for at, i, samples in zip(at_s, who, taken, strict=True):
                out.reading(self._voices[i]["wearable"], samples, float(at))
