"""What devices send: when it leaves, and what happens to it on the way.

Telemetry waits in a queue until the platform clock reaches its `sent_at`; it is lost with the process, as it
is when a radio link breaks. Reports of doses go through the durable outbox instead and are never lost.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import Administration, Sample
from dosetwin.platform.topics import DOSES, READINGS
from dosetwin.stream_jobs.fleet.faults import FleetFaults
from dosetwin.stream_jobs.gateway.device import Voice
from dosetwin.stream_jobs.gateway.memory import DeviceMemory, Letter
from dosetwin.stream_jobs.gateway.sender import Sender

LATEST_S = 2 * 3600.0
"""No message is delayed longer than this."""
WRONG_UNITS = ("furlong", "mg/mL", "mmol/L")
"""Unknown; of the right dimension a thousand times off; mislabelled."""


class Outgoing:
    """Takes the messages of one tick and sends them in their time.

    `silent` drops everything (the plants warm up); `muted` drops telemetry alone (devices were off while the
    fleet was down; what they gave is told later).
    """

    def __init__(self, memory: DeviceMemory, sender: Sender, faults: FleetFaults) -> None:
        self._memory, self._sender, self._faults = memory, sender, faults
        self._queue: list[tuple[float, int, str, bytes]] = []
        self._number = 0
        self._letters: list[Letter] = []
        self.counts: Counter[str] = Counter()
        self.silent = False
        self.muted = False
        self._now_s = self._delay_s = 0.0
        self._rng = np.random.default_rng(0)

    def begin(self, seed: Sequence[int], now_s: float, delay_s: float) -> None:
        """Start a tick at `now_s`: seed its chance; a measurement leaves `delay_s` after it was made."""
        self._rng = np.random.default_rng(list(seed))
        self._now_s, self._delay_s = now_s, delay_s

    def count(self, what: str) -> None:
        """Count something that happened to a person or a device."""
        if not self.silent:
            self.counts[what] += 1

    def reading(self, voice: Voice, samples: Sequence[Sample], at_s: float) -> None:
        """Queue telemetry measured at `at_s`, with the faults of the way."""
        if self.silent or self.muted:
            return
        faults = self._faults
        chance = self._rng.random(3)
        sent_s = max(at_s + self._delay_s, self._now_s)
        if chance[0] < faults.late:
            sent_s += min(self._rng.exponential(faults.late_mean_s), LATEST_S)
            self.counts["late_injected"] += 1
        if chance[1] < faults.wrong_unit:
            unit = WRONG_UNITS[self._rng.integers(len(WRONG_UNITS))]
            samples = [msgspec.structs.replace(samples[0], unit=unit), *samples[1:]]
            self.counts["wrong_units_injected"] += 1
        payload = encode(voice.reading(samples, sent_s))
        self._push(sent_s, voice.patient, payload)
        self.counts["readings"] += 1
        self.counts["samples"] += len(samples)
        if chance[2] < faults.duplicate:
            self._push(sent_s + self._rng.uniform(0.0, 120.0), voice.patient, payload)
            self.counts["duplicates_injected"] += 1

    def dose(self, voice: Voice, administrations: Sequence[Administration]) -> None:
        """Put a report of doses into the outbox of the transaction that is open."""
        if self.silent:
            return
        payload = encode(voice.dose(administrations, self._now_s))
        self._letters.append(self._memory.post(DOSES.name, voice.patient, payload))
        self.counts["doses"] += 1

    def committed(self) -> None:
        """The transaction is durable: its letters may leave."""
        for letter in self._letters:
            self._sender.send_letter(letter)
        self._letters.clear()

    def send_due(self, now_s: float) -> float:
        """Send what is due; returns the event time of the next, infinity when there is none."""
        while self._queue and self._queue[0][0] <= now_s:
            _, _, patient, payload = heapq.heappop(self._queue)
            self._sender.send(READINGS.name, patient, payload)
        return self._queue[0][0] if self._queue else float("inf")

    def _push(self, sent_s: float, patient: str, payload: bytes) -> None:
        self._number += 1
        heapq.heappush(self._queue, (sent_s, self._number, patient, payload))
