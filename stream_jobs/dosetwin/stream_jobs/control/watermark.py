"""Until when a set of partitions is known to its reader."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

KNOWN_EVERY_S = 0.2


class Watermark:
    """The wall time before which everything the broker took has been read.

    It asks for the partitions' ends now and then; once the reader's positions have reached them, the moment
    before it asked is the mark. With read_committed, the end lies before the first open transaction.
    """

    def __init__(self, partitions: list[Any]) -> None:
        self.known_until_s: float | None = None
        self._partitions = partitions
        self._ends: dict[Any, int] = {}
        self._asked_at_s = 0.0

    def update(self, client: Any, positions: Mapping[Any, int]) -> int:
        """Move the mark if the positions allow it; returns how many records are still to be read."""
        if self._ends and all(positions[tp] >= end for tp, end in self._ends.items()):
            self.known_until_s, self._ends = self._asked_at_s, {}
        if not self._ends and time.time() - self._asked_at_s > KNOWN_EVERY_S:
            self._asked_at_s = time.time()
            self._ends = client.end_offsets(self._partitions)
        return sum(max(0, end - positions[tp]) for tp, end in self._ends.items())
