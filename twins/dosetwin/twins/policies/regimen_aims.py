"""What a regimen is to reach on a day of treatment, and what each way of missing it costs.

Days are days of treatment: today (what is past of it included), tomorrow, and the day after; of an area
also the 24 h from now, which no day of treatment is (of a level tomorrow's stands for it). An aim is met in
a window when its measure lies in its range; of several aims all must be met. With P the share of the
samples,

    U = sum_w W_w [ P(all met in w) - RISK_WEIGHT P(any above its range in w) ]

and a plan is feasible where, for the 24 h from now and for tomorrow and the day after, P(any above) <=
CHANCE_LIMIT and P(any above its harmful value) <= HARM_LIMIT. Today's area has a past that no plan can undo;
so today counts for the utility and not for feasibility. Weights and limits of the choice are our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.platform.errors import TherapyError

Values = npt.NDArray[np.float64]
Measure = Literal["auc24", "trough", "peak"]
WEIGHTS = (0.25, 0.35, 0.15, 0.25)
"""Of today, tomorrow, the day after, the 24 h from now."""
OF_LEVELS = np.array([0, 1, 2, 1])
"""The days whose level stands for each window."""
RISK_WEIGHT = 0.1
CHANCE_LIMIT = 0.4
HARM_LIMIT = 0.25


@dataclass(frozen=True)
class Aim:
    """A range for a measure: "auc24" (unit x h of one day), "trough" or "peak" (of the day's last dose).

    `low`, `high`, `harmful`: names of targets or limits; "" where there is none.
    """

    measure: Measure
    unit: str
    low: str = ""
    high: str = ""
    harmful: str = ""

    @property
    def title(self) -> str:
        """In words."""
        return {"auc24": "AUC24", "trough": "trough", "peak": "peak"}[self.measure]

    def edges(self, wanted: Mapping[str, float]) -> tuple[float, float, float]:
        """(low, high, harmful), infinite where not named. Raises TherapyError where a name has no value."""
        names = (self.low, self.high, self.harmful)
        missing = [name for name in names if name and name not in wanted]
        if missing:
            raise TherapyError(f"found no value of {', '.join(missing)}; given are {', '.join(wanted)}")
        low, high, harmful = (wanted[name] if name else None for name in names)
        return (
            -np.inf if low is None else low,
            np.inf if high is None else high,
            np.inf if harmful is None else harmful,
        )


class Exposure(NamedTuple):
    """Areas and levels of a plan under a sample, any leading shape.

    area [..., 4]: of today, tomorrow, the day after, and of the 24 h from now. trough, peak [..., 3]: of
    the three days. NumPy or JAX arrays.
    """

    area: Any
    trough: Any
    peak: Any


class Judged(NamedTuple):
    """Of every sample: met, above [..., 4] by window; ahead_above, ahead_harm [...] of anything ahead."""

    met: Any
    above: Any
    ahead_above: Any
    ahead_harm: Any


def judge(aims: Sequence[Aim], exposure: Exposure, edges: Any) -> Judged:
    """Compare with the aims; `edges` [aims, 3] (low, high, harmful), or with leading axes that broadcast."""
    met = above = over = hurt = None
    for k, aim in enumerate(aims):
        low, high, harmful = (edges[..., k, j, None] for j in range(3))
        values = {"auc24": exposure.area, "trough": exposure.trough, "peak": exposure.peak}[aim.measure]
        day = values if aim.measure == "auc24" else values[..., OF_LEVELS]
        # of an area also the 24 h from now, which no day of treatment is
        ahead = values[..., 1:]
        this = ((day >= low) & (day <= high), day > high, (ahead > high), (ahead > harmful))
        if met is None or above is None or over is None or hurt is None:
            met, above, over, hurt = this[0], this[1], this[2].any(axis=-1), this[3].any(axis=-1)
        else:
            met, above = met & this[0], above | this[1]
            over, hurt = over | this[2].any(axis=-1), hurt | this[3].any(axis=-1)
    return Judged(met, above, over, hurt)


def utility(judged: Judged) -> Any:
    """Of every sample [...]: what the plan is worth there, before what it costs in work."""
    weights = np.array(WEIGHTS)
    return ((judged.met * 1.0 - RISK_WEIGHT * judged.above) * weights).sum(axis=-1)
