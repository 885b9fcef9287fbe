"""What is to happen to a ward's patients, in order of event time; kept in the ward's checkpoint."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import msgspec


class Appointment(msgspec.Struct, array_like=True, order=True):
    """At `at_s` (event time) `what` happens to patient `who`; the meaning of a, b, c is the ward's."""

    at_s: float
    number: int
    what: str
    who: int
    a: float = 0.0
    b: float = 0.0
    c: float = 0.0


class Agenda:
    """A heap of appointments; equal times keep the order in which they were made."""

    def __init__(self) -> None:
        self._heap: list[Appointment] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at_s: float, what: str, who: int, a: float = 0.0, b: float = 0.0, c: float = 0.0) -> None:
        """Make an appointment."""
        self._number += 1
        heapq.heappush(
            self._heap, Appointment(float(at_s), self._number, what, int(who), float(a), float(b), float(c))
        )

    def due(self, before_s: float) -> Iterator[Appointment]:
        """The appointments before `before_s`, in order; those made meanwhile included."""
        while self._heap and self._heap[0].at_s < before_s:
            yield heapq.heappop(self._heap)

    def dump(self) -> tuple[int, list[Appointment]]:
        """For the checkpoint."""
        return self._number, self._heap

    def load(self, number: int, appointments: list[Appointment]) -> None:
        """From the checkpoint; the list is a heap already."""
        self._number, self._heap = number, appointments
