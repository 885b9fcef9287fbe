"""Insulin pumps of n virtual patients: a programme, temporary rates, boluses, increments and a maximum.

Increments and maxima are the Insulet pump's of simglucose 0.2.11 (`pump_params.csv`: 0.05 U and 0.05 U/h, 30
U and 30 U/h); a bolus runs at 1.5 U/min, as the OmniPod's manual states. What is ordered is rounded down,
never up. What a pump says it gave is what it rounded to; what it really gave may be less
(`delivered_share`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import DoseTwinError

Floats = npt.NDArray[np.float64]

INCREMENT_U = 0.05
RATE_INCREMENT_U_PER_H = 0.05
MAXIMUM_BOLUS_U = 30.0
MAXIMUM_RATE_U_PER_H = 30.0
BOLUS_SPEED_U_PER_MIN = 1.5


def rounded_down(amount: float, increment: float, maximum: float) -> float:
    """The largest multiple of `increment` that is not above `amount` and `maximum`."""
    return round(float(np.floor(min(amount, maximum) / increment + 1e-9)) * increment, 6)


class Devices(Protocol):
    """What gives insulin to n patients."""

    rate_U_per_h: Floats

    def take(self, patient: int, orders: Sequence[Order], at_min: float) -> list[tuple[str, str, float]]:
        """Carry out one patient's orders; (kind, drug, amount) of what is reported."""
        ...

    def minute(self, at_min: float) -> tuple[Floats, npt.NDArray[np.intp]]:
        """What reaches the rapid-acting depot in the minute, U [n], and whose rate changed by itself."""
        ...


class InsulinPumps:
    """`rate_U_per_h`, `until_min`, `waiting_U` [n] are their state; minutes count from the trial's start."""

    def __init__(self, programme_U_per_h: Floats, delivered_share: float = 1.0) -> None:
        self.programme_U_per_h = np.array(
            [
                rounded_down(
                    rate + 0.5 * RATE_INCREMENT_U_PER_H, RATE_INCREMENT_U_PER_H, MAXIMUM_RATE_U_PER_H
                )
                for rate in programme_U_per_h
            ]
        )
        self.rate_U_per_h = self.programme_U_per_h.copy()
        self.until_min = np.full(len(programme_U_per_h), np.inf)
        self.waiting_U = np.zeros(len(programme_U_per_h))
        self._delivered_share = delivered_share

    def take(self, patient: int, orders: Sequence[Order], at_min: float) -> list[tuple[str, str, float]]:
        """Carry out one patient's orders; what is reported of them, as ("rate" | "bolus", drug, amount).

        Raises DoseTwinError on an order that no insulin pump carries out.
        """
        reports: list[tuple[str, str, float]] = []
        for order in orders:
            if order.drug != "insulin" or (order.kind, order.unit) not in (("rate", "U/h"), ("bolus", "U")):
                raise DoseTwinError(
                    f"found an order of {order.drug} as {order.kind} in {order.unit}; an insulin pump takes "
                    "a rate in U/h or a bolus in U",
                    remedy="order what the pump of this trial can do",
                )
            if order.kind == "bolus":
                amount = rounded_down(order.amount, INCREMENT_U, MAXIMUM_BOLUS_U)
                if amount > 0.0:
                    self.waiting_U[patient] += amount
                    reports.append(("bolus", order.drug, amount))
                continue
            rate = rounded_down(order.amount, RATE_INCREMENT_U_PER_H, MAXIMUM_RATE_U_PER_H)
            if rate != self.rate_U_per_h[patient]:
                reports.append(("rate", order.drug, rate))
            self.rate_U_per_h[patient] = rate
            self.until_min[patient] = at_min + order.duration_s / 60.0 if order.duration_s > 0.0 else np.inf
        return reports

    def minute(self, at_min: float) -> tuple[Floats, npt.NDArray[np.intp]]:
        """Insulin that leaves in the minute from `at_min` on [n], U, and who went back to the programme."""
        ended = np.flatnonzero(self.until_min <= at_min)
        changed = ended[self.rate_U_per_h[ended] != self.programme_U_per_h[ended]]
        self.rate_U_per_h[ended] = self.programme_U_per_h[ended]
        self.until_min[ended] = np.inf
        bolus = np.minimum(self.waiting_U, BOLUS_SPEED_U_PER_MIN)
        self.waiting_U = self.waiting_U - bolus
        return self._delivered_share * (self.rate_U_per_h / 60.0 + bolus), changed
