"""Being Ray's driver without giving up this process's own answer to SIGTERM."""

from __future__ import annotations

import signal
import threading
from typing import Any

import ray


def start_ray(options: dict[str, Any]) -> None:
    """`ray.init(**options)`, which takes SIGTERM for itself (exit at once): our handler is put back."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
