"""Compiled programs are dropped before there are too many: thousands in one process use up its memory maps.

Each program that XLA compiles for the CPU maps memory of its own; Linux allows a process 65,530 maps and XLA
crashes beyond. The whole suite compiles more than that many. Where maps cannot be counted (not Linux) they
are dropped after each module.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

MAPS = Path("/proc/self/maps")
MOST_MAPS = 20_000


@pytest.fixture(scope="module", autouse=True)
def dropped_programs() -> Iterator[None]:
    """Nothing before; after the module the caches of all compiled functions are emptied if need be."""
    yield
    if not MAPS.exists() or MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()  # type: ignore[no-untyped-call]  # JAX gives it no types
