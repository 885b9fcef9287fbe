"""From ensembles and diaries to an appraisal of what a person with a pen could inject now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.models.hovorka import MG_DL_PER_MMOL_L, V_G
from dosetwin.twins.models.insulin_absorption import K_E, V_I
from dosetwin.twins.models.long_acting_insulin import left_U, release_U_per_h
from dosetwin.twins.policies import pen_advice as advice
from dosetwin.twins.policies.insulin_scores import choose, within_constraints
from dosetwin.twins.policies.insulin_targets import insulin_targets
from dosetwin.twins.policies.pen_advice import Diary
from dosetwin.twins.policies.pen_forecast import POINTS_EVERY, STEP_MIN, STEPS, outlook

Floats = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def appraise(
    patients: list[str],
    at_s: Floats,
    ensembles: npt.NDArray[np.float32],
    diaries: Sequence[Diary],
    targets: Sequence[Mapping[str, float]],
    long_doses_U: Sequence[float],
    keys: npt.NDArray[np.uint32],
) -> Appraisal:
    """Score each size of bolus for every patient; `ensembles` [n, rows, members] of the newest fact.

    Where nothing is for now every candidate orders nothing; where the long-acting dose is due and no meal is
    open, every candidate orders that.
    """
    n = len(patients)
    weight = np.array([diary.weight_kg for diary in diaries])
    aims = [insulin_targets(target) for target in targets]
    release = np.array([_release(diary, at) for diary, at in zip(diaries, at_s, strict=True)])
    glucose = ensembles[:, row.Q1].mean(1).astype(np.float64) * (MG_DL_PER_MMOL_L / V_G)
    eaten = ensembles[:, row.D0] + ensembles[:, row.D1] + ensembles[:, row.D2]
    gut = eaten.mean(1).astype(np.float64) * weight
    board = _rapid_on_board(ensembles, weight, release[:, 0])
    meals = [diary.open_meal_g(at) for diary, at in zip(diaries, at_s, strict=True)]
    requirement = [
        advice.calculator_U(glucose[i], gut[i], board[i], diaries[i].daily_dose_U, aims[i].maximum_bolus_U)
        for i in range(n)
    ]
    sizes = np.stack([advice.sizes_U(requirement[i], diaries[i].step_U) for i in range(n)])
    low, high = (np.array([aim[k] for aim in aims], float) for k in (0, 1))
    found = outlook(ensembles, release, sizes, weight, keys, low, high)
    bounds = np.array([(aim.risk_below_70, aim.risk_below_54) for aim in aims]).T
    as_columns = [jnp.asarray(values.T) for values in (found.utility, found.below_70, found.below_54)]
    feasible = within_constraints(as_columns[1], as_columns[2], jnp.asarray(bounds))
    best = np.asarray(choose(as_columns[0], feasible, as_columns[1], as_columns[2]), np.intp)
    orders: list[list[tuple[Order, ...]]] = []
    for i, (diary, at) in enumerate(zip(diaries, at_s, strict=True)):
        if meals[i] > 0.0 or diary.may_correct(at, glucose[i]):
            orders.append([advice.injection(advice.RAPID, size) for size in sizes[i]])
            continue
        best[i] = 0
        due = diary.long_acting_due(at)
        orders.append([advice.injection(advice.LONG, long_doses_U[i]) if due else ()] * len(advice.SHARES))
    index = np.arange(n)
    paths = found.glucose[index, best]
    bands = np.quantile(paths, QUANTILES, axis=1).transpose(1, 0, 2)
    return Appraisal(
        patients=patients,
        at_s=at_s,
        candidates=advice.CANDIDATES,
        utility=found.utility,
        attainment=found.attainment,
        feasible=np.asarray(feasible).T,
        best=best,
        risks={"below_70": found.below_70, "below_54": found.below_54, "above_250": found.above_250},
        orders=orders,
        quantiles=QUANTILES,
        bands={"glucose": bands},
        band_units={"glucose": "mg/dL"},
        step_s=60.0 * STEP_MIN * POINTS_EVERY,
        lowest={"glucose": found.lowest},
        on_board={
            advice.RAPID: np.maximum(board, 0.0),
            advice.LONG: np.array([left_U(d.long_doses(), at) for d, at in zip(diaries, at_s, strict=True)]),
        },
        estimates={
            "glucose": ("mg/dL", _three(ensembles[:, row.Q1] * (MG_DL_PER_MMOL_L / V_G))),
        },
        time_to_event_s=np.full(n, np.nan),
        evidence={
            "glucose_mg_dL": glucose,
            "insulin_on_board_U": board,
            "carbohydrate_on_board_g": gut,
            "open_meal_g": np.array(meals),
            "bolus_requirement_U": np.array(requirement),
            "long_acting_dose_U": np.array(long_doses_U, float),
            "lowest_mg_dL": found.lowest[index, best],
            "probability_below_70": found.below_70[index, best],
        },
        reasons=[
            advice.sentence(
                orders[i][best[i]],
                meals[i],
                glucose[i],
                float(found.lowest[i, best[i]]),
                float(found.below_70[i, best[i]]),
            )
            for i in range(n)
        ],
        would_change=[_other(found.utility[i], np.asarray(feasible)[:, i], int(best[i])) for i in range(n)],
    )


def _release(diary: Diary, at_s: float) -> Floats:
    """[STEPS] U/h of long-acting insulin; half of the daily dose evenly where no dose is known."""
    doses = diary.long_doses()
    if not doses:
        return np.full(STEPS, diary.daily_dose_U / 48.0)
    step_s = 60.0 * STEP_MIN
    return np.array(
        [release_U_per_h(doses, at_s + k * step_s, at_s + (k + 1) * step_s) for k in range(STEPS)]
    )


def _rapid_on_board(
    ensembles: npt.NDArray[np.float32], weight: Floats, release_U_per_h_now: Floats
) -> Floats:
    """[n] U still to act beyond what the long-acting release holds there."""
    x = ensembles.astype(np.float64)
    held = (x[:, row.S1] + x[:, row.S2] + x[:, row.PLASMA] * V_I) * weight[:, None] / 1000.0
    kept_min = 2.0 * np.exp(x[:, row.LN_TI]) + 1.0 / K_E
    return np.asarray((held - release_U_per_h_now[:, None] / 60.0 * kept_min).mean(1))


def _three(members: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(np.quantile(members, (0.5, 0.05, 0.95), axis=1).T, np.float64)


def _other(utility: Floats, feasible: npt.NDArray[np.bool_], best: int) -> str:
    """Which size would have been next, and what kept it back."""
    others = [k for k in np.argsort(-utility) if k != best]
    if not others:
        return ""
    other = int(others[0])
    name = advice.CANDIDATES[other]
    if utility[other] > utility[best] and not feasible[other]:
        return f"{name} scored better and was kept back by the chance of a low"
    return f"{name} would have been next, {utility[best] - utility[other]:.2f} of risk worse"
