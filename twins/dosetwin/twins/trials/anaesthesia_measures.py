"""What is said of an operation: time in range, performance error, pressure, induction, drugs.

Judged by the true index, every DECISION_S seconds, and not by the displayed one, which lags and errs.
Induction ends when the index has come to 60 for half a minute; maintenance is from there (from 15 minutes
on where it never came) to the end of surgery. Performance error PE = 100 (BIS - 50)/50: MDPE its median,
MDAPE the median of |PE|, wobble the median of |PE - MDPE| (Varvel et al., J Pharmacokinet Biopharm
1992;20:63, doi:10.1007/BF01143186).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dosetwin.twins.trials.anaesthesia_floor import floor_pct
from dosetwin.twins.trials.trial import FloatArray, Measure

if TYPE_CHECKING:
    from dosetwin.twins.trials.anaesthesia_plant import OperatingTheatres

SETPOINT, LOW, HIGH, DEEP = 50.0, 40.0, 60.0, 30.0
HELD_S = 30.0
LATEST_MAINTENANCE_S = 900.0
HYPOTENSION = 65.0
UNCOVERED = 0.5
"""Arousal beyond which a stimulus is badly covered (surgery under a usual opioid dose gives about 0.3)."""

MEASURES = (
    Measure("bis_40_60_pct", "%", "higher", "Maintenance with BIS in 40-60"),
    Measure("map_below_65_pct", "%", "lower", "Maintenance with mean arterial pressure below 65 mmHg"),
    Measure("map_below_65_floor_pct", "%", "lower", "Reachable at all with BIS held in 40-60"),
    Measure("induction_min", "min", "lower", "Induction: time to BIS 60, held for 30 s"),
    Measure("shown_bis_40_60_pct", "%", "higher", "The same of the displayed BIS, where one is displayed"),
    Measure("bis_below_30_pct", "%", "lower", "Time with BIS below 30"),
    Measure("lowest_bis", "1", "higher", "Lowest BIS of all"),
    Measure("bis_above_60_pct", "%", "lower", "Maintenance with BIS above 60"),
    Measure("bis_below_40_pct", "%", "lower", "Maintenance with BIS below 40"),
    Measure("mdpe_pct", "%", "lower", "Median performance error (absolute value)"),
    Measure("mdape_pct", "%", "lower", "Median absolute performance error"),
    Measure("wobble_pct", "%", "lower", "Wobble"),
    Measure("uncovered_pct", "%", "lower", "Surgery with a badly covered stimulus"),
    Measure("propofol_mg_per_kg_per_h", "mg/kg/h", "lower", "Propofol"),
    Measure("remifentanil_ug_per_kg_per_min", "ug/kg/min", "lower", "Remifentanil"),
)


def measured(
    plant: OperatingTheatres, elapsed_s: FloatArray, traces: dict[str, FloatArray]
) -> dict[str, FloatArray]:
    """The MEASURES of each patient, [n]; traces [n, T] at `elapsed_s` [T] since induction began."""
    bis, pressure = traces["bis"].astype(np.float64), traces["mean_arterial_pressure"]
    shown = traces["shown_bis"]
    induced = induction_s(elapsed_s, bis)
    maintained = elapsed_s[None] > np.minimum(induced, LATEST_MAINTENANCE_S)[:, None]

    def share(wrong: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_] = maintained) -> FloatArray:
        counted = among.sum(axis=1)
        return np.where(counted > 0, 100.0 * (wrong & among).sum(axis=1) / np.maximum(counted, 1), np.nan)

    error = np.where(maintained, 100.0 * (bis - SETPOINT) / SETPOINT, np.nan)
    MDPE = np.nanmedian(error, axis=1)
    surgery = traces["stimulus"] > 0
    weight = plant.people.body.weight_kg[:, None]
    return {
        "bis_40_60_pct": share((bis >= LOW) & (bis <= HIGH)),
        "map_below_65_pct": share(pressure < HYPOTENSION),
        "map_below_65_floor_pct": floor_pct(plant, traces, maintained, HYPOTENSION),
        "induction_min": induced / 60.0,
        "shown_bis_40_60_pct": share((shown >= LOW) & (shown <= HIGH), maintained & ~np.isnan(shown)),
        "bis_below_30_pct": 100.0 * (bis < DEEP).mean(axis=1),
        "lowest_bis": bis.min(axis=1),
        "bis_above_60_pct": share(bis > HIGH),
        "bis_below_40_pct": share(bis < LOW),
        "mdpe_pct": np.abs(MDPE),
        "mdape_pct": np.nanmedian(np.abs(error), axis=1),
        "wobble_pct": np.nanmedian(np.abs(error - MDPE[:, None]), axis=1),
        "uncovered_pct": share(traces["arousal"] > UNCOVERED, surgery & maintained),
        "propofol_mg_per_kg_per_h": (traces["propofol_rate"] / weight).mean(axis=1),
        "remifentanil_ug_per_kg_per_min": (traces["remifentanil_rate"] / weight).mean(axis=1) / 60.0,
    }


def induction_s(elapsed_s: FloatArray, bis: FloatArray) -> FloatArray:
    """When the index first was at or below 60 and stayed there for HELD_S, [n]; the end where never."""
    step = elapsed_s[1] - elapsed_s[0]
    held = 1 + int(HELD_S / step)
    below = bis <= HIGH
    runs = np.logical_and.reduce(np.lib.stride_tricks.sliding_window_view(below, held, axis=1), axis=2)
    first: FloatArray = np.where(runs.any(axis=1), elapsed_s[np.argmax(runs, axis=1)], elapsed_s[-1])
    return first
