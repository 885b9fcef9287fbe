"""Wearables, one a patient, as arrays: heart rate each five minutes, blood pressure each half hour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Sample
from dosetwin.stream_jobs.fleet.faults import FleetFaults

Floats = npt.NDArray[np.float64]

INTERVAL_S = 300.0
PRESSURE_EVERY = 6
ERROR_SD = (1.5, 3.0, 2.5)
"""Of heart rate (/min), systolic and diastolic pressure (mm[Hg])."""


class Wearables:
    """The wearables of `n` patients; they have no memory."""

    def __init__(self, n: int, faults: FleetFaults, seed: int) -> None:
        rng = np.random.default_rng([seed, 0x3E])
        self.phase_s: Floats = rng.uniform(0.0, INTERVAL_S * PRESSURE_EVERY, n)
        self._noise = faults.sensor_noise

    def due(self, from_s: float, to_s: float) -> list[tuple[Floats, npt.NDArray[np.intp]]]:
        """(times, patients) of the measurements in [from, to), in rounds of at most one a patient."""
        first = np.ceil((from_s - self.phase_s) / INTERVAL_S)
        rounds: list[tuple[Floats, npt.NDArray[np.intp]]] = []
        while True:
            at_s = self.phase_s + first * INTERVAL_S
            who = np.flatnonzero(at_s < to_s)
            if who.size == 0:
                return rounds
            rounds.append((at_s[who], who))
            first += 1

    def measure(
        self, vitals: Floats, at_s: Floats, who: npt.NDArray[np.intp], rng: np.random.Generator
    ) -> list[list[Sample]]:
        """Samples of each of `who` from its `vitals` [3, who] (heart rate, systolic, diastolic)."""
        errors = np.asarray(ERROR_SD)[:, None] * self._noise * rng.standard_normal(vitals.shape)
        heart, systolic, diastolic = np.maximum(np.rint(vitals + errors), 1.0)
        pressure_too = np.rint((at_s - self.phase_s[who]) / INTERVAL_S) % PRESSURE_EVERY == 0
        samples = []
        for i, at in enumerate(at_s):
            moment = instant(float(at))
            taken = [Sample(quantity="heart_rate", value=float(heart[i]), unit="/min", at=moment)]
            if pressure_too[i]:
                taken += [
                    Sample(quantity=name, value=float(value), unit="mm[Hg]", at=moment)
                    for name, value in (
                        ("systolic_pressure", systolic[i]),
                        ("diastolic_pressure", diastolic[i]),
                    )
                ]
            samples.append(taken)
        return samples
