"""Monitoring: one candidate, "monitor", that orders nothing; the forecast goes on with what is running.

Attainment is the chance that the last trough within the horizon lies in the concentration range that the
therapy aims at; the risks are the chances of leaving it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.policies.regimen import QUANTILES, Values, estimates
from dosetwin.twins.policies.regimen_outlook import look_ahead
from dosetwin.twins.population_model import PopulationModel


@dataclass(frozen=True)
class MonitoringPolicy:
    """Forecasts concentrations; `targets` holds "concentration_low" and "concentration_high"."""

    targets: Mapping[str, float]
    horizon_h: float
    step_h: float

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
        """Forecast each patient under the dosing that is running."""
        n, grid_h = len(patients), np.arange(0, self.horizon_h + self.step_h / 2, self.step_h)
        look = look_ahead(model, arrays, at_s, (), noise, self.horizon_h, drift)
        asked = np.concatenate([np.tile(grid_h, (n, 1, 1)), look.trough_h[:, :, None]], axis=2)
        levels = np.asarray(look.simulate(None, asked, np.array([0.0, self.horizon_h])).concentration)
        concentration, troughs = levels[..., :-1], levels[..., -1]
        wanted = [{**self.targets, **given} for given in targets]
        low = np.array([t["concentration_low"] for t in wanted])
        high = np.array([t["concentration_high"] for t in wanted])
        attainment = ((troughs >= low[:, None, None]) & (troughs <= high[:, None, None])).mean(axis=1)
        above = (concentration > high[:, None, None, None]).any(axis=3).mean(axis=1)
        below = (troughs < low[:, None, None]).mean(axis=1)
        likely = (concentration[:, :, 0, :] > high[:, None, None]).mean(axis=1) > 0.5
        when = np.where(likely.any(axis=1), grid_h[likely.argmax(axis=1)] * 3600, np.nan)
        quantity, unit = model.outputs[0].quantity, model.outputs[0].unit
        bands = np.quantile(concentration[:, :, 0, :], QUANTILES, axis=1)
        median = np.median(troughs[:, :, 0], axis=1)
        return Appraisal(
            patients=list(patients),
            at_s=np.asarray(at_s, dtype=np.float64),
            candidates=("monitor",),
            utility=attainment,
            attainment=attainment,
            feasible=np.ones((n, 1), dtype=np.bool_),
            best=np.zeros(n, dtype=np.int64),
            risks={"above_range": above, "below_range": below},
            orders=[[()] for _ in patients],
            quantiles=QUANTILES,
            bands={quantity: np.moveaxis(bands, 0, 1)},
            band_units={quantity: unit},
            step_s=self.step_h * 3600,
            lowest={quantity: np.quantile(concentration.min(axis=3), 0.05, axis=1)},
            on_board={quantity: np.median(look.amount_now, axis=1)},
            estimates=estimates(model, look.theta),
            time_to_event_s=when,
            evidence={
                "trough_median": median,
                "effective_samples": look.effective,
                "converged": look.converged.astype(float),
            },
            reasons=[
                f"monitored: trough {median[i]:.3g} {unit} expected within {self.horizon_h:g} h, "
                f"{attainment[i, 0]:.0%} chance of {low[i]:g}-{high[i]:g} {unit}"
                for i in range(n)
            ],
            would_change=[""] * n,
        )
