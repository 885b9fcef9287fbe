"""Two syringe pumps for each of n patients: what is really delivered, second by second, and what they report.

Limits of a usual pump: 1,200 mL/h at most, steps of 0.1 mL/h and 0.1 mL, propofol 10 mg/mL, remifentanil 50
ug/mL. A bolus runs at whatever the limit leaves beside the running rate. A rate that was ordered for a time
stops after it. Amounts are rounded down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import DoseTwinError

FloatArray = npt.NDArray[np.float64]
DRUGS = ("propofol", "remifentanil")
UNITS = ("mg", "ug")
PER_ML = np.array([10.0, 50.0])
MOST_ML_PER_H = 1200.0
STEP_ML = 0.1


class Delivered(NamedTuple):
    """What happened in one interval.

    rates_per_min [S, 2, n]: what really flowed. As reported: `changes` (patient, drug, second, rate an
    hour) and `boluses` (patient, drug, second, amount, seconds).
    """

    rates_per_min: FloatArray
    changes: list[tuple[int, int, int, float]]
    boluses: list[tuple[int, int, int, float, int]]


class Pumps:
    """`gain`: what really leaves the syringe for each unit that the pump believes to give."""

    def __init__(self, n: int, gain: float = 1.0) -> None:
        self.gain = gain
        self.rate = np.zeros((2, n))
        self.lasts_s = np.full((2, n), np.inf)
        self.bolus = np.zeros((2, n))

    def run(self, orders: Sequence[Sequence[Order]], lost: npt.NDArray[np.bool_], seconds: int) -> Delivered:
        """Take each patient's orders, but those of `lost` [2, n], and run for `seconds`.

        Raises DoseTwinError for a drug, unit or kind of order that no such pump knows.
        """
        changes = self._taken(orders, lost)
        most = PER_ML[:, None] * MOST_ML_PER_H
        given = np.zeros((seconds, *self.rate.shape))
        extra = np.zeros_like(given)
        ends = self.lasts_s < seconds
        for s in range(seconds):
            if ends.any():
                for d, i in zip(*np.nonzero(ends & (self.lasts_s <= s) & (self.rate > 0)), strict=True):
                    self.rate[d, i] = 0.0
                    changes.append((int(i), int(d), s, 0.0))
            given[s] = self.rate
            if self.bolus.any():
                extra[s] = np.minimum(self.bolus, (most - self.rate) / 3600.0)
                self.bolus = np.maximum(self.bolus - extra[s], 0.0)
        self.lasts_s = self.lasts_s - seconds
        boluses = [
            (
                int(i),
                int(d),
                int(np.argmax(extra[:, d, i] > 0)),
                float(extra[:, d, i].sum()),
                int((extra[:, d, i] > 0).sum()),
            )
            for d, i in zip(*np.nonzero(extra.any(axis=0)), strict=True)
        ]
        return Delivered((given / 60.0 + extra * 60.0) * self.gain, changes, boluses)

    def _taken(
        self, orders: Sequence[Sequence[Order]], lost: npt.NDArray[np.bool_]
    ) -> list[tuple[int, int, int, float]]:
        """The rates that were set."""
        changes: list[tuple[int, int, int, float]] = []
        for i, mine in enumerate(orders):
            for order in mine:
                d = self._drug(order)
                if lost[d, i]:
                    continue
                step, most = STEP_ML * float(PER_ML[d]), MOST_ML_PER_H * float(PER_ML[d])
                if order.kind == "bolus":
                    self.bolus[d, i] += math.floor(order.amount / step + 1e-9) * step
                    continue
                per_h = order.amount if order.kind == "rate" else order.amount / order.duration_s * 3600.0
                rate = min(math.floor(per_h / step + 1e-9) * step, most)
                self.rate[d, i] = rate
                self.lasts_s[d, i] = order.duration_s or math.inf
                changes.append((i, d, 0, rate))
        return changes

    def _drug(self, order: Order) -> int:
        if order.drug not in DRUGS:
            raise DoseTwinError(f"no pump with {order.drug}", remedy=f"order {' or '.join(DRUGS)}")
        d = DRUGS.index(order.drug)
        unit = UNITS[d] + ("/h" if order.kind == "rate" else "")
        timed = order.kind in ("bolus", "rate") or (order.kind == "infusion" and order.duration_s > 0)
        if order.unit != unit or not timed:
            raise DoseTwinError(
                f"a pump cannot carry out {order.kind} of {order.drug} in {order.unit}",
                remedy=f"order a rate in {UNITS[d]}/h, or a bolus or timed infusion in {UNITS[d]}",
            )
        return d
