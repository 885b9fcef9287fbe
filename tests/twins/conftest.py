"""Compiled programs are dropped after each module: thousands of them in one process use up its memory maps.

Each program that XLA compiles for the CPU maps memory of its own; Linux allows a process 65,530 maps and XLA
crashes beyond. The whole suite compiles more than that many.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def dropped_programs() -> Iterator[None]:
    """Nothing before; the caches of all compiled functions are emptied after the module."""
    yield
    jax.clear_caches()  # type: ignore[no-untyped-call]  # JAX gives it no types
