"""From histories to forecast samples: the estimator and the forecast, batched over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import jax
import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators.history_batch import batches, filled
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.estimators.history_estimates import SAMPLES, estimators
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.models.compartments import Doses, Linear, State
from dosetwin.twins.policies.regimen_forecast import Ahead, Present, ahead
from dosetwin.twins.policies.regimen_schedule import Regimen, future_doses, recent_doses, running_regimen
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision

Values = npt.NDArray[np.float64]
RECENT = 8
SHORTEST_H = 4.0


@dataclass(frozen=True)
class Outlook:
    """Posterior samples of where n patients are now, and what candidate regimens would do to each.

    theta [n, S, P]; amount_now [n, S]; effective and converged [n]; `regimens[i][c]` is what candidate c
    means for patient i (None = nothing), candidate 0 being the regimen that is running.
    """

    model: PopulationModel
    now_h: Values
    now: Present
    recent: Values
    future: Values
    trough_h: Values
    regimens: list[list[Regimen | None]]
    effective: Values
    converged: npt.NDArray[np.bool_]

    @property
    def theta(self) -> Values:
        """Individual parameters now [n, S, P]."""
        return np.asarray(self.now.theta)

    @property
    def amount_now(self) -> Values:
        """Drug in the body now [n, S]."""
        total: Values = np.asarray(self.now.state.x).sum(axis=2) + np.asarray(self.now.state.depot)
        return total

    def simulate(self, chosen: npt.NDArray[np.integer] | None, times_h: Values, edges_h: Values) -> Ahead:
        """Concentrations at `times_h` [n, C, T] (hours from now) and areas between `edges_h` [A].

        All candidates, or where `chosen` [n] is given that one alone (C = 1).
        """
        future = self.future
        if chosen is not None:
            future = np.take_along_axis(future, np.asarray(chosen)[:, None, None, None], axis=2)
        structure = self.model.structure
        assert isinstance(structure, Linear)
        call = _simulator(structure)
        n = len(self.now_h)
        parts: list[Ahead] = []
        for rows, count in filled(n):
            with double_precision():
                result = call(
                    jax.tree.map(lambda leaf, rows=rows: leaf[rows], self.now),
                    self.now_h[rows],
                    Doses(*np.moveaxis(self.recent[rows], 1, 0)),
                    future[rows],
                    self.now_h[rows][:, None, None] + times_h[rows],
                    edges_h,
                )
                parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], result))
        joined: Ahead = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        return joined


def look_ahead(
    model: PopulationModel,
    arrays: Sequence[Arrays],
    at_s: Sequence[float],
    offered: Sequence[Regimen],
    noise: Values,
    horizon_h: float,
    drift: Drift | None = None,
) -> Outlook:
    """Estimate every patient and lay out "keep" (candidate 0) and each offered regimen to the horizon."""
    n = len(arrays)
    most = int(np.ceil(horizon_h / SHORTEST_H))
    now_h = np.array([(at - a.origin_s) / 3600 for at, a in zip(at_s, arrays, strict=True)])
    regimens: list[list[Regimen | None]] = []
    future, trough = np.empty((n, 4, 1 + len(offered), most)), np.empty((n, 1 + len(offered)))
    recent = np.empty((n, 4, RECENT))
    for i, patient in enumerate(arrays):
        begun = [dose[0] for dose in patient.doses if dose[0] <= now_h[i]]
        regimens.append([running_regimen(patient.doses, now_h[i]), *offered])
        last = begun[-1] if begun else -np.inf
        future[i], trough[i] = future_doses(regimens[i], last, now_h[i], horizon_h, most)
        recent[i] = recent_doses(patient.doses, now_h[i], RECENT)
    structure, call = model.structure, estimators(model.root, drift)
    assert isinstance(structure, Linear)
    theta, x, depot, effective, converged = _blank(structure, n)
    for batch in batches(model, arrays, [(at, at) for at in now_h.tolist()], drift):
        found = call.estimate(model.population, batch, noise[batch.rows])
        amounts = found.equally(found.seen.amounts)[: batch.count, :, -1]
        for k, name in enumerate(structure.parameters):
            if name in found.seen.ahead:
                theta[batch.index, :, k] = found.equally(found.seen.ahead[name])[: batch.count]
        effective[batch.index] = found.samples.effective[: batch.count]
        converged[batch.index] = found.mode.converged[: batch.count]
        x[batch.index] = amounts[..., -structure.size :]
        if structure.absorption == "first_order":
            depot[batch.index] = amounts[..., 0]
    now = Present(cast("Any", theta), State(cast("Any", x), cast("Any", depot)))
    return Outlook(model, now_h, now, recent, future, trough - now_h[:, None], regimens, effective, converged)


def _blank(structure: Linear, n: int) -> tuple[Values, Values, Values, Values, npt.NDArray[np.bool_]]:
    """Parameters (1 where the model has none, as F), amounts, depot, effective samples, converged."""
    theta = np.ones((n, SAMPLES, len(structure.parameters)))
    x, depot = np.zeros((n, SAMPLES, structure.size)), np.zeros((n, SAMPLES))
    return theta, x, depot, np.zeros(n), np.zeros(n, np.bool_)


@cache
def _simulator(structure: Linear) -> Callable[..., Any]:
    return jax.jit(jax.vmap(partial(ahead, structure), in_axes=(0, 0, 0, 0, 0, None)))
