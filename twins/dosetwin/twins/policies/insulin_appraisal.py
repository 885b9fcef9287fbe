"""From ensembles to an appraisal: bands, risks, orders and the sentence a clinician reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_delivery import Delivery, mean_rate
from dosetwin.twins.estimators.ensemble_noise import fold
from dosetwin.twins.estimators.ensemble_prior import basal_U_per_h
from dosetwin.twins.estimators.ensemble_twin import Covariates
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.models.insulin_absorption import K_E, V_I
from dosetwin.twins.policies import insulin_candidates as candidates
from dosetwin.twins.policies import insulin_forecast as horizon
from dosetwin.twins.policies.insulin_reason import reason

LARGEST_BATCH, SMALLEST_BATCH = 64, 8
"""Batches are padded to one of these two; 64 patients of candidates are what fits the second-level cache."""
GOAL_MG_DL = 110.0
"""Glucose the bolus calculator aims at (Loop and oref0 default to 100-115)."""
MAXIMUM_BOLUS_U = 10.0
"""Largest bolus a candidate asks for when the enrolment names no `maximum_bolus`."""

FloatArray = npt.NDArray[np.float64]


class Present(NamedTuple):
    """One patient at the time decided for."""

    patient: str
    at_s: float
    covariates: Covariates
    delivery: Delivery
    targets: Mapping[str, float]
    sensitivity_centre: float


def appraise(
    presents: list[Present], ensembles: npt.NDArray[np.float32], keys: npt.NDArray[np.uint32]
) -> Appraisal:
    """Score every candidate for every patient; `ensembles` [n, rows x members] stand at `present.at_s`."""
    n = len(presents)
    x = ensembles.reshape(n, row.ROWS, -1)
    weight = np.array([p.covariates.weight_kg for p in presents])
    daily = np.array([p.covariates.total_daily_dose_U for p in presents])
    basal = basal_U_per_h_of(daily)
    at_s = np.array([p.at_s for p in presents], float)
    running = np.array([p.delivery.rate_U_per_h for p in presents])
    running = np.where(np.isnan(running), basal, running)
    since = np.array([p.delivery.since_s for p in presents])
    temporary = np.abs(running - basal) >= candidates.RATE_INCREMENT_U_PER_H
    left = np.where(temporary, np.clip(since + candidates.RATE_DURATION_S - at_s, 0.0, None), 0.0)
    left = np.nan_to_num(left)

    glucose_now = x[:, row.Q1].mean(1).astype(np.float64) * (MG_DL_PER_MMOL_L / V_G)
    gut = (x[:, row.D1] + x[:, row.D2]).astype(float) * weight[:, None]
    board = _on_board(x.astype(float), weight, basal)
    on_board = np.maximum(board.mean(1), 0.0)
    limits = [p.targets for p in presents]
    maximum = np.array([t.get("maximum_bolus", MAXIMUM_BOLUS_U) for t in limits])
    low = np.array([t.get("low", 70.0) for t in limits])
    high = np.array([t.get("high", 180.0) for t in limits])
    rates = candidates.rates(basal)
    boluses = candidates.boluses(
        glucose_now, np.full(n, GOAL_MG_DL), gut.mean(1), on_board, daily, basal, maximum
    )
    per_rate, per_bolus = 1000.0 / 60.0 / weight, 1000.0 / weight
    bounds = np.array(
        [
            [t.get("risk_below_70", horizon.RISK_BELOW_70) for t in limits],
            [t.get("risk_below_54", horizon.RISK_BELOW_54) for t in limits],
        ]
    )
    result = _in_batches(
        ensembles,
        (
            (_certain_rates(presents, basal) * per_rate).astype(np.float32),
            ((rates - basal) * per_rate).astype(np.float32),
            (boluses * per_bolus).astype(np.float32),
            low.astype(np.float32),
            high.astype(np.float32),
            bounds.astype(np.float32),
            fold(keys, np.round(at_s * 1000.0).astype(np.int64).view(np.uint64)),
        ),
    )
    best, feasible = result.best, result.feasible.T
    below_70, below_54 = result.below_70.T, result.below_54.T
    lowest = result.lowest.T
    index = np.arange(n)
    bands: dict[str, npt.NDArray[np.floating]] = {
        "glucose": _quantiles(result.glucose, horizon.QUANTILES),
        "insulin": _quantiles(result.insulin, horizon.QUANTILES),
    }
    step_s = horizon.STEP_MIN * horizon.STEPS_PER_POINT * 60.0
    event = time_to_event(bands["glucose"][:, 2], step_s)
    orders = candidates.orders(rates, boluses, running, left, basal)
    centre = np.array([p.sensitivity_centre for p in presents])
    factor = np.exp(x[:, row.LN_SIT : row.LN_SIE + 1].mean(1) - centre[:, None])
    estimates = {
        "sensitivity_factor": ("1", factor),
        "glucose": ("mg/dL", result.glucose[:, 0]),
        "insulin_on_board": ("U", board),
        "plasma_insulin": ("mU/L", x[:, row.PLASMA]),
        "carbohydrate_on_board": ("g", gut),
        "unannounced_glucose": ("g/h", x[:, row.FLUX] * (60.0 * 0.18016 * weight[:, None])),
    }
    stacked = _quantiles(np.stack([values for _, values in estimates.values()], 1), (0.5, 0.05, 0.95))
    summary: dict[str, tuple[str, npt.NDArray[np.floating]]] = {
        name: (unit, stacked[:, :, k]) for k, (name, (unit, _)) in enumerate(estimates.items())
    }
    evidence = {
        "glucose_mg_dL": glucose_now,
        "insulin_on_board_U": on_board,
        "carbohydrate_on_board_g": gut.mean(1),
        "basal_U_per_h": basal,
        "running_U_per_h": running,
        "lowest_mg_dL": lowest[index, best],
        "probability_below_70": below_70[index, best],
        "probability_below_54": below_54[index, best],
        "probability_below_70_as_programmed": below_70[:, candidates.BASAL],
        "bolus_requirement_U": boluses[-1],
    }
    return Appraisal(
        patients=[p.patient for p in presents],
        at_s=at_s,
        candidates=candidates.CANDIDATES,
        utility=result.utility.T,
        attainment=result.attainment.T,
        feasible=feasible,
        best=best,
        risks={"below_70": below_70, "below_54": below_54, "above_250": result.above_250.T},
        orders=orders,
        quantiles=horizon.QUANTILES,
        bands=bands,
        band_units={"glucose": "mg/dL", "insulin": "mU/L"},
        step_s=step_s,
        lowest=lowest,
        on_board=on_board,
        estimates=summary,
        time_to_event_s=event,
        evidence=evidence,
        reasons=[
            reason(
                candidates.CANDIDATES[best[i]],
                orders[i][best[i]],
                feasible=bool(feasible[i, best[i]]),
                glucose_mg_dL=float(glucose_now[i]),
                lowest_mg_dL=float(lowest[i, best[i]]),
                below_70=float(below_70[i, best[i]]),
                median_end_mg_dL=float(bands["glucose"][i, 2, -1]),
                on_board_U=float(on_board[i]),
                gut_g=float(evidence["carbohydrate_on_board_g"][i]),
            )
            for i in range(n)
        ],
    )


def basal_U_per_h_of(daily: FloatArray) -> FloatArray:
    """`basal_U_per_h`, elementwise."""
    return basal_U_per_h(1.0) * daily


def time_to_event(median: npt.NDArray[np.floating], step_s: float) -> FloatArray:
    """[n] s until the median first lies below 70 or above 250 mg/dL (linear between points), else NaN."""
    outside = (median < horizon.LOW) | (median > horizon.HIGH)
    first = outside.argmax(1)
    index = np.arange(len(median))
    now, before = median[index, first], median[index, np.maximum(first - 1, 0)]
    edge = np.where(now < horizon.LOW, horizon.LOW, horizon.HIGH)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(first > 0, (edge - before) / (now - before), 1.0)
    seconds = np.where(first > 0, (first - 1 + part) * step_s, 0.0)
    return np.where(outside.any(1), seconds, np.nan)


def _certain_rates(presents: list[Present], basal: FloatArray) -> FloatArray:
    """[steps, n] U/h from the programme and from infusions that still run (the candidates add to this)."""
    steps = horizon.POINTS * horizon.STEPS_PER_POINT
    rates = np.tile(basal, (steps, 1))
    step_s = horizon.STEP_MIN * 60.0
    for i, present in enumerate(presents):
        if present.delivery.infusions:
            only = present.delivery._replace(rate_U_per_h=0.0, changes=())
            for k in range(steps):
                start = present.at_s + k * step_s
                rates[k, i] += mean_rate(only, start, start + step_s, 0.0)
    return rates


def _on_board(x: FloatArray, weight: FloatArray, basal: FloatArray) -> FloatArray:
    """[n, members] U still to act beyond what the basal programme holds there (as Loop and oref0 do)."""
    per_kg = x[:, row.S1] + x[:, row.S2] + x[:, row.PLASMA] * V_I
    programme = (basal * 1000.0 / 60.0)[:, None] * (2.0 * np.exp(x[:, row.LN_TI]) + 1.0 / K_E)
    return (per_kg * weight[:, None] - programme) / 1000.0


class _Result(NamedTuple):
    """`insulin_forecast.Forecasts` of all batches, as numpy."""

    utility: npt.NDArray[np.float32]
    attainment: npt.NDArray[np.float32]
    below_70: npt.NDArray[np.float32]
    below_54: npt.NDArray[np.float32]
    above_250: npt.NDArray[np.float32]
    lowest: npt.NDArray[np.float32]
    feasible: npt.NDArray[np.bool_]
    best: npt.NDArray[np.int32]
    glucose: npt.NDArray[np.float32]
    insulin: npt.NDArray[np.float32]


_Outlook = tuple[npt.NDArray[np.generic], ...]
"""The fields of `insulin_forecast.Outlook`, as numpy."""
_PATIENT_FIRST = ("glucose", "insulin")


def _in_batches(ensembles: npt.NDArray[np.float32], outlook: _Outlook) -> _Result:
    """Run the kernel over padded batches, two at a time: XLA leaves most of a second core idle in one."""
    n = len(ensembles)
    starts = range(0, n, LARGEST_BATCH)
    parts = list(_workers.map(lambda start: _one_batch(ensembles, outlook, start), starts))
    return _Result(
        *(
            np.concatenate([part[k] for part in parts], axis=0 if name in _PATIENT_FIRST else -1)
            for k, name in enumerate(_Result._fields)
        )
    )


_workers = ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1), thread_name_prefix="forecast")


def _one_batch(
    ensembles: npt.NDArray[np.float32], outlook: _Outlook, start: int
) -> list[npt.NDArray[np.generic]]:
    count = min(LARGEST_BATCH, len(ensembles) - start)
    size = SMALLEST_BATCH if count <= SMALLEST_BATCH else LARGEST_BATCH
    take = np.minimum(np.arange(start, start + size), start + count - 1)
    asked = horizon.Outlook(*(jnp.asarray(values[..., take]) for values in outlook))
    part = jax.device_get(horizon.forecast_batch(jnp.asarray(ensembles[take]), asked))
    return [
        values[:count] if name in _PATIENT_FIRST else values[..., :count]
        for name, values in zip(_Result._fields, part, strict=True)
    ]


def _quantiles(members: npt.NDArray[np.floating], at: tuple[float, ...]) -> FloatArray:
    """Quantiles over the last axis, moved to axis 1: [n, ..., members] -> [n, quantiles, ...].

    At positions q (M + 1): a further draw from where the M members came from then falls between the 5 % and
    95 % quantile 9 times in 10. The usual q (M - 1) + 1 would give 84.5 % for 32 members.
    """
    ordered = np.sort(members, axis=-1)
    count = ordered.shape[-1]
    out = []
    for q in at:
        position = min(max(q * (count + 1) - 1.0, 0.0), count - 1.0)
        k = min(int(position), count - 2)
        part = position - k
        out.append(ordered[..., k] * (1.0 - part) + ordered[..., k + 1] * part)
    return np.stack(out, 1).astype(np.float64)
