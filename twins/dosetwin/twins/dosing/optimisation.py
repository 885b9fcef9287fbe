"""The regimen with the best chance to attain the targets, under one patient's posterior.

For every interval, infusion time and loading dose the feasible amounts are searched from coarse to fine: the
chance to lie within targets of a growing exposure rises and falls once as the dose grows. All candidates are
simulated sample by sample; the best are simulated again with every posterior sample, exactly as they would be
given, and what is returned is one of those. Nothing is interpolated, and nothing is rounded afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dosetwin.twins.dosing.exposure import PANELS, Plan, exposures
from dosetwin.twins.dosing.products import Limits, Product, Regimen, feasible_amounts
from dosetwin.twins.dosing.targets import Chance, Target, attainment
from dosetwin.twins.inference.subject_posterior import SubjectPosterior
from dosetwin.twins.inference.weighted import weighted_mean, weighted_quantiles
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.simulation.continuation import Occasion

Values = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.5, 0.95)
COARSE = 8
"""Amounts looked at in one turn of the search for one interval, infusion time and loading dose."""
QUICK = 250
"""Samples of the search; the standard error of a chance is then at most 0.03."""
FINALISTS = 5
"""Regimens that are simulated again with every sample."""


@dataclass(frozen=True)
class Evaluation:
    """A regimen as it would be given, and what the samples say of it: one value or chance a target."""

    regimen: Regimen
    values: tuple[Values, ...]
    weight: Values
    chances: tuple[Chance, ...]
    joint: Chance
    allowed: bool
    """Whether every target's required chance is met."""
    missed: float
    """Mean relative distance of the samples from the targets: a direction where none attains."""

    @property
    def rank(self) -> tuple[bool, float, float, float]:
        """Better is larger: requirements met, the joint chance, nearness to the targets, then less drug."""
        daily = self.regimen.amount / self.regimen.interval
        return self.allowed, round(self.joint.value, 3), -self.missed, -daily


@dataclass(frozen=True)
class Recommendation:
    """The best regimen found, always as simulated.

    reached: whether its joint chance is at least `wanted` and every required chance is met. chances: one a
    target; joint: of all together. exposure: mean and quantiles of every target's measure. alternatives: all
    regimens that were looked at, best first (those with `samples` = all of them were simulated in full).
    reason: sentences for people.
    """

    regimen: Regimen
    start: float
    reached: bool
    wanted: float
    targets: tuple[Target, ...]
    chances: tuple[Chance, ...]
    joint: Chance
    exposure: pd.DataFrame
    alternatives: pd.DataFrame
    reason: str

    @property
    def plan(self) -> Plan:
        """The plan as simulated: give it to `exposure` to see the course of concentrations."""
        return Plan(self.regimen.doses(self.start), self.start)


def optimise_regimen(
    samples: SubjectPosterior,
    targets: Sequence[Target],
    *,
    start: float,
    products: Sequence[Product],
    limits: Limits,
    intervals: Sequence[float],
    durations: Sequence[float] = (0.0,),
    rate: float = 0.0,
    loadings: Sequence[float] = (1.0,),
    compartment: int = 0,
    unit: str = "mg",
    wanted: float = 0.5,
    quick: int = QUICK,
    occasion: Occasion = "last",
    covariates: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Recommendation:
    """The regimen from `start` on (subject's time) whose joint chance to attain the targets is highest.

    Doses that the records have from `start` on are replaced. `intervals`: between doses. `durations`: of an
    infusion, 0 at once; with `rate` > 0 instead the duration is amount / rate. `loadings`: the first dose as
    a multiple of the others, rounded down to a feasible amount. `wanted` is our assumption, not a standard.
    Raises ModelError where no regimen is within the limits.
    """
    if not targets:
        raise ModelError("found no target; expected at least one")
    amounts = feasible_amounts(products, limits)
    sizes = np.array(list(amounts))
    horizon = max(target.end for target in targets)

    def regimen(amount: float, interval: float, duration: float, loading: float) -> Regimen:
        first = 0.0
        if loading != 1.0:
            under = sizes[sizes <= loading * amount * (1 + 1e-9)]
            first = float(under[-1]) if len(under) else 0.0
        count = max(math.ceil(horizon / interval * (1 - 1e-12)), 1)
        length = amount / rate if rate > 0 else duration
        return Regimen(amount, interval, count, length, first, compartment, amounts[amount])

    def look(regimens: Sequence[Regimen], by: SubjectPosterior) -> list[Evaluation]:
        return evaluate(by, targets, regimens, start, occasion=occasion, covariates=covariates, seed=seed)

    by_quick = samples.thinned(quick, seed) if quick < len(samples.weight) else samples
    seen: list[Evaluation] = []
    for interval in intervals:
        for duration in durations if rate <= 0 else (0.0,):
            for loading in loadings:
                options = [regimen(float(a), interval, duration, loading) for a in sizes]
                seen += _search([r for r in options if limits.allow(r)], lambda rs: look(rs, by_quick))
    if not seen:
        raise ModelError(
            f"found no regimen within the limits {limits} at intervals {list(intervals)}; expected at "
            "least one",
            remedy="offer smaller products, longer intervals or infusions, or other limits",
        )
    seen.sort(key=lambda e: e.rank, reverse=True)
    finalists = look([e.regimen for e in seen[:FINALISTS]], samples)
    finalists.sort(key=lambda e: e.rank, reverse=True)
    best = finalists[0]
    final = {e.regimen for e in finalists}
    rows = [*finalists, *(e for e in seen if e.regimen not in final)]
    reached = best.allowed and best.joint.value >= wanted
    return Recommendation(
        regimen=best.regimen,
        start=start,
        reached=reached,
        wanted=wanted,
        targets=tuple(targets),
        chances=best.chances,
        joint=best.joint,
        exposure=_quantile_table(targets, best),
        alternatives=_alternatives(targets, rows),
        reason=_reason(samples, targets, finalists, reached, wanted, unit),
    )


def evaluate(
    samples: SubjectPosterior,
    targets: Sequence[Target],
    regimens: Sequence[Regimen],
    start: float,
    *,
    occasion: Occasion = "last",
    covariates: Mapping[str, float] | None = None,
    seed: int = 0,
) -> list[Evaluation]:
    """Every regimen simulated from `start` on, sample by sample, and compared with the targets."""
    plans = [Plan(r.doses(start), start, covariates, occasion) for r in regimens]
    groups: dict[tuple[int, float, float, str], list[int]] = {}
    for k, target in enumerate(targets):
        # NaN is not equal to itself: thresholds are compared as text
        key = (target.output, target.begin, target.end, str(target.thresholds))
        groups.setdefault(key, []).append(k)
    values: list[list[Values]] = [[np.zeros(0)] * len(targets) for _ in plans]
    for members in groups.values():
        first = targets[members[0]]
        levels = any(targets[k].levels for k in members)
        only_trough = all(targets[k].measure == "trough" for k in members)
        panels = 1 if only_trough else PANELS
        found = exposures(
            samples, first.window(start), plans, first.output, levels=levels, panels=panels, seed=seed
        )
        for i, exposed in enumerate(found):
            for k in members:
                values[i][k] = targets[k].values(exposed)
    evaluations = []
    for regimen, own in zip(regimens, values, strict=True):
        chances, joint = attainment(targets, own, samples.weight)
        allowed = all(c.value >= t.required for c, t in zip(chances, targets, strict=True))
        missed = sum(t.missed(v, samples.weight) for t, v in zip(targets, own, strict=True))
        evaluations.append(
            Evaluation(regimen, tuple(own), samples.weight, tuple(chances), joint, allowed, missed)
        )
    return evaluations


def _search(
    options: Sequence[Regimen], look: Callable[[Sequence[Regimen]], list[Evaluation]]
) -> list[Evaluation]:
    """Evaluations of some of the options (by ascending amount), closer and closer to the best one."""
    low, high = 0, len(options) - 1
    seen: dict[int, Evaluation] = {}
    while low <= high:
        picked = np.unique(np.linspace(low, high, COARSE).round().astype(int))
        new = [int(k) for k in picked if int(k) not in seen]
        if not new:
            break
        seen.update(zip(new, look([options[k] for k in new]), strict=True))
        tried = sorted(seen)
        place = tried.index(max(tried, key=lambda k: seen[k].rank))
        low, high = tried[max(place - 1, 0)], tried[min(place + 1, len(tried) - 1)]
    return list(seen.values())


def _quantile_table(targets: Sequence[Target], best: Evaluation) -> pd.DataFrame:
    rows = [
        [float(weighted_mean(v, best.weight)), *weighted_quantiles(v, best.weight, QUANTILES).tolist()]
        for v in best.values
    ]
    table = pd.DataFrame(rows, index=[t.name for t in targets], columns=["mean", *QUANTILES])
    table["unit"] = [t.unit for t in targets]
    table["chance"] = [c.value for c in best.chances]
    table["standard_error"] = [c.standard_error for c in best.chances]
    return table


def _alternatives(targets: Sequence[Target], rows: Sequence[Evaluation]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "amount": e.regimen.amount,
                "interval": e.regimen.interval,
                "duration": e.regimen.duration,
                "loading": e.regimen.loading,
                "contents": e.regimen.contents,
                "joint": e.joint.value,
                "standard_error": e.joint.standard_error,
                "allowed": e.allowed,
                **{f"chance of {t.name}": c.value for t, c in zip(targets, e.chances, strict=True)},
                "samples": len(e.weight),
            }
            for e in rows
        ]
    )


def _reason(
    samples: SubjectPosterior,
    targets: Sequence[Target],
    finalists: Sequence[Evaluation],
    reached: bool,
    wanted: float,
    unit: str,
) -> str:
    best, time_unit = finalists[0], samples.model.time_unit
    aim = " and ".join(target.text for target in targets)
    name = best.regimen.text(unit, time_unit)
    joint = f"{best.joint.value:.2f} (standard error {best.joint.standard_error:.2f})"
    if reached:
        said = f"{name}: {aim} with a chance of {joint}."
    elif not best.allowed:
        refused = ", ".join(
            f"{t.text} {c.value:.2f} of {t.required:.2f}"
            for t, c in zip(targets, best.chances, strict=True)
            if c.value < t.required
        )
        said = f"No regimen on offer has the required chances. The best, {name}, falls short: {refused}."
    else:
        said = (
            f"No regimen on offer attains {aim} with a chance of {wanted:g}. The best, {name}, has {joint}."
        )
    medians = [weighted_quantiles(v, best.weight, QUANTILES) for v in best.values]
    for target, (low, middle, high) in zip(targets, medians, strict=True):
        said += (
            f" {target.name}: median {middle:.3g} {target.unit}".rstrip() + f" (90 %: {low:.3g}-{high:.3g})."
        )
    if len(finalists) > 1:
        other = finalists[1]
        said += f" Next: {other.regimen.text(unit, time_unit)}, chance {other.joint.value:.2f}."
    if not samples.reliable:
        said += f" Caution: {samples.advice}."
    return said


__all__ = ["Evaluation", "Recommendation", "evaluate", "optimise_regimen"]
