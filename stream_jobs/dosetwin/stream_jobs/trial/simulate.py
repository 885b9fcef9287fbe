"""One cell of a trial: patients under one policy, in lock-step from decision to decision. No Ray here."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from dosetwin.stream_jobs.trial.plan import TWIN_POLICY, Cell, TrialError, TrialPlan
from dosetwin.twins.trials.trial import Cohort, Controller, FloatArray, Outcome, Trial, TrialPlant

DAY_S = 86_400.0
MOST_POINTS = 20_000
"""A trace with more points than this is thinned: no figure shows more."""


def simulate(
    trial: Trial, plan: TrialPlan, cell: Cell, progress: Callable[[float], None] = lambda days: None
) -> Outcome:
    """Let the cell's patients live under its policy; traces as float32, thinned.

    `progress` is told the days lived so far (each patient's). Raises TrialError where the plant or the
    controller breaks its promise (see `twins.trials.trial`).
    """
    cohort = Cohort(
        numbers=range(cell.first, cell.first + cell.count),
        seed=plan.seed,
        days=plan.days,
        group=plan.group,
        challenge=cell.challenge,
        options=dict(plan.options),
    )
    plant = trial.plants[plan.plant](cohort)
    if len(plant.patients) != cell.count:
        raise TrialError(
            f"plant {plan.plant} made {len(plant.patients)} patients; {cell.count} were asked for"
        )
    controller = make_controller(trial, cell.policy, plant, cohort)
    start_s = plant.at_s
    controller.tell(plant.begin())
    while plant.at_s < plant.end_s:
        orders = controller.decide(plant.at_s)
        if len(orders) != cell.count:
            raise TrialError(f"policy {cell.policy} decided for {len(orders)} patients of {cell.count}")
        before_s = plant.at_s
        ask_for_levels(controller, plant)
        facts = plant.advance(orders)
        if not plant.at_s > before_s:
            raise TrialError(f"plant {plan.plant} did not advance beyond {before_s:g} s; it would never end")
        controller.tell(facts)
        progress((min(plant.at_s, plant.end_s) - start_s) / DAY_S)
    return _checked(plant.outcome(), trial, plan, cell)


def ask_for_levels(controller: Controller, plant: TrialPlant) -> None:
    """Where levels are drawn on request: what the controller wants next (`next_sample_s`) to the plant."""
    wanted_s, draw = getattr(controller, "next_sample_s", None), getattr(plant, "sample_at", None)
    if wanted_s is not None and draw is not None:
        draw(wanted_s)


def make_controller(trial: Trial, policy: str, plant: TrialPlant, cohort: Cohort) -> Controller:
    """The controller of that name for the plant's patients; its chance is that of the patients' numbers."""
    if policy != TWIN_POLICY:
        return trial.comparators[policy].make(plant.patients, cohort.seed)
    from dosetwin.twins.loop_group import LoopGroup

    names = [f"patient-{number}" for number in cohort.numbers]
    return cast("Controller", LoopGroup(trial.therapy, plant.patients, cohort.seed, names=names))


def _checked(outcome: Outcome, trial: Trial, plan: TrialPlan, cell: Cell) -> Outcome:
    """The outcome with what every figure and file may count on."""
    missing = [m.name for m in trial.measures if m.name not in outcome.measures]
    if missing:
        raise TrialError(f"plant {plan.plant} gave no measure {', '.join(missing)}, which the trial reports")
    measures: dict[str, FloatArray] = {}
    for measure in trial.measures:
        values = np.asarray(outcome.measures[measure.name], np.float64)
        if values.shape != (cell.count,):
            raise TrialError(
                f"plant {plan.plant}: measure {measure.name} has shape {values.shape}; "
                f"expected ({cell.count},)"
            )
        measures[measure.name] = values
    time_s = np.asarray(outcome.time_s, np.float64)
    step = -(-len(time_s) // MOST_POINTS) if len(time_s) else 1
    traces: dict[str, FloatArray] = {}
    for name, trace in outcome.traces.items():
        values = np.asarray(trace, np.float32)
        if values.shape != (cell.count, len(time_s)):
            raise TrialError(
                f"plant {plan.plant}: trace {name} has shape {values.shape}; "
                f"expected ({cell.count}, {len(time_s)})"
            )
        traces[name] = np.ascontiguousarray(values[:, ::step])
    return Outcome(measures, time_s[::step], traces)


def joined(outcomes: list[Outcome]) -> Outcome:
    """The outcomes of runs of patients as one, in that order; a shorter time axis is filled up with NaN.

    Raises TrialError where time axes contradict each other.
    """
    longest = max((outcome.time_s for outcome in outcomes), key=len)
    for outcome in outcomes:
        if not np.array_equal(outcome.time_s, longest[: len(outcome.time_s)]):
            raise TrialError(
                "chunks of one policy have different time axes; a plant's must not depend on patients"
            )
    measures = {name: np.concatenate([o.measures[name] for o in outcomes]) for name in outcomes[0].measures}
    traces = {
        name: np.concatenate([_filled(o.traces[name], len(longest)) for o in outcomes])
        for name in outcomes[0].traces
    }
    return Outcome(measures, longest, traces)


def _filled(trace: FloatArray, length: int) -> FloatArray:
    return np.pad(trace, ((0, 0), (0, length - trace.shape[1])), constant_values=np.nan)
