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
from dosetwin.twins.estimators.ensemble_meal_ratio import ratio_g_per_U
from dosetwin.twins.estimators.ensemble_prior import BASAL_GLUCOSE_MMOL_L, CORRECTION_RULE
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.models.insulin_absorption import K_E, V_I
from dosetwin.twins.policies import insulin_candidates as candidates
from dosetwin.twins.policies import insulin_forecast as horizon
from dosetwin.twins.policies import insulin_scores as scores
from dosetwin.twins.policies.insulin_reason import Reasons
from dosetwin.twins.policies.insulin_targets import InsulinTargets

BATCHES = (8, 64, 256)
"""Sizes that a batch is padded to; whole ones of the largest are taken first."""

FloatArray = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]


class Present(NamedTuple):
    """Patients at the times decided for; all arrays [n].

    `running_U_per_h` (NaN: no pump has spoken yet) holds since `since_s`; `deliveries` tell the infusions.
    `daily_U` is the total daily dose that stands for how sensitive the patient is, `basal_U_per_h` the
    programme.
    """

    patients: list[str]
    at_s: FloatArray
    weight_kg: FloatArray
    daily_U: FloatArray
    basal_U_per_h: FloatArray
    running_U_per_h: FloatArray
    since_s: FloatArray
    sensitivity_centre: FloatArray
    targets: InsulinTargets[FloatArray]
    deliveries: Sequence[Delivery]


class Inferred(NamedTuple):
    """What nobody announced: probability of each family [families, n], and the expected meal, g/kg [n]."""

    probability: Values
    meal_g_per_kg: Values


def appraise(
    present: Present, members: Values, inferred: Inferred, keys: npt.NDArray[np.uint32]
) -> Appraisal:
    """Score every candidate for every patient; `members` [n, rows x members] stand at `present.at_s`."""
    n = len(members)
    x = members.reshape(n, row.ROWS, -1)
    at_s, weight, daily = present.at_s, present.weight_kg, present.daily_U
    targets, basal = present.targets, present.basal_U_per_h
    running = np.where(np.isnan(present.running_U_per_h), basal, present.running_U_per_h)
    temporary = np.abs(running - basal) >= targets.rate_increment_U_per_h
    left = np.where(temporary, np.clip(present.since_s + candidates.RATE_DURATION_S - at_s, 0.0, None), 0.0)
    left = np.nan_to_num(left)

    glucose_now = x[:, row.Q1].mean(1).astype(np.float64) * (MG_DL_PER_MMOL_L / V_G)
    gut = (x[:, row.D0] + x[:, row.D1] + x[:, row.D2]) * weight[:, None].astype(np.float32)
    gut_g = gut.mean(1).astype(np.float64)
    board = _on_board(x, weight, basal)
    on_board = np.maximum(board.mean(1), 0.0).astype(np.float64)
    learned = x[:, row.LN_SIT : row.LN_SIE + 1].mean((1, 2)).astype(np.float64) - present.sensitivity_centre
    needs = daily * np.exp(-np.clip(learned, -0.7, 0.7))
    rates = candidates.rates(basal, targets.rate_increment_U_per_h)
    boluses = candidates.boluses(
        (glucose_now - targets.goal_mg_dL) * needs / CORRECTION_RULE,
        gut_g / _meal_ratio(x, basal * 1000.0 / 60.0 / weight),
        on_board,
        basal,
        targets.maximum_bolus_U,
        targets.bolus_increment_U,
    )
    per_rate, per_bolus = 1000.0 / 60.0 / weight, 1000.0 / weight
    infused, steady = _infused(present)
    begun = _begin(
        members,
        (
            (infused * per_rate).astype(np.float32),
            (basal * per_rate).astype(np.float32),
            (rates * per_rate).astype(np.float32),
            (boluses * per_bolus).astype(np.float32),
            (needs / CORRECTION_RULE * per_bolus).astype(np.float32),
            targets.goal_mg_dL.astype(np.float32),
            targets.low_mg_dL.astype(np.float32),
            targets.high_mg_dL.astype(np.float32),
            np.stack([targets.risk_below_70, targets.risk_below_54]).astype(np.float32),
            targets.floor_mg_dL.astype(np.float32),
            np.mod(at_s / 60.0, 1440.0).astype(np.float32),
            keys,
        ),
        steady,
    )
    # the device works on the batches meanwhile
    codes = candidates.order_codes(
        rates, boluses, present.running_U_per_h, left, basal, targets.rate_increment_U_per_h
    )
    listed = candidates.ORDERS
    orders = [[listed[code] for code in of_patient] for of_patient in codes.tolist()]
    estimates = _estimates(x, weight, gut, board, present.sensitivity_centre)

    points = horizon.POINTS + 1
    parts = [batch.result() for batch in begun]
    bands = np.concatenate([part.bands for part in parts])
    best, wanted, falls, rises = np.concatenate([part.choice for part in parts], axis=1)
    best, wanted = best.astype(np.int64), wanted.astype(np.int64)
    utility, attainment, below_70, below_54, above_250, lowest, possible = np.concatenate(
        [part.scores for part in parts], axis=2
    ).transpose(0, 2, 1)
    feasible = possible > 0.5
    index = np.arange(n)
    lowest_best, below_70_best = lowest[index, best], below_70[index, best]
    glucose = bands[:, :, :points]
    step_s = horizon.STEP_MIN * horizon.STEPS_PER_POINT * 60.0
    probability = dict(zip((family.name for family in row.FAMILIES), inferred.probability, strict=True))
    meal_g = inferred.meal_g_per_kg * weight
    runner_up = _runner_up(utility, feasible, best)
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
            "utility_of_runner_up": utility[index, runner_up],
            "unannounced_meal_g": meal_g,
            **{f"probability_{name}": np.asarray(values, float) for name, values in probability.items()},
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
            suspected=probability,
            meal_g=meal_g,
        ),
        would_change=_reasons.would_change(best, wanted, runner_up, falls=falls, rises=rises),
    )


def _meal_ratio(x: Values, basal_mU_kg_min: FloatArray) -> FloatArray:
    """[n] grams that a unit covers, at the members' mean parameters."""
    logs = x[:, row.LN_SIT : row.LN_AG + 1].mean(2).astype(np.float64)
    S_IT, S_ID, S_IE, EGP0, *_, A_G = np.exp(logs.T)
    return ratio_g_per_U(basal_mU_kg_min, BASAL_GLUCOSE_MMOL_L, EGP0, (S_IT, S_ID, S_IE), A_G)


def _runner_up(
    utility: Values, feasible: npt.NDArray[np.bool_], best: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    """The best of the other candidates: of the feasible ones where there is another."""
    others = np.where(feasible, utility, utility - 1e6)
    others[np.arange(len(best)), best] = -np.inf
    second: npt.NDArray[np.int64] = others.argmax(1)
    return second


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
        "delivered_share": ("1", x[:, row.SITE]),
        "unannounced_glucose": ("g/h", x[:, row.FLUX] * (np.float32(60.0 * 0.18016) * per_patient)),
    }
    stacked = _quantiles(np.stack([values for _, values in members.values()], 1), (0.5, 0.05, 0.95))
    return {name: (unit, stacked[:, :, k]) for k, (name, (unit, _)) in enumerate(members.items())}


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


def _infused(present: Present) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """[steps, n] U/h from infusions that still run (the candidates add to this).

    One row where none runs; and for each patient whether that is so.
    """
    n = len(present.patients)
    running = [i for i, delivery in enumerate(present.deliveries) if delivery.infusions]
    steady = np.ones(n, bool)
    if not running:
        return np.zeros((1, n)), steady
    steady[running] = False
    rates = np.zeros((horizon.STEPS, n))
    step_s = horizon.STEP_MIN * 60.0
    for i in running:
        only = present.deliveries[i]._replace(rate_U_per_h=0.0, changes=())
        for k in range(horizon.STEPS):
            start = present.at_s[i] + k * step_s
            rates[k, i] = mean_rate(only, start, start + step_s, 0.0)
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
    choice: Values
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
    made = horizon.forecast_batch(ensembles[part], horizon.Outlook(*map(jnp.asarray, asked)))
    return _Part(
        np.asarray(made.scores)[:, :, :count],
        np.asarray(made.choice)[:, :count],
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
