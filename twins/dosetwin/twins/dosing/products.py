"""What can be given: products with their strengths, limits, and the amounts that follow from both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dosetwin.twins.data.subject import Dose
from dosetwin.twins.models.errors import ModelError

MOST_AMOUNTS = 100_000
"""More feasible amounts than this are a mistake in a strength or a limit."""


@dataclass(frozen=True)
class Product:
    """A product: `strength` (amount in one unit), given in multiples of `part` of a unit (0.5: half tablets).

    most: units of it in one administration at most.
    """

    name: str
    strength: float
    part: float = 1.0
    most: float = math.inf

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength * self.part) and self.strength * self.part > 0 and self.most > 0):
            raise ModelError(
                f"found product {self.name} with strength {self.strength}, part {self.part}, most "
                f"{self.most}; expected numbers above 0"
            )


@dataclass(frozen=True)
class Limits:
    """What no regimen exceeds. `day`: how long a day is in the model's time unit."""

    highest_dose: float
    lowest_dose: float = 0.0
    highest_daily: float = math.inf
    highest_rate: float = math.inf
    day: float = 24.0

    def __post_init__(self) -> None:
        if not (0 < self.highest_dose < math.inf and self.day > 0):
            raise ModelError(f"found {self}; expected a finite highest dose and a day, both above 0")

    def allow(self, regimen: Regimen) -> bool:
        """Whether a regimen stays within all of them; a loading dose counts to its day."""
        largest = max(regimen.amount, regimen.loading)
        a_day = [dose for dose in regimen.doses(0.0) if dose.time < self.day * (1 - 1e-9)]
        first_day = sum(dose.amount for dose in a_day)
        steady = regimen.amount * (self.day / regimen.interval if regimen.interval < self.day else 1.0)
        rate = largest / regimen.duration if regimen.duration > 0 else 0.0
        tolerance = 1 + 1e-9
        return (
            self.lowest_dose <= regimen.amount * tolerance
            and largest <= self.highest_dose * tolerance
            and max(first_day, steady if regimen.count > 1 else 0.0) <= self.highest_daily * tolerance
            and rate <= self.highest_rate * tolerance
        )


@dataclass(frozen=True)
class Regimen:
    """`count` doses of `amount` every `interval`, each over `duration` (0: at once), the first maybe larger.

    loading: amount of the first dose, 0: as the others. contents: what makes up a dose, for people.
    """

    amount: float
    interval: float
    count: int
    duration: float = 0.0
    loading: float = 0.0
    compartment: int = 0
    contents: str = ""

    def doses(self, start: float) -> tuple[Dose, ...]:
        """Its doses from `start` on."""
        return tuple(
            Dose(
                start + k * self.interval,
                self.loading if k == 0 and self.loading > 0 else self.amount,
                duration=self.duration,
                compartment=self.compartment,
            )
            for k in range(self.count)
        )

    def text(self, unit: str, time_unit: str) -> str:
        """For a sentence: `1000 mg every 12 h over 1 h`."""
        over = f" over {self.duration:g} {time_unit}" if self.duration > 0 else ""
        first = f", first {self.loading:g} {unit}" if self.loading > 0 else ""
        every = f" every {self.interval:g} {time_unit}" if self.count > 1 else " once"
        contents = f" ({self.contents})" if self.contents else ""
        return f"{self.amount:g} {unit}{every}{over}{first}{contents}"


def feasible_amounts(products: Sequence[Product], limits: Limits) -> dict[float, str]:
    """Every amount up to `limits.highest_dose` that the products make, ascending, with the fewest units.

    Raises ModelError where none is left, or their number shows a mistake.
    """
    if not products:
        raise ModelError("found no product; expected at least one", remedy="e.g. Product('vial 500 mg', 500)")
    made: dict[float, tuple[float, tuple[float, ...]]] = {0.0: (0.0, ())}
    for product in products:
        step = product.strength * product.part
        grown: dict[float, tuple[float, tuple[float, ...]]] = {}
        for amount, (units, counts) in made.items():
            room = math.floor((limits.highest_dose - amount) / step + 1e-9)
            pieces = math.floor(min(room, product.most / product.part + 1e-9))
            if max(pieces, len(grown)) > MOST_AMOUNTS:
                raise ModelError(
                    f"found over {MOST_AMOUNTS} amounts that the products make up to {limits.highest_dose:g}",
                    remedy="check strengths, parts and the highest dose",
                )
            for k in range(pieces + 1):
                total = round(amount + k * step, 9)
                option = (units + k * product.part, (*counts, k * product.part))
                if total not in grown or option < grown[total]:
                    grown[total] = option
        made = grown
    floor = max(limits.lowest_dose, 0.0)
    found = {
        amount: " + ".join(f"{n:g} x {p.name}" for n, p in zip(made[amount][1], products, strict=True) if n)
        for amount in sorted(made)
        if amount > 0 and amount >= floor * (1 - 1e-9)
    }
    if not found:
        raise ModelError(
            f"found no amount between {limits.lowest_dose:g} and {limits.highest_dose:g} that "
            f"{', '.join(p.name for p in products)} make; expected at least one"
        )
    return found
