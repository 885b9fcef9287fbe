"""The next level of every patient: when, what it is expected to tell, and whether it is worth it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from dosetwin.twins.policies.regimen_response import Plans
from dosetwin.twins.policies.regimen_sampling import best_time, preposterior
from dosetwin.twins.policies.regimen_standing import Patients, over_patients
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision

Values = npt.NDArray[np.float64]
ASK_H = np.arange(1.0, 24.5, 1.0)
"""Hours from now at which a level is thought of."""
SETTLED_H = 1.0
"""No level during an infusion or so soon after it: the drug is still spreading (Rybak 2020: 1-2 h)."""
LEVEL_COST = 0.05
"""What a level costs in utility (about: chance of a day within range): needle, assay, work (our choice)."""
FIRST = 2
"""Levels of a patient that are asked for whatever they are worth."""
RESULT_H, BENEFIT_H = 1.5, 48.0
"""Until a result is there, and how long what it changes counts: utility is of two days (`regimen_aims`)."""


class NextLevel(NamedTuple):
    """[n] each: hours from now (NaN: no level is worth taking), SD of the area now and after it, worth."""

    at_h: Values
    sd_now: Values
    sd_expected: Values
    worth: Values


def no_level(n: int) -> NextLevel:
    """Not worked out."""
    blank = np.full(n, np.nan)
    return NextLevel(blank, blank, blank, blank)


def next_level(
    model: PopulationModel,
    here: Patients,
    plan: Plans,
    course: Any,
    area: Values,
    utility: Values,
    first: npt.NDArray[np.bool_],
) -> NextLevel:
    """The most informative time within a day for the `area` [n, S] of tomorrow under the chosen `plan`.

    `course` [n, S, K]: concentrations at ASK_H under it; `utility` [n, S, C]: of every candidate under every
    sample. The horizon of one level is one day: a later one is thought of again at a later decision. It is
    asked for where it is worth its cost, and anyway where it is among the `first` [n]: what else would say
    that the model is not this patient's (Rybak 2020: levels, preferably two, within the first 24-48 h).
    """
    n = len(course)
    error = model.outputs[0].error
    with double_precision():
        residual = model.population.residual[0]
        mean = np.asarray(error.scale(course))
        sd = np.broadcast_to(np.asarray(error.sd(course, residual)), mean.shape)
    found = over_patients(_preposterior(), n, (mean, sd, area, utility))
    allowed = _settled(here, plan)
    before = area.var(axis=1)
    chosen = best_time(found.variance, allowed, before, ASK_H)
    pick = np.arange(n)
    worth = found.worth[pick, chosen] * (1 - (ASK_H[chosen] + RESULT_H) / BENEFIT_H)
    worth = np.where(chosen >= 0, np.maximum(worth, 0.0), 0.0)
    worth_it = (chosen >= 0) & (first | (worth >= LEVEL_COST))
    return NextLevel(
        np.where(worth_it, ASK_H[chosen], np.nan),
        np.sqrt(before),
        np.sqrt(np.where(chosen >= 0, found.variance[pick, chosen], before)),
        worth,
    )


def _settled(here: Patients, plan: Plans) -> npt.NDArray[np.bool_]:
    """Whether each time lies outside infusions and the hour after them [n, K]."""
    begun = ASK_H[None, :] - np.asarray(plan.first_h)[:, None]
    interval, duration = np.asarray(plan.interval_h)[:, None], np.asarray(plan.duration_h)[:, None]
    age = np.where(begun >= 0, np.mod(begun, interval), np.inf)
    # a level drawn when the next dose is due is a trough
    running = (age > 0) & (age < duration + SETTLED_H)
    extra = (np.asarray(plan.extra) > 0)[:, None] & (np.asarray(plan.extra_h)[:, None] + SETTLED_H > ASK_H)
    before = (here.running_h > 0)[:, None] & (here.running_h[:, None] + SETTLED_H > ASK_H)
    allowed: npt.NDArray[np.bool_] = ~(running | extra | before)
    return allowed


@cache
def _preposterior() -> Callable[..., Any]:
    return jax.jit(jax.vmap(preposterior))
