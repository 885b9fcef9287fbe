"""What the fleet asks of the patients of one therapy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dosetwin.platform.contracts import Enrolment
from dosetwin.stream_jobs.fleet.outgoing import Outgoing
from dosetwin.stream_jobs.gateway.device import CommandedDevice


class Ward(Protocol):
    """Patients of one therapy with their plants and devices, advanced together in event time.

    Made with (people, faults, seed, boot, begin_s): the plants live from `begin_s` on, unheard until
    streaming begins, so that it begins in the middle of things.
    """

    therapy: str
    warm_up_s: float
    substep_s: float
    """Plants advance in steps of at most this."""
    time_s: float

    @property
    def devices(self) -> Mapping[tuple[str, str], CommandedDevice]:
        """The devices that obey commands, by (patient, device)."""
        ...

    def enrolments(self, start_s: float) -> list[Enrolment]:
        """The patients' first enrolments, to be watched from `start_s` on."""
        ...

    def admission(self, out: Outgoing, now_s: float) -> None:
        """Report what must be known when streaming begins (running rates, doses of the days before)."""
        ...

    def advance(self, to_s: float, out: Outgoing) -> None:
        """Live on from `time_s` to `to_s`, which has passed; hand messages to `out`."""
        ...

    def changed_devices(self) -> list[tuple[str, str]]:
        """The devices whose memory has changed by themselves since the last call."""
        ...

    def dump(self) -> bytes:
        """Everything but the memory of the commanded devices."""
        ...

    def load(self, payload: bytes) -> None:
        """Go on from a checkpoint."""
        ...
