"""Continuous glucose monitors, one a patient, as arrays: a value each five minutes.

    reported = interstitial (1 + g_k) + e_k,   e_k = r e_(k-1) + s sqrt(1 - r^2) v,   r = 0.7^(1/3)
    g_k: calibration error, a random walk that reverts over three days, SD 4 %

Errors that persist follow Breton & Kovatchev, J Diabetes Sci Technol 2008;2:853 (first-order memory 0.7 over
15 min); s = 7 mg/dL with the drift gives a mean absolute relative difference of about 8 %, as current
sensors state. The lag of the tissue is the plant's. Below 40 and above 400 mg/dL the sensor says only so.
One device in ten speaks mmol/L.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Sample
from dosetwin.stream_jobs.fleet.faults import FleetFaults

Floats = npt.NDArray[np.float64]

INTERVAL_S = 300.0
LOWEST_MG_DL, HIGHEST_MG_DL = 40.0, 400.0
MEMORY = 0.7 ** (1 / 3)
NOISE_SD_MG_DL = 7.0
DRIFT_SD = 0.04
DRIFT_MEMORY = float(np.exp(-INTERVAL_S / (3 * 86_400.0)))
DROPOUT_MEAN_S = 1800.0
MG_DL_PER_MMOL_L = 18.0156
MMOL_SHARE = 0.1


class GlucoseMonitors:
    """The monitors of `n` patients; `error`, `gain` and `deaf_until_s` [n] are their state."""

    def __init__(self, n: int, faults: FleetFaults, seed: int) -> None:
        rng = np.random.default_rng([seed, 0xC6])
        self._faults = faults
        self.phase_s: Floats = rng.uniform(0.0, INTERVAL_S, n)
        self.in_mmol = rng.random(n) < MMOL_SHARE
        self.error: Floats = faults.sensor_noise * NOISE_SD_MG_DL * rng.standard_normal(n)
        self.gain: Floats = faults.sensor_drift * DRIFT_SD * rng.standard_normal(n)
        self.deaf_until_s: Floats = np.zeros(n)
        self.shown_mg_dL: Floats = np.full(n, 140.0)
        """The last value on each patient's display, what a person acts on."""

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
        self,
        interstitial_mg_dL: Floats,
        at_s: Floats,
        who: npt.NDArray[np.intp],
        rng: np.random.Generator,
    ) -> list[Sample | None]:
        """What each of `who` reports at `at_s`; None from a sensor that has dropped out."""
        faults = self._faults
        m = who.size
        spread = faults.sensor_noise * NOISE_SD_MG_DL * np.sqrt(1 - MEMORY**2)
        self.error[who] = MEMORY * self.error[who] + spread * rng.standard_normal(m)
        walk = faults.sensor_drift * DRIFT_SD * np.sqrt(1 - DRIFT_MEMORY**2)
        self.gain[who] = DRIFT_MEMORY * self.gain[who] + walk * rng.standard_normal(m)
        starts = rng.random(m) < faults.dropouts_per_day * INTERVAL_S / 86_400.0
        lasts = rng.exponential(DROPOUT_MEAN_S, m)
        self.deaf_until_s[who] = np.where(starts, at_s + lasts, self.deaf_until_s[who])
        values = np.rint(interstitial_mg_dL * (1.0 + self.gain[who]) + self.error[who])
        self.shown_mg_dL[who] = values
        heard = at_s >= self.deaf_until_s[who]
        return [
            _sample(float(value), float(at), bool(mmol)) if hears else None
            for value, at, mmol, hears in zip(values, at_s, self.in_mmol[who], heard, strict=True)
        ]


def _sample(value_mg_dL: float, at_s: float, in_mmol: bool) -> Sample:
    shown = min(max(value_mg_dL, LOWEST_MG_DL), HIGHEST_MG_DL)
    return Sample(
        quantity="glucose",
        value=round(shown / MG_DL_PER_MMOL_L, 1) if in_mmol else shown,
        unit="mmol/L" if in_mmol else "mg/dL",
        at=instant(at_s),
        censored="below" if value_mg_dL < LOWEST_MG_DL else "above" if value_mg_dL > HIGHEST_MG_DL else None,
    )
