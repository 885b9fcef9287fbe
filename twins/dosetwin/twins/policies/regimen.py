"""Regimen candidates scored by the chance of meeting an exposure target: dose x interval, plus "keep".

Target: AUC24, the area under the concentration curve over the second day from now (24-48 h), within its
range; that day shows a change of regimen and is what a clinician can still act on. Utility of candidate c:

    U = P(low <= AUC24 <= high) - RISK_WEIGHT P(AUC24 > high) - CHANGE_COST [c is not "keep"]
        - BURDEN (doses a day - 1)

A candidate is feasible when on the first and on the second day P(AUC24 > high) stays at or below CHANCE_LIMIT
and P(AUC24 > maximum_auc24) at or below HARM_LIMIT. "keep" continues the regimen that is running
(regimen_schedule.py) and orders nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.twins.bank import Appraisal, FloatArray
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.policies.regimen_outlook import look_ahead
from dosetwin.twins.policies.regimen_schedule import Regimen
from dosetwin.twins.population_model import PopulationModel

Values = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RISK_WEIGHT = 0.5
CHANGE_COST = 0.05
BURDEN = 0.01
CHANCE_LIMIT = 0.5
HARM_LIMIT = 0.2


@dataclass(frozen=True)
class AUCRegimenPolicy:
    """Chooses a regimen by the chance that AUC24 lies in its target range.

    `offered` regimens join the running schedule. `targets` name the two edges of the range ("auc24_low",
    "auc24_high", mg.h/L) and may be overridden by an enrolment.
    """

    drug: str
    unit: str
    route: str
    offered: tuple[Regimen, ...]
    targets: Mapping[str, float]
    maximum_auc24: float
    horizon_h: float = 48.0
    step_h: float = 2.0

    def appraise(
        self,
        model: PopulationModel,
        patients: Sequence[str],
        arrays: Sequence[Arrays],
        at_s: Sequence[float],
        targets: Sequence[Mapping[str, float]],
        noise: Values,
        drift: Drift | None,
    ) -> Appraisal:
        """Score "keep" and every offered regimen; see this module's equation."""
        n = len(patients)
        look = look_ahead(model, arrays, at_s, self.offered, noise, self.horizon_h, drift)
        wanted = [{**self.targets, **given} for given in targets]
        low = np.array([t["auc24_low"] for t in wanted])[:, None, None]
        high = np.array([t["auc24_high"] for t in wanted])[:, None, None]
        # concentrations are lowest now, before a first dose, or at a trough
        first = np.minimum(np.maximum(look.future[:, 0, :, 0] - look.now_h[:, None], 0.0), self.horizon_h)
        asked = np.stack([np.zeros_like(first), first, look.trough_h], axis=2)
        every = look.simulate(None, asked, np.array([0.0, 24.0, 48.0]))
        areas, levels = np.asarray(every.auc), np.asarray(every.concentration)
        second, troughs = areas[..., 1], levels[..., 2]
        attainment = ((second >= low) & (second <= high)).mean(axis=1)
        above = (second > high).mean(axis=1)
        above_first = (areas[..., 0] > high).mean(axis=1)
        per_day = np.array([[24 / r.interval_h if r else 0.0 for r in row] for row in look.regimens])
        changes = np.arange(1 + len(self.offered)) > 0
        utility = attainment - RISK_WEIGHT * above - CHANGE_COST * changes
        utility = utility - BURDEN * np.maximum(per_day - 1, 0)
        harm = (areas > self.maximum_auc24).mean(axis=1).max(axis=2)
        feasible = (np.maximum(above, above_first) <= CHANCE_LIMIT) & (harm <= HARM_LIMIT)
        scored = np.where(feasible, utility, -np.inf)
        best = np.where(feasible.any(axis=1), scored.argmax(axis=1), (above + harm).argmin(axis=1))
        rows = np.arange(n)
        auc = np.quantile(second[rows, :, best], (0.05, 0.5, 0.95), axis=1).T
        trough = np.quantile(troughs[rows, :, best], (0.05, 0.5, 0.95), axis=1).T
        grid_h = np.arange(0, self.horizon_h + self.step_h / 2, self.step_h)
        course = look.simulate(best, np.tile(grid_h, (n, 1, 1)), np.array([0.0, 24.0]))
        bands = np.quantile(np.asarray(course.concentration)[:, :, 0], QUANTILES, axis=1)
        names = ("keep", *(self._name(regimen) for regimen in self.offered))
        orders: list[list[tuple[Order, ...]]] = [
            [(), *((self._order(regimen),) for regimen in self.offered)] for _ in patients
        ]
        evidence = {
            "auc24_low": auc[:, 0],
            "auc24_median": auc[:, 1],
            "auc24_high": auc[:, 2],
            "auc24_first_day": np.median(areas[rows, :, best, 0], axis=1),
            "trough_low": trough[:, 0],
            "trough_median": trough[:, 1],
            "trough_high": trough[:, 2],
            "attainment_keep": attainment[:, 0],
            "effective_samples": look.effective,
            "converged": look.converged.astype(float),
        }
        return Appraisal(
            patients=list(patients),
            at_s=np.asarray(at_s, dtype=np.float64),
            candidates=names,
            utility=utility,
            attainment=attainment,
            feasible=feasible,
            best=best,
            risks={
                "auc_above_600": above,
                "auc_below_400": (second < low).mean(axis=1),
                "auc_above_maximum": harm,
                "trough_above_20": (troughs > 20.0).mean(axis=1),
            },
            orders=orders,
            quantiles=QUANTILES,
            bands={model.outputs[0].quantity: np.moveaxis(bands, 0, 1)},
            band_units={model.outputs[0].quantity: model.outputs[0].unit},
            step_s=self.step_h * 3600,
            lowest={model.outputs[0].quantity: np.quantile(levels.min(axis=3), 0.05, axis=1)},
            on_board={self.drug: np.median(look.amount_now, axis=1)},
            estimates=estimates(model, look.theta) | {"AUC24": ("mg.h/L", auc[:, [1, 0, 2]])},
            time_to_event_s=_time_above(areas[rows, :, best], high[:, 0, 0]),
            evidence=evidence,
            reasons=[
                f"{names[best[i]]}: {attainment[i, best[i]]:.0%} chance of AUC24 within "
                f"{wanted[i]['auc24_low']:.0f}-{wanted[i]['auc24_high']:.0f} mg.h/L "
                f"(median {auc[i, 1]:.0f}), {above[i, best[i]]:.0%} above; "
                f"going on as now {attainment[i, 0]:.0%}"
                for i in range(n)
            ],
            would_change=[""] * n,
        )

    def _name(self, regimen: Regimen) -> str:
        return f"{regimen.amount:g} {self.unit} every {regimen.interval_h:g} h"

    def _order(self, regimen: Regimen) -> Order:
        return Order(
            drug=self.drug,
            route=self.route,
            kind="regimen",
            amount=regimen.amount,
            unit=self.unit,
            duration_s=regimen.duration_h * 3600,
            interval_s=regimen.interval_h * 3600,
        )


def estimates(model: PopulationModel, theta: Values) -> dict[str, tuple[str, FloatArray]]:
    """Median, 5 % and 95 % of clearance and of the volume at steady state, from samples [n, S, P]."""
    structure = model.structure
    assert isinstance(structure, Linear)
    names = structure.parameters
    clearance = theta[:, :, names.index("CL")]
    volume = sum(theta[:, :, names.index(name)] for name in ("V1", "V2", "V3") if name in names)
    return {
        "CL": ("L/h", np.quantile(clearance, (0.5, 0.05, 0.95), axis=1).T),
        "V": ("L", np.quantile(np.asarray(volume), (0.5, 0.05, 0.95), axis=1).T),
    }


def _time_above(auc: Values, high: Values) -> Values:
    """When the exposure of a day will likelier than not have passed `high`; NaN where it will not."""
    when = np.full(len(high), np.nan)
    for day in (1, 0):
        likely = (auc[:, :, day] > high[:, None]).mean(axis=1) > 0.5
        share = high / np.median(auc[:, :, day], axis=1)
        when = np.where(likely, (day + np.minimum(share, 1.0)) * 86_400, when)
    return when
