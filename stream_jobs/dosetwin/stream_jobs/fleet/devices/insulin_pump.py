"""An insulin pump: its own safe programme, temporary rates that fall back to it, boluses, a reservoir."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Administration, Bolus, Order, RateChange
from dosetwin.stream_jobs.gateway.device import Unfit, Voice

INCREMENT_U = 0.05
"""Smallest step of rates and boluses, as in pumps on the market; amounts are rounded down to it."""
MAXIMUM_BOLUS_U = 25.0
MAXIMUM_RATE_U_PER_H = 10.0
RESERVOIR_U = 300.0
REFILL_BELOW_U = 15.0


class PumpMemory(msgspec.Struct):
    """What a pump remembers. `rates` are (event time, U/h) since the last delivery, `boluses` (time, U)."""

    programme_U_per_h: float
    rates: list[tuple[float, float]]
    boluses: list[tuple[float, float]] = []
    temporary_until_s: float | None = None
    reservoir_U: float = RESERVOIR_U


class InsulinPump:
    """Delivers its programme, obeys commands, reports what it really delivers."""

    def __init__(self, voice: Voice, programme_U_per_h: float, at_s: float) -> None:
        rate = round_down(programme_U_per_h)
        self._voice = voice
        self.memory = PumpMemory(rate, [(at_s, rate)])
        self.changed = False

    @property
    def voice(self) -> Voice:
        """Whom its messages come from."""
        return self._voice

    def obey(
        self, orders: Sequence[Order], command_id: str, at_s: float
    ) -> tuple[Administration, ...] | Unfit:
        """Carry out all orders or none; a new rate replaces a temporary rate that runs."""
        problem = self._unfit(orders)
        if problem is not None:
            return problem
        given = self._fall_back(at_s)
        for order in orders:
            amount = round_down(order.amount)
            if order.kind == "bolus":
                if amount > 0:
                    given.append(self.bolus(amount, at_s, command_id))
            else:
                self._run_at(amount, at_s)
                self.memory.temporary_until_s = at_s + order.duration_s
                given.append(self._rate_change(amount, at_s, command_id))
        return tuple(given)

    def bolus(self, amount_U: float, at_s: float, command_id: str | None = None) -> Bolus:
        """Deliver at once; without a command it is the person's own."""
        self.memory.boluses.append((at_s, amount_U))
        self.changed = True
        return Bolus(
            drug="insulin",
            route="subcutaneous",
            amount=amount_U,
            unit="U",
            at=instant(at_s),
            command_id=command_id,
        )

    def inject_elsewhere(self, amount_U: float, at_s: float) -> None:
        """Insulin that the person injects with a pen: it reaches the body, not the reservoir's count."""
        self.memory.boluses.append((at_s, amount_U))
        self.memory.reservoir_U += amount_U
        self.changed = True

    def report_programme(self, at_s: float) -> RateChange:
        """The rate the pump runs at now, for its first message."""
        return self._rate_change(self.memory.rates[-1][1], at_s, None)

    def deliver(self, from_s: float, to_s: float) -> tuple[float, list[Administration]]:
        """Insulin in U delivered in [from, to), and the changes the pump made by itself meanwhile."""
        memory = self.memory
        own = self._fall_back(to_s)
        if len(memory.rates) == 1 and not memory.boluses:
            total = memory.rates[0][1] * (to_s - from_s) / 3600.0
        else:
            total = self._integrate(from_s, to_s)
        memory.reservoir_U -= total
        if memory.reservoir_U < REFILL_BELOW_U:
            memory.reservoir_U = RESERVOIR_U
        return total, own

    def dump(self) -> bytes:
        """Everything the pump must remember."""
        self.changed = False
        return msgspec.msgpack.encode(self.memory)

    def load(self, memory: bytes) -> None:
        """Remember it again."""
        self.memory = msgspec.msgpack.decode(memory, type=PumpMemory)

    def _integrate(self, from_s: float, to_s: float) -> float:
        memory = self.memory
        edges = [*(max(at_s, from_s) for at_s, _ in memory.rates[1:]), to_s]
        start_s, total = from_s, 0.0
        for (_, rate), end_s in zip(memory.rates, edges, strict=True):
            stop_s = min(max(end_s, start_s), to_s)
            total += rate * (stop_s - start_s) / 3600.0
            start_s = stop_s
        total += sum(amount for at_s, amount in memory.boluses if at_s < to_s)
        memory.boluses = [(at_s, amount) for at_s, amount in memory.boluses if at_s >= to_s]
        past = [at_s for at_s, _ in memory.rates if at_s <= to_s]
        memory.rates = memory.rates[max(len(past) - 1, 0) :]
        self.changed = True
        return total

    def _fall_back(self, before_s: float) -> list[Administration]:
        """End a temporary rate whose time is over before `before_s`: back to the programme, and say so."""
        until_s = self.memory.temporary_until_s
        if until_s is None or until_s >= before_s:
            return []
        self.memory.temporary_until_s = None
        self._run_at(self.memory.programme_U_per_h, until_s)
        return [self._rate_change(self.memory.programme_U_per_h, until_s, None)]

    def _run_at(self, rate_U_per_h: float, at_s: float) -> None:
        self.memory.rates.append((at_s, rate_U_per_h))
        self.changed = True

    def _rate_change(self, rate_U_per_h: float, at_s: float, command_id: str | None) -> RateChange:
        return RateChange(
            drug="insulin",
            route="subcutaneous",
            rate=rate_U_per_h,
            unit="U/h",
            at=instant(at_s),
            command_id=command_id,
        )

    def _unfit(self, orders: Sequence[Order]) -> Unfit | None:
        wanted_U = 0.0
        for order in orders:
            if order.drug != "insulin":
                return Unfit(f"holds insulin, not {order.drug}")
            if order.kind == "bolus":
                wanted_U += order.amount
                if order.unit not in ("U", "[iU]") or order.amount > MAXIMUM_BOLUS_U:
                    return Unfit(
                        f"bolus of {order.amount:g} {order.unit}; at most {MAXIMUM_BOLUS_U:g} U can be given"
                    )
            elif order.kind == "rate":
                if order.unit not in ("U/h", "[iU]/h") or order.amount > MAXIMUM_RATE_U_PER_H:
                    return Unfit(
                        f"rate of {order.amount:g} {order.unit}; at most {MAXIMUM_RATE_U_PER_H:g} U/h can run"
                    )
                if order.duration_s <= 0:
                    return Unfit("a temporary rate needs a duration; the pump keeps no rate for ever")
            else:
                return Unfit(f"an insulin pump gives boluses and rates, not a {order.kind}")
        if wanted_U > self.memory.reservoir_U:
            return Unfit(f"{wanted_U:g} U wanted; the reservoir holds {self.memory.reservoir_U:.1f} U")
        return None


def round_down(amount: float) -> float:
    """Down to the increment; never up, so that nobody gets more than was ordered."""
    return round(math.floor(amount / INCREMENT_U + 1e-6) * INCREMENT_U, 4)
