"""Targets of exposure, and the chance that a regimen attains them.

A target is a measure of the exposure over a window that should lie within [low, high]. Its times count from
the start of the plan (`attainment` gets that start), so that one target serves every patient. Each target
cites its source; there are no defaults, because a target depends on drug, organism and laboratory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.dosing.exposure import Exposure, Window
from dosetwin.twins.inference.weighted import effective_size
from dosetwin.twins.models.errors import ModelError

Values = npt.NDArray[np.float64]
Measure = Literal["area", "average", "trough", "highest", "lowest", "share_above", "share_within"]


@dataclass(frozen=True)
class Target:
    """`measure` of observed quantity `output` (1-based), over [begin, end] after the start, in [low, high].

    factor: what the measure is multiplied by before it is compared (1/MIC, 24 h/length). thresholds: of
    share_above (the first) and share_within (both). required: the chance below which a regimen is refused,
    whatever its other merits (0: none).
    """

    name: str
    measure: Measure
    begin: float
    end: float
    unit: str
    source: str
    low: float = -math.inf
    high: float = math.inf
    factor: float = 1.0
    thresholds: tuple[float, float] = (math.nan, math.nan)
    output: int = 1
    required: float = 0.0

    def __post_init__(self) -> None:
        if not self.begin < self.end:
            raise ModelError(
                f"found target {self.name} from {self.begin} to {self.end}; expected begin < end"
            )
        if not self.low <= self.high or (math.isinf(self.low) and math.isinf(self.high)):
            raise ModelError(
                f"found target {self.name} within {self.low}..{self.high}; expected low <= high, one of "
                "them finite"
            )
        if not self.source:
            raise ModelError(
                f"target {self.name} names no source", remedy="cite the guideline or the protocol"
            )
        if not 0 <= self.required <= 1:
            raise ModelError(f"found required chance {self.required} of {self.name}; expected 0..1")
        needed = {"share_above": 1, "share_within": 2}.get(self.measure, 0)
        if any(math.isnan(t) for t in self.thresholds[:needed]):
            raise ModelError(
                f"target {self.name} compares with thresholds {self.thresholds}; expected {needed}"
            )

    @property
    def levels(self) -> bool:
        """Whether it takes more than an area or a trough."""
        return self.measure not in ("area", "average", "trough")

    def window(self, start: float) -> Window:
        """The window in the subject's time, for a plan that starts at `start`."""
        return Window(start + self.begin, start + self.end, *self.thresholds)

    def values(self, exposure: Exposure) -> Values:
        """The measure of every sample, in `unit`."""
        length = exposure.window.end - exposure.window.begin
        if self.measure == "share_above":
            return self.factor * exposure.time_above / length
        if self.measure == "share_within":
            return self.factor * exposure.time_within / length
        values: Values = getattr(exposure, self.measure)
        return self.factor * values

    def attained(self, values: Values) -> npt.NDArray[np.bool_]:
        """Which samples lie within the target."""
        inside: npt.NDArray[np.bool_] = (values >= self.low) & (values <= self.high)
        return inside

    def missed(self, values: Values, weight: Values) -> float:
        """Mean distance of the samples from [low, high], relative to its finite ends."""
        size = max(abs(bound) for bound in (self.low, self.high) if math.isfinite(bound)) or 1.0
        apart = np.maximum(np.maximum(self.low - values, values - self.high), 0.0)
        return float(weight @ apart) / size

    @property
    def text(self) -> str:
        """For a sentence: `AUC24 400-600 mg.h/L`."""
        if math.isinf(self.high):
            return f"{self.name} at least {self.low:g} {self.unit}".rstrip()
        if math.isinf(self.low):
            return f"{self.name} at most {self.high:g} {self.unit}".rstrip()
        return f"{self.name} {self.low:g}-{self.high:g} {self.unit}".rstrip()


def auc(
    low: float, high: float, begin: float, end: float, unit: str, source: str, *, required: float = 0.0
) -> Target:
    """Area under the curve over the window."""
    return Target("AUC", "area", begin, end, unit, source, low, high, required=required)


def auc24(
    low: float,
    high: float,
    begin: float,
    end: float,
    unit: str,
    source: str,
    *,
    mic: float = 1.0,
    day: float = 24.0,
    required: float = 0.0,
) -> Target:
    """Mean area a day over the window, over `mic` (AUC24/MIC); `day` in the model's time unit."""
    factor = day / (end - begin) / mic
    name = "AUC24" if mic == 1 else "AUC24/MIC"
    return Target(name, "area", begin, end, unit, source, low, high, factor, required=required)


def trough(low: float, high: float, at: float, unit: str, source: str, *, required: float = 0.0) -> Target:
    """The quantity `at` a time after the start, before a dose due then."""
    return Target("trough", "trough", min(0.0, at - 1.0), at, unit, source, low, high, required=required)


def peak(
    low: float, high: float, begin: float, end: float, unit: str, source: str, *, required: float = 0.0
) -> Target:
    """The highest value in the window; `high` may be infinite."""
    return Target("peak", "highest", begin, end, unit, source, low, high, required=required)


def time_above(
    threshold: float, share: float, begin: float, end: float, unit: str, source: str, *, required: float = 0.0
) -> Target:
    """At least `share` (0..1) of the window above the threshold (MIC)."""
    return Target(
        f"share of time above {threshold:g} {unit}",
        "share_above",
        begin,
        end,
        "",
        source,
        share,
        thresholds=(threshold, math.nan),
        required=required,
    )


def time_within(
    low: float,
    high: float,
    share: float,
    begin: float,
    end: float,
    unit: str,
    source: str,
    *,
    required: float = 0.0,
) -> Target:
    """At least `share` (0..1) of the window between low and high."""
    return Target(
        f"share of time within {low:g}-{high:g} {unit}",
        "share_within",
        begin,
        end,
        "",
        source,
        share,
        thresholds=(low, high),
        required=required,
    )


class Chance(NamedTuple):
    """A probability estimated from samples, and its Monte-Carlo standard error."""

    value: float
    standard_error: float


def chance(attained: npt.NDArray[np.bool_], weight: Values) -> Chance:
    """The weighted share of samples that attain.

    Standard error sqrt(p (1 - p)/n), n the effective sample size, p drawn towards 1/2 by one success and one
    failure (Agresti & Coull 1998, doi:10.1080/00031305.1998.10480550, with z = sqrt 2), so that a chance of 0
    or 1 does not claim to be known without error.
    """
    value = float(weight[attained].sum())
    n = effective_size(weight)
    p = (value * n + 1) / (n + 2)
    return Chance(min(max(value, 0.0), 1.0), math.sqrt(p * (1 - p) / n))


def attainment(
    targets: Sequence[Target], values: Sequence[Values], weight: Values
) -> tuple[list[Chance], Chance]:
    """The chance of every target, and of all together."""
    inside = [target.attained(v) for target, v in zip(targets, values, strict=True)]
    return [chance(one, weight) for one in inside], chance(np.logical_and.reduce(inside), weight)
