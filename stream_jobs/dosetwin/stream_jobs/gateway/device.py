"""What the gateway asks of a device that obeys commands, and the name it signs its messages with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dosetwin.platform.clock import instant
from dosetwin.platform.contracts import Acknowledgement, Administration, Dose, Order, Reading, Sample


@dataclass(frozen=True)
class Unfit:
    """Why a device cannot carry out an order: the words for the acknowledgement's `detail`."""

    detail: str


class CommandedDevice(Protocol):
    """A device that obeys commands. Its memory is `dump()`; `load` after a restart goes on from there."""

    @property
    def voice(self) -> Voice:
        """Whom its messages come from."""
        ...

    def obey(
        self, orders: Sequence[Order], command_id: str, at_s: float
    ) -> tuple[Administration, ...] | Unfit:
        """Carry out all orders from event time `at_s` on, or none; returns what is to be reported."""
        ...

    def dump(self) -> bytes:
        """Everything the device must remember."""
        ...

    def load(self, memory: bytes) -> None:
        """Remember it again."""
        ...


class Voice:
    """Numbers the messages of one device: `boot` is new at each start, `sequence` counts up by one."""

    __slots__ = ("boot", "device", "patient", "sequence")

    def __init__(self, patient: str, device: str, boot: str) -> None:
        self.patient, self.device, self.boot = patient, device, boot
        self.sequence = -1

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def reading(self, samples: Sequence[Sample], sent_s: float) -> Reading:
        """A reading sent at event time `sent_s`."""
        return Reading(
            patient=self.patient,
            device=self.device,
            boot=self.boot,
            sequence=self._next(),
            sent_at=instant(sent_s),
            samples=tuple(samples),
        )

    def dose(self, administrations: Sequence[Administration], sent_s: float) -> Dose:
        """A report of administrations sent at event time `sent_s`."""
        return Dose(
            patient=self.patient,
            device=self.device,
            boot=self.boot,
            sequence=self._next(),
            sent_at=instant(sent_s),
            administrations=tuple(administrations),
        )

    def acknowledgement(
        self,
        command_id: str,
        status: Literal["delivered", "applied", "refused"],
        at_s: float,
        *,
        reason: str = "",
        detail: str = "",
        application_id: str = "",
    ) -> Acknowledgement:
        """An answer to a command, given at event time `at_s`."""
        return Acknowledgement(
            patient=self.patient,
            device=self.device,
            boot=self.boot,
            sequence=self._next(),
            sent_at=instant(at_s),
            command_id=command_id,
            status=status,
            at=instant(at_s),
            reason=reason,
            detail=detail,
            application_id=application_id,
        )
