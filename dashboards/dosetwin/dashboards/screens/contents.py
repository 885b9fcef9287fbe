"""What a page shows of a snapshot, built once for all viewers who look at the same thing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

KEPT = 64


class Contents:
    """Encoded contents by what they were built from; the newest are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def get(self, key: tuple[object, ...], build: Callable[[], Any]) -> bytes:
        """The JSON of `build()`; two viewers at once may both build it, and get the same."""
        with self._lock:
            found = self._built.get(key)
        if found is None:
            found = msgspec.json.encode(build())
            with self._lock:
                self._built[key] = found
                while len(self._built) > KEPT:
                    self._built.popitem(last=False)
        return found
