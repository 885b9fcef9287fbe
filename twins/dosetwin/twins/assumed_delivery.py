"""What a device that nobody hears from is taken to do: its orders exactly, then its own programme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dosetwin.platform.contracts import Order


class Assumed(msgspec.Struct, frozen=True, array_like=True):
    """One administration taken for granted: as `TwinEvent`, before it has a uid."""

    at_s: float
    kind: str
    drug: str
    value: float
    duration_s: float = 0.0


class _Regimen(msgspec.Struct, array_like=True):
    amount: float
    duration_s: float
    interval_s: float
    next_s: float


class AssumedDelivery(msgspec.Struct):
    """One device. `programmed`: the rate of each drug (per hour) that runs when no order's rate does.

    A rate lasts its duration (0: until the next), a bolus and an infusion start at once. A regimen's first
    dose is due one interval after the last dose began, at once where that has passed or nothing was given.
    """

    programmed: dict[str, float]
    until_s: dict[str, float] = {}
    regimens: dict[str, _Regimen] = {}
    last_start_s: dict[str, float] = {}

    def carry_out(self, orders: Sequence[Order], at_s: float) -> list[Assumed]:
        """What begins when these orders arrive at `at_s`."""
        begun = []
        for order in orders:
            drug = order.drug
            if order.kind == "rate":
                begun.append(Assumed(at_s, "rate", drug, order.amount))
                if order.duration_s > 0:
                    self.until_s[drug] = at_s + order.duration_s
                else:
                    self.until_s.pop(drug, None)
            elif order.kind == "regimen":
                last_s = self.last_start_s.get(drug)
                first_s = at_s if last_s is None else max(at_s, last_s + order.interval_s)
                self.regimens[drug] = _Regimen(order.amount, order.duration_s, order.interval_s, first_s)
            else:
                begun.append(self._begin(drug, order.amount, order.duration_s, at_s))
        return begun

    def go_on(self, to_s: float, drugs: Iterable[str]) -> list[Assumed]:
        """What begins and ends by itself before `to_s`, of these drugs."""
        begun = []
        for drug in drugs:
            ends_s = self.until_s.get(drug)
            if ends_s is not None and ends_s <= to_s:
                del self.until_s[drug]
                begun.append(Assumed(ends_s, "rate", drug, self.programmed.get(drug, 0.0)))
            regimen = self.regimens.get(drug)
            while regimen is not None and regimen.next_s < to_s:
                if regimen.amount > 0:
                    begun.append(self._begin(drug, regimen.amount, regimen.duration_s, regimen.next_s))
                regimen.next_s += regimen.interval_s
        return sorted(begun, key=lambda each: each.at_s)

    def _begin(self, drug: str, amount: float, duration_s: float, at_s: float) -> Assumed:
        self.last_start_s[drug] = at_s
        return Assumed(at_s, "infusion" if duration_s > 0 else "bolus", drug, amount, duration_s)
