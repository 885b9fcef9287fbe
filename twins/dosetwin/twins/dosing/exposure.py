"""Exposure to a drug over a window of time: area, extremes, times above and within thresholds.

Works for any structure, through the event engine; accumulated between events as described in
`dosetwin.twins.dosing.accumulating`, with the numerical error stated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Array

from dosetwin.twins.data.subject import OBSERVATION, OTHER, RESET, RESET_AND_DOSE, Dose, Subject
from dosetwin.twins.dosing.accumulating import ACCUMULATED, WINDOW, Accumulating
from dosetwin.twins.inference.subject_posterior import SubjectPosterior
from dosetwin.twins.inference.weighted import weighted_mean, weighted_quantiles
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.continuation import Occasion, with_records, without_doses_from
from dosetwin.twins.simulation.engine import run
from dosetwin.twins.simulation.event_program import Program, Shape
from dosetwin.twins.simulation.individual import individual_parameters
from dosetwin.twins.simulation.program_writer import Written, stack, write_program

Values = npt.NDArray[np.float64]
PANELS = 48
"""A window is cut into so many panels for levels and quadrature; more where it has more events."""
TOGETHER = 8
"""Regimens that run in one compiled call."""


class Window(NamedTuple):
    """From `begin` to `end` in the model's time unit; thresholds for times above and within (NaN: none)."""

    begin: float
    end: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Exposure:
    """What S weighted samples are exposed to over a window; arrays [S], times in the model's unit.

    area: integral of the quantity (AUC); average = area / length; highest, lowest: over the window, a peak
    just after a bolus included; trough: at its end, before a dose due then; time_above: with the quantity
    above `window.low`; time_within: between `window.low` and `window.high`. area_error, level_error,
    time_error: bounds of the numerical error of each sample. course [S, T]: the quantity at `times`.
    highest, lowest and times are NaN where only areas were asked for.
    """

    window: Window
    unit: str
    weight: Values
    area: Values
    area_error: Values
    highest: Values
    lowest: Values
    level_error: Values
    trough: Values
    time_above: Values
    time_within: Values
    time_error: Values
    times: Values
    course: Values

    @property
    def average(self) -> Values:
        """Mean of the quantity over the window."""
        return self.area / (self.window.end - self.window.begin)

    def area_over(self, mic: float) -> Values:
        """AUC/MIC."""
        return self.area / mic

    def quantiles(self, probabilities: Sequence[float] = (0.05, 0.5, 0.95)) -> pd.DataFrame:
        """Mean and quantiles of every measure over the samples."""
        names = ("area", "average", "highest", "lowest", "trough", "time_above", "time_within")
        rows = {}
        for name in names:
            values: Values = getattr(self, name)
            if np.isfinite(values).all():
                table = weighted_quantiles(values, self.weight, probabilities)
                rows[name] = [float(weighted_mean(values, self.weight)), *table.tolist()]
        return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", *probabilities])


@dataclass(frozen=True)
class Plan:
    """Doses to come, in the subject's own time.

    start: doses in the records from then on are left out (None: all stay).
    covariates, occasion: of the time after the last record, where they are not as they were there.
    """

    doses: tuple[Dose, ...]
    start: float | None = None
    covariates: Mapping[str, float] | None = None
    occasion: Occasion = "last"


def exposure(
    samples: SubjectPosterior,
    window: Window,
    plan: Plan | None = None,
    *,
    output: int = 1,
    times: Sequence[float] | Values = (),
    levels: bool = True,
    panels: int = PANELS,
    seed: int = 0,
) -> Exposure:
    """Exposure of one subject's samples over a window, with the doses of `plan` added to its records.

    `output`: 1-based index of the observed quantity. `levels` False: only area, trough and course, faster.
    Raises ModelError where the window holds a reset, is empty, or gives numbers that are not finite.
    """
    plans = [plan or Plan(())]
    return next(exposures(samples, window, plans, output, times, levels=levels, panels=panels, seed=seed))


def exposures(
    samples: SubjectPosterior,
    window: Window,
    plans: Sequence[Plan],
    output: int = 1,
    times: Sequence[float] | Values = (),
    *,
    levels: bool = True,
    panels: int = PANELS,
    seed: int = 0,
) -> Iterator[Exposure]:
    """`exposure` of every plan, in batches of TOGETHER."""
    model = samples.model
    if not window.begin < window.end:
        raise ModelError(f"found a window from {window.begin} to {window.end}; expected begin before end")
    if not 1 <= output <= len(model.outputs):
        raise ModelError(f"found output {output}; expected 1..{len(model.outputs)}")
    moments = np.union1d(np.asarray(times, np.float64), [window.end])
    chosen = np.searchsorted(moments, np.asarray(times, np.float64))
    at_end = int(np.searchsorted(moments, window.end))
    exact = Accumulating(model.structure, model.outputs[output - 1], levels).balanced and not levels
    edges = [window.begin] if exact else np.linspace(window.begin, window.end, panels + 1)[:-1].tolist()
    subjects = [_planned(model, samples.subject, plan, moments, edges, window, output) for plan in plans]
    z = [samples.for_occasions(subject, seed) for subject in subjects]
    written = [write_program(model, subject) for subject in subjects]
    limits = np.array([window.begin, window.end, *(_or(v, 0.0) for v in (window.low, window.high))])
    for begin in range(0, len(plans), TOGETHER):
        part = slice(begin, begin + TOGETHER)
        course, found = _run(model, output - 1, levels, written[part], z[part], limits)
        for k, subject in enumerate(subjects[part]):
            if not np.isfinite(course[k]).all() or not np.isfinite(found[k]).all():
                raise ModelError(
                    f"subject {subject.id}: found an exposure that is not finite under {plans[begin + k]}",
                    remedy="check the parameters' size and units; a stiff system needs an Adaptive solver",
                )
            yield _exposure(
                samples, window, found[k][:, at_end], course[k], moments, chosen, at_end, levels, output
            )


def _or(value: float, default: float) -> float:
    return default if math.isnan(value) else value


def _exposure(
    samples: SubjectPosterior,
    window: Window,
    found: Values,
    course: Values,
    moments: Values,
    chosen: npt.NDArray[np.int64],
    at_end: int,
    levels: bool,
    output: int,
) -> Exposure:
    named = dict(zip(ACCUMULATED, found.T, strict=True))
    nothing = np.full(len(found), np.nan)
    with_low, with_high = levels and not math.isnan(window.low), levels and not math.isnan(window.high)
    return Exposure(
        window=window,
        unit=samples.model.outputs[output - 1].unit,
        weight=samples.weight,
        area=named["area"],
        area_error=named["area_error"],
        highest=named["highest"] if levels else nothing,
        lowest=named["lowest"] if levels else nothing,
        level_error=named["level_error"] if levels else nothing,
        trough=course[:, at_end],
        time_above=named["above_low"] if with_low else nothing,
        time_within=named["above_low"] - named["above_high"] if with_low and with_high else nothing,
        time_error=named["time_error"] if levels else nothing,
        times=moments[chosen],
        course=course[:, chosen],
    )


def _planned(
    model: PopulationModel,
    subject: Subject,
    plan: Plan,
    moments: Values,
    edges: Sequence[float],
    window: Window,
    output: int,
) -> Subject:
    """The subject's records under the plan; its observations are only those at `moments`."""
    history = subject if plan.start is None else without_doses_from(subject, plan.start)
    history = replace(history, evid=np.where(history.evid == OBSERVATION, OTHER, history.evid))
    until = max(window.end, float(moments[-1]))
    planned = with_records(
        model,
        history,
        times=moments,
        changes=edges,
        doses=[dose for dose in plan.doses if dose.time <= until],
        output=output,
        occasion=plan.occasion,
        covariates=plan.covariates,
    )
    back = np.flatnonzero(np.diff(planned.time) < 0)
    last = np.arange(len(planned)) > (back[-1] if len(back) else -1)
    resets = np.isin(planned.evid, (RESET, RESET_AND_DOSE)) | (planned.steady_state == 1)
    inside = last & resets & (planned.time > window.begin) & (planned.time < window.end)
    if inside.any():
        raise ModelError(
            f"subject {subject.id}: found a reset at {planned.time[inside][0]:g} in the window from "
            f"{window.begin:g} to {window.end:g}; expected none",
            remedy="let the window begin at the reset",
        )
    return planned


def _run(
    model: PopulationModel,
    output: int,
    levels: bool,
    written: Sequence[Written],
    z: Sequence[Values],
    limits: Values,
) -> tuple[Values, Values]:
    """(course [C, S, T], accumulated [C, S, T, ACCUMULATED]) of a few plans, padded to TOGETHER or 1."""
    count = 1 if len(written) == 1 else TOGETHER
    padded = [*written, *[written[0]] * (count - len(written))]
    shape = written[0].shape
    for other in written[1:]:
        shape = shape.union(other.shape)
    shape = Shape(16 * math.ceil(shape.events / 16), shape.rows, shape.observations, shape.steady)
    wide = max(values.shape[1] for values in z)
    etas = np.zeros((count, *z[0].shape[:1], wide))
    for k, values in enumerate(z):
        etas[k, :, : values.shape[1]] = values
    with double_precision():
        runner = _runner(model.root, output, levels, shape.steady > 0)
        found = runner(model.population, stack(padded, shape), etas, limits)
        course, accumulated = (np.asarray(leaf) for leaf in found)
    return course[: len(written)], accumulated[: len(written)]


@cache
def _runner(
    root: PopulationModel, output: int, levels: bool, steady: bool
) -> Callable[..., tuple[Array, Array]]:
    """Compiled: plans one after the other, samples side by side."""
    watching = replace(
        root, structure=Accumulating(root.structure, root.outputs[output], levels), origin=None
    )

    def one(population: Population, program: Program, z: Array, limits: Array) -> tuple[Array, Array]:
        p = individual_parameters(root, population, program.rows, z)
        E = program.rows.occasion.shape[0]
        for name, value in zip(WINDOW, limits, strict=True):
            setattr(p, name, jnp.broadcast_to(value, (E,)))
        course = run(watching, program, p, steady=steady)
        return course.outputs[:, -1], course.amounts[:, -len(ACCUMULATED) :]

    samples = jax.vmap(one, in_axes=(None, None, 0, None))

    def every(population: Population, program: Program, z: Array, limits: Array) -> tuple[Array, Array]:
        def plan(given: tuple[Program, Array]) -> tuple[Array, Array]:
            return samples(population, given[0], given[1], limits)

        found: tuple[Array, Array] = jax.lax.map(plan, (program, z))
        return found

    return cast("Callable[..., tuple[Array, Array]]", jax.jit(every))


__all__ = ["PANELS", "Exposure", "Plan", "Window", "exposure", "exposures"]
