"""Where patients stand on their day of treatment: posterior samples, and what today had."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators.history_batch import batches
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.estimators.history_estimates import SAMPLES, Seen, estimators
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.models.compartments import Doses, Linear, State
from dosetwin.twins.policies.regimen_grid import Standing
from dosetwin.twins.policies.regimen_schedule import day_of_treatment, entered_between, recent_doses
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision

Values = npt.NDArray[np.float64]
RUNNING = 3
"""Doses before now whose infusion may still run."""
TOGETHER = 8
"""Patients the policy computes at once: one size, one compilation."""


@dataclass(frozen=True)
class Patients:
    """n patients. `standing`: arrays with a leading axis of patients; theta now [n, S, P]; last dose's begin.

    since_last_h [n]: since the last dose began (infinite: none); running_h [n]: until the last infusion ends.
    """

    standing: Standing
    theta_now: Values
    since_last_h: Values
    running_h: Values
    effective: Values
    converged: npt.NDArray[np.bool_]

    @property
    def held(self) -> Values:
        """Drug in the body now [n, S]."""
        state = self.standing.state
        total: Values = np.asarray(state.x).sum(axis=2) + np.asarray(state.depot)
        return total


def stand(
    model: PopulationModel,
    drift: Drift | None,
    arrays: Sequence[Arrays],
    at_s: Sequence[float],
    noise: Values,
) -> Patients:
    """Estimate every patient now and at the beginning of the day of treatment."""
    n = len(arrays)
    now_h = np.array([(at - a.origin_s) / 3600 for at, a in zip(at_s, arrays, strict=True)])
    today_h = np.array([day_of_treatment(a.doses, t) for a, t in zip(arrays, now_h, strict=True)])
    structure, call = model.structure, estimators(model.root, drift)
    assert isinstance(structure, Linear)
    P = len(structure.parameters)
    theta, ahead, before = (np.ones((n, SAMPLES, P)) for _ in range(3))
    x, x_0 = np.zeros((n, SAMPLES, structure.size)), np.zeros((n, SAMPLES, structure.size))
    depot, depot_0 = np.zeros((n, SAMPLES)), np.zeros((n, SAMPLES))
    effective, converged = np.zeros(n), np.zeros(n, np.bool_)
    asks = np.stack([today_h, now_h], axis=1).tolist()
    for batch in batches(model, arrays, asks, drift):
        found = call.estimate(model.population, batch, noise[batch.rows])
        picked = Seen(*jax.tree.map(found.equally, tuple(found.seen)))
        amounts = picked.amounts[: batch.count]
        for k, name in enumerate(structure.parameters):
            if name in picked.parameters:
                both = picked.parameters[name][: batch.count]
                before[batch.index, :, k], theta[batch.index, :, k] = both[..., 0], both[..., 1]
                ahead[batch.index, :, k] = picked.ahead[name][: batch.count]
        effective[batch.index] = found.samples.effective[: batch.count]
        converged[batch.index] = found.mode.converged[: batch.count]
        x_0[batch.index], x[batch.index] = (
            amounts[..., 0, -structure.size :],
            amounts[..., 1, -structure.size :],
        )
        if structure.absorption == "first_order":
            depot_0[batch.index], depot[batch.index] = amounts[..., 0, 0], amounts[..., 1, 0]
    came = np.array([entered_between(a.doses, t, u) for a, t, u in zip(arrays, today_h, now_h, strict=True)])
    CL, F = structure.parameters.index("CL"), structure.parameters.index("F")
    mean_clearance = np.sqrt(before[..., CL] * theta[..., CL])
    lost = came[:, None] * theta[..., F] + x_0.sum(axis=2) + depot_0 - x.sum(axis=2) - depot
    running = np.empty((n, 4, RUNNING))
    since, runs = np.full(n, np.inf), np.zeros(n)
    for i, a in enumerate(arrays):
        running[i] = recent_doses(a.doses, now_h[i], RUNNING)
        running[i, 0] -= now_h[i]
        begun = [dose for dose in a.doses if dose[0] <= now_h[i]]
        if begun:
            since[i] = now_h[i] - begun[-1][0]
            ends = begun[-1][0] + begun[-1][1] - now_h[i]
            runs[i] = max(ends, 0.0) if np.isfinite(ends) else 0.0
    standing = Standing(
        cast("Any", ahead),
        State(cast("Any", x), cast("Any", depot)),
        Doses(*np.moveaxis(running, 1, 0)),
        cast("Any", np.maximum(lost, 0.0) / mean_clearance),
        cast("Any", today_h + 24.0 - now_h),
    )
    return Patients(standing, theta, since, runs, effective, converged)


def chunks(n: int) -> Iterable[tuple[npt.NDArray[np.int64], int]]:
    """Runs over n patients in batches of one size: (row numbers, how many of them are real)."""
    start = 0
    while start < n:
        count = min(n - start, TOGETHER)
        rows = np.full(TOGETHER, start)
        rows[:count] = np.arange(start, start + count)
        yield rows, count
        start += count


def over_patients(call: Any, n: int, each: tuple[Any, ...], shared: tuple[Any, ...] = ()) -> Any:
    """`call(*each, *shared)` in batches, `each` a tree with a leading axis of n patients; NumPy arrays."""
    parts = []
    for rows, count in chunks(n):
        with double_precision():
            picked = jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], each)
            result = call(*picked, *shared)
            parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], result))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
