"""Plans as people order them, an extra dose now or none and a regimen: their names and orders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.platform.errors import TherapyError
from dosetwin.twins.policies.regimen_response import Plans
from dosetwin.twins.policies.regimen_schedule import Regimen

Values = npt.NDArray[np.float64]
NEVER_H = 1e6
"""First dose of a plan that gives none."""


@dataclass(frozen=True)
class Products:
    """What can be given: amounts that can be drawn up, intervals on the ward's clock, how fast it may run.

    amounts, extras: in the drug's unit; `extras` are the sizes of one additional dose now (a loading dose).
    rate_per_h: no infusion runs faster; shortest_h: none is shorter (both 0: given at once). `upkeep`: what
    an interval costs in utility (work of the ward, habit). spacing_h: no extra dose so soon after the last
    one began.
    """

    drug: str
    unit: str
    route: str
    amounts: tuple[float, ...]
    extras: tuple[float, ...]
    intervals_h: tuple[float, ...]
    upkeep: tuple[float, ...]
    rate_per_h: float
    shortest_h: float
    spacing_h: float

    def __post_init__(self) -> None:
        if len(self.upkeep) != len(self.intervals_h) or not self.amounts or not self.intervals_h:
            raise TherapyError(f"found {len(self.upkeep)} upkeeps of {len(self.intervals_h)} intervals")

    def infusion_h(self, amount: float) -> float:
        """How long an amount runs, on the quarter of an hour."""
        if self.rate_per_h <= 0:
            return 0.0
        return max(self.shortest_h, float(np.ceil(amount / self.rate_per_h * 4 - 1e-9)) / 4)


@dataclass(frozen=True)
class Plan:
    """`extra` now (0: none), then `regimen` (None: no further doses), first due `first_h` from now."""

    extra: float
    regimen: Regimen | None
    first_h: float

    def name(self, unit: str) -> str:
        """As a clinician says it."""
        if self.regimen is None:
            return "no further doses"
        regular = f"{self.regimen.amount:g} {unit} every {self.regimen.interval_h:g} h"
        return f"{self.extra:g} {unit} now, then {regular}" if self.extra else regular

    def orders(self, products: Products) -> tuple[Order, ...]:
        """The extra dose first, so that the regimen joins a schedule in which it has begun."""
        of = {"drug": products.drug, "route": products.route, "unit": products.unit}
        made: list[Order] = []
        if self.extra:
            hours = products.infusion_h(self.extra)
            kind = "infusion" if hours > 0 else "bolus"
            made.append(Order(kind=kind, amount=self.extra, duration_s=hours * 3600, **of))  # type: ignore[arg-type]
        regimen = self.regimen or Regimen(0.0, 0.0, 24.0)
        made.append(
            Order(
                kind="regimen",
                amount=regimen.amount,
                duration_s=regimen.duration_h * 3600,
                interval_s=regimen.interval_h * 3600,
                **of,
            )
        )
        return tuple(made)

    def numbers(self, products: Products) -> tuple[float, ...]:
        """As a row of `Plans`."""
        regimen = self.regimen
        if regimen is None:
            return (0.0, 1.0, 0.0, 1.0, 24.0, NEVER_H)
        hours = products.infusion_h(self.extra)
        return (self.extra, hours, regimen.amount, regimen.duration_h, regimen.interval_h, self.first_h)


def as_arrays(rows: list[list[Plan]], products: Products) -> Plans:
    """N patients with C plans each: arrays [n, C]."""
    table = np.array([[plan.numbers(products) for plan in row] for row in rows])
    return Plans(*np.moveaxis(table, 2, 0))


def first_due(intervals_h: Values, since_last_h: Values) -> Values:
    """Hours from now until each interval's first dose, without and with an extra dose now [n, I, 2].

    `since_last_h` [n]: since the last dose began, infinite where there was none.
    """
    joined = np.maximum(intervals_h[None, :] - since_last_h[:, None], 0.0)
    after = np.broadcast_to(intervals_h[None, :], joined.shape)
    return np.stack([joined, after], axis=2)


@dataclass(frozen=True)
class Room:
    """What limits leave of the grid for one patient: what was given in the last 24 h, and the limits."""

    given_24h: float
    maximum_24h: float
    maximum_amount: float
    maximum_extra: float
    extra_allowed: bool

    def allows(self, products: Products, extras: Values, amounts: Values) -> npt.NDArray[np.bool_]:
        """[X, I, A]: which plans the limits allow, so that a supervisor need not cut what was chosen."""
        x, a = extras[:, None, None], amounts[None, None, :]
        per_day = np.maximum(24.0 / np.array(products.intervals_h), 1.0)[None, :, None]
        first_day = x + a * np.where(x > 0, np.ceil(per_day - 1e-9) - 1, per_day)
        fits = (a * per_day <= self.maximum_24h) & (first_day <= self.maximum_24h)
        # as the supervisor counts: the extra dose and the regimen's first beside the last 24 h
        fits &= self.given_24h + x + a <= self.maximum_24h
        fits &= (a <= self.maximum_amount) & (x <= min(self.maximum_amount, self.maximum_extra))
        found: npt.NDArray[np.bool_] = fits & ((x == 0) | self.extra_allowed)
        return found
