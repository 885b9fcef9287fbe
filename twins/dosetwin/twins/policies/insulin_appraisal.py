"""From ensembles to an appraisal: bands, risks, orders and the sentence a clinician reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.estimators.ensemble_delivery import Delivery, mean_rate
from dosetwin.twins.estimators.ensemble_noise import fold
from dosetwin.twins.estimators.ensemble_prior import basal_U_per_h
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.models.insulin_absorption import K_E, V_I
from dosetwin.twins.policies import insulin_candidates as candidates
from dosetwin.twins.policies import insulin_forecast as horizon
from dosetwin.twins.policies import insulin_scores as scores
from dosetwin.twins.policies.insulin_reason import Reasons
from dosetwin.twins.policies.insulin_targets import GOAL_MG_DL, InsulinTargets

BATCHES = (8, 64, 256)
"""Sizes that a batch is padded to; whole ones of the largest are taken first."""

FloatArray = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]


class Present(NamedTuple):
    """Patients at the times decided for; all arrays [n].

    `running_U_per_h` (NaN: no pump has spoken yet) holds since `since_s`; `deliveries` tell the infusions.
    """

    patients: list[str]
    at_s: FloatArray
    weight_kg: FloatArray
    total_daily_dose_U: FloatArray
    running_U_per_h: FloatArray
    since_s: FloatArray
    sensitivity_centre: FloatArray
    targets: InsulinTargets[FloatArray]
    deliveries: Sequence[Delivery]


def appraise(present: Present, ensembles: Values, keys: npt.NDArray[np.uint32]) -> Appraisal:
    """Score every candidate for every patient; `ensembles` [n, rows x members] stand at `present.at_s`."""
    n = len(ensembles)
    x = ensembles.reshape(n, row.ROWS, -1)
    at_s, weight, daily = present.at_s, present.weight_kg, present.total_daily_dose_U
    targets = present.targets
    basal = basal_U_per_h_of(daily)
    running = np.where(np.isnan(present.running_U_per_h), basal, present.running_U_per_h)
    temporary = np.abs(running - basal) >= candidates.RATE_INCREMENT_U_PER_H
    left = np.where(temporary, np.clip(present.since_s + candidates.RATE_DURATION_S - at_s, 0.0, None), 0.0)
    left = np.nan_to_num(left)

    glucose_now = x[:, row.Q1].mean(1).astype(np.float64) * (MG_DL_PER_MMOL_L / V_G)
    gut = (x[:, row.D1] + x[:, row.D2]) * weight[:, None].astype(np.float32)
    gut_g = gut.mean(1).astype(np.float64)
    board = _on_board(x, weight, basal)
    on_board = np.maximum(board.mean(1), 0.0).astype(np.float64)
    rates = candidates.rates(basal)
    boluses = candidates.boluses(
        glucose_now, np.full(n, GOAL_MG_DL), gut_g, on_board, daily, basal, targets.maximum_bolus_U
    )
    per_rate, per_bolus = 1000.0 / 60.0 / weight, 1000.0 / weight
    certain, steady = _certain_rates(present, basal)
    begun = _begin(
        ensembles,
        (
            (certain * per_rate).astype(np.float32),
            ((rates - basal) * per_rate).astype(np.float32),
            (boluses * per_bolus).astype(np.float32),
            targets.low_mg_dL.astype(np.float32),
            targets.high_mg_dL.astype(np.float32),
            np.stack([targets.risk_below_70, targets.risk_below_54]).astype(np.float32),
            fold(keys, np.round(at_s * 1000.0).astype(np.int64).view(np.uint64)),
        ),
        steady,
    )
    # the device works on the batches meanwhile
    codes = candidates.order_codes(rates, boluses, running, left, basal)
    listed = candidates.ORDERS
    orders = [[listed[code] for code in of_patient] for of_patient in codes.tolist()]
    estimates = _estimates(x, weight, gut, board, present.sensitivity_centre)

    points = horizon.POINTS + 1
    parts = [batch.result() for batch in begun]
    bands = np.concatenate([part.bands for part in parts])
    best = np.concatenate([part.best for part in parts])
    utility, attainment, below_70, below_54, above_250, lowest, possible = np.concatenate(
        [part.scores for part in parts], axis=2
    ).transpose(0, 2, 1)
    feasible = possible > 0.5
    index = np.arange(n)
    lowest_best, below_70_best = lowest[index, best], below_70[index, best]
    glucose = bands[:, :, :points]
    step_s = horizon.STEP_MIN * horizon.STEPS_PER_POINT * 60.0
    return Appraisal(
        patients=present.patients,
        at_s=at_s,
        candidates=candidates.CANDIDATES,
        utility=utility,
        attainment=attainment,
        feasible=feasible,
        best=best,
        risks={"below_70": below_70, "below_54": below_54, "above_250": above_250},
        orders=orders,
        quantiles=horizon.QUANTILES,
        bands={"glucose": glucose, "insulin": bands[:, :, points:]},
        band_units={"glucose": "mg/dL", "insulin": "mU/L"},
        step_s=step_s,
        lowest={"glucose": lowest},
        on_board={"insulin": on_board},
        estimates=estimates,
        time_to_event_s=time_to_event(glucose[:, 2], step_s),
        evidence={
            "glucose_mg_dL": glucose_now,
            "insulin_on_board_U": on_board,
            "carbohydrate_on_board_g": gut_g,
            "basal_U_per_h": basal,
            "running_U_per_h": running,
            "lowest_mg_dL": lowest_best,
            "probability_below_70": below_70_best,
            "probability_below_54": below_54[index, best],
            "probability_below_70_as_programmed": below_70[:, candidates.BASAL],
            "bolus_requirement_U": boluses[-1],
        },
        reasons=_reasons.write(
            best,
            codes[index, best],
            feasible=feasible[index, best],
            glucose_mg_dL=glucose_now,
            lowest_mg_dL=lowest_best,
            below_70=below_70_best,
            median_end_mg_dL=glucose[:, 2, -1],
            on_board_U=on_board,
            gut_g=gut_g,
        ),
        would_change=[""] * n,
    )


_reasons = Reasons(candidates.CANDIDATES, candidates.ORDERS)


def _estimates(
    x: Values, weight: FloatArray, gut: Values, board: Values, sensitivity_centre: FloatArray
) -> dict[str, tuple[str, npt.NDArray[np.floating]]]:
    per_patient = weight[:, None].astype(np.float32)
    centre = sensitivity_centre[:, None].astype(np.float32)
    members = {
        "sensitivity_factor": ("1", np.exp(x[:, row.LN_SIT : row.LN_SIE + 1].mean(1) - centre)),
        "glucose": ("mg/dL", x[:, row.Q1] * np.float32(MG_DL_PER_MMOL_L / V_G)),
        "insulin_on_board": ("U", board),
        "plasma_insulin": ("mU/L", x[:, row.PLASMA]),
        "carbohydrate_on_board": ("g", gut),
        "unannounced_glucose": ("g/h", x[:, row.FLUX] * (np.float32(60.0 * 0.18016) * per_patient)),
    }
    stacked = _quantiles(np.stack([values for _, values in members.values()], 1), (0.5, 0.05, 0.95))
    return {name: (unit, stacked[:, :, k]) for k, (name, (unit, _)) in enumerate(members.items())}


def basal_U_per_h_of(daily: FloatArray) -> FloatArray:
    """`basal_U_per_h`, elementwise."""
    return basal_U_per_h(1.0) * daily


def time_to_event(median: npt.NDArray[np.floating], step_s: float) -> FloatArray:
    """[n] s until the median first lies below 70 or above 250 mg/dL (linear between points), else NaN."""
    outside = (median < scores.LOW) | (median > scores.HIGH)
    first = outside.argmax(1)
    index = np.arange(len(median))
    now, before = median[index, first], median[index, np.maximum(first - 1, 0)]
    edge = np.where(now < scores.LOW, scores.LOW, scores.HIGH)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(first > 0, (edge - before) / (now - before), 1.0)
    seconds = np.where(first > 0, (first - 1 + part) * step_s, 0.0)
    return np.where(outside.any(1), seconds, np.nan)


def _certain_rates(present: Present, basal: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """[steps, n] U/h from the programme and from infusions that still run (the candidates add to this).

    One row where no infusion runs; and for each patient whether it is steady.
    """
    infused = [i for i, delivery in enumerate(present.deliveries) if delivery.infusions]
    steady = np.ones(len(basal), bool)
    if not infused:
        return basal[None], steady
    steady[infused] = False
    steps = horizon.STEPS
    rates = np.tile(basal, (steps, 1))
    step_s = horizon.STEP_MIN * 60.0
    for i in infused:
        only = present.deliveries[i]._replace(rate_U_per_h=0.0, changes=())
        for k in range(steps):
            start = present.at_s[i] + k * step_s
            rates[k, i] += mean_rate(only, start, start + step_s, 0.0)
    return rates, steady


def _on_board(x: Values, weight: FloatArray, basal: FloatArray) -> Values:
    """[n, members] U still to act beyond what the basal programme holds there (as Loop and oref0 do)."""
    per_kg = x[:, row.S1] + x[:, row.S2] + x[:, row.PLASMA] * np.float32(V_I)
    holds = (basal / 60.0)[:, None].astype(np.float32)
    kept_min = np.float32(2.0) * np.exp(x[:, row.LN_TI]) + np.float32(1.0 / K_E)
    board: Values = per_kg * (weight / 1000.0)[:, None].astype(np.float32) - holds * kept_min
    return board


class _Part(NamedTuple):
    """What the device gave for some patients; `bands` [patients, quantiles, points of glucose, insulin]."""

    scores: Values
    best: npt.NDArray[np.int32]
    bands: FloatArray


def _begin(ensembles: Values, outlook: _Outlook, steady: npt.NDArray[np.bool_]) -> list[Future[_Part]]:
    """Give the device every batch. JAX runs what one thread asks for one after another, so several ask."""
    begun, start, n = [], 0, len(ensembles)
    while start < n:
        size = batch_size(n - start)
        begun.append(_workers.submit(_one_batch, ensembles, outlook, steady, start, size))
        start += size
    return begun


_workers = ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1), thread_name_prefix="forecast")


def batch_size(left: int) -> int:
    """The size of the next batch when `left` patients are left."""
    smallest, middle, largest = BATCHES
    if left >= largest:
        return largest
    return smallest if left <= smallest else middle


def _one_batch(
    ensembles: Values, outlook: _Outlook, steady: npt.NDArray[np.bool_], start: int, size: int
) -> _Part:
    n = len(ensembles)
    count = min(size, n - start)
    part: slice | npt.NDArray[np.intp] = slice(start, start + count)
    if count < size:
        part = np.minimum(np.arange(start, start + size), n - 1)
    alike = bool(steady[start : start + count].all())
    asked = [values[..., part] for values in outlook]
    if alike:
        asked[0] = asked[0][:1]
    made = horizon.forecast_batch(ensembles[part], horizon.Outlook(*map(jnp.asarray, asked)), steady=alike)
    return _Part(
        np.asarray(made.scores)[:, :, :count],
        np.asarray(made.best)[:count],
        _quantiles(np.asarray(made.members)[:count], horizon.QUANTILES),
    )


_Outlook = tuple[npt.NDArray[np.generic], ...]
"""The fields of `insulin_forecast.Outlook`, as numpy."""


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
