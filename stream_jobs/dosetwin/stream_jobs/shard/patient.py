"""What a shard keeps of a patient beside the twin: enrolment, repeats seen, open orders, open alerts."""

from __future__ import annotations

import msgspec

from dosetwin.platform.contracts import Enrolment, Order, Proposal
from dosetwin.stream_jobs.enrolment import resolve
from dosetwin.twins.safety import LimitTable, Override, Watch, effective_limits
from dosetwin.twins.therapy import Therapy

SEQUENCE_WINDOW = 1024
"""How many messages of a device's boot may overtake one and it is still taken."""


class SequenceWindow(msgspec.Struct):
    """Recognises repeats of one (topic, device, boot): the highest sequence and a bitmap of those before."""

    highest: int = -1
    seen: int = 0

    def admit(self, sequence: int) -> str:
        """Return "new", "duplicate", or "too_late" when it fell out of the window."""
        if sequence > self.highest:
            shift = sequence - self.highest
            self.seen = (
                ((self.seen << shift) | 1) & ((1 << SEQUENCE_WINDOW) - 1) if shift < SEQUENCE_WINDOW else 1
            )
            self.highest = sequence
            return "new"
        bit = self.highest - sequence
        if bit >= SEQUENCE_WINDOW:
            return "too_late"
        if self.seen >> bit & 1:
            return "duplicate"
        self.seen |= 1 << bit
        return "new"

    def packed(self) -> tuple[int, bytes]:
        """The window as plain data (the bitmap is wider than any packed integer)."""
        return self.highest, self.seen.to_bytes(SEQUENCE_WINDOW // 8, "little")

    @classmethod
    def unpacked(cls, highest: int, seen: bytes) -> SequenceWindow:
        """The window that `packed` described."""
        return cls(highest, int.from_bytes(seen, "little"))


class PendingOrder(msgspec.Struct, frozen=True):
    """A command that left and has no terminal answer yet."""

    expires_s: float
    adds_drug: bool
    issued_s: float


class PatientState(msgspec.Struct):
    """Everything of one patient but the twin and the sequence windows. Plain data, for snapshots."""

    enrolment: Enrolment
    enrolled_ms: int
    """Log-append time of the first enrolment: what was appended before it was of an unknown patient."""
    chunk: int
    watch: Watch = msgspec.field(default_factory=Watch)
    """What was measured, given and ordered, for the safety supervisor."""
    newest_s: float = 0.0
    """Event time of the newest fact."""
    last_decision_s: float = 0.0
    last_applied: str | None = None
    last_applied_s: float = 0.0
    pending: dict[str, PendingOrder] = {}
    answered: dict[str, float] = {}
    proposals: dict[str, Proposal] = {}
    lowest: dict[str, float] = {}
    """Of each guarded quantity under the candidate last proposed, for an approval that comes later."""
    on_board: dict[str, float] = {}
    """Of each drug at the last decision."""
    alerts: dict[str, str] = {}
    overrides: list[Override] = []
    """Limits that persons hold at other values for a time; those that ended are left out with the next."""

    def pending_command(self, now_s: float) -> str | None:
        """A command that may still be carried out: unanswered and not expired. Forgets expired ones."""
        for command_id, order in list(self.pending.items()):
            if order.expires_s <= now_s:
                del self.pending[command_id]
            else:
                return command_id
        return None

    def note_command(
        self, command_id: str, orders: tuple[Order, ...], issued_s: float, expires_s: float
    ) -> None:
        """Take account of a command that left (now, or read back from the topic on recovery)."""
        adds = any(order.amount > 0 for order in orders)
        self.watch.ordered(orders, issued_s)
        if command_id not in self.answered:
            self.pending[command_id] = PendingOrder(expires_s, adds, issued_s)

    def note_answer(self, command_id: str, status: str, at_s: float) -> None:
        """Take account of a device's terminal answer; answers may come before the command is known."""
        self.pending.pop(command_id, None)
        self.answered[command_id] = at_s
        if len(self.answered) > 64:
            for stale in sorted(self.answered, key=self.answered.__getitem__)[:32]:
                del self.answered[stale]
        if status == "applied" and at_s >= self.last_applied_s:
            self.last_applied, self.last_applied_s = command_id, at_s
        elif status != "applied":
            self.watch.failed(at_s)


class Patient:
    """A patient at work in a shard: its state, and what its enrolment makes of its therapy."""

    __slots__ = (
        *("basal_rates", "covariates", "device", "held", "limits", "partition"),
        *("state", "targets", "therapy", "windows"),
    )

    def __init__(self, state: PatientState, partition: int) -> None:
        self.state = state
        self.partition = partition
        self.windows: dict[str, SequenceWindow] = {}
        self.adopt(state.enrolment)

    def adopt(self, enrolment: Enrolment) -> None:
        """Take a new version of the enrolment.

        Raises TherapyError or UnitError when it lacks or misstates what its therapy needs; then nothing
        has changed.
        """
        resolved = resolve(enrolment)
        self.therapy: Therapy = resolved.therapy
        self.covariates = resolved.covariates
        self.targets = resolved.targets
        self.limits = resolved.limits
        self.held = LimitTable(resolved.limits)
        basal_rates = self.therapy.basal_rates
        self.basal_rates = basal_rates(self.covariates) if basal_rates is not None else {}
        self.device = resolved.device
        self.state.enrolment = enrolment

    def held_at(self, now_s: float) -> LimitTable:
        """The limits in force, the overrides of persons included."""
        if not self.state.overrides:
            return self.held
        effective = effective_limits(self.limits, self.state.overrides, now_s, self.therapy.ceilings)
        return LimitTable(effective.limits) if effective.in_force else self.held

    def override(self, asked: Override) -> str:
        """Take an override, in place of that person's earlier one; returns why it does not hold."""
        refused = effective_limits(self.limits, [asked], asked.from_s, self.therapy.ceilings).refused
        if refused:
            return refused[0].reason
        self.state.overrides = [
            each
            for each in self.state.overrides
            if each.until_s > asked.from_s and (each.limit, each.person) != (asked.limit, asked.person)
        ]
        self.state.overrides.append(asked)
        return ""
