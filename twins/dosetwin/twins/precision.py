"""Double precision where it is needed, without changing it anywhere else.

The history-based estimator works in float64 (closed forms with differences of exponentials, a Newton
iteration to 1e-8); the sequential ensemble filter in the same process works in float32. JAX's switch is a
context of the calling thread, so each history bank enters it around its own calls.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax


def double_precision() -> AbstractContextManager[Any]:
    """A context in which JAX makes, traces and runs float64 arrays; outside of it nothing changes."""
    switch: AbstractContextManager[Any] = jax.enable_x64(True)
    return switch
