"""Regimens chosen for the chance that a day's exposure meets its aims, and the time of the next level.

Candidates are an extra dose now (a loading dose) or none, with every amount and interval on offer; "keep",
which orders nothing; and "no further doses". All of them are scored sample by sample (`regimen_grid`); the
best of the grid are listed, and the choice is among those. Utility of plan c (`regimen_aims`):

    U = sum_d W_d [P(aims met on day d) - RISK_WEIGHT P(above on day d)] - upkeep(interval) - CHANGE_COST
    [changes]

"keep" is on offer where the doses say without doubt what the device will do next; elsewhere the same
regimen is ordered again in words, which a device takes as no change. When to take the next level:
`regimen_sampling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosetwin.twins.bank import Appraisal, FloatArray
from dosetwin.twins.estimators.history_drift import Drift
from dosetwin.twins.estimators.patient_history import Arrays
from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.policies.regimen_aims import (
    CHANCE_LIMIT,
    HARM_LIMIT,
    Aim,
    Exposure,
    Judged,
    judge,
    utility,
)
from dosetwin.twins.policies.regimen_grid import Answers, Grid, Kernels, day_times, kernels
from dosetwin.twins.policies.regimen_levels import ASK_H, FIRST, next_level, no_level
from dosetwin.twins.policies.regimen_plans import Plan, Products, Room, as_arrays, first_due
from dosetwin.twins.policies.regimen_response import Plans
from dosetwin.twins.policies.regimen_schedule import Regimen, certain, entered_between, running_regimen
from dosetwin.twins.policies.regimen_standing import Patients, over_patients, stand
from dosetwin.twins.policies.regimen_words import reasons, would_change
from dosetwin.twins.population_model import PopulationModel

Values = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CHANGE_COST = 0.02
LISTED = 20
"""Plans of the grid that are listed, beside "keep" and "no further doses"."""
BREACH_COST = 2.0
"""Utility lost for each unit of chance beyond a limit, where nothing on offer keeps within all of them."""

UNSURE = 0.1
"""Breach of "keep" where nobody knows what it would keep."""


@dataclass(frozen=True)
class RegimenPolicy:
    """Chooses a regimen of one drug by the chance that its aims are met, day by day.

    `targets`: values by name that an enrolment may override; the limits the plans keep to are among them
    ("maximum_24h", "maximum_amount"). `extra_per_kg`: an extra dose is at most so much a kg of body weight.
    `levels`: whether the time of the next level is worked out.
    """

    products: Products
    aims: tuple[Aim, ...]
    targets: Mapping[str, float]
    extra_per_kg: float = np.inf
    horizon_h: float = 48.0
    step_h: float = 2.0
    levels: bool = True

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
        """Score the grid, simulate its best, choose; see this module's equation."""
        n, structure = len(patients), model.structure
        assert isinstance(structure, Linear)
        here = stand(model, drift, arrays, at_s, noise)
        wanted = [{**self.targets, **given} for given in targets]
        edges = np.array([[aim.edges(row) for aim in self.aims] for row in wanted])
        grid = Grid(self.products, self.aims)
        call = kernels(structure, grid.levels)
        rows, costs, seen = self._listed(grid, call, here, arrays, at_s, wanted, edges)
        found = judge(self.aims, seen, edges[:, None, None])
        each = utility(found) - costs[:, None, :]
        score = each.mean(axis=1)
        above, harm = found.ahead_above.mean(axis=1), found.ahead_harm.mean(axis=1)
        feasible = (above <= CHANCE_LIMIT) & (harm <= HARM_LIMIT)
        sure = np.array([self._sure(a, at) for a, at in zip(arrays, at_s, strict=True)])
        feasible[:, 0] &= sure
        breach = np.maximum(above - CHANCE_LIMIT, 0) + np.maximum(harm - HARM_LIMIT, 0)
        breach[:, 0] += np.where(sure, 0.0, UNSURE)
        best = np.where(
            feasible.any(axis=1),
            np.where(feasible, score, -np.inf).argmax(axis=1),
            (score - BREACH_COST * breach).argmax(axis=1),
        )
        pick = np.arange(n)
        names = [self._names(row) for row in rows]
        chosen = [[row[k]] for row, k in zip(rows, best, strict=True)]
        plan = Plans(*(leaf[:, 0] for leaf in as_arrays(chosen, self.products)))
        grid_h = np.arange(0, self.horizon_h + self.step_h / 2, self.step_h)
        troughs = day_times(plan, here.standing.left_h, np)[:, :2]
        times = [np.broadcast_to(hours, (n, len(hours))) for hours in (grid_h, ASK_H)]
        course = over_patients(
            call.follow, n, (here.standing, plan, np.concatenate([*times, troughs], axis=1))
        )
        shown, asked = course[:, :, : len(grid_h)], course[:, :, len(grid_h) : -2]
        bands = np.quantile(shown, QUANTILES, axis=1)
        observed = model.outputs[0]
        area = seen.area[pick, :, best]
        level = no_level(n)
        if self.levels:
            few = np.array([len(a.levels) < FIRST for a in arrays])
            level = next_level(model, here, plan, asked, area[:, :, 1], each, few)
        lowest = np.full(score.shape, np.nan)
        lowest[pick, best] = np.quantile(np.minimum(shown.min(axis=2), course[:, :, -1]), 0.05, axis=1)
        keep_attains = found.met[:, :, 0, 1].mean(axis=1)
        quantiles = np.quantile(area[:, :, 1], (0.05, 0.5, 0.95), axis=1).T
        trough_now = np.quantile(course[:, :, -1], (0.05, 0.5, 0.95), axis=1).T
        first = self.aims[0]
        return Appraisal(
            patients=list(patients),
            at_s=np.asarray(at_s, dtype=np.float64),
            candidates=("keep", "no further doses", *(f"plan {k + 1}" for k in range(LISTED))),
            own_candidates=names,
            utility=score,
            attainment=found.met[..., 1].mean(axis=1),
            feasible=feasible,
            best=best,
            risks=self._risks(found, seen, edges, above, harm),
            orders=[[(), *(plan.orders(self.products) for plan in row[1:])] for row in rows],
            quantiles=QUANTILES,
            bands={observed.quantity: np.moveaxis(bands, 0, 1)},
            band_units={observed.quantity: observed.unit},
            step_s=self.step_h * 3600,
            lowest={observed.quantity: lowest},
            on_board={self.products.drug: np.median(here.held, axis=1)},
            estimates=estimates(model, here.theta_now) | {"AUC24": ("mg.h/L", quantiles[:, [1, 0, 2]])},
            time_to_event_s=self._time_above(area, edges, here),
            evidence={
                "auc24_low": quantiles[:, 0],
                "auc24_median": quantiles[:, 1],
                "auc24_high": quantiles[:, 2],
                "auc24_today": np.median(area[:, :, 0], axis=1),
                "auc24_24h_ahead": np.median(area[:, :, 3], axis=1),
                "attainment_today": found.met[pick, :, best, 0].mean(axis=1),
                "trough_low": trough_now[:, 0],
                "trough_median": trough_now[:, 1],
                "trough_high": trough_now[:, 2],
                "attainment_keep": np.where(sure, keep_attains, np.nan),
                "next_sample_h": level.at_h,
                "auc24_sd_now": level.sd_now,
                "auc24_sd_expected": level.sd_expected,
                "next_sample_worth": level.worth,
                "effective_samples": here.effective,
                "converged": here.converged.astype(float),
            },
            reasons=reasons(first, wanted, names, best, found, area, level, sure),
            would_change=would_change(here.theta_now, structure, each, feasible, best, names),
        )

    def _listed(
        self,
        grid: Grid,
        call: Kernels,
        here: Patients,
        arrays: Sequence[Arrays],
        at_s: Sequence[float],
        wanted: Sequence[Mapping[str, float]],
        edges: Values,
    ) -> tuple[list[list[Plan]], Values, Exposure]:
        """Plans listed of each patient ("keep" and "no further doses" first), their costs, their exposure."""
        n, offer = len(arrays), self.products
        upkeep = np.array(offer.upkeep)
        firsts = first_due(grid.intervals, here.since_last_h)
        nows = [(at - a.origin_s) / 3600 for at, a in zip(at_s, arrays, strict=True)]
        runs = [running_regimen(a.doses, now) for a, now in zip(arrays, nows, strict=True)]
        kept = [
            Plan(0.0, run, 0.0 if run is None else max(run.interval_h - since, 0.0))
            for run, since in zip(runs, here.since_last_h, strict=True)
        ]
        seen = over_patients(call.answers, n, (here.standing, *grid.units(firsts, kept)))
        past = np.asarray(here.standing.past_area)
        rows, costs, exposed = [], np.zeros((n, 2 + LISTED)), []
        for i, running in enumerate(runs):
            own = Answers(*(leaf[i] for leaf in seen))
            worth, above, harm = grid.scores(own, past[i], edges[i])
            room = self._room(arrays[i], nows[i], wanted[i], here.since_last_h[i])
            breach = np.maximum(above - CHANCE_LIMIT, 0) + np.maximum(harm - HARM_LIMIT, 0)
            total = worth - upkeep[None, :, None] - BREACH_COST * breach
            ranked = np.where(room.allows(offer, grid.extras, grid.amounts), total, -np.inf)
            row = [kept[i], Plan(0.0, None, 0.0)]
            places = _chosen(ranked, LISTED)
            for x, k, a in places:
                amount = float(grid.amounts[a])
                regimen = Regimen(amount, offer.infusion_h(amount), float(grid.intervals[k]))
                row.append(Plan(float(grid.extras[x]), regimen, float(firsts[i, k, int(x > 0)])))
                costs[i, len(row) - 1] = upkeep[k] + CHANGE_COST * (not _same(regimen, running) or x > 0)
            on_now = 0.0 if running is None else running.amount
            keep, none = (grid.kept(own, past[i], amount) for amount in (on_now, 0.0))
            # a list of one length for all: what is left over repeats what orders nothing more
            spare = 2 + LISTED - len(row)
            row += [row[1]] * spare
            parts = [keep, none]
            if places:
                parts.append(grid.exposure(own, past[i], *np.array(places).T))
            parts += [none] * spare
            exposed.append([np.concatenate(leaves, axis=1) for leaves in zip(*parts, strict=True)])
            if running is not None:
                costs[i, 0] = upkeep[np.abs(grid.intervals - running.interval_h).argmin()]
            rows.append(row)
        return rows, costs, Exposure(*(np.stack(leaves) for leaves in zip(*exposed, strict=True)))

    def _room(self, arrays: Arrays, now_h: float, wanted: Mapping[str, float], since_h: float) -> Room:
        weight = arrays.stretches[-1][1].get("weight", np.inf)
        return Room(
            given_24h=entered_between(arrays.doses, now_h - 24.0, now_h + 1e-9),
            maximum_24h=wanted.get("maximum_24h", np.inf),
            maximum_amount=wanted.get("maximum_amount", np.inf),
            maximum_extra=self.extra_per_kg * weight,
            extra_allowed=since_h >= self.products.spacing_h,
        )

    @staticmethod
    def _sure(arrays: Arrays, at_s: float) -> bool:
        return certain(arrays.doses, (at_s - arrays.origin_s) / 3600)

    def _names(self, row: list[Plan]) -> tuple[str, ...]:
        return "keep", *(plan.name(self.products.unit) for plan in row[1:])

    def _risks(
        self, found: Judged, seen: Exposure, edges: Values, above: Values, harm: Values
    ) -> dict[str, FloatArray]:
        risks: dict[str, FloatArray] = {"above_range": above, "above_maximum": harm}
        for k, aim in enumerate(self.aims):
            values = getattr(seen, {"auc24": "area"}.get(aim.measure, aim.measure))[..., 1]
            low, high = edges[:, None, None, k, 0], edges[:, None, None, k, 1]
            risks[f"{aim.measure}_below"] = (values < low).mean(axis=1)
            risks[f"{aim.measure}_above"] = (values > high).mean(axis=1)
        return risks

    def _time_above(self, area: Values, edges: Values, here: Patients) -> Values:
        """When the exposure of a day will likelier than not have passed its range; NaN where it will not."""
        when = np.full(len(area), np.nan)
        for k, aim in enumerate(self.aims):
            if aim.measure != "auc24":
                continue
            for day in (2, 1, 0):
                high = edges[:, k, 1]
                likely = (area[:, :, day] > high[:, None]).mean(axis=1) > 0.5
                share = np.minimum(high / np.maximum(np.median(area[:, :, day], axis=1), 1e-9), 1.0)
                end_h = np.asarray(here.standing.left_h) + 24.0 * day
                at_h = np.maximum(end_h - 24.0 * (1 - share), 0.0)
                when = np.where(likely, at_h * 3600.0, when)
        return when


def _chosen(ranked: Values, most: int) -> list[tuple[int, int, int]]:
    """Places in the grid: the best of every interval with and without an extra dose, then the best of all."""
    picked: list[tuple[int, int, int]] = []
    for k in range(ranked.shape[1]):
        for begin, end in ((0, 1), (1, ranked.shape[0])):
            part = ranked[begin:end, k]
            if part.size and np.isfinite(part).any():
                x, a = np.unravel_index(int(part.argmax()), part.shape)
                picked.append((begin + int(x), k, int(a)))
    picked.sort(key=lambda place: -ranked[place])
    picked = picked[: most // 2]
    for flat in np.argsort(-ranked, axis=None)[: 2 * most]:
        i, k, j = (int(v) for v in np.unravel_index(int(flat), ranked.shape))
        if len(picked) < most and np.isfinite(ranked[i, k, j]) and (i, k, j) not in picked:
            picked.append((i, k, j))
    return picked


def _same(regimen: Regimen, running: Regimen | None) -> bool:
    return (
        running is not None
        and abs(regimen.amount - running.amount) < 1.0
        and abs(regimen.interval_h - running.interval_h) < 1.0
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
