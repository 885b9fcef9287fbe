"""What is remembered of one patient for the supervisor: readings, deliveries, orders. Plain data.

The stream's shard and the offline loop both keep one for each patient, so that both are judged on the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import msgspec

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.safety.dose_ledger import DoseLedger
from dosetwin.twins.safety.situation import NOTHING, DrugState, Situation
from dosetwin.twins.safety.watched_reading import WatchedReading

HOUR_S = 3600.0


class Watch(msgspec.Struct):
    """One patient. `covariates`: (event time s, value) of those that were measured after enrolment."""

    readings: dict[str, WatchedReading] = {}
    ledgers: dict[str, DoseLedger] = {}
    last_order_s: dict[str, float] = {}
    covariates: dict[str, tuple[float, float]] = {}
    failed_s: float | None = None
    announced_s: float | None = None

    def read(self, quantity: str, value: float, at_s: float, *, suspect: bool = False) -> None:
        """Take a reading of a guarded quantity, in its canonical unit; an older one says nothing."""
        watched = self.readings.get(quantity)
        if watched is None:
            self.readings[quantity] = WatchedReading(value, at_s, at_s, suspect)
        else:
            watched.follow(value, at_s, suspect)

    def give(self, fact: TwinEvent) -> None:
        """Take a fact: a delivery into its drug's ledger, a covariate, a meal; others say nothing."""
        kind = fact.kind
        if kind in ("bolus", "infusion", "rate"):
            ledger = self.ledgers.get(fact.name)
            if ledger is None:
                ledger = self.ledgers[fact.name] = DoseLedger()
            if kind == "rate":
                ledger.add_rate(fact.at_s, fact.value)
            elif kind == "infusion":
                ledger.add_infusion(fact.at_s, fact.value, fact.duration_s)
            else:
                ledger.add_amount(fact.at_s, fact.value)
        elif kind == "covariate":
            known = self.covariates.get(fact.name)
            if known is None or fact.at_s >= known[0]:
                self.covariates[fact.name] = (fact.at_s, fact.value)
        elif kind == "meal" and (self.announced_s is None or fact.at_s > self.announced_s):
            self.announced_s = fact.at_s

    def ordered(self, orders: Sequence[Order], at_s: float) -> None:
        """Take note of orders that left at `at_s`: those that add drug start the interval to the next."""
        for order in orders:
            if order.amount > 0 and at_s > self.last_order_s.get(order.drug, float("-inf")):
                self.last_order_s[order.drug] = at_s

    def failed(self, at_s: float) -> None:
        """Take note that a device refused a command, or that one expired unanswered."""
        if self.failed_s is None or at_s > self.failed_s:
            self.failed_s = at_s

    def situation(
        self,
        now_s: float,
        *,
        lowest: Mapping[str, float],
        on_board: Mapping[str, float | None],
        covariates: Mapping[str, float] = NOTHING,
        basal_rates: Mapping[str, float] = NOTHING,
        pending_command: str | None = None,
        pending_suspends: bool = False,
        proposed_s: float | None = None,
    ) -> Situation:
        """What the supervisor may know now.

        Drugs are those of `on_board` (None where nobody knows the amount), of `basal_rates`, and those
        given before. `covariates` are the enrolment's; a newer measurement here goes first. A forecast in
        `lowest` that is no number is no forecast.
        """
        drugs = dict.fromkeys((*on_board, *basal_rates, *self.ledgers, *self.last_order_s))
        return Situation(
            now_s=now_s,
            readings={quantity: watched.reading() for quantity, watched in self.readings.items()},
            lowest={quantity: value for quantity, value in lowest.items() if isfinite(value)},
            drugs={
                drug: self._drug(drug, now_s, on_board.get(drug), basal_rates.get(drug), proposed_s)
                for drug in drugs
            },
            covariates=(
                {**covariates, **{name: value for name, (_, value) in self.covariates.items()}}
                if self.covariates
                else covariates
            ),
            pending_command=pending_command,
            pending_suspends=pending_suspends,
            failed_s=self.failed_s,
            announced_s=self.announced_s,
            proposed_s=proposed_s,
        )

    def _drug(
        self,
        drug: str,
        now_s: float,
        on_board: float | None,
        basal_rate: float | None,
        proposed_s: float | None,
    ) -> DrugState:
        ledger = self.ledgers.get(drug)
        last_order_s = self.last_order_s.get(drug)
        since = None if proposed_s is None else 0.0
        if ledger is None:
            return DrugState(on_board, 0.0, None, basal_rate, last_order_s, 0.0, 0.0, None, since)
        return DrugState(
            on_board,
            ledger.given(now_s),
            ledger.rate_at(now_s),
            basal_rate,
            last_order_s,
            ledger.given(now_s, HOUR_S),
            ledger.given(now_s, 4 * HOUR_S),
            ledger.reported_s,
            None if proposed_s is None else ledger.doses_since(proposed_s, now_s),
        )
