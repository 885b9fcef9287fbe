"""An infusion pump: a regimen of intermittent infusions, single infusions, and what was missed.

A new regimen joins the one that runs: its first dose is due one interval after the last dose began, and at
once when that time has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Administration, Infusion, MissedDose, Order
from dosetwin.stream_jobs.gateway.device import Unfit, Voice

MAXIMUM_MG = 5000.0
MAXIMUM_RATE_MG_PER_H = 2000.0


class Running(msgspec.Struct):
    """One infusion that has begun."""

    start_s: float
    duration_s: float
    amount_mg: float


class InfusionMemory(msgspec.Struct):
    """What the pump remembers; `command_id` is the command whose regimen it runs, None for its first."""

    amount_mg: float
    duration_s: float
    interval_s: float
    next_s: float
    last_start_s: float | None = None
    command_id: str | None = None
    running: list[Running] = []


class InfusionPump:
    """Gives vancomycin by its regimen, obeys commands, reports each infusion as it begins."""

    drug = "vancomycin"

    def __init__(
        self, voice: Voice, *, amount_mg: float, duration_s: float, interval_s: float, first_s: float
    ) -> None:
        self._voice = voice
        self.memory = InfusionMemory(amount_mg, duration_s, interval_s, first_s)
        self.changed = False

    @property
    def voice(self) -> Voice:
        """Whom its messages come from."""
        return self._voice

    def obey(
        self, orders: Sequence[Order], command_id: str, at_s: float
    ) -> tuple[Administration, ...] | Unfit:
        """Take a new regimen, or give single infusions now; all orders or none."""
        problem = self._unfit(orders)
        if problem is not None:
            return problem
        given: list[Administration] = []
        memory = self.memory
        for order in orders:
            if order.kind == "infusion":
                given.append(self.begin(at_s, order.amount, order.duration_s, command_id))
                continue
            memory.amount_mg, memory.duration_s = order.amount, order.duration_s
            memory.interval_s, memory.command_id = order.interval_s, command_id
            last_s = memory.last_start_s
            memory.next_s = at_s if last_s is None else max(at_s, last_s + order.interval_s)
            self.changed = True
        return tuple(given)

    def begin(
        self, at_s: float, amount_mg: float, duration_s: float, command_id: str | None = None
    ) -> Infusion:
        """Begin an infusion."""
        self.memory.running.append(Running(at_s, duration_s, amount_mg))
        self.memory.last_start_s = at_s
        self.changed = True
        return Infusion(
            drug=self.drug,
            route="intravenous",
            amount=amount_mg,
            unit="mg",
            at=instant(at_s),
            duration_s=duration_s,
            command_id=command_id,
        )

    def deliver(
        self, from_s: float, to_s: float, forgets: Callable[[], bool]
    ) -> tuple[float, list[Administration]]:
        """Drug in mg given in [from, to), and what began or was missed meanwhile."""
        memory = self.memory
        told: list[Administration] = []
        while memory.next_s < to_s:
            due_s = memory.next_s
            memory.next_s = due_s + memory.interval_s
            self.changed = True
            if memory.amount_mg <= 0:
                continue
            if forgets():
                told.append(self._missed(due_s))
            else:
                told.append(self.begin(due_s, memory.amount_mg, memory.duration_s, memory.command_id))
        total = 0.0
        for infusion in memory.running:
            end_s = infusion.start_s + infusion.duration_s
            overlap_s = min(end_s, to_s) - max(infusion.start_s, from_s)
            total += infusion.amount_mg * max(overlap_s, 0.0) / infusion.duration_s
        if memory.running and memory.running[0].start_s + memory.running[0].duration_s <= to_s:
            memory.running = [each for each in memory.running if each.start_s + each.duration_s > to_s]
            self.changed = True
        return total, told

    def dump(self) -> bytes:
        """Everything the pump must remember."""
        self.changed = False
        return msgspec.msgpack.encode(self.memory)

    def load(self, memory: bytes) -> None:
        """Remember it again."""
        self.memory = msgspec.msgpack.decode(memory, type=InfusionMemory)

    def _missed(self, due_s: float) -> MissedDose:
        return MissedDose(
            drug=self.drug,
            route="intravenous",
            amount=self.memory.amount_mg,
            unit="mg",
            at=instant(due_s),
            reason="the infusion was not started",
        )

    def _unfit(self, orders: Sequence[Order]) -> Unfit | None:
        for order in orders:
            if order.drug != self.drug or order.unit != "mg":
                return Unfit(f"holds {self.drug} in mg, not {order.drug} in {order.unit}")
            if order.kind not in ("infusion", "regimen"):
                return Unfit(f"an infusion pump gives infusions and regimens, not a {order.kind}")
            if order.duration_s <= 0 or order.amount / (order.duration_s / 3600.0) > MAXIMUM_RATE_MG_PER_H:
                return Unfit(
                    f"{order.amount:g} mg over {order.duration_s:g} s; "
                    f"at most {MAXIMUM_RATE_MG_PER_H:g} mg/h can run"
                )
            if order.amount > MAXIMUM_MG:
                return Unfit(f"{order.amount:g} mg; the bag holds at most {MAXIMUM_MG:g} mg")
            if order.kind == "regimen" and order.interval_s < max(order.duration_s, 3600.0):
                return Unfit(f"an interval of {order.interval_s:g} s is shorter than the infusion or an hour")
        return None
